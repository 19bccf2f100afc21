"""Convex regressions of each site on other sites, for spins, levels and angles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lightdan.interactions.observations import Observations
from lightdan.types import Configurations

WIDTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Widths of the prior of the weights that held-out configurations try first."""
STEPS = 200
"""Largest number of steps of a fit; spins need about fifteen, twenty levels about a hundred."""
TOLERANCE = 1e-7
"""Change of ln p per configuration at which a fit ends, in nats."""
ROUGH, FINE = 1e-4, 1e-5
"""Changes at which fits that compare widths, and the one with the best of them, end instead."""
PASSES = 40
"""Number of passes of a long fit that compares widths."""
OPERATIONS = 1e12
"""Multiplications of one fit, which limit the number of configurations."""
CLEARLY = 0.01
"""Loss of held-out ln p, in nats per site, at which no wider prior is tried."""
LEAST = 1e-3
"""Smallest variance of a feature of a site, which limits the step of its bias."""


@dataclass(frozen=True)
class Sites:
    """Kind of site of a regression, an exponential family.

        p(s_i | others) ∝ e^{η_i · f(s_i)},  f = s, (δ_{s,1}, …, δ_{s,q−1}) or (cos θ, sin θ)

    Densities of angles are with respect to dθ/2π.

    Args:
        kind: Kind of site: ``spin``, ``level`` or ``angle``.
        levels: Values of a level.
    """

    kind: str
    levels: tuple[int, ...] = ()

    @property
    def num_features(self) -> int:
        """Number F of features of a site."""
        return {"angle": 2, "level": len(self.levels) - 1}.get(self.kind, 1)

    def features(self, configurations: Configurations) -> Tensor:
        """Return f of all sites `(M, N × F)`, site after site."""
        values = configurations.flatten(1)
        if self.kind == "spin":
            return values.float()
        if self.kind == "angle":
            parts = values.cos(), values.sin()
            return torch.stack(parts, -1).flatten(1).float()
        levels = torch.tensor(self.levels[1:], device=values.device)
        return (values[..., None] == levels).flatten(1).float()

    def log_prob(self, eta: Tensor, features: Tensor) -> Tensor:
        """Return ln p of each site `(M, N)` from η and f, `(M, N × F)` each."""
        eta, features = (x.unflatten(1, (-1, self.num_features)) for x in (eta, features))
        return (eta * features).sum(-1) - self.log_normalizer(eta)

    def log_normalizer(self, eta: Tensor) -> Tensor:
        """Return ln Σ_s e^{η · f(s)} `(M, N)`; for angles ln ∫ dθ/2π e^{η · f(θ)}."""
        if self.kind == "spin":
            return (2 * F.softplus(2 * eta) - 2 * eta).squeeze(-1) / 2
        if self.kind == "angle":
            size = (eta.square().sum(-1) + 1e-12).sqrt()
            return torch.special.i0e(size).log() + size
        return torch.cat([torch.zeros_like(eta[..., :1]), eta], -1).logsumexp(-1)


@dataclass(eq=False)
class Regression:
    """Fitted regressions of all sites, η_i = b_i + Σ_j W_ij f(s_j).

    Args:
        sites: Kind of site.
        weight: W, the transpose `(N × F, N × F)`, one column for each component of η.
        bias: b `(N × F,)`.
        mean: Means of the features `(N × F,)`.
        width: Width of the Gaussian prior of W.
    """

    sites: Sites
    weight: Tensor
    bias: Tensor
    mean: Tensor
    width: float

    def log_prob(self, configurations: Configurations) -> NDArray[np.float64]:
        """Return Σ_i ln p(s_i | others) `(M,)`; it is ln p if each site sees only sites before it."""
        parts = []
        for part in configurations.split(2_000):
            features = self.sites.features(part)
            log_p = self.sites.log_prob(self.bias + features @ self.weight, features)
            parts.append(log_p.double().sum(1).cpu().numpy())
        return np.concatenate(parts)


def regress(
    observations: Observations,
    sites: Sites,
    before: bool,
    width: float,
    start: Regression | None = None,
    tolerance: float = TOLERANCE,
) -> Regression:
    """Fit the regressions of all sites by one minimisation with L-BFGS.

        ℓ = Σ_s Σ_i ln p(s_i | others) − Σ W²/(2 width²)

    The factor L of the covariance of the features makes the curvature nearly 1. Its leading parts are
    the factors of the covariances of the sites before, so that one factor serves all sites.

    Args:
        observations: Configurations with weights.
        sites: Kind of site.
        before: Whether a site sees only the sites before it, or all others.
        width: Width of the Gaussian prior of W.
        start: Regression from which the fit begins.
        tolerance: Change of ln p per configuration at which the fit ends, in nats.
    """
    with torch.inference_mode(False), torch.enable_grad():
        return _fit(observations, sites, before, width, start, tolerance)


def _fit(
    observations: Observations,
    sites: Sites,
    before: bool,
    width: float,
    start: Regression | None,
    tolerance: float,
) -> Regression:
    x = sites.features(observations.rows).clone()
    factors, num = observations.factors, observations.effective_num
    share = x.new_full((len(x), 1), 1 / num)
    if factors is not None:
        share = (factors / num)[:, None].float()
    mean = (share * x).sum(0)
    centred = x - mean
    covariance = (centred * share).T @ centred
    variance = covariance.diagonal().clamp(min=LEAST)
    precision = 1 / (num * width**2)
    ridge = precision / variance.mean() + 1e-5
    eye = torch.eye(len(mean), device=x.device)
    factor = torch.linalg.cholesky(covariance + ridge * eye)
    number = torch.arange(len(mean), device=x.device) // sites.num_features
    mask = number[:, None] < number if before else number[:, None] != number
    scale = variance.rsqrt()

    def weights(v: Tensor) -> Tensor:
        """Return W of the parameters v."""
        solved = torch.linalg.solve_triangular(factor.T, v * mask if before else v, upper=True)
        return solved * scale * mask

    if start is None:
        v, bias = torch.zeros_like(covariance), independent_bias(mean, sites)
    else:
        v = factor.T @ start.weight / scale
        bias = start.bias + mean @ start.weight
    v, b = v.clone().requires_grad_(), (bias / scale).clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [v, b],
        max_iter=STEPS,
        tolerance_grad=1e-7,
        tolerance_change=tolerance,
        history_size=8,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        """Return −ℓ per configuration."""
        optimizer.zero_grad()
        w = weights(v)
        log_p = sites.log_prob(b * scale + centred @ w, x)
        value = -(log_p * share).double().sum() + precision / 2 * w.double().square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        w = weights(v)
        return Regression(sites, w, b * scale - mean @ w, mean, width)


def independent_bias(mean: Tensor, sites: Sites) -> Tensor:
    """Return the biases of independent sites with these means of the features `(N × F,)`."""
    if sites.kind == "spin":
        return mean.clamp(-1 + 1e-4, 1 - 1e-4).atanh()
    if sites.kind == "angle":
        return 2 * mean
    p = mean.unflatten(0, (-1, sites.num_features))
    first = (1 - p.sum(-1, keepdim=True)).clamp(min=1e-4)
    return (p.clamp(min=1e-4) / first).log().flatten()


def best_regression(observations: Observations, sites: Sites, before: bool) -> Regression:
    """Fit regressions with the prior under which held-out observations are most likely.

    The best of `WIDTHS` is compared with its geometric means with both neighbours.

    Args:
        observations: Configurations with weights; of too many, one of several is used.
        sites: Kind of site.
        before: Whether a site sees only the sites before it, or all others.
    """
    size = sites.num_features * observations.rows[0].numel()
    most = max(1_000, int(OPERATIONS / (6 * size**2 * PASSES)))
    observations = observations.every(math.ceil(len(observations.rows) / most))
    # All parts are held out in turn if the fits to them cost no more than one to the most rows.
    num_parts = max(1, most // len(observations.rows))
    folds = list(islice(observations.folds(), num_parts))
    likelihoods = _held_out(folds, sites, before, WIDTHS)
    best = int(likelihoods.argmax())
    neighbours = [math.sqrt(a * b) for a, b in pairwise(WIDTHS[max(best - 1, 0) : best + 2])]
    likelihoods = np.append(likelihoods, _held_out(folds, sites, before, neighbours))
    width = [*WIDTHS, *neighbours][int(likelihoods.argmax())]
    return regress(observations, sites, before, width, tolerance=FINE)


def _held_out(
    folds: Sequence[tuple[Observations, Observations]],
    sites: Sites,
    before: bool,
    widths: Sequence[float],
) -> NDArray[np.float64]:
    """Return the sum of ln p of held-out observations for each width, ascending; −∞ if not tried."""
    likelihoods = np.zeros(len(widths))
    for held_out, train in folds:
        found, best = None, -math.inf
        for index, width in enumerate(widths):
            found = regress(train, sites, before, width, found, ROUGH)
            value = held_out.sum(found.log_prob(held_out.rows))
            likelihoods[index] += value
            if value < best - CLEARLY * held_out.effective_num * held_out.rows[0].numel():
                likelihoods[index + 1 :] = -math.inf
                break
            best = max(best, value)
    return likelihoods
