"""Couplings of the terms of a graph, each with its own, by one logistic regression per spin."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightdan.interactions.nodes import Node
from lightdan.interactions.observations import Observations
from lightdan.interactions.operators import Term
from lightdan.statistics import student_factor
from lightdan.types import Configurations

BLOCKS = 2_000
"""Largest number of blocks of configurations from which errors are estimated, to 1.6 %."""


@dataclass(frozen=True, eq=False)
class GraphFit:
    """Fitted couplings of the terms of a graph.

        H = −Σ_t J_t Π_{i∈t} s_i

    Args:
        num_sites: Number N of sites.
        terms: Terms t.
        values: βJ with standard errors `(terms, 2)`.
        bounded: Terms that the configurations only bound, because a combination is never seen.
    """

    num_sites: int
    terms: list[Term]
    values: NDArray[np.float64]
    bounded: Sequence[Term] = ()

    def logits(self, configurations: Configurations) -> Tensor:
        """Return ln p(s_i = 1 | all others) − ln p(s_i = −1 | all others), `(M, N)`."""
        spins = configurations.flatten(1).double()
        fields = spins.new_zeros(self.num_sites)
        products = torch.zeros_like(spins)
        for term, coupling in zip(self.terms, self.values[:, 0].tolist(), strict=True):
            if len(term) == 1:
                fields[term] += coupling
            elif len(term) > 2:
                # Π_{j≠i} s_j = s_i Π_j s_j.
                product = coupling * spins[:, term].prod(1, keepdim=True)
                products[:, term] += product * spins[:, term]
        return 2 * (fields + spins @ self.pairs().to(spins) + products)

    def pairs(self) -> Tensor:
        """Return the couplings of all pairs, symmetric `(N, N)`."""
        pairs = torch.zeros(self.num_sites, self.num_sites, dtype=torch.float64)
        for term, coupling in zip(self.terms, self.values[:, 0].tolist(), strict=True):
            if len(term) == 2:
                i, j = term
                pairs[i, j] += coupling
                pairs[j, i] += coupling
        return pairs

    def log_likelihood(self, configurations: Configurations) -> NDArray[np.float64]:
        """Return Σ_i ln p(s_i | all others) of each configuration `(M,)`."""
        z = self.logits(configurations) * configurations.flatten(1)
        total: NDArray[np.float64] = torch.nn.functional.logsigmoid(z).sum(1).cpu().numpy()
        return total


def downs(configurations: Configurations) -> NDArray[np.uint8]:
    """Return 1 where a spin is down, `(M, *lattice)` → `(N, M)`."""
    down: NDArray[np.uint8] = (configurations.flatten(1).T < 0).cpu().numpy().astype(np.uint8)
    return down


def factors_and_signs(
    observations: Observations,
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return how often each row counts, and its factor in sums over blocks of rows `(M,)`.

    A row with a count c stands for c independent observations. Their scores σ add up to cσ, but the
    variance of the sum is only cσ². Random signs times √c give blocks of this variance, in any order of
    the rows.
    """
    if (weights := observations.factors) is None:
        return None, None
    factors = weights.cpu().numpy()
    if not observations.has_counts:
        return factors, None
    signs = np.random.default_rng(0).choice(np.array([-1.0, 1.0]), len(factors))
    return factors, signs * np.sqrt(factors)


def fit_terms(
    configurations: Configurations,
    terms: Sequence[Term],
    targets: Tensor | None = None,
    block_size: int = 1,
    weights: Tensor | None = None,
) -> GraphFit:
    """Fit the couplings of terms by one logistic regression per spin, from counts of patterns.

    Weighted by their curvatures ℓ_i'', the regressions of the spins combine to the couplings of maximum
    pseudo-likelihood, up to terms of order 1/M:

        J = (Σ_i ℓ_i'')⁻¹ Σ_i ℓ_i'' J_i

    Errors are those of the sandwich. A weak prior keeps a coupling finite if a combination of the spins
    is never seen; its error is then the width of the posterior, and the term is `bounded`.

    Args:
        configurations: Configurations s `(M, *lattice)`.
        terms: Terms of the graph.
        targets: Probabilities that the spins are up `(M, N)`, as a network gives them; by default the
            spins.
        block_size: Number of consecutive, correlated configurations treated as one observation.
        weights: Counts (integers) or real weights of the configurations `(M,)`; 1 by default.
    """
    down = downs(configurations)
    num = down.shape[1]
    factors, signs = factors_and_signs(Observations(configurations, weights))
    places = {term: place for place, term in enumerate(terms)}
    by_site: dict[int, list[Term]] = {}
    for term in terms:
        for site in term:
            by_site.setdefault(site, []).append(term)
    length = max(min(block_size, max(1, num // 8)), math.ceil(num / BLOCKS))
    starts = np.arange(0, num, length)
    curvature, weighted = np.zeros((len(terms), len(terms))), np.zeros(len(terms))
    scores, unseen = np.zeros((len(starts), len(terms))), np.zeros(len(terms), bool)
    for site, of_site in by_site.items():
        target = None if targets is None else targets[:, site].double().cpu().numpy()
        node = Node(site, of_site, down, target, factors)
        columns = np.array([places[term] for term in of_site])
        curvature[np.ix_(columns, columns)] += node.regression.curvature
        weighted[columns] += node.regression.curvature @ node.regression.couplings
        scores[:, columns] += node.scores_of_blocks(starts, signs)
        unseen[columns] |= [len(t) > 1 and node.misses(k) for k, t in enumerate(of_site)]
    inverse = np.linalg.inv(curvature)
    influence = scores @ inverse
    influence -= influence.mean(axis=0)
    freedom = max(1, len(starts) - 1)
    errors = np.sqrt((influence**2).sum(axis=0) * len(starts) / freedom) * student_factor(freedom)
    posterior = np.sqrt([len(term) for term in terms] * inverse.diagonal())
    values = np.stack([inverse @ weighted, np.where(unseen, posterior, errors)], axis=1)
    bounded = [term for term, never in zip(terms, unseen, strict=True) if never]
    return GraphFit(len(down), list(terms), values, bounded)
