"""Search for the pairs that interact, among all pairs of angles or fields."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import Tensor

from lightdan.interactions.factors import Harmonic, Power
from lightdan.interactions.fit import Fit, refuse_nan
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.observations import Observations
from lightdan.interactions.operators import Operator, Product
from lightdan.interactions.score_matching import match_scores
from lightdan.interactions.search import FALSE_TERMS
from lightdan.types import Configurations

CANDIDATES = 0.01
"""Probability with which noise makes a pair a candidate."""
OPERATIONS = 2e12
"""Multiplications in the search for candidates, which limit its number of configurations."""
FAR = 3.0
"""Mean of a field in units of its deviation beyond which its powers have a centre."""
EXPONENTS = (1, 2, 3, 4)
"""Powers of a field in its potential."""

Pair = tuple[int, int]


def graph_operators(
    site_kind: str,
    num_sites: int,
    pairs: list[Pair],
    centres: NDArray[np.float64] | None = None,
) -> list[Operator]:
    """Return the operators of a graph of angles or fields, each with its own coupling.

    - angles: ``bond_<i>_<j>`` cos(θ_i − θ_j) and ``sine_<i>_<j>`` sin(θ_i − θ_j) for each pair;
    - fields: ``bond_<i>_<j>`` φ_i φ_j for each pair, and powers ``power_<p>_<i>`` of each, all with
      φ − c in place of φ.

    Args:
        site_kind: Kind of site, ``angle`` or ``real``.
        num_sites: Number of sites N.
        pairs: Ascending sites of each pair.
        centres: Centres c of the fields `(N,)`; 0 by default.
    """
    operators = []
    c = [0.0] * num_sites if centres is None else centres.tolist()
    for i, j in pairs:
        sites = np.array([(i, j)])
        if site_kind == "angle":
            factors = (Harmonic(1), Harmonic(-1))
            cosine, sine = (Product(factors),), (Product(factors, -1j),)
            operators += [
                Operator(f"bond_{i}_{j}", sites, products=cosine),
                Operator(f"sine_{i}_{j}", sites, products=sine),
            ]
        else:
            product = Product((Power(1, c[i]), Power(1, c[j])))
            operators.append(Operator(f"bond_{i}_{j}", sites, products=(product,)))
    if site_kind == "real":
        operators += [
            Operator(f"power_{p}_{i}", np.array([(i,)]), products=(Product((Power(p, c[i]),)),))
            for i in range(num_sites)
            for p in EXPONENTS
        ]
    return operators


def find_pairs(
    configurations: Configurations,
    site_kind: str,
    block_size: int = 1,
    progress: Callable[[int], None] = lambda n: None,
    weights: Tensor | None = None,
) -> list[Pair]:
    """Return the pairs of angles or fields that interact.

    Score matching of each site with all others gives candidates. A joint fit of the candidates then
    drops the pairs that noise could cause; noise leads to `FALSE_TERMS` pairs on average.

    Args:
        configurations: Configurations `(M, *lattice)`.
        site_kind: Kind of site, ``angle`` or ``real``.
        block_size: Number of consecutive, correlated configurations treated as one observation.
        progress: Function called with the number of sites just processed; there are several passes.
        weights: Counts (integers) or real weights of the configurations `(M,)`; 1 by default.

    Raises:
        ValueError: There are fewer configurations than couplings at a site, or a value is not finite.

    References:
        A. Hyvärinen, J. Mach. Learn. Res. 6, 695 (2005).
    """
    refuse_nan(configurations)
    observations = Observations(configurations, weights)
    num, num_sites = int(observations.effective_num), math.prod(configurations.shape[1:])
    parts = 2 if site_kind == "angle" else 1
    columns = parts * (num_sites - 1) + (len(EXPONENTS) if site_kind == "real" else 0)
    if num <= columns:
        raise ValueError(
            f"{num} configurations are too few to search {columns} couplings at every site: "
            f"use more than {columns}."
        )
    most = max(10 * columns, int(OPERATIONS / (4 * columns**2 * num_sites)))
    stride = math.ceil(len(configurations) / most)
    if site_kind == "real":
        # Search in units in which no field is far from 0; the couplings are refitted afterwards.
        configurations = standardized(configurations)
    strided = Observations(configurations, weights).every(stride)
    flat, factors = strided.rows.flatten(1).double().T.contiguous(), strided.factors
    values = flat.new_zeros(num_sites, num_sites, parts)
    variances = flat.new_zeros(num_sites, num_sites, parts)
    for site in range(num_sites):
        others = [other for other in range(num_sites) if other != site]
        first, second = _derivatives(flat, site, others, site_kind)
        couplings, variance = _score_matching(
            first, second, math.ceil(block_size / stride), factors, strided.has_counts
        )
        pairs = parts * len(others)
        values[site, others] = couplings[:pairs].reshape(parts, -1).T
        variances[site, others] = variance[:pairs].reshape(parts, -1).T
        progress(1)
    if site_kind == "angle":
        # sin(θ_j − θ_i) = −sin(θ_i − θ_j).
        opposite = values.transpose(0, 1) * values.new_tensor([1.0, -1.0])
    else:
        opposite = values.transpose(0, 1)
    joint = (values + opposite) / 2
    # The variance of a mean is at most the mean of the variances.
    spread = (variances + variances.transpose(0, 1)) / 2
    z2 = (joint**2 / spread.clamp(min=torch.finfo(spread.dtype).tiny)).sum(-1).triu(1)
    found = (z2 > chi2.isf(CANDIDATES, parts)).nonzero().tolist()
    candidates: list[Pair] = [(i, j) for i, j in found]
    threshold = float(chi2.isf(FALSE_TERMS / (num_sites * (num_sites - 1) / 2), parts))
    while candidates:
        significant = _significant(
            configurations, site_kind, candidates, block_size, threshold, weights, progress
        )
        if len(significant) == len(candidates):
            break
        candidates = significant
    return candidates


def standardized(configurations: Configurations) -> Tensor:
    """Return (φ − mean)/deviation of each site, 0 where it never changes."""
    values = configurations.double()
    deviation = values.std(0)
    return (values - values.mean(0)) / torch.where(deviation > 0, deviation, 1.0)


def centres_of(configurations: Configurations) -> NDArray[np.float64]:
    """Return the means of the fields that are far from 0 in units of their deviation, else 0 `(N,)`."""
    values = configurations.flatten(1).double()
    mean, deviation = values.mean(0), values.std(0)
    centres: NDArray[np.float64] = torch.where(mean.abs() > FAR * deviation, mean, 0.0).cpu().numpy()
    return centres


def _derivatives(flat: Tensor, site: int, others: list[int], site_kind: str) -> tuple[Tensor, Tensor]:
    """Return first and second derivatives of all operators of a site `(columns, M)`."""
    value = flat[site]
    if site_kind == "angle":
        difference = value - flat[others]
        cosine, sine = difference.cos(), difference.sin()
        return torch.cat([-sine, cosine]), torch.cat([-cosine, -sine])
    powers = [p * value ** (p - 1) for p in EXPONENTS]
    bends = [p * (p - 1) * value ** max(p - 2, 0) for p in EXPONENTS]
    first = torch.cat([flat[others], torch.stack(powers)])
    return first, torch.cat([torch.zeros_like(flat[others]), torch.stack(bends)])


def _score_matching(
    first: Tensor, second: Tensor, block_size: int, factors: Tensor | None, counts: bool
) -> tuple[Tensor, Tensor]:
    """Return the couplings of score matching at one site and their variances `(columns,)`."""
    w = torch.ones_like(first[0]) if factors is None else factors
    single = first.float()
    scale = single.square().mean(1).sqrt().clamp(min=1e-30)
    single = single / scale[:, None]
    curvature = ((single * w.float()) @ single.T).double()
    right = (-second / scale[:, None] * w).sum(1)
    # A site that never changes has zeros.
    curvature.diagonal().add_(1e-6 * float(w.sum()))
    factor = torch.linalg.cholesky(curvature)
    couplings = torch.cholesky_solve(right[:, None], factor)[:, 0]
    scores = -(second / scale[:, None]).float() - single * (couplings.float() @ single)
    # A count of c stands for c independent rows, whose variances add up.
    scores *= (w.sqrt() if counts else w).float()
    influence = torch.cholesky_inverse(factor).float() @ scores
    blocks = torch.stack([block.sum(1) for block in influence.split(block_size, 1)], 1)
    return couplings / scale, blocks.double().square().sum(1) / scale**2


def _significant(
    configurations: Configurations,
    site_kind: str,
    pairs: list[Pair],
    block_size: int,
    threshold: float,
    weights: Tensor | None,
    progress: Callable[[int], None],
) -> list[Pair]:
    """Return the pairs whose couplings, fitted jointly, are significant."""
    num_sites = math.prod(configurations.shape[1:])
    operators = graph_operators(site_kind, num_sites, pairs)
    fields = LocalFields(operators, num_sites, configurations.device, None, site_kind, ())
    result = match_scores(
        fields, configurations, block_size=block_size, weights=weights, progress=progress
    )
    z2 = wald(result, len(pairs), 2 if site_kind == "angle" else 1)
    return [pair for pair, value in zip(pairs, z2, strict=True) if value > threshold]


def wald(result: Fit, num_pairs: int, parts: int) -> np.ndarray:
    """Return χ² = Jᵀ V^{−1} J of the couplings of each pair `(pairs,)`.

    Args:
        result: Fit to `graph_operators`.
        num_pairs: Number of pairs.
        parts: Number of couplings of a pair.
    """
    couplings = result.couplings[: num_pairs * parts].reshape(num_pairs, parts)
    deviations = result.deviations[:, : num_pairs * parts].reshape(-1, num_pairs, parts)
    covariance = np.einsum("mpa,mpb->pab", deviations, deviations)
    solved = np.linalg.solve(covariance, couplings[..., None])[..., 0]
    z2: np.ndarray = (couplings * solved).sum(axis=1)
    return z2
