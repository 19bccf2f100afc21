"""Test whether rows are in equilibrium: drifts along the file, and rows alike at distant places."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lightdan.statistics import Estimate, mean

PARTS = 24
"""Number of consecutive parts whose means are compared."""
RARE = 1.6e-4
"""Probability below which a difference between the ends of the rows is no accident."""
CLEAR = 4.0
"""Difference of two means, in standard errors, that is no accident."""
PEAK = 8.0
"""Height of a peak of the overlap at one distance, in standard errors, that is no accident."""
FEATURES = 256
"""Largest number of sites, and of pairs of neighbours, whose means are compared."""
SITES, ROWS = 32, 65_536
"""Numbers of sites and rows whose overlap is computed at all distances."""


@dataclass(frozen=True)
class Drift:
    """Difference between the ends of the rows.

    Args:
        name: Quantity that differs.
        where: The two parts of the rows, ``first third`` and ``last third`` or the like.
        before: Mean over the first of them, with the error of independent parts; None for several sites.
        after: Mean over the second.
    """

    name: str
    where: tuple[str, str]
    before: Estimate | None = None
    after: Estimate | None = None

    def __str__(self) -> str:
        """Return the difference in words."""
        first, second = self.where
        if self.before is None or self.after is None:
            return f"the {self.name} differ between the {first} and the {second}"
        before = self.before if self.before.error > 0 else f"{self.before.value:.3g}"
        return f"the {self.name} is {before} in the {first} and {self.after} in the {second}"


@dataclass(frozen=True)
class Equilibrium:
    """Evidence against rows in equilibrium; false if there is some.

    Args:
        drifts: Differences between the ends of the rows.
        period: Distance at which rows are alike though those between are less so; None if there is none.
        overlap: Correlation of the sites of rows at that distance.
    """

    drifts: tuple[Drift, ...] = ()
    period: int | None = None
    overlap: float = 0.0

    def __bool__(self) -> bool:
        """Return whether there is no evidence."""
        return not self.sentences

    @property
    def sentences(self) -> list[str]:
        """Evidence and remedy, a few sentences for each kind."""
        found = []
        if self.drifts:
            drifts = "; ".join(map(str, self.drifts))
            found.append(
                f"The rows are not in equilibrium, or too few to tell: {drifts}."
                " All numbers average over this drift, and it is not in their errors: leave out the rows"
                " before equilibrium, or use parts of the file one by one."
            )
        if self.period is not None:
            found.append(
                f"Rows {self.period} apart are alike: the correlation of their sites is"
                f" {self.overlap:.2f}, more than of rows between. Chains may be interleaved or rows"
                " copied: write chain after chain, or each row once."
            )
        return found


class Examination:
    """Rows that are examined in consecutive chunks, for `examine`.

    Args:
        num: Number of rows M.
        site_kind: Kind of site, as in `System`.
    """

    def __init__(self, num: int, site_kind: str) -> None:
        self.num, self.site_kind, self.angles = num, site_kind, site_kind == "angle"
        self.centre = 0.0
        self.series: list[dict[str, NDArray[np.float64]]] = []
        self.part_of = np.arange(num) * PARTS // max(num, 1)
        self.sums: dict[str, NDArray[np.float64]] = {}
        self.sample: list[NDArray[np.float64]] = []

    def add(self, start: int, chunk: NDArray[np.generic]) -> None:
        """Take the next rows.

        Args:
            start: Number of the first of them.
            chunk: Configurations `(rows, *lattice)`.
        """
        if start == 0 and self.site_kind in ("level", "real"):
            # Around a large mean, products of fields would repeat the fields themselves.
            self.centre = float(chunk.mean(dtype=np.float64))
        self.series.append(slow_observables(chunk, self.site_kind, self.centre))
        features = dict(self._features(chunk))
        parts = self.part_of[start : start + len(chunk)]
        places = np.flatnonzero(np.diff(parts, prepend=-1))
        for name, values in features.items():
            sums = self.sums.setdefault(name, np.zeros((PARTS, values.shape[1])))
            sums[parts[places]] += np.add.reduceat(values, places, axis=0)
        if start < ROWS:
            values = features["means of the sites"][: ROWS - start]
            self.sample.append(values[:, :: math.ceil(values.shape[1] / SITES)])

    def _features(self, chunk: NDArray[np.generic]) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Yield the values of sites and of pairs of neighbours by name, `(rows, features)`."""
        s = chunk.astype(np.float64)
        sites = s.reshape(len(s), -1)
        sites = sites[:, :: math.ceil(sites.shape[1] / FEATURES)]
        yield (
            "means of the sites",
            np.concatenate([np.cos(sites), np.sin(sites)], 1) if self.angles else sites,
        )
        pairs = []
        for axis in range(1, s.ndim):
            left, right = (np.delete(s, end, axis).reshape(len(s), -1) for end in (-1, 0))
            every = math.ceil(max(left.shape[1], 1) / FEATURES)
            left, right = left[:, ::every], right[:, ::every]
            pairs.append(_products(left, right, self.angles, self.centre))
        yield "products of neighbours, one by one,", np.concatenate(pairs, axis=1)

    @property
    def observables(self) -> dict[str, NDArray[np.float64]]:
        """Series of the slow observables by name `(M,)`."""
        return {name: np.concatenate([part[name] for part in self.series]) for name in self.series[0]}

    def result(self) -> Equilibrium:
        """Compare the ends of the rows, and rows at all distances."""
        if self.num < 2 * PARTS:
            return Equilibrium()
        sizes = np.bincount(self.part_of, minlength=PARTS)[:, None]
        drifts = []
        for name, series in self.observables.items():
            drift = drift_of(name, series)
            drifts += [drift] if drift else []
        for name, sums in () if drifts else self.sums.items():
            if ends_differ(sums / sizes):
                drifts.append(Drift(name, ("first third", "last third")))
        period, overlap = period_of(np.concatenate(self.sample))
        return Equilibrium(tuple(drifts), period, overlap)


def examine(configurations: NDArray[np.generic], site_kind: str) -> Equilibrium:
    """Test whether configurations in the order of their creation are in equilibrium.

    Args:
        configurations: Configurations `(M, *lattice)`.
        site_kind: Kind of site, as in `System`.
    """
    examination = Examination(len(configurations), site_kind)
    step = max(1, 4_000_000 // max(1, math.prod(configurations.shape[1:])))
    for start in range(0, len(configurations), step):
        examination.add(start, configurations[start : start + step])
    return examination.result()


def drift_of(name: str, series: NDArray[np.float64]) -> Drift | None:
    """Return the drift of a series `(M,)` along the rows, if there is one.

    The thirds at both ends must be told apart by `ends_differ` and by the errors of their means.
    Otherwise the very first rows must be unlike all after the first third.
    """
    averages = np.array([[part.mean()] for part in np.array_split(series, PARTS)])
    third = len(series) // 3
    if ends_differ(averages):
        first, last = mean(series[:third]), mean(series[-third:])
        if abs(first.value - last.value) > CLEAR * math.hypot(first.error, last.error):
            return Drift(name, ("first third", "last third"), first, last)
    for parts in (PARTS, 4 * PARTS, len(series)):
        size = max(1, len(series) // parts)
        num = len(series) // size
        means = series[: size * num].reshape(num, size).mean(axis=1)
        later = means[num // 3 :]
        change, largest = abs(means[0] - later.mean()), float(np.ptp(later))
        if change > max(1.5 * CLEAR * float(later.std()), largest, 1e-9 * float(np.abs(means).max())):
            where = ("first row" if size == 1 else f"first {size} rows", "last two thirds")
            first = mean(series[:size]) if size > 1 else Estimate(float(series[0]), 0.0)
            return Drift(name, where, first, mean(series[len(series) // 3 :]))
    return None


def ends_differ(means: NDArray[np.float64]) -> bool:
    """Return whether the first and the last third of consecutive parts differ.

    All ways to choose half of the parts of both thirds are compared by the mean product of parts of
    the same half minus that of different halves. Neighbouring parts are left out, because they are
    correlated if rows are. The ends differ if at most a share `RARE` of the ways reaches the true one.

    Args:
        means: Means of features over the parts `(PARTS, features)`.
    """
    third = PARTS // 3
    ends = np.concatenate([means[:third], means[-third:]])
    ends = ends - ends.mean(axis=0)
    scale = ends.std(axis=0)
    varies = scale > 1e-9 * np.abs(means).max(axis=0)
    if not varies.any():
        return False
    ends = ends[:, varies] / scale[varies]
    first, apart = _halves(2 * third)
    products = (ends @ ends.T) * apart

    def average(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean product of parts in two halves that are apart."""
        total: NDArray[np.float64] = ((some @ products) * others).sum(axis=1)
        return total / ((some @ apart) * others).sum(axis=1)

    second = 1.0 - first
    distance = average(first, first) + average(second, second) - 2 * average(first, second)
    return bool((distance >= distance[0] - 1e-9 * abs(distance[0])).mean() <= RARE)


@cache
def _halves(num: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return all choices of half of the parts `(ways, num)`, the true one first, and which are apart."""
    rows = list(itertools.combinations(range(num), num // 2))
    chosen = np.zeros((len(rows), num))
    np.put_along_axis(chosen, np.array(rows), 1.0, axis=1)
    place = np.arange(num) + (np.arange(num) >= num // 2) * num
    apart = (np.abs(place[:, None] - place) > 1).astype(np.float64)
    return chosen, apart


def period_of(values: NDArray[np.float64]) -> tuple[int | None, float]:
    """Return the distance of rows that are more alike than rows one closer or one further, if any.

    Args:
        values: Values of some sites `(M, sites)`.

    Returns:
        The smallest such distance, or None, and the correlation of the sites at that distance.
    """
    num = len(values)
    spectrum = np.fft.rfft(values - values.mean(axis=0), n=2 * num, axis=0)
    products = np.fft.irfft((np.abs(spectrum) ** 2).sum(axis=1), n=2 * num)
    lags = np.arange(3 * num // 4)
    if products[0] <= 0:
        return None, 0.0
    rho = products[lags] / products[0] * (num / (num - lags))
    peaks = rho[1:-1] - (rho[:-2] + rho[2:]) / 2
    weight = np.sqrt(1 - lags[1:-1] / num)
    heights = peaks * weight
    # Peaks at every distance, as of two chains far apart, are no noise, and cancel in differences.
    apart = [(heights[lag:] - heights[:-lag]) / math.sqrt(2) for lag in (2, 3, 4, 5)]
    noise = 1.4826 * min(np.median(np.abs(each)) for each in (heights, *apart))
    found = (heights > PEAK * noise) & (peaks > max(0.05, 0.5 * peaks[1:].max(initial=0.0)))
    found[0] = False
    if not found.any():
        return None, 0.0
    period = int(found.argmax()) + 1
    return period, float(rho[period])


def slow_observables(
    configurations: NDArray[np.generic], site_kind: str, centre: float = 0.0
) -> dict[str, NDArray[np.float64]]:
    """Return series that reveal slow modes: mean m, |m|, and mean product of neighbours.

    For angles they are the mean of e^{iφ} along each axis, its modulus, and the mean cosine between
    neighbours.

    Args:
        configurations: Configurations `(M, *lattice)`.
        site_kind: Kind of site, as in `System`.
        centre: Value of a site that is subtracted in products.
    """
    axes = tuple(range(1, configurations.ndim))
    s = configurations.astype(np.float64)
    angles = site_kind == "angle"
    if angles:
        x, y = np.cos(s).mean(axes), np.sin(s).mean(axes)
        series = {"mean cosine": x, "mean sine": y, "modulus of the mean": np.hypot(x, y)}
    else:
        average = s.mean(axes)
        series = {"mean": average, "modulus of the mean": np.abs(average)}
    products = []
    for axis in axes:
        left, right = (np.delete(s, end, axis) for end in (-1, 0))
        if left.size:
            products.append(_products(left, right, angles, centre).mean(axes))
    if products:
        series["product of neighbours"] = np.mean(products, axis=0)
    return series


def _products(
    left: NDArray[np.float64], right: NDArray[np.float64], angles: bool, centre: float
) -> NDArray[np.float64]:
    """Return the products of sites, or the cosines of the differences of angles."""
    return np.cos(left - right) if angles else (left - centre) * (right - centre)
