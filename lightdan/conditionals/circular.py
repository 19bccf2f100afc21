"""Mixtures on the circle; densities are with respect to dθ/2π, so that the uniform density is 1."""

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
    """Conditional of an angle θ in [0, 2π), which the network sees as (cos θ, sin θ) without a seam."""

    site_kinds = ("angle",)
    num_features = 2

    def features(self, values: SiteValues) -> Features:
        """Return (cos θ, sin θ)."""
        return torch.stack([values.cos(), values.sin()], dim=-1)


class VonMisesMixture(Angular, Mixture):
    """Mixture of von Mises distributions of an angle.

        p(θ) = Σ_k w_k exp(η_k · n) / I_0(|η_k|),    n = (cos θ, sin θ)

    The density is with respect to dθ/2π. The network returns ln w_k, up to a constant, and
    η_k = κ_k (cos μ_k, sin μ_k). Unit vectors in K directions are added to η_k, so that the components
    start different and their mixture nearly uniform. One component is exact for a site that couples to
    one neighbour by −J cos(θ − θ').

    Args:
        components: Number K of components.

    Raises:
        ValueError: components is below 1.

    References:
        K. V. Mardia and P. E. Jupp, Directional Statistics, Wiley (2000).

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
        """Return the vectors η_k `(..., K, 2)`."""
        return raw + self.offsets.to(raw)

    def component_log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return −(κ − η · n) − ln e^{−κ} I_0(κ), with κ − η · n = (η × n)² / (κ + η · n)."""
        (x, y), cos, sin = natural.unbind(-1), values.cos(), values.sin()
        kappa = torch.linalg.vector_norm(natural, dim=-1)
        dot, cross = x * cos + y * sin, x * sin - y * cos
        near = dot > 0
        deficit = (cross.square() / (kappa + dot).where(near, 1)).where(near, kappa - dot)
        return -deficit - von_mises.log_i0e(kappa)

    def sample(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Invert the cumulative distribution of a component, which begins at μ_k − π."""
        eta, rest = self.choose(parameters, uniforms)
        x, y = eta.unbind(-1)
        deviation = von_mises.quantile(rest, torch.linalg.vector_norm(eta, dim=-1))
        return wrap((torch.atan2(y, x) + deviation).to(uniforms.dtype))


class BetaMixture(Angular, BetaComponents):
    """Mixture of Beta distributions of an angle.

        p(θ) = Σ_k w_k u^{a_k − 1} (1 − u)^{b_k − 1} / B(a_k, b_k),    u = θ/2π

    The density is with respect to du. The network returns ln w_k, up to a constant, and a_k, b_k ≥ 1.
    Components vanish or jump at the seam 0 = 2π, which costs likelihood because angles have no seam. The
    density is computed in float64, with u clamped to [1e-10, 1 − 1e-10] so that ln p is finite.

    Args:
        components: Number K of components.

    Raises:
        ValueError: components is below 1.

    References:
        L. Wang et al., Chin. Phys. Lett. 39, 120502 (2022).

    Example:
        >>> conditional = BetaMixture(components=2)
        >>> conditional.num_parameters
        6
    """

    def component_log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ln p_k at u = θ/2π."""
        return self.log_beta_density(values.double() / (2 * math.pi), natural)

    def sample(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Invert the cumulative distribution of a component."""
        return wrap((2 * math.pi * self.draw(parameters, uniforms)).to(uniforms.dtype))
