"""MADE: masked dense layers, the hidden units grouped by site."""

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdan.architectures.base import Architecture
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
        depth: Hidden layers d; 0 leaves the linear term, logistic regression for spins.
        residual: Whether there are the linear term and the sums over layers.
        kwargs: Of `Architecture`.

    Raises:
        ValueError: width below 1, depth below 0, or depth 0 without the linear term.

    Example:
        >>> model = MADE(lattice_shape=(4, 4), width=2)
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 4, 4)
    """

    sees_levels = True

    def __init__(self, width: int = 4, depth: int = 1, residual: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if width < 1 or depth < 0 or (depth == 0 and not residual):
            raise ValueError(
                f"MADE needs width ≥ 1 and depth ≥ 1 (depth 0 only with residual), not "
                f"width = {width}, depth = {depth}, residual = {residual}."
            )
        sites, outputs = self.num_sites, self.conditional.num_parameters
        self.width, self.residual = width, residual
        widths = [self.num_features] + [width] * depth
        self.layers: list[TriangularLinear] = nn.ModuleList(  # type: ignore[assignment]
            TriangularLinear(self.ordering.level, widths[k], width, strict=k == 0, scale=0.3)
            for k in range(depth)
        )
        if depth:
            self.readout = nn.Parameter(0.3 * torch.randn(sites, outputs, width) / width**0.5)
        self.bias = nn.Parameter(torch.zeros(sites, outputs))
        self.linear = None
        if residual:
            self.linear = TriangularLinear(
                self.ordering.level, self.num_features, outputs, strict=True, bias=False, scale=0.0
            )
        if self.temperature_input:
            self.bias_slope = nn.Parameter(torch.zeros(sites, outputs))

    def forward(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> Tensor:
        """Parameters of all sites `(B, sites, parameters)`."""
        x = self.features(configurations.flatten(1), temperature).flatten(1)
        parameters = self.outputs_without_inputs(len(x), temperature)
        if self.linear is not None:
            parameters = parameters + self.linear(x).unflatten(1, (self.num_sites, -1))
        hidden = x
        for layer in self.layers:
            hidden = self.join(hidden, layer(hidden), layer.strict)
        if len(self.layers):
            # A sum of products, for a product of many tiny matrices takes half of the time of a step.
            hidden = hidden.unflatten(1, (self.num_sites, 1, self.width))
            parameters = parameters + (self.readout * hidden).sum(-1)
        return parameters

    def incremental(
        self, num: int, temperature: PerConfiguration | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """The same level by level, at the cost of about one pass in all."""
        constant = self.outputs_without_inputs(num, temperature)
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
            if hidden is not None:
                units = hidden.unflatten(0, (size, self.width))
                parameters = parameters + (self.readout[level] @ units).permute(2, 0, 1)
            values = yield parameters
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

    def outputs_without_inputs(self, num: int, temperature: PerConfiguration | None) -> Tensor:
        """What the parameters are where no site is seen `(num or 1, sites, parameters)`."""
        if temperature is None or not self.temperature_input:
            return self.bias.expand(num, -1, -1)
        return self.bias + self.bias_slope / temperature.reshape(-1, 1, 1)


class TriangularLinear(nn.Module):
    """y = W x + b with W lower triangular in blocks: the units of site i see those of earlier levels.

    Args:
        level: Number of the level of each site, ascending `(N,)`.
        in_width: Units of a site in x, which has N × in_width units, site after site.
        out_width: Units of a site in y.
        strict: Whether those of site i itself are not seen.
        bias: Whether there is b.
        scale: Standard deviation of the initial weights times √(number of inputs a unit sees).
    """

    def __init__(
        self,
        level: Tensor,
        in_width: int,
        out_width: int,
        *,
        strict: bool,
        bias: bool = True,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.in_width, self.out_width, self.strict = in_width, out_width, strict
        mask = (level[:, None] > level).float()
        if not strict:
            mask.fill_diagonal_(1)
        mask = mask.repeat_interleave(out_width, 0).repeat_interleave(in_width, 1)
        self.mask: Tensor
        self.register_buffer("mask", mask.bool(), persistent=False)
        fan_in = mask.sum(1, keepdim=True).clamp(min=1)
        self.weight = nn.Parameter(torch.randn_like(mask) * mask * scale / fan_in.sqrt())
        self.bias = nn.Parameter(torch.zeros(len(mask))) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Of x `(B, N × in_width)`: `(B, N × out_width)`."""
        return F.linear(x, self.weight * self.mask, self.bias)

    def running(self, num: int) -> "RunningProduct":
        """The product for `num` configurations whose sites become known one after the other."""
        return RunningProduct(self, num)


class RunningProduct:
    """W x + b while the sites of x arrive in order, in blocked forward substitution.

    Finished blocks of sites are multiplied into all later rows at once; a row takes what little is
    missing. All sites together cost half a dense product, and the units lie along the
    rows, so that every slice is contiguous.

    Args:
        layer: The layer.
        num: Number of configurations B.
        block: Sites in a block.
    """

    def __init__(self, layer: TriangularLinear, num: int, block: int = 16) -> None:
        self.weight = layer.weight * layer.mask
        self.layer, self.block = layer, block
        self.asked = self.known = self.multiplied = 0
        self.inputs = self.weight.new_empty(self.weight.shape[1], num)
        self.sums = self.weight.new_zeros(self.weight.shape[0], num)
        if layer.bias is not None:
            self.sums += layer.bias.unsqueeze(1)

    def push(self, values: Tensor) -> None:
        """Take the units of the next sites `(sites × in_width, B)`."""
        width = self.layer.in_width
        known = self.known + len(values) // width
        self.inputs[self.known * width : known * width] = values
        self.known = known
        if (finished := known - known % self.block) > self.multiplied:
            done = slice(self.multiplied * width, finished * width)
            later = slice(self.asked * self.layer.out_width, None)
            self.sums[later].addmm_(self.weight[later, done], self.inputs[done])
            self.multiplied = finished

    def next(self, sites: int = 1) -> Tensor:
        """The product's units of the next sites `(sites × out_width, B)`, all that they see pushed."""
        width = self.layer.out_width
        rows = slice(self.asked * width, (self.asked + sites) * width)
        fresh = slice(self.multiplied * self.layer.in_width, self.known * self.layer.in_width)
        self.asked += sites
        return torch.addmm(self.sums[rows], self.weight[rows, fresh], self.inputs[fresh])


class MADEWalkers(Walkers):
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
        constant = model.outputs_without_inputs(values.shape[1], self.temperature)
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
        if self.hidden:
            self.parameters += model.readout @ x.unflatten(0, (model.num_sites, -1))
        self.terms = model.site_log_prob(values, self.parameters.mT)
        return self.terms.sum(0)

    @torch.no_grad()
    def propose(self, site: int, values: Tensor) -> PerConfiguration:
        """Ln p `(B,)` if the site of this raster index had these values `(B,)`."""
        model, first = self.model, site + 1
        self.site, self.proposed = site, values
        old, new = (model.features(v, self.temperature).T for v in (self.values[site], values))
        change = new - old
        own = slice(site * len(change), first * len(change))
        later = slice(first * model.width, None)
        parameters = self.parameters[first:]
        if model.linear is not None:
            rows = slice(first * parameters.shape[1], None)
            parameters = parameters + (self.linear[rows, own] @ change).reshape(parameters.shape)
        self.new_sums, self.new_hidden = [], []
        units = change
        for layer, weight, z, h in zip(model.layers, self.weights, self.sums, self.hidden, strict=True):
            seen = own if layer.strict else later
            z = torch.addmm(z[later], weight[later, seen], change)
            units = model.join(units, z, layer.strict)
            change = units - h[later]
            self.new_sums.append(z)
            self.new_hidden.append(units)
        if self.hidden:
            per_site = change.reshape(len(parameters), model.width, len(values))
            parameters = torch.baddbmm(parameters, model.readout[first:], per_site)
        self.new_parameters = parameters
        here = model.site_log_prob(values, self.parameters[site].T)
        after = model.site_log_prob(self.values[first:], parameters.mT)
        self.new_terms = torch.cat([here.unsqueeze(0), after])
        self.proposed_log_prob = self.terms[:site].sum(0) + self.new_terms.sum(0)
        return self.proposed_log_prob

    @torch.no_grad()
    def accept(self, where: Tensor) -> None:
        """Make the proposed change in the configurations for which `where` `(B,)` holds."""
        kept = [self.terms, self.parameters, *self.sums, *self.hidden]
        new = [self.new_terms, self.new_parameters, *self.new_sums, *self.new_hidden]
        for old, changed in zip(kept, new, strict=True):
            later = old[len(old) - len(changed) :]
            torch.where(where, changed, later, out=later)
        self.values[self.site] = torch.where(where, self.proposed, self.values[self.site])
        self.log_prob = torch.where(where, self.proposed_log_prob, self.log_prob)
