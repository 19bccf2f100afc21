"""Tails of importance weights, which tell whether their errors can be trusted."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightdan.statistics.importance import effective_sample_size

FEWEST_EFFECTIVE = 100
"""Effective number of samples below which reweighted estimates have no error."""
FEWEST_FOR_SIZE = 500
"""Effective number of samples below which its own error is not known."""
FEWEST_IN_TAIL = 5
"""Number of largest weights to which a tail is fitted at least."""
LARGEST_SHAPE = 0.7
"""Shape of the tail above which no number of samples suffices."""


def pareto_shape(log_weights: ArrayLike) -> float:
    """Return the shape k of the tail of importance weights.

    The weights above the min(M/5, 3√M) largest follow a generalised Pareto distribution,

        P(w > w_0 + x) = (1 + k x/σ)^(−1/k).

    Weights have a finite variance if k < 1/2. The estimate is drawn towards 1/2 as by 10 further
    weights.

    Args:
        log_weights: Logarithm ln w of independent samples, up to a constant; shape ``(samples,)``.

    Returns:
        k; NaN if fewer than 5 weights are above w_0, as where all are equal.

    References:
        A. Vehtari et al., J. Mach. Learn. Res. 25, 72 (2024), arXiv:1507.02646.
    """
    logs = np.asarray(log_weights, dtype=np.float64)
    weights = np.sort(np.exp(logs - logs.max()))
    num = math.ceil(min(0.2 * len(weights), 3 * math.sqrt(len(weights))))
    if num >= len(weights):
        return math.nan
    excess = weights[-num:] - weights[-num - 1]
    excess = excess[excess > 0]
    if len(excess) < FEWEST_IN_TAIL:
        return math.nan
    return (len(excess) * fitted_shape(excess) + 10 * 0.5) / (len(excess) + 10)


def fitted_shape(excess: NDArray[np.float64]) -> float:
    """Return the shape k of a generalised Pareto distribution, fitted to positive numbers.

    With θ = −k/σ, k is the mean of ln(1 − θ x), and θ its mean under the profile likelihood on a grid.

    Args:
        excess: Positive numbers in ascending order `(n,)`.

    References:
        J. Zhang and M. Stephens, Technometrics 51, 316 (2009).
    """
    num = len(excess)
    points = 30 + int(math.sqrt(num))
    quartile = excess[int(num / 4 + 0.5) - 1]
    theta = (1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))) / (3 * quartile) + 1 / excess[-1]
    shape = np.log1p(-theta[:, None] * excess).mean(axis=1)
    likelihood = num * (np.log(-theta / shape) - shape - 1)
    weights = np.exp(likelihood - likelihood.max())
    mean = float(weights @ theta / weights.sum())
    return float(np.log1p(-mean * excess).mean())


def weakness(log_weights: ArrayLike) -> str | None:
    """Return why estimates with importance weights have no error that covers, or None.

    The effective number of samples must be 100, and the tail of the weights lighter than

        k < min(1 − 1/log₁₀ M, 0.7).

    Args:
        log_weights: Logarithm ln w of M independent samples, up to a constant; shape ``(samples,)``.

    Returns:
        A few words for a table.
    """
    return _weakness(np.asarray(log_weights, dtype=np.float64), FEWEST_EFFECTIVE, 1)


def weakness_of_size(log_weights: ArrayLike) -> str | None:
    """Return why the effective sample size of importance weights has no error that covers, or None.

    It depends on the mean of w², whose tail has twice the shape k of that of w. There must be 500
    effective samples.

    Args:
        log_weights: Logarithm ln w of M independent samples, up to a constant; shape ``(samples,)``.

    Returns:
        A few words for a table.
    """
    return _weakness(np.asarray(log_weights, dtype=np.float64), FEWEST_FOR_SIZE, 2)


def _weakness(logs: NDArray[np.float64], fewest: int, power: int) -> str | None:
    effective = effective_sample_size(logs).value * len(logs)
    if effective < min(fewest, 0.999 * len(logs)):
        share = 100 / np.exp(logs - logs.max()).sum()
        return f"{effective:.2g} effective samples, the largest is {share:.2g} %"
    shape = pareto_shape(logs)
    if power * shape > min(1 - 1 / math.log10(max(len(logs), 2)), LARGEST_SHAPE):
        return f"heavy weights, k = {shape:.2f}"
    return None
