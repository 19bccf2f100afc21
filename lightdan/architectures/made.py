"""MADE: masked dense layers whose hidden units belong to sites."""

from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor, nn

from lightdan.architectures.base import Architecture
from lightdan.architectures.triangular import TriangularLinear, TriangularWalkers
from lightdan.architectures.walkers import Walkers
from lightdan.types import Conditions, Configurations, PerConfiguration


class MADE(Architecture):
    """Masked dense layers, in which the units of site i see the sites j < i only.

        a_i = b_i + V_i h_i^d + Σ_{j<i} S_ij f(s_j)
        h^1 = tanh(W_1 f(s) + c_1),    h^k = h^{k−1} + tanh(W_k h^{k−1} + c_k)

    In blocks of sites, W_1 is strictly lower triangular and the other W_k are lower triangular. Without
    `residual` there is no linear term S, and h^k = tanh(W_k h^{k−1} + c_k). S starts at zero and V
    small, so that training begins near the uniform distribution.

    Args:
        width: Number of hidden units per site in each layer.
        depth: Number d of hidden layers, at least 1; without any the network is `Triangular`.
        residual: Whether to add the linear term S and the previous layer.
        kwargs: Arguments of `Architecture`.

    Raises:
        ValueError: width or depth is below 1.

    References:
        M. Germain et al., MADE: Masked Autoencoder for Distribution Estimation, arXiv:1502.03509.

    Example:
        >>> model = MADE(lattice_shape=(4, 4), width=2)
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 4, 4)
    """

    sees_stages = True

    def __init__(self, width: int = 4, depth: int = 1, residual: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check_positive(width=width, depth=depth)
        sites, outputs = self.num_sites, self.conditional.num_parameters
        self.width, self.residual = width, residual
        widths = [self.num_features] + [width] * depth
        self.layers: list[TriangularLinear] = nn.ModuleList(  # type: ignore[assignment]
            TriangularLinear(self.ordering.stage, widths[k], width, strict=k == 0, scale=0.3)
            for k in range(depth)
        )
        self.readout = nn.Parameter(0.3 * torch.randn(sites, outputs, width) / width**0.5)
        self.add_bias(sites, outputs)
        self.linear = None
        if residual:
            self.linear = TriangularLinear(
                self.ordering.stage, self.num_features, outputs, strict=True, bias=False, scale=0.0
            )

    def forward(self, configurations: Configurations, conditions: Conditions | None = None) -> Tensor:
        """Return the parameters of all sites `(B, sites, parameters)`."""
        x = self.features(configurations.flatten(1), conditions).flatten(1)
        parameters = self.biases(len(x), conditions)
        if self.linear is not None:
            parameters = parameters + self.linear(x).unflatten(1, (self.num_sites, -1))
        hidden = x
        for layer in self.layers:
            hidden = self.join(hidden, layer(hidden), layer.strict)
        # Sum explicitly, because a batched product of tiny matrices takes half the time of a step.
        hidden = hidden.unflatten(1, (self.num_sites, 1, self.width))
        return parameters + (self.readout * hidden).sum(-1)

    def incremental(
        self, num: int, conditions: Conditions | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """Yield the parameters stage by stage; all stages together cost about one pass."""
        constant = self.biases(num, conditions)
        products = [layer.running(num) for layer in self.layers]
        linear = self.linear.running(num) if self.linear is not None else None
        start = 0
        for size in self.ordering.stages:
            stage = slice(start, start + size)
            parameters = constant[:, stage]
            if linear is not None:
                parameters = parameters + linear.next(size).T.unflatten(1, (size, -1))
            hidden: Tensor | None = None
            for layer, product in zip(self.layers, products, strict=True):
                if hidden is not None:
                    product.push(hidden)
                hidden = self.join(hidden, product.next(size), layer.strict)
            assert hidden is not None
            units = hidden.unflatten(0, (size, self.width))
            values = yield parameters + (self.readout[stage] @ units).permute(2, 0, 1)
            x = self.features(values, conditions).flatten(1).T
            products[0].push(x)
            if linear is not None:
                linear.push(x)
            start += size

    def at_place(self, place: int) -> Callable[[Configurations, Conditions | None], Tensor]:
        """Return a function for the parameters of one site; with one layer it has only its own units."""
        if len(self.layers) > 1:
            return super().at_place(place)
        linear = None if self.linear is None else self.linear.of_site(place)
        units, readout = self.layers[0].of_site(place), self.readout[place].T

        def parameters(configurations: Configurations, conditions: Conditions | None) -> Tensor:
            x = self.features(configurations.flatten(1)[:, :place], conditions).flatten(1)
            hidden = self.join(None, units(x), True)
            constant = self.biases(len(x), conditions)[:, place] + hidden @ readout
            return constant if linear is None else constant + linear(x)

        return parameters

    def bare_walkers(self, arranged: Configurations, conditions: Conditions | None = None) -> Walkers:
        """Return walkers that keep the sums of every layer."""
        kind = Walkers if self.reference_frame else MADEWalkers
        return kind(self, arranged, conditions)

    def join(self, hidden: Tensor | None, summed: Tensor, first: bool) -> Tensor:
        """Return the next layer of hidden units."""
        activated = torch.tanh(summed)
        if hidden is None or first or not self.residual:
            return activated
        return hidden + activated


class MADEWalkers(TriangularWalkers):
    """Walkers of MADE, which recompute only the units of later sites.

    A change δ of the features of site j adds W_ij δ to the sums of site i > j in the first layer. The
    changed units then change the sums of the next layers. Units are rows of arrays, so that later sites
    are one contiguous slice.
    """

    model: MADE

    @torch.no_grad()
    def evaluate(self, values: Tensor) -> PerConfiguration:
        """Return ln p `(B,)` of site values `(N, B)`, and keep the sums of all layers."""
        model = self.model
        self.weights = [layer.weight * layer.mask for layer in model.layers]
        x = model.features(values.T, self.conditions).flatten(1).T
        constant = model.biases(values.shape[1], self.conditions)
        self.parameters = constant.permute(1, 2, 0).contiguous()  # (N, parameters, B)
        if model.linear is not None:
            self.linear = model.linear.weight * model.linear.mask
            self.parameters += (self.linear @ x).reshape(self.parameters.shape)
        self.sums, self.hidden = [], []
        for layer, weight in zip(model.layers, self.weights, strict=True):
            assert layer.bias is not None
            z = torch.addmm(layer.bias.unsqueeze(1), weight, x)
            x = model.join(x, z, layer.strict)
            self.sums.append(z)
            self.hidden.append(x)
        self.parameters += model.readout @ x.unflatten(0, (model.num_sites, -1))
        self.terms = model.site_log_prob(values, self.parameters.mT)
        self.cached = [self.terms, self.parameters, *self.sums, *self.hidden]
        return self.terms.sum(0)

    @torch.no_grad()
    def propose(self, site: int, values: Tensor) -> PerConfiguration:
        """Return ln p `(B,)` with other values `(B,)` at this site."""
        model, first = self.model, site + 1
        old, new = (model.features(v, self.conditions).T for v in (self.values[site], values))
        change = new - old
        here = slice(site * len(change), first * len(change))
        later = slice(first * model.width, None)
        parameters = self.parameters[first:]
        if model.linear is not None:
            rows = slice(first * parameters.shape[1], None)
            parameters = parameters + (self.linear[rows, here] @ change).reshape(parameters.shape)
        sums, hidden = [], []
        units = change
        for layer, weight, z, h in zip(model.layers, self.weights, self.sums, self.hidden, strict=True):
            columns = here if layer.strict else later
            z = torch.addmm(z[later], weight[later, columns], change)
            units = model.join(units, z, layer.strict)
            change = units - h[later]
            sums.append(z)
            hidden.append(units)
        per_site = change.reshape(len(parameters), model.width, len(values))
        parameters = torch.baddbmm(parameters, model.readout[first:], per_site)
        log_prob = self.propose_parameters(site, values, parameters)
        self.updates += [*sums, *hidden]
        return log_prob
