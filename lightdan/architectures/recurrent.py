"""Recurrent: linear recurrences along the axes of the torus, with gated units."""

import math
from collections.abc import Generator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightdan.architectures.base import Architecture
from lightdan.architectures.sweeps import RunningSweeps, Sweeps
from lightdan.types import Conditions, Configurations


class Recurrent(Architecture):
    """Recurrences along the axes, whose weights depend neither on place nor on lattice size.

        a_i = b + V h_i^d
        h^k = h^{k−1} + A s + c + tanh(P [s, h^{k−1}]) σ(G [s, h^{k−1}]),    h^0 = 0
        s = Sweeps(z + tanh z),    z = U [f, h^{k−1}] + u_0

    Here f are the features of the sites, and P and G are affine. The states s of `Sweeps` sum over the
    preceding sites at any distance and across the boundary, so that the torus closes. Swept along, the
    constant u_0 tells the distances to the first and last slab of each axis.

    With several sites in a cell, the states sum over the preceding cells. Within its cell, a site sees
    f of the sites before it by A, P and G, and h^{k−1} of them and of itself by P and G. All weights
    depend on the places of both sites in their cells.

    A chain is one row. In other orderings than raster the rows are consecutive stretches of the
    ordering.

    Args:
        units: Number of hidden units h per site.
        states: Number of states of each sweep; a chain has two sweeps, a plane six, a cube fourteen.
        depth: Number d of layers.
        kwargs: Arguments of `Architecture`.

    Raises:
        ValueError: units, states or depth is below 1, or there are more than three axes of cells.

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
        self.cells, self.basis = self.torus(3)
        self.layers: list[Layer] = nn.ModuleList(  # type: ignore[assignment]
            Layer(self.num_features, units if k else 0, units, Sweeps(states, self.cells), self.basis)
            for k in range(depth)
        )
        self.readout = nn.Parameter(0.3 * torch.randn(self.basis * outputs, units) / units**0.5)
        self.add_bias(*[self.basis] * (self.basis > 1), outputs)

    def forward(self, configurations: Configurations, conditions: Conditions | None = None) -> Tensor:
        """Return the parameters of all sites `(B, sites, parameters)`."""
        num = len(configurations)
        x = self.features(configurations.flatten(1), conditions)
        x = x.reshape(num, math.prod(self.cells), -1).permute(2, 0, 1)
        x = x.reshape(-1, num, *self.cells)  # (sites of a cell × features, B, *cells)
        hidden = None
        for layer in self.layers:
            states = layer.sweeps(layer.inputs(x, hidden))
            hidden = layer.join(layer.weights(), x, hidden, states)
        assert hidden is not None
        readout = self.readout.unflatten(0, (self.basis, -1))
        parameters = readout @ hidden.flatten(1).unflatten(0, (self.basis, -1))
        parameters = parameters.unflatten(2, (num, -1)).permute(2, 3, 0, 1)
        constant = self.biases(num, conditions).reshape(num, 1, self.basis, -1)
        return (parameters + constant).flatten(1, 2)

    def incremental(
        self, num: int, conditions: Conditions | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """Yield the parameters site by site; all sites together cost about one pass."""
        constant = self.biases(num, conditions).reshape(num, self.basis, -1)
        readout = self.readout.unflatten(0, (self.basis, -1))
        running = [RunningSweeps(layer.sweeps, num, self.cells) for layer in self.layers]
        weights = [[layer.weights(own) for layer in self.layers] for own in range(self.basis)]
        for _ in range(math.prod(self.cells)):
            states = [sweeps.states() for sweeps in running]
            x = readout.new_zeros(self.basis, self.num_features, num)
            hidden = [x.new_zeros(self.basis, layer.units, num) for layer in self.layers]
            below = [None, *(units.flatten(0, 1) for units in hidden)]
            for own in range(self.basis):
                for k, layer in enumerate(self.layers):
                    now = layer.join(weights[own][k], x.flatten(0, 1), below[k], states[k], own)
                    hidden[k][own] = now
                values = yield ((readout[own] @ now).T + constant[:, own]).unsqueeze(1)
                x[own] = self.features(values[:, 0], conditions).T
            for k, layer in enumerate(self.layers):
                running[k].push(layer.inputs(x.flatten(0, 1), below[k]))


class Weights(NamedTuple):
    """Weights of units: of the states with a bias, and of the units and features of the cell."""

    mix: Tensor
    bias: Tensor
    below: Tensor | None
    within: Tensor | None


class Layer(nn.Module):
    """Layer of gated units over the states of sweeps; units are the first axis of all arrays.

    The units of a cell are those of its sites, one after the other.

    Args:
        num_features: Number of features per site.
        below: Number of hidden units per site of the layer below; 0 for the first layer.
        units: Number of hidden units per site.
        sweeps: Sweeps that make the states.
        basis: Number of sites per cell.
    """

    def __init__(
        self, num_features: int, below: int, units: int, sweeps: Sweeps, basis: int = 1
    ) -> None:
        super().__init__()
        self.units, self.sweeps, self.basis = units, sweeps, basis
        self.input = nn.Linear(basis * (num_features + below), sweeps.total)
        # The outputs are a linear part, a nonlinear part and its gate.
        self.mix = nn.Linear(sweeps.total, 3 * basis * units)
        self.below = nn.Linear(basis * below, 2 * basis * units, bias=False) if below else None
        self.within: nn.Linear | None = None
        if basis > 1:
            self.within = nn.Linear(basis * num_features, 3 * basis * units, bias=False)

    def inputs(self, x: Tensor, below: Tensor | None) -> Tensor:
        """Return the inputs of the sweeps, z + tanh z."""
        z = product(self.input.weight, x if below is None else torch.cat([x, below]), self.input.bias)
        return z + torch.tanh(z)

    def weights(self, own: int | None = None) -> Weights:
        """Return the weights of the units of a site of the cell, or of all."""

        def rows(weight: Tensor, before: int | None = None) -> Tensor:
            """Return the rows, without sites from the own one, or one before it, on."""
            if self.basis == 1:
                return weight
            blocks = weight.unflatten(0, (-1, self.basis, self.units))
            if before is not None:
                seen = torch.ones(self.basis, self.basis, device=weight.device).tril(-before)
                inputs = blocks.unflatten(-1, (self.basis, -1))
                blocks = (inputs * seen[:, None, :, None]).flatten(-2)
            return (blocks if own is None else blocks[:, own]).flatten(0, -2)

        below = None if self.below is None else rows(self.below.weight, before=0)
        within = None if self.within is None else rows(self.within.weight, before=1)
        bias = rows(self.mix.bias.unsqueeze(1)).squeeze(1)
        return Weights(rows(self.mix.weight), bias, below, within)

    def join(
        self, weights: Weights, x: Tensor, below: Tensor | None, states: Tensor, own: int | None = None
    ) -> Tensor:
        """Return the hidden units of a site of the cell, or of all.

        Args:
            weights: Weights of the same sites.
            x: Features of the cell.
            below: Hidden units of the cell in the layer below.
            states: States of the sweeps.
            own: Number of the site.
        """
        units = product(weights.mix, states, weights.bias)
        if weights.within is not None:
            units = units + product(weights.within, x)
        linear, *gated = units.chunk(3)
        if weights.below is not None and below is not None:
            parts = product(weights.below, below).chunk(2)
            gated = [a + b for a, b in zip(gated, parts, strict=True)]
            linear = linear + (below if own is None else below.unflatten(0, (self.basis, -1))[own])
        return linear + torch.tanh(gated[0]) * torch.sigmoid(gated[1])


def product(weight: Tensor, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return W x + b for x `(units, ...)`, as one product."""
    y = weight @ x.flatten(1)
    if bias is not None:
        y = y + bias.unsqueeze(1)
    return y.unflatten(1, x.shape[1:])
