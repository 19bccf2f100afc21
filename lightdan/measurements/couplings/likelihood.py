"""Held-out likelihoods of explicit Hamiltonians and of simpler models."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions import independent
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.observations import Observations
from lightdan.measurements.ensemble import Ensemble
from lightdan.progress import progress_bar
from lightdan.simulation import annealing, explicit, terms
from lightdan.simulation.local import LEVEL, REAL
from lightdan.simulation.partition import is_enumerated, log_partition
from lightdan.simulation.terms import Interactions
from lightdan.statistics import (
    Blocks,
    Estimate,
    bennett,
    effective_sample_size,
    log_mean_exp,
    mean,
)

CHAINS = 500
"""Number of annealed chains."""
LEAST_CHAINS = 50
"""Number of annealed chains below which ln Z is not estimated."""
OPERATIONS = 5e6
"""Terms of all chains that are evaluated in a sweep, which limit the number of chains."""
LARGEST_ERROR = 1.0
"""Error of ln Z, in nats, beyond which the annealing has failed."""
BRIDGED = 4_000
"""Number of configurations of the Hamiltonian, and of the network, whose overlap gives ln Z."""
MOST_SPACING = 32
"""Largest number of updates between two of the Hamiltonian; errors include what correlation remains."""
ACCURATE = 0.01
"""Error of Bennett's ratio, in nats, up to which there is no annealing."""
LEAST_OVERLAP = 0.1
"""Effective sample size of the network for the Hamiltonian below which ln Z is annealed instead."""
LARGEST_DIFFERENCE = 4.0
"""Difference of Bennett's ratio and of importance sampling, in standard errors, that is no accident."""


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
    ensemble: Ensemble | None = None,
) -> Likelihood:
    """Return −ln p = H + ln Z as `of_hamiltonian` does; the measure of angles is dθ/2π.

    With the ensemble of a network that resembles H, ln Z beyond 2^20 states is `bridged`, unless
    annealing has a smaller error.

    Args:
        interactions: Hamiltonian H, with couplings in units of the temperature.
        held_out: Configurations with weights.
        site_kind: Kind of site: ``spin``, ``level``, ``angle`` or ``real``.
        levels: Values of a discrete site.
        seed: Random seed of the annealing and of the simulation.
        ensemble: Network and its system.

    Raises:
        Unknown: The annealing would take too long, or fails.
    """
    try:
        found = None
        if ensemble is not None and not is_enumerated(interactions):
            found = bridged(interactions, ensemble, seed)
        if found is None or found.error > ACCURATE:
            fields = independent.fields(held_out, site_kind, levels)
            annealed = _annealed(interactions, fields, seed)
            found = min(found or annealed, annealed, key=lambda log_z: log_z.error)
    except Unknown:
        if found is None:
            raise
    except ValueError as reason:
        raise Unknown(f"its fields have no ln Z: {str(reason).rstrip('.')}") from reason
    if not found.error <= LARGEST_ERROR:
        raise Unknown(f"ln Z is uncertain by {found.error:.2g} nats after the annealing")
    values = energies(interactions, held_out, levels) + found.value
    return Likelihood(values, found.error, weights_of(held_out))


def _annealed(interactions: Interactions, fields: np.ndarray | None, seed: int) -> Estimate:
    """Return ln Z by annealing, or the exact one of few states."""
    chains = _chains(interactions)
    with progress_bar("Annealing", chains) as advance:
        return log_partition(interactions, chains, seed, advance, fields)


def bridged(interactions: Interactions, ensemble: Ensemble, seed: int = 0) -> Estimate | None:
    """Return ln Z by Bennett's ratio of configurations of H and of a network, or None without overlap.

    The network is normalised, so the ratio of e^{−H} to p_θ is that of Z to 1. There is none if few
    configurations of the network have weight in H. Nor is there if it contradicts importance sampling,
    because the simulation of H then misses a phase.

    Args:
        interactions: Hamiltonian H, with couplings in units of the temperature.
        ensemble: Network and its system.
        seed: Random seed of the simulation and of the network.

    Raises:
        ValueError: The Hamiltonian of fields has no lower bound.
    """
    if ensemble.controls is not None:
        return None
    system, samples = ensemble.system, ensemble.samples(BRIDGED, seed)
    levels = tuple(system.levels)
    theirs = energies(interactions, Observations(samples.configurations), levels)
    log_weights = -theirs - samples.log_prob
    if effective_sample_size(log_weights).value < LEAST_OVERLAP:
        return None
    with progress_bar("Simulating", BRIDGED) as advance:
        rows = explicit.simulate(
            interactions, 1.0, BRIDGED, seed=seed, max_spacing=MOST_SPACING, progress=advance
        ).configurations
    if interactions.kind == LEVEL:
        rows = np.array(levels)[rows]
    own = torch.as_tensor(rows.reshape(-1, *system.lattice_shape)).to(samples.configurations)
    return bridge(ensemble, own, energies(interactions, Observations(own), levels), log_weights)


def bridge(
    ensemble: Ensemble, own: Tensor, own_energies: np.ndarray, log_weights: np.ndarray
) -> Estimate | None:
    """Return ln Z by Bennett's ratio, or None if it contradicts importance sampling.

    Few configurations of the network with weight in H contradict nothing.

    Args:
        ensemble: Network and its system.
        own: Configurations of the Hamiltonian `(M, *lattice)`.
        own_energies: H/T of these `(M,)`.
        log_weights: −H/T − ln p_θ of configurations of the network.
    """
    log_prob = ensemble.evaluate(ensemble.model.log_prob, own)
    found = bennett(-own_energies - log_prob, log_weights)
    if effective_sample_size(log_weights).value < LEAST_OVERLAP:
        return found
    drawn = log_mean_exp(log_weights)
    far = LARGEST_DIFFERENCE * math.hypot(found.error, drawn.error)
    return found if abs(found.value - drawn.value) <= far else None


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
    energy = train.sum(energies(interactions, train, levels)) / train.effective_num
    with progress_bar("Scaling", chains) as advance:
        scale = annealing.likeliest_scale(interactions, energy, chains, seed=seed, progress=advance)
    return annealing.scaled(interactions, np.zeros(len(interactions.factors), bool), 1.0, scale)


def energies(
    interactions: Interactions, observations: Observations, levels: tuple[int, ...]
) -> np.ndarray:
    """Return H of each configuration `(M,)`, for any values of levels."""
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
