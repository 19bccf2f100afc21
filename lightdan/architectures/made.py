"""MADE: masked dense layers, the hidden units grouped by site."""

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor, nn

from lightdan.architectures.base import Architecture
from lightdan.architectures.triangular import TriangularLinear, TriangularWalkers
from lightdan.architectures.walkers import Walkers
from lightdan.types import Configurations, PerConfiguration


class MADE(Architecture):
    """Masked dense layers of `width` tanh units a site; those of site i see the sites j < i only.

    a_i = b_i + V_i h_i^d + Σ_{j<i} S_ij f(s_j) with h^1 = tanh(W_1 f(s) + c_1), W_1 strictly lower
    triangular in sites, and h^k = h^{k−1} + tanh(W_k h^{k−1} + c_k), W_k lower triangular. With
    `residual` off the linear term S and the sums over layers are left out. S starts at zero, V small:
    training begins near the uniform distribution. (M. Germain et al., arXiv:1502.03509.)

    Args:
        width: Hidden units a site in each layer.
        depth: Hidden layers d.
        residual: Whether there are the linear term and the sums over layers.
        kwargs: Of `Architecture`.

    Raises:
        ValueError: width or depth below 1.

    Example:
        >>> model = MADE(lattice_shape=(4, 4), width=2)
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 4, 4)
    """

    sees_levels = True

    def __init__(self, width: int = 4, depth: int = 1, residual: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if width < 1 or depth < 1:
            raise ValueError(
                f"MADE needs width ≥ 1 and depth ≥ 1, not width = {width}, depth = {depth}: without a "
                "hidden layer it is the architecture Triangular."
            )
        sites, outputs = self.num_sites, self.conditional.num_parameters
        self.width, self.residual = width, residual
        widths = [self.num_features] + [width] * depth
        self.layers: list[TriangularLinear] = nn.ModuleList(  # type: ignore[assignment]
            TriangularLinear(self.ordering.level, widths[k], width, strict=k == 0, scale=0.3)
            for k in range(depth)
        )
        self.readout = nn.Parameter(0.3 * torch.randn(sites, outputs, width) / width**0.5)
        self.add_bias(sites, outputs)
        self.linear = None
        if residual:
            self.linear = TriangularLinear(
                self.ordering.level, self.num_features, outputs, strict=True, bias=False, scale=0.0
            )

    def forward(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> Tensor:
        """Parameters of all sites `(B, sites, parameters)`."""
        x = self.features(configurations.flatten(1), temperature).flatten(1)
        parameters = self.biases(len(x), temperature)
        if self.linear is not None:
            parameters = parameters + self.linear(x).unflatten(1, (self.num_sites, -1))
        hidden = x
        for layer in self.layers:
            hidden = self.join(hidden, layer(hidden), layer.strict)
        # A sum of products, for a product of many tiny matrices takes half of the time of a step.
        hidden = hidden.unflatten(1, (self.num_sites, 1, self.width))
        return parameters + (self.readout * hidden).sum(-1)

    def incremental(
        self, num: int, temperature: PerConfiguration | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """The same level by level, at the cost of about one pass in all."""
        constant = self.biases(num, temperature)
        products = [layer.running(num) for layer in self.layers]
        linear = self.linear.running(num) if self.linear is not None else None
        start = 0
        for size in self.ordering.levels:
            level = slice(start, start + size)
            parameters = constant[:, level]
            if linear:
                parameters = parameters + linear.next(size).T.unflatten(1, (size, -1))
            hidden: Tensor | None = None
            for layer, product in zip(self.layers, products, strict=True):
                if hidden is not None:
                    product.push(hidden)
                hidden = self.join(hidden, product.next(size), layer.strict)
            assert hidden is not None
            units = hidden.unflatten(0, (size, self.width))
            values = yield parameters + (self.readout[level] @ units).permute(2, 0, 1)
            x = self.features(values, temperature).flatten(1).T
            for seen in (linear, *products[:1]):
                if seen is not None:
                    seen.push(x)
            start += size

    def bare_walkers(
        self, arranged: Configurations, temperature: PerConfiguration | None = None
    ) -> Walkers:
        """Those that keep the sums of every layer."""
        kind = Walkers if self.reference_frame else MADEWalkers
        return kind(self, arranged, temperature)

    def join(self, hidden: Tensor | None, summed: Tensor, first: bool) -> Tensor:
        """The next layer of hidden units."""
        activated = torch.tanh(summed)
        if hidden is None or first or not self.residual:
            return activated
        return hidden + activated


class MADEWalkers(TriangularWalkers):
    """Changes one site at the cost of the units of the sites after it, the first layer not passed again.

    A change δ of the features of site j adds W_ij δ to the sums of the first layer of i > j, and what
    the changed units give to those of the next ones. The units lie along the rows, so that those of the
    later sites are one contiguous slice.
    """

    model: MADE

    @torch.no_grad()
    def evaluate(self, values: Tensor) -> PerConfiguration:
        """Ln p of site values `(N, B)`, and all sums that lead to it."""
        model = self.model
        self.weights = [layer.weight * layer.mask for layer in model.layers]
        x = model.features(values.T, self.temperature).flatten(1).T
        constant = model.biases(values.shape[1], self.temperature)
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
        self.kept = [self.terms, self.parameters, *self.sums, *self.hidden]
        return self.terms.sum(0)

    @torch.no_grad()
    def propose(self, site: int, values: Tensor) -> PerConfiguration:
        """Ln p `(B,)` if this site had these values `(B,)`."""
        model, first = self.model, site + 1
        old, new = (model.features(v, self.temperature).T for v in (self.values[site], values))
        change = new - old
        own = slice(site * len(change), first * len(change))
        later = slice(first * model.width, None)
        parameters = self.parameters[first:]
        if model.linear is not None:
            rows = slice(first * parameters.shape[1], None)
            parameters = parameters + (self.linear[rows, own] @ change).reshape(parameters.shape)
        sums, hidden = [], []
        units = change
        for layer, weight, z, h in zip(model.layers, self.weights, self.sums, self.hidden, strict=True):
            seen = own if layer.strict else later
            z = torch.addmm(z[later], weight[later, seen], change)
            units = model.join(units, z, layer.strict)
            change = units - h[later]
            sums.append(z)
            hidden.append(units)
        per_site = change.reshape(len(parameters), model.width, len(values))
        parameters = torch.baddbmm(parameters, model.readout[first:], per_site)
        log_prob = self.propose_parameters(site, values, parameters)
        self.new += [*sums, *hidden]
        return log_prob
