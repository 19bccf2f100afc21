"""The learned Hamiltonian that is simulated at other temperatures: H_θ or an explicit one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.measurements.couplings.effective_hamiltonian import EffectiveHamiltonian
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.phases.ladders import Ladders
from lightdan.measurements.phases.network_chains import NetworkChains
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate, log_mean_exp, mean

REFUSED = 0.1
"""Acceptance below which the chains no longer use the surrogate."""
SAMPLES = 3_000
"""Number of samples of the network."""
VARIATIONS = 16
"""Number of draws of the couplings from their errors."""


@dataclass(frozen=True, eq=False)
class LearnedHamiltonian:
    """H_θ, or the explicit Hamiltonian of `Couplings` in its place.

    Args:
        ensemble: Model and data at the temperature T of training.
        effective: Explicit Hamiltonian, which proposes the moves of H_θ unless it replaces H_θ.
        explicit: Whether the explicit Hamiltonian replaces H_θ.
    """

    ensemble: Ensemble
    effective: EffectiveHamiltonian | None = None
    explicit: bool = False

    def held_out(self) -> np.ndarray:
        """Return H of the held-out configurations `(M,)`."""
        return self._values(self.ensemble.configurations, self.ensemble.log_prob)

    def sampled(self, seed: int) -> np.ndarray:
        """Return H of samples of the network `(M,)`."""
        samples = self.ensemble.samples(SAMPLES, seed)
        return self._values(samples.configurations, samples.log_prob)

    def _values(self, configurations: Tensor, log_prob: np.ndarray) -> np.ndarray:
        if self.effective is not None and self.explicit:
            return self.effective.hamiltonian.energy(configurations.cpu().numpy())
        return -self.ensemble.temperature * log_prob

    def simulate(
        self, temperatures: Sequence[float], num_ladders: int, num_steps: int, seed: int
    ) -> tuple[Ladders, np.ndarray]:
        """Simulate e^{−H/T'}/Z(T') at all T' and return the series and the acceptance.

        Args:
            temperatures: Temperatures T' `(K,)`, ascending.
            num_ladders: Number of independent ladders.
            num_steps: Number of steps of each chain.
            seed: Random seed.

        Returns:
            The series, with draws of the couplings if H is explicit, and the fraction of accepted
            proposals `(K, ladders, steps)`.
        """

        def run(surrogate: ExplicitHamiltonian | None) -> np.ndarray:
            chains = NetworkChains(
                self.ensemble.model,
                self.ensemble.temperature,
                temperatures,
                num_ladders,
                self.observe,
                seed,
                surrogate,
                corrected=not self.explicit,
            )
            with progress_bar("Chains at other temperatures", num_steps) as advance:
                return chains.run(num_steps, advance)

        series = run(self.effective.hamiltonian if self.effective is not None else None)
        if self.effective is not None and series[1].mean() < REFUSED:
            series = run(None)
        system = self.ensemble.system
        ladders = Ladders(
            np.array(temperatures),
            system.num_sites,
            hamiltonian=-self.ensemble.temperature * series[0],
            abs_magnetization=series[2],
            energy=series[3] if system.has_energy else None,
            variations=self.variations(series, seed),
        )
        return ladders, series[1]

    def observe(self, configurations: Tensor) -> Tensor:
        """Return |m|, E if it is known, and the operators if H is explicit `(observables, B)`."""
        system = self.ensemble.system
        observables = system.observables(self.ensemble.temperature)
        rows = [observables["abs_magnetization"](configurations).double()]
        if system.has_energy:
            rows.append(system.energy(configurations.double()))
        if self.effective is not None and self.explicit:
            spins = configurations.cpu().numpy().astype(np.int8)
            values = [operator.value(spins) for operator in self.effective.operators]
            rows += [torch.as_tensor(value).to(rows[0]) for value in values]
        return torch.stack(rows)

    def variations(self, series: np.ndarray, seed: int) -> list[np.ndarray]:
        """Return the changes of an explicit H by draws of its couplings `(K, ladders, steps)` each.

        Args:
            series: Observables of the chains, the operators last.
            seed: Random seed.
        """
        if self.effective is None or not self.explicit:
            return []
        num = len(self.effective.operators)
        draws = np.random.default_rng(seed).multivariate_normal(
            np.zeros(num), self.effective.covariance, VARIATIONS
        )
        return list(-self.ensemble.temperature * np.tensordot(draws, series[-num:], 1))


def nll_gain(effective: EffectiveHamiltonian) -> Estimate:
    """Estimate the gain of an explicit Hamiltonian over H_θ, in nats per held-out configuration.

    It is ⟨−ln p_θ⟩ − ⟨−ln p⟩ with p = e^{−H/T}/Z and Z = ⟨e^{−H/T}/p_θ⟩ over samples of the network.
    """
    ensemble, hamiltonian = effective.ensemble, effective.hamiltonian
    samples = ensemble.samples(effective.num_samples, effective.seed)

    def action(configurations: Tensor) -> np.ndarray:
        return hamiltonian.energy(configurations.cpu().numpy()) / ensemble.temperature

    log_z = log_mean_exp(-action(samples.configurations) - samples.log_prob)
    data = mean(-ensemble.log_prob - action(ensemble.configurations))
    return Estimate(data.value - log_z.value, math.hypot(data.error, log_z.error))
