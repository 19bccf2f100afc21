"""Partition function of any explicit Hamiltonian by annealed importance sampling."""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from lightdan.simulation.heat_bath import anneal, random_states, sweep_states
from lightdan.simulation.local import LEVEL, REAL, SPIN, energies_of_states
from lightdan.simulation.terms import Interactions
from lightdan.statistics import Estimate, log_mean_exp

PARTS = 16
"""Number of parts of the chains, each with its own random numbers."""
LARGEST_SCALE = 2.0
"""Largest factor of all couplings that is tried."""
RISE = 0.5
"""Rise of −⟨ln p⟩ above its minimum at which no larger factor is tried, in nats."""


def log_partition(
    interactions: Interactions,
    num_chains: int = 500,
    num_steps: int = 200,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n: None,
) -> Estimate:
    """Estimate ln Z with Z = Σ_s e^{−H(s)}, by annealing from free sites to H.

    β rises from 0 to 1 in steps, each followed by a sweep. With s_k from the k-th sweep

        Z = Z_0 ⟨e^{−Σ_k (β_{k+1} − β_k) H(s_k)}⟩,

    which is exact on average for any number of steps; few steps cause a large error. Z_0 is the number
    of configurations, q^N for q levels. For angles the sum is the integral over dθ/2π, and Z_0 = 1.

    Args:
        interactions: Hamiltonian H of spins, levels or angles, with couplings in units of T.
        num_chains: Number of independent chains.
        num_steps: Number of steps of β from 0 to 1.
        seed: Random seed.
        progress: Callback that receives the number of finished chains since its last call.

    Raises:
        ValueError: The sites are fields, which have no uniform distribution.

    References:
        R. Neal, Stat. Comput. 11, 125 (2001).
    """
    return log_partition_from_free(interactions, num_chains, num_steps, seed, progress)[0]


def log_partition_from_free(
    interactions: Interactions,
    num_chains: int,
    num_steps: int = 200,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n: None,
) -> tuple[Estimate, NDArray[np.complex128]]:
    """Return ln Z as `log_partition` does, and the last states of the chains `(num_chains, N)`."""
    if interactions.kind == REAL:
        raise ValueError("Free fields have no partition function: ln Z needs spins, levels or angles.")
    num_sites = interactions.num_sites
    rng = np.random.default_rng([seed, 1])
    widths = np.ones(num_sites)
    states = random_states((num_chains, num_sites), interactions, widths, rng)

    def weigh(chain: int) -> float:
        log_weight: float = anneal(
            states[chain], interactions, widths, num_steps, np.random.default_rng([seed, 2, chain])
        )
        return log_weight

    log_weights = np.empty(num_chains)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for chain, log_weight in enumerate(pool.map(weigh, range(num_chains))):
            log_weights[chain] = log_weight
            progress(1)
    value, error = log_mean_exp(log_weights)
    values = {SPIN: 2, LEVEL: interactions.size}.get(interactions.kind, 1)
    return Estimate(value + num_sites * math.log(values), error), states


def log_partition_from_sites(
    interactions: Interactions,
    fields: NDArray[np.float64],
    num_chains: int = 500,
    num_steps: int = 200,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n: None,
) -> tuple[Estimate, NDArray[np.complex128]]:
    """Estimate ln Z by annealing from independent sites, H_0, to H along (1 − β) H_0 + β H.

    The error is smaller than that of `log_partition` where sites are nearly independent but biased.
    Where H has several phases and the independent sites resemble one of them, it is too small.

    Args:
        interactions: Hamiltonian H, with couplings in units of T.
        fields: Independent sites, see `with_sites`.
        num_chains: Number of independent chains.
        num_steps: Number of steps of β from 0 to 1.
        seed: Random seed.
        progress: Callback that receives the number of finished chains since its last call.

    Returns:
        ln Z, and the last states of the chains `(num_chains, N)`.
    """
    joined, own = with_sites(interactions, fields)
    rng = np.random.default_rng([seed, 3])
    states, log_z = independent_states(interactions, fields, num_chains, rng)
    widths = fields[:, 1].copy() if interactions.kind == REAL else np.ones(interactions.num_sites)
    parts = np.array_split(np.arange(num_chains), min(PARTS, num_chains))
    generators = [np.random.default_rng([seed, 4, part]) for part in range(len(parts))]
    log_weights = np.zeros(num_chains)
    pieces = [np.ascontiguousarray(states[part]) for part in parts]
    difference = scaled(joined, own, -1.0, 1.0)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for step in range(num_steps):
            beta = (step + 1) / num_steps
            present = scaled(joined, own, 1 - beta, beta)

            def move(index: int, present: Interactions = present) -> None:
                change = np.empty(len(parts[index]))
                energies_of_states(pieces[index], difference, change)
                log_weights[parts[index]] -= change / num_steps
                sweep_states(pieces[index], present, widths, generators[index])

            list(pool.map(move, range(len(parts))))
            progress(num_chains * (step + 1) // num_steps - num_chains * step // num_steps)
    value, error = log_mean_exp(log_weights)
    return Estimate(value + log_z, error), np.concatenate(pieces)


def likeliest_scale(
    interactions: Interactions,
    energy: float,
    num_chains: int = 500,
    num_steps: int = 200,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n: None,
) -> float:
    """Return the factor x of all couplings that makes data most likely, between 0 and `LARGEST_SCALE`.

        −⟨ln p⟩ = x ⟨H⟩_data + ln Z(x)

    Chains are annealed from free sites as in `log_partition`, which gives ln Z at all x on the
    way, until −⟨ln p⟩ rises. It exceeds the smallest by up to about 1/(2 `num_chains`) nats.

    Args:
        interactions: Hamiltonian H of spins, levels or angles, with couplings in units of T.
        energy: ⟨H⟩_data.
        num_chains: Number of chains.
        num_steps: Number of steps of x per unit.
        seed: Random seed.
        progress: Callback that receives the number of finished chains since its last call.

    Raises:
        ValueError: The sites are fields.
    """
    if interactions.kind == REAL:
        raise ValueError("Free fields have no distribution: pass spins, levels or angles.")
    rng = np.random.default_rng([seed, 5])
    widths = np.ones(interactions.num_sites)
    states = random_states((num_chains, interactions.num_sites), interactions, widths, rng)
    parts = np.array_split(np.arange(num_chains), min(PARTS, num_chains))
    generators = [np.random.default_rng([seed, 6, part]) for part in range(len(parts))]
    pieces = [np.ascontiguousarray(states[part]) for part in parts]
    own = np.zeros(len(interactions.factors), bool)
    log_weights = np.zeros(num_chains)
    costs = [0.0]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for step in range(1, round(LARGEST_SCALE * num_steps) + 1):
            present = scaled(interactions, own, 1.0, step / num_steps)

            def move(index: int, present: Interactions = present) -> None:
                found = np.empty(len(parts[index]))
                energies_of_states(pieces[index], interactions, found)
                log_weights[parts[index]] -= found / num_steps
                sweep_states(pieces[index], present, widths, generators[index])

            list(pool.map(move, range(len(parts))))
            costs.append(step / num_steps * energy + log_mean_exp(log_weights)[0])
            if costs[-1] > min(costs) + RISE:
                break
    progress(num_chains)
    best = int(np.argmin(costs))
    if 0 < best < len(costs) - 1:
        before, least, after = costs[best - 1 : best + 2]
        return (best + (before - after) / (2 * (before - 2 * least + after))) / num_steps
    return best / num_steps


def with_sites(
    interactions: Interactions, fields: NDArray[np.float64]
) -> tuple[Interactions, NDArray[np.bool_]]:
    """Add the terms of independent sites to a Hamiltonian.

    Args:
        interactions: Hamiltonian of spins, levels or fields.
        fields: Logarithm of p(1)/p(−1) divided by 2 for spins `(N,)`, ln p of every level `(N, q)`, or
            mean and standard deviation of fields `(N, 2)`.

    Returns:
        The Hamiltonian, and which of its entries are those of the independent sites.
    """
    num_sites, kind, table = interactions.num_sites, interactions.kind, interactions.table
    if kind == SPIN:
        factors, couplings = np.ones(1, np.intp), fields[:, None]
    elif kind == LEVEL:
        factors, couplings = len(table) + np.arange(interactions.size), fields
        table = np.concatenate([table, np.eye(interactions.size)])
    else:
        mean, deviation = fields.T
        factors, couplings = np.array([1, 2]), np.stack([mean, np.full_like(mean, -0.5)], 1)
        couplings = couplings / deviation[:, None] ** 2
    size = len(factors)
    places = np.repeat(interactions.starts[:-1], size)
    return interactions._replace(
        size=max(interactions.size, 3) if kind == REAL else interactions.size,
        starts=interactions.starts + size * np.arange(num_sites + 1),
        factors=np.insert(interactions.factors, places, np.tile(factors, num_sites)),
        couplings=np.insert(interactions.couplings, places, couplings.ravel()),
        ends=np.insert(interactions.ends, places, interactions.ends[places]),
        table=table,
    ), np.insert(np.zeros(len(interactions.factors), bool), places, True)


def scaled(
    interactions: Interactions, own: NDArray[np.bool_], first: float, second: float
) -> Interactions:
    """Return the Hamiltonian with some entries multiplied by one number, and all else by another."""
    return interactions._replace(
        pair_couplings=second * interactions.pair_couplings,
        matrices=second * interactions.matrices,
        couplings=np.where(own, first, second) * interactions.couplings,
        coefficients=second * interactions.coefficients,
    )


def independent_states(
    interactions: Interactions, fields: NDArray[np.float64], num: int, rng: np.random.Generator
) -> tuple[NDArray[np.complex128], float]:
    """Draw states `(num, N)` of independent sites; return them and their ln Z."""
    shape = (num, interactions.num_sites)
    if interactions.kind == SPIN:
        up = rng.random(shape) * (1 + np.exp(-2 * fields)) < 1
        return np.where(up, 1.0, -1.0).astype(np.complex128), float(np.logaddexp(fields, -fields).sum())
    if interactions.kind == LEVEL:
        totals = np.logaddexp.reduce(fields, axis=1)
        ends = np.exp(fields - totals[:, None]).cumsum(1)
        levels = (rng.random((*shape, 1)) > ends[:, :-1]).sum(-1)
        return levels.astype(np.complex128), float(totals.sum())
    mean, deviation = fields.T
    log_z = (0.5 * (mean / deviation) ** 2 + np.log(deviation)).sum()
    log_z += len(mean) * 0.5 * math.log(2 * math.pi)
    return (mean + deviation * rng.normal(size=shape)).astype(np.complex128), float(log_z)
