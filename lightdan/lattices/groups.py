"""Groups of symmetry operations that act on configurations of a lattice."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from lightdan.lattices.angles import TWO_PI, wrap
from lightdan.lattices.bravais import LatticeLike, as_lattice
from lightdan.lattices.graphs import MOST_AUTOMORPHISMS, Graph, automorphisms, graph, num_automorphisms
from lightdan.lattices.isometries import Isometry, reflections, rotations
from lightdan.lattices.lattice import Lattice
from lightdan.types import Configurations, Index


@dataclass(frozen=True)
class Group:
    """Finite group G that acts on configurations.

        (g s)_i = t_g(σ_g s_{π_g(i)} + α_g)

    Args:
        permutations: Raster indices π `(|G|, N)`.
        signs: Signs σ = ±1 `(|G|,)`.
        degrees: Rotations α of angles in whole degrees `(|G|,)`, after which angles are wrapped to
            [0, 2π); None for groups that do not act on angles.
        tables: Images t of the levels 0, …, q − 1 `(|G|, q)`; None for groups that do not exchange them.
    """

    permutations: Tensor
    signs: Tensor
    degrees: Tensor | None = None
    tables: Tensor | None = None

    def __len__(self) -> int:
        return len(self.signs)

    def act(self, configurations: Configurations, elements: Index) -> Configurations:
        """Apply the elements with these indices to the configurations.

        Args:
            configurations: Configurations `(B, *lattice)`.
            elements: One index per configuration `(B,)`, or one for all `()`.
        """
        permutation = self.permutations.to(configurations.device)[elements]
        sign = self.signs.to(configurations)[elements]
        flat = configurations.flatten(1)
        moved = flat.gather(1, permutation.expand(len(flat), -1)) * sign.reshape(-1, 1)
        if self.degrees is not None:
            turn = self.degrees.to(configurations)[elements] * (TWO_PI / 360)
            moved = wrap(moved + turn.reshape(-1, 1))
        if self.tables is not None:
            table = self.tables.to(configurations)[elements]
            moved = table.expand(len(flat), -1).gather(1, moved.long())
        return moved.reshape(configurations.shape)

    def random_elements(self, num: int, generator: torch.Generator) -> Index:
        """Draw indices of `num` elements uniformly."""
        return torch.randint(len(self), (num,), generator=generator, device=generator.device)

    def __matmul__(self, other: "Group") -> "Group":
        """Return the group of all products g h, without repetitions."""
        permutations = other.permutations[:, self.permutations].transpose(0, 1).flatten(0, 1)
        signs = torch.outer(self.signs, other.signs).flatten()
        if self.tables is not None or other.tables is not None:
            tables = _products(self, other)
            rows = torch.cat([signs[:, None], tables, permutations], dim=1).unique(dim=0)
            size = tables.shape[1]
            return Group(rows[:, 1 + size :], rows[:, 0], tables=rows[:, 1 : 1 + size])
        if self.degrees is None and other.degrees is None:
            rows = torch.cat([signs[:, None], permutations], dim=1).unique(dim=0)
            return Group(rows[:, 1:], rows[:, 0])
        ours, theirs = (
            torch.zeros_like(group.signs) if group.degrees is None else group.degrees
            for group in (self, other)
        )
        degrees = (torch.outer(self.signs, theirs) + ours[:, None]).flatten() % 360
        rows = torch.cat([signs[:, None], degrees[:, None], permutations], dim=1).unique(dim=0)
        return Group(rows[:, 2:], rows[:, 0], rows[:, 1])


def _products(first: Group, second: Group) -> Tensor:
    """Return the tables of all products g h `(|G||H|, q)`."""
    size = next(group.tables.shape[1] for group in (first, second) if group.tables is not None)
    unmoved = torch.arange(size)
    ours, theirs = (
        unmoved.expand(len(group), -1) if group.tables is None else group.tables
        for group in (first, second)
    )
    return ours[:, theirs].flatten(0, 1)


def _of(permutations: np.ndarray) -> Group:
    return Group(torch.from_numpy(permutations), torch.ones(len(permutations), dtype=torch.long))


def identity(lattice: LatticeLike) -> Group:
    """Return the trivial group."""
    return _of(np.arange(as_lattice(lattice).num_sites)[None])


def translation(lattice: LatticeLike) -> Group:
    """Return all shifts of a torus."""
    lattice = as_lattice(lattice)
    axes = tuple(range(len(lattice.cells)))
    sites = np.arange(lattice.num_sites).reshape(*lattice.cells, lattice.num_basis)
    shifted = [np.roll(sites, shift, axes).ravel() for shift in np.ndindex(*lattice.cells)]
    return _of(np.stack(shifted))


def rotation(lattice: LatticeLike) -> Group:
    """Return the rotations of a lattice: by 90° on a square, by 60° on a triangular torus.

    A rectangle has those by 180° only.
    """
    return _of_isometries(rotations, as_lattice(lattice))


def reflection(lattice: LatticeLike) -> Group:
    """Return the reversals of all subsets of the axes, or one reflection with the identity.

    The latter is for lattices whose axes are at other angles than 90°.
    """
    return _of_isometries(reflections, as_lattice(lattice))


def _of_isometries(find: Callable[[Lattice], Sequence[Isometry]], lattice: Lattice) -> Group:
    images = [isometry.permutation(lattice) for isometry in find(lattice)]
    return _of(np.stack(images)) if images else identity(lattice)


def automorphism(lattice: LatticeLike) -> Group:
    """Return the permutations of sites that keep the bonds of a graph; a lattice is taken for one.

    Raises:
        ValueError: There are too many.
    """
    lattice = as_lattice(lattice)
    if not isinstance(lattice, Graph):
        lattice = graph(lattice.num_sites, np.unique(np.sort(lattice.bonds, axis=1), axis=0).tolist())
    return _of(automorphisms(lattice))


def z2(lattice: LatticeLike) -> Group:
    """Return the spin flip s → −s on all sites, with the identity."""
    return Group(identity(lattice).permutations.repeat(2, 1), torch.tensor([1, -1]))


def spin_rotation(lattice: LatticeLike) -> Group:
    """Return the rotations θ → θ + α of all sites by whole degrees α."""
    unmoved = identity(lattice).permutations.expand(360, -1)
    return Group(unmoved, torch.ones(360, dtype=torch.long), torch.arange(360))


def spin_reflection(lattice: LatticeLike) -> Group:
    """Return the reflection θ → −θ of all sites, with the identity."""
    flip = z2(lattice)
    return Group(flip.permutations, flip.signs, torch.tensor([0, 0]))


def colours(lattice: LatticeLike, num_levels: int) -> Group:
    """Return all permutations of the levels 0, …, q − 1 of all sites, which are q!."""
    return _of_levels(lattice, torch.tensor([*itertools.permutations(range(num_levels))]))


def clock(lattice: LatticeLike, num_levels: int) -> Group:
    """Return the rotations and reflections a → c ± a modulo q of the levels of all sites."""
    a = torch.arange(num_levels)
    turned = (a + a[:, None]) % num_levels
    return _of_levels(lattice, torch.cat([turned, (a[:, None] - a) % num_levels]).unique(dim=0))


def _of_levels(lattice: LatticeLike, tables: Tensor) -> Group:
    unmoved = identity(lattice).permutations.expand(len(tables), -1)
    return Group(unmoved, torch.ones(len(tables), dtype=torch.long), tables=tables)


Operation: TypeAlias = Callable[[LatticeLike], Group]
LEVEL_OPERATIONS: dict[str, Callable[..., Group]] = {"colours": colours, "clock": clock}
"""Operations on levels 0, …, q − 1, whose names in `OPERATIONS` end with q, as in ``colours_3``."""


class _Operations(dict[str, Operation]):
    """Operations by name; those on levels are made for any number of them."""

    def __missing__(self, name: str) -> Operation:
        kind, _, number = name.rpartition("_")
        if kind not in LEVEL_OPERATIONS or not number.isdecimal():
            raise KeyError(name)
        return partial(LEVEL_OPERATIONS[kind], num_levels=int(number))


SPIN_OPERATIONS = {"spin_rotation": spin_rotation, "spin_reflection": spin_reflection}
"""Operations on angles, which together generate O(2)."""
OPERATIONS = _Operations(
    {
        "z2": z2,
        **SPIN_OPERATIONS,
        "translation": translation,
        "rotation": rotation,
        "reflection": reflection,
        "automorphism": automorphism,
    }
)
"""Operations on configurations by name, each of a lattice or of the shape of a rectangular torus."""


def spatial_operations(lattice: Lattice) -> tuple[str, ...]:
    """Return the names of the operations that map a lattice onto itself.

    A graph has its automorphisms, if they are few enough to be listed and igraph is installed.
    """
    if isinstance(lattice, Graph):
        if find_spec("igraph") is None:
            return ()
        return ("automorphism",) if 1 < num_automorphisms(lattice) <= MOST_AUTOMORPHISMS else ()
    names = ["translation"] if lattice.periodic else []
    names += ["rotation"] if len(rotations(lattice)) > 1 else []
    return (*names, "reflection") if len(reflections(lattice)) > 1 else tuple(names)


def keeps(name: str, lattice: Lattice, couplings: np.ndarray) -> bool:
    """Return whether an operation maps every bond onto one of equal coupling.

    Args:
        name: Name of an operation on the lattice.
        lattice: Lattice or graph.
        couplings: Coupling of each of `lattice.bonds` `(bonds,)`.
    """

    def sorted_bonds(permutation: np.ndarray) -> np.ndarray:
        first, second = np.sort(permutation[lattice.bonds], axis=1).T
        order = np.lexsort((couplings, second, first))
        return np.stack([first, second, couplings])[:, order]

    permutations = OPERATIONS[name](lattice).permutations.numpy()
    present = sorted_bonds(np.arange(lattice.num_sites))
    return all(np.array_equal(sorted_bonds(each), present) for each in permutations)


def group(operations: Sequence[str], lattice: LatticeLike) -> Group:
    """Return the group that the named operations generate; without a name it is trivial."""
    product = identity(lattice)
    for name in operations:
        product = product @ OPERATIONS[name](lattice)
    return product
