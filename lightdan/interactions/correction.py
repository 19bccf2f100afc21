"""Couplings of a network, corrected by configurations that it has not seen."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lightdan.interactions.fit import Fit


@dataclass(frozen=True, eq=False)
class CorrectedFit:
    """Couplings of a network, corrected by configurations that it has not seen.

        βJ = J⁰ + δ + (J^PL − J^PL_h)

    The few held-out configurations make δ noisy. Its noise is nearly equal to the noise of J^PL_h, so
    the last bracket exchanges it for the smaller noise of J^PL.

    The error contains the noise of the fits and J⁰ + δ − J^PL_h. The latter is small where H_θ is good
    and large where its training was too short.

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
        )

    @cached_property
    def couplings(self) -> np.ndarray:
        """Couplings βJ `(operators,)`."""
        total: np.ndarray = self.network.couplings + self.pseudo.couplings + self.remainder.couplings
        return total

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance of the couplings `(operators, operators)`."""
        noise = self.network.covariance + self.remainder.covariance + self.pseudo.covariance
        # J⁰ + δ and J^PL_h should agree on the same configurations. Their difference is second order in
        # the network's error and is not covered by the statistical noise.
        difference = self.network.couplings + self.remainder.couplings
        covariance: np.ndarray = noise + np.outer(difference, difference)
        return covariance

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the couplings `(operators,)`."""
        return np.sqrt(self.covariance.diagonal())

    @property
    def network_errors(self) -> np.ndarray:
        """Errors of J⁰ `(operators,)`, from the size of δ and its standard error."""
        return np.hypot(self.missing.couplings, self.missing.standard_errors)
