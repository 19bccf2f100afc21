"""Mixtures of Beta distributions on the unit interval."""

import torch
from scipy import special
from torch import Tensor
from torch.nn import functional as F

from lightdan.conditionals.mixture import Mixture


class BetaComponents(Mixture):
    """Mixture of Beta distributions of u in [0, 1].

        f(u) = Σ_k w_k u^{a_k − 1} (1 − u)^{b_k − 1} / B(a_k, b_k)

    The network returns a_k, b_k ≥ 1 as 1 + softplus, shifted so that the mixture starts near Bernstein's
    partition of the uniform distribution. The density is computed in float64, with u clamped to
    [1e-10, 1 − 1e-10] so that ln f is finite.

    Args:
        components: Number K of components.

    Raises:
        ValueError: components is below 1.
    """

    component_parameters = 2
    margin = 1e-10

    def __init__(self, components: int = 3) -> None:
        super().__init__(components)
        excess = torch.arange(components, dtype=torch.float64) + 0.1
        self.offsets = torch.stack([excess, excess.flip(0)], dim=-1).expm1().log()

    def natural(self, raw: Tensor) -> Tensor:
        """Return (a_k − 1, b_k − 1) `(..., K, 2)` in float64."""
        raw = raw.double()
        return F.softplus(raw + self.offsets.to(raw))

    def log_beta_density(self, u: Tensor, natural: Tensor) -> Tensor:
        """Return (a − 1) ln u + (b − 1) ln(1 − u) − ln B(a, b)."""
        u = u.clamp(self.margin, 1 - self.margin)
        above, below = natural.unbind(-1)
        log_beta = (above + 1).lgamma() + (below + 1).lgamma() - (above + below + 2).lgamma()
        return above * u.log() + below * torch.log1p(-u) - log_beta

    def draw(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Draw u in float64 by scipy's inverse cumulative distribution, on the CPU."""
        natural, rest = self.choose(parameters, uniforms)
        a, b = (1 + natural).unbind(-1)
        u = special.betaincinv(*(x.detach().cpu().numpy() for x in (a, b, rest)))
        return torch.as_tensor(u, device=rest.device)
