"""Mixtures on the circle, whose densities are with respect to dθ/2π: that of the uniform one is 1."""

import math

import torch
from torch import Tensor

from lightdan.conditionals import von_mises
from lightdan.conditionals.base import Conditional
from lightdan.conditionals.beta import BetaComponents
from lightdan.conditionals.mixture import Mixture
from lightdan.lattices.angles import wrap
from lightdan.types import Features, SiteValues


class Angular(Conditional):
    """A site that is an angle θ in [0, 2π): the network sees (cos θ, sin θ), never θ with its seam."""

    site_kinds = ("angle",)
    num_features = 2

    def features(self, values: SiteValues) -> Features:
        """(cos θ, sin θ)."""
        return torch.stack([values.cos(), values.sin()], dim=-1)


class VonMisesMixture(Angular, Mixture):
    """p(θ) = Σ_k w_k exp(η_k · n) / I_0(|η_k|) with n = (cos θ, sin θ), with respect to dθ/2π.

    The network gives ln w_k, up to a constant, and η_k = κ_k (cos μ_k, sin μ_k), to which unit vectors
    in K directions are added, so that no two components are alike at the start; their mixture is
    nearly uniform. One component is exact for a site that couples to one neighbour by −J cos(θ − θ').
    (K. V. Mardia and P. E. Jupp, Directional Statistics, Wiley 2000.)

    Args:
        components: K.

    Raises:
        ValueError: components below 1.

    Example:
        >>> conditional = VonMisesMixture(components=1)
        >>> parameters = torch.tensor([[0.0, 2.0, 0.0]]).expand(2, 3)
        >>> conditional.log_prob(torch.tensor([0.0, torch.pi]), parameters).round(decimals=4)
        tensor([ 1.1760, -2.8240])
    """

    component_parameters = 2

    def __init__(self, components: int = 3) -> None:
        super().__init__(components)
        directions = 2 * math.pi * torch.arange(components, dtype=torch.float64) / components
        self.offsets = self.features(directions) * (components > 1)

    def natural(self, raw: Tensor) -> Tensor:
        """Vectors η_k."""
        return raw + self.offsets.to(raw)

    def component_log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """−(κ − η · n) − ln e^{−κ} I_0(κ), with κ − η · n = (η × n)² / (κ + η · n)."""
        (x, y), cos, sin = natural.unbind(-1), values.cos(), values.sin()
        kappa = torch.linalg.vector_norm(natural, dim=-1)
        dot, cross = x * cos + y * sin, x * sin - y * cos
        near = dot > 0
        deficit = (cross.square() / (kappa + dot).where(near, 1)).where(near, kappa - dot)
        return -deficit - von_mises.log_i0e(kappa)

    def sample(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Inverse of the chosen component's cumulative distribution, which begins at μ_k − π."""
        eta, rest = self.choose(parameters, uniforms)
        x, y = eta.unbind(-1)
        deviation = von_mises.quantile(rest, torch.linalg.vector_norm(eta, dim=-1))
        return wrap((torch.atan2(y, x) + deviation).to(uniforms.dtype))


class BetaMixture(Angular, BetaComponents):
    """p(θ) = Σ_k w_k u^{a_k − 1} (1 − u)^{b_k − 1} / B(a_k, b_k) with u = θ/2π, with respect to du.

    The network gives ln w_k, up to a constant, and a_k, b_k ≥ 1. At the seam 0 = 2π a component
    vanishes or jumps, which costs likelihood, for the angles know no seam. For ln p to be finite there,
    u is kept within [1e-10, 1 − 1e-10]; the density is computed in float64.
    (L. Wang et al., Chin. Phys. Lett. 39, 120502 (2022).)

    Args:
        components: K.

    Raises:
        ValueError: components below 1.

    Example:
        >>> conditional = BetaMixture(components=2)
        >>> conditional.num_parameters
        6
    """

    def component_log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """That of u = θ/2π."""
        return self.log_beta_density(values.double() / (2 * math.pi), natural)

    def sample(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Inverse of the chosen component's cumulative distribution."""
        return wrap((2 * math.pi * self.draw(parameters, uniforms)).to(uniforms.dtype))
