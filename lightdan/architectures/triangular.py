"""Triangular: regression of each site on the sites before it."""

from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdan.architectures.base import Architecture
from lightdan.architectures.walkers import Walkers
from lightdan.conditionals import Conditional, GaussianMixture
from lightdan.types import Conditions, Configurations, PerConfiguration


class Triangular(Architecture):
    """Linear network with one triangular matrix W.

        a_i = b_i + Σ_{j<i} W_ij f(s_j)

    This is logistic regression for spins and softmax regression for levels. For reals with one Gaussian
    per site, W shifts the means only, and the network is linear-Gaussian:

        x_i = b_i + Σ_{j<i} C_ij x_j + √D_i z_i

    with independent normal z. Then −ln p is quadratic with the kernel (1 − C)ᵀ D⁻¹ (1 − C), which is
    exact for any Gaussian field. W starts at zero, so that training begins with independent sites.

    Args:
        site_kind: Kind of site, from the system: ``spin``, ``level``, ``angle`` or ``real``.
        conditional: Distribution of one site; by default the one that fits the kind of site, for reals
            with one component.
        kwargs: Arguments of `Architecture`.

    Example:
        >>> model = Triangular(lattice_shape=(10,), site_kind="real", levels=())
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 10)
    """

    sees_stages = True

    def __init__(
        self, site_kind: str = "spin", conditional: Conditional | None = None, **kwargs: Any
    ) -> None:
        if conditional is None and site_kind == "real":
            conditional = GaussianMixture(components=1)
        super().__init__(site_kind=site_kind, conditional=conditional, **kwargs)
        sites, outputs = self.num_sites, self.conditional.num_parameters
        self.add_bias(sites, outputs)
        self.linear = TriangularLinear(
            self.ordering.stage,
            self.num_features,
            len(range(outputs)[self.conditional.shifted]),
            strict=True,
            bias=False,
            scale=0.0,
        )

    def forward(self, configurations: Configurations, conditions: Conditions | None = None) -> Tensor:
        """Return the parameters of all sites `(B, sites, parameters)`."""
        x = self.features(configurations.flatten(1), conditions).flatten(1)
        constant = self.biases(len(x), conditions)
        return self.shift(constant, self.linear(x).unflatten(1, (self.num_sites, -1)))

    def incremental(
        self, num: int, conditions: Conditions | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """Yield the parameters stage by stage; all stages together cost about one pass."""
        constant = self.biases(num, conditions).split(self.ordering.stages, dim=1)
        product = self.linear.running(num)
        for size, parameters in zip(self.ordering.stages, constant, strict=True):
            change = product.next(size).T.unflatten(1, (size, -1))
            values = yield self.shift(parameters, change)
            product.push(self.features(values, conditions).flatten(1).T)

    def at_place(self, place: int) -> Callable[[Configurations, Conditions | None], Tensor]:
        """Return a function for the parameters of one site, from its row of W."""
        linear = self.linear.of_site(place)

        def parameters(configurations: Configurations, conditions: Conditions | None) -> Tensor:
            x = self.features(configurations.flatten(1)[:, :place], conditions).flatten(1)
            return self.shift(self.biases(len(x), conditions)[:, place], linear(x))

        return parameters

    def bare_walkers(self, arranged: Configurations, conditions: Conditions | None = None) -> Walkers:
        """Return walkers that keep the parameters."""
        kind = Walkers if self.reference_frame else TriangularWalkers
        return kind(self, arranged, conditions)

    def shift(self, parameters: Tensor, change: Tensor) -> Tensor:
        """Add the change to the parameters `(..., parameters)` that other sites may shift."""
        shifted = parameters.clone()
        shifted[..., self.conditional.shifted] += change
        return shifted


class TriangularLinear(nn.Module):
    """Linear layer y = W x + b, in which the units of a site see the units of earlier stages.

    Args:
        stage: Number of the stage of each site `(N,)`, ascending.
        in_width: Number of units per site in x `(B, N × in_width)`.
        out_width: Number of units per site in y `(B, N × out_width)`.
        strict: Whether a site does not see its own units.
        bias: Whether there is b.
        scale: Standard deviation of the initial weights times √(number of inputs of the unit).
    """

    def __init__(
        self,
        stage: Tensor,
        in_width: int,
        out_width: int,
        *,
        strict: bool,
        bias: bool = True,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.in_width, self.out_width, self.strict = in_width, out_width, strict
        mask = (stage[:, None] > stage).to(torch.get_default_dtype())
        if not strict:
            mask.fill_diagonal_(1)
        mask = mask.repeat_interleave(out_width, 0).repeat_interleave(in_width, 1)
        self.mask: Tensor
        self.register_buffer("mask", mask.bool(), persistent=False)
        fan_in = mask.sum(1, keepdim=True).clamp(min=1)
        self.weight = nn.Parameter(torch.randn_like(mask) * mask * scale / fan_in.sqrt())
        self.bias = nn.Parameter(torch.zeros(len(mask))) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return y `(B, N × out_width)` of x `(B, N × in_width)`."""
        return F.linear(x, self.weight * self.mask, self.bias)

    def of_site(self, site: int) -> Callable[[Tensor], Tensor]:
        """Return the map to the units of one site `(B, out_width)` from those of x before it."""
        rows = slice(site * self.out_width, (site + 1) * self.out_width)
        seen = slice(site * self.in_width)
        weight = self.weight[rows, seen] * self.mask[rows, seen]
        bias = None if self.bias is None else self.bias[rows]
        return lambda x: F.linear(x, weight, bias)

    def running(self, num: int) -> "RunningProduct":
        """Return the product for B = `num` configurations whose sites arrive one after the other."""
        return RunningProduct(self, num)


class RunningProduct:
    """Product W x + b while the sites of x arrive in order, by blocked forward substitution.

    A finished block of sites is multiplied into all later rows at once; each row adds the unfinished
    block itself. All sites together cost half a dense product. Units are rows of arrays, so that every
    slice is contiguous.

    Args:
        layer: Layer with W and b.
        num: Number of configurations B.
        block: Number of sites in a block.
    """

    def __init__(self, layer: TriangularLinear, num: int, block: int = 16) -> None:
        self.weight = layer.weight * layer.mask
        self.layer, self.block = layer, block
        self.num_out = self.num_in = self.num_multiplied = 0  # in sites
        self.inputs = self.weight.new_empty(self.weight.shape[1], num)
        self.sums = self.weight.new_zeros(self.weight.shape[0], num)
        if layer.bias is not None:
            self.sums += layer.bias.unsqueeze(1)

    def push(self, values: Tensor) -> None:
        """Add the units of the next sites of x `(sites × in_width, B)`."""
        width = self.layer.in_width
        num_in = self.num_in + len(values) // width
        self.inputs[self.num_in * width : num_in * width] = values
        self.num_in = num_in
        if (finished := num_in - num_in % self.block) > self.num_multiplied:
            blocks = slice(self.num_multiplied * width, finished * width)
            later = slice(self.num_out * self.layer.out_width, None)
            self.sums[later].addmm_(self.weight[later, blocks], self.inputs[blocks])
            self.num_multiplied = finished

    def next(self, sites: int = 1) -> Tensor:
        """Return the units of the next sites of y `(sites × out_width, B)`.

        All sites that they see must have been pushed.
        """
        width = self.layer.out_width
        rows = slice(self.num_out * width, (self.num_out + sites) * width)
        rest = slice(self.num_multiplied * self.layer.in_width, self.num_in * self.layer.in_width)
        self.num_out += sites
        return torch.addmm(self.sums[rows], self.weight[rows, rest], self.inputs[rest])


class TriangularWalkers(Walkers):
    """Walkers of Triangular, which recompute only the parameters of later sites.

    A change δ of the features of site j adds W_ij δ to the parameters of site i > j. Units are rows of
    arrays, so that later sites are one contiguous slice.
    """

    @torch.no_grad()
    def evaluate(self, values: Tensor) -> PerConfiguration:
        """Return ln p `(B,)` of site values `(N, B)`, and keep the parameters."""
        model = self.model
        self.weight = model.linear.weight * model.linear.mask
        parameters = model(values.T.reshape(-1, *model.lattice_shape), self.conditions)
        self.parameters = parameters.permute(1, 2, 0).contiguous()  # (N, parameters, B)
        self.terms = model.site_log_prob(values, self.parameters.mT)
        self.cached = [self.terms, self.parameters]
        return self.terms.sum(0)

    @torch.no_grad()
    def propose(self, site: int, values: Tensor) -> PerConfiguration:
        """Return ln p `(B,)` with other values `(B,)` at this site."""
        model, first = self.model, site + 1
        old, new = (model.features(v, self.conditions).T for v in (self.values[site], values))
        here = slice(site * len(new), first * len(new))
        later = slice(first * model.linear.out_width, None)
        rows = (model.num_sites - first, model.linear.out_width)
        change = (self.weight[later, here] @ (new - old)).unflatten(0, rows)
        parameters = model.shift(self.parameters[first:].mT, change.mT).mT
        return self.propose_parameters(site, values, parameters)

    def propose_parameters(self, site: int, values: Tensor, parameters: Tensor) -> PerConfiguration:
        """Return ln p `(B,)` with these values of a site and these parameters of later sites."""
        model, first = self.model, site + 1
        self.site, self.proposed = site, values
        here = model.site_log_prob(values, self.parameters[site].T)
        later = model.site_log_prob(self.values[first:], parameters.mT)
        terms = torch.cat([here.unsqueeze(0), later])
        self.updates = [terms, parameters]
        self.proposed_log_prob = self.terms[:site].sum(0) + terms.sum(0)
        return self.proposed_log_prob

    @torch.no_grad()
    def accept(self, where: Tensor) -> None:
        """Make the proposed change in the configurations selected by the mask `where` `(B,)`."""
        for old, new in zip(self.cached, self.updates, strict=True):
            later = old[len(old) - len(new) :]
            torch.where(where, new, later, out=later)
        self.values[self.site] = torch.where(where, self.proposed, self.values[self.site])
        self.log_prob = torch.where(where, self.proposed_log_prob, self.log_prob)
