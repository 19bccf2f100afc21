"""Numerics of the von Mises distribution on |x| ≤ π.

f(x) = exp(−2κ sin²(x/2)) / (2π e^{−κ} I_0(κ))
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

RANGE = 10.0
"""Cut-off in units of 1/√κ, beyond which the probability is below 1e-10."""


def log_i0e(kappa: Tensor) -> Tensor:
    """Return ln e^{−κ} I_0(κ).

    For κ > 500 it is an asymptotic series, because the derivative I_1/I_0 − 1 is a difference of nearly
    equal numbers.
    """
    large = kappa > 500
    x = 1 / (8 * kappa.where(large, 1000))
    series = 1 + x * (1 + x * (9 / 2 + x * (75 / 2 + x * (3675 / 8 + x * 59535 / 8))))
    asymptotic = series.log() + 0.5 * (4 * x / math.pi).log()
    return asymptotic.where(large, torch.special.i0e(kappa.where(~large, 0)).log())


def quantile(probability: Tensor, kappa: Tensor) -> Tensor:
    """Return x in [−π, π] at which the cumulative distribution is `probability`, to within 1e-10.

    Args:
        probability: Probability `(...)`, in float64.
        kappa: Concentration κ `(...)`, in float64.
    """
    pairs = zip(probability.flatten().split(2**14), kappa.flatten().split(2**14), strict=True)
    parts = [_upper(torch.minimum(p, 1 - p), k).copysign(p - 0.5) for p, k in pairs]
    return torch.cat(parts).reshape(probability.shape)


def _upper(tail: Tensor, kappa: Tensor) -> Tensor:
    """Return x ≥ 0 beyond which the probability is `tail` ≤ 1/2 `(...)`.

    The iteration starts at the smaller of a normal and a wrapped Cauchy quantile, both of the exact
    density at 0. Each step solves for the tail of a density that is locally exponential.
    """
    tail = tail.clamp(min=1e-17)
    i0e = torch.special.i0e(kappa)
    normal = (-torch.special.ndtri(tail) * math.sqrt(math.pi / 2) * i0e).clamp(max=1).asin()
    cauchy = (i0e / (math.pi * tail).tan()).atan()
    end = (RANGE / kappa.clamp(min=1e-9).sqrt()).clamp(max=math.pi)
    x = torch.minimum(2 * torch.minimum(normal, cauchy), end)
    mass = _mass(x, end, kappa, 20) / i0e
    for last in (False, False, True):
        density = (-2 * kappa * (x / 2).sin().square()).exp() / (2 * math.pi * i0e)
        slope = (kappa * x.sin()).clamp(min=1e-9)
        step = -torch.log1p((slope * (tail - mass) / density).clamp(min=-0.95)) / slope
        moved = torch.minimum((x + step).clamp(min=0), end)
        if not last:
            mass = mass - _mass(x, moved, kappa, 4) / i0e
        x = moved
    return x


def _mass(start: Tensor, end: Tensor, kappa: Tensor, order: int) -> Tensor:
    """Integrate exp(−2κ sin²(x/2)) / 2π from start to end by Gauss–Legendre quadrature."""
    nodes, weights = _gauss_legendre(order, kappa.device)
    half = torch.addcmul(start.unsqueeze(-1), (end - start).unsqueeze(-1), nodes).div_(2)
    exponent = half.sin_().square_().mul_(-2 * kappa.unsqueeze(-1))
    return exponent.exp_() @ weights * (end - start) / (2 * math.pi)


@cache
def _gauss_legendre(order: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return nodes in [0, 1] and their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return torch.as_tensor((nodes + 1) / 2, device=device), torch.as_tensor(weights / 2, device=device)
