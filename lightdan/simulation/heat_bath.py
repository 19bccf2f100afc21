"""Monte-Carlo simulation of any Hamiltonian of spins: fields, pairs and terms of more spins."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from lightdan.simulation import chains
from lightdan.simulation.replica_exchange import exchange, num_pairs

HOTTEST = 2.0
"""The ladder of temperatures ends where T exceeds this times the mean local field."""
RATIO = 1.12
"""Between neighbouring temperatures of the ladder."""
SITES_PER_CALL = 2**19


class Interactions(NamedTuple):
    """The terms that each site is in: those of site i are `starts[i]` to `starts[i + 1]`."""

    starts: NDArray[np.intp]
    couplings: NDArray[np.float64]
    """J of each."""
    ends: NDArray[np.intp]
    """Of the lists of other sites: those of entry k are `ends[k]` to `ends[k + 1]` in `others`."""
    others: NDArray[np.intp]
    even: bool
    """Whether all terms have evenly many spins, so that H(−s) = H(s)."""


def gather(num_sites: int, terms: Sequence[tuple[NDArray[np.intp], float]]) -> Interactions:
    """Sort terms by site.

    Args:
        num_sites: N.
        terms: Sites `(terms, order)` and the coupling J that they share.
    """
    entries: list[list[tuple[float, NDArray[np.intp]]]] = [[] for _ in range(num_sites)]
    for sites, coupling in terms:
        for term in sites:
            for place, site in enumerate(term):
                entries[site].append((coupling, np.delete(term, place)))
    flat = [entry for of_site in entries for entry in of_site]
    lengths = [len(others) for _, others in flat]
    return Interactions(
        starts=np.cumsum([0, *(len(of_site) for of_site in entries)]).astype(np.intp),
        couplings=np.array([coupling for coupling, _ in flat], dtype=np.float64),
        ends=np.cumsum([0, *lengths]).astype(np.intp),
        others=np.concatenate([*(others for _, others in flat), np.empty(0)]).astype(np.intp),
        even=all(sites.shape[1] % 2 == 0 for sites, _ in terms),
    )


def sweep(
    spins: NDArray[np.int8],
    interactions: Interactions,
    temperatures: NDArray[np.float64],
    num_sweeps: int,
    seed: int,
) -> None:
    """Heat-bath sweeps of chains `(B, N)` in place, each at its own temperature `(B,)`.

    Args:
        spins: Of all chains.
        interactions: The Hamiltonian.
        temperatures: T of each chain.
        num_sweeps: Of each.
        seed: Of the random numbers, the same on any number of processors.
    """
    generators = [np.random.default_rng([seed, row]) for row in range(len(spins))]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(
            pool.map(
                lambda row: _sweeps(
                    spins[row], interactions, float(temperatures[row]), num_sweeps, generators[row]
                ),
                range(len(spins)),
            )
        )


def energies(spins: NDArray[np.int8], interactions: Interactions) -> NDArray[np.float64]:
    """H of chains `(B, N)`: `(B,)`."""
    found = np.empty(len(spins))
    _energies(spins, interactions, found)
    return found


class _Ladder(NamedTuple):
    """Replicas `(K, N)` at ascending temperatures, and their random numbers."""

    spins: NDArray[np.int8]
    temperatures: NDArray[np.float64]
    rng: np.random.Generator


def simulate(
    interactions: Interactions,
    temperature: float,
    num_configurations: int,
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> chains.Simulation:
    """Draw from e^{−H/T}/Z by heat-bath sweeps and replica exchange.

    Independent ladders of replicas reach from T up to where the spins are nearly free; after every sweep
    neighbours exchange with min(1, e^{(1/T_a − 1/T_b)(H_a − H_b)}). The number of updates
    between two rows of T is such that τ of H, |m| and the overlaps with four random patterns, which
    see what a glass does, is below one row, as `chains.run` says.

    Args:
        interactions: The Hamiltonian.
        temperature: T.
        num_configurations: Number of rows.
        seed: Determines every spin, on any number of processors.
        progress: Told from the calling thread how many configurations are new.

    Raises:
        ValueError: T is not positive and finite, or there is nothing to draw.

    Source: K. Hukushima and K. Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996).
    """
    num_sites = len(interactions.starts) - 1
    chains.validate((num_sites,), temperature, num_configurations)
    ladder = temperatures_of_ladder(interactions, temperature)
    patterns = np.random.default_rng([seed, 1]).choice([-1.0, 1.0], (4, num_sites))
    started = [
        _Ladder(rng.choice(np.array([-1, 1], np.int8), (len(ladder), num_sites)), ladder, rng)
        for rng in chains.generators(seed)
    ]

    def observe(rows: NDArray[np.int8]) -> NDArray[np.float64]:
        flat = rows.reshape(-1, num_sites)
        overlaps = flat @ patterns.T / num_sites
        if interactions.even:
            overlaps = np.abs(overlaps)
        columns = [energies(flat, interactions), np.abs(flat.mean(axis=1)), *overlaps.T]
        return np.stack(columns).reshape(-1, *rows.shape[:2])

    configurations, taus, spacing = chains.run(
        chains.NUM_CHAINS,
        chains.in_threads(
            lambda rows, chain, spacing: _advance(rows, chain, interactions, spacing), started
        ),
        observe,
        num_configurations,
        num_sites,
        dtype=np.int8,
        updates_per_call=max(1, SITES_PER_CALL // (num_sites * len(ladder))),
        progress=progress,
    )
    names = ["energy", "abs_magnetization", *(f"overlap_{k}" for k in range(len(patterns)))]
    return chains.Simulation(configurations, dict(zip(names, taus, strict=True)), spacing)


def temperatures_of_ladder(interactions: Interactions, temperature: float) -> NDArray[np.float64]:
    """T, T r, T r², … up to `HOTTEST` times the mean of √Σ J² over the terms of a site."""
    sums = np.cumsum([0.0, *interactions.couplings**2])
    squares = np.diff(sums[interactions.starts])
    top = HOTTEST * float(np.sqrt(squares).mean())
    rungs = max(1, math.ceil(math.log(max(top / temperature, 1.0)) / math.log(RATIO)) + 1)
    ladder: NDArray[np.float64] = temperature * RATIO ** np.arange(rungs, dtype=np.float64)
    return ladder


@numba.njit(cache=True, nogil=True)
def _field(spins: Any, interactions: Any, site: int) -> float:
    """Σ J Π s over the terms of a site, without its own spin."""
    field = 0.0
    for entry in range(interactions.starts[site], interactions.starts[site + 1]):
        product = interactions.couplings[entry]
        for k in range(interactions.ends[entry], interactions.ends[entry + 1]):
            product *= spins[interactions.others[k]]
        field += product
    return field


@numba.njit(cache=True, nogil=True)
def _sweeps(spins: Any, interactions: Any, temperature: float, num: int, rng: Any) -> None:
    for _ in range(num):
        for site in range(spins.size):
            field = _field(spins, interactions, site)
            up = rng.random() * (1.0 + math.exp(-2.0 * field / temperature)) < 1.0
            spins[site] = 1 if up else -1


@numba.njit(cache=True, nogil=True)
def _energy(spins: Any, interactions: Any) -> float:
    """H: each term of n spins is found at n sites."""
    energy = 0.0
    for site in range(spins.size):
        for entry in range(interactions.starts[site], interactions.starts[site + 1]):
            product = interactions.couplings[entry] * spins[site]
            order = 1 + interactions.ends[entry + 1] - interactions.ends[entry]
            for k in range(interactions.ends[entry], interactions.ends[entry + 1]):
                product *= spins[interactions.others[k]]
            energy -= product / order
    return energy


@numba.njit(cache=True, nogil=True)
def anneal(spins: Any, interactions: Any, num_steps: int, rng: Any) -> float:
    """−Σ_k H(s_k)/K of one chain, a sweep at β = (k + 1)/K leading from s_k to s_{k+1}, k < K."""
    log_weight = 0.0
    for step in range(num_steps):
        log_weight -= _energy(spins, interactions) / num_steps
        _sweeps(spins, interactions, num_steps / (step + 1), 1, rng)
    return log_weight


@numba.njit(cache=True, nogil=True)
def _energies(rows: Any, interactions: Any, energies: Any) -> None:
    for index in range(len(rows)):
        energies[index] = _energy(rows[index], interactions)


@numba.njit(cache=True, nogil=True)
def _advance(rows: Any, ladder: Any, interactions: Any, spacing: int) -> None:
    """Fill `rows` with the coldest replica after every `spacing` sweeps and exchanges."""
    spins, temperatures, rng = ladder
    num = len(temperatures)
    betas = 1.0 / temperatures
    energies = np.empty((1, num))
    for row in rows:
        for update in range(spacing):
            for k in range(num):
                _sweeps(spins[k], interactions, temperatures[k], 1, rng)
                energies[0, k] = _energy(spins[k], interactions)
            uniforms = rng.random((1, num_pairs(num, update)))
            spins[:] = spins[exchange(energies, betas, update, uniforms)]
        sign = -1 if interactions.even and rng.random() < 0.5 else 1
        for site in range(row.size):
            row[site] = sign * spins[0, site]
