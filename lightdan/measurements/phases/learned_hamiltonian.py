"""The learned Hamiltonian that is simulated elsewhere: H_θ or an explicit one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.measurements.couplings.effective_hamiltonian import EffectiveHamiltonian
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.phases.control import Control
from lightdan.measurements.phases.explicit_chains import explicit_ladders
from lightdan.measurements.phases.ladders import Ladders, Twist
from lightdan.measurements.phases.network_chains import NetworkChains
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate, log_mean_exp, mean
from lightdan.systems.xy import XY

REFUSED = 0.1
"""Acceptance below which the chains no longer use the surrogate."""
SAMPLES = 3_000
"""Number of samples of the network."""


@dataclass(frozen=True, eq=False)
class LearnedHamiltonian:
    """H_θ, or the explicit Hamiltonian of `Couplings` in its place.

    Args:
        ensemble: Model and data at the temperature T of training.
        control: Quantity that changes H.
        effective: Explicit Hamiltonian, which proposes the moves of H_θ unless it replaces H_θ.
        explicit: Whether the explicit Hamiltonian replaces H_θ.
    """

    ensemble: Ensemble
    control: Control
    effective: EffectiveHamiltonian | None = None
    explicit: bool = False

    def held_out(self) -> np.ndarray:
        """Return the scaled terms of H for the held-out configurations `(M,)`."""
        return self._values(self.ensemble.configurations, self.ensemble.log_prob)

    def sampled(self, seed: int) -> np.ndarray:
        """Return the scaled terms of H for samples of the network `(M,)`."""
        samples = self.ensemble.samples(SAMPLES, seed)
        return self._values(samples.configurations, samples.log_prob)

    def _values(self, configurations: Tensor, log_prob: np.ndarray) -> np.ndarray:
        if self.effective is None or not self.explicit:
            return -self.ensemble.temperature * log_prob
        hamiltonian, scaled = self.effective.hamiltonian, self.control.scaled
        if scaled is not None:
            kept = [o for o, chosen in zip(hamiltonian.operators, scaled, strict=True) if chosen]
            hamiltonian = replace(hamiltonian, operators=kept)
        return hamiltonian.energy(configurations.cpu().numpy())

    def simulate(
        self, temperatures: Sequence[float], num_ladders: int, num_steps: int, seed: int
    ) -> tuple[Ladders, np.ndarray | None]:
        """Simulate e^{−H_s/T' − H_r/T} at all T' and return the series and the acceptance.

        Args:
            temperatures: Temperatures T' `(K,)`, ascending.
            num_ladders: Number of independent ladders.
            num_steps: Number of steps of each chain.
            seed: Random seed.

        Returns:
            The series, with draws of the couplings if H is explicit, and the fraction of accepted
            proposals `(K, ladders, steps)` if H is H_θ.
        """
        if self.effective is not None and self.explicit:
            try:
                return self._explicit(temperatures, num_ladders, num_steps, seed), None
            except ValueError as reason:
                raise NotMeasurable(str(reason)) from reason

        system = self.ensemble.system
        known = system if isinstance(system, XY) and system.has_twist else None

        def twist(configurations: Tensor) -> tuple[Tensor, ...]:
            return () if known is None else known.twist(configurations.double())

        def run(surrogate: ExplicitHamiltonian | None) -> np.ndarray:
            chains = NetworkChains(
                self.ensemble.model,
                self.ensemble.temperature,
                temperatures,
                num_ladders,
                lambda configurations: torch.cat([self.observe(configurations), *twist(configurations)]),
                seed,
                surrogate,
            )
            with progress_bar("Chains of the network", num_steps) as advance:
                return chains.run(num_steps, advance)

        series = run(self.effective.hamiltonian if self.effective is not None else None)
        if self.effective is not None and series[1].mean() < REFUSED:
            series = run(None)
        derivatives = None
        if known is not None:
            axes = (len(series) - 4) // 2
            derivatives = Twist(series[4 : 4 + axes], series[4 + axes :])
        ladders = Ladders(
            np.array(temperatures),
            system.num_sites,
            hamiltonian=-self.ensemble.temperature * series[0],
            abs_magnetization=series[2],
            energy=series[3] if system.has_energy else None,
            twist=derivatives,
        )
        return ladders, series[1]

    def _explicit(
        self, temperatures: Sequence[float], num_ladders: int, num_steps: int, seed: int
    ) -> Ladders:
        assert self.effective is not None
        hamiltonian, scaled = self.effective.hamiltonian, self.control.scaled
        if self.control.exact and hamiltonian.covariance is not None:
            free = ~np.asarray(scaled)
            hamiltonian = replace(hamiltonian, covariance=hamiltonian.covariance * np.outer(free, free))
        observe = self.observe if scaled is None else lambda rows: self.observe(rows)[:1]
        lattice = self.ensemble.system.lattice
        is_torus = lattice.periodic and lattice.is_hypercubic
        return explicit_ladders(
            hamiltonian, temperatures, num_ladders, num_steps, observe, seed, scaled, is_torus
        )

    def observe(self, configurations: Tensor) -> Tensor:
        """Return |m| and, if it is known, E `(1 or 2, B)`."""
        system = self.ensemble.system
        observables = system.observables(self.ensemble.temperature)
        rows = [observables["abs_magnetization"](configurations.double())]
        if system.has_energy:
            rows.append(system.energy(configurations.double()))
        return torch.stack(rows)


def nll_gain(effective: EffectiveHamiltonian) -> Estimate:
    """Estimate the gain of an explicit Hamiltonian over H_θ, in nats per held-out configuration.

    It is ⟨−ln p_θ⟩ − ⟨−ln p⟩ with p = e^{−H/T}/Z and Z = ⟨e^{−H/T}/p_θ⟩ over samples of the network.
    """
    ensemble, hamiltonian = effective.ensemble, effective.hamiltonian
    samples = ensemble.samples(effective.num_samples, effective.seed)

    def action(configurations: Tensor) -> np.ndarray:
        return hamiltonian.energy(configurations.cpu().numpy()) / ensemble.temperature

    log_z = log_mean_exp(-action(samples.configurations) - samples.log_prob)
    data = mean(-ensemble.log_prob - action(ensemble.configurations), blocks=ensemble.blocks)
    return Estimate(data.value - log_z.value, math.hypot(data.error, log_z.error))
