"""Ready-made lattices by name."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from lightdan.lattices.graphs import SUFFIXES, graph, read_graph
from lightdan.lattices.lattice import Lattice
from lightdan.lattices.shapes import check_size

LatticeLike: TypeAlias = Lattice | Sequence[int]
"""A lattice, or the shape of a rectangular torus."""

MOST_AXES = 6
"""Largest number of axes of a lattice that messages look for."""
_HEIGHT = math.sqrt(3) / 2


def hypercubic(cells: Sequence[int], boundary: str = "periodic") -> Lattice:
    """Return a chain, a square or a cubic lattice, or one with more axes."""
    return Lattice(tuple(cells), boundary)


def triangular(cells: Sequence[int], boundary: str = "periodic") -> Lattice:
    """Return the triangular lattice: a square one with the bonds (1, −1) besides (1, 0) and (0, 1)."""
    return Lattice(tuple(cells), boundary, ((1.0, 0.0), (0.5, _HEIGHT)))


def honeycomb(cells: Sequence[int], boundary: str = "periodic") -> Lattice:
    """Return the honeycomb lattice with two sites in a cell."""
    vectors = ((2 * _HEIGHT, 0.0), (_HEIGHT, 1.5))
    return Lattice(tuple(cells), boundary, vectors, ((0.0, 0.0), (_HEIGHT, 0.5)))


def kagome(cells: Sequence[int], boundary: str = "periodic") -> Lattice:
    """Return the kagome lattice with three sites in a cell."""
    vectors = ((2.0, 0.0), (1.0, 2 * _HEIGHT))
    return Lattice(tuple(cells), boundary, vectors, ((0.0, 0.0), (1.0, 0.0), (0.5, _HEIGHT)))


LATTICES: dict[str, Callable[[Sequence[int], str], Lattice]] = {
    "hypercubic": hypercubic,
    "triangular": triangular,
    "honeycomb": honeycomb,
    "kagome": kagome,
}
"""Lattices by name; an own one is added as an entry."""


def lattice_of(
    lattice: str, shape: int | Sequence[int], boundary: str = "periodic", name: str = "shape"
) -> Lattice:
    """Return a lattice by its name, or the graph of a file.

    Args:
        lattice: Entry of `LATTICES`, or path of a list of bonds, see `read_graph`.
        shape: Numbers of cells along the axes, where one integer L is L × L, or of the sites of a graph.
        boundary: Boundary of a lattice: ``periodic``, ``open`` or ``window``.
        name: Name of the shape in messages.

    Raises:
        ValueError: There is no such lattice, the shape does not fit it, or the graph cannot be read.
    """
    sides = (shape, shape) if isinstance(shape, int) else tuple(shape)
    if not sides or min(sides) < 1:
        raise ValueError(f"{name} must be positive numbers of cells, not {shape}.")
    check_size(sides, name)
    if is_file(lattice):
        return read_graph(lattice, shape if isinstance(shape, int) else math.prod(sides))
    make = _known(lattice)
    try:
        return make(sides, boundary)
    except ValueError:
        axes = [number for number, _ in _forms(make)]
        if len(sides) in axes or not axes:
            raise
        raise ValueError(
            f"{name} {sides} does not fit the lattice {lattice}: set it to {axes[0]} numbers of cells."
        ) from None


def lattice_of_array(
    lattice: str, shape: Sequence[int], boundary: str, name: str = "shape", *, cells: bool = False
) -> Lattice:
    """Return the lattice of arrays of a shape, whose last axis is the basis if a cell has several sites.

    Args:
        lattice: Entry of `LATTICES`, or path of a list of bonds.
        shape: Shape of a configuration.
        boundary: Boundary of a lattice: ``periodic``, ``open`` or ``window``.
        name: Name of the shape in messages.
        cells: Whether the numbers of cells alone are enough.

    Raises:
        ValueError: There is no such lattice, or the axes do not fit it.
    """
    if is_file(lattice):
        return lattice_of(lattice, (math.prod(shape),), boundary, name)
    make = _known(lattice)
    for sides in (tuple(shape), tuple(shape[:-1])):
        try:
            found = make(sides, boundary)
        except ValueError:
            continue
        if tuple(shape) in (found.shape, found.cells if cells else found.shape):
            return found
    (axes, basis) = next(_forms(make))
    expected = [f"cells along axis {axis}" for axis in range(1, axes + 1)]
    expected += [f"{basis} sites of a cell"] if basis > 1 else []
    raise ValueError(
        f"{name} {tuple(shape)} does not fit the lattice {lattice}, whose configurations have the axes "
        f"({', '.join(expected)}): set shape to the numbers of cells, or lattice to that of the data."
    )


def is_file(lattice: str) -> bool:
    """Return whether a lattice is the path of a list of bonds."""
    return Path(lattice).suffix in SUFFIXES


def _known(lattice: str) -> Callable[[Sequence[int], str], Lattice]:
    if lattice not in LATTICES:
        raise ValueError(
            f"There is no lattice {lattice!r}: set lattice to one of {', '.join(LATTICES)}, or to the "
            f"path of a list of bonds ({', '.join(SUFFIXES)})."
        )
    return LATTICES[lattice]


def _forms(make: Callable[[Sequence[int], str], Lattice]) -> Iterator[tuple[int, int]]:
    """Yield numbers of axes of cells and of sites in a cell for which there is a lattice."""
    for axes in range(1, MOST_AXES + 1):
        try:
            yield axes, make((2,) * axes, "periodic").num_basis
        except ValueError:
            continue


def as_lattice(lattice: LatticeLike) -> Lattice:
    """Return a lattice as it is, and the torus of a shape."""
    return lattice if isinstance(lattice, Lattice) else hypercubic(lattice)


def from_spec(spec: Mapping[str, Any]) -> Lattice:
    """Return the lattice or graph of plain lists that `Lattice.spec` returned."""
    if "edges" in spec:
        return graph(spec["cells"][0], spec["edges"])
    vectors, basis = (tuple(map(tuple, spec[name])) for name in ("vectors", "basis"))
    return Lattice(tuple(spec["cells"]), spec["boundary"], vectors, basis)
