"""Orders in which the sites of a lattice become known."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Ordering:
    """The sites level after level; those of one level do not see each other and are drawn at once.

    Args:
        sites: Raster index of each site, in the order `(N,)`.
        levels: Numbers of sites of the levels, N in all.
    """

    sites: Tensor
    levels: tuple[int, ...]

    @cached_property
    def places(self) -> Tensor:
        """Where in the order each raster index stands `(N,)`."""
        return self.sites.argsort()

    @cached_property
    def level(self) -> Tensor:
        """Number of the level of each site, in the order `(N,)`."""
        return torch.repeat_interleave(torch.tensor(self.levels))

    @cached_property
    def is_raster(self) -> bool:
        """Whether it leaves the sites where they are."""
        return torch.equal(self.sites, torch.arange(len(self.sites)))

    def arrange(self, configurations: Tensor) -> Tensor:
        """The sites of `(B, *lattice)` in the order, laid out as a lattice of the same shape."""
        if self.is_raster:
            return configurations
        flat = configurations.flatten(1)[:, self.sites.to(configurations.device)]
        return flat.reshape(configurations.shape)

    def restore(self, arranged: Tensor) -> Tensor:
        """What is given in the order `(B, N)`, by raster index."""
        return arranged if self.is_raster else arranged[:, self.places.to(arranged.device)]

    def one_by_one(self) -> "Ordering":
        """The same order, each site a level of its own."""
        return replace(self, levels=(1,) * len(self.sites))


def _one_by_one(sites: np.ndarray) -> Ordering:
    return Ordering(torch.from_numpy(sites.ravel().astype(np.int64)), (1,) * sites.size)


def _plane(shape: Sequence[int]) -> np.ndarray:
    """Raster indices as rows and columns; a chain is one row."""
    return np.arange(math.prod(shape)).reshape(-1, shape[-1])


def raster(shape: Sequence[int]) -> Ordering:
    """Row after row, each from its first site to its last."""
    return _one_by_one(_plane(shape))


def snake(shape: Sequence[int]) -> Ordering:
    """Row after row, every second one backwards: in a plane consecutive sites are neighbours."""
    sites = _plane(shape)
    sites[1::2] = sites[1::2, ::-1]
    return _one_by_one(sites)


def diagonal(shape: Sequence[int]) -> Ordering:
    """By row + column, in a diagonal from the top."""
    rows, columns = np.indices(_plane(shape).shape)
    return _one_by_one(np.argsort((rows + columns).ravel(), kind="stable"))


def hilbert(shape: Sequence[int]) -> Ordering:
    """Along Hilbert's curve, of the smallest square 2^n × 2^n around the lattice.

    Consecutive sites are neighbours where the lattice is such a square.
    (D. Hilbert, Math. Ann. 38, 459.)
    """
    rows, columns = np.indices(_plane(shape).shape)
    step = np.zeros(rows.shape, dtype=np.int64)
    x, y = columns.copy(), rows.copy()
    half = 1 << max(max(rows.shape) - 1, 1).bit_length()
    while half := half // 2:
        right, down = (x & half) > 0, (y & half) > 0
        step += half * half * ((3 * right) ^ down)
        mirrored = ~down & right
        x, y = (np.where(mirrored, half - 1 - z % half, z % half) for z in (x, y))
        x, y = np.where(down, x, y), np.where(down, y, x)
    return _one_by_one(np.argsort(step.ravel(), kind="stable"))


def checkerboard(shape: Sequence[int]) -> Ordering:
    """The black sites one after the other, then the white ones, of which no two are neighbours, at once.

    With couplings of nearest neighbours only, the white sites are independent once the black ones are
    known. On a ring of an odd number of sites two of a colour meet: a white one is then black.
    """
    white = np.indices(shape).sum(0) % 2 == 1
    for axis, side in enumerate(shape):
        if side % 2 and side > 1:
            lines = np.moveaxis(white, axis, 0)
            lines[-1] &= ~lines[0]
    order = np.argsort(white.ravel(), kind="stable")
    num_white = int(white.sum())
    singles = (1,) * (white.size - num_white)
    return Ordering(torch.from_numpy(order), singles + ((num_white,) if num_white else ()))


ORDERINGS: dict[str, Callable[[Sequence[int]], Ordering]] = {
    "raster": raster,
    "snake": snake,
    "diagonal": diagonal,
    "hilbert": hilbert,
    "checkerboard": checkerboard,
}
"""Of lattices with one axis or two; of more axes, all but the last together are the rows."""


def ordering(wanted: str | Sequence[int], shape: Sequence[int]) -> Ordering:
    """The order of this name, or that of the given raster indices.

    Raises:
        ValueError: there is no such order, or the indices are no permutation of the sites.
    """
    if isinstance(wanted, str):
        if wanted not in ORDERINGS:
            raise ValueError(
                f"There is no order of sites {wanted!r}: set model.ordering to one of "
                f"{', '.join(ORDERINGS)}, or to a list of all raster indices."
            )
        return ORDERINGS[wanted](shape)
    num_sites = math.prod(shape)
    if not all(type(site) is int for site in wanted) or sorted(wanted) != list(range(num_sites)):
        raise ValueError(
            f"model.ordering must name each raster index 0 … {num_sites - 1} of the lattice once; "
            f"the list given, of length {len(wanted)}, does not."
        )
    return _one_by_one(np.array(wanted))
