"""Held-out likelihoods of explicit Hamiltonians of spins and of independent sites."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.progress import progress_bar
from lightdan.simulation import terms
from lightdan.simulation.partition import log_partition
from lightdan.statistics import Estimate, mean

CHAINS = 500
"""Number of annealed chains."""

Likelihood = tuple[np.ndarray, float]
"""−ln p of configurations `(M,)`, and the error of ln Z, which they share."""


def of_hamiltonian(
    hamiltonian: ExplicitHamiltonian, configurations: Tensor, seed: int = 0
) -> Likelihood:
    """Return −ln p = βH + ln Z; ln Z is exact up to 20 spins and annealed beyond.

    Args:
        hamiltonian: Hamiltonian H, with couplings in units of the temperature.
        configurations: Configurations s `(M, *lattice)`.
        seed: Random seed of the annealing.
    """
    moves = hamiltonian.moves()
    with progress_bar("Annealing", CHAINS) as advance:
        log_z = log_partition(moves, CHAINS, seed, advance)
    energies = terms.energies(configurations.flatten(1).cpu().numpy(), moves)
    return energies + log_z.value, log_z.error


def of_independent_sites(train: Tensor, configurations: Tensor) -> Likelihood:
    """Return −ln p of independent sites, each with its own rate in other configurations.

    Args:
        train: Configurations of the rates `(M, *lattice)`.
        configurations: Configurations s `(M', *lattice)`.
    """
    least = 1 / (2 * len(train))
    up = (train > 0).double().flatten(1).mean(0).clamp(least, 1 - least)
    spins = (configurations > 0).double().flatten(1)
    values: np.ndarray = -(spins * up.log() + (1 - spins) * (-up).log1p()).sum(1).cpu().numpy()
    return values, 0.0


def nll(likelihood: Likelihood) -> Estimate:
    """Return −⟨ln p⟩."""
    values, error = likelihood
    average = mean(values)
    return Estimate(average.value, float(np.hypot(average.error, error)))


def gain(likelihood: Likelihood, other: Likelihood) -> Estimate:
    """Return ⟨ln p − ln p_other⟩ with the error of the paired difference."""
    difference = mean(other[0] - likelihood[0])
    return Estimate(
        difference.value, float(np.hypot(difference.error, np.hypot(likelihood[1], other[1])))
    )


def losses(likelihood: Likelihood, others: Mapping[str, Likelihood]) -> str:
    """Return the others that are more likely by more than two errors, with the differences in nats."""
    gains = {name: gain(likelihood, other) for name, other in others.items()}
    return ", ".join(
        f"{name} (by {Estimate(-g.value, g.error)} nats)"
        for name, g in gains.items()
        if g.value < -2 * g.error
    )
