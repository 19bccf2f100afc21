"""Recurrent: linear recurrences along the rows and columns of the torus, gated units between them."""

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor, nn

from lightdan.architectures.base import Architecture
from lightdan.types import Configurations, PerConfiguration


class Recurrent(Architecture):
    """Recurrences over rows and columns, by weights that know neither place nor lattice size.

    a_i = b + V h_i^d with h^k = h^{k−1} + A s + tanh(B [s, h^{k−1}] + b) σ(G [s, h^{k−1}] + g), h^0 = 0,
    where s are the states of `Sweeps` over u = W [f, h^{k−1}] + c, f the features of the sites. They
    sum over the preceding sites at whatever distance, and across the boundary, so that the torus closes.
    The constant c that is swept along tells how far the first and the last row and column are.
    (A. van den Oord et al., arXiv:1601.06759; M. Hibat-Allah et al., Phys. Rev. Research 2, 023358;
    linear recurrences: A. Orvieto et al., arXiv:2303.06349.)

    Args:
        units: Hidden units h of a site.
        states: States of each of the six sweeps.
        depth: Layers d.
        kwargs: Of `Architecture`.

    Raises:
        ValueError: units, states or depth below 1, or more than two dimensions.

    Example:
        >>> model = Recurrent(lattice_shape=(4, 4), units=4, states=2)
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 4, 4)
    """

    def __init__(self, units: int = 32, states: int = 8, depth: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if min(units, states, depth) < 1:
            raise ValueError(
                f"Recurrent needs units, states and depth ≥ 1, not units = {units}, states = {states}, "
                f"depth = {depth}."
            )
        if len(self.lattice_shape) > 2:
            raise ValueError(f"Recurrent needs a lattice of one or two axes, not {self.lattice_shape}.")
        outputs = self.conditional.num_parameters
        rows, columns = (1, *self.lattice_shape)[-2:]
        self.plane = rows, columns
        self.layers: list[Layer] = nn.ModuleList(  # type: ignore[assignment]
            Layer(self.num_features, units if k else 0, units, states) for k in range(depth)
        )
        self.readout = nn.Parameter(0.3 * torch.randn(outputs, units) / units**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        if self.temperature_input:
            self.bias_slope = nn.Parameter(torch.zeros(outputs))

    def forward(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> Tensor:
        """Parameters of all sites `(B, sites, parameters)`."""
        num, plane = len(configurations), self.plane
        x = self.features(configurations.flatten(1), temperature)
        x = x.permute(2, 0, 1).reshape(-1, num, *plane)  # (features, B, rows, columns)
        hidden = None
        for layer in self.layers:
            states = layer.sweeps(layer.inputs(x, hidden))
            hidden = layer.join(hidden, states)
        assert hidden is not None
        parameters = (self.readout @ hidden.flatten(1)).unflatten(1, (num, -1)).permute(1, 2, 0)
        return parameters + self.outputs_without_inputs(temperature)

    def incremental(
        self, num: int, temperature: PerConfiguration | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """The same site by site, at the cost of about one pass in all."""
        constant = self.outputs_without_inputs(temperature).squeeze(1)
        running = [RunningSweeps(layer.sweeps, num, self.plane) for layer in self.layers]
        for _ in range(self.num_sites):
            hidden: Tensor | None = None
            below: list[Tensor | None] = []
            for layer, sweeps in zip(self.layers, running, strict=True):
                below.append(hidden)
                hidden = layer.join(hidden, sweeps.states())
            assert hidden is not None
            values = yield ((self.readout @ hidden).T + constant).unsqueeze(1)
            x = self.features(values[:, 0], temperature).T
            for layer, sweeps, units in zip(self.layers, running, below, strict=True):
                sweeps.push(layer.inputs(x, units))

    def outputs_without_inputs(self, temperature: PerConfiguration | None) -> Tensor:
        """What is added to the readout `(B or 1, 1, parameters)`."""
        if temperature is None or not self.temperature_input:
            return self.bias.reshape(1, 1, -1)
        return self.bias + self.bias_slope / temperature.reshape(-1, 1, 1)


class Layer(nn.Module):
    """A layer of gated units over sweeps; all arrays have the units first `(units, ...)`.

    Args:
        num_features: Of a site.
        below: Hidden units of the layer below; 0 for the first.
        units: Hidden units of this one.
        states: Of each of the sweeps.
    """

    def __init__(self, num_features: int, below: int, units: int, states: int) -> None:
        super().__init__()
        self.units, total = units, 6 * states
        self.sweeps = Sweeps(states)
        self.input = nn.Linear(num_features + below, total)
        # Linear part, nonlinear part and gate.
        self.mix = nn.Linear(total, 3 * units)
        self.below = nn.Linear(below, 2 * units, bias=False) if below else None

    def inputs(self, x: Tensor, hidden: Tensor | None) -> Tensor:
        """What is swept."""
        both = x if hidden is None else torch.cat([x, hidden])
        return _apply(self.input, both)

    def join(self, hidden: Tensor | None, states: Tensor) -> Tensor:
        """The hidden units, from those of the layer below and the states."""
        linear, *gated = _apply(self.mix, states).split(self.units)
        if self.below is not None and hidden is not None:
            more = _apply(self.below, hidden).split(self.units)
            gated = [a + b for a, b in zip(gated, more, strict=True)]
            linear = linear + hidden
        return linear + torch.tanh(gated[0]) * torch.sigmoid(gated[1])


def _apply(linear: nn.Linear, x: Tensor) -> Tensor:
    """W x + b of x `(units, ...)`, as one product."""
    y = linear.weight @ x.flatten(1)
    if linear.bias is not None:
        y = y + linear.bias.unsqueeze(1)
    return y.unflatten(1, x.shape[1:])


class Sweeps(nn.Module):
    """States that are sums over the preceding sites with weights exponential in the distance.

    Two sweeps run along the own row: s_c = λ s_{c−1} + (1 − λ²) u_{c−1}, and what comes backwards across
    the boundary. The four others sweep whole rows around their ring, forwards or backwards, as
    v = (1 − λ²) Σ λ^d u at distances d, and then run down the columns,
    g_r = μ g_{r−1} + (1 − μ²) v_{r−1}, or come up across the boundary. Each state has decays λ and μ
    of its own, between −1 and 1.

    Args:
        states: Of each of the six sweeps.
    """

    def __init__(self, states: int) -> None:
        super().__init__()
        self.num = states
        spread = torch.linspace(-0.5, 2.0, states) if states > 1 else torch.zeros(1)
        # Each state of its own range, in both directions.
        self.along = nn.Parameter(spread.repeat(6))
        mixed = torch.stack([spread.roll(shift) for shift in range(4)])
        self.down = nn.Parameter(mixed.flatten())

    def row_kernels(self, columns: int) -> Tensor:
        """Weights of the sites of a row on one another `(6 states, columns, columns)`."""
        c = torch.arange(columns, device=self.along.device)
        ahead = c[:, None] - c  # from c' to c
        precedes = (ahead > 0).expand(2, -1, -1)
        everywhere = torch.ones_like(precedes)
        around = ahead % columns
        steps = [ahead - 1, columns - ahead - 1, around, -ahead % columns]
        exponents = torch.stack([*steps, *steps[2:]])
        allowed = torch.cat([precedes, everywhere, everywhere])
        return self._powers(self.along, exponents, allowed)

    def column_kernels(self, rows: int) -> Tensor:
        """Weights of the rows on one another `(4 states, rows, rows)`."""
        r = torch.arange(rows, device=self.down.device)
        ahead = r[:, None] - r
        across = rows - ahead - 1
        exponents = torch.stack([ahead - 1, ahead - 1, across, across])
        return self._powers(self.down, exponents, (ahead > 0).expand(4, -1, -1))

    def _powers(self, raw: Tensor, exponents: Tensor, allowed: Tensor) -> Tensor:
        repeated = exponents.where(allowed, 0).repeat_interleave(self.num, 0)
        decay = raw.tanh()[:, None, None]
        return (1 - decay.square()) * decay**repeated * allowed.repeat_interleave(self.num, 0)

    def forward(self, u: Tensor) -> Tensor:
        """Of u `(6 states, B, rows, columns)`."""
        num, rows, columns = u.shape[1:]
        along = u.flatten(1, 2) @ self.row_kernels(columns).mT  # (6 states, B rows, columns)
        own, above = along.unflatten(1, (num, rows)).split([2 * self.num, 4 * self.num])
        turned = above.transpose(2, 3).flatten(1, 2) @ self.column_kernels(rows).mT
        return torch.cat([own, turned.unflatten(1, (num, columns)).transpose(2, 3)])


class RunningSweeps:
    """The states of one site after the other.

    Args:
        sweeps: The layer.
        num: Number of configurations B.
        plane: Rows and columns.
    """

    def __init__(self, sweeps: Sweeps, num: int, plane: tuple[int, int]) -> None:
        self.plane, self.site = plane, 0
        columns = plane[1]
        self.decay, self.down = (raw.tanh()[:, None] for raw in (sweeps.along, sweeps.down))
        self.split = 2 * sweeps.num
        self.kernels = sweeps.row_kernels(columns)[self.split :]
        self.gain = 1 - self.decay[: self.split].square()
        self.column_gain = 1 - self.down.square().unsqueeze(1)
        self.row = self.decay.new_empty(4 * sweeps.num, columns, num)
        self.forward, self.across = self.decay.new_zeros(2, sweeps.num, num)
        self.above, self.below = self.decay.new_zeros(2, 2 * sweeps.num, columns, num)

    def states(self) -> Tensor:
        """Those of the next site `(6 states, B)`."""
        row, column = divmod(self.site, self.plane[1])
        return torch.cat(
            [
                self.forward,
                self.across * self.decay[self.split // 2 : self.split] ** (self.plane[1] - column - 1),
                self.above[:, column],
                self.below[:, column] * self.down[self.split :] ** (self.plane[0] - row - 1),
            ]
        )

    def push(self, u: Tensor) -> None:
        """Take what is swept of this site `(6 states, B)`."""
        row, column = divmod(self.site, self.plane[1])
        forward, backward = self.decay[: self.split].split(self.split // 2)
        ahead, across = (self.gain * u[: self.split]).split(self.split // 2)
        self.forward = forward * self.forward + ahead
        self.across = self.across + backward**column * across
        self.row[:, column] = u[self.split :]
        self.site += 1
        if column < self.plane[1] - 1:
            return
        above, below = (self.column_gain * (self.kernels @ self.row)).split(self.split)
        down, up = self.down.unsqueeze(1).split(self.split)
        self.above = down * self.above + above
        self.below = self.below + up**row * below
        self.forward, self.across = torch.zeros_like(self.forward), torch.zeros_like(self.across)
