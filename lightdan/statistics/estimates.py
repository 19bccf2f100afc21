"""Values with errors, and bounds."""

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

ONE_SIGMA = float(ndtr(1.0))
"""Probability that a normal variable is below its mean plus one standard deviation."""


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


def student_factor(freedom: int | float) -> float:
    """Return the factor that makes ±1 error cover 68 %, where the error itself is an estimate.

    It is the 84 % quantile of Student's distribution.

    Args:
        freedom: Degrees of freedom ν of the estimated variance; infinity is a known one.
    """
    return math.inf if freedom <= 0 else float(stdtrit(freedom, ONE_SIGMA))


def freedom_left(freedom: float, x: NDArray[np.float64], observations: float) -> float:
    """Return the degrees of freedom of an estimated variance of values that are not normal.

        1/ν = 1/ν_0 + κ/3n

    Here κ = ⟨x⁴⟩/⟨x²⟩² − 3 is the excess kurtosis, if it is positive. With this ν, intervals of ±1 error
    cover 68 % to the order 1/n; a skewness does not matter at one standard error.

    Args:
        freedom: Degrees of freedom ν_0 for normal values.
        x: Values, or deviations of a linearised function `(M,)`.
        observations: Number n of independent values that these are worth.

    References:
        P. Hall, The Bootstrap and Edgeworth Expansion, section 2.3 (1992).
    """
    deviations = x - x.mean()
    square = float((deviations**2).mean())
    if not (math.isfinite(square) and square > 0) or freedom <= 0:
        return freedom
    excess = float((deviations**4).mean()) / square**2 - 3.0
    return 1.0 / (1.0 / freedom + max(excess, 0.0) / (3.0 * observations))
