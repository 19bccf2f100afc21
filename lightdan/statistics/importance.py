"""Importance weights and ratios of partition functions, with errors."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit

from lightdan.statistics.blocks import Blocks
from lightdan.statistics.estimates import Estimate, freedom_left, student_factor
from lightdan.statistics.means import effective_number, mean


def effective_sample_size(log_weights: ArrayLike) -> Estimate:
    """Return the effective sample size of importance weights, as a fraction of the M samples.

        ESS/M = (Σ w)² / (M Σ w²) = ⟨w⟩²/⟨w²⟩

    The error is that of the linearised ratio. Large weights of regions without samples do not lower
    the estimate.

    Args:
        log_weights: Logarithm ln w of independent samples, up to a constant; shape ``(samples,)``.

    Raises:
        ValueError: The largest weight is not finite.

    References:
        A. B. Owen, Monte Carlo theory, methods and examples, section 9.3.
    """
    weights, _ = _relative_weights(log_weights)
    fraction = 1.0 / np.mean(weights**2)
    influence = fraction * (2.0 * weights - fraction * weights**2 - 1.0)
    return Estimate(float(fraction), _standard_error(influence))


def acceptance(log_weights: ArrayLike) -> Estimate:
    """Return the acceptance in equilibrium of a Markov chain that proposes independent samples.

        A = ⟨min(w, w')⟩/⟨w⟩

    Proposals are accepted with min(1, w'/w). The mean is over all pairs of different samples.

    Args:
        log_weights: Logarithm ln w of independent samples, up to a constant; shape ``(samples,)``.

    Raises:
        ValueError: The largest weight is not finite.

    References:
        J. S. Liu, Stat. Comput. 6, 113 (1996).
    """
    weights, _ = _relative_weights(log_weights)
    num = len(weights)
    if num < 2:
        return Estimate(1.0, math.inf)
    order = np.argsort(weights)
    ascending = weights[order]
    others = np.cumsum(ascending) - ascending + ascending * np.arange(num - 1, -1, -1)
    smaller = np.empty(num)
    smaller[order] = others / (num - 1)
    value = float(smaller.mean())
    return Estimate(value, _standard_error(2.0 * (smaller - value) - value * (weights - 1.0)))


def weighted_mean(x: ArrayLike, log_weights: ArrayLike) -> Estimate:
    """Return the self-normalised importance-sampling mean Σ w x / Σ w.

    The error is √(Σ w² (x − x̄)²) / Σ w, by the delta method.

    Args:
        x: One value per sample; shape ``(samples,)``.
        log_weights: Logarithm ln w of independent samples, up to a constant; shape ``(samples,)``.

    Raises:
        ValueError: The largest weight is not finite, or the shapes differ.

    References:
        A. B. Owen, Monte Carlo theory, methods and examples, equation 9.9.
    """
    values = np.asarray(x, dtype=np.float64)
    weights, _ = _relative_weights(log_weights)
    if values.shape != weights.shape:
        raise ValueError(f"x has shape {values.shape} but log_weights {weights.shape}.")
    value = float(np.mean(weights * values))
    return Estimate(value, _standard_error(weights * (values - value)))


def log_mean_exp(log_weights: ArrayLike) -> Estimate:
    """Return the logarithm of a mean, ln ⟨w⟩.

    With w = e^{−βE}/q and samples of q this estimates ln Z. The error is √((⟨w²⟩/⟨w⟩² − 1)/M), by the
    delta method. The estimate is low by half the squared error to leading order, which is not
    corrected because it matters only if the error is large.

    Args:
        log_weights: Logarithm ln w of independent samples; shape ``(samples,)``.

    Raises:
        ValueError: The largest weight is not finite.

    References:
        A. B. Owen, Monte Carlo theory, methods and examples, chapter 9.
    """
    weights, log_mean = _relative_weights(log_weights)
    return Estimate(log_mean, _standard_error(weights))


def bennett(
    log_ratio_first: ArrayLike,
    log_ratio_second: ArrayLike,
    weights: NDArray[Any] | None = None,
    blocks: Blocks | None = None,
) -> Estimate:
    """Return ln(Z_1/Z_2) from samples of both distributions, by Bennett's acceptance ratio.

    Let f_1, f_2 be the unnormalised densities, u = ln(f_1/f_2) and M = ln(n_1/n_2). Then
    C = ln(Z_1/Z_2) solves

        Σ_{s~1} σ(−(u − C) − M) = Σ_{s~2} σ(u − C + M).

    No other estimate from the two samples has a smaller variance. The error is infinite if the samples
    do not overlap.

    Args:
        log_ratio_first: Log ratio u of samples of the first distribution; shape ``(n_1,)``.
        log_ratio_second: Log ratio u of samples of the second; shape ``(n_2,)``.
        weights: Weights of the samples of the first, as in `mean`; n_1 is then their `effective_number`.
        blocks: Blocks of the samples of the first, as in `mean`.

    Raises:
        ValueError: One of the numbers is not finite.

    References:
        C. Bennett, J. Comput. Phys. 22, 245 (1976).
    """
    first, second = (np.asarray(u, dtype=np.float64) for u in (log_ratio_first, log_ratio_second))
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("log_ratio_first and log_ratio_second must hold finite numbers.")
    num = len(first) if weights is None else effective_number(weights)
    shift = math.log(num / len(second))

    def acceptances(c: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return expit(c - first - shift), expit(second - c + shift)

    def excess(c: float) -> float:
        of_first, of_second = acceptances(c)
        total = of_first.sum() if weights is None else num * np.average(of_first, weights=weights)
        return float(total - of_second.sum())

    everything = np.concatenate([first, second])
    reach = abs(shift) + 1.0
    value = brentq(excess, everything.min() - reach, everything.max() + reach, xtol=1e-12)
    of_first, of_second = acceptances(value)
    means = [mean(of_first, weights, blocks), mean(of_second)]
    variance = sum((a.error / a.value) ** 2 if a.value > 0 else math.inf for a in means)
    return Estimate(float(value), math.sqrt(variance))


def _relative_weights(log_weights: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """Return the weights over their mean and the logarithm of that mean."""
    logs = np.asarray(log_weights, dtype=np.float64)
    largest = logs.max(initial=-np.inf)
    if not np.isfinite(largest):
        raise ValueError("log_weights must be below infinity, with at least one finite.")
    weights = np.exp(logs - largest)
    average = weights.mean()
    return weights / average, float(largest + np.log(average))


def _standard_error(x: NDArray[np.float64]) -> float:
    """Return the error of a mean of independent samples, or infinity for a single one."""
    if x.size < 2:
        return math.inf
    freedom = freedom_left(x.size - 1.0, x, float(x.size))
    return student_factor(freedom) * float(np.std(x, ddof=1) / math.sqrt(x.size))
