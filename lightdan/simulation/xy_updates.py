"""Updates of the XY model: heat bath, over-relaxation and Wolff clusters."""

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from lightdan.lattices.lattice import Lattice
from lightdan.simulation import chains

TWO_PI = 2.0 * math.pi


class Model(NamedTuple):
    """Constants of the Hamiltonian that an update needs."""

    starts: NDArray[np.intp]
    """First neighbour of each site, and the number of all `(sites + 1,)`."""
    others: NDArray[np.intp]
    """Neighbours of the sites, twice for a doubled bond."""
    ratios: NDArray[np.float64]
    """Coupling of each neighbour in units of `coupling`."""
    coupling: float
    """Reduced coupling J/T; of several J the largest in modulus."""


class Chain(NamedTuple):
    """A Markov chain: its unit vectors, its random generator and the workspace of its clusters."""

    spins: NDArray[np.float64]
    in_cluster: NDArray[np.bool_]
    queue: NDArray[np.intp]
    rng: np.random.Generator


def model_of(lattice: Lattice, couplings: NDArray[np.float64], temperature: float) -> Model:
    """Return the constants of couplings J of `lattice.bonds` `(bonds,)` at a temperature."""
    starts, others, bonds = lattice.links
    largest = float(couplings[np.abs(couplings).argmax()]) if couplings.any() else 1.0
    return Model(starts, others, couplings[bonds] / largest, largest / temperature)


def start(num_sites: int, seed: int) -> list[Chain]:
    """Return chains that alternately start aligned and random."""
    initial = []
    for index, rng in enumerate(chains.generators(seed)):
        angles = TWO_PI * rng.random(num_sites) * (index % 2)
        spins = np.column_stack([np.cos(angles), np.sin(angles)])
        in_cluster = np.zeros(num_sites, np.bool_)
        initial.append(Chain(spins, in_cluster, np.empty(num_sites, np.intp), rng))
    return initial


@numba.njit(cache=True, nogil=True)
def advance_chain(
    rows: NDArray[np.float32], chain: Chain, model: Model, spacing: int, clusters: bool
) -> None:
    """Fill ``rows`` with the angles of the chain after every ``spacing`` updates."""
    top = np.float32(TWO_PI)
    for row in rows:
        for _ in range(spacing):
            _heat_bath_sweep(chain, model)
            _over_relaxation_sweep(chain, model)
            _over_relaxation_sweep(chain, model)
            if clusters:
                _cluster_update(chain, model)
        turn = TWO_PI * chain.rng.random()
        sign = 1.0 if chain.rng.random() < 0.5 else -1.0
        for site in range(row.size):
            angle = np.float32(
                (turn + sign * math.atan2(chain.spins[site, 1], chain.spins[site, 0])) % TWO_PI
            )
            row[site] = angle if angle < top else np.float32(0.0)


@numba.njit(cache=True, nogil=True)
def _field(chain: Chain, model: Model, site: int) -> tuple[float, float]:
    """Return the sum of J/T times the neighbour."""
    x = 0.0
    y = 0.0
    for k in range(model.starts[site], model.starts[site + 1]):
        other, ratio = model.others[k], model.ratios[k]
        x += ratio * chain.spins[other, 0]
        y += ratio * chain.spins[other, 1]
    return model.coupling * x, model.coupling * y


@numba.njit(cache=True, nogil=True)
def _heat_bath_sweep(chain: Chain, model: Model) -> None:
    for site in range(len(chain.spins)):
        x, y = _field(chain, model, site)
        kappa = math.sqrt(x * x + y * y)
        if kappa < 1e-6:  # the distribution is uniform, to rounding
            angle = TWO_PI * chain.rng.random()
            chain.spins[site, 0] = math.cos(angle)
            chain.spins[site, 1] = math.sin(angle)
            continue
        cosine = _cosine_about_field(chain, kappa)
        sine = math.sqrt(max(0.0, 1.0 - cosine * cosine))
        if chain.rng.random() < 0.5:
            sine = -sine
        chain.spins[site, 0] = (cosine * x - sine * y) / kappa
        chain.spins[site, 1] = (cosine * y + sine * x) / kappa


@numba.njit(cache=True, nogil=True)
def _cosine_about_field(chain: Chain, kappa: float) -> float:
    """Draw cos φ of an angle with density ∝ e^{κ cos φ}, by rejection from a wrapped Cauchy."""
    tau = 1.0 + math.sqrt(1.0 + 4.0 * kappa * kappa)
    rho = (tau - math.sqrt(2.0 * tau)) / (2.0 * kappa)
    r = (1.0 + rho * rho) / (2.0 * rho)
    while True:
        z = math.cos(math.pi * chain.rng.random())
        cosine = (1.0 + r * z) / (r + z)
        c = kappa * (r - cosine)
        if math.log(c / (1.0 - chain.rng.random())) + 1.0 >= c:
            return cosine


@numba.njit(cache=True, nogil=True)
def _over_relaxation_sweep(chain: Chain, model: Model) -> None:
    for site in range(len(chain.spins)):
        x, y = _field(chain, model, site)
        square = x * x + y * y
        if square > 0.0:
            factor = 2.0 * (chain.spins[site, 0] * x + chain.spins[site, 1] * y) / square
            chain.spins[site, 0] = factor * x - chain.spins[site, 0]
            chain.spins[site, 1] = factor * y - chain.spins[site, 1]


@numba.njit(cache=True, nogil=True)
def _cluster_update(chain: Chain, model: Model) -> None:
    spins, in_cluster, queue, rng = chain
    angle = TWO_PI * rng.random()
    x = math.cos(angle)
    y = math.sin(angle)
    root = int(rng.random() * len(spins))
    queue[0] = root
    in_cluster[root] = True
    size = 1
    head = 0
    while head < size:
        site = queue[head]
        head += 1
        projection = x * spins[site, 0] + y * spins[site, 1]
        for k in range(model.starts[site], model.starts[site + 1]):
            other = model.others[k]
            if in_cluster[other]:
                continue
            along = x * spins[other, 0] + y * spins[other, 1]
            exponent = 2.0 * model.coupling * projection * along * model.ratios[k]
            if exponent > 0.0 and rng.random() < -math.expm1(-exponent):
                in_cluster[other] = True
                queue[size] = other
                size += 1
    for k in range(size):
        site = queue[k]
        in_cluster[site] = False
        factor = 2.0 * (x * spins[site, 0] + y * spins[site, 1])
        spins[site, 0] -= factor * x
        spins[site, 1] -= factor * y
