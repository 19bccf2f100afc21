"""Operators that the symmetries of a lattice make alike: fields, pairs by displacement, plaquettes."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightdan.interactions.hamiltonian import Operator


def uniform_operators(
    shape: Sequence[int], boundary: str, symmetries: Sequence[str], max_distance: float
) -> list[Operator]:
    """Field, pairs up to a distance, each class of displacements alike, and plaquettes.

    Displacements that a rotation or a reflection maps onto each other are one class, where the system
    declares these. On a periodic lattice distances are those on the torus.

    Args:
        shape: Numbers of sites along the axes.
        boundary: That of the system.
        symmetries: Of the system.
        max_distance: Largest distance of a pair.
    """
    sites = np.arange(np.prod(shape)).reshape(shape)
    places = np.stack(np.unravel_index(sites.ravel(), tuple(shape)), axis=1)
    sides = np.array(shape)

    def shifted(step: Sequence[int]) -> np.ndarray:
        """Sites and those displaced from them by a step `(terms, 2)`, where there are such."""
        moved = places + np.array(step)
        inside = ((moved >= 0) & (moved < sides)).all(axis=1)
        if boundary == "periodic":
            moved, inside = moved % sides, np.ones(len(moved), bool)
        return np.stack([sites.ravel()[inside], sites[tuple(moved[inside].T)]], axis=1)

    # On a rectangle the rotation is that by 180°, which tells no two bonds apart.
    turns = "rotation" in symmetries and len(set(shape)) < len(shape)
    mirrors = "reflection" in symmetries
    classes: dict[tuple[int, ...], list[np.ndarray]] = {}
    reach = [min(int(max_distance), side // 2 if boundary == "periodic" else side - 1) for side in shape]
    for step in np.ndindex(*(2 * r + 1 for r in reach)):
        displacement = [int(x) - r for x, r in zip(step, reach, strict=True)]
        if 0 < np.linalg.norm(displacement) <= max_distance:
            classes.setdefault(_class(displacement, turns, mirrors), []).append(shifted(displacement))
    operators = [Operator("field", sites.reshape(-1, 1))]
    for name in sorted(classes, key=lambda step: (np.linalg.norm(step), step)):
        pairs = np.sort(np.concatenate(classes[name]), axis=1)
        pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
        operators.append(Operator(f"pair {name}", pairs))
    if len(corners := plaquettes(shape, boundary)):
        operators.append(Operator("plaquette", corners))
    return operators


def plaquettes(shape: Sequence[int], boundary: str) -> np.ndarray:
    """Corners of the smallest squares `(plaquettes, 4)`; none on a ring or where a side is below 3."""
    if len(shape) != 2 or min(shape) < 3:
        return np.empty((0, 4), np.intp)
    sites = np.arange(np.prod(shape)).reshape(shape)
    if boundary == "periodic":
        sites = np.pad(sites, (0, 1), mode="wrap")
    corners = [sites[:-1, :-1], sites[:-1, 1:], sites[1:, :-1], sites[1:, 1:]]
    return np.stack(corners, axis=-1).reshape(-1, 4)


def sites_with_neighbours(
    shape: Sequence[int], boundary: str, operators: Sequence[Operator]
) -> NDArray[np.intp]:
    """Those whose conditionals the operators describe: of a window not those near its edge.

    A site at the edge has neighbours outside of the window, which nobody sees; what they do on the
    average is no coupling of the film. All sites that an operator could join to one inside must be seen.

    Args:
        shape: Numbers of sites along the axes.
        boundary: That of the system.
        operators: Translation-invariant ones.

    Raises:
        ValueError: no site has all its neighbours in the window.
    """
    places = np.stack(np.unravel_index(np.arange(math.prod(shape)), tuple(shape)), axis=1)
    if boundary != "window":
        return np.arange(len(places))
    reach = max(int(np.ptp(places[o.sites], axis=1).max()) for o in operators)
    inside = ((places >= reach) & (places < np.array(shape) - reach)).all(axis=1)
    if not inside.any():
        raise ValueError(
            f"a window of {' × '.join(map(str, shape))} sites has none that is {reach} from its edge: "
            "set max_distance to less, or take larger patches"
        )
    return np.flatnonzero(inside)


def _class(displacement: Sequence[int], turns: bool, mirrors: bool) -> tuple[int, ...]:
    """That which stands for all that symmetries, or the exchange of the two sites, make of it."""
    images = {tuple(displacement)}
    if mirrors:
        images |= {tuple(abs(x) for x in displacement)}
    if turns:
        images |= {(y, -x) for x, y in images} | {(y, x) for x, y in images if mirrors}
    images |= {tuple(-x for x in image) for image in images}
    return max(images)
