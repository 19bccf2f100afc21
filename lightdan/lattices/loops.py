"""Elementary loops of bonds: faces of a plane, shortest cycles elsewhere."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from lightdan.lattices.graphs import Graph
from lightdan.lattices.lattice import Lattice

LONGEST = 24
"""Largest number of bonds around a face."""
LONGEST_IN_SPACE = 8
"""Largest number of bonds of the shortest cycles in more than two dimensions."""

Corner = tuple[tuple[int, ...], int]
"""Cell and place in the basis of a corner."""


def loops(lattice: Lattice) -> dict[int, NDArray[np.intp]]:
    """Return the elementary loops by their number of bonds, `(loops, corners)` in cyclic order.

    In a plane they are all faces: on a torus sites − bonds + loops = 0. Elsewhere they are the shortest
    cycles, like the faces of cubes. Each begins with the corner in its first cell. A torus with sides of
    one or two cells has all of them, too, although corners or loops coincide.
    """
    if lattice.is_graph:
        cycles = [[site for _, site in corners] for corners in corners_of_loops(lattice)]
        return {len(cycles[0]): np.array(cycles, np.intp)} if cycles else {}
    by_size = defaultdict(list)
    sides = np.array(lattice.cells)
    origins = np.indices(lattice.cells).reshape(len(sides), -1).T
    for corners in corners_of_loops(lattice):
        cells = origins[:, None] + np.array([cell for cell, _ in corners])  # (cells, corners, d)
        inside = ((cells >= 0) & (cells < sides)).all(axis=(1, 2))
        if lattice.periodic:
            cells, inside = cells % sides, np.ones(len(cells), bool)
        raster = np.ravel_multi_index(tuple(np.moveaxis(cells[inside], 2, 0)), lattice.cells)
        by_size[len(corners)].append(raster * lattice.num_basis + np.array([s for _, s in corners]))
    return {size: np.concatenate(by_size[size]) for size in sorted(by_size)}


def corners_of_loops(lattice: Lattice) -> list[list[Corner]]:
    """Return the corners of one elementary loop of each kind that translations do not relate."""
    if isinstance(lattice, Graph):
        bonds = np.split(lattice.links.others, lattice.links.starts[1:-1])
        import networkx  # a third of a second

        short = networkx.girth(networkx.Graph(lattice.edges)) <= LONGEST_IN_SPACE
        return _shortest_cycles([[((), int(j)) for j in ends] for ends in bonds]) if short else []
    outgoing: list[list[Corner]] = [[] for _ in range(lattice.num_basis)]
    for step in lattice.steps:
        for each in (step, lattice.opposite(step)):
            cells, first, second = lattice.parts(each)
            outgoing[first].append((tuple(cells.tolist()), second))
    return _faces(lattice, outgoing) if len(lattice.cells) == 2 else _shortest_cycles(outgoing)


def _faces(lattice: Lattice, outgoing: list[list[Corner]]) -> list[list[Corner]]:
    """Return the faces of a plane, each found by turning left at every corner."""

    def angle(first: int, corner: Corner) -> float:
        x, y = lattice.vector(lattice.displacement(corner[0], first, corner[1]))
        return float(np.arctan2(y, x))

    around = [sorted(ends, key=lambda end: angle(first, end)) for first, ends in enumerate(outgoing)]
    faces = set()
    for site, ends in enumerate(around):
        for bond in ends:
            corners: list[Corner] = [((0, 0), site)]
            ahead = bond
            while len(corners) <= LONGEST:
                (x, y), here = corners[-1]
                (dx, dy), there = ahead
                place = around[there].index(((-dx, -dy), here))
                ahead = around[there][place - 1]
                corner = ((x + dx, y + dy), there)
                if corner == corners[0] and ahead == bond:
                    faces.add(_from_first(corners))
                    break
                corners.append(corner)
    return [[*face] for face in sorted(faces, key=lambda face: (len(face), face))]


def _from_first(corners: list[Corner]) -> tuple[Corner, ...]:
    """Return a cycle from its smallest corner on to the smaller of the next, moved to the cell 0."""
    start = corners.index(min(corners))
    origin = corners[start][0]
    first, *others = (
        (tuple(x - o for x, o in zip(cell, origin, strict=True)), site)
        for cell, site in corners[start:] + corners[:start]
    )
    return (first, *(others if others[0] < others[-1] else reversed(others)))


def _shortest_cycles(outgoing: list[list[Corner]]) -> list[list[Corner]]:
    """Return the cycles of the smallest length, each from its smallest corner on."""

    def ends(corner: Corner) -> list[Corner]:
        cell, site = corner
        return [(tuple(x + d for x, d in zip(cell, step, strict=True)), s) for step, s in outgoing[site]]

    paths: list[list[Corner]] = [
        [(tuple(0 for _ in ends[0][0]), site)] for site, ends in enumerate(outgoing) if ends
    ]
    for _ in range(LONGEST_IN_SPACE):
        paths = [
            [*path, end] for path in paths for end in ends(path[-1]) if end > path[0] and end not in path
        ]
        cycles = [p for p in paths if len(p) > 2 and p[1] < p[-1] and p[0] in ends(p[-1])]
        if cycles:
            return cycles
    return []
