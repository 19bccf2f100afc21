"""Monte-Carlo simulation of the XY model in one and two dimensions."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from lightdan.simulation import chains
from lightdan.simulation.simulation import Simulation

TWO_PI = 2.0 * math.pi
OBSERVABLES = ("energy", "abs_magnetization", "helicity_modulus", "vortex_pairs")
SITES_PER_CALL = 2**17


def simulate(
    shape: Sequence[int],
    temperature: float,
    num_configurations: int,
    *,
    coupling: float = 1.0,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Draw from e^{−H/T}/Z with H = −J Σ_<ij> cos(θ_i − θ_j), periodic.

    An update consists of a heat-bath sweep, two sweeps of over-relaxation, which reflects each spin
    about the field of its neighbours, and one Wolff cluster, reflected about a random axis. Each row
    is rotated by a random angle and reflected at random, because both are symmetries. `chains.run`
    chooses the number of updates between two rows, which keeps τ of all observables below one row.

    Args:
        shape: One or two side lengths. A side of length 2 has each of its bonds twice, a side of
            length 1 has none.
        temperature: Temperature T, in units of J (k_B = 1).
        num_configurations: Number of rows.
        coupling: Coupling J; negative is antiferromagnetic.
        seed: Random seed; it determines every angle, on any number of processors.
        progress: Callback that receives the number of new configurations, in the calling thread.

    Raises:
        ValueError: An argument is out of its range; the message names it.

    References:
        Cluster: U. Wolff, Phys. Rev. Lett. 62, 361 (1989).
        Heat bath: D. Best and N. Fisher, Appl. Stat. 28, 152 (1979).
        Over-relaxation: M. Creutz, Phys. Rev. D 36, 515 (1987).
    """
    chains.validate(shape, temperature, num_configurations, coupling=coupling)
    shape = tuple(shape)
    model = _Model(chains.neighbours(shape), coupling / temperature)
    configurations, taus, spacing = chains.run(
        chains.NUM_CHAINS,
        chains.in_threads(
            lambda rows, chain, spacing: _advance(rows, chain, model, spacing),
            _start(math.prod(shape), seed),
        ),
        partial(_observables, shape=shape, temperature=temperature, coupling=coupling),
        num_configurations,
        math.prod(shape),
        dtype=np.float32,
        updates_per_call=SITES_PER_CALL // math.prod(shape),
        progress=progress,
    )
    tau = dict(zip(OBSERVABLES, taus, strict=True))
    return Simulation(configurations.reshape(-1, *shape), tau, spacing)


def bonds(configurations: NDArray[np.floating]) -> list[NDArray[np.float64]]:
    """Return θ_j − θ_i along each axis with bonds, ``(M, *shape)`` each."""
    axes = [axis for axis in range(1, configurations.ndim) if configurations.shape[axis] > 1]
    angles = configurations.astype(np.float64)
    return [np.roll(angles, -1, axis) - angles for axis in axes]


def energy(configurations: NDArray[np.floating], coupling: float = 1.0) -> NDArray[np.float64]:
    """Return H in the units of J, with the bonds of `simulate`; ``(M, *shape)`` -> ``(M,)``."""
    total = np.zeros(len(configurations))
    for bond in bonds(configurations):
        total -= coupling * np.cos(bond).reshape(len(bond), -1).sum(axis=1)
    return total


def helicity_modulus(
    configurations: NDArray[np.floating], temperature: float, coupling: float = 1.0
) -> NDArray[np.float64]:
    """Return the helicity modulus of each configuration; ``(M, *shape)`` -> ``(M,)``.

    It is the mean over the axes of J Σ cos(Δθ)/N − J² (Σ sin(Δθ))²/(T N).
    """
    total = np.zeros(len(configurations))
    directions = bonds(configurations)
    for bond in directions:
        flat = bond.reshape(len(bond), -1)
        current = coupling * np.sin(flat).sum(axis=1)
        stiffness = coupling * np.cos(flat).sum(axis=1)
        total += (stiffness - current**2 / temperature) / flat.shape[1] / len(directions)
    return total


def vortex_pairs(configurations: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the number of vortex pairs per site; ``(M, *shape)`` -> ``(M,)``.

    It is half the sum of |winding number| over the plaquettes.
    """
    if configurations.ndim != 3 or min(configurations.shape[1:]) < 2:
        return np.zeros(len(configurations))
    up, right = (bond - TWO_PI * np.floor(bond / TWO_PI + 0.5) for bond in bonds(configurations))
    loop = right + np.roll(up, -1, 2) - np.roll(right, -1, 1) - up
    pairs: NDArray[np.float64] = np.abs(np.rint(loop / TWO_PI)).mean(axis=(1, 2)) / 2
    return pairs


class _Model(NamedTuple):
    """Constants of the Hamiltonian that an update needs."""

    neighbours: NDArray[np.intp]
    """Neighbours of each site `(sites, z)`, twice for a doubled bond."""
    coupling: float
    """Reduced coupling J/T."""


class _Chain(NamedTuple):
    """A Markov chain: its unit vectors, its random generator and the workspace of its clusters."""

    spins: NDArray[np.float64]
    in_cluster: NDArray[np.bool_]
    queue: NDArray[np.intp]
    rng: np.random.Generator


def _start(num_sites: int, seed: int) -> list[_Chain]:
    """Return chains that alternately start aligned and random."""
    initial = []
    for index, rng in enumerate(chains.generators(seed)):
        angles = TWO_PI * rng.random(num_sites) * (index % 2)
        spins = np.column_stack([np.cos(angles), np.sin(angles)])
        in_cluster = np.zeros(num_sites, np.bool_)
        initial.append(_Chain(spins, in_cluster, np.empty(num_sites, np.intp), rng))
    return initial


def _observables(
    rows: NDArray[np.float32], shape: tuple[int, ...], temperature: float, coupling: float
) -> NDArray[np.float64]:
    """Return the `OBSERVABLES` of each row, ``(chains, rows, sites)`` -> ``(4, chains, rows)``."""
    configurations = rows.reshape(-1, *shape)
    values = [
        energy(configurations, coupling),
        np.abs(np.exp(1j * rows.reshape(len(configurations), -1)).mean(axis=1)),
        helicity_modulus(configurations, temperature, coupling),
        vortex_pairs(configurations),
    ]
    return np.stack(values).reshape(len(values), *rows.shape[:2])


@numba.njit(cache=True, nogil=True)
def _advance(rows: NDArray[np.float32], chain: _Chain, model: _Model, spacing: int) -> None:
    """Fill ``rows`` with the angles of the chain after every ``spacing`` updates."""
    top = np.float32(TWO_PI)
    for row in rows:
        for _ in range(spacing):
            _heat_bath_sweep(chain, model)
            _over_relaxation_sweep(chain, model)
            _over_relaxation_sweep(chain, model)
            _cluster_update(chain, model)
        turn = TWO_PI * chain.rng.random()
        sign = 1.0 if chain.rng.random() < 0.5 else -1.0
        for site in range(row.size):
            angle = np.float32(
                (turn + sign * math.atan2(chain.spins[site, 1], chain.spins[site, 0])) % TWO_PI
            )
            row[site] = angle if angle < top else np.float32(0.0)


@numba.njit(cache=True, nogil=True)
def _field(chain: _Chain, model: _Model, site: int) -> tuple[float, float]:
    """Return J/T times the sum of the neighbours."""
    x = 0.0
    y = 0.0
    for k in range(model.neighbours.shape[1]):
        other = model.neighbours[site, k]
        x += chain.spins[other, 0]
        y += chain.spins[other, 1]
    return model.coupling * x, model.coupling * y


@numba.njit(cache=True, nogil=True)
def _heat_bath_sweep(chain: _Chain, model: _Model) -> None:
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
def _cosine_about_field(chain: _Chain, kappa: float) -> float:
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
def _over_relaxation_sweep(chain: _Chain, model: _Model) -> None:
    for site in range(len(chain.spins)):
        x, y = _field(chain, model, site)
        square = x * x + y * y
        if square > 0.0:
            factor = 2.0 * (chain.spins[site, 0] * x + chain.spins[site, 1] * y) / square
            chain.spins[site, 0] = factor * x - chain.spins[site, 0]
            chain.spins[site, 1] = factor * y - chain.spins[site, 1]


@numba.njit(cache=True, nogil=True)
def _cluster_update(chain: _Chain, model: _Model) -> None:
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
        for k in range(model.neighbours.shape[1]):
            other = model.neighbours[site, k]
            if in_cluster[other]:
                continue
            along = x * spins[other, 0] + y * spins[other, 1]
            exponent = 2.0 * model.coupling * projection * along
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
