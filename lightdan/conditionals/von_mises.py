"""Numerics of the von Mises distribution f(x) = exp(−2κ sin²(x/2)) / (2π e^{−κ} I_0(κ)) on |x| ≤ π."""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

RANGE = 10.0
"""Beyond x = RANGE / √κ less than 1e-10 of the probability is left."""


def log_i0e(kappa: Tensor) -> Tensor:
    """Ln e^{−κ} I_0(κ), by its asymptotic series for κ > 500.

    The derivative I_1/I_0 − 1 would be the difference of nearly equal numbers there.
    """
    large = kappa > 500
    x = 1 / (8 * kappa.where(large, 1000))
    series = 1 + x * (1 + x * (9 / 2 + x * (75 / 2 + x * (3675 / 8 + x * 59535 / 8))))
    asymptotic = series.log() + 0.5 * (4 * x / math.pi).log()
    return asymptotic.where(large, torch.special.i0e(kappa.where(~large, 0)).log())


def quantile(probability: Tensor, kappa: Tensor) -> Tensor:
    """X in [−π, π] where the cumulative distribution is `probability`, to 1e-10 in probability.

    Args:
        probability: In float64 `(...)`.
        kappa: κ in float64 `(...)`.
    """
    pairs = zip(probability.flatten().split(2**14), kappa.flatten().split(2**14), strict=True)
    parts = [_upper(torch.minimum(p, 1 - p), k).copysign(p - 0.5) for p, k in pairs]
    return torch.cat(parts).reshape(probability.shape)


def _upper(tail: Tensor, kappa: Tensor) -> Tensor:
    """X ≥ 0 beyond which the probability `tail` ≤ 1/2 lies `(B,)`.

    The start is the lesser of a normal and a wrapped Cauchy quantile, both of the right density at 0.
    A step solves for the tail of a density that is locally exponential.
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
    """∫ exp(−2κ sin²(x/2)) dx / 2π from start to end, by Gauss–Legendre quadrature."""
    nodes, weights = _gauss_legendre(order, kappa.device)
    half = torch.addcmul(start.unsqueeze(-1), (end - start).unsqueeze(-1), nodes).div_(2)
    exponent = half.sin_().square_().mul_(-2 * kappa.unsqueeze(-1))
    return exponent.exp_() @ weights * (end - start) / (2 * math.pi)


@cache
def _gauss_legendre(order: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes in [0, 1] and their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return torch.as_tensor((nodes + 1) / 2, device=device), torch.as_tensor(weights / 2, device=device)
