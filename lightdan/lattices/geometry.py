"""Pairs of sites by displacement, plaquettes and straight triples of a lattice."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightdan.lattices.isometries import reflections, rotations
from lightdan.lattices.lattice import Displacement, Lattice
from lightdan.lattices.loops import loops

PARALLEL = 1e-6
"""Largest difference of vectors that are the same."""


def coordinates(shape: Sequence[int]) -> NDArray[np.intp]:
    """Return the coordinates of all sites of a rectangle in raster order, `(N, axes)`."""
    return np.indices(tuple(shape)).reshape(len(shape), -1).T


def pairs_by_displacement(
    lattice: Lattice, symmetries: Sequence[str], max_distance: float
) -> dict[Displacement, NDArray[np.intp]]:
    """Return the pairs of sites up to a distance, grouped by displacement.

    Displacements that a symmetry maps onto each other share one canonical representative. On a torus,
    distances are along the shortest path around it.

    Args:
        lattice: Lattice.
        symmetries: Names of the symmetries, among them ``rotation`` and ``reflection``.
        max_distance: Largest distance of a pair, in units of that between nearest neighbours.

    Returns:
        Canonical displacement → pairs `(pairs, 2)`, each pair once, by ascending distance.
    """
    lengths = lattice.displacements(max_distance)
    classes: dict[Displacement, list[NDArray[np.intp]]] = {}
    for displacement in lengths:
        representative = canonical(displacement, lattice, symmetries)
        classes.setdefault(representative, []).append(lattice.displaced(displacement))
    pairs: dict[Displacement, NDArray[np.intp]] = {}
    for displacement in sorted(classes, key=lambda steps: (lengths[steps], steps)):
        both = np.sort(np.concatenate(classes[displacement]), axis=1)
        found = np.unique(both[both[:, 0] != both[:, 1]], axis=0)
        # Different ways of equal length around a small torus may be the same pairs.
        if lattice.is_hypercubic or not any(np.array_equal(found, other) for other in pairs.values()):
            pairs[displacement] = found
    return pairs


def oriented_pairs(lattice: Lattice, max_distance: float) -> dict[Displacement, NDArray[np.intp]]:
    """Return the pairs (i, j) with j displaced from i, grouped by displacement up to its sign.

    Args:
        lattice: Lattice; a graph has no such pairs.
        max_distance: Largest distance of a pair, in units of that between nearest neighbours.

    Returns:
        Displacement → pairs `(pairs, 2)`. Half the way around a torus is left out, because its two
        directions coincide.
    """
    lengths = lattice.displacements(max_distance)
    pairs = {}
    for displacement in sorted(lengths, key=lambda steps: (lengths[steps], steps)):
        cells, first, second = lattice.parts(displacement)
        same = first == second and lattice.periodic and not (2 * cells % lattice.cells).any()
        if displacement > lattice.opposite(displacement) and not same:
            pairs[displacement] = lattice.displaced(displacement)
    return pairs


def canonical(displacement: Displacement, lattice: Lattice, symmetries: Sequence[str]) -> Displacement:
    """Return the representative of a displacement under symmetries and exchange of its two sites.

    Args:
        displacement: Displacement on the lattice.
        lattice: Lattice.
        symmetries: Names of the symmetries, among them ``rotation`` and ``reflection``.
    """
    images = {displacement}
    for name, found in (("reflection", reflections), ("rotation", rotations)):
        if name in symmetries and not lattice.is_graph:
            images |= {each.moved(image, lattice) for each in found(lattice) for image in images}
    return max(images | {lattice.opposite(image) for image in images})


def plaquettes(lattice: Lattice) -> NDArray[np.intp]:
    """Return the corners of the elementary loops of four bonds, `(plaquettes, 4)`.

    The first and the last corner are opposite. Lattices with a side shorter than 3 have none, because
    corners or loops might coincide.
    """
    wide = lattice.is_graph or min(lattice.cells) >= 3
    found = loops(lattice).get(4, np.empty((0, 4), np.intp)) if wide else np.empty((0, 4), np.intp)
    return found[:, [0, 1, 3, 2]]


def triples(lattice: Lattice) -> NDArray[np.intp]:
    """Return three consecutive sites of each straight line of bonds, `(triples, 3)`.

    Axes shorter than 3 have none, and neither have graphs.
    """
    if lattice.is_graph:
        return np.empty((0, 3), np.intp)
    lines: list[tuple[int, int, int]] = []
    vectors: list[NDArray[np.float64]] = []
    following: list[dict[int, int]] = []
    for step, pairs in lattice.bond_classes.items():
        vector = lattice.vector(step)
        for number, other in enumerate(vectors):
            if np.abs(vector - other).max() < PARALLEL:
                following[number].update(pairs.tolist())
                break
            if np.abs(vector + other).max() < PARALLEL:
                following[number].update(pairs[:, ::-1].tolist())
                break
        else:
            vectors.append(vector)
            following.append(dict(pairs.tolist()))
    for after in following:
        lines += [(i, j, after[j]) for i, j in after.items() if after.get(j, i) != i]
    return np.array(lines, np.intp).reshape(-1, 3)
