"""Regressions on the sites before that follow from all pairs, by summing out later sites."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightdan.interactions.observations import Observations
from lightdan.interactions.regressions import Regression, Sites, independent_bias

PASSES = 10
"""Number of corrections of a bias that reproduce the mean of a site."""


def marginal(couplings: Tensor, sites: Sites, observations: Observations, width: float) -> Regression:
    """Return the regressions of all sites on the sites before that follow from all pairs.

        ln p(s) = Σ_i b_i · f(s_i) + Σ_{i<j} f(s_i)ᵀ J_ij f(s_j) + const

    Sites are summed out from the last to the first. To second order in J, site k leaves the couplings
    J_ik C_k J_kj between the sites before it. C_k is the covariance of f(s_k) given these sites,
    averaged over observations. The biases reproduce the means of f in the observations.

    Args:
        couplings: J, symmetric `(N × F, N × F)`.
        sites: Kind of site, spins or levels.
        observations: Configurations with weights.
        width: Width of the Gaussian prior of J, which the regressions state.
    """
    x = sites.features(observations.rows).double()
    factors = observations.factors
    share = torch.full((len(x), 1), 1 / len(x), dtype=x.dtype, device=x.device)
    if factors is not None:
        share = (factors / factors.sum())[:, None].to(x)
    mean, size = (share * x).sum(0), sites.num_features
    centred, joint = x - mean, couplings.to(x).clone()
    weight, bias = torch.zeros_like(joint), torch.zeros_like(mean)
    for start in reversed(range(0, len(mean), size)):
        own, before = slice(start, start + size), slice(0, start)
        weight[before, own] = joint[before, own]
        driven = centred[:, before] @ joint[before, own]
        target = independent_bias(mean[own], sites)
        shift = target
        for _ in range(PASSES):
            p = _means(shift + driven, sites)
            shift = shift + target - independent_bias((share * p).sum(0), sites)
        p = _means(shift + driven, sites)
        # f² is 1 for spins, and f for levels, of which only one is 1.
        squares = torch.ones_like(p) if sites.kind == "spin" else p
        covariance = torch.diag((share * squares).sum(0)) - p.T @ (share * p)
        joint[before, before] += joint[before, own] @ covariance @ joint[own, before]
        bias[own] = shift - mean[before] @ weight[before, own]
    return Regression(sites, weight.float(), bias.float(), mean.float(), width)


def _means(eta: Tensor, sites: Sites) -> Tensor:
    """Return ⟨f(s)⟩ of a site `(M, F)` from η `(M, F)`."""
    if sites.kind == "spin":
        return eta.tanh()
    return F.pad(eta, (1, 0)).softmax(1)[:, 1:]
