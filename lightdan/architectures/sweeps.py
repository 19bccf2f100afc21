"""Sweeps: sums over the preceding cells of a torus, at once or while the cells arrive in order."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

NAMES = ("through", "down", "along")
"""Names of the decays along the last axes."""


class Sweeps(nn.Module):
    """Sums over the preceding cells, with weights that are exponential in the distance.

    Two sweeps run along the row of a cell, one forwards and one backwards across the boundary:

        s_c = λ s_{c−1} + (1 − λ²) u_{c−1}

    If there are several rows, four more sweeps first run around whole rows, forwards or backwards, as
    v = (1 − λ²) Σ_d λ^d u at distance d. They then run down the columns, or up across the boundary:

        g_r = μ g_{r−1} + (1 − μ²) v_{r−1}

    If there are several layers, eight more sweeps first run around whole rows and columns, and then
    through the layers in the same way. Each state has decays of its own between −1 and 1.

    Args:
        states: Number of states of each sweep.
        cells: Numbers of cells along the two or three axes of the torus.
    """

    def __init__(self, states: int, cells: tuple[int, ...]) -> None:
        super().__init__()
        d = len(cells)
        self.num, self.names = states, NAMES[-d:]
        self.levels = [axis for axis in reversed(range(d)) if axis == d - 1 or cells[axis] > 1]
        """Last axis of each kind of sweep, along which it passes from slab to slab."""
        self.counts = [2 ** (d - level) for level in self.levels]
        self.total = sum(self.counts) * states
        spread = torch.linspace(-0.5, 3.0, states) if states > 1 else torch.zeros(1)
        for axis in reversed(range(d)):
            if num := sum(self.count(level) for level in self.levels if level <= axis):
                # Shifted, so that the decays of a state take different sets of values.
                shifts = [shift * (d - 1 - axis) for shift in range(num)]
                raw = torch.stack([spread.roll(shift) for shift in shifts])
                self.register_parameter(self.names[axis], nn.Parameter(raw))

    def count(self, level: int) -> int:
        """Return the number of sweeps that end with an axis."""
        return self.counts[self.levels.index(level)]

    def decays(self, level: int, axis: int) -> Tensor:
        """Return the decays λ along an axis of the sweeps that end with another `(sweeps, states)`."""
        raw: Tensor = getattr(self, self.names[axis])
        counts = [count for at, count in zip(self.levels, self.counts, strict=True) if at <= axis]
        at = [other for other in self.levels if other <= axis].index(level)
        return raw.split(counts)[at].tanh()

    def kernel(self, level: int, axis: int, side: int) -> Tensor:
        """Return the weights between the slabs of an axis `(sweeps, states, side, side)`."""
        decay = self.decays(level, axis)[..., None, None]
        place = torch.arange(side, device=decay.device)
        ahead = place[:, None] - place  # from the second to the first
        if axis > level:
            # Half of the sweeps that are alike on the axes before go backwards.
            both, allowed = torch.stack([ahead % side, -ahead % side]), torch.ones_like(ahead)
            repeat = 2 ** (len(self.names) - 1 - axis)
        else:
            both, allowed = torch.stack([ahead - 1, side - ahead - 1]), (ahead > 0).long()
            repeat = len(decay) // 2
        exponents = (both * allowed).repeat_interleave(repeat, 0)
        exponents = exponents.repeat(len(decay) // len(exponents), 1, 1)[:, None]
        return (1 - decay.square()) * decay**exponents * allowed

    def forward(self, u: Tensor) -> Tensor:
        """Return the states of all cells, of the shape of u `(sweeps × states, B, *cells)`."""
        states = []
        for level, part in zip(self.levels, self.split(u), strict=True):
            for axis in reversed(range(level, len(self.names))):
                part = self.pass_on(part, level, axis)
            states.append(part)
        return torch.cat(states)

    def split(self, u: Tensor) -> tuple[Tensor, ...]:
        """Return the parts of each kind of sweep."""
        return u.split([count * self.num for count in self.counts])

    def pass_on(self, u: Tensor, level: int, axis: int) -> Tensor:
        """Return u `(sweeps × states, B, *cells)` after the sweeps along an axis."""
        place = axis - len(self.names)
        kernel = self.kernel(level, axis, u.shape[place]).flatten(0, 1)
        moved = u.movedim(place, -1)
        return (moved.flatten(1, -2) @ kernel.mT).reshape(moved.shape).movedim(-1, place)


class RunningSweeps:
    """`Sweeps` while the cells arrive in order.

    Args:
        sweeps: Module with the decays.
        num: Number of configurations B.
        cells: Numbers of cells along the axes.
    """

    def __init__(self, sweeps: Sweeps, num: int, cells: tuple[int, ...]) -> None:
        self.sweeps, self.cells, self.cell = sweeps, cells, 0
        new = next(sweeps.parameters()).new_zeros
        self.parts = []
        for level, count in zip(sweeps.levels, sweeps.counts, strict=True):
            size, half = math.prod(cells[level + 1 :]), count * sweeps.num // 2
            decay = sweeps.decays(level, level).reshape(2, half, 1, 1)
            kernels = [
                sweeps.kernel(level, axis, cells[axis]).flatten(0, 1)
                for axis in range(level + 1, len(cells))
            ]
            sums = new(2 * half, size, num), *new(2, half, size, num)
            self.parts.append(Part(cells[level], size, decay, kernels, *sums))

    def states(self) -> Tensor:
        """Return the states of the next cell `(sweeps × states, B)`."""
        states = []
        for part in self.parts:
            slab, own = divmod(self.cell, part.size)
            left = part.side - 1 - slab % part.side
            states += [part.ahead[:, own], part.across[:, own] * part.decay[1, :, 0] ** left]
        return torch.cat(states)

    def push(self, u: Tensor) -> None:
        """Add the inputs of the next cell `(sweeps × states, B)`."""
        for part, inputs in zip(self.parts, self.sweeps.split(u), strict=True):
            slab, own = divmod(self.cell, part.size)
            part.slab[:, own] = inputs
            if own == part.size - 1:
                self.pass_on(part, slab % part.side)
        self.cell += 1

    def pass_on(self, part: "Part", place: int) -> None:
        """Pass a finished slab on to the sums over earlier slabs, which begin anew after the last."""
        if place == part.side - 1:
            part.ahead.zero_()
            part.across.zero_()
            return
        rest = self.cells[len(self.cells) - len(part.kernels) :]
        slab = part.slab.unflatten(1, rest) if rest else part.slab
        for axis, kernel in enumerate(part.kernels, 1):
            moved = slab.movedim(axis, 1)
            slab = (kernel @ moved.flatten(2)).reshape(moved.shape).movedim(1, axis)
        fresh = slab.reshape(2, *part.ahead.shape) * (1 - part.decay.square())
        part.ahead.mul_(part.decay[0]).add_(fresh[0])
        part.across.add_(part.decay[1] ** place * fresh[1])


class Part(NamedTuple):
    """Sums of the sweeps that end with the same axis.

    Args:
        side: Number of slabs along the axis.
        size: Number of cells of a slab.
        decay: Decays along the axis, of sweeps ahead and of those across the boundary.
        kernels: Weights of the rings on the axes after it.
        slab: Inputs of the present slab `(sweeps × states, size, B)`.
        ahead: Sums over the slabs before.
        across: Sums over them across the boundary, as the last slab sees them.
    """

    side: int
    size: int
    decay: Tensor
    kernels: list[Tensor]
    slab: Tensor
    ahead: Tensor
    across: Tensor
