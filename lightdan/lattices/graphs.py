"""Graphs: any number of sites, and any bonds between them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import shortest_path

from lightdan.lattices.lattice import Displacement, Lattice
from lightdan.lattices.shapes import MOST_SITES

SUFFIXES = (".txt", ".csv", ".dat", ".npy")
"""Endings of the files of graphs."""
MOST_AUTOMORPHISMS = 100_000
"""Largest number of automorphisms that are listed."""


@dataclass(frozen=True)
class Graph(Lattice):
    """Graph: sites without translations, joined by listed bonds.

    Distances are numbers of bonds, and the displacement of a pair is its distance. Its symmetries are
    the automorphisms, the permutations of the sites that keep the bonds.

    Args:
        edges: Pairs of sites, counted from 0.

    Raises:
        ValueError: A bond has a site beyond N, joins a site with itself, or is listed twice.

    Example:
        >>> triangle = graph(3, [(0, 1), (1, 2), (2, 0)])
        >>> len(automorphisms(triangle))
        6
    """

    is_graph = True

    edges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        seen: dict[tuple[int, int], int] = {}
        for number, edge in enumerate(self.edges):
            first, second = sorted(edge)
            if first < 0 or second >= self.num_sites:
                raise ValueError(
                    f"Bond {number} joins the sites {edge[0]} and {edge[1]}, but the last site is "
                    f"{self.num_sites - 1}: count sites from 0, or set shape to their number."
                )
            if first == second:
                raise ValueError(f"Bond {number} joins site {first} with itself: remove it.")
            if (first, second) in seen:
                raise ValueError(
                    f"The bonds {seen[first, second]} and {number} both join the sites {first} and "
                    f"{second}: list each bond once."
                )
            seen[first, second] = number

    @cached_property
    def positions(self) -> NDArray[np.float64]:
        """Positions on a circle `(N, 2)`."""
        turn = 2 * np.pi * np.arange(self.num_sites) / self.num_sites
        return np.stack([np.cos(turn), np.sin(turn)], axis=1)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """Arguments as plain lists, for a checkpoint."""
        return {"cells": [*self.cells], "edges": [[*edge] for edge in self.edges]}

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        """Numbers of bonds between all sites `(N, N)`, infinite where no path joins them."""
        adjacency = np.zeros((self.num_sites, self.num_sites))
        adjacency[tuple(np.array(self.edges, np.intp).reshape(-1, 2).T)] = 1
        return np.asarray(shortest_path(adjacency, directed=False, unweighted=True))

    def opposite(self, displacement: Displacement) -> Displacement:
        """Return the same distance, because bonds have no direction."""
        return displacement

    def length(self, displacement: Displacement) -> float:
        """Return the number of bonds."""
        return float(displacement[0])

    def displacements(self, max_distance: float) -> dict[Displacement, float]:
        """Return the numbers of bonds between sites up to the largest one."""
        if max_distance < 2:
            return {(1,): 1.0} if self.edges and max_distance >= 1 else {}
        found = np.unique(self.distances[self.distances <= max_distance]).astype(int).tolist()
        return {(steps,): float(steps) for steps in found if steps}

    def displaced(self, displacement: Displacement) -> NDArray[np.intp]:
        """Return the pairs of sites at a distance `(pairs, 2)`, each once."""
        if displacement == (1,):
            return np.array(self.edges, np.intp).reshape(-1, 2)
        return np.argwhere(np.triu(self.distances == displacement[0]))

    @cached_property
    def steps(self) -> tuple[Displacement, ...]:
        """Distance of neighbours."""
        return ((1,),)

    @property
    def directions(self) -> tuple[int, ...]:
        """Number of the only direction, if there are bonds."""
        return (0,) if self.edges else ()


def graph(num_sites: int, edges: Sequence[Sequence[int]]) -> Graph:
    """Return a graph.

    Args:
        num_sites: Number N of sites.
        edges: Pairs of sites, counted from 0.
    """
    return Graph((num_sites,), "open", edges=tuple((int(i), int(j)) for i, j in edges))


def read_graph(path: str | Path, num_sites: int) -> Graph:
    """Return the graph of a file of text (.txt, .csv) or of an array (.npy).

    The file is a list of bonds, two sites in each line, or the matrix of adjacency `(N, N)`, 1 where a
    bond is and else 0. In text, `#` begins a comment. A warning says which sites have no bonds.

    Args:
        path: File.
        num_sites: Number N of sites.

    Raises:
        ValueError: The file cannot be read, is neither form, or has bad bonds.
    """
    path = Path(path)
    try:
        array = np.load(path, allow_pickle=False) if path.suffix == ".npy" else _table(path)
    except FileNotFoundError:
        raise ValueError(
            f"There is no file {path}: set lattice to the path of a list of bonds."
        ) from None
    except (EOFError, OSError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(
            f"The graph {path} cannot be read ({error}): write two sites in each line, or a matrix of "
            "adjacency."
        ) from None
    if array.dtype.kind not in "biuf" or array.ndim != 2 or not np.isfinite(array).all():
        raise ValueError(f"The graph {path} is no table of numbers: write two sites in each line.")
    if array.shape == (num_sites, num_sites) and _is_adjacency(array):
        if not np.isin(array, (0, 1)).all():
            raise ValueError(
                f"The matrix of adjacency {path} has values other than 0 and 1: write 1 for a bond, and "
                "set coupling to their J, in the order of the rows above the diagonal."
            )
        array = np.argwhere(np.triu(array))
    if array.shape[1] != 2 or (array != np.round(array)).any():
        raise ValueError(
            f"The graph {path} has the shape {array.shape}: write two whole numbers for each bond, no "
            f"weights, or a symmetric matrix ({num_sites}, {num_sites}) with zeros on its diagonal."
        )
    if not len(array):
        raise ValueError(f"The graph {path} has no bonds: write two sites in each line.")
    try:
        # Larger numbers would be no integers, and are beyond the last site anyway.
        found = graph(num_sites, array.clip(-1, MOST_SITES).astype(np.int64).tolist())
    except ValueError as error:
        message = str(error)
        raise ValueError(f"In the graph {path}, {message[0].lower()}{message[1:]}") from None
    alone = np.setdiff1d(np.arange(num_sites), found.bonds)
    if len(alone):
        warnings.warn(
            f"{len(alone)} of the {num_sites} sites of the graph {path} have no bonds, such as site "
            f"{alone[0]}: unless this is meant, count sites from 0, and set shape to their number.",
            stacklevel=2,
        )
    return found


def _table(path: Path) -> NDArray[np.float64]:
    """Return the numbers of a text file, one row for each line that is not empty."""
    rows: list[list[float]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        words = line.split("#")[0].replace(",", " ").replace(";", " ").split()
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            raise ValueError(f"line {number} is {line.strip()[:40]!r}, which are no numbers") from None
        if numbers and rows and len(numbers) != len(rows[0]):
            raise ValueError(f"line {number} has {len(numbers)} numbers, and others {len(rows[0])}")
        rows += [numbers] if numbers else []
    return np.array(rows).reshape(len(rows), -1) if rows else np.empty((0, 2))


def _is_adjacency(array: NDArray[Any]) -> bool:
    """Return whether a square array is symmetric without a diagonal."""
    return bool((array == array.T).all() and not array.diagonal().any())


def _network(lattice: Graph) -> Any:
    try:
        import igraph  # half a second
    except ImportError as error:
        raise ValueError(
            "The automorphisms of a graph need igraph: pip install 'lightdan[graphs]'."
        ) from error
    return igraph.Graph(lattice.num_sites, lattice.edges)


def num_automorphisms(lattice: Graph) -> int:
    """Return the number of permutations of the sites that keep the bonds.

    Raises:
        ValueError: The extra ``graphs`` is not installed.
    """
    return round(_network(lattice).count_automorphisms())


def automorphisms(lattice: Graph) -> NDArray[np.intp]:
    """Return all permutations of the sites that keep the bonds `(automorphisms, N)`, the identity first.

    Raises:
        ValueError: There are more than `MOST_AUTOMORPHISMS`, or the extra ``graphs`` is not installed.
    """
    num = num_automorphisms(lattice)
    if num > MOST_AUTOMORPHISMS:
        raise ValueError(
            f"The graph has {num:.3g} automorphisms, more than {MOST_AUTOMORPHISMS:,}: leave the "
            "operation automorphism out."
        )
    generators = np.array(_network(lattice).automorphism_group(), np.intp)
    generators = generators.reshape(-1, lattice.num_sites)
    found = {tuple(range(lattice.num_sites)): None}
    newest = np.arange(lattice.num_sites)[None]
    while len(newest):
        images = np.concatenate([newest[:, g] for g in generators] or [newest[:0]])
        rows = dict.fromkeys(map(tuple, images.tolist()))
        fresh = [row for row in rows if row not in found]
        found |= dict.fromkeys(fresh)
        newest = np.array(fresh, np.intp).reshape(-1, lattice.num_sites)
    return np.array([*found], np.intp)
