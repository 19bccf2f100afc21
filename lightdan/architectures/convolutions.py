"""Causal convolutions on a torus of two or three axes."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

AXES = ("layer", "row", "column")
"""Names of the last axes of cells."""


def reach(kernel: int, side: int) -> tuple[int, int]:
    """Return how far a kernel extends before and after its middle, at most once around the ring."""
    return min(kernel // 2, side // 2), min(kernel // 2, (side - 1) // 2)


def pad(x: Tensor, axis: int, num: int) -> Tensor:
    """Return x with a number of zeros before an axis, counted from the last one as −1."""
    return F.pad(x, (0, 0) * (-1 - axis) + (num, 0))


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution of x `(B, in, *cells)` with weights `(out, in, *kernel)`."""
    return (F.conv2d if x.ndim == 4 else F.conv3d)(x, weight)


def by_site(x: Tensor, basis: int, num_axes: int) -> Tensor:
    """Return numbers `(basis × units, ..., *cells)` as `(sites, units, ...)`, sites in raster order."""
    x = x.unflatten(0, (basis, -1)).flatten(-num_axes)
    return x.movedim(-1, 0).flatten(0, 1)


class ByPlace(nn.Module):
    """Weights that depend on the place of a cell: the sum of a common part and one for each axis.

    They are rows + columns numbers instead of rows × columns, and so take fewer data to learn.

    Args:
        shape: Shape of the weights of one cell.
        cells: Numbers of cells along the two or three axes of the torus.
        scale: Standard deviation of the initial common part; the other parts start at zero.
    """

    def __init__(self, shape: tuple[int, ...], cells: tuple[int, ...], scale: float = 0.0) -> None:
        super().__init__()
        ones = (1,) * len(cells)
        self.common = nn.Parameter(scale * torch.randn(*shape, *ones))
        self.parts = [f"of_{name}" for name in AXES[-len(cells) :]]
        for axis, (name, side) in enumerate(zip(self.parts, cells, strict=True)):
            part = torch.zeros(*shape, *ones[:axis], side, *ones[axis + 1 :])
            self.register_parameter(name, nn.Parameter(part))

    def forward(self) -> Tensor:
        """Return the weights of all cells `(*shape, *cells)`."""
        return sum((getattr(self, name) for name in self.parts), self.common)


class CausalConv(nn.Module):
    """Convolution on a torus over the sites j ≤ i in raster order.

        y_i = c_i + Σ_{j≤i} W_{i−j} x_j

    Along the first axis, the kernel sees earlier slabs as whole tori. After the middle it sees only
    slabs across the boundary, which come first in the order. Within the slab of site i, the same holds
    for the next axis, and so on.

    With several sites in a cell, the units of a cell are those of its sites, one after the other. W
    depends on the displacement of the cells and on the places of both sites in their cells.

    Args:
        cells: Numbers of cells along the two or three axes of the torus.
        in_channels: Number of units per site in x.
        out_channels: Number of units per site in y.
        reach: Numbers of cells before and after the kernel's middle along each axis.
        basis: Number of sites per cell.
        strict: Whether the sum is over j < i.
    """

    own: Tensor

    def __init__(
        self,
        cells: tuple[int, ...],
        in_channels: int,
        out_channels: int,
        reach: Sequence[tuple[int, int]],
        *,
        basis: int = 1,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self.cells, self.basis, self.strict = cells, basis, strict
        self.before, self.after = zip(*reach, strict=True)
        size = [before + 1 + after for before, after in reach]
        inputs, outputs = basis * in_channels, basis * out_channels
        fan_in = inputs * max(1, math.prod(size) // 2)
        self.weight = nn.Parameter(0.3 * torch.randn(outputs, inputs, *size) / fan_in**0.5)
        self.bias = ByPlace((outputs,), cells)
        own = torch.ones(basis, basis).tril(-1 if strict else 0)
        own = own.repeat_interleave(out_channels, 0).repeat_interleave(in_channels, 1)
        self.register_buffer("own", own.reshape(outputs, inputs, *[1] * len(cells)), persistent=False)

    @property
    def sees_cell(self) -> bool:
        """Whether some site sees one of its own cell."""
        return self.basis > 1 or not self.strict

    def kernels(self, axis: int) -> tuple[Tensor, Tensor]:
        """Return the weights of cells that are earlier, and ahead across the boundary, along an axis.

        The cells share the places on the axes before it. Along the last axis, the site's own cell is
        part of the earlier ones.
        """
        weight: Tensor = self.weight
        for other in range(axis):
            weight = weight.narrow(2 + other, self.before[other], 1)
        earlier, middle, ahead = weight.split([self.before[axis], 1, self.after[axis]], dim=2 + axis)
        if axis == len(self.cells) - 1 and self.sees_cell:
            earlier = torch.cat([earlier, middle * self.own], dim=-1)
        return earlier, ahead

    def ring(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Extend some of the last axes `(..., *cells)` by what the kernel sees around the ring."""
        for axis in axes:
            place, side = axis % len(self.cells) - len(self.cells), self.cells[axis]
            before = x.narrow(place, side - self.before[axis], self.before[axis])
            x = torch.cat([before, x, x.narrow(place, 0, self.after[axis])], dim=place)
        return x

    def across(self, place: int, axis: int) -> int:
        """Return how many slabs the kernel sees across the boundary of an axis."""
        return max(0, place + self.after[axis] + 1 - self.cells[axis])

    def taps(self, site: int) -> tuple[list[int], Tensor]:
        """Return the sites j ≤ i that a site i sees, and their weights `(taps, out, in)`."""
        cell, own = divmod(site, self.basis)
        others = torch.zeros(1, dtype=torch.long)
        for axis, side in enumerate(self.cells):
            place = cell // math.prod(self.cells[axis + 1 :])
            steps = torch.arange(-self.before[axis], self.after[axis] + 1)
            others = (others[:, None] * side + (place + steps) % side).flatten()
        others = others[:, None] * self.basis + torch.arange(self.basis)
        seen = others <= site - self.strict
        weight = self.weight.unflatten(0, (self.basis, -1))[own].flatten(2)
        weight = weight.unflatten(1, (self.basis, -1)).permute(3, 1, 0, 2)
        return others[seen].tolist(), weight[seen.to(weight.device)]

    def forward(self, x: Tensor) -> Tensor:
        """Return y `(B, basis × out, *cells)` of x `(B, basis × in, *cells)`."""
        d = len(self.cells)
        kernels = [self.kernels(axis) for axis in range(d)]
        around = [self.ring(x, range(axis + 1, d)) for axis in range(d)]
        y = self.bias().expand(len(x), *[-1] * (d + 1))
        for axis in reversed(range(d)):
            earlier, place = kernels[axis][0], axis - d
            if num := earlier.shape[place]:
                # No other slab sees the last one.
                kept = self.cells[axis] - 1 + num - self.before[axis]
                seen = pad(around[axis].narrow(place, 0, kept), place, self.before[axis])
                y = y + convolve(seen, earlier)
        for axis in range(d):
            ahead, place = kernels[axis][1], axis - d
            if num := self.after[axis]:
                first = pad(around[axis].narrow(place, 0, num), place, num - 1)
                y = y + pad(convolve(first, ahead), place, self.cells[axis] - num)
        return y


class Closing(nn.Module):
    """Linear map from the first cells of the lines through each cell, one line along each axis.

        y_rc = A_c x_r0 + D_r x_0c    on a plane

    Args:
        cells: Numbers of cells along the two or three axes of the torus.
        in_channels: Number of units per cell in x.
        out_channels: Number of units per cell in y.
        basis: Number of sites per cell.
    """

    def __init__(
        self, cells: tuple[int, ...], in_channels: int, out_channels: int, basis: int = 1
    ) -> None:
        super().__init__()
        self.cells, self.basis = cells, basis
        self.names = ["through", "down", "across"][-len(cells) :]
        # Named in this order by older checkpoints of optimizers.
        for name, side in reversed([*zip(self.names, cells, strict=True)]):
            weight = torch.zeros(side - 1, basis * out_channels, basis * in_channels)
            self.register_parameter(name, nn.Parameter(weight))

    @property
    def weights(self) -> list[Tensor]:
        """Weights of each axis `(side − 1, basis × out, basis × in)`."""
        return [getattr(self, name) for name in self.names]

    def taps(self, site: int) -> tuple[list[int], Tensor]:
        """Return the sites that a site sees, and their weights `(taps, out, in)`."""
        cell, own = divmod(site, self.basis)
        seen: list[int] = []
        weights = []
        stride = math.prod(self.cells)
        for side, weight in zip(self.cells, self.weights, strict=True):
            stride //= side
            place = cell // stride % side
            blocks = weight.unflatten(1, (self.basis, -1)).unflatten(-1, (self.basis, -1))
            blocks = blocks[:, own].permute(0, 2, 1, 3)  # (side − 1, basis, out, in)
            weights.append(
                blocks[place - 1 : place].flatten(0, 1) if place else blocks[:0].flatten(0, 1)
            )
            if place:
                first = (cell - place * stride) * self.basis
                seen += range(first, first + self.basis)
        return seen, torch.cat(weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return y `(B, basis × out, *cells)` of x `(B, basis × in, *cells)`."""
        parts = []
        for axis, weight in enumerate(self.weights, 2):
            part = torch.einsum("noi,bi...->bo...n", weight, x.select(axis, 0)).movedim(-1, axis)
            parts.append(pad(part, axis - x.ndim, 1))
        return sum(parts[:-1], parts[-1])


def dense(
    layers: Sequence[CausalConv | Closing], outputs: Sequence[int], inputs: Sequence[int]
) -> Tensor:
    """Return the sum of layers as a matrix `(out × outputs, in × inputs)`, without the bias.

    Args:
        layers: Layers of equal sizes.
        outputs: Sites of y.
        inputs: Sites of x; all that the outputs see are among them.
    """
    places = {site: k for k, site in enumerate(inputs)}
    columns: list[Tensor] = []
    for site in outputs:
        parts = [layer.taps(site) for layer in layers]
        weights = torch.cat([part[1] for part in parts])
        index = torch.tensor([places[j] for part in parts for j in part[0]], dtype=torch.long)
        column = weights.new_zeros(len(inputs), *weights.shape[1:])
        columns.append(column.index_add(0, index.to(weights.device), weights))
    return torch.stack(columns).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
