"""Means and covariances of operators over the data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lightdan.interactions.fit import Fit
from lightdan.interactions.operators import Operator
from lightdan.measurements.couplings.sources import all_configurations, all_weights
from lightdan.measurements.ensemble import Ensemble
from lightdan.statistics import Estimate


@dataclass(frozen=True, eq=False)
class Moments:
    """Means and covariances of operators over configurations.

    Args:
        means: ⟨O_a⟩ with the influence of each configuration.
        covariance: ⟨O_a O_b⟩ − ⟨O_a⟩⟨O_b⟩ `(operators, operators)`.
    """

    means: Fit
    covariance: np.ndarray

    @classmethod
    def of_data(cls, ensemble: Ensemble, operators: Sequence[Operator], block_size: int) -> "Moments":
        """Return the moments of all configurations of a system.

        Args:
            ensemble: Model, system and temperature.
            operators: Operators O_a.
            block_size: Number of consecutive, correlated configurations treated as one observation.
        """
        values = values_of(operators, all_configurations(ensemble).cpu().numpy())
        weights = all_weights(ensemble)
        if weights is None:
            average = values.mean(axis=0)
            return cls(Fit(average, values - average, block_size), covariance_of(values))
        w = weights.cpu().numpy()
        average = np.average(values, axis=0, weights=w)
        if weights.is_floating_point():
            influence = w[:, None] * (values - average) / w.mean()
            covariance = np.atleast_2d(np.cov(values, rowvar=False, aweights=w))
            return cls(Fit(average, influence, block_size), covariance)
        covariance = np.atleast_2d(np.cov(values, rowvar=False, fweights=w))
        return cls(Fit(average, values - average, block_size, w), covariance)

    @cached_property
    def effective_number(self) -> float:
        """Number of independent configurations with the same errors of the means."""
        return float(self.covariance.trace() / np.square(self.means.standard_errors).sum())

    def efficiency(self, covariance: np.ndarray) -> Estimate:
        """Return the variance of the best unbiased estimator, relative to that of couplings.

        It is [det V_CR/det V]^{1/n} for n couplings, with V_CR the inverse covariance of the operators
        over the configurations, divided by their number.

        Args:
            covariance: Covariance V of the couplings `(operators, operators)`.
        """
        num, size = self.effective_number, len(covariance)
        _, bound = np.linalg.slogdet(num * self.covariance)
        _, reached = np.linalg.slogdet(covariance)
        value = float(np.exp(-(bound + reached) / size))
        # A determinant of sample covariances has the relative variance 2n/M.
        return Estimate(value, 2 * value * math.sqrt(1 / (size * num)))


def values_of(operators: Sequence[Operator], configurations: np.ndarray) -> np.ndarray:
    """Return the operators of configurations `(M, operators)`."""
    return np.stack([operator.value(configurations) for operator in operators], axis=1)


def covariance_of(values: np.ndarray) -> np.ndarray:
    """Return the covariance of values `(M, operators)` as a matrix, even of one operator."""
    return np.atleast_2d(np.cov(values, rowvar=False))
