"""One triangular matrix: regression of each site on those before it."""

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdan.architectures.base import Architecture
from lightdan.architectures.walkers import Walkers
from lightdan.conditionals import Conditional, GaussianMixture
from lightdan.types import Configurations, PerConfiguration


class Triangular(Architecture):
    """a_i = b_i + Σ_{j<i} W_ij f(s_j), W strictly lower triangular in sites, or levels of sites.

    Logistic regression of spins, softmax regression of levels; of reals, with one Gaussian a site, the
    linear-Gaussian network x_i = b_i + Σ_{j<i} B_ij x_j + √D_i z_i, whose −ln p is quadratic with the
    kernel (1 − B)ᵀ D⁻¹ (1 − B): exact for any Gaussian field. Of Gaussians W shifts the means only. W
    starts at zero: training begins with independent sites.

    Args:
        site_kind: ``spin``, ``level``, ``angle`` or ``real``.
        conditional: Distribution of one site; by default the one that fits the kind of site, for reals
            with one component.
        kwargs: Of `Architecture`.

    Example:
        >>> model = Triangular(lattice_shape=(10,), site_kind="real", levels=())
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 10)
    """

    sees_levels = True

    def __init__(
        self, site_kind: str = "spin", conditional: Conditional | None = None, **kwargs: Any
    ) -> None:
        if conditional is None and site_kind == "real":
            conditional = GaussianMixture(components=1)
        super().__init__(site_kind=site_kind, conditional=conditional, **kwargs)
        sites, outputs = self.num_sites, self.conditional.num_parameters
        self.add_bias(sites, outputs)
        self.linear = TriangularLinear(
            self.ordering.level,
            self.num_features,
            len(range(outputs)[self.conditional.shifted]),
            strict=True,
            bias=False,
            scale=0.0,
        )

    def forward(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> Tensor:
        """Parameters of all sites `(B, sites, parameters)`."""
        x = self.features(configurations.flatten(1), temperature).flatten(1)
        constant = self.biases(len(x), temperature)
        return self.shift(constant, self.linear(x).unflatten(1, (self.num_sites, -1)))

    def incremental(
        self, num: int, temperature: PerConfiguration | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """The same level by level, at the cost of about one pass in all."""
        constant = self.biases(num, temperature).split(self.ordering.levels, dim=1)
        product = self.linear.running(num)
        for size, parameters in zip(self.ordering.levels, constant, strict=True):
            by = product.next(size).T.unflatten(1, (size, -1))
            values = yield self.shift(parameters, by)
            product.push(self.features(values, temperature).flatten(1).T)

    def bare_walkers(
        self, arranged: Configurations, temperature: PerConfiguration | None = None
    ) -> Walkers:
        """Those that keep the sums."""
        kind = Walkers if self.reference_frame else TriangularWalkers
        return kind(self, arranged, temperature)

    def shift(self, parameters: Tensor, by: Tensor) -> Tensor:
        """Parameters `(..., parameters)` of which those that the sites shift are moved."""
        moved = parameters.clone()
        moved[..., self.conditional.shifted] += by
        return moved


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
        mask = (level[:, None] > level).to(torch.get_default_dtype())
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
    missing. All sites together cost half a dense product, and the units lie along the rows, so that
    every slice is contiguous.

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


class TriangularWalkers(Walkers):
    """Changes one site at the cost of the sites after it.

    A change δ of the features of site j adds W_ij δ to the parameters of i > j. The units lie along the
    rows, so that those of the later sites are one contiguous slice.
    """

    @torch.no_grad()
    def evaluate(self, values: Tensor) -> PerConfiguration:
        """Ln p of site values `(N, B)`, and the parameters that lead to it."""
        model = self.model
        self.weight = model.linear.weight * model.linear.mask
        parameters = model(values.T.reshape(-1, *model.lattice_shape), self.temperature)
        self.parameters = parameters.permute(1, 2, 0).contiguous()  # (N, parameters, B)
        self.terms = model.site_log_prob(values, self.parameters.mT)
        self.kept = [self.terms, self.parameters]
        return self.terms.sum(0)

    @torch.no_grad()
    def propose(self, site: int, values: Tensor) -> PerConfiguration:
        """Ln p `(B,)` if this site had these values `(B,)`."""
        model, first = self.model, site + 1
        old, new = (model.features(v, self.temperature).T for v in (self.values[site], values))
        own = slice(site * len(new), first * len(new))
        later = slice(first * model.linear.out_width, None)
        rows = (model.num_sites - first, model.linear.out_width)
        by = (self.weight[later, own] @ (new - old)).unflatten(0, rows)
        parameters = model.shift(self.parameters[first:].mT, by.mT).mT
        return self.propose_parameters(site, values, parameters)

    def propose_parameters(self, site: int, values: Tensor, parameters: Tensor) -> PerConfiguration:
        """Ln p `(B,)` with these values of a site and parameters of the later ones."""
        model, first = self.model, site + 1
        self.site, self.proposed = site, values
        here = model.site_log_prob(values, self.parameters[site].T)
        after = model.site_log_prob(self.values[first:], parameters.mT)
        terms = torch.cat([here.unsqueeze(0), after])
        self.new = [terms, parameters]
        self.proposed_log_prob = self.terms[:site].sum(0) + terms.sum(0)
        return self.proposed_log_prob

    @torch.no_grad()
    def accept(self, where: Tensor) -> None:
        """Make the proposed change in the configurations for which `where` `(B,)` holds."""
        for old, changed in zip(self.kept, self.new, strict=True):
            later = old[len(old) - len(changed) :]
            torch.where(where, changed, later, out=later)
        self.values[self.site] = torch.where(where, self.proposed, self.values[self.site])
        self.log_prob = torch.where(where, self.proposed_log_prob, self.log_prob)
