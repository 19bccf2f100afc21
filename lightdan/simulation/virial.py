"""The virial theorem of fields, an exact test of their equilibrium."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_1samp

STEP = 1e-4
"""Relative change of the fields by which S is differentiated."""
RARE = 1e-6
"""Probability that chains in equilibrium are warned of."""
FEWEST = 64
"""Number of fields of a chain below which its mean is too far from normal for Student's test."""
ROWS_PER_CALL = 4096


def virial(
    action: Callable[[NDArray[np.float64]], NDArray[np.float64]], fields: NDArray[Any]
) -> NDArray[np.float64]:
    """Return Σ_i φ_i ∂S/∂φ_i / N of fields `(M, N)`, by scaling them `(M,)`.

    Its mean in e^{−S}/Z is 1, by partial integration.

    Args:
        action: Function from fields `(M, N)` to S `(M,)`.
        fields: Fields.
    """
    exact = fields.astype(np.float64)
    difference = action((1 + STEP) * exact) - action((1 - STEP) * exact)
    return difference / (2 * STEP * fields.shape[1])


def warn_unless_in_equilibrium(
    action: Callable[[NDArray[np.float64]], NDArray[np.float64]], fields: NDArray[Any], num_chains: int
) -> None:
    """Warn if the mean virial of independent chains is not 1.

    The means of the chains are compared with 1 by Student's test, which needs no autocorrelation time.
    Chains of fewer than 64 fields, sites times rows, are not tested.

    Args:
        action: Function from fields `(M, N)` to S `(M,)`.
        fields: Rows of all chains, chain after chain.
        num_chains: Number of chains.
    """
    rows = -(-len(fields) // num_chains)
    if rows * fields.shape[1] < FEWEST:
        return
    starts = range(0, len(fields), ROWS_PER_CALL)
    values = [virial(action, fields[start : start + ROWS_PER_CALL]) for start in starts]
    series = np.concatenate(values)
    means = np.array([series[start : start + rows].mean() for start in range(0, len(series), rows)])
    if len(means) < 4 or np.ptp(means) == 0:
        return
    if float(ttest_1samp(means, 1.0).pvalue) < RARE:
        error = means.std(ddof=1) / np.sqrt(len(means))
        warnings.warn(
            f"The simulated fields are not in equilibrium: φ ∂S/∂φ per site is {means.mean():.3g} ± "
            f"{error:.1g}, and 1 is exact. Use none of these rows; take weaker couplings.",
            stacklevel=2,
        )
