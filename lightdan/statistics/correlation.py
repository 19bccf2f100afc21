"""Autocorrelation time of series."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightdan.statistics.estimates import Estimate

LEAST_TIMES = 50
"""Autocorrelation times that a series must last to tell its autocorrelation time."""

CORRELATED = 1.5
"""Autocorrelation time of unknown error above which rows are correlated."""
FEWEST_TIMES = 9
"""Measured autocorrelation times that a correlated series must last to tell an error.

A series of 8 τ looks as long as 10 to 26 τ, and its errors still cover 61 to 70 %. A larger number would
refuse those whose τ is found right, and keep those whose τ is found too small.
"""


def autocorrelation_time(x: ArrayLike) -> Estimate:
    """Return the integrated autocorrelation time of a stationary series, in steps.

        τ = 1/2 + Σ_{t≥1} Γ(t)/Γ(0)

    Independent samples have τ = 1/2, and a mean over N samples has the variance 2τ Γ(0)/N. The sum ends
    at the window that balances its statistical error against its truncation error. Several chains
    are measured about their common mean, so chains that are stuck apart show a long time.

    A series shorter than 50 τ shows a τ that is too small, by the factor of seven at 3 τ. The error is
    infinite, and the value a lower bound, if the series may be as short, τ being one error larger.

    Args:
        x: Series of shape ``(steps,)`` or ``(chains, steps)``.

    Returns:
        τ; 0.5 ± 0 for a constant series, 0.5 ± ∞ for chains of fewer than 4 steps.

    References:
        U. Wolff, Comput. Phys. Commun. 156, 143 (2004), arXiv:hep-lat/0306017.
    """
    series = chains_of(x)
    if np.ptp(series) == 0.0:
        return Estimate(0.5, 0.0)
    gamma = gamma_method(series)
    if gamma.window == 0:
        return Estimate(0.5, math.inf)
    return Estimate(gamma.tau, gamma.error if series.size >= LEAST_TIMES * gamma.longest else math.inf)


def is_correlated(tau: Estimate) -> bool:
    """Return whether an autocorrelation time is above that of independent rows.

    It must exceed one row by its error. Where the error is not known, a few independent rows show
    up to 1.5 rows.
    """
    return tau.value - tau.error >= 1.0 if math.isfinite(tau.error) else tau.value >= CORRELATED


def is_too_short(num: int, tau: float) -> bool:
    """Return whether correlated rows are too few to tell an error, because τ is then far too small.

    Args:
        num: Number of rows.
        tau: Measured autocorrelation time in rows.
    """
    return tau >= CORRELATED and num < FEWEST_TIMES * tau


class Gamma(NamedTuple):
    """Result of the Γ method.

    Args:
        tau: Integrated autocorrelation time in steps.
        variance: Variance Γ(0) of a step, without the bias of the subtracted mean.
        window: Last step of the sum; 0 if the chains have fewer than 4 steps.
        error: Standard error of τ, 2τ √((W + 1/2 − τ)/N).
    """

    tau: float
    variance: float
    window: int
    error: float

    @property
    def longest(self) -> float:
        """Autocorrelation time that is one error longer, so that blocks are hardly ever too short."""
        return max(self.tau, 0.5) + self.error


def chains_of(x: ArrayLike) -> NDArray[np.float64]:
    """Return the series as a float array ``(chains, steps)``."""
    series = np.atleast_2d(np.asarray(x, dtype=np.float64))
    if series.ndim != 2 or series.size == 0:
        raise ValueError(f"x must be a series (steps,) or (chains, steps), not of shape {np.shape(x)}.")
    return series


def gamma_method(series: NDArray[np.float64]) -> Gamma:
    """Return τ and the variance of a series that is not constant, `(chains, steps)`."""
    covariance = _autocovariance(series)
    rho = covariance / covariance[0]
    window = _window(rho, series.size)
    # The subtracted mean lowers every Γ(t) by the variance of the mean, 2τ Γ(0)/N.
    tau = max(0.5 + rho[1 : window + 1].sum(), 1.0 / series.size)
    shift = 2.0 * tau / series.size
    variance = float(covariance[0] * (1.0 + shift))
    tau = float((tau + (window + 0.5) * shift) / (1.0 + shift))
    if window == 0:
        return Gamma(0.5, variance, 0, 0.0)
    error = 2.0 * tau * math.sqrt(max(window + 0.5 - tau, 0.0) / series.size)
    return Gamma(tau, variance, window, error)


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
