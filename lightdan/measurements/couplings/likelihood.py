"""Held-out likelihoods of explicit Hamiltonians and of simpler models."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import Tensor

from lightdan.interactions import independent
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.observations import Observations
from lightdan.progress import progress_bar
from lightdan.simulation import annealing, terms
from lightdan.simulation.local import LEVEL, REAL
from lightdan.simulation.partition import log_partition
from lightdan.simulation.terms import Interactions
from lightdan.statistics import Blocks, Estimate, mean

CHAINS = 500
"""Number of annealed chains."""
LEAST_CHAINS = 50
"""Number of annealed chains below which ln Z is not estimated."""
OPERATIONS = 5e6
"""Terms of all chains that are evaluated in a sweep, which limit the number of chains."""
LARGEST_ERROR = 1.0
"""Error of ln Z, in nats, beyond which the annealing has failed."""


class Unknown(ValueError):
    """A likelihood is not known, for a reason that the message states."""


class Likelihood(NamedTuple):
    """Likelihood of held-out configurations under a model.

    Args:
        values: −ln p of each configuration `(M,)`.
        error: Error of ln Z, which they share.
        weights: Counts (integers) or real weights of the configurations `(M,)`; None if all are equal.
        blocks: Blocks of the configurations; by default they are one series.
    """

    values: np.ndarray
    error: float = 0.0
    weights: np.ndarray | None = None
    blocks: Blocks | None = None

    @property
    def nll(self) -> Estimate:
        """−⟨ln p⟩."""
        average = mean(self.values, self.weights, self.blocks)
        return Estimate(average.value, float(np.hypot(average.error, self.error)))

    def gain_over(self, other: "Likelihood") -> Estimate:
        """Return ⟨ln p − ln p_other⟩ with the error of the paired difference."""
        difference = mean(other.values - self.values, self.weights, self.blocks)
        error = np.hypot(difference.error, np.hypot(self.error, other.error))
        return Estimate(difference.value, float(error))

    def losses(self, others: Mapping[str, "Likelihood"]) -> str:
        """Return the others that are more likely by more than two errors, with the gains in nats."""
        gains = {name: self.gain_over(other) for name, other in others.items()}
        return ", ".join(
            f"{name} (by {Estimate(-g.value, g.error)} nats)"
            for name, g in gains.items()
            if g.value < -2 * g.error
        )


def of_hamiltonian(
    hamiltonian: ExplicitHamiltonian, held_out: Observations, seed: int = 0
) -> Likelihood:
    """Return −ln p = H/T + ln Z; ln Z is exact up to 20 spins and annealed beyond.

    Args:
        hamiltonian: Hamiltonian H with its temperature T.
        held_out: Configurations with weights.
        seed: Random seed of the annealing.

    Raises:
        Unknown: The annealing would take too long, or fails.
    """
    operators = [
        replace(o, coupling=o.coupling / hamiltonian.temperature) for o in hamiltonian.operators
    ]
    interactions = replace(hamiltonian, operators=operators).moves()
    return of_interactions(interactions, held_out, hamiltonian.site_kind, hamiltonian.levels, seed)


def of_interactions(
    interactions: Interactions,
    held_out: Observations,
    site_kind: str,
    levels: tuple[int, ...],
    seed: int = 0,
) -> Likelihood:
    """Return −ln p = H + ln Z as `of_hamiltonian` does; the measure of angles is dθ/2π.

    Args:
        interactions: Hamiltonian H, with couplings in units of the temperature.
        held_out: Configurations with weights.
        site_kind: Kind of site: ``spin``, ``level``, ``angle`` or ``real``.
        levels: Values of a discrete site.
        seed: Random seed of the annealing.
    """
    chains = _chains(interactions)
    fields = independent.fields(held_out, site_kind, levels)
    try:
        with progress_bar("Annealing", chains) as advance:
            log_z = log_partition(interactions, chains, seed, advance, fields)
    except ValueError as reason:
        raise Unknown(f"its fields have no ln Z: {str(reason).rstrip('.')}") from reason
    if not log_z.error <= LARGEST_ERROR:
        raise Unknown(f"ln Z is uncertain by {log_z.error:.2g} nats after the annealing")
    values = _energies(interactions, held_out, levels) + log_z.value
    return Likelihood(values, log_z.error, weights_of(held_out))


def likeliest(
    interactions: Interactions, train: Observations, levels: tuple[int, ...], seed: int = 0
) -> Interactions:
    """Return a Hamiltonian with all couplings multiplied by the factor that makes data most likely.

    Couplings by pseudo-likelihood explain each site by the others. If H lacks interactions of the data,
    these are far from the likeliest. Fields keep their couplings.

    Args:
        interactions: Hamiltonian, with couplings in units of the temperature.
        train: Configurations with weights.
        levels: Values of a discrete site.
        seed: Random seed of the annealing.

    Raises:
        Unknown: The annealing would take too long.
    """
    if interactions.kind == REAL:
        return interactions
    chains = _chains(interactions)
    energy = train.sum(_energies(interactions, train, levels)) / train.effective_num
    with progress_bar("Scaling", chains) as advance:
        scale = annealing.likeliest_scale(interactions, energy, chains, seed=seed, progress=advance)
    return annealing.scaled(interactions, np.zeros(len(interactions.factors), bool), 1.0, scale)


def _energies(
    interactions: Interactions, observations: Observations, levels: tuple[int, ...]
) -> np.ndarray:
    """Return H of each configuration `(M,)`."""
    flat = observations.rows.flatten(1).cpu().numpy()
    if interactions.kind == LEVEL:
        flat = np.searchsorted(np.array(levels), flat)
    return terms.energies(flat, interactions)


def _chains(interactions: Interactions) -> int:
    size = interactions.size if interactions.kind == LEVEL else 1
    return num_chains(size * len(interactions.pair_others) + len(interactions.others))


def num_chains(num_terms: int) -> int:
    """Return the number of annealed chains for a Hamiltonian of so many terms, each pair counted twice.

    Raises:
        Unknown: The annealing would take too long.
    """
    chains = min(CHAINS, int(OPERATIONS / max(num_terms, 1)))
    if chains < LEAST_CHAINS:
        raise Unknown(f"ln Z with {num_terms:,} terms takes too long")
    return chains


def of_independent_sites(
    train: Observations, held_out: Observations, site_kind: str, levels: tuple[int, ...]
) -> Likelihood:
    """Return −ln p of independent sites, each with its own distribution in other configurations.

    Args:
        train: Configurations of the distributions, with weights.
        held_out: Configurations with weights.
        site_kind: Kind of site: ``spin``, ``level``, ``angle`` or ``real``.
        levels: Values of a discrete site.
    """
    log_p = independent.log_prob(train, held_out.rows, site_kind, levels)
    return Likelihood(-log_p, 0.0, weights_of(held_out))


def weights_of(observations: Observations) -> np.ndarray | None:
    """Return the weights `(M,)` as an array, or None."""
    weights: Tensor | None = observations.weights
    return None if weights is None else weights.cpu().numpy()
