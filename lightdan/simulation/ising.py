"""Monte-Carlo simulation of the Ising model on any lattice or graph."""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lightdan.lattices.bravais import LatticeLike, as_lattice
from lightdan.lattices.lattice import Lattice
from lightdan.simulation import chains, explicit
from lightdan.simulation.simulation import Simulation
from lightdan.simulation.terms import Interactions, Terms, gather

OBSERVABLES = ("energy", "abs_magnetization", "magnetization")
SITES_PER_CALL = 2**19
LARGEST_TABLE = 10_000
"""Largest number of local fields of a site whose heat-bath probabilities are tabulated."""


def simulate(
    lattice: LatticeLike,
    temperature: float,
    num_configurations: int,
    *,
    coupling: float | Sequence[float] = 1.0,
    field: float = 0.0,
    clusters: bool | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Draw from e^{−H/T}/Z with H = −Σ_<ij> J_ij s_i s_j − h Σ_i s_i, s = ±1.

    An update is a heat-bath sweep over all sites and one Wolff cluster, which is flipped with the
    Metropolis probability of its field energy. The sweep decorrelates at high temperature and in a
    field; the cluster decorrelates near T_c. `chains.run` chooses the number of updates between two
    rows, which keeps τ of E, |m| and m below one row.

    Frustrated bonds have sweeps only, except on hypercubic tori, where only loops around them are
    frustrated; there correlations at random distances have to decorrelate, too. Where sweeps alone do
    not decorrelate the overlaps with random patterns, `explicit.simulate` takes over with replica
    exchange.

    Args:
        lattice: Lattice or graph, or the shape of a rectangular torus. A side of length 2 has each of
            its bonds twice, a side of length 1 has none.
        temperature: Temperature T, in units of J (k_B = 1).
        num_configurations: Number of rows.
        coupling: Coupling J, one number or those of `bond_couplings`; negative is antiferromagnetic.
        field: Field h, in units of J.
        clusters: Whether clusters are flipped; by default unless bonds are frustrated, and on all
            hypercubic tori.
        seed: Random seed; it determines every spin, on any number of processors.
        progress: Callback that receives the number of new configurations, in the calling thread.

    Raises:
        ValueError: An argument is out of its range, or clusters are asked of frustrated bonds.

    References:
        U. Wolff, Phys. Rev. Lett. 62, 361 (1989).
    """
    lattice = as_lattice(lattice)
    couplings = bond_couplings(lattice, coupling)
    num_sites = lattice.num_sites
    chains.validate((num_sites,), temperature, num_configurations, field=field)
    frustrated = is_frustrated(lattice, couplings)
    if clusters and frustrated:
        raise ValueError(
            "The bonds are frustrated, so clusters would span the lattice: set clusters to false."
        )
    if clusters is None:
        clusters = not frustrated or lattice.is_hypercubic
    interactions = _interactions(lattice, couplings, field)
    model = _model(lattice, temperature, couplings, field)
    run: Simulation | None = None
    if model is not None:
        patterns = explicit.Observables(interactions, seed)
        shifts = chains.shifts(num_sites, seed) if frustrated else []
        own = partial(_observables, lattice=lattice, coupling=coupling, field=field, shifts=shifts)
        names = [*OBSERVABLES, *(f"correlation_{r}" for r in shifts)] if clusters else patterns.names
        observe = own if clusters else patterns
        run = _run(model, clusters, observe, names, num_configurations, seed, progress)
    if run is None:
        run = explicit.simulate(
            interactions, temperature, num_configurations, seed=seed, progress=progress
        )
    rows = run.configurations.reshape(-1, *lattice.shape)
    return Simulation(rows, run.tau, run.updates_per_configuration)


def _run(
    model: "_Model",
    clusters: bool,
    observe: chains.Observe,
    names: Sequence[str],
    num_configurations: int,
    seed: int,
    progress: Callable[[int], None] | None,
) -> Simulation | None:
    """Return rows `(M, N)` of chains at T, or None if sweeps alone do not decorrelate."""
    num_sites = len(model.starts) - 1
    settings: dict[str, Any] = {
        "num_sites": num_sites,
        "dtype": np.int8,
        "updates_per_call": max(1, SITES_PER_CALL // num_sites),
    }
    advance = chains.in_threads(
        lambda rows, chain, spacing: _advance(rows, chain, model, spacing, clusters),
        _start(num_sites, seed),
    )
    spacing = None
    if not clusters:
        spacing, settled = chains.pilot(chains.NUM_CHAINS, advance, observe, **settings)
        if not settled:
            return None
    configurations, taus, spacing = chains.run(
        chains.NUM_CHAINS,
        advance,
        observe,
        num_configurations,
        spacing=spacing,
        progress=progress,
        **settings,
    )
    return Simulation(configurations, dict(zip(names, taus, strict=True)), spacing)


def _interactions(lattice: Lattice, couplings: NDArray[np.float64], field: float) -> Interactions:
    every = np.arange(lattice.num_sites)[:, None]
    own = [Terms(lattice.bonds, (1, 1), couplings), Terms(every, (1,), field)]
    return gather("spin", lattice.num_sites, [term for term in own if len(term.sites)])


def energy(
    configurations: NDArray[np.int8],
    coupling: float | Sequence[float] = 1.0,
    field: float = 0.0,
    lattice: Lattice | None = None,
) -> NDArray[np.float64]:
    """Return H(s) in the units of J and h, ``(M, *shape)`` -> ``(M,)``.

    Args:
        configurations: Spins.
        coupling: Coupling J, as in `simulate`.
        field: Field h.
        lattice: Lattice; a rectangular torus by default.
    """
    lattice = as_lattice(configurations.shape[1:] if lattice is None else lattice)
    flat = configurations.reshape(len(configurations), -1)
    total: NDArray[np.float64] = -field * flat.sum(axis=1, dtype=np.float64)
    for value, bonds in bonds_by_coupling(lattice, coupling).items():
        total -= value * _sums_of_products(flat, bonds)
    return total


@numba.njit(cache=True, nogil=True)
def _sums_of_products(rows: NDArray[np.int8], bonds: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return Σ s_i s_j over bonds `(bonds, 2)` of each row `(M, N)`."""
    sums = np.empty(len(rows))
    for index in range(len(rows)):
        total = 0
        for k in range(len(bonds)):
            total += rows[index, bonds[k, 0]] * rows[index, bonds[k, 1]]
        sums[index] = total
    return sums


def bond_couplings(lattice: Lattice, coupling: float | Sequence[float]) -> NDArray[np.float64]:
    """Return J of each of `lattice.bonds` `(bonds,)`.

    Args:
        lattice: Lattice or graph.
        coupling: One number; one for each direction of bonds, in the order of `lattice.steps`; or on a
            graph one for each bond.

    Raises:
        ValueError: There is another number of couplings, or one is not finite.
    """
    given = np.atleast_1d(np.asarray(coupling, np.float64))
    if not np.isfinite(given).all():
        raise ValueError(f"coupling must be finite, not {coupling}.")
    classes = lattice.bond_classes.values()
    numbers = np.repeat(lattice.directions, [len(pairs) for pairs in classes]).astype(np.intp)
    kind = "directions of bonds"
    if lattice.is_graph:
        numbers, kind = np.arange(len(lattice.bonds)), "bonds"
    expected = int(numbers.max(initial=-1)) + 1
    if np.ndim(coupling) == 0:
        return np.full(len(numbers), given[0])
    if len(given) != expected:
        raise ValueError(
            f"coupling has {len(given)} numbers, but there are {expected} {kind}: pass one number, or "
            "one for each."
        )
    return given[numbers]


def bonds_by_coupling(
    lattice: Lattice, coupling: float | Sequence[float]
) -> dict[float, NDArray[np.intp]]:
    """Return the bonds `(bonds, 2)` by their J."""
    couplings = bond_couplings(lattice, coupling)
    return {float(value): lattice.bonds[couplings == value] for value in np.unique(couplings)}


def is_frustrated(lattice: Lattice, couplings: NDArray[np.float64]) -> bool:
    """Return whether no configuration satisfies all bonds with J ≠ 0.

    Args:
        lattice: Lattice or graph.
        couplings: J of each bond `(bonds,)`.
    """
    if not (couplings < 0).any():
        return False
    # Ferromagnetic bonds join (i, up) with (j, up), others (i, up) with (j, down). All can be satisfied
    # unless a site is joined with its own reverse.
    num, (first, second) = lattice.num_sites, lattice.bonds[couplings != 0].T
    turned = num * (couplings[couplings != 0] < 0)
    ends = np.concatenate([first, first + num]), np.concatenate([second + turned, second + num - turned])
    joined = coo_array((np.ones(len(ends[0])), ends), shape=(2 * num, 2 * num))
    _, component = connected_components(joined, directed=False)
    return bool((component[:num] == component[num:]).any())


class _Model(NamedTuple):
    """Constants of the Hamiltonian that an update needs."""

    starts: NDArray[np.intp]
    """First neighbour of each site, and the number of all `(sites + 1,)`."""
    others: NDArray[np.intp]
    """Neighbours of the sites, twice for a doubled bond."""
    kinds: NDArray[np.intp]
    """Number of the coupling of each neighbour."""
    strides: NDArray[np.intp]
    """Step in `up_probability` for one neighbour with each coupling."""
    up_probability: NDArray[np.float64]
    """Heat-bath probability of spin up, by the sums of the neighbours with each coupling."""
    bond_probability: NDArray[np.float64]
    """Probability 1 − e^{−2|J|/T} that a satisfied bond joins the cluster, for each coupling."""
    signs: NDArray[np.intp]
    """Sign of each coupling."""
    reduced_field: float
    """Reduced field h/T."""


class _Chain(NamedTuple):
    """A Markov chain: its spins, its random generator and the workspace of its clusters."""

    spins: NDArray[np.int8]
    in_cluster: NDArray[np.bool_]
    queue: NDArray[np.intp]
    rng: np.random.Generator


def _model(
    lattice: Lattice, temperature: float, couplings: NDArray[np.float64], field: float
) -> _Model | None:
    """Return the constants, or None if the local fields of a site are too many for a table."""
    values, numbers = np.unique(couplings, return_inverse=True)
    starts, others, bonds = lattice.links
    kinds = numbers[bonds].astype(np.intp)
    sites = np.repeat(np.arange(lattice.num_sites), np.diff(starts))
    counts = np.zeros((lattice.num_sites, len(values)), np.intp)
    np.add.at(counts, (sites, kinds), 1)
    reach = counts.max(axis=0, initial=0)
    sizes = 2 * reach + 1
    if sizes.prod(dtype=np.float64) > LARGEST_TABLE:
        return None
    sums = np.array([*itertools.product(*(range(-most, most + 1) for most in reach))])
    return _Model(
        starts=starts,
        others=others,
        kinds=kinds,
        strides=np.cumprod([1, *sizes[:0:-1]])[::-1].astype(np.intp),
        up_probability=0.5 + 0.5 * np.tanh((sums @ values + field) / temperature),
        bond_probability=-np.expm1(-2.0 * np.abs(values) / temperature),
        signs=np.where(values >= 0.0, 1, -1),
        reduced_field=field / temperature,
    )


def _start(num_sites: int, seed: int) -> list[_Chain]:
    """Return chains that alternately start aligned and random."""
    initial = []
    for index, rng in enumerate(chains.generators(seed)):
        spins = np.ones(num_sites, np.int8)
        if index % 2:
            spins -= 2 * rng.integers(2, size=num_sites, dtype=np.int8)
        in_cluster = np.zeros(num_sites, np.bool_)
        initial.append(_Chain(spins, in_cluster, np.empty(num_sites, np.intp), rng))
    return initial


def _observables(
    rows: NDArray[np.int8],
    lattice: Lattice,
    coupling: float | Sequence[float],
    field: float,
    shifts: Sequence[int],
) -> NDArray[np.float64]:
    """Return E, |m|, m and Σ_i s_i s_{i+r}/N for each shift r, `(observables, chains, rows)`.

    Args:
        rows: Spins `(chains, rows, N)`.
        lattice: Lattice or graph.
        coupling: Coupling J.
        field: Field h.
        shifts: Differences r of raster indices, modulo N.
    """
    flat = rows.reshape(-1, rows.shape[2])
    m = flat.mean(axis=1)
    pairs = [(flat * np.roll(flat, -r, axis=1)).mean(axis=1) for r in shifts]
    observed = np.stack([energy(flat, coupling, field, lattice), np.abs(m), m, *pairs])
    return observed.reshape(-1, *rows.shape[:2])


@numba.njit(cache=True, nogil=True)
def _advance(rows: NDArray[np.int8], chain: _Chain, model: _Model, spacing: int, clusters: bool) -> None:
    """Fill ``rows`` with the states of the chain after every ``spacing`` updates.

    Without a field a row gets a random sign, because in the ordered phase an even number of clusters
    would always end at the same sign.
    """
    for row in rows:
        for _ in range(spacing):
            _heat_bath_sweep(chain, model)
            if clusters:
                _cluster_update(chain, model)
        sign = -1 if model.reduced_field == 0.0 and chain.rng.random() < 0.5 else 1
        for site in range(row.size):  # an array assignment would triple the compilation time
            row[site] = sign * chain.spins[site]


@numba.njit(cache=True, nogil=True)
def _heat_bath_sweep(chain: _Chain, model: _Model) -> None:
    middle = model.up_probability.size // 2
    for site in range(chain.spins.size):
        place = middle
        for k in range(model.starts[site], model.starts[site + 1]):
            place += model.strides[model.kinds[k]] * chain.spins[model.others[k]]
        up = chain.rng.random() < model.up_probability[place]
        chain.spins[site] = 1 if up else -1


@numba.njit(cache=True, nogil=True)
def _cluster_update(chain: _Chain, model: _Model) -> None:
    spins, in_cluster, queue, rng = chain
    root = int(rng.random() * spins.size)
    queue[0] = root
    in_cluster[root] = True
    size = 1
    head = 0
    magnetization = 0
    while head < size:
        site = queue[head]
        head += 1
        magnetization += spins[site]
        for k in range(model.starts[site], model.starts[site + 1]):
            other, kind = model.others[k], model.kinds[k]
            satisfied = spins[other] == model.signs[kind] * spins[site]
            if satisfied and not in_cluster[other] and rng.random() < model.bond_probability[kind]:
                in_cluster[other] = True
                queue[size] = other
                size += 1
    cost = 2.0 * model.reduced_field * magnetization
    flip = -1 if cost <= 0.0 or rng.random() < math.exp(-cost) else 1
    for k in range(size):
        in_cluster[queue[k]] = False
        spins[queue[k]] *= flip
