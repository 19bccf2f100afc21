"""Monte-Carlo simulation of the XY model on any lattice or graph."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from lightdan.lattices.bravais import LatticeLike, as_lattice
from lightdan.lattices.lattice import Lattice
from lightdan.lattices.loops import loops
from lightdan.simulation import chains, explicit
from lightdan.simulation.ising import bond_couplings, is_frustrated
from lightdan.simulation.simulation import Simulation
from lightdan.simulation.terms import Terms, gather
from lightdan.simulation.xy_updates import TWO_PI, advance_chain, model_of, start

OBSERVABLES = ("energy", "abs_magnetization", "helicity_modulus", "vortex_pairs")
SITES_PER_CALL = 2**17


def simulate(
    lattice: LatticeLike,
    temperature: float,
    num_configurations: int,
    *,
    coupling: float | Sequence[float] = 1.0,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Draw from e^{−H/T}/Z with H = −Σ_<ij> J_ij cos(θ_i − θ_j).

    An update consists of a heat-bath sweep, two sweeps of over-relaxation, which reflects each spin
    about the field of its neighbours, and one Wolff cluster, reflected about a random axis. Each row
    is rotated by a random angle and reflected at random, because both are symmetries. `chains.run`
    chooses the number of updates between two rows, which keeps τ of all observables below one row.

    Frustrated bonds have sweeps only, except on hypercubic tori. Where these do not decorrelate the
    overlaps with random patterns, `explicit.simulate` takes over with replica exchange.

    Args:
        lattice: Lattice or graph, or the shape of a rectangular torus. A side of length 2 has each of
            its bonds twice, a side of length 1 has none.
        temperature: Temperature T, in units of J (k_B = 1).
        num_configurations: Number of rows.
        coupling: Coupling J, one number or those of `ising.bond_couplings`; negative is
            antiferromagnetic.
        seed: Random seed; it determines every angle, on any number of processors.
        progress: Callback that receives the number of new configurations, in the calling thread.

    Raises:
        ValueError: An argument is out of its range; the message names it.

    References:
        Cluster: U. Wolff, Phys. Rev. Lett. 62, 361 (1989).
        Heat bath: D. Best and N. Fisher, Appl. Stat. 28, 152 (1979).
        Over-relaxation: M. Creutz, Phys. Rev. D 36, 515 (1987).
    """
    lattice = as_lattice(lattice)
    couplings = bond_couplings(lattice, coupling)
    num_sites = lattice.num_sites
    chains.validate((num_sites,), temperature, num_configurations)
    clusters = lattice.is_hypercubic or not is_frustrated(lattice, couplings)
    model = model_of(lattice, couplings, temperature)
    advance = chains.in_threads(
        lambda rows, chain, spacing: advance_chain(rows, chain, model, spacing, clusters),
        start(num_sites, seed),
    )
    settings: dict[str, Any] = {
        "num_sites": num_sites,
        "dtype": np.float32,
        "updates_per_call": max(1, SITES_PER_CALL // num_sites),
    }
    spacing = None
    if clusters:
        names = [name for name in OBSERVABLES if lattice.is_hypercubic or name != "helicity_modulus"]
        observe: chains.Observe = partial(
            _observables,
            lattice=lattice,
            faces=plaquettes(lattice),
            temperature=temperature,
            coupling=coupling,
        )
    else:
        pairs = [Terms(lattice.bonds, (1, -1), couplings)]
        interactions = gather("angle", num_sites, pairs)
        patterns = explicit.Observables(interactions, seed)
        names, observe = patterns.names, patterns
        spacing, settled = chains.pilot(chains.NUM_CHAINS, advance, observe, **settings)
        if not settled:
            run = explicit.simulate(
                interactions, temperature, num_configurations, seed=seed, progress=progress
            )
            rows = run.configurations.reshape(-1, *lattice.shape)
            return Simulation(rows, run.tau, run.updates_per_configuration)
    configurations, taus, spacing = chains.run(
        chains.NUM_CHAINS,
        advance,
        observe,
        num_configurations,
        spacing=spacing,
        progress=progress,
        **settings,
    )
    tau = dict(zip(names, taus, strict=True))
    return Simulation(configurations.reshape(-1, *lattice.shape), tau, spacing)


def bonds_by_coupling(
    lattice: Lattice, coupling: float | Sequence[float]
) -> Iterator[tuple[float, NDArray[np.intp]]]:
    """Yield J and the bonds `(bonds, 2)` that have it, one class of bonds after the other."""
    classes = [*lattice.bond_classes.values()]
    ends = np.cumsum([len(pairs) for pairs in classes])[:-1]
    parts = np.split(bond_couplings(lattice, coupling), ends)
    for pairs, couplings in zip(classes, parts, strict=False):
        for value in np.unique(couplings):
            yield float(value), pairs[couplings == value]


def energy(
    configurations: NDArray[np.floating],
    coupling: float | Sequence[float] = 1.0,
    lattice: Lattice | None = None,
) -> NDArray[np.float64]:
    """Return H in the units of J, ``(M, *shape)`` -> ``(M,)``.

    Args:
        configurations: Angles.
        coupling: Coupling J, as in `simulate`.
        lattice: Lattice; a rectangular torus by default.
    """
    total = np.zeros(len(configurations))
    for value, ahead in _differences(configurations, coupling, lattice):
        total -= value * np.cos(ahead).sum(axis=1)
    return total


def helicity_modulus(
    configurations: NDArray[np.floating], temperature: float, coupling: float | Sequence[float] = 1.0
) -> NDArray[np.float64]:
    """Return the helicity modulus of each configuration of a torus; ``(M, *shape)`` -> ``(M,)``.

    It is the mean over the axes of J Σ cos(Δθ)/N − J² (Σ sin(Δθ))²/(T N).
    """
    total = np.zeros(len(configurations))
    directions = _differences(configurations, coupling)
    for value, ahead in directions:
        current = value * np.sin(ahead).sum(axis=1)
        stiffness = value * np.cos(ahead).sum(axis=1)
        total += (stiffness - current**2 / temperature) / ahead.shape[1] / len(directions)
    return total


def _differences(
    configurations: NDArray[np.floating],
    coupling: float | Sequence[float],
    lattice: Lattice | None = None,
) -> list[tuple[float, NDArray[np.float64]]]:
    """Return J and θ_j − θ_i `(M, bonds)` of the bonds that have it; along each axis on a torus."""
    lattice = as_lattice(configurations.shape[1:] if lattice is None else lattice)
    flat = configurations.reshape(len(configurations), -1).astype(np.float64)
    return [
        (value, flat.take(bonds[:, 1], axis=1) - flat.take(bonds[:, 0], axis=1))
        for value, bonds in bonds_by_coupling(lattice, coupling)
    ]


def plaquettes(lattice: Lattice) -> list[NDArray[np.intp]]:
    """Return the elementary loops of a lattice by their number of corners `(loops, corners)`.

    A chain has none, and those of a graph enclose no faces.
    """
    if lattice.is_graph or sum(side > 1 for side in lattice.cells) < 2:
        return []
    return [*loops(lattice).values()]


def vortex_pairs(
    configurations: NDArray[np.floating], lattice: Lattice | None = None
) -> NDArray[np.float64]:
    """Return the number of vortex pairs per site; ``(M, *shape)`` -> ``(M,)``.

    It is half the sum of |winding number| over the plaquettes. In three dimensions vortices are lines,
    and each plaquette that they cross counts.

    Args:
        configurations: Angles.
        lattice: Lattice; a rectangular torus by default.
    """
    lattice = as_lattice(configurations.shape[1:] if lattice is None else lattice)
    return _vortex_pairs(configurations.reshape(len(configurations), -1), plaquettes(lattice))


def _vortex_pairs(rows: NDArray[np.floating], faces: Sequence[NDArray[np.intp]]) -> NDArray[np.float64]:
    angles = rows.astype(np.float64)
    vortices = sum((_vortices(angles, corners) for corners in faces), np.zeros(len(rows)))
    return vortices / rows.shape[1] / 2


@numba.njit(cache=True, nogil=True)
def _vortices(rows: NDArray[np.float64], faces: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return Σ |winding number| over faces `(faces, corners)` of each row `(M, N)`."""
    sums = np.zeros(len(rows))
    size = faces.shape[1]
    for index in range(len(rows)):
        for face in range(len(faces)):
            turn = 0.0
            for corner in range(size):
                behind = rows[index, faces[face, corner]]
                ahead = rows[index, faces[face, (corner + 1) % size]] - behind
                turn += ahead - TWO_PI * math.floor(ahead / TWO_PI + 0.5)
            sums[index] += abs(round(turn / TWO_PI))
    return sums


def _observables(
    rows: NDArray[np.float32],
    lattice: Lattice,
    faces: Sequence[NDArray[np.intp]],
    temperature: float,
    coupling: float | Sequence[float],
) -> NDArray[np.float64]:
    """Return the `OBSERVABLES` of each row, ``(chains, rows, sites)`` -> ``(k, chains, rows)``."""
    flat = rows.reshape(-1, rows.shape[2])
    configurations = flat.reshape(-1, *lattice.shape)
    values = [
        energy(configurations, coupling, lattice),
        np.abs(np.exp(1j * flat).mean(axis=1)),
    ]
    if lattice.is_hypercubic:
        values.append(helicity_modulus(configurations, temperature, coupling))
    values.append(_vortex_pairs(flat, faces))
    return np.stack(values).reshape(len(values), *rows.shape[:2])
