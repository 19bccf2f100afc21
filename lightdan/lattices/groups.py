"""Groups of symmetry operations that act on configurations of a lattice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightdan.lattices.angles import TWO_PI, wrap
from lightdan.types import Configurations, Index


@dataclass(frozen=True)
class Group:
    """Finite group G that acts on configurations.

        (g s)_i = σ_g s_{π_g(i)} + α_g

    Args:
        permutations: Raster indices π `(|G|, N)`.
        signs: Signs σ = ±1 `(|G|,)`.
        degrees: Rotations α of angles in whole degrees `(|G|,)`, after which angles are wrapped to
            [0, 2π); None for groups that do not act on angles.
    """

    permutations: Tensor
    signs: Tensor
    degrees: Tensor | None = None

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
        return moved.reshape(configurations.shape)

    def random_elements(self, num: int, generator: torch.Generator) -> Index:
        """Draw indices of `num` elements uniformly."""
        return torch.randint(len(self), (num,), generator=generator, device=generator.device)

    def __matmul__(self, other: "Group") -> "Group":
        """Return the group of all products g h, without repetitions."""
        permutations = other.permutations[:, self.permutations].transpose(0, 1).flatten(0, 1)
        signs = torch.outer(self.signs, other.signs).flatten()
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


def _spatial(images: Sequence[np.ndarray]) -> Group:
    permutations = torch.from_numpy(np.stack([image.ravel() for image in images]))
    return Group(permutations, torch.ones(len(images), dtype=torch.long))


def _sites(shape: Sequence[int]) -> np.ndarray:
    return np.arange(math.prod(shape)).reshape(shape)


def identity(shape: Sequence[int]) -> Group:
    """Return the trivial group."""
    return _spatial([_sites(shape)])


def translation(shape: Sequence[int]) -> Group:
    """Return all shifts of a periodic lattice."""
    axes = tuple(range(len(shape)))
    return _spatial([np.roll(_sites(shape), shift, axes) for shift in np.ndindex(*shape)])


def rotation(shape: Sequence[int]) -> Group:
    """Return the rotations of a plane: by 90° on a square, by 180° on a rectangle."""
    turns = range(4) if shape[0] == shape[1] else (0, 2)
    return _spatial([np.rot90(_sites(shape), turn) for turn in turns])


def reflection(shape: Sequence[int]) -> Group:
    """Return the reversals of all subsets of the axes."""
    axes = range(len(shape))
    subsets = [tuple(a for a in axes if bits >> a & 1) for bits in range(2 ** len(shape))]
    return _spatial([np.flip(_sites(shape), subset) for subset in subsets])


def z2(shape: Sequence[int]) -> Group:
    """Return the spin flip s → −s on all sites, with the identity."""
    permutations = torch.from_numpy(np.stack([_sites(shape).ravel()] * 2))
    return Group(permutations, torch.tensor([1, -1]))


def spin_rotation(shape: Sequence[int]) -> Group:
    """Return the rotations θ → θ + α of all sites by whole degrees α."""
    unmoved = torch.from_numpy(_sites(shape).ravel()).expand(360, -1)
    return Group(unmoved, torch.ones(360, dtype=torch.long), torch.arange(360))


def spin_reflection(shape: Sequence[int]) -> Group:
    """Return the reflection θ → −θ of all sites, with the identity."""
    flip = z2(shape)
    return Group(flip.permutations, flip.signs, torch.tensor([0, 0]))


SPIN_OPERATIONS = {"spin_rotation": spin_rotation, "spin_reflection": spin_reflection}
"""Operations on angles, which together generate O(2)."""
OPERATIONS = {
    "z2": z2,
    **SPIN_OPERATIONS,
    "translation": translation,
    "rotation": rotation,
    "reflection": reflection,
}


def spatial_operations(shape: Sequence[int], boundary: str) -> tuple[str, ...]:
    """Return the names of the operations that map a lattice of this shape and boundary onto itself."""
    periodic = ("translation",) if boundary == "periodic" else ()
    turns = ("rotation",) if len(shape) == 2 else ()
    return (*periodic, *turns, "reflection")


def group(operations: Sequence[str], shape: Sequence[int]) -> Group:
    """Return the group that the named operations generate; without a name it is trivial."""
    product = identity(shape)
    for name in operations:
        product = product @ OPERATIONS[name](shape)
    return product
