"""Normal distribution of fields: the linear regression of each site on the sites before it."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from lightdan.interactions import independent
from lightdan.interactions.observations import Observations
from lightdan.types import Configurations

SHRINKAGES = (1e-6, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
"""Shares by which correlations are reduced, among which held-out configurations choose."""


class Normal:
    """Normal distribution with the means and variances of configurations and reduced correlations.

        C_ij = (1 − λ) ⟨δφ_i δφ_j⟩ for i ≠ j

    Its Cholesky factor is the linear regression of each site on the sites before it, in any order.

    Args:
        observations: Configurations with weights.
        shrinkage: Share λ.

    Raises:
        ValueError: A field never changes.
    """

    def __init__(self, observations: Observations, shrinkage: float) -> None:
        self.mean, self.deviation = independent.moments(observations).T
        z = self._standard(observations.rows)
        factors = observations.factors
        w = np.ones(len(z)) if factors is None else factors.cpu().numpy()
        correlation = (1 - shrinkage) * (z.T * w) @ z / w.sum()
        np.fill_diagonal(correlation, 1.0)
        self.factor = np.linalg.cholesky(correlation)

    def _standard(self, configurations: Configurations) -> NDArray[np.float64]:
        """Return (φ − mean)/deviation `(M, N)`."""
        values = configurations.flatten(1).double().cpu().numpy()
        standard: NDArray[np.float64] = (values - self.mean) / self.deviation
        return standard

    def log_prob(self, configurations: Configurations) -> NDArray[np.float64]:
        """Return ln p `(M,)`."""
        noise = solve_triangular(self.factor, self._standard(configurations).T, lower=True)
        constant = np.log(self.factor.diagonal() * self.deviation).sum()
        constant += len(self.mean) * math.log(2 * math.pi) / 2
        logs: NDArray[np.float64] = -(noise**2).sum(0) / 2 - constant
        return logs


def best_normal(observations: Observations) -> Normal:
    """Return the normal distribution under whose λ held-out observations are most likely."""
    likelihoods = np.zeros(len(SHRINKAGES))
    for held_out, train in observations.folds():
        for index, shrinkage in enumerate(SHRINKAGES):
            normal = Normal(train, shrinkage)
            likelihoods[index] += held_out.sum(normal.log_prob(held_out.rows))
    return Normal(observations, SHRINKAGES[int(likelihoods.argmax())])
