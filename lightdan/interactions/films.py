"""Uniform Hamiltonians that were learned on patches, carried over to films of any size."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.operators import Operator
from lightdan.simulation.films import Cooled, Stencil, cool


def simulate_film(
    hamiltonian: ExplicitHamiltonian, shape: tuple[int, int], seed: int | np.random.Generator
) -> Cooled:
    """Return a large periodic film of the Hamiltonian at its temperature, cooled from disorder.

    Cut away what should not be periodic.

    Args:
        hamiltonian: Uniform Hamiltonian of spins on a patch.
        shape: Numbers of rows and columns of the film.
        seed: Random seed, or a generator.

    Raises:
        ValueError: The Hamiltonian has other sites than spins on a plane, is not uniform, or reaches
            too far for the film.

    Example:
        >>> from lightdan.interactions.catalogue import uniform_operators
        >>> from lightdan.lattices.bravais import hypercubic
        >>> pairs = uniform_operators(hypercubic((4, 4), "window"), (), 1.0)[1:3]
        >>> ising = ExplicitHamiltonian.from_couplings((4, 4), pairs, np.array([0.4, 0.4]))
        >>> simulate_film(ising, (64, 64), seed=0).spins.shape
        (64, 64)
    """
    return cool(stencil_of(hamiltonian), shape, seed)


def stencil_of(hamiltonian: ExplicitHamiltonian) -> Stencil:
    """Return the couplings by the steps between sites, in units of the temperature.

    Raises:
        ValueError: The Hamiltonian has other sites than spins on a plane, or is not uniform.
    """
    shape, operators = hamiltonian.lattice_shape, hamiltonian.operators
    if hamiltonian.site_kind != "spin" or len(shape) != 2:
        raise ValueError(
            f"A film has spins on a plane, not sites of kind {hamiltonian.site_kind!r} on a lattice of "
            f"{len(shape)} dimensions: simulate the Hamiltonian on its own lattice."
        )
    couplings = [operator.coupling / hamiltonian.temperature for operator in operators]
    return stencil(couplings, [shapes_of(operator, shape) for operator in operators])


def stencil(
    couplings: Sequence[float] | NDArray[np.float64], shapes: Sequence[NDArray[np.intp]]
) -> Stencil:
    """Return the stencil of operators with given shapes.

    Args:
        couplings: βJ_a of each operator.
        shapes: Shapes of each operator, see `shapes_of`.
    """
    reach = max((int(np.abs(s[:, 1]).max()) for s in shapes if s.shape[1] == 2), default=0)
    field, pairs = 0.0, np.zeros((2 * reach + 1,) * 2)
    terms: list[float] = []
    steps: list[NDArray[np.intp]] = []
    for coupling, several in zip(couplings, shapes, strict=True):
        for places in several:
            if len(places) == 1:
                field += coupling
            elif len(places) == 2:
                for sign in (-1, 1):
                    pairs[tuple(reach + sign * places[1])] += coupling
            else:
                for own in range(len(places)):
                    terms.append(coupling)
                    steps.append(np.delete(places, own, axis=0) - places[own])
    ends = np.cumsum([0, *map(len, steps)]).astype(np.intp)
    together = np.concatenate([np.empty((0, 2), np.intp), *steps]).astype(np.intp)
    return Stencil(field, pairs, np.array(terms, dtype=np.float64), ends, together)


def means_of(spins: NDArray[np.float64], shapes: Sequence[NDArray[np.intp]]) -> NDArray[np.float64]:
    """Return the operators per site of a periodic film `(operators,)`.

    Args:
        spins: Spins `(rows, columns)`.
        shapes: Shapes of each operator, see `shapes_of`.
    """
    pairs = fft.irfft2(np.abs(fft.rfft2(spins)) ** 2, spins.shape) / spins.size
    means = []
    for several in shapes:
        if several.shape[1] == 2:
            means.append(pairs[tuple(several[:, 1].T)].sum())
        else:
            moved = (np.prod([np.roll(spins, tuple(-step), (0, 1)) for step in s], 0) for s in several)
            means.append(sum(float(term.mean()) for term in moved))
    return np.array(means)


def shapes_of(operator: Operator, shape: Sequence[int]) -> NDArray[np.intp]:
    """Return the different shapes of the terms of a uniform operator, `(shapes, order, 2)`.

    A shape has the steps from the first site of a term to each of its sites. Terms that cross the edge
    of a periodic lattice are joined along the shortest way.

    Args:
        operator: Operator of products of spins.
        shape: Numbers of rows and columns of its lattice.

    Raises:
        ValueError: The terms are not products of spins, or not everywhere.
    """
    if not operator.multiplies_values:
        raise ValueError(f"The operator {operator.name} is no product of spins.")
    sides = np.array(shape)
    places = np.stack(np.unravel_index(operator.sites, shape), axis=-1)
    for axis, side in enumerate(sides):
        # A term across the edge is joined by moving the sites before its widest gap around the torus.
        ordered = np.sort(places[..., axis], axis=1)
        gaps = np.diff(ordered, axis=1, append=ordered[:, :1] + side)
        widest = gaps.argmax(axis=1)
        around = (gaps.max(axis=1) > gaps[:, -1]) & _joined(operator, places, sides)
        edge = np.take_along_axis(ordered, widest[:, None], axis=1)
        places[..., axis] += side * (around[:, None] & (places[..., axis] <= edge))
    order = np.lexsort((places[..., 1], places[..., 0]), axis=1)
    places = np.take_along_axis(places, order[..., None], axis=1)
    found, counts = np.unique(places - places[:, :1], axis=0, return_counts=True)
    for steps, count in zip(found, counts, strict=True):
        if count < np.prod(np.maximum(sides - np.ptp(steps, axis=0), 1)):
            raise ValueError(f"The operator {operator.name} does not act everywhere on the lattice.")
    return found.astype(np.intp)


def _joined(operator: Operator, places: NDArray[np.intp], sides: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which terms may be joined around the torus: pairs unless they have their distance."""
    if operator.displacement is None:
        return np.ones(len(places), bool)
    apart = np.linalg.norm(np.diff(places, axis=1)[:, 0], axis=-1)
    far: NDArray[np.bool_] = ~np.isclose(apart, operator.distance)
    return far
