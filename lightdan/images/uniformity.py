"""Tests whether a film is the same everywhere and in all directions."""

import math
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri_exp
from scipy.stats import t as student

from lightdan.images.local_means import EVERY, KNOWN, LocalMeans, Part
from lightdan.statistics import Blocks, Estimate, mean, student_factor
from lightdan.statistics.correlation import gamma_method

CHANCE = 0.01
"""Probability that a film without any difference is found to have one."""
BANDS = 4, 8, 16
"""Numbers of bands into which a film is divided along each axis."""
IN_WORDS = {
    "down": "down the columns",
    "right": "along the rows",
    "diagonal": "along one diagonal",
    "antidiagonal": "along the other",
}
"""Directions in words."""


class Difference(NamedTuple):
    """Difference of a quantity between two parts of a film, or between two directions.

    Args:
        quantity: Quantity in words.
        where: Both parts or directions in words.
        values: Value in each of them.
        sigma: Significance in standard deviations of a normal distribution, after correction for the
            number of differences that were looked at.
    """

    quantity: str
    where: tuple[str, str]
    values: tuple[Estimate, Estimate]
    sigma: float

    @property
    def significant(self) -> bool:
        """Whether it is hardly chance."""
        return log_ndtr(-self.sigma) < math.log(CHANCE / 2)

    def __str__(self) -> str:
        """Return the difference in words."""
        (first, second), (here, there) = self.values, self.where
        return f"{self.quantity} is {first} {here} and {second} {there}, by {self.sigma:.1f} σ"


def inhomogeneity(local: LocalMeans) -> tuple[Difference, Part] | None:
    """Return the strongest difference between a part of a film, in sites, and the rest, if any.

    The parts are bands along both axes, squares of 2 × 2 blocks, and parts of the images. With images at
    independent times, the scatter from time to time says how far parts may differ. Otherwise it is the
    scatter within the parts, and along the bands.

    Args:
        local: Local means of the film.
    """
    blocks = local.blocks
    images, rows, columns = local.shape
    families = [
        (local, _bands(axis, side, n)) for axis, side in ((0, rows), (1, columns)) for n in BANDS
    ]
    families.append((blocks, _squares(*blocks.shape[1:])))
    if images > 2 and local.independence.contained:
        families.append((blocks, [Part(images=slice(i, i + 1)) for i in range(images)]))
    looks = len(local.quantities) * sum(len(family) for _, family in families)
    found = []
    for cells, family in families:
        for name in cells.quantities if family else ():
            found += _differences(cells, name, family, looks)
    return max(found, key=lambda each: each[0].sigma, default=None)


def _bands(axis: int, side: int, number: int) -> list[Part]:
    """Return bands across an axis of so many cells, none if there are fewer cells than bands."""
    ends = (np.arange(number + 1) * side // number).tolist()
    bands = [slice(i, j) for i, j in pairwise(ends)] if number <= side else []
    return [Part(columns=band) if axis else Part(rows=band) for band in bands]


def _squares(rows: int, columns: int) -> list[Part]:
    """Return all squares of 2 × 2 cells."""
    corners = product(range(rows - 1), range(columns - 1))
    return [Part(slice(i, i + 2), slice(j, j + 2)) for i, j in corners]


def _differences(
    local: LocalMeans, name: str, family: list[Part], looks: int
) -> list[tuple[Difference, Part]]:
    """Return the differences of a quantity between each of several parts, if known, and the rest."""
    means = local.quantities[name]
    means = np.where(np.isfinite(means).all(0), means, np.nan)  # where all images show the film
    num, mean = len(means), means.mean(0)
    every, total = np.isfinite(mean).sum() * num, float(np.nansum(means))
    variances, freedom = _variances(local, means, family)
    found = []
    for part, variance in zip(family, variances, strict=True):
        own = means[part.images, part.rows, part.columns]
        number = np.isfinite(own).sum()
        if not KNOWN * own.size < number < every:
            continue
        here = float(np.nansum(own)) / number
        there = (total - here * number) / (every - number)
        outside = variance * number / (every - number)
        sigma = _sigma(here - there, variance + outside, freedom, looks)
        values = Estimate(here, math.sqrt(variance)), Estimate(there, math.sqrt(outside))
        found.append((Difference(name, ("there", "elsewhere"), values, sigma), local.in_sites(part)))
    return found


def _variances(
    local: LocalMeans, means: NDArray[np.float64], family: list[Part]
) -> tuple[NDArray[np.float64], float]:
    """Return the variance of the mean over each of several parts, and its degrees of freedom."""
    mean = means.mean(0)
    known = np.isfinite(mean)
    in_time, in_space = float(local.in_time.mean()), local.shared(*mean.shape)
    inside = [mean[part.rows, part.columns] for part in family]
    shares = np.array([local.shared(*each.shape) for each in inside])
    if len(means) > 1:
        rest = means - mean
        rest -= np.nansum(rest, axis=(1, 2), keepdims=True) / known.sum()
        scatter = np.nansum(rest**2) / (known.sum() * len(means))
        variance = scatter / max(1e-12, (1 - in_time) * (1 - in_space))
        times = np.array([in_time if part.images == EVERY else 1.0 for part in family])
        return variance * shares * times, (1 / in_time - 1) * (1 / in_space - 1)
    if EVERY in family[0][:2]:
        return _variance_along(inside, int(family[0].rows == EVERY))
    values = [each[np.isfinite(each)] for each in inside]
    numbers = np.array([len(each) for each in values])
    squares = sum(float(((each - each.mean()) ** 2).sum()) for each in values if len(each))
    variance = squares / max(1e-12, float(numbers @ (1 - shares)))
    freedom = float((1 / shares - 1).sum()) * known.sum() / numbers.sum()
    return variance * shares, freedom


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the mean of the finite values along an axis; NaN where there are none."""
    number = np.isfinite(values).sum(axis=axis)
    means: NDArray[np.float64] = np.where(
        number, np.nansum(values, axis=axis) / np.maximum(number, 1), np.nan
    )
    return means


def _variance_along(bands: list[NDArray[np.float64]], axis: int) -> tuple[NDArray[np.float64], float]:
    """Return the variance of the mean over each band, from its correlations along the band.

    Args:
        bands: Cells of each band.
        axis: Axis that the bands cross, 0 if they are rows.
    """
    rest = np.stack([_mean(band, axis) for band in bands])
    rest = np.nan_to_num(rest - _mean(rest, 1)[:, None])
    gamma = gamma_method(rest)
    terms = 2 * gamma.window + 1
    # The subtracted mean of a band lowers each of these terms by its variance.
    variance = max(1.0, 2 * gamma.tau) * gamma.variance / max(1, rest.shape[1] - terms)
    return np.full(len(bands), variance), rest.size / terms


def anisotropy(local: LocalMeans) -> list[Difference]:
    """Return the strongest differences of C(r) between directions: straight and diagonal ones.

    A film that is the same after a turn by 90° has equal C(r) down and to the right, and on both
    diagonals. A film that is the same in its mirror image has equal C(r) on both diagonals.

    Args:
        local: Local means of the film.
    """
    local, found = local.blocks, []
    for first, second in (("down", "right"), ("diagonal", "antidiagonal")):
        steps = [name.split()[1] for name in local.means if name.startswith(f"{first} ")]
        candidates = [compared(local, f"{first} {r}", f"{second} {r}", len(steps)) for r in steps]
        found.append(max(candidates, key=lambda each: each.sigma))
    return found


def imbalance(local: LocalMeans) -> Difference:
    """Return the difference between the areas of two phases; it is zero if they can be exchanged.

    Args:
        local: Local means of the film.
    """
    blocks = local.blocks
    bright = blocks.means["area fraction"]
    share, error = float(np.nanmean(bright)), blocks.error(bright)
    sigma = _sigma(2 * share - 1, (2 * error) ** 2, blocks.freedom(bright), 1)
    where, values = (
        ("of one phase", "of the other"),
        (Estimate(share, error), Estimate(1 - share, error)),
    )
    return Difference("area fraction", where, values, sigma)


def compared(local: LocalMeans, first: str, second: str, looks: int) -> Difference:
    """Return the difference of C(r) between two directions.

    Args:
        local: Local means of the film.
        first: Direction and distance, such as ``down 2``.
        second: The other direction, and the distance.
        looks: Number of such differences of which it is one.
    """
    both = local.means[first], local.means[second]
    values = [Estimate(float(np.nanmean(each)), local.error(each)) for each in both]
    difference = both[0] - both[1]
    known = difference[np.isfinite(difference)]
    freedom = local.freedom(difference)
    sigma = _sigma(float(known.mean()), local.error(difference) ** 2, freedom, looks)
    (here, r), (there, _) = first.split(), second.split()
    return Difference(f"C({r})", (IN_WORDS[here], IN_WORDS[there]), (values[0], values[1]), sigma)


def split_difference(
    train: np.ndarray, test: np.ndarray, blocks: tuple[Blocks, Blocks], reach: int
) -> Difference:
    """Return the strongest difference between the patches of training and test.

    Args:
        train: Patches of training `(M, rows, columns)`.
        test: Patches of test.
        blocks: Blocks of both.
        reach: Largest distance of C(r) in sites.
    """
    centre, bright = train.mean(dtype=np.float64), max(train.max(), test.max())
    sides = [_numbers(patches, centre, bright, reach) for patches in (train, test)]
    freedom = min(each.freedom for each in blocks)
    found = []
    for name, values in sides[0].items():
        both = [mean(x, blocks=b) for x, b in zip((values, sides[1][name]), blocks, strict=True)]
        variance = sum(
            (e.error / student_factor(b.freedom)) ** 2 for e, b in zip(both, blocks, strict=True)
        )
        sigma = _sigma(both[0].value - both[1].value, variance, freedom, len(sides[0]))
        where = "in the training patches", "in the test patches"
        found.append(Difference(name, where, (both[0], both[1]), sigma))
    return max(found, key=lambda each: each.sigma)


def _numbers(
    patches: np.ndarray, centre: float, bright: float, reach: int
) -> dict[str, NDArray[np.float64]]:
    """Return area fraction, walls per site and C(r) of each patch, by name `(M,)`."""
    down, right = (np.diff(patches, axis=axis) != 0 for axis in (1, 2))
    found = {
        "area fraction": (patches == bright).mean((1, 2)),
        "number of walls per site": down.mean((1, 2)) + right.mean((1, 2)),
    }
    s, r = (patches - centre).astype(np.float32), 2
    while r <= min(reach, min(patches.shape[1:]) - 1):
        products = s[:, r:] * s[:, :-r], s[:, :, r:] * s[:, :, :-r]
        found[f"C({r})"] = (products[0].mean((1, 2)) + products[1].mean((1, 2))).astype(float) / 2
        r *= 2
    return found


def _sigma(difference: float, variance: float, freedom: float, looks: int) -> float:
    """Return the significance of a difference in standard deviations of a normal distribution.

    Args:
        difference: Difference.
        variance: Its variance, an estimate.
        freedom: Degrees of freedom of the estimate.
        looks: Number of differences that were looked at.
    """
    if variance <= 0:
        return 0.0
    log_p = float(student.logsf(abs(difference) / math.sqrt(variance), max(1.0, freedom)))
    return max(0.0, -float(ndtri_exp(min(log_p + math.log(looks), math.log(0.5)))))
