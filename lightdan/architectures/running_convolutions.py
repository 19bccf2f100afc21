"""Causal convolutions while the sites arrive in order."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightdan.architectures.convolutions import CausalConv, Closing, convolve


class RunningClosing:
    """`Closing` while the sites of x arrive in order.

    Args:
        layer: Layer with the weights.
        num: Number of configurations B.
    """

    def __init__(self, layer: Closing, num: int) -> None:
        self.layer, self.num = layer, num
        self.across = layer.weights[-1].unflatten(-1, (layer.basis, -1)).unbind(2)
        self.lines: dict[tuple[int, ...], Tensor] = {}
        self.line: Tensor | None = None

    def at(self, site: int) -> Tensor:
        """Return the units of a site of y `(out, B)`; all sites that it sees must have been pushed."""
        basis, (*others, side) = self.layer.basis, self.layer.cells
        line, site = divmod(site, side * basis)
        if site == 0:
            place = place_of(line, others)
            outputs, inputs = self.across[0].shape[1:]
            sums = self.across[0].new_zeros(side, outputs, self.num)
            for axis, weight in enumerate(self.layer.weights[:-1]):
                if place[axis]:
                    start = (*place[:axis], 0, *place[axis + 1 :])
                    first = self.lines[start]
                    sums = sums + weight[place[axis] - 1] @ first.reshape(side, -1, self.num)
            self.sums = sums.reshape(side * basis, -1, self.num)
            self.line = None
            if 0 in place:
                self.line = self.lines[place] = sums.new_empty(side * basis, inputs, self.num)
        return self.sums[site]

    def push(self, site: int, values: Tensor) -> None:
        """Add the units of a site of x `(in, B)`, after those of the same site of y were asked for."""
        site %= len(self.sums)
        if self.line is not None:
            self.line[site] = values
        if site < self.layer.basis:
            sums = self.sums.reshape(-1, self.across[0].shape[1], self.num)
            sums[1:] += self.across[site] @ values


class RunningConv:
    """`CausalConv` while the sites of x arrive in order.

    Other slabs and lines are convolved as a whole, when the first site of a slab or line is asked for.
    The units of the present line are stored as `(sites, in, B)`, so that the sites that a site sees are
    one contiguous slice.

    Args:
        layer: Layer with the weights.
        num: Number of configurations B.
    """

    def __init__(self, layer: CausalConv, num: int) -> None:
        self.layer = layer
        *others, side = layer.cells
        self.kernels = [layer.kernels(axis) for axis in range(len(others))]
        inputs = layer.weight.shape[1]
        # For each site of a cell (out, taps × units of a cell)
        self.earlier, self.ahead = (
            part.flatten(2).mT.flatten(1).unflatten(0, (layer.basis, -1)).unbind()
            for part in layer.kernels(len(others))
        )
        in_channels = inputs // layer.basis
        seen = layer.before[-1] * layer.basis + 1 - layer.strict
        self.earlier = [w[:, : (seen + own) * in_channels] for own, w in enumerate(self.earlier)]
        width = layer.before[-1] + side + layer.after[-1]
        self.image = layer.weight.new_empty(num, inputs, *others, width)
        self.line = layer.weight.new_empty(side * layer.basis, in_channels, num)
        self.bias = layer.bias().expand(num, *[-1] * (len(others) + 2))
        self.slabs = [self.bias] * len(others)

    def push(self, site: int, values: Tensor) -> None:
        """Add the units of a site of x `(in, B)`."""
        line, site = divmod(site, len(self.line))
        self.line[site] = values
        if site == len(self.line) - 1:
            units = self.line.reshape(self.layer.cells[-1], -1, values.shape[1]).permute(2, 1, 0)
            self.image.flatten(2, -2)[:, :, line] = self.layer.ring(units, [-1])

    def at(self, site: int) -> Tensor:
        """Return the units of a site of y `(out, B)`; all sites that it sees must have been pushed."""
        layer, (line, site) = self.layer, divmod(site, len(self.line))
        if site == 0:
            self.sums = self.other_lines(line)
        total = self.sums[site]
        cell, own = divmod(site, layer.basis)
        start, end = max(0, cell - layer.before[-1]) * layer.basis, site + 1 - layer.strict
        for weight, sites in (
            (self.earlier[own], self.line[start:end]),
            (self.ahead[own], self.line[: layer.across(cell, -1) * layer.basis]),
        ):
            if len(sites):
                units = sites.flatten(0, 1)
                total = torch.addmm(total, weight[:, -len(units) :], units)
        return total

    def other_lines(self, line: int) -> Tensor:
        """Return the bias and the sums over the finished lines, for one line `(sites, out, B)`."""
        layer, (*others, _) = self.layer, self.layer.cells
        place = place_of(line, others)
        for axis, own in enumerate(place):
            if any(place[axis + 1 :]):
                continue  # within a slab
            sums = (self.slabs[axis - 1] if axis else self.bias)[:, :, own]
            image = self.image
            for other in place[:axis]:
                image = image[:, :, other]
            finished = image[:, :, max(0, own - layer.before[axis]) : own]
            across = image[:, :, : layer.across(own, axis)]
            for weight, slabs in zip(self.kernels[axis], (finished, across), strict=True):
                if num := slabs.shape[2]:
                    slabs = layer.ring(slabs, range(axis + 1, len(others)))
                    weight = weight.flatten(2, 2 + axis).narrow(2, weight.shape[2 + axis] - num, num)
                    sums = sums + convolve(slabs, weight).squeeze(2)
            self.slabs[axis] = sums
        return self.slabs[-1].permute(2, 1, 0).reshape(*self.line.shape[:1], -1, len(self.image))


def place_of(index: int, sides: Sequence[int]) -> tuple[int, ...]:
    """Return the place on each axis of a raster index."""
    place: tuple[int, ...] = ()
    for side in reversed(sides):
        index, own = divmod(index, side)
        place = (own, *place)
    return place
