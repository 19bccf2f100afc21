"""Phases of an image: thresholds between them, their separation, and the uncertainty of both."""

import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from lightdan.images.extras import extra
from lightdan.statistics import Estimate

OUTLIERS = 0.005
"""Share of the darkest and of the brightest grey values that do not decide the range of the others."""
BINS = 512
"""Number of grey values that thresholds distinguish."""
ROUNDS = 100
"""Number of steps in which two normal distributions are fitted to a histogram."""
RESAMPLES = 50
"""Number of bootstrap samples from which errors are computed."""
SEPARATION = 3.0
"""Separation of two phases whose light is known."""
ONE_PHASE = 2.7
"""Separation of the halves of one normal distribution; √(8/(π − 2)) = 2.65 with its distant tails."""
OVERLAP = 2.8
"""Smallest separation of phases that overlap so much that the histogram has one peak."""
CERTAIN = 3.6
"""Separation that no histogram with one peak reaches; uniform has 3.46, exponential 3.38."""
VALLEY = 0.9
"""Largest density at a threshold between two peaks, relative to the lower peak."""
TAIL = 0.25
"""Share below which the minority may be the tail of a single phase, if the histogram has one peak."""
RAMP = 0.5
"""Share of the variance that a polynomial explains, from which on contrast is uneven light."""
MINORITY = 0.03
"""Smallest share of a phase; fewer sites are dirt, hot pixels or noise."""


@dataclass(frozen=True)
class Phases:
    """Classes of grey values, and how well they separate.

    The separation of two classes is the difference of their means over the standard deviation within the
    classes. Errors are those of a bootstrap over blocks of the images.

    Args:
        thresholds: Grey values between the classes, ascending.
        means: Mean grey value of each class.
        shares: Share of the sites in each class.
        separation: Smallest separation of neighbouring classes.
        minority: Share of the smallest of the classes that separate best.
        valley: Largest density at a threshold, relative to the lower of the two peaks beside it.
        threshold_errors: Standard error of each threshold. That of a mixture has half the distance from
            the threshold halfway between the means.
        separation_error: Standard error of the separation.
        share_errors: Standard error of each share because of the thresholds alone.
    """

    thresholds: np.ndarray
    means: np.ndarray
    shares: np.ndarray
    separation: float
    minority: float
    valley: float
    threshold_errors: np.ndarray
    separation_error: float
    share_errors: np.ndarray

    @property
    def two_peaks(self) -> bool:
        """Whether the histogram of the grey values shows the phases."""
        return self.valley < VALLEY or self.separation > CERTAIN

    @property
    def fault(self) -> str | None:
        """Reason why these are not phases, or None."""
        classes = len(self.means)
        measured = Estimate(self.separation, self.separation_error)
        seen = f"a separation of {measured}, where one phase has {ONE_PHASE}"
        if self.shares.min() < MINORITY:
            return f"only {self.shares.min():.1%} of the sites are {self._name(self.shares.argmin())}"
        if self.two_peaks:
            return None
        if classes > 2:
            return f"the histogram has no {classes} peaks"
        if self.separation - 2 * self.separation_error < OVERLAP:
            return f"the grey values have {seen}, and two need {OVERLAP} and two standard errors"
        if self.minority < TAIL:
            side = self._name(self.shares.argmin())
            return f"the histogram has one peak with a {side} tail, and {seen}"
        return None

    def _name(self, index: np.intp) -> str:
        return {0: "dark", len(self.means) - 1: "bright"}.get(int(index), "between the thresholds")


def find_phases(
    values: np.ndarray,
    levels: int = 2,
    cuts: np.ndarray | None = None,
    blocks: np.ndarray | None = None,
    seed: int = 0,
    mixture: bool = False,
) -> Phases:
    """Return the classes of grey values that separate best, or those of given thresholds.

    The separation is always that of the classes that separate best.

    Args:
        values: Grey values of sites `(N,)`.
        levels: Number of classes.
        cuts: Thresholds, if they are known `(levels − 1,)`.
        blocks: Block of each site `(N,)`, as numbers from 0; different blocks are independent. Without
            blocks errors are 0.
        seed: Random seed of the bootstrap.
        mixture: Whether the threshold between two classes is that of `mixture_thresholds`.
    """
    bins, centres = binned(values, *bounds(values, cuts))
    number = 1 if blocks is None else int(blocks.max()) + 1
    joint = bins if blocks is None else blocks * BINS + bins
    counts = np.bincount(joint, minlength=number * BINS).reshape(number, BINS)
    whole = counts.sum(axis=0)
    repeats = whole[None]
    if number > 1:
        rng = np.random.default_rng(seed)
        repeats = rng.multinomial(number, np.full(number, 1 / number), RESAMPLES) @ counts
    rows = np.concatenate([whole[None], repeats])
    found = [thresholds(row, centres, levels) if cuts is None else cuts for row in rows]
    apart = [split(row, centres, cut)[2] for row, cut in zip(rows, found, strict=True)]
    deep = valley(whole, centres, found[0])
    start = other = found[0]
    if mixture and cuts is None and levels == 2:
        found, middles = mixture_thresholds(rows, centres, np.concatenate(found))
        other = middles[0]
    cut, *moved = found
    shares, means, _ = split(whole, centres, cut)
    between = np.array([split(whole, centres, each)[0] for each in (other, *moved)])
    return Phases(
        cut,
        means,
        shares,
        apart[0],
        float(split(whole, centres, start)[0].min()),
        deep,
        np.hypot(np.std(moved, axis=0), (other - cut) / 2),
        float(np.std(apart[1:])),
        np.hypot(np.std(between[1:], axis=0), (between[0] - shares) / 2),
    )


def mixture_thresholds(
    counts: np.ndarray, centres: np.ndarray, start: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return thresholds above which as many sites lie as belong to the brighter of two phases.

    The phases are two normal distributions of one width, fitted by expectation maximisation. A threshold
    halfway between their means makes the smaller phase too large, because more of the larger phase is on
    its wrong side.

    Args:
        counts: Histograms `(H, bins)`.
        centres: Centres of the bins `(bins,)`.
        start: Thresholds from which the fits start `(H,)`.

    Returns:
        The thresholds, and those halfway between the means, `(1,)` for each histogram.
    """
    total = counts.sum(axis=1)
    bright = (centres > start[:, None]).astype(np.float64)
    floor = (centres[1] - centres[0]) ** 2 / 12
    for _ in range(ROUNDS):
        weights = np.stack([counts * (1 - bright), counts * bright], axis=1)  # (H, 2, bins)
        sums = np.maximum(weights.sum(axis=2), 1e-12)
        means = weights @ centres / sums
        apart = (centres - means[..., None]) ** 2
        width = np.maximum((weights * apart).sum(axis=(1, 2)) / total, floor)[:, None]
        dark, light = np.moveaxis(np.log(sums)[..., None] - apart / (2 * width[..., None]), 1, 0)
        bright = 1 / (1 + np.exp(np.clip(dark - light, -500, 500)))
    above = (counts * bright).sum(axis=1)
    edges = centres[::-1] - (centres[1] - centres[0]) / 2
    cuts = [
        # Half a site more and less are at the two ends of a gap: take its middle.
        np.interp([part - 0.5, part + 0.5], np.cumsum(row[::-1]), edges).mean(keepdims=True)
        for row, part in zip(counts, above, strict=True)
    ]
    return cuts, list(means.mean(axis=1)[:, None])


def bounds(values: np.ndarray, cuts: np.ndarray | None) -> tuple[float, float]:
    """Return the range of grey values that count; dirt and hot pixels beyond it are moved to its ends.

    They count as far from the phases as the phases are from each other.
    """
    low, high = np.quantile(values, [OUTLIERS, 1 - OUTLIERS])
    if low == high:
        return float(values.min()), float(values.max())
    bins, centres = binned(values, low, high)
    counts = np.bincount(bins, minlength=BINS)
    _, means, _ = split(counts, centres, thresholds(counts, centres, 2) if cuts is None else cuts)
    gap = means[-1] - means[0]
    return max(float(values.min()), means[0] - gap), min(float(values.max()), means[-1] + gap)


def binned(values: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the bin of each value, and the centres of the bins."""
    edges = np.linspace(low, high, BINS + 1)
    bins = ((values - low) * (BINS / (high - low))).clip(0, BINS - 1).astype(np.int64)
    return bins, (edges[1:] + edges[:-1]) / 2


def thresholds(counts: np.ndarray, centres: np.ndarray, levels: int) -> np.ndarray:
    """Return the `levels` − 1 thresholds that best separate classes of a histogram.

    References:
        N. Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979).
    """
    filters = extra("skimage.filters")
    join = {2: 1, 3: 4, 4: 4}.get(levels, 8)  # the search takes BINS^(levels − 1) steps
    joint = counts.reshape(-1, join).sum(axis=1), centres.reshape(-1, join).mean(axis=1)
    if levels == 2:
        found = np.array([filters.threshold_otsu(hist=joint)])
    else:
        found = filters.threshold_multiotsu(classes=levels, hist=joint)
    # Any value in the gap above the last bin of a class separates as well: take the middle.
    occupied = np.flatnonzero(counts)
    last = join * np.searchsorted(joint[1], found, "right") - 1
    before = occupied[np.searchsorted(occupied, last, "right") - 1]
    after = occupied[np.minimum(np.searchsorted(occupied, last, "right"), len(occupied) - 1)]
    middle: np.ndarray = (centres[before] + centres[after]) / 2
    return middle


def split(
    counts: np.ndarray, centres: np.ndarray, cuts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the shares and means of the classes of a histogram, and their smallest separation."""
    # A threshold within a bin takes its part of the bin.
    width = centres[1] - centres[0]
    below = np.clip((cuts[:, None] - centres) / width + 0.5, 0, 1)
    above = np.concatenate([np.ones((1, len(centres))), 1 - below, np.zeros((1, len(centres)))])
    weights = (above[:-1] - above[1:]) * counts
    shares = weights.sum(axis=1) / counts.sum()
    means = weights @ centres / np.maximum(weights.sum(axis=1), 1e-12)
    within = np.sqrt((weights * (centres - means[:, None]) ** 2).sum() / counts.sum())
    gap = np.diff(means).min() if (shares > 0).all() else 0.0
    return shares, means, float(gap / max(within, width / np.sqrt(12)))


def valley(counts: np.ndarray, centres: np.ndarray, cuts: np.ndarray) -> float:
    """Return the largest density at a threshold, relative to the lower of the peaks beside it."""
    _, means, separation = split(counts, centres, cuts)
    if separation == 0:
        return 1.0
    spread = np.diff(means).min() / separation
    # The filter is wider than the distance of quantised grey values, which leave gaps of their own.
    step = np.ptp(np.flatnonzero(counts)) / max(1, np.count_nonzero(counts) - 1)
    width = max(0.7 * step, 0.3 * spread / (centres[1] - centres[0]))
    density = ndimage.gaussian_filter1d(counts.astype(np.float64), width, mode="constant")
    classes = np.digitize(centres, cuts)
    peaks = [density[classes == k].max(initial=0.0) for k in range(len(cuts) + 1)]
    at = np.interp(cuts, centres, density)
    return max(
        float(value / max(min(pair), 1e-12)) for value, pair in zip(at, pairwise(peaks), strict=True)
    )


def check_phases(phases: Phases, images: str, ramp: float, masks: str | None) -> None:
    """Raise ValueError unless the images show separate phases; warn if the phases overlap.

    Args:
        phases: Classes of the grey values of the images.
        images: Subject of the message, with *does* or *do*.
        ramp: Share of the variance that is a smooth change of brightness.
        masks: Option that leaves out a constant region, if the images have one.
    """
    number, fault = len(phases.means), phases.fault
    if ramp > RAMP and phases.separation < CERTAIN:
        fault = f"a smooth change of brightness makes {ramp:.0%} of their contrast"
    if masks is not None and fault is None and phases.separation < CERTAIN:
        fault = f"a constant region leaves them a separation of {phases.separation:.2f} only"
    if fault is not None:
        remedy = f"threshold to a number, like {phases.thresholds[0]:.4g}, to cut there nevertheless"
        remedy = masks or (remedy if number == 2 else "num_levels to 2")
        raise ValueError(
            f"{images} not show {number} phases, because {fault}: set {remedy}, or change crop, "
            "background or denoise."
        )
    if not phases.two_peaks:
        warnings.warn(
            f"{images} not show two peaks in the histogram: the phases overlap (separation "
            f"{phases.separation:.2f}, where one phase has {ONE_PHASE}), and many sites may be in the "
            "wrong one; set a larger site_size, or use images with less noise.",
            stacklevel=2,
        )


def local_threshold(image: np.ndarray, window: int) -> np.ndarray:
    """Return the Gaussian mean of the neighbourhood of each site, `window` sites wide."""
    threshold: np.ndarray = extra("skimage.filters").threshold_local(image, window)
    return threshold
