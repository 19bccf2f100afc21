"""PixelCNN: masked convolutions with the same weights at every site of the torus."""

import math
from collections.abc import Callable, Generator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdan.architectures.base import Architecture
from lightdan.architectures.convolutions import (
    ByPlace,
    CausalConv,
    Closing,
    by_site,
    dense,
    reach,
)
from lightdan.architectures.running_convolutions import RunningClosing, RunningConv
from lightdan.types import Conditions, Configurations


class PixelCNN(Architecture):
    """Convolutions on the torus, in which each site sees the preceding sites in raster order.

        a_i = b_i + V_i h_i^d
        h^1 = z + tanh z,    z_i = c_i + Σ_{j<i} W_{i−j} f(s_j) + closing_i
        h_i^k = h_i^{k−1} + tanh(c_i^k + Σ_{j≤i} W^k_{i−j} h_j^{k−1})

    The weights W depend only on the displacement i − j of cells on the torus and, if a cell has several
    sites, on their places in it. The sites of a cell follow each other. The first kernel is as large as
    the lattice, so that a site sees all preceding sites in one step. The other kernels have `kernel`
    cells along each axis. Across the boundary, the last slabs of each axis see the first ones.

    The first sites know few of their neighbours, the last sites all. The biases b, c and the readout V
    therefore depend on the place; c and V are sums of one part for each axis, and of a common one.
    `Closing` lets each site see the first sites of the lines through it by weights of its own, because
    on a ring p(x_i | x_<i) depends on x_0 at every i.

    A chain is one row. V starts small, so that training begins near the uniform distribution. In other
    orderings than raster the rows are consecutive stretches of the ordering.

    Args:
        channels: Number of hidden units per site in each layer.
        depth: Number d of hidden layers.
        kernel: Side of the kernels after the first in cells, odd; clipped to the lattice.
        kwargs: Arguments of `Architecture`.

    Raises:
        ValueError: channels, depth or kernel is below 1, kernel is even, or there are more than three
            axes of cells.

    References:
        A. van den Oord et al., Pixel Recurrent Neural Networks, arXiv:1601.06759.
        A. van den Oord et al., Conditional Image Generation with PixelCNN Decoders, arXiv:1606.05328.

    Example:
        >>> model = PixelCNN(lattice_shape=(4, 4), channels=2)
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 4, 4)
    """

    def __init__(self, channels: int = 16, depth: int = 2, kernel: int = 7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check_positive(channels=channels, depth=depth, kernel=kernel)
        if kernel % 2 == 0:
            raise ValueError(f"PixelCNN needs an odd kernel, not kernel = {kernel}.")
        outputs = self.conditional.num_parameters
        self.cells, basis = self.torus(3)
        whole = [(side - 1, 0) for side in self.cells]
        small = [reach(kernel, side) for side in self.cells]
        self.first = CausalConv(self.cells, self.num_features, channels, whole, basis=basis, strict=True)
        self.closing = Closing(self.cells, self.num_features, channels, basis)
        self.layers: list[CausalConv] = nn.ModuleList(  # type: ignore[assignment]
            CausalConv(self.cells, channels, channels, small, basis=basis) for _ in range(depth - 1)
        )
        self.readout = ByPlace((basis * outputs, channels), self.cells, scale=0.3 / channels**0.5)
        self.add_bias(outputs, *self.cells, *[basis] * (basis > 1))

    def forward(self, configurations: Configurations, conditions: Conditions | None = None) -> Tensor:
        """Return the parameters of all sites `(B, sites, parameters)`."""
        x = self.features(configurations.flatten(1), conditions)
        x = x.reshape(len(x), math.prod(self.cells), -1).mT.unflatten(2, self.cells)
        # (B, sites of a cell × features, *cells); below, channels take the place of features
        hidden = self.activate(self.first(x) + self.closing(x))
        # With the channels innermost, a convolution and its gradient take 0.6 of the time.
        innermost = torch.channels_last if hidden.ndim == 4 else torch.channels_last_3d
        hidden = hidden.contiguous(memory_format=innermost)
        for layer in self.layers:
            hidden = hidden + torch.tanh(layer(hidden))
        basis = self.first.basis
        readout, hidden = self.readout().unflatten(0, (basis, -1)), hidden.unflatten(1, (basis, -1))
        parameters = torch.einsum("spc...,bsc...->bsp...", readout, hidden)
        parameters = parameters.movedim(1, -1)
        return (parameters.flatten(2) + self.biases(len(x), conditions).flatten(2)).mT

    def incremental(
        self, num: int, conditions: Conditions | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """Yield the parameters site by site; all sites together cost about one pass."""
        constant = self.biases(num, conditions).flatten(2).permute(2, 1, 0)
        readout = self.of_sites(self.readout)  # (sites, parameters, channels)
        first, *products = [RunningConv(layer, num) for layer in (self.first, *self.layers)]
        closing = RunningClosing(self.closing, num)
        for site in range(self.num_sites):
            hidden = self.activate(first.at(site) + closing.at(site))  # (channels, B)
            for product in products:
                product.push(site, hidden)
                hidden = hidden + torch.tanh(product.at(site))
            values = yield (constant[site] + readout[site] @ hidden).T.unsqueeze(1)
            x = self.features(values[:, 0], conditions).T
            first.push(site, x)
            closing.push(site, x)

    def at_place(self, place: int) -> Callable[[Configurations, Conditions | None], Tensor]:
        """Return a function for the parameters of one site, from the units that it sees."""
        levels = [[place]]
        for layer in reversed(self.layers):
            levels.insert(0, sorted({j for site in levels[0] for j in layer.taps(site)[0]}))
        layers = [self.first, *self.layers]
        biases = [self.of_sites(x.bias)[at].flatten() for x, at in zip(layers, levels, strict=True)]
        first = dense([self.first, self.closing], levels[0], range(place)), biases[0]
        deeper = []
        for layer, bias, (seen, at) in zip(self.layers, biases[1:], pairwise(levels), strict=True):
            own = torch.tensor([seen.index(site) for site in at], device=bias.device)
            deeper.append((dense([layer], at, seen), bias, own))
        readout = self.of_sites(self.readout)[place]

        def parameters(configurations: Configurations, conditions: Conditions | None) -> Tensor:
            x = self.features(configurations.flatten(1)[:, :place], conditions).flatten(1)
            hidden = self.activate(F.linear(x, *first))
            for weight, bias, own in deeper:
                kept = hidden.unflatten(1, (-1, readout.shape[1]))[:, own].flatten(1)
                hidden = kept + torch.tanh(F.linear(hidden, weight, bias))
            constant = self.biases(len(x), conditions).flatten(2)[:, :, place]
            return constant + hidden @ readout.T

        return parameters

    def of_sites(self, weights: ByPlace) -> Tensor:
        """Return the weights of all sites `(sites, *shape of one site)`."""
        return by_site(weights(), self.first.basis, len(self.cells))

    def activate(self, z: Tensor) -> Tensor:
        """Return z + tanh z, which keeps a part that is linear in the sites."""
        return z + torch.tanh(z)
