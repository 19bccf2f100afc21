"""Orders of the sites of a lattice, in which networks see and draw them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lightdan.lattices.bravais import LatticeLike, as_lattice
from lightdan.lattices.colours import colours
from lightdan.lattices.lattice import Lattice


@dataclass(frozen=True, eq=False)
class Ordering:
    """Order of the sites, divided into stages; the sites of one stage are drawn at once.

    Args:
        sites: Raster indices of the sites in the order `(N,)`.
        stages: Numbers of sites of the stages, which sum to N.
    """

    sites: Tensor
    stages: tuple[int, ...]

    @cached_property
    def places(self) -> Tensor:
        """Place in the order of each raster index `(N,)`."""
        return self.sites.argsort()

    @cached_property
    def stage(self) -> Tensor:
        """Number of the stage of each site in the order `(N,)`."""
        return torch.repeat_interleave(torch.tensor(self.stages))

    @cached_property
    def is_raster(self) -> bool:
        """Whether the order is that of the raster indices."""
        return torch.equal(self.sites, torch.arange(len(self.sites)))

    def arrange(self, configurations: Tensor) -> Tensor:
        """Return `(B, *lattice)` with the sites in the order, in the same shape."""
        if self.is_raster:
            return configurations
        flat = configurations.flatten(1)[:, self.sites.to(configurations.device)]
        return flat.reshape(configurations.shape)

    def restore(self, arranged: Tensor) -> Tensor:
        """Return `(B, N)` by raster index from `(B, N)` in the order."""
        return arranged if self.is_raster else arranged[:, self.places.to(arranged.device)]

    def one_by_one(self) -> "Ordering":
        """Return the order with each site as a stage of its own."""
        return replace(self, stages=(1,) * len(self.sites))


def _one_by_one(sites: np.ndarray) -> Ordering:
    return Ordering(torch.from_numpy(sites.ravel().astype(np.int64)), (1,) * sites.size)


def _plane(lattice: Lattice) -> np.ndarray:
    """Return the raster indices in rows and columns; a chain is one row."""
    return np.arange(lattice.num_sites).reshape(-1, lattice.shape[-1])


def raster(lattice: Lattice) -> Ordering:
    """Order the sites row by row, each row from its first column to its last."""
    return _one_by_one(_plane(lattice))


def snake(lattice: Lattice) -> Ordering:
    """Order the sites row by row, every second row backwards; consecutive sites are neighbours."""
    sites = _plane(lattice)
    sites[1::2] = sites[1::2, ::-1]
    return _one_by_one(sites)


def diagonal(lattice: Lattice) -> Ordering:
    """Order the sites by row + column; each diagonal begins in the top row."""
    rows, columns = np.indices(_plane(lattice).shape)
    return _one_by_one(np.argsort((rows + columns).ravel(), kind="stable"))


def hilbert(lattice: Lattice) -> Ordering:
    """Order the sites along Hilbert's curve on the smallest 2^n × 2^n square that covers the lattice.

    Consecutive sites are neighbours if the lattice is such a square.

    References:
        D. Hilbert, Math. Ann. 38, 459 (1891).
    """
    rows, columns = np.indices(_plane(lattice).shape)
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


def checkerboard(lattice: Lattice) -> Ordering:
    """Order the black sites one by one, then all white sites as one stage.

    No two white sites are neighbours. With nearest-neighbour couplings they are independent once the
    black sites are known. Around a ring with an odd number of sites, one white site becomes black. On
    other lattices the white sites are those of the most frequent colour of `colours`.
    """
    if lattice.is_hypercubic:
        white = _white(lattice.cells)
    else:
        found = colours(lattice)
        white = found == np.bincount(found).argmax()
    order = np.argsort(white.ravel(), kind="stable")
    num_white = int(white.sum())
    singles = (1,) * (white.size - num_white)
    return Ordering(torch.from_numpy(order), singles + ((num_white,) if num_white else ()))


def _white(shape: Sequence[int]) -> np.ndarray:
    """Return whether each site of a rectangle is white."""
    white = np.indices(shape).sum(0) % 2 == 1
    for axis, side in enumerate(shape):
        if side % 2 and side > 1:
            lines = np.moveaxis(white, axis, 0)
            lines[-1] &= ~lines[0]
    return white


ORDERINGS: dict[str, Callable[[Lattice], Ordering]] = {
    "raster": raster,
    "snake": snake,
    "diagonal": diagonal,
    "hilbert": hilbert,
    "checkerboard": checkerboard,
}
"""Orders by name; with more than two axes, all axes but the last together form the rows."""


def ordering(order: str | Sequence[int], lattice: LatticeLike) -> Ordering:
    """Return the order with this name or with these raster indices.

    Raises:
        ValueError: There is no such order, or the indices are not a permutation of the sites.
    """
    lattice = as_lattice(lattice)
    if isinstance(order, str):
        if order not in ORDERINGS:
            raise ValueError(
                f"There is no order of sites {order!r}: set model.ordering to one of "
                f"{', '.join(ORDERINGS)}, or to a list of all raster indices."
            )
        return ORDERINGS[order](lattice)
    num_sites = lattice.num_sites
    if not all(type(site) is int for site in order) or sorted(order) != list(range(num_sites)):
        raise ValueError(
            f"model.ordering is a list of {len(order)} numbers that are not a permutation of the sites: "
            f"list each raster index 0 … {num_sites - 1} once."
        )
    return _one_by_one(np.array(order))
