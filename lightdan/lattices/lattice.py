"""Lattices: cells and their sites, displacements and bonds."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightdan.checks import check_integer
from lightdan.lattices.shapes import check_size

BOUNDARIES = ("periodic", "open", "window")
"""Boundaries of lattices."""
DIGITS = 9
"""Decimal digits to which distances are compared."""
SPANNED = 1e-6
"""Smallest volume of a cell, and smallest distance of sites, in units of the vectors."""

Displacement = tuple[int, ...]
"""Cells along the axes from one site to another; with a basis followed by the places i, j of the sites
in it; on a graph the number of bonds between them."""


class Links(NamedTuple):
    """Bonds of every site, one site after the other.

    Args:
        starts: Place of the first bond of each site, and the number of all `(N + 1,)`.
        others: Site at the other end of each bond; a site that is reached by two bonds is there twice.
        bonds: Number of each bond in `Lattice.bonds`.
    """

    starts: NDArray[np.intp]
    others: NDArray[np.intp]
    bonds: NDArray[np.intp]


@dataclass(frozen=True)
class Lattice:
    """Cells along d axes with a basis of b sites; bonds join the nearest neighbours.

        r = Σ_k n_k a_k + x_s,  0 ≤ n_k < L_k,  s = 0, …, b − 1

    The array of a configuration has the axes of the cells, and behind them one of the basis if b > 1.
    Distances are in units of that between nearest neighbours.

    All that is not declared is found: bonds, elementary loops, symmetries and colours.

    Args:
        cells: Numbers L_k of cells along the axes.
        boundary: Boundary: ``periodic``, ``open``, or ``window`` (cut out of a larger lattice).
        vectors: Primitive vectors a_k in d dimensions; unit vectors by default. Only ratios of lengths
            count.
        basis: Positions x_s of the sites of a cell; one site at 0 by default.

    Raises:
        ValueError: An argument is out of its range, or the vectors span no d dimensions.

    Example:
        >>> chain = Lattice((4,), "open")
        >>> chain.bonds.tolist()
        [[0, 1], [1, 2], [2, 3]]
    """

    is_graph: ClassVar[bool] = False
    """Whether it has bonds but no positions."""

    cells: tuple[int, ...]
    boundary: str = "periodic"
    vectors: tuple[tuple[float, ...], ...] = ()
    basis: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        cells = tuple(check_integer("cells", side) for side in self.cells)
        vectors = np.array(self.vectors or np.eye(len(cells)), np.float64)
        basis = np.array(self.basis or np.zeros((1, len(cells))), np.float64)
        if self.boundary not in BOUNDARIES:
            raise ValueError(f"boundary must be one of {', '.join(BOUNDARIES)}, not {self.boundary!r}.")
        square = bool(cells) and vectors.shape == (len(cells),) * 2 and np.isfinite(vectors).all()
        # In units of the shortest vector, as Ångström or metres may be given.
        unit = np.linalg.norm(vectors, axis=1).min() if square else 0.0
        if not unit or abs(np.linalg.det(vectors / unit)) < SPANNED:
            raise ValueError(
                f"A lattice with {len(cells)} axes needs as many linearly independent vectors, not "
                f"{vectors.tolist()}."
            )
        if basis.ndim != 2 or basis.shape[1] != len(cells) or not np.isfinite(basis).all():
            raise ValueError(f"basis must be positions of {len(cells)} numbers, not {basis.tolist()}.")
        apart = (basis - basis[:, None]) @ np.linalg.inv(vectors)
        same = (np.abs(apart - apart.round()) < SPANNED).all(axis=2)
        if same.sum() > len(basis):
            first, second = np.argwhere(np.triu(same, 1))[0].tolist()
            raise ValueError(
                f"The sites {first} and {second} of the basis are at the same place of their cells: "
                "leave one out."
            )
        object.__setattr__(self, "cells", cells)
        check_size(self.shape, "The lattice")
        self._set_vectors(vectors / unit, basis / unit)
        nearest, _ = min(self._steps(1.0), key=lambda step: step[1])
        unit *= np.linalg.norm(self.vector(nearest))
        # What is in this unit stays as it is, so that plain data give the same lattice.
        exact = abs(unit - 1) < 10**-DIGITS
        self._set_vectors(*((vectors, basis) if exact else (vectors / unit, basis / unit)))

    def _set_vectors(self, vectors: NDArray[np.float64], basis: NDArray[np.float64]) -> None:
        object.__setattr__(self, "vectors", tuple(map(tuple, vectors.tolist())))
        object.__setattr__(self, "basis", tuple(map(tuple, basis.tolist())))

    # Sites

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array of a configuration."""
        return self.cells if self.num_basis == 1 else (*self.cells, self.num_basis)

    @property
    def num_basis(self) -> int:
        """Number b of sites in a cell."""
        return max(1, len(self.basis))

    @property
    def num_sites(self) -> int:
        """Number N of sites."""
        return math.prod(self.cells) * self.num_basis

    @property
    def periodic(self) -> bool:
        """Whether the lattice is a torus."""
        return self.boundary == "periodic"

    @property
    def is_hypercubic(self) -> bool:
        """Whether it is a chain, a square or a cubic lattice, or one with more such axes."""
        return (
            self.num_basis == 1
            and not self.is_graph
            and np.array_equal(self.vectors, np.eye(len(self.cells)))
        )

    @cached_property
    def places(self) -> NDArray[np.intp]:
        """Cells of all sites `(N, d)`, in raster order."""
        cells = np.indices(self.cells).reshape(len(self.cells), -1).T
        return np.repeat(cells, self.num_basis, axis=0)

    @cached_property
    def positions(self) -> NDArray[np.float64]:
        """Positions of all sites `(N, d)`, in raster order."""
        basis = np.tile(np.array(self.basis), (math.prod(self.cells), 1))
        return self.places @ np.array(self.vectors) + basis

    @cached_property
    def spec(self) -> dict[str, Any]:
        """Arguments as plain lists, for a checkpoint; `bravais.from_spec` makes the lattice again."""
        return {
            "cells": [*self.cells],
            "boundary": self.boundary,
            "vectors": [[*vector] for vector in self.vectors],
            "basis": [[*position] for position in self.basis],
        }

    # Displacements

    def parts(self, displacement: Displacement) -> tuple[NDArray[np.intp], int, int]:
        """Return the cells of a displacement `(d,)` and the places of its two sites in the basis."""
        d = len(self.cells)
        first, second = displacement[d:] or (0, 0)
        return np.array(displacement[:d]), first, second

    def displacement(self, cells: Iterable[int], first: int, second: int) -> Displacement:
        """Return the displacement from a site of the basis to another, some cells away."""
        steps = tuple(int(step) for step in cells)
        return steps if self.num_basis == 1 else (*steps, first, second)

    def opposite(self, displacement: Displacement) -> Displacement:
        """Return the displacement from the second site to the first."""
        cells, first, second = self.parts(displacement)
        return self.displacement((-cells).tolist(), second, first)

    def vector(self, displacement: Displacement) -> NDArray[np.float64]:
        """Return the displacement in space `(d,)`."""
        cells, first, second = self.parts(displacement)
        basis = np.array(self.basis)
        ahead: NDArray[np.float64] = cells @ np.array(self.vectors) + basis[second] - basis[first]
        return ahead

    def length(self, displacement: Displacement) -> float:
        """Return the length of a displacement."""
        return float(np.round(np.linalg.norm(self.vector(displacement)), DIGITS))

    def displacements(self, max_distance: float) -> dict[Displacement, float]:
        """Return the displacements up to a distance, with their lengths.

        On a torus they are those of the shortest paths; two paths of equal length are two displacements.
        """
        extent = np.array(self.cells) @ np.linalg.norm(np.array(self.vectors), axis=1)
        spread = np.linalg.norm(np.ptp(np.array(self.basis), axis=0))
        found = self._steps(min(max_distance, float(extent + spread)))
        if self.periodic:
            return {steps: length for steps, length in found if length <= self._shortest(steps, length)}
        sides = np.array(self.cells)
        return {steps: length for steps, length in found if (abs(self.parts(steps)[0]) < sides).all()}

    def _steps(self, max_distance: float) -> list[tuple[Displacement, float]]:
        """Return the displacements of the infinite lattice up to a distance, with their lengths."""
        vectors, basis = np.array(self.vectors), np.array(self.basis)
        dual = np.linalg.norm(np.linalg.inv(vectors), axis=0)
        spread = np.linalg.norm(basis - basis[:, None], axis=2).max()
        reach = np.floor((max_distance + spread) * dual + 1e-9).astype(int)
        cells = np.indices(2 * reach + 1).reshape(len(reach), -1).T - reach
        steps = []
        for first, second in itertools.product(range(len(basis)), repeat=2):
            ahead = cells @ vectors + basis[second] - basis[first]
            lengths = np.round(np.linalg.norm(ahead, axis=1), DIGITS)
            near = (lengths > 0) & (lengths <= max_distance + 10**-DIGITS)
            for step, length in zip(cells[near].tolist(), lengths[near].tolist(), strict=True):
                steps.append((self.displacement(step, first, second), length))
        return steps

    def _shortest(self, displacement: Displacement, length: float) -> float:
        """Return the length of the shortest path around the torus between the same two sites."""
        torus = np.array(self.cells)[:, None] * np.array(self.vectors)
        reach = np.floor(2 * length * np.linalg.norm(np.linalg.inv(torus), axis=0) + 1e-9).astype(int)
        turns = np.indices(2 * reach + 1).reshape(len(reach), -1).T - reach
        ahead = self.vector(displacement) + turns @ torus
        return float(np.round(np.linalg.norm(ahead, axis=1), DIGITS).min())

    def displaced(self, displacement: Displacement) -> NDArray[np.intp]:
        """Return each site that has one with this displacement from it, and that one, `(pairs, 2)`."""
        cells, first, second = self.parts(displacement)
        sites = np.arange(self.num_sites).reshape(*self.cells, self.num_basis)
        places = np.indices(self.cells).reshape(len(self.cells), -1).T
        moved, sides = places + cells, np.array(self.cells)
        if self.periodic:
            inside = np.ones(len(places), bool)
            moved = moved % sides
        else:
            inside = ((moved >= 0) & (moved < sides)).all(axis=1)
        starts, ends = (tuple(x[inside].T) for x in (places, moved))
        return np.stack([sites[starts][:, first], sites[ends][:, second]], axis=1)

    # Bonds

    @cached_property
    def steps(self) -> tuple[Displacement, ...]:
        """Displacements of nearest neighbours on the infinite lattice, one of each and its opposite."""

        def order(step: Displacement) -> tuple[Any, ...]:
            cells, first, second = self.parts(step)
            return np.abs(cells).sum(), first, second, (-cells).tolist()

        nearest = [step for step, _ in self._steps(1.0)]
        return tuple(sorted((s for s in nearest if order(s) < order(self.opposite(s))), key=order))

    @cached_property
    def directions(self) -> tuple[int, ...]:
        """Number of the direction of each of `bond_classes`; parallel bonds have the same."""
        found: list[NDArray[np.float64]] = []
        numbers = []
        for step in self.bond_classes:
            vector = self.vector(step)
            parallel = [k for k, other in enumerate(found) if abs(abs(vector @ other) - 1) < 1e-6]
            numbers.append(parallel[0] if parallel else len(found))
            found += [] if parallel else [vector]
        return tuple(numbers)

    @cached_property
    def bond_classes(self) -> dict[Displacement, NDArray[np.intp]]:
        """Bonds `(bonds, 2)` by displacement, from the first site to the second.

        A torus with a side of two cells has bonds twice between the same sites; one with a side of one
        cell has none that lead back to their own site.
        """
        classes = {step: self.displaced(step) for step in self.steps}
        kept = {step: pairs[pairs[:, 0] != pairs[:, 1]] for step, pairs in classes.items()}
        return {step: pairs for step, pairs in kept.items() if len(pairs)}

    @cached_property
    def bonds(self) -> NDArray[np.intp]:
        """All bonds `(bonds, 2)`, class by class."""
        return np.concatenate([np.empty((0, 2), np.intp), *self.bond_classes.values()])

    @cached_property
    def links(self) -> Links:
        """Bonds of every site; in each class the one ahead comes before the one behind."""
        numbers = np.repeat(
            np.arange(len(self.bond_classes)), [len(pairs) for pairs in self.bond_classes.values()]
        )
        ends = np.concatenate([self.bonds, self.bonds[:, ::-1]])
        order = np.concatenate([2 * numbers, 2 * numbers + 1])
        sorting = np.lexsort((order, ends[:, 0]))
        starts = np.searchsorted(ends[sorting, 0], np.arange(self.num_sites + 1))
        return Links(starts, ends[sorting, 1], sorting % max(1, len(self.bonds)))
