"""Ready-made lattices by name."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightdan.lattices.graphs import graph
from lightdan.lattices.lattice import Lattice

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


def from_spec(spec: Mapping[str, Any]) -> Lattice:
    """Return the lattice or graph of plain lists that `Lattice.spec` returned."""
    if "edges" in spec:
        return graph(spec["cells"][0], spec["edges"])
    vectors, basis = (tuple(map(tuple, spec[name])) for name in ("vectors", "basis"))
    return Lattice(tuple(spec["cells"]), spec["boundary"], vectors, basis)
