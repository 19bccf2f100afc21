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
from lightdan.simulation.simulation import Simulation

HOTTEST = 2.0
"""Highest temperature of the ladder, in units of the mean √Σ J² over the terms of a site."""
RATIO = 1.12
"""Ratio of neighbouring temperatures of the ladder."""
SITES_PER_CALL = 2**19


class Interactions(NamedTuple):
    """The terms of a Hamiltonian, sorted by site."""

    starts: NDArray[np.intp]
    """First entry of each site; the entries of site i are `starts[i]` to `starts[i + 1]`."""
    couplings: NDArray[np.float64]
    """J of each entry."""
    ends: NDArray[np.intp]
    """Bounds in `others`; the other sites of entry k are `ends[k]` to `ends[k + 1]`."""
    others: NDArray[np.intp]
    """The other sites of all terms, entry after entry."""
    even: bool
    """Whether all terms have an even number of spins, so that H(−s) = H(s)."""


def gather(num_sites: int, terms: Sequence[tuple[NDArray[np.intp], float]]) -> Interactions:
    """Sort terms by site.

    Args:
        num_sites: Number N of sites.
        terms: Pairs of sites `(terms, order)` and their common coupling J.
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
    """Sweep chains by heat bath in place, each at its own temperature.

    Args:
        spins: Spins ±1 of all chains `(B, N)`.
        interactions: Hamiltonian.
        temperatures: Temperature T of each chain `(B,)`.
        num_sweeps: Number of sweeps of each chain.
        seed: Random seed; it determines every spin, on any number of processors.
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
    """Return H `(B,)` of spins `(B, N)`."""
    values = np.empty(len(spins))
    _energies(spins, interactions, values)
    return values


class _Ladder(NamedTuple):
    """Replicas `(K, N)` at ascending temperatures, and their random generator."""

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
) -> Simulation:
    """Draw from e^{−H/T}/Z by heat-bath sweeps and replica exchange.

    Independent ladders of replicas reach from T to temperatures at which the spins are nearly free.
    Neighbours exchange after every sweep. `chains.run` chooses the number of updates between two
    rows. It keeps τ below one row for H, |m| and the overlaps with four random patterns, which detect
    the slow modes of a glass.

    Args:
        interactions: Hamiltonian.
        temperature: Temperature T.
        num_configurations: Number of rows.
        seed: Random seed; it determines every spin, on any number of processors.
        progress: Callback that receives the number of new configurations, in the calling thread.

    Raises:
        ValueError: T is not positive and finite, or ``num_configurations`` is below 1.

    References:
        K. Hukushima and K. Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996).
    """
    num_sites = len(interactions.starts) - 1
    chains.validate((num_sites,), temperature, num_configurations)
    ladder = temperatures_of_ladder(interactions, temperature)
    patterns = np.random.default_rng([seed, 1]).choice([-1.0, 1.0], (4, num_sites))
    ladders = [
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
            lambda rows, chain, spacing: _advance(rows, chain, interactions, spacing), ladders
        ),
        observe,
        num_configurations,
        num_sites,
        dtype=np.int8,
        updates_per_call=max(1, SITES_PER_CALL // (num_sites * len(ladder))),
        progress=progress,
    )
    names = ["energy", "abs_magnetization", *(f"overlap_{k}" for k in range(len(patterns)))]
    return Simulation(configurations, dict(zip(names, taus, strict=True)), spacing)


def temperatures_of_ladder(interactions: Interactions, temperature: float) -> NDArray[np.float64]:
    """Return T, T r, T r², … up to `HOTTEST` times the mean over the sites of √Σ J²."""
    sums = np.cumsum([0.0, *interactions.couplings**2])
    squares = np.diff(sums[interactions.starts])
    top = HOTTEST * float(np.sqrt(squares).mean())
    rungs = max(1, math.ceil(math.log(max(top / temperature, 1.0)) / math.log(RATIO)) + 1)
    ladder: NDArray[np.float64] = temperature * RATIO ** np.arange(rungs, dtype=np.float64)
    return ladder


@numba.njit(cache=True, nogil=True)
def _field(spins: Any, interactions: Any, site: int) -> float:
    """Return Σ J Π s over the terms of a site, without the spin of that site."""
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
    """Return H; a term of n spins is listed at n sites."""
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
    """Return −Σ_{k<K} H(s_k)/K of one chain; a sweep at β = (k + 1)/K leads from s_k to s_{k+1}."""
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
