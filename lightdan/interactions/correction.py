"""Couplings of a network, corrected by configurations that it has not seen."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lightdan.interactions.fit import Fit


@dataclass(frozen=True, eq=False)
class CorrectedFit:
    """Couplings of a network, corrected by configurations that it has not seen.

        βJ = J^PL + w d,  d = J⁰ + δ − J^PL_h,  w = σ_PL²/(σ_PL² + σ_d² + d²)

    J⁰ + δ and J^PL_h estimate the same couplings from the same held-out configurations, whose noise
    cancels in d. If H consists of the operators and the network is good, d is nearly 0. A large d shows
    that the training was too short, and the weight w takes it out of the estimate.

    The error contains the noise of the fits and w d.

    Args:
        network: J⁰, the projection of H_θ on its own samples.
        missing: δ, the couplings that held-out configurations require in addition to H_θ.
        pseudo_held_out: J^PL_h, the pseudo-likelihood fit to the held-out configurations.
        pseudo: J^PL, the pseudo-likelihood fit to all configurations.
    """

    network: Fit
    missing: Fit
    pseudo_held_out: Fit
    pseudo: Fit

    @cached_property
    def remainder(self) -> Fit:
        """The difference δ − J^PL_h, whose noise cancels largely."""
        return Fit(
            self.missing.couplings - self.pseudo_held_out.couplings,
            self.missing.influence - self.pseudo_held_out.influence,
            self.missing.block_size,
            self.missing.counts,
            np.vstack([self.missing.held, -self.pseudo_held_out.held]),
        )

    @cached_property
    def difference(self) -> np.ndarray:
        """The difference d of the network from the pseudo-likelihood `(operators,)`."""
        difference: np.ndarray = self.network.couplings + self.remainder.couplings
        return difference

    @cached_property
    def _uncertainty(self) -> np.ndarray:
        """Covariance of d, and its size, which noise does not explain `(operators, operators)`."""
        noise = self.network.covariance + self.remainder.covariance
        uncertainty: np.ndarray = noise + np.outer(self.difference, self.difference)
        return uncertainty

    @cached_property
    def weights(self) -> np.ndarray:
        """The weights w of the differences `(operators,)`."""
        variance = self.pseudo.standard_errors**2
        weights: np.ndarray = variance / (variance + self._uncertainty.diagonal())
        return weights

    @cached_property
    def couplings(self) -> np.ndarray:
        """Couplings βJ `(operators,)`."""
        total: np.ndarray = self.pseudo.couplings + self.weights * self.difference
        return total

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance of the couplings `(operators, operators)`."""
        weighted = self.weights[:, None] * self._uncertainty * self.weights
        covariance: np.ndarray = self.pseudo.covariance + weighted
        return covariance

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the couplings `(operators,)`."""
        return np.sqrt(self.covariance.diagonal())

    @property
    def network_errors(self) -> np.ndarray:
        """Errors of J⁰ `(operators,)`, from the size of δ and its standard error."""
        return np.hypot(self.missing.couplings, self.missing.standard_errors)
