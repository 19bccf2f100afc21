"""Monte-Carlo simulation of the Ising model in one and two dimensions."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from lightdan.simulation import chains
from lightdan.simulation.simulation import Simulation

OBSERVABLES = ("energy", "abs_magnetization", "magnetization")
SITES_PER_CALL = 2**19


def simulate(
    shape: Sequence[int],
    temperature: float,
    num_configurations: int,
    *,
    coupling: float = 1.0,
    field: float = 0.0,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Draw from e^{−H/T}/Z with H = −J Σ_<ij> s_i s_j − h Σ_i s_i, s = ±1, periodic.

    An update is a heat-bath sweep over all sites and one Wolff cluster, which is flipped with the
    Metropolis probability of its field energy. The sweep decorrelates at high temperature, in a field
    and under frustration; the cluster decorrelates near T_c. `chains.run` chooses the number of
    updates between two rows, which keeps τ of E, |m| and m below one row.

    Args:
        shape: One or two side lengths. A side of length 2 has each of its bonds twice, a side of
            length 1 has none.
        temperature: Temperature T, in units of J (k_B = 1).
        num_configurations: Number of rows.
        coupling: Coupling J; negative is antiferromagnetic.
        field: Field h, in units of J.
        seed: Random seed; it determines every spin, on any number of processors.
        progress: Callback that receives the number of new configurations, in the calling thread.

    Raises:
        ValueError: An argument is out of its range; the message names it.

    References:
        U. Wolff, Phys. Rev. Lett. 62, 361 (1989).
    """
    chains.validate(shape, temperature, num_configurations, coupling=coupling, field=field)
    shape = tuple(shape)
    model = _model(shape, temperature, coupling, field)
    configurations, taus, spacing = chains.run(
        chains.NUM_CHAINS,
        chains.in_threads(
            lambda rows, chain, spacing: _advance(rows, chain, model, spacing),
            _start(math.prod(shape), seed),
        ),
        partial(_observables, shape=shape, coupling=coupling, field=field),
        num_configurations,
        math.prod(shape),
        dtype=np.int8,
        updates_per_call=SITES_PER_CALL // math.prod(shape),
        progress=progress,
    )
    tau = dict(zip(OBSERVABLES, taus, strict=True))
    return Simulation(configurations.reshape(-1, *shape), tau, spacing)


def energy(
    configurations: NDArray[np.int8], coupling: float = 1.0, field: float = 0.0
) -> NDArray[np.float64]:
    """Return H(s) in the units of J and h, with the bonds of `simulate`; ``(M, *shape)`` -> ``(M,)``."""
    sites = tuple(range(1, configurations.ndim))
    total: NDArray[np.float64] = -field * configurations.sum(axis=sites, dtype=np.float64)
    for axis in sites:
        if configurations.shape[axis] > 1:
            bonds = configurations * np.roll(configurations, -1, axis)
            total -= coupling * bonds.sum(axis=sites, dtype=np.float64)
    return total


class _Model(NamedTuple):
    """Constants of the Hamiltonian that an update needs."""

    neighbours: NDArray[np.intp]
    """Neighbours of each site `(sites, z)`, twice for a doubled bond."""
    up_probability: NDArray[np.float64]
    """Heat-bath probability of spin up for a sum of neighbours −z … z."""
    bond_probability: float
    """Probability 1 − e^{−2|J|/T} that a satisfied bond joins the cluster."""
    sign: int
    """Sign of J."""
    reduced_field: float
    """Reduced field h/T."""


class _Chain(NamedTuple):
    """A Markov chain: its spins, its random generator and the workspace of its clusters."""

    spins: NDArray[np.int8]
    in_cluster: NDArray[np.bool_]
    queue: NDArray[np.intp]
    rng: np.random.Generator


def _model(shape: tuple[int, ...], temperature: float, coupling: float, field: float) -> _Model:
    neighbours = chains.neighbours(shape)
    z = neighbours.shape[1]
    sums = np.arange(-z, z + 1)
    return _Model(
        neighbours=neighbours,
        up_probability=0.5 + 0.5 * np.tanh((coupling * sums + field) / temperature),
        bond_probability=-math.expm1(-2.0 * abs(coupling) / temperature),
        sign=1 if coupling >= 0.0 else -1,
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
    rows: NDArray[np.int8], shape: tuple[int, ...], coupling: float, field: float
) -> NDArray[np.float64]:
    """Return E, |m| and m of each row, ``(chains, rows, sites)`` -> ``(3, chains, rows)``."""
    energies = energy(rows.reshape(-1, *shape), coupling, field).reshape(rows.shape[:2])
    magnetizations = rows.mean(axis=2)
    return np.stack([energies, np.abs(magnetizations), magnetizations])


@numba.njit(cache=True, nogil=True)
def _advance(rows: NDArray[np.int8], chain: _Chain, model: _Model, spacing: int) -> None:
    """Fill ``rows`` with the states of the chain after every ``spacing`` updates.

    Without a field a row gets a random sign, because in the ordered phase an even number of clusters
    would always end at the same sign.
    """
    for row in rows:
        for _ in range(spacing):
            _heat_bath_sweep(chain, model)
            _cluster_update(chain, model)
        sign = -1 if model.reduced_field == 0.0 and chain.rng.random() < 0.5 else 1
        for site in range(row.size):  # an array assignment would triple the compilation time
            row[site] = sign * chain.spins[site]


@numba.njit(cache=True, nogil=True)
def _heat_bath_sweep(chain: _Chain, model: _Model) -> None:
    z = model.neighbours.shape[1]
    for site in range(chain.spins.size):
        total = 0
        for k in range(z):
            total += chain.spins[model.neighbours[site, k]]
        up = chain.rng.random() < model.up_probability[total + z]
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
        for k in range(model.neighbours.shape[1]):
            other = model.neighbours[site, k]
            satisfied = spins[other] == model.sign * spins[site]
            if satisfied and not in_cluster[other] and rng.random() < model.bond_probability:
                in_cluster[other] = True
                queue[size] = other
                size += 1
    cost = 2.0 * model.reduced_field * magnetization
    flip = -1 if cost <= 0.0 or rng.random() < math.exp(-cost) else 1
    for k in range(size):
        in_cluster[queue[k]] = False
        spins[queue[k]] *= flip
