"""Means of correlated rows and functions of means, with errors."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightdan.statistics.blocks import INDEPENDENT, TIMES_PER_BLOCK, Blocks
from lightdan.statistics.correlation import Gamma, chains_of, gamma_method, is_too_short
from lightdan.statistics.estimates import Estimate, freedom_left, student_factor

STEP = 0.1
"""Step of derivatives by a mean, in standard errors of independent rows."""


def mean(x: ArrayLike, weights: ArrayLike | None = None, blocks: Blocks | None = None) -> Estimate:
    """Return the mean of a stationary, correlated series; ±1 error covers the true one in 68 %.

    A correlated series is divided into blocks for a time one error longer than its τ, and the error is
    that of `jackknife`. Where τ is at most half a step, the standard error is √(2τ Γ(0)/N), for
    independent samples s/√N. Γ is corrected for the bias of the subtracted mean. It is multiplied by
    `student_factor`, with N/(2W + 1) degrees of freedom, where W is the last step in the sum of τ;
    values with wide tails have fewer, see `freedom_left`.

    With weights the value is Σ w x/Σ w. Integers are counts: a sample with a count of n is n independent
    ones. For real weights Γ is that of w (x − x̄)/⟨w⟩; the error of independent samples is then
    √(Σ w² (x − x̄)²)/Σ w.

    Rows with gaps between them are no series; with blocks the error is that of `jackknife`.

    Args:
        x: Series of shape ``(steps,)`` or ``(chains, steps)``.
        weights: Counts (integers) or real weights of shape ``(steps,)``; by default all are equal.
        blocks: Blocks of the rows of ``x``; by default the rows are one series.

    Returns:
        The mean in the units of ``x``. The error is infinite for a single number, and for a correlated
        series shorter than 9 τ.

    Raises:
        ValueError: x and weights differ in shape.

    References:
        U. Wolff, Comput. Phys. Commun. 156, 143 (2004), arXiv:hep-lat/0306017.
    """
    if weights is not None:
        return _mean_with_weights(np.asarray(x, dtype=np.float64), np.asarray(weights), blocks)
    series = chains_of(x)
    value = float(series.mean())
    if series.size == 1:
        return Estimate(value, math.inf)
    if blocks is not None:
        return jackknife(float, series[0], blocks=blocks)
    if np.ptp(series) == 0.0:
        return Estimate(value, 0.0)
    gamma = gamma_method(series)
    if gamma.tau >= INDEPENDENT:
        return jackknife(float, series.ravel(), blocks=_blocks_of(series.shape, [gamma]))
    error = math.sqrt(2.0 * gamma.tau * gamma.variance / series.size)
    observations = series.size / (2.0 * gamma.tau)
    freedom = freedom_left(series.size / (2 * gamma.window + 1), series.ravel(), observations)
    return Estimate(value, error * student_factor(freedom))


def _mean_with_weights(x: NDArray[np.float64], weights: NDArray[Any], blocks: Blocks | None) -> Estimate:
    if x.shape != weights.shape:
        raise ValueError(f"x has the shape {x.shape} but weights {weights.shape}: pass one for each.")
    value = float(np.average(x, weights=weights))
    if not _are_counts(weights):
        return Estimate(value, mean(weights * (x - value) / weights.mean(), blocks=blocks).error)
    num = int(weights.sum())
    if num < 2:
        return Estimate(value, math.inf)
    variance = float(weights @ (x - value) ** 2) / (num - 1)
    freedom = freedom_left(num - 1.0, np.repeat(x, weights), float(num))
    return Estimate(value, math.sqrt(variance / num) * student_factor(freedom))


def effective_number(weights: ArrayLike) -> float:
    """Return the number of independent samples of equal weight that weighted ones are worth.

    It is the sum of counts (integers), or (Σ w)²/Σ w² for real weights.

    Args:
        weights: Counts or real weights of shape ``(samples,)``.
    """
    w = np.asarray(weights)
    return float(w.sum()) if _are_counts(w) else float(w.sum() ** 2 / (w**2).sum())


def _are_counts(weights: NDArray[Any]) -> bool:
    return weights.dtype.kind in "iu"


def jackknife(
    function: Callable[..., float],
    *arrays: ArrayLike,
    blocks: Blocks | None = None,
    weights: ArrayLike | None = None,
) -> Estimate:
    """Estimate a function of means, f(⟨a⟩, ⟨b⟩, …), by the blocked jackknife.

    Let f be the function of all M samples, f_k the function without the m_k samples of block k, and
    h = M/m_k. The value and its variance over the n blocks are

        v = Σ_k [f − (1 − 1/h) f_k],
        σ² = 1/n Σ_k (h f − (h−1) f_k − v)²/(h−1).

    For equal blocks these are the usual n f − (n−1) f̄_k and (n−1)/n Σ_k (f_k − f̄_k)². The correction
    v − f is multiplied by the square of `Blocks.understatement`, so the value has no bias of order 1/M.
    The error is σ times `Blocks.factor`, so that ±1 error covers 68 %. The correction is added in
    quadrature, because a function with a large one is not linear within its error.

    Without blocks the samples are one series. Its blocks follow from the autocorrelation time of the
    linearised function Σ_a ∂f/∂⟨a⟩ (a − ⟨a⟩).

    Args:
        function: Function from one mean per array to a number.
        *arrays: Samples along the first axis, equally many in all; shape ``(samples, ...)``.
        blocks: Blocks of the samples; by default the samples are one series.
        weights: Weights of the samples, as in `mean`, with which all means are taken. With counts each
            block is one independent sample, whatever ``blocks`` is.

    Returns:
        The estimate; its error is infinite if there is only one block, or a correlated series is shorter
        than 9 τ.

    Raises:
        ValueError: The arrays differ in length, or there are fewer than 2 samples or blocks.

    References:
        F. Busing, E. Meijer and R. van der Leeden, Stat. Comput. 9, 3 (1999);
        U. Wolff, Comput. Phys. Commun. 156, 143 (2004), arXiv:hep-lat/0306017.

    Example:
        >>> x = np.random.default_rng(0).normal(size=10_000)
        >>> print(jackknife(lambda first, second: second - first**2, x, x**2))
        0.996(13)
    """
    (estimate,) = jackknife_each(
        lambda *means: [function(*means)], *arrays, blocks=blocks, weights=weights
    )
    return estimate


def jackknife_each(
    function: Callable[..., ArrayLike],
    *arrays: ArrayLike,
    blocks: Blocks | None = None,
    weights: ArrayLike | None = None,
) -> list[Estimate]:
    """Estimate several functions of the same means by the blocked jackknife.

    Args:
        function: Function from one mean per array to a list of numbers.
        *arrays: Samples as in `jackknife`.
        blocks: Blocks, as in `jackknife`.
        weights: Weights of the samples, as in `jackknife`.

    Raises:
        ValueError: The arrays differ in length, or there are fewer than 2 samples or blocks.
    """
    if weights is not None:
        w = np.asarray(weights)
        if _are_counts(w):
            return _jackknife_of_counts(function, [np.asarray(a, np.float64) for a in arrays], w)
        products = [(np.asarray(array, np.float64).T * w).T for array in arrays]
        return jackknife_each(
            lambda total, *sums: function(*(part / total for part in sums)), w, *products, blocks=blocks
        )
    samples = [np.asarray(array, dtype=np.float64) for array in arrays]
    length = len(samples[0])
    if any(len(sample) != length for sample in samples) or length < 2:
        raise ValueError("Pass arrays of equal length, with at least 2 samples.")
    full = np.array(function(*(sample.mean(axis=0) for sample in samples)), dtype=np.float64)
    deviations = None
    if blocks is None:
        deviations = _linearised(function, samples, full)
        columns = [*deviations, *(sample for sample in samples if sample.ndim == 1)]
        blocks = blocks_of(*columns)
    if blocks.num != length:
        raise ValueError(f"Pass blocks of {length} samples, not of {blocks.num}.")
    if len(blocks.starts) == 1:
        return [Estimate(float(value), math.inf) for value in full]
    starts, sizes = blocks.starts, blocks.sizes
    replicas = []
    for sample in samples:
        others = sample.sum(axis=0) - np.add.reduceat(sample, starts, axis=0)
        replicas.append((others.T / (length - sizes)).T)
    without = np.array([function(*means) for means in zip(*replicas, strict=True)])
    if len(starts) == length:
        deviations = np.nan_to_num((length - 1) * (full - without)).T
    elif deviations is None:
        deviations = _linearised(function, samples, full)
    estimates = []
    for f, f_k, series in zip(full, without.T.copy(), deviations, strict=True):
        value, error = _pseudo_values(f, f_k, length / sizes)
        bias = blocks.understatement**2 * (f - value)
        estimates.append(Estimate(float(f - bias), math.hypot(error * blocks.factor(series), bias)))
    return estimates


def blocks_of(*series: NDArray[np.float64]) -> Blocks:
    """Return blocks of the rows of a correlated series, a single one if the rows are too few.

    Args:
        *series: Functions of the rows `(M,)`, the slowest of which decides.
    """
    varying = [column[None] for column in series if np.ptp(column) > 0]
    return _blocks_of((1, len(series[0])), [gamma_method(column) for column in varying])


def _blocks_of(shape: tuple[int, ...], gammas: list[Gamma]) -> Blocks:
    """Return the blocks of chains one after the other; a single one if they are too short.

    Args:
        shape: Numbers of chains and of their steps.
        gammas: Results of the Γ method for several series of the chains.
    """
    chains, steps = shape
    num = chains * steps
    if any(is_too_short(num, gamma.tau) for gamma in gammas):
        return Blocks.single(num)
    # An independent series has times of half a step within their errors.
    correlated = [gamma.longest for gamma in gammas if gamma.tau >= INDEPENDENT]
    tau = max(correlated, default=0.5)
    apart = steps + math.ceil(2 * TIMES_PER_BLOCK * tau)
    return Blocks.of_rows((np.arange(chains)[:, None] * apart + np.arange(steps)).ravel(), tau)


def _linearised(
    function: Callable[..., ArrayLike], samples: list[NDArray[np.float64]], full: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the deviations Σ_a ∂f/∂⟨a⟩ (a − ⟨a⟩) of the functions for each sample `(functions, M)`.

    If the means have more components than there are samples, the samples are left out one by one.
    """
    means = [sample.mean(axis=0) for sample in samples]
    num = len(samples[0])
    if 2 * sum(mean.size for mean in means) > num:
        others = [mean + (mean - a) / (num - 1) for mean, a in zip(means, samples, strict=True)]
        without = np.array([function(*replica) for replica in zip(*others, strict=True)])
        return np.nan_to_num((num - 1) * (full - without)).T
    deviations = np.zeros((len(full), num))
    for number, (sample, mean) in enumerate(zip(samples, means, strict=True)):
        columns = sample.reshape(num, -1)
        steps = STEP * columns.std(axis=0) / math.sqrt(num)
        for place in np.flatnonzero(steps):
            shift = np.where(np.arange(len(steps)) == place, steps, 0.0).reshape(mean.shape)
            ends = [
                np.asarray(function(*means[:number], mean + way * shift, *means[number + 1 :]))
                for way in (1, -1)
            ]
            slope = np.nan_to_num((ends[0] - ends[1]) / (2 * steps[place]))
            deviations += np.outer(slope, columns[:, place] - columns[:, place].mean())
    return deviations


def _jackknife_of_counts(
    function: Callable[..., ArrayLike], arrays: list[NDArray[np.float64]], counts: NDArray[Any]
) -> list[Estimate]:
    """Leave out one sample at a time; equal ones, of one row, are computed once."""
    arrays, counts = [array[counts > 0] for array in arrays], counts[counts > 0]
    num = int(counts.sum())
    if any(len(array) != len(counts) for array in arrays) or num < 2:
        raise ValueError("Pass arrays and weights of equal length, with at least 2 samples.")
    means = [np.average(array, axis=0, weights=counts) for array in arrays]
    others = [mean + (mean - array) / (num - 1) for mean, array in zip(means, arrays, strict=True)]
    without = np.array([function(*replica) for replica in zip(*others, strict=True)])
    change = np.array(function(*means)) - without
    bias = (num - 1) * np.average(change, axis=0, weights=counts)
    spread = change - np.average(change, axis=0, weights=counts)
    variances = (num - 1) * np.average(spread**2, axis=0, weights=counts)
    estimates = []
    for value, shift, variance, series in zip(
        np.array(function(*means)) + bias, bias, variances, spread.T, strict=True
    ):
        freedom = freedom_left(num - 1.0, np.repeat(series, counts), float(num))
        error = student_factor(freedom) * math.sqrt(variance)
        estimates.append(Estimate(float(value), math.hypot(error, shift)))
    return estimates


def _pseudo_values(full: float, without: NDArray[np.float64], h: NDArray[np.float64]) -> Estimate:
    """Combine f, the f_k `(blocks,)` and h = M/m_k `(blocks,)` as `jackknife` says."""
    value = np.sum(full - (1.0 - 1.0 / h) * without)
    variance = np.mean((h * full - (h - 1.0) * without - value) ** 2 / (h - 1.0))
    return Estimate(float(value), math.sqrt(variance))
