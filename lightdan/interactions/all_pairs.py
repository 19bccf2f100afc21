"""Fields and all pairs of spins at once, with a Gaussian prior of the couplings."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions.graph_fit import GraphFit, factors_and_signs
from lightdan.interactions.nodes import PRIOR
from lightdan.interactions.observations import Observations
from lightdan.interactions.operators import Term
from lightdan.statistics import student_factor
from lightdan.types import Configurations

STEPS = 60
"""Largest number of steps of conjugate gradients; about ten are needed."""
ROUGH = 20
"""Largest number of steps where the couplings are not reported."""
TOLERANCE = 1e-3
"""Distance from the maximum, in squared standard errors per site, at which the steps end."""
BLOCKS = 1_000
"""Largest number of blocks of configurations from which errors are estimated, to 2 %."""
SHORTENINGS = 5
"""Largest number of times that a step is shortened because it went too far."""
CHUNK = 32
"""Number of blocks whose influence is computed at a time."""
WIDTHS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0)
"""Widths of the prior among which held-out configurations choose."""
LIMIT = 20_000
"""Largest number of configurations that choose the width."""


class _Nodes:
    """One logistic regression per site on all other sites, at their common maximum.

    ℓ_i = Σ_s ln σ(2 s_i (h_i + Σ_j B_ji (s_j − m_j))) − Σ_j B_ji²/(2 width²)
    """

    def __init__(
        self,
        spins: Tensor,
        width: float,
        start: Tensor | None = None,
        steps: int = STEPS,
        targets: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> None:
        observations = Observations(spins, weights)
        spins = spins.float()
        self.num_rows, self.num_sites = spins.shape
        self.num = observations.effective_num
        factors, self.signs = factors_and_signs(observations)
        self.factors: Tensor | float = 1.0
        if factors is not None:
            self.factors = torch.as_tensor(factors, device=spins.device).float()[:, None]
        self.mean = (self.factors * spins).sum(0) / self.num
        self.up = (spins + 1) / 2 if targets is None else targets.float()
        self.x = torch.cat([spins - self.mean, torch.ones_like(spins[:, :1])], 1)
        self.precision = spins.new_full((self.num_sites + 1, 1), width**-2, dtype=torch.float32)
        self.precision[-1] = PRIOR
        self.values = torch.zeros(self.num_sites + 1, self.num_sites, device=spins.device)
        limit = 1 / (2 * self.num)
        self.values[-1] = torch.logit((self.factors * self.up).sum(0) / self.num, limit) / 2
        if start is not None:
            self.values = start.clone()
        self._converge(steps)

    def residuals(self) -> Tensor:
        """Return the residuals (1 + s)/2 − p `(M, N)`."""
        return self.up - torch.sigmoid(2 * self.x @ self.values)

    @property
    def factors_of_blocks(self) -> Tensor | float:
        """Factors of the residuals in sums over blocks of rows `(M, 1)`, see `factors_and_signs`."""
        if self.signs is None:
            return self.factors
        return torch.as_tensor(self.signs, device=self.x.device).float()[:, None]

    def gradient(self, residuals: Tensor) -> Tensor:
        """Return ∂ℓ_i/∂B `(N + 1, N)`; there is no coupling of a site to itself."""
        gradient = 2 * self.x.T @ (self.factors * residuals) - self.precision * self.values
        gradient[:-1].fill_diagonal_(0)
        return gradient

    def _converge(self, steps: int) -> None:
        """Maximise ℓ_i of all sites by conjugate gradients of Polak and Ribière.

        They are preconditioned by the curvature with the mean weight of each site in place of all its
        weights, so that one factorisation serves all sites.
        """
        squares, vectors = torch.linalg.eigh(self.x.T[:-1] @ (self.factors * self.x[:, :-1]))
        squares = squares.clamp(min=0)[:, None]
        z = 2 * self.x @ self.values
        p = torch.sigmoid(z)
        weights = 4 * ((self.factors * p * (1 - p)).sum(0) / self.num).clamp(min=1e-6)
        scales = 1 / (weights * squares + self.precision[0])
        self.variances = vectors**2 @ scales

        def precondition(gradient: Tensor) -> Tensor:
            step = vectors @ (scales * (vectors.T @ gradient[:-1]))
            # A Lagrange multiplier keeps B_ii = 0.
            multiplier = torch.diag(-step.diagonal() / self.variances.diagonal())
            step = step + vectors @ (scales * (vectors.T @ multiplier))
            last = gradient[-1:] / (weights * self.num + PRIOR)
            return torch.cat([step.fill_diagonal_(0), last])

        direction, old, old_size = torch.zeros_like(self.values), torch.zeros_like(self.values), None
        for _ in range(steps):
            gradient = self.gradient(self.up - p)
            step = precondition(gradient)
            size = (step * gradient).sum(0)
            if size.sum() < TOLERANCE * self.num_sites:
                break
            if old_size is not None:
                change = size - (step * old).sum(0)
                step = step + (change / old_size.clamp(min=1e-30)).clamp(min=0) * direction
            direction, old, old_size = step, gradient, size
            along = 2 * self.x @ direction
            slope = (gradient * direction).sum(0)
            prior = (self.precision * direction**2).sum(0)
            bend = (self.factors * p * (1 - p) * along**2).sum(0)
            length = slope / (bend + prior).clamp(min=1e-30)
            for _ in range(SHORTENINGS):
                p = torch.sigmoid(z + length * along)
                new = (self.factors * (self.up - p) * along).sum(0) - length * prior
                new -= (self.precision * self.values * direction).sum(0)
                far = new < -slope / 2
                if not far.any():
                    break
                length = torch.where(far, length * slope / (slope - new), length)
            self.values += length * direction
            z += length * along

    def polish(self, progress: Callable[[int], None]) -> Tensor:
        """Take one exact step of Newton's method; return the inverse curvatures `(N, N + 1, N + 1)`."""
        residuals = self.residuals()
        gradient = self.gradient(residuals)
        p = self.up - residuals
        weights = 4 * self.factors * p * (1 - p)
        inverses = torch.empty(self.num_sites, *[self.num_sites + 1] * 2, device=self.x.device)
        for site in range(self.num_sites):
            curvature = (self.x * weights[:, site, None]).T @ self.x
            curvature.diagonal().add_(self.precision[:, 0])
            curvature[site] = curvature[:, site] = 0
            curvature[site, site] = 1
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(curvature))
            inverse[site, site] = 0
            inverses[site] = inverse
            self.values[:, site] += inverse @ gradient[:, site]
            progress(1)
        return inverses


def fit_all_pairs(
    configurations: Configurations,
    width: float,
    block_size: int = 1,
    errors: bool = True,
    targets: Tensor | None = None,
    weights: Tensor | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> GraphFit:
    """Fit all fields and pairs by logistic regressions of each site on all others.

    The coupling of a pair is the mean of both regressions, weighted by their precisions. Its error is
    that of this mean by the sandwich, and contains the bias that a prior of this width causes on
    average. Errors need 4 N³ bytes of memory.

    Args:
        configurations: Configurations s `(M, *lattice)`.
        width: Width of the Gaussian prior of βJ.
        block_size: Number of consecutive, correlated configurations treated as one observation.
        errors: Whether errors are estimated, which takes longer than the fit.
        targets: Probabilities that the spins are up `(M, N)`, as a network gives them; by default the
            spins.
        weights: Counts (integers) or real weights of the configurations `(M,)`; 1 by default.
        progress: Function called with the number of sites whose errors are just estimated.

    References:
        M. Ekeberg, T. Hartonen and E. Aurell, J. Comput. Phys. 276, 341 (2014).
    """
    nodes = _Nodes(configurations.flatten(1), width, targets=targets, weights=weights)
    if errors:
        return _with_errors(nodes, block_size, progress)
    return _without_errors(nodes)


def _without_errors(nodes: _Nodes) -> GraphFit:
    couplings = (nodes.values[:-1] + nodes.values[:-1].T) / 2
    fields = nodes.values[-1] - nodes.mean @ couplings
    nothing = torch.full_like(couplings, math.nan)
    return _graph(torch.stack([fields, nothing[0]], 1), torch.stack([couplings, nothing], 2))


def _graph(fields: Tensor, couplings: Tensor) -> GraphFit:
    """Return the terms of fields `(N, 2)` and symmetric couplings `(N, N, 2)`."""
    num = len(fields)
    rows, columns = np.triu_indices(num, 1)
    terms: list[Term] = [(i,) for i in range(num)]
    terms += zip(rows.tolist(), columns.tolist(), strict=True)
    values = torch.cat([fields, couplings[rows, columns]]).double().cpu().numpy()
    return GraphFit(num, terms, values)


def _with_errors(nodes: _Nodes, block_size: int, progress: Callable[[int], None]) -> GraphFit:
    inverses = nodes.polish(progress)
    residuals = nodes.residuals()
    variances = inverses.diagonal(dim1=1, dim2=2)[:, :-1].T.clamp(min=1e-12)  # [j, i] of site i
    share = variances.T / (variances + variances.T)
    values = share * nodes.values[:-1]
    values = values + values.T
    square = torch.zeros_like(values)
    fields_square = torch.zeros_like(nodes.mean)
    num = nodes.num_rows
    length = max(min(block_size, max(1, num // 8)), math.ceil(num / BLOCKS))
    residuals = residuals * nodes.factors_of_blocks
    parts = [2 * r.T @ x for r, x in zip(residuals.split(length), nodes.x.split(length), strict=True)]
    for start in range(0, len(parts), CHUNK):
        scores = torch.stack(parts[start : start + CHUNK], 1)  # (N, blocks, N + 1)
        influence = torch.bmm(scores, inverses).permute(1, 2, 0)  # (blocks, N + 1, N)
        pairs = share * influence[:, :-1]
        pairs = pairs + pairs.mT
        square += (pairs**2).sum(0)
        fields_square += ((influence[:, -1] - nodes.mean @ pairs) ** 2).sum(0)
    freedom = max(1, len(parts) - 1)
    factor = len(parts) / freedom * student_factor(freedom) ** 2
    square *= factor
    fields_square *= factor
    # The bias −H⁻¹B/width² on average over B with the width of the prior.
    precision = float(nodes.precision[0])
    own = (inverses[:, :, :-1] ** 2)[:, :-1].sum(1).T * share**2
    shared = share * variances
    bias = precision * (own + own.T + 2 * shared * shared.T)
    fields = nodes.values[-1] - nodes.mean @ values
    through = inverses[:, -1, :-1].T  # of h' through the couplings of the site
    fields_bias = precision * (through**2).sum(0) + (nodes.mean[:, None] ** 2 * bias).sum(0)
    return _graph(
        torch.stack([fields, (fields_square + fields_bias).sqrt()], 1),
        torch.stack([values, (square + bias).sqrt()], 2),
    )


def likely_pairs(
    spins: Tensor, least: float, width: float = 1.0, weights: Tensor | None = None
) -> list[Term]:
    """Return the pairs whose couplings in a rough fit of all pairs exceed some standard errors.

    Args:
        spins: Spins s `(M, N)`.
        least: Number of standard errors.
        width: Width of the Gaussian prior of βJ.
        weights: Counts (integers) or real weights of the configurations `(M,)`; 1 by default.
    """
    nodes = _Nodes(spins, width, steps=ROUGH, weights=weights)
    values = (nodes.values[:-1] + nodes.values[:-1].T) / 2
    errors = ((nodes.variances + nodes.variances.T) / 2).sqrt()
    return [(i, j) for i, j in (values.abs() > least * errors).triu(1).nonzero().tolist()]


def choose_width(
    configurations: Configurations,
    weights: Tensor | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> float:
    """Return the width of the prior with the largest pseudo-likelihood of held-out configurations.

    Args:
        configurations: Configurations s `(M, *lattice)`; of many, only the first `LIMIT` are used.
        weights: Counts (integers) or real weights of the configurations `(M,)`; 1 by default.
        progress: Function called after each fit.
    """
    gains = np.zeros(len(WIDTHS))
    for held_out, train in Observations(configurations.flatten(1), weights).limit(LIMIT).folds():
        start = None
        for index, width in enumerate(WIDTHS):
            nodes = _Nodes(train.rows, width, start, ROUGH, weights=train.weights)
            start = nodes.values
            gains[index] += held_out.sum(_without_errors(nodes).log_likelihood(held_out.rows))
            progress(1)
    return WIDTHS[int(gains.argmax())]
