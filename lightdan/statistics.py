"""Estimates with errors: correlated series, functions of means, importance weights."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit


class Estimate(NamedTuple):
    """A value and its standard error; prints as ``-1.3359(3)``.

    Args:
        value: The estimate.
        error: One standard deviation of the estimate, in the units of ``value``.

    Example:
        >>> print(Estimate(0.49264, 0.00102))
        0.4926(10)
    """

    value: float
    error: float

    def __str__(self) -> str:
        """Return the value with the error in its last digit, or last two if the error begins with 1."""
        value, error = self
        if not (math.isfinite(value) and math.isfinite(error)) or error <= 0.0:
            return f"{value:.6g} ± {error:.2g}"
        exponent = math.floor(math.log10(error))
        decimals = (1 if error < 1.95 * 10.0**exponent else 0) - exponent
        if decimals > 8 or abs(value) >= 1e8:
            return f"{value:.6g} ± {error:.2g}"
        if error >= 1.0:
            decimals = max(decimals, 0)
            return f"{value:.{decimals}f}({error:.{decimals}f})"
        return f"{value:.{decimals}f}({round(error * 10.0**decimals)})"


class Bound(NamedTuple):
    """Bound on an estimate, which lies to one side of it instead of scattering about it.

    Args:
        value: The bound, in the units of the estimate.
        side: ``≤`` if the estimate is at most the bound, ``≥`` if it is at least the bound.

    Example:
        >>> print(Bound(1.0, "≤"))
        ≤ 1
    """

    value: float
    side: Literal["≤", "≥"]

    def __str__(self) -> str:
        """Return the side and the value in six digits."""
        return f"{self.side} {self.value:.6g}"


def autocorrelation_time(x: ArrayLike) -> Estimate:
    """Return the integrated autocorrelation time of a stationary series, in steps.

        τ = 1/2 + Σ_{t≥1} Γ(t)/Γ(0)

    Independent samples have τ = 1/2, and a mean over N samples has the variance 2τ Γ(0)/N. The sum ends
    at the window that balances its statistical error against its truncation error. Several chains
    are measured about their common mean, so chains that are stuck apart show a long time.

    Args:
        x: Series of shape ``(steps,)`` or ``(chains, steps)``.

    Returns:
        τ; 0.5 ± 0 for a constant series, 0.5 ± ∞ for chains of fewer than 4 steps.

    References:
        U. Wolff, Comput. Phys. Commun. 156, 143 (2004), arXiv:hep-lat/0306017.
    """
    return _gamma_method(_chains(x))[0]


def mean(x: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
    """Return the mean of a stationary, correlated series, with the error √(2τ Γ(0)/N).

    Γ is corrected for the bias of the subtracted mean. For independent samples the error is s/√N.

    With weights the value is Σ w x/Σ w. Integers are counts: a sample with a count of n is n independent
    ones. For real weights Γ is that of w (x − x̄)/⟨w⟩; the error of independent samples is then
    √(Σ w² (x − x̄)²)/Σ w.

    Args:
        x: Series of shape ``(steps,)`` or ``(chains, steps)``.
        weights: Counts (integers) or real weights of shape ``(steps,)``; by default all are equal.

    Returns:
        The mean in the units of ``x``; the error of a single number is infinite.

    Raises:
        ValueError: x and weights differ in shape.

    References:
        U. Wolff, Comput. Phys. Commun. 156, 143 (2004), arXiv:hep-lat/0306017.
    """
    if weights is not None:
        return _mean_with_weights(np.asarray(x, dtype=np.float64), np.asarray(weights))
    series = _chains(x)
    if series.size == 1:
        return Estimate(float(series[0, 0]), math.inf)
    tau, variance = _gamma_method(series)
    return Estimate(float(series.mean()), math.sqrt(2.0 * tau.value * variance / series.size))


def _mean_with_weights(x: NDArray[np.float64], weights: NDArray[Any]) -> Estimate:
    if x.shape != weights.shape:
        raise ValueError(f"x has the shape {x.shape} but weights {weights.shape}: pass one for each.")
    value = float(np.average(x, weights=weights))
    if not _are_counts(weights):
        return Estimate(value, mean(weights * (x - value) / weights.mean()).error)
    num = int(weights.sum())
    if num < 2:
        return Estimate(value, math.inf)
    variance = float(weights @ (x - value) ** 2) / (num - 1)
    return Estimate(value, math.sqrt(variance / num))


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
    blocks: int = 32,
    weights: ArrayLike | None = None,
) -> Estimate:
    """Estimate a function of means, f(⟨a⟩, ⟨b⟩, …), by the blocked jackknife.

    Let f be the function of all M samples, f_k the function without the m_k samples of block k, and
    h = M/m_k. The value and its variance over the n blocks are

        v = Σ_k [f − (1 − 1/h) f_k],
        σ² = 1/n Σ_k (h f − (h−1) f_k − v)²/(h−1).

    The value has no bias of order 1/M. For equal blocks these are the usual n f − (n−1) f̄_k and
    (n−1)/n Σ_k (f_k − f̄_k)².

    Args:
        function: Function from one mean per array to a number.
        *arrays: Samples along the first axis, equally many in all; shape ``(samples, ...)``.
        blocks: Number n of consecutive blocks; each should last many autocorrelation times.
        weights: Weights of the samples, as in `mean`, with which all means are taken. With counts each
            block is one independent sample, whatever ``blocks`` is.

    Raises:
        ValueError: The arrays differ in length, or there are fewer than 2 samples or blocks.

    References:
        F. Busing, E. Meijer and R. van der Leeden, Stat. Comput. 9, 3 (1999).

    Example:
        >>> x = np.random.default_rng(0).normal(size=10_000)
        >>> print(jackknife(lambda first, second: second - first**2, x, x**2))
        0.996(14)
    """
    (estimate,) = jackknife_each(
        lambda *means: [function(*means)], *arrays, blocks=blocks, weights=weights
    )
    return estimate


def jackknife_each(
    function: Callable[..., ArrayLike],
    *arrays: ArrayLike,
    blocks: int = 32,
    weights: ArrayLike | None = None,
) -> list[Estimate]:
    """Estimate several functions of the same means by the blocked jackknife.

    Args:
        function: Function from one mean per array to a list of numbers.
        *arrays: Samples as in `jackknife`.
        blocks: Number of consecutive blocks.
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
    if any(len(sample) != length for sample in samples) or min(length, blocks) < 2:
        raise ValueError("Pass arrays of equal length, with at least 2 samples in at least 2 blocks.")
    num_blocks = min(length, blocks)
    starts = np.arange(num_blocks) * length // num_blocks
    sizes = np.diff(starts, append=length)
    replicas = []
    for sample in samples:
        others = sample.sum(axis=0) - np.add.reduceat(sample, starts, axis=0)
        replicas.append((others.T / (length - sizes)).T)
    without = np.array([function(*means) for means in zip(*replicas, strict=True)])
    full = np.array(function(*(sample.mean(axis=0) for sample in samples)))
    return [_pseudo_values(*each, length / sizes) for each in zip(full, without.T.copy(), strict=True)]


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
    values = np.array(function(*means)) + bias
    return [Estimate(float(v), math.sqrt(s)) for v, s in zip(values, variances, strict=True)]


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
    log_ratio_first: ArrayLike, log_ratio_second: ArrayLike, weights: NDArray[Any] | None = None
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
    means = [mean(of_first, weights), mean(of_second)]
    variance = sum((a.error / a.value) ** 2 if a.value > 0 else math.inf for a in means)
    return Estimate(float(value), math.sqrt(variance))


def _chains(x: ArrayLike) -> NDArray[np.float64]:
    """Return the series as a float array ``(chains, steps)``."""
    series = np.atleast_2d(np.asarray(x, dtype=np.float64))
    if series.ndim != 2 or series.size == 0:
        raise ValueError(f"x must be a series (steps,) or (chains, steps), not of shape {np.shape(x)}.")
    return series


def _gamma_method(series: NDArray[np.float64]) -> tuple[Estimate, float]:
    """Return τ and the bias-corrected variance Γ(0) of ``series``, shape ``(chains, steps)``."""
    if np.ptp(series) == 0.0:
        return Estimate(0.5, 0.0), 0.0
    covariance = _autocovariance(series)
    rho = covariance / covariance[0]
    window = _window(rho, series.size)
    # The subtracted mean lowers every Γ(t) by the variance of the mean, 2τ Γ(0)/N.
    tau = max(0.5 + rho[1 : window + 1].sum(), 1.0 / series.size)
    shift = 2.0 * tau / series.size
    variance = float(covariance[0] * (1.0 + shift))
    tau = float((tau + (window + 0.5) * shift) / (1.0 + shift))
    if window == 0:
        return Estimate(0.5, math.inf), variance
    error = 2.0 * tau * math.sqrt(max(window + 0.5 - tau, 0.0) / series.size)
    return Estimate(tau, error), variance


def _autocovariance(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Γ(t) for t = 0 … steps/4 about the common mean, ``(chains, steps)`` -> ``(lags,)``."""
    chains, steps = series.shape
    spectrum = np.fft.rfft(series - series.mean(), n=2 * steps)
    products = np.fft.irfft(np.abs(spectrum) ** 2, n=2 * steps).sum(axis=0)
    lags = np.arange(steps // 4 + 1)
    covariance: NDArray[np.float64] = products[lags] / (chains * (steps - lags))
    return covariance


def _window(rho: NDArray[np.float64], size: int) -> int:
    """Return Wolff's automatic window, with a decay time of 1.5 times the integrated time."""
    total = 0.0
    for t in range(1, len(rho)):
        total += rho[t]
        # Anticorrelated samples would end the sum at once without the absolute value.
        decay = 1.5 / math.log1p(1.0 / max(abs(total), 1e-9))
        if math.exp(-t / decay) < decay / math.sqrt(t * size):
            return t
    return len(rho) - 1


def _pseudo_values(full: float, without: NDArray[np.float64], h: NDArray[np.float64]) -> Estimate:
    """Combine f, the f_k `(blocks,)` and h = M/m_k `(blocks,)` as `jackknife` says."""
    value = np.sum(full - (1.0 - 1.0 / h) * without)
    variance = np.mean((h * full - (h - 1.0) * without - value) ** 2 / (h - 1.0))
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
    """Return s/√M of independent samples, or infinity for a single one."""
    return math.inf if x.size < 2 else float(np.std(x, ddof=1) / math.sqrt(x.size))
