"""Recurrent: linear recurrences along the rows and columns of the torus, with gated units."""

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor, nn

from lightdan.architectures.base import Architecture
from lightdan.types import Conditions, Configurations


class Recurrent(Architecture):
    """Recurrences over rows and columns, whose weights depend neither on place nor on lattice size.

        a_i = b + V h_i^d
        h^k = h^{k−1} + A s + c + tanh(P [s, h^{k−1}]) σ(G [s, h^{k−1}]),    h^0 = 0
        s = Sweeps(z + tanh z),    z = U [f, h^{k−1}] + u_0

    Here f are the features of the sites, and P and G are affine. The states s of `Sweeps` sum over the
    preceding sites at any distance and across the boundary, so that the torus closes. Swept along, the
    constant u_0 tells the distances to the first and last row and column.

    A chain is one row. In other orderings than raster the rows are consecutive stretches of the
    ordering.

    Args:
        units: Number of hidden units h per site.
        states: Number of states of each sweep; a plane has six sweeps and a chain two.
        depth: Number d of layers.
        kwargs: Arguments of `Architecture`.

    Raises:
        ValueError: units, states or depth is below 1, or the lattice has more than two axes.

    References:
        A. van den Oord et al., Pixel Recurrent Neural Networks, arXiv:1601.06759.
        M. Hibat-Allah et al., Phys. Rev. Research 2, 023358 (2020).
        A. Orvieto et al., arXiv:2303.06349, on linear recurrences.

    Example:
        >>> model = Recurrent(lattice_shape=(4, 4), units=4, states=2)
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 4, 4)
    """

    def __init__(self, units: int = 32, states: int = 8, depth: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check_positive(units=units, states=states, depth=depth)
        outputs = self.conditional.num_parameters
        (rows, columns), _ = self.torus(2)
        self.plane = rows, columns
        self.layers: list[Layer] = nn.ModuleList(  # type: ignore[assignment]
            Layer(self.num_features, units if k else 0, units, Sweeps(states, self.plane[0] > 1))
            for k in range(depth)
        )
        self.readout = nn.Parameter(0.3 * torch.randn(outputs, units) / units**0.5)
        self.add_bias(outputs)

    def forward(self, configurations: Configurations, conditions: Conditions | None = None) -> Tensor:
        """Return the parameters of all sites `(B, sites, parameters)`."""
        num, plane = len(configurations), self.plane
        x = self.features(configurations.flatten(1), conditions)
        x = x.permute(2, 0, 1).reshape(-1, num, *plane)  # (features, B, rows, columns)
        hidden = None
        for layer in self.layers:
            states = layer.sweeps(layer.inputs(x, hidden))
            hidden = layer.join(hidden, states)
        assert hidden is not None
        parameters = (self.readout @ hidden.flatten(1)).unflatten(1, (num, -1)).permute(1, 2, 0)
        return parameters + self.biases(num, conditions).unsqueeze(1)

    def incremental(
        self, num: int, conditions: Conditions | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """Yield the parameters site by site; all sites together cost about one pass."""
        constant = self.biases(num, conditions)
        running = [RunningSweeps(layer.sweeps, num, self.plane) for layer in self.layers]
        for _ in range(self.num_sites):
            hidden: Tensor | None = None
            below: list[Tensor | None] = []
            for layer, sweeps in zip(self.layers, running, strict=True):
                below.append(hidden)
                hidden = layer.join(hidden, sweeps.states())
            assert hidden is not None
            values = yield ((self.readout @ hidden).T + constant).unsqueeze(1)
            x = self.features(values[:, 0], conditions).T
            for layer, sweeps, units in zip(self.layers, running, below, strict=True):
                sweeps.push(layer.inputs(x, units))


class Layer(nn.Module):
    """Layer of gated units over the states of sweeps; units are the first axis of all arrays.

    Args:
        num_features: Number of features per site.
        below: Number of hidden units of the layer below; 0 for the first layer.
        units: Number of hidden units.
        sweeps: Sweeps that make the states.
    """

    def __init__(self, num_features: int, below: int, units: int, sweeps: "Sweeps") -> None:
        super().__init__()
        self.units, self.sweeps = units, sweeps
        self.input = nn.Linear(num_features + below, sweeps.total)
        # The outputs are a linear part, a nonlinear part and its gate.
        self.mix = nn.Linear(sweeps.total, 3 * units)
        self.below = nn.Linear(below, 2 * units, bias=False) if below else None

    def inputs(self, x: Tensor, hidden: Tensor | None) -> Tensor:
        """Return the inputs of the sweeps, z + tanh z."""
        z = _apply(self.input, x if hidden is None else torch.cat([x, hidden]))
        return z + torch.tanh(z)

    def join(self, hidden: Tensor | None, states: Tensor) -> Tensor:
        """Return the hidden units, from the states and the hidden units of the layer below."""
        linear, *gated = _apply(self.mix, states).split(self.units)
        if self.below is not None and hidden is not None:
            below = _apply(self.below, hidden).split(self.units)
            gated = [a + b for a, b in zip(gated, below, strict=True)]
            linear = linear + hidden
        return linear + torch.tanh(gated[0]) * torch.sigmoid(gated[1])


def _apply(linear: nn.Linear, x: Tensor) -> Tensor:
    """Return W x + b for x `(units, ...)`, as one product."""
    y = linear.weight @ x.flatten(1)
    if linear.bias is not None:
        y = y + linear.bias.unsqueeze(1)
    return y.unflatten(1, x.shape[1:])


class Sweeps(nn.Module):
    """Sums over the preceding sites, with weights that are exponential in the distance.

    Two sweeps run along the row of a site, one forwards and one backwards across the boundary:

        s_c = λ s_{c−1} + (1 − λ²) u_{c−1}

    If there are several rows, four more sweeps first run around whole rows, forwards or backwards, as
    v = (1 − λ²) Σ_d λ^d u at distance d. They then run down the columns, or up across the boundary:

        g_r = μ g_{r−1} + (1 − μ²) v_{r−1}

    Each state has its own decays λ and μ between −1 and 1.

    Args:
        states: Number of states of each sweep.
        rows: Whether there are several rows.
    """

    def __init__(self, states: int, rows: bool) -> None:
        super().__init__()
        self.num, self.rows, self.total = states, rows, (6 if rows else 2) * states
        spread = torch.linspace(-0.5, 3.0, states) if states > 1 else torch.zeros(1)
        self.along = nn.Parameter(spread.repeat(self.total // states, 1))
        if rows:
            # Shifted, so that λ and μ take different pairs of values.
            self.down = nn.Parameter(torch.stack([spread.roll(shift) for shift in range(4)]))

    def row_kernels(self, columns: int) -> Tensor:
        """Return the weights within a row `(sweeps, states, columns, columns)`."""
        c = torch.arange(columns, device=self.along.device)
        ahead = c[:, None] - c  # from c' to c
        around = [ahead % columns, -ahead % columns]
        exponents = torch.stack([ahead - 1, columns - ahead - 1, *(around + around) * self.rows])
        allowed = torch.ones_like(exponents, dtype=torch.bool)
        allowed[:2] = ahead > 0
        return powers(self.along, exponents, allowed)

    def column_kernels(self, rows: int) -> Tensor:
        """Return the weights between rows `(4, states, rows, rows)`."""
        r = torch.arange(rows, device=self.down.device)
        ahead = r[:, None] - r
        across = rows - ahead - 1
        exponents = torch.stack([ahead - 1, ahead - 1, across, across])
        return powers(self.down, exponents, ahead > 0)

    def forward(self, u: Tensor) -> Tensor:
        """Return the states of all sites, of the shape of u `(sweeps × states, B, rows, columns)`."""
        num, rows, columns = u.shape[1:]
        along = u.flatten(1, 2) @ self.row_kernels(columns).flatten(0, 1).mT
        along = along.unflatten(1, (num, rows))
        if not self.rows:
            return along
        row, whole_rows = along.split([2 * self.num, 4 * self.num])
        down = self.column_kernels(rows).flatten(0, 1)
        columnwise = whole_rows.transpose(2, 3).flatten(1, 2) @ down.mT
        return torch.cat([row, columnwise.unflatten(1, (num, columns)).transpose(2, 3)])


def powers(raw: Tensor, exponents: Tensor, allowed: Tensor) -> Tensor:
    """Return (1 − λ²) λ^n where `allowed` and 0 elsewhere, with λ = tanh `raw` `(sweeps, states)`."""
    decay = raw.tanh()[..., None, None]
    exponents = exponents.where(allowed, 0).unsqueeze(1)
    mask = allowed.expand(len(raw), *allowed.shape[-2:]).unsqueeze(1)
    return (1 - decay.square()) * decay**exponents * mask


class RunningSweeps:
    """`Sweeps` while the sites arrive in order.

    Args:
        sweeps: Module with the decays.
        num: Number of configurations B.
        plane: Numbers of rows and columns.
    """

    def __init__(self, sweeps: Sweeps, num: int, plane: tuple[int, int]) -> None:
        self.plane, self.site = plane, 0
        self.along = sweeps.along.tanh().unsqueeze(2)  # (sweeps, states, 1)
        self.ahead, self.across = self.along.new_zeros(2, sweeps.num, num)
        self.several = sweeps.rows
        if self.several:
            columns = plane[1]
            self.kernels = sweeps.row_kernels(columns)[2:].flatten(0, 1)
            self.down = sweeps.down.tanh()[..., None, None].unflatten(0, (2, 2)).flatten(1, 2)
            self.row = self.along.new_empty(4 * sweeps.num, columns, num)
            self.above, self.below = self.along.new_zeros(2, 2 * sweeps.num, columns, num)

    def states(self) -> Tensor:
        """Return the states of the next site `(sweeps × states, B)`."""
        (row, column), (rows, columns) = divmod(self.site, self.plane[1]), self.plane
        states = [self.ahead, self.across * self.along[1] ** (columns - column - 1)]
        if self.several:
            across = self.below[:, column] * self.down[1, :, 0] ** (rows - row - 1)
            states += [self.above[:, column], across]
        return torch.cat(states)

    def push(self, u: Tensor) -> None:
        """Add the inputs of the next site `(sweeps × states, B)`."""
        (row, column), (rows, columns) = divmod(self.site, self.plane[1]), self.plane
        ahead, across, *whole = u.unflatten(0, self.along.shape[:2])
        forward, backward = self.along[:2]
        self.ahead = forward * self.ahead + (1 - forward.square()) * ahead
        self.across = self.across + backward**column * (1 - backward.square()) * across
        self.site += 1
        if not self.several:
            return
        self.row[:, column] = torch.cat(whole)
        if column < columns - 1 or row == rows - 1:
            return
        rings = (self.kernels @ self.row).unflatten(0, (2, -1)) * (1 - self.down.square())
        self.above = self.down[0] * self.above + rings[0]
        self.below = self.below + self.down[1] ** row * rings[1]
        self.ahead, self.across = torch.zeros_like(self.ahead), torch.zeros_like(self.across)
