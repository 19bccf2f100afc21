"""Mixtures on the real line or an interval, for standardised fields."""

import math
from typing import Any

import torch
from torch import Tensor

from lightdan.checks import SMALLEST, check_number
from lightdan.conditionals.base import Conditional
from lightdan.conditionals.beta import BetaComponents
from lightdan.conditionals.mixture import Mixture
from lightdan.types import Features, SiteValues


class Real(Conditional):
    """Conditional of a real number x, which the network sees as it is."""

    site_kinds = ("real",)
    num_features = 1

    def features(self, values: SiteValues) -> Features:
        """Return the value."""
        return values.unsqueeze(-1)


class GaussianMixture(Real, Mixture):
    """Mixture of Gaussians.

        p(x) = Σ_k w_k exp(−(x − μ_k)²/2σ_k²) / √(2π σ_k²)

    The network returns ln w_k, up to a constant, μ_k and ln σ_k. The means start evenly spread over
    [−1, 1], so that the components start different. One component is exact for a Gaussian field.

    Args:
        components: Number K of components.

    Raises:
        ValueError: components is below 1.

    References:
        B. Uria et al., RNADE: The real-valued neural autoregressive density-estimator, arXiv:1306.0186.

    Example:
        >>> conditional = GaussianMixture(components=1)
        >>> conditional.log_prob(torch.tensor([0.0]), torch.zeros(1, 3)).round(decimals=4)
        tensor([-0.9189])
    """

    component_parameters = 2
    shifted = slice(1, None, 3)
    """The means, so that a linear network with one component is a linear-Gaussian model."""
    log_scale_range = (-12.0, 5.0)
    """Bounds of ln σ in units of the field, against components that collapse or diverge."""

    def __init__(self, components: int = 3) -> None:
        super().__init__(components)
        spread = torch.linspace(-1, 1, components) if components > 1 else torch.zeros(1)
        self.offsets = torch.stack([spread, torch.zeros(components)], dim=-1)

    def natural(self, raw: Tensor) -> Tensor:
        """Return (μ_k, ln σ_k) `(..., K, 2)`."""
        mean, log_scale = (raw + self.offsets.to(raw)).unbind(-1)
        return torch.stack([mean, log_scale.clamp(*self.log_scale_range)], dim=-1)

    def component_log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return −(x − μ)²/2σ² − ln σ − ln √2π."""
        mean, log_scale = natural.unbind(-1)
        deviation = (values - mean) * (-log_scale).exp()
        return -0.5 * deviation.square() - log_scale - 0.5 * math.log(2 * math.pi)

    def sample(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Invert the cumulative distribution of a component."""
        natural, rest = self.choose(parameters, uniforms)
        mean, log_scale = natural.unbind(-1)
        # The normal quantile at 0 is −∞.
        normal = torch.special.ndtri(rest.clamp(min=1e-17))
        return (mean + log_scale.exp() * normal).to(uniforms.dtype)


class BoxBetaMixture(Real, BetaComponents):
    """Mixture of Beta distributions on the interval |x| ≤ b.

        p(x) = Σ_k w_k u^{a_k − 1} (1 − u)^{b_k − 1} / B(a_k, b_k) / 2b,    u = (x + b)/2b

    Training raises an error if data lie outside the interval.

    Args:
        components: Number K of components.
        bound: Half-width b of the interval, in standard deviations of the field from its mean.

    Raises:
        ValueError: components is below 1, or bound is not positive.

    Example:
        >>> conditional = BoxBetaMixture(components=2)
        >>> conditional.num_parameters
        6
    """

    def __init__(self, components: int = 3, bound: float = 5.0) -> None:
        super().__init__(components)
        self.bound = check_number("bound", bound, SMALLEST)

    def arguments(self) -> dict[str, Any]:
        """Return the number of components and the bound."""
        return {**super().arguments(), "bound": self.bound}

    def component_log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ln p_k, which is −∞ outside the interval."""
        u = (values.double() + self.bound) / (2 * self.bound)
        inside = (u >= 0) & (u <= 1)
        terms = self.log_beta_density(u, natural) - math.log(2 * self.bound)
        return terms.masked_fill(~inside, -math.inf)

    def sample(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Invert the cumulative distribution of a component."""
        u = self.draw(parameters, uniforms)
        return ((2 * u - 1) * self.bound).to(uniforms.dtype)
