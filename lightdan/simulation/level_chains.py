"""Monte-Carlo simulation of discrete levels on any lattice or graph."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from lightdan.lattices.bravais import LatticeLike, as_lattice
from lightdan.simulation import chains
from lightdan.simulation.levels import Levels, energy
from lightdan.simulation.simulation import Simulation

SITES_PER_CALL = 2**18


def simulate(
    levels: Levels,
    lattice: LatticeLike,
    temperature: float,
    num_configurations: int,
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Draw levels 0, …, q − 1 from e^{−H/T}/Z.

    An update is a heat-bath sweep over all sites and one Wolff cluster of a random reflection R of the
    levels. Sites a and b of a bond are in the same cluster with probability

        1 − e^{−max(0, Δ)/T},  Δ = J [g(a, b) − g(Ra, b)].

    R leaves H unchanged, so that the cluster is always reflected. `chains.run` chooses the number of
    updates between two rows, which keeps τ of H, of the order parameter and of correlations below one
    row. The correlations are those of sites at random distances, which see any other order.

    Args:
        levels: Hamiltonian.
        lattice: Lattice or graph, or the shape of a rectangular torus. A side of length 2 has each of
            its bonds twice, a side of length 1 has none.
        temperature: Temperature T, in units of the couplings (k_B = 1).
        num_configurations: Number of rows.
        seed: Random seed; it determines every level, on any number of processors.
        progress: Callback that receives the number of new configurations, in the calling thread.

    Raises:
        ValueError: An argument is out of its range; the message names it.

    References:
        U. Wolff, Phys. Rev. Lett. 62, 361 (1989).
    """
    lattice = as_lattice(lattice)
    num_sites = lattice.num_sites
    chains.validate((num_sites,), temperature, num_configurations)
    model = _model(levels, lattice.links.starts, lattice.links.others, temperature)
    shifts = chains.shifts(num_sites, seed)
    configurations, taus, spacing = chains.run(
        chains.NUM_CHAINS,
        chains.in_threads(
            lambda rows, chain, spacing: _advance(rows, chain, model, spacing),
            _start(num_sites, len(levels.single), seed),
        ),
        partial(_observables, levels=levels, bonds=lattice.bonds, shifts=shifts),
        num_configurations,
        num_sites,
        dtype=np.int8,
        updates_per_call=max(1, SITES_PER_CALL // num_sites),
        progress=progress,
    )
    names = ["energy", "order", *(f"correlation_{r}" for r in shifts)]
    tau = dict(zip(names, taus, strict=True))
    return Simulation(configurations.reshape(-1, *lattice.shape), tau, spacing)


class _Model(NamedTuple):
    """Constants of the Hamiltonian that an update needs."""

    starts: NDArray[np.intp]
    """First neighbour of each site, and the number of all `(sites + 1,)`."""
    others: NDArray[np.intp]
    """Neighbours of the sites, twice for a doubled bond."""
    single: NDArray[np.float64]
    """Exponent −u/T of each level."""
    pairs: NDArray[np.float64]
    """Exponent Jg/T of each level for each of a neighbour `(q, q)`."""
    reflections: NDArray[np.intp]
    """Reflections of the levels `(R, q)`."""
    bond_probability: NDArray[np.float64]
    """Probability that a neighbour joins the cluster of a site, for each reflection `(R, q, q)`."""


class _Chain(NamedTuple):
    """A Markov chain: its levels, its random generator and the workspace of its updates."""

    levels: NDArray[np.int8]
    in_cluster: NDArray[np.bool_]
    queue: NDArray[np.intp]
    exponents: NDArray[np.float64]
    rng: np.random.Generator


def _model(
    levels: Levels, starts: NDArray[np.intp], others: NDArray[np.intp], temperature: float
) -> _Model:
    pairs = levels.coupling / temperature * levels.product
    gain = np.array([pairs - pairs[reflection] for reflection in levels.reflections])
    return _Model(
        starts=starts,
        others=others,
        single=-levels.single / temperature,
        pairs=pairs,
        reflections=levels.reflections,
        bond_probability=-np.expm1(-np.maximum(gain, 0.0)).reshape(-1, *pairs.shape),
    )


def _start(num_sites: int, num_levels: int, seed: int) -> list[_Chain]:
    """Return chains that alternately start aligned, at one level after the other, and random."""
    initial = []
    for index, rng in enumerate(chains.generators(seed)):
        levels = np.full(num_sites, index // 2 % num_levels, np.int8)
        if index % 2:
            levels[:] = rng.integers(num_levels, size=num_sites)
        in_cluster = np.zeros(num_sites, np.bool_)
        queue = np.empty(num_sites, np.intp)
        initial.append(_Chain(levels, in_cluster, queue, np.empty(num_levels), rng))
    return initial


def _observables(
    rows: NDArray[np.int8], levels: Levels, bonds: NDArray[np.intp], shifts: Sequence[int]
) -> NDArray[np.float64]:
    """Return H, Σ_ij g(a_i, a_j)/N² and Σ_i g(a_i, a_{i+r})/N, `(observables, chains, rows)`.

    Args:
        rows: Levels `(chains, rows, N)`.
        levels: Hamiltonian.
        bonds: Sites of each bond `(bonds, 2)`.
        shifts: Differences r of raster indices, modulo N.
    """
    flat = rows.reshape(-1, rows.shape[2])
    shares = np.stack([(flat == a).mean(axis=1) for a in range(len(levels.single))], axis=1)
    order = np.einsum("ma,ab,mb->m", shares, levels.product, shares)
    pairs = [levels.product[flat, np.roll(flat, -r, axis=1)].mean(axis=1) for r in shifts]
    return np.stack([energy(flat, levels, bonds), order, *pairs]).reshape(-1, *rows.shape[:2])


@numba.njit(cache=True, nogil=True)
def _advance(rows: NDArray[np.int8], chain: _Chain, model: _Model, spacing: int) -> None:
    """Fill ``rows`` with the states of the chain after every ``spacing`` updates.

    Half of the rows are reflected at random, because with one reflection in the ordered phase an even
    number of clusters would always end at the same level.
    """
    for row in rows:
        for _ in range(spacing):
            _heat_bath_sweep(chain, model)
            if len(model.reflections) > 0:
                _cluster_update(chain, model)
        number = int(2 * len(model.reflections) * chain.rng.random())
        for site in range(row.size):
            level = chain.levels[site]
            row[site] = model.reflections[number, level] if number < len(model.reflections) else level


@numba.njit(cache=True, nogil=True)
def _heat_bath_sweep(chain: _Chain, model: _Model) -> None:
    levels, exponents, rng = chain.levels, chain.exponents, chain.rng
    num_levels = exponents.size
    for site in range(levels.size):
        exponents[:] = model.single
        for k in range(model.starts[site], model.starts[site + 1]):
            other = levels[model.others[k]]
            for level in range(num_levels):
                exponents[level] += model.pairs[other, level]
        top = exponents[0]
        for level in range(1, num_levels):
            top = max(top, exponents[level])
        total = 0.0
        for level in range(num_levels):
            exponents[level] = math.exp(exponents[level] - top)
            total += exponents[level]
        rest = rng.random() * total
        chosen = 0
        while chosen < num_levels - 1 and rest >= exponents[chosen]:
            rest -= exponents[chosen]
            chosen += 1
        levels[site] = chosen


@numba.njit(cache=True, nogil=True)
def _cluster_update(chain: _Chain, model: _Model) -> None:
    levels, in_cluster, queue, rng = chain.levels, chain.in_cluster, chain.queue, chain.rng
    number = int(rng.random() * len(model.reflections))
    probability = model.bond_probability[number]
    queue[0] = int(rng.random() * levels.size)
    in_cluster[queue[0]] = True
    head, size = 0, 1
    while head < size:
        site = queue[head]
        head += 1
        for k in range(model.starts[site], model.starts[site + 1]):
            other = model.others[k]
            bond = probability[levels[site], levels[other]]
            if bond > 0.0 and not in_cluster[other] and rng.random() < bond:
                in_cluster[other] = True
                queue[size] = other
                size += 1
    for k in range(size):
        site = queue[k]
        in_cluster[site] = False
        levels[site] = model.reflections[number, levels[site]]
