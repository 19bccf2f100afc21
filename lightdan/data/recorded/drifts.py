"""Drifts of series along the rows, and rows alike at distant places."""

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr
from scipy.stats import rankdata

from lightdan.statistics import Estimate, autocorrelation_time, mean

PARTS = 24
"""Number of consecutive parts whose means are compared."""
RARE = 1.6e-4
"""Share of the ways to divide parts below which a difference between the ends is no accident."""
UNLIKELY = 3e-4
"""Probability below which first rows are unlike later ones; many numbers of rows are tried."""
CLEAR = 4.5
"""Difference of two means, in standard errors, that is no accident."""
PEAK = 8.0
"""Height of a peak of the overlap at one distance, in standard errors, that is no accident."""
ENDS = ("first third", "last third")


@dataclass(frozen=True)
class Drift:
    """Difference between two parts of the rows.

    Args:
        name: Quantity that differs.
        where: The two parts of the rows, ``first third`` and ``last third`` or the like.
        before: Mean over the first of them, with the error of independent parts; None for several sites.
        after: Mean over the second.
        leave_out: Number of first rows that are better left out; 0 if the rest would drift, too.
        changes: Number of changes between the values of the two parts along the rows.
    """

    name: str
    where: tuple[str, str]
    before: Estimate | None = None
    after: Estimate | None = None
    leave_out: int = 0
    changes: int = 0

    @property
    def significance(self) -> float:
        """Difference in standard errors; 0 for several sites."""
        if self.before is None or self.after is None:
            return 0.0
        error = math.hypot(self.before.error, self.after.error)
        return abs(self.before.value - self.after.value) / max(error, np.finfo(float).tiny)

    def __str__(self) -> str:
        """Return the difference in words."""
        first, second = self.where
        if self.before is None or self.after is None:
            return f"the {self.name} differ between the {first} and the {second}"
        before = self.before if self.before.error > 0 else f"{self.before.value:.3g}"
        return f"the {self.name} is {before} in the {first} and {self.after} in the {second}"


def averages(series: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the means of consecutive rows `(M // size,)`.

    Args:
        series: Series `(M,)`.
        size: Number of rows of each mean.
    """
    means: NDArray[np.float64] = series[: len(series) // size * size].reshape(-1, size).mean(axis=1)
    return means


def drift_of(name: str, series: NDArray[np.float64], step: int = 1) -> Drift | None:
    """Return the drift of a series along the rows, if there is one.

    Either the ends differ, or the first rows are unlike as many rows anywhere after the first third.

    Args:
        name: Quantity.
        series: Its series `(M / step,)`.
        step: Number of rows of each value of the series.
    """
    if drift := drift_of_ends(name, series):
        return drift
    if not (size := unlike_first(series)):
        return None
    later = series[len(series) // 3 :]
    where = (f"first {size * step} rows", "last two thirds")
    first = mean(series[:size])
    last = mean(later)
    changes = num_changes(series, first.value, last.value)
    return Drift(name, where, first, last, step * max(size, truncation(series)), changes)


def drift_of_ends(name: str, series: NDArray[np.float64]) -> Drift | None:
    """Return the drift of a series `(M,)` whose first and last third differ by `CLEAR` errors.

    A trend within a third does not count as its noise.
    """
    third = len(series) // 3
    first, last = (_detrended_mean(part) for part in (series[:third], series[-third:]))
    if abs(first.value - last.value) <= CLEAR * math.hypot(first.error, last.error):
        return None
    return Drift(name, ENDS, first, last, changes=num_changes(series, first.value, last.value))


def _detrended_mean(series: NDArray[np.float64]) -> Estimate:
    """Return the mean of a series with the error of what remains without its linear trend.

    It is at least that of independent rows, because few rows may look less correlated than these.
    """
    place = np.arange(len(series)) - (len(series) - 1) / 2
    rest = series - place * (place @ series / (place @ place))
    error = max(mean(rest).error, float(rest.std(ddof=2)) / math.sqrt(len(rest)))
    return Estimate(float(series.mean()), max(error, 1e-9 * float(np.abs(series).max())))


def unlike_first(series: NDArray[np.float64]) -> int:
    """Return the number of first rows that are least like later ones; 0 if all are alike.

    The mean of the first n rows is compared with the means of all windows of n rows after the first
    third, for many n up to a sixth of the rows. It must be further from their mean than each of them on
    its side, and than Student's distribution allows. Its degrees of freedom are 3/2 times the number of
    separate windows, because windows overlap, or the number of independent rows. Values are replaced by
    the normal quantiles of their ranks, because rare excursions would hide changes in the bulk.

    Args:
        series: Series `(M,)`.

    References:
        B. L. van der Waerden, Indag. Math. 14, 453 (1952).
    """
    num = len(series)
    scores = ndtri((rankdata(series) - 0.5) / num)
    third = num // 3
    later = scores[third:] - scores[third:].mean()
    first = scores[:third] - scores[third:].mean()
    independent = len(later) / (2 * max(0.5, autocorrelation_time(later).value))
    sums = np.concatenate([[0.0], later.cumsum()])
    found, least, size = 0, UNLIKELY, 2
    while size <= third // 2:
        means, change = (sums[size:] - sums[:-size]) / size, first[:size].mean()
        share = size / len(later)
        variance = max(float(np.square(means).mean()) / (1 - share), 1e-12)
        freedom = min(1.5 / share, independent) - 1
        if freedom > 0 and abs(change) > (np.sign(change) * means).max():
            scale = math.sqrt(variance * (1 + share))
            chance = 2 * float(stdtr(freedom, -abs(change) / scale))
            if chance < least:
                found, least = size, chance
        size = max(size + 1, int(1.4 * size))
    return found


def truncation(series: NDArray[np.float64]) -> int:
    """Return the number of first rows without which the error of the mean is smallest.

    The variance of the rows k … M is divided by their number M − k; k is at most half of the rows.

    Args:
        series: Series `(M,)`.

    References:
        K. P. White, Simulation 69, 323 (1997).
    """
    size = math.ceil(len(series) / 1000)
    means = averages(series, size)
    num = len(means)
    counts = np.arange(num, 0, -1)
    sums, squares = (
        np.cumsum(x[::-1])[::-1] for x in (means - means.mean(), (means - means.mean()) ** 2)
    )
    errors = (squares / counts - (sums / counts) ** 2) / counts
    return size * int(errors[: num // 2 + 1].argmin())


def num_changes(series: NDArray[np.float64], first: float, second: float) -> int:
    """Return how often a series passes from one value or beyond to another one, or back.

    Args:
        series: Series `(M,)`.
        first: The one value.
        second: The other value.
    """
    place = (series - (first + second) / 2) / (first - second)
    sides = np.sign(place[np.abs(place) >= 0.5])
    return int((np.diff(sides) != 0).sum())


def along_change(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the part of values along the change between the first and the last third `(M,)`.

    A single column is returned as it is.

    Args:
        values: Values `(M, columns)`.
    """
    if values.shape[1] == 1:
        return values[:, 0]
    first, last = means_of_ends(values)
    length = float(np.linalg.norm(first - last))
    along: NDArray[np.float64] = values @ ((first - last) / (length or 1.0))
    return along


def means_of_ends(values: NDArray[np.float64]) -> tuple[Any, Any]:
    """Return the means over the first and over the last third."""
    third = len(values) // 3
    return values[:third].mean(axis=0), values[-third:].mean(axis=0)


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
    centred = values - values.mean(axis=0)
    # Two of few rows far from the mean would make a peak by themselves.
    sizes = np.linalg.norm(centred, axis=1, keepdims=True)
    centred = centred * np.minimum(1.0, np.median(sizes) / np.maximum(sizes, np.finfo(float).tiny))
    centred -= centred.mean(axis=0)
    spectrum = np.fft.rfft(centred, n=2 * num, axis=0)
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
    # It is at least that of independent rows, because most products vanish if few rows ever change.
    covariance = centred.T @ centred
    noise = max(noise, math.sqrt(1.5 * np.square(covariance).sum() / num) / np.trace(covariance))
    found = (heights > PEAK * noise) & (peaks > max(0.05, 0.5 * peaks[1:].max(initial=0.0)))
    found[0] = False
    if not found.any():
        return None, 0.0
    period = int(found.argmax()) + 1
    return period, float(rho[period])
