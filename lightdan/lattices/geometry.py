"""Coordinates, displacements and plaquettes of chains and rectangular lattices."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Displacement = tuple[int, ...]
"""Steps along the axes from one site to another."""


def coordinates(shape: Sequence[int]) -> NDArray[np.intp]:
    """Return the coordinates of all sites in raster order, `(N, axes)`."""
    return np.indices(tuple(shape)).reshape(len(shape), -1).T


def pairs_by_displacement(
    shape: Sequence[int], boundary: str, symmetries: Sequence[str], max_distance: float
) -> dict[Displacement, NDArray[np.intp]]:
    """Return the pairs of sites up to a distance, grouped by displacement.

    Displacements that a symmetry maps onto each other share one canonical representative. On a periodic
    lattice, distances are along the shortest path around the torus.

    Args:
        shape: Numbers of sites along the axes.
        boundary: Boundary of the lattice: ``periodic``, ``open`` or ``window``.
        symmetries: Names of the symmetries, among them ``rotation`` and ``reflection``.
        max_distance: Largest distance of a pair, in lattice constants.

    Returns:
        Canonical displacement → pairs `(pairs, 2)`, each pair once, by ascending distance.
    """
    # A rectangle has rotations by 180° only, which map every bond onto itself.
    rotation = "rotation" in symmetries and len(set(shape)) < len(shape)
    reflection = "reflection" in symmetries
    classes: dict[Displacement, list[NDArray[np.intp]]] = {}
    for displacement in _displacements(shape, boundary, max_distance):
        representative = canonical(displacement, rotation, reflection)
        classes.setdefault(representative, []).append(_displaced(shape, boundary, displacement))
    pairs = {}
    for displacement in sorted(classes, key=lambda steps: (np.linalg.norm(steps), steps)):
        both = np.sort(np.concatenate(classes[displacement]), axis=1)
        pairs[displacement] = np.unique(both[both[:, 0] != both[:, 1]], axis=0)
    return pairs


def oriented_pairs(
    shape: Sequence[int], boundary: str, max_distance: float
) -> dict[Displacement, NDArray[np.intp]]:
    """Return the pairs (i, j) with j displaced from i, grouped by displacement up to its sign.

    Args:
        shape: Numbers of sites along the axes.
        boundary: Boundary of the lattice: ``periodic``, ``open`` or ``window``.
        max_distance: Largest distance of a pair, in lattice constants.

    Returns:
        Displacement → pairs `(pairs, 2)`. Half the way around a torus is left out, because its two
        directions coincide.
    """
    sides = np.array(shape)
    pairs = {}
    for displacement in _displacements(shape, boundary, max_distance):
        opposite = tuple(-step for step in displacement)
        same = (2 * np.array(displacement) % sides == 0).all() and boundary == "periodic"
        if displacement > opposite and not same:
            pairs[displacement] = _displaced(shape, boundary, displacement)
    return dict(sorted(pairs.items(), key=lambda item: (np.linalg.norm(item[0]), item[0])))


def _displacements(shape: Sequence[int], boundary: str, max_distance: float) -> Iterator[Displacement]:
    """Yield the displacements up to a distance, on a torus those of the shortest paths."""
    reach = [min(int(max_distance), side // 2 if boundary == "periodic" else side - 1) for side in shape]
    for index in np.ndindex(*(2 * r + 1 for r in reach)):
        displacement = tuple(int(x) - r for x, r in zip(index, reach, strict=True))
        if 0 < np.linalg.norm(displacement) <= max_distance:
            yield displacement


def _displaced(shape: Sequence[int], boundary: str, displacement: Sequence[int]) -> NDArray[np.intp]:
    """Return each site with the site displaced from it, `(pairs, 2)`."""
    sites = np.arange(np.prod(shape)).reshape(shape)
    places, sides = coordinates(shape), np.array(shape)
    moved = places + np.array(displacement)
    inside = ((moved >= 0) & (moved < sides)).all(axis=1)
    if boundary == "periodic":
        moved, inside = moved % sides, np.ones(len(moved), bool)
    return np.stack([sites.ravel()[inside], sites[tuple(moved[inside].T)]], axis=1)


def canonical(displacement: Displacement, rotation: bool, reflection: bool) -> Displacement:
    """Return the representative of a displacement under symmetries and exchange of its two sites.

    Args:
        displacement: Steps along the axes.
        rotation: Whether rotations by 90° are symmetries.
        reflection: Whether reflections of the axes are symmetries.
    """
    images = {displacement}
    if reflection:
        images |= {tuple(abs(x) for x in displacement)}
    if rotation:
        images |= {(y, -x) for x, y in images} | {(y, x) for x, y in images if reflection}
    images |= {tuple(-x for x in image) for image in images}
    return max(images)


def plaquettes(shape: Sequence[int], boundary: str) -> NDArray[np.intp]:
    """Return the corners of the smallest squares, `(plaquettes, 4)`.

    Chains and lattices with a side shorter than 3 have none.
    """
    if len(shape) != 2 or min(shape) < 3:
        return np.empty((0, 4), np.intp)
    sites = np.arange(np.prod(shape)).reshape(shape)
    if boundary == "periodic":
        sites = np.pad(sites, (0, 1), mode="wrap")
    corners = [sites[:-1, :-1], sites[:-1, 1:], sites[1:, :-1], sites[1:, 1:]]
    return np.stack(corners, axis=-1).reshape(-1, 4)


def triples(shape: Sequence[int], boundary: str) -> NDArray[np.intp]:
    """Return three consecutive sites of each line along an axis, `(triples, 3)`.

    Axes shorter than 3 have none.
    """
    lines = [np.empty((0, 3), np.intp)]
    for axis, side in enumerate(shape):
        if side >= 3:
            step = tuple(int(axis == other) for other in range(len(shape)))
            after = dict(_displaced(shape, boundary, step).tolist())
            starts = [i for i, j in after.items() if j in after]
            lines.append(np.array([(i, after[i], after[after[i]]) for i in starts], np.intp))
    return np.concatenate(lines)
