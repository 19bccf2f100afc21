"""Isometries of a lattice, found from the positions of its sites."""

import itertools
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightdan.lattices.lattice import DIGITS, Displacement, Lattice
from lightdan.lattices.loops import corners_of_loops

TOLERANCE = 1e-6
"""Largest difference of coordinates of the same point, in cells."""


class Isometry(NamedTuple):
    """Isometry that moves site s of cell n to site σ_s of cell M n + m_s.

    Args:
        matrix: Integer matrix M `(d, d)`; its columns are the images of the primitive vectors.
        cells: Cells m_s `(b, d)`.
        images: Places σ_s in the basis `(b,)`.
    """

    matrix: NDArray[np.intp]
    cells: NDArray[np.intp]
    images: NDArray[np.intp]

    def permutation(self, lattice: Lattice) -> NDArray[np.intp]:
        """Return the image of every site `(N,)`."""
        basis = np.arange(lattice.num_sites) % lattice.num_basis
        moved = lattice.places @ self.matrix.T + self.cells[basis]
        if lattice.periodic:
            moved = moved % np.array(lattice.cells)
        cells = np.ravel_multi_index(tuple(moved.T), lattice.cells)
        return cells * lattice.num_basis + self.images[basis]

    def moved(self, displacement: Displacement, lattice: Lattice) -> Displacement:
        """Return the image of a displacement."""
        cells, first, second = lattice.parts(displacement)
        ahead = (self.matrix @ cells + self.cells[second] - self.cells[first]).tolist()
        return lattice.displacement(ahead, int(self.images[first]), int(self.images[second]))


@lru_cache(maxsize=64)
def point_group(lattice: Lattice) -> tuple[Isometry, ...]:
    """Return the isometries that map a lattice to itself and leave a point fixed.

    The point is the one of the centre of the array, the sites, the centres of loops and the middles of
    bonds about which there are most. An array with open ends has its centre only, and a graph has none.
    """
    matrices = [] if lattice.is_graph else linear_isometries(lattice)
    best: tuple[Isometry, ...] = ()
    for centre in _centres(lattice):
        found = [_about(centre, matrix, lattice) for matrix in matrices]
        isometries = tuple(isometry for isometry in found if isometry is not None)
        if len(isometries) > len(best):
            best = isometries
    return best


def rotations(lattice: Lattice) -> tuple[Isometry, ...]:
    """Return the proper ones of the point group; in a plane by falling angle, the identity first."""
    proper = [each for each in point_group(lattice) if np.linalg.det(each.matrix) > 0]
    return tuple(sorted(proper, key=lambda each: _angle(each, lattice)))


def reflections(lattice: Lattice) -> tuple[Isometry, ...]:
    """Return the reversals of all subsets of the axes, or one improper involution with the identity.

    The reversals are those that are isometries; the involution is for lattices without an improper one.
    """
    d, group = len(lattice.cells), point_group(lattice)
    diagonal = [each for each in group if (np.abs(each.matrix) == np.eye(d)).all()]
    if not any(np.linalg.det(each.matrix) < 0 for each in diagonal):
        improper = (each for each in group if np.linalg.det(each.matrix) < 0)
        involution = (each for each in improper if (each.matrix @ each.matrix == np.eye(d)).all())
        diagonal = [each for each in group if (each.matrix == np.eye(d)).all()]
        diagonal += itertools.islice(involution, 1)
    reversed_axes = [(each, np.diag(each.matrix) < 0) for each in diagonal]
    return tuple(
        each for each, bits in sorted(reversed_axes, key=lambda pair: pair[1] @ 2 ** np.arange(d))
    )


def linear_isometries(lattice: Lattice) -> list[NDArray[np.intp]]:
    """Return the integer matrices M with MᵀGM = G, the metric, that map the torus to itself."""
    vectors, sides = np.array(lattice.vectors), np.array(lattice.cells)
    metric = vectors @ vectors.T
    lengths = np.sqrt(metric.diagonal())
    reach = np.floor(lengths.max() * np.linalg.norm(np.linalg.inv(vectors), axis=0) + 1e-9).astype(int)
    steps = np.indices(2 * reach + 1).reshape(len(reach), -1).T - reach
    squares = np.einsum("na,ab,nb->n", steps, metric, steps)
    partial: list[list[NDArray[np.intp]]] = [[]]
    for k in range(len(sides)):
        images = steps[np.abs(squares - metric[k, k]) < 10**-DIGITS * metric[k, k]]
        if lattice.periodic:
            images = images[(images * sides[k] % sides == 0).all(axis=1)]
        partial = [
            [*columns, image]
            for columns in partial
            for image in images
            if all(
                abs(column @ metric @ image - metric[m, k]) < 1e-6 for m, column in enumerate(columns)
            )
        ]
    return [np.stack(columns, axis=1) for columns in partial]


def _centres(lattice: Lattice) -> list[NDArray[np.float64]]:
    """Return the candidates for a fixed point `(d,)`, in cells."""
    inverse = np.linalg.inv(np.array(lattice.vectors))
    basis = np.array(lattice.basis)
    centres = [(np.array(lattice.cells) - 1) / 2 + (basis @ inverse).mean(axis=0)]
    if not lattice.periodic:
        return centres
    centres += [*(basis @ inverse)]
    for corners in corners_of_loops(lattice):
        places = [cells + basis[site] @ inverse for cells, site in corners]
        centres.append(np.mean(places, axis=0))
    for step in lattice.steps:
        first = lattice.parts(step)[1]
        centres.append((basis[first] + lattice.vector(step) / 2) @ inverse)
    return centres


def _about(centre: NDArray[np.float64], matrix: NDArray[np.intp], lattice: Lattice) -> Isometry | None:
    """Return the isometry with a linear part about a point, or None if it leaves the lattice."""
    basis = np.array(lattice.basis) @ np.linalg.inv(np.array(lattice.vectors))
    moved = (basis - centre) @ matrix.T + centre
    offsets = moved[:, None] - basis  # (b, b, d)
    fits = (np.abs(offsets - offsets.round()) < TOLERANCE).all(axis=2)
    images = fits.argmax(axis=1)
    rows = np.arange(len(basis))
    if not fits[rows, images].all():
        return None
    isometry = Isometry(matrix, offsets[rows, images].round().astype(np.intp), images)
    return isometry if lattice.periodic or _stays(isometry, lattice) else None


def _stays(isometry: Isometry, lattice: Lattice) -> bool:
    """Return whether the corners of the array, and so all cells, stay within it."""
    last = np.array(lattice.cells) - 1
    corners = np.array([*itertools.product((0, 1), repeat=len(last))]) * last
    moved = (corners @ isometry.matrix.T)[:, None] + isometry.cells
    return bool(((moved >= 0) & (moved <= last)).all())


def _angle(isometry: Isometry, lattice: Lattice) -> tuple[float, ...]:
    """Return what sorts rotations: the angle in a plane, else the identity first and then the matrix."""
    if len(lattice.cells) != 2:
        return (-float(np.trace(isometry.matrix)), *(-1.0 * isometry.matrix.ravel()).tolist())
    vectors = np.array(lattice.vectors)
    x, y = (vectors.T @ isometry.matrix @ np.linalg.inv(vectors.T))[:, 0]
    return (round(float(-np.arctan2(y, x)) % (2 * np.pi), 6) % round(2 * np.pi, 6),)
