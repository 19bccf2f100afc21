"""Distributions of single sites given all others, in exponential families."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightdan.interactions.factors import Harmonic
from lightdan.interactions.local_fields import LocalFields
from lightdan.lattices.angles import TWO_PI

LEAST_NODES = 32
MOST_NODES = 512
MARGIN = 0.25
"""Margin of the quadrature on each side of the data, relative to their range."""


class Moments(NamedTuple):
    """Moments of the features of a site.

    Args:
        log_z: ln ∫ e^{h(s) + Σ_r η_r g_r(s)} ds `(M,)`.
        mean: ⟨g_r⟩ `(features, M)`.
        covariance: ⟨g_r g_s⟩ − ⟨g_r⟩⟨g_s⟩ `(features, features, M)`.
    """

    log_z: Tensor
    mean: Tensor
    covariance: Tensor


class SiteModel(ABC):
    """Distribution of one site, p(s) ∝ e^{h(s) + Σ_r η_r g_r(s)}, with a fixed part h."""

    @abstractmethod
    def moments(self, eta: Tensor, offset: Tensor | None) -> Moments:
        """Return the moments at natural parameters η `(features, M)`."""

    @abstractmethod
    def features(self, values: Tensor) -> Tensor:
        """Return the features of the values of a site `(features, M)`."""

    @abstractmethod
    def target_features(self, targets: Tensor) -> Tensor:
        """Return ⟨g_r⟩ `(features, M)` of the distributions of a site that are to be matched."""

    @abstractmethod
    def log_offset(self, values: Tensor, offset: Tensor) -> Tensor:
        """Return h of the values of a site `(M,)`."""


class SpinModel(SiteModel):
    """Spins: g = s, offsets are logits h(1) − h(−1) `(M,)`, targets are p(1) `(M,)`."""

    def moments(self, eta: Tensor, offset: Tensor | None) -> Moments:
        """Return ln 2 cosh, tanh and 1 − tanh² of η + h/2."""
        field = eta if offset is None else eta + offset / 2
        mean = field.tanh()
        log_z = F.softplus(2 * field) - field
        return Moments(log_z[0], mean, (1 - mean**2)[None])

    def features(self, values: Tensor) -> Tensor:
        """Return s."""
        return values.double()[None]

    def target_features(self, targets: Tensor) -> Tensor:
        """Return ⟨s⟩ = 2 p(1) − 1."""
        return 2 * targets[None] - 1

    def log_offset(self, values: Tensor, offset: Tensor) -> Tensor:
        """Return h(s), with h(1) = −h(−1)."""
        return values * offset / 2


class NodeModel(SiteModel):
    """Sites with finitely many values, or continuous ones by quadrature on equidistant nodes.

    Offsets are h and targets are p at the nodes, `(M, nodes)`.

    Args:
        fields: Local fields, whose features the site has.
        nodes: Values of the site `(nodes,)`.
        log_weight: Logarithm of the quadrature weight of a node.
    """

    def __init__(self, fields: LocalFields, nodes: Tensor, log_weight: float = 0.0) -> None:
        self.fields, self.nodes, self.log_weight = fields, nodes, log_weight
        self.table = fields.table(nodes)
        self._squares = (self.table[:, None] * self.table).flatten(0, 1)

    def moments(self, eta: Tensor, offset: Tensor | None) -> Moments:
        """Return sums over the nodes."""
        exponent = self.table.T @ eta
        if offset is not None:
            exponent = exponent + offset.T
        log_z = exponent.logsumexp(0)
        p = (exponent - log_z).exp()
        mean = self.table @ p
        num = len(mean)
        covariance = (self._squares @ p).reshape(num, num, -1) - mean[:, None] * mean
        return Moments(log_z + self.log_weight, mean, covariance)

    def features(self, values: Tensor) -> Tensor:
        """Return g_r."""
        return self.fields.table(values)

    def target_features(self, targets: Tensor) -> Tensor:
        """Return Σ p g_r over the nodes."""
        return self.table @ targets.T

    def log_offset(self, values: Tensor, offset: Tensor) -> Tensor:
        """Return h at the values, which are nodes."""
        index = torch.searchsorted(self.nodes, values.to(self.nodes.dtype).contiguous())
        return offset.gather(1, index[:, None])[:, 0]


def site_model(fields: LocalFields, low: float, high: float) -> SiteModel:
    """Return the distribution of a site.

    Args:
        fields: Local fields of the operators.
        low: Smallest value of a field.
        high: Largest value of a field.
    """
    if fields.site_kind == "spin":
        return SpinModel()
    if fields.site_kind == "level":
        return NodeModel(fields, torch.tensor(fields.levels, device=fields.device))
    return quadrature(fields, low, high, LEAST_NODES)


def quadrature(fields: LocalFields, low: float, high: float, num_nodes: int) -> NodeModel:
    """Return the distribution of a continuous site on equidistant nodes.

    The sum of a periodic or fast decaying function over equidistant nodes converges exponentially when
    their distance falls below its width.

    Args:
        fields: Local fields of the operators.
        low: Smallest value of a field.
        high: Largest value of a field.
        num_nodes: Number of nodes.
    """
    if fields.site_kind == "angle":
        nodes = torch.arange(num_nodes, dtype=torch.float64, device=fields.device)
        return NodeModel(fields, nodes * (TWO_PI / num_nodes), -math.log(num_nodes))
    margin = MARGIN * (high - low)
    ends = low - margin, high + margin
    nodes = torch.linspace(*ends, num_nodes, dtype=torch.float64, device=fields.device)
    return NodeModel(fields, nodes, (nodes[1] - nodes[0]).log().item())


def num_nodes(model: NodeModel, eta: Tensor) -> int:
    """Return the number of nodes that natural parameters η `(features, M)` need.

    Args:
        model: Distribution on many nodes.
        eta: Natural parameters η_r of some configurations.
    """
    if model.fields.site_kind == "angle":
        factors = [feature.factor for feature in model.fields.features]
        orders = eta.new_tensor([factor.order for factor in factors if isinstance(factor, Harmonic)])
        stiffness = (orders[:, None] ** 2 * eta.abs()).sum(0).max().item()
        return math.ceil(2 * math.sqrt(60 * (stiffness + 1)))
    p = (model.table.T @ eta).softmax(0)
    nodes = model.nodes[:, None]
    width = ((p * nodes**2).sum(0) - (p * nodes).sum(0) ** 2).clamp(min=0).min().sqrt().item()
    span = (nodes[-1] - nodes[0]).item()
    return math.ceil(1.5 * span / max(width, span / MOST_NODES))
