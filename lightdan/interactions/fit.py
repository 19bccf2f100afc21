"""Fits of couplings to the conditionals of single sites, given by configurations or by a network."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.operators import Operator
from lightdan.interactions.site_models import LEAST_NODES, MOST_NODES, num_nodes, quadrature, site_model
from lightdan.progress import Fractions
from lightdan.statistics import student_factor
from lightdan.types import Configurations

STEPS = 30
"""Largest number of steps of Newton's method; about five are needed."""
TOLERANCE = 1e-5
"""Largest last step; the error that remains is about its square."""
PILOT = 2_000
"""Number of configurations of a first fit, from which the fit to all of them begins."""
DEPENDENT = 1e-10
"""Eigenvalue of the curvature, with ones on its diagonal, below which operators are dependent."""
QUADRATURE = 200
"""Number of configurations that decide about the quadrature."""


class Undetermined(ValueError):
    """The configurations do not determine a coupling, for instance because a spin never changes.

    Args:
        operators: Operators whose couplings are undetermined.
        reason: Clause that says why.
    """

    def __init__(self, operators: Sequence[Operator] = (), reason: str = "") -> None:
        self.operators = operators
        names = ", ".join(operator.name for operator in operators[:5])
        if len(operators) > 5:
            names += f" and {len(operators) - 5} more"
        culprit = f" ({names}: {reason})" if operators else ""
        super().__init__(
            f"The configurations leave a coupling undetermined{culprit}: use more configurations or "
            "fewer operators."
        )


class Fit(NamedTuple):
    """Fitted couplings βJ and the influence of each configuration on them.

    Args:
        couplings: βJ `(operators,)`.
        influence: Influence of each configuration `(M, operators)`; the covariance of the couplings is
            the covariance of its mean.
        block_size: Number of consecutive, correlated configurations treated as one observation, at
            most M/8.
        counts: Number of independent observations of each configuration `(M,)`; 1 by default.
        prior: Influence of the prior of each coupling, per standard deviation of it `(operators,
            operators)`; none by default.
    """

    couplings: np.ndarray
    influence: np.ndarray
    block_size: int = 1
    counts: np.ndarray | None = None
    prior: np.ndarray | None = None

    @property
    def held(self) -> np.ndarray:
        """Rows of deviations that the prior causes; none without one `(rows, operators)`."""
        return np.zeros((0, len(self.couplings))) if self.prior is None else self.prior

    @property
    def deviations(self) -> np.ndarray:
        """Rows whose squares add up to the covariance of the couplings `(observations, operators)`.

        With few blocks they are larger by `student_factor`, so that ±1 error covers 68 %.
        """
        return np.vstack([self._deviations_of_data(), self.held])

    def _deviations_of_data(self) -> np.ndarray:
        """Return the deviations without those that a prior causes."""
        if self.counts is not None:
            num = int(self.counts.sum())
            deviations = self.influence - np.average(self.influence, axis=0, weights=self.counts)
            scaled: np.ndarray = deviations * np.sqrt(self.counts / (num * (num - 1)))[:, None]
            return scaled * student_factor(num - 1)
        num = len(self.influence)
        starts = np.arange(0, num, min(self.block_size, max(1, num // 8)))
        sums = np.add.reduceat(self.influence, starts, axis=0)
        blocks: np.ndarray = (sums - sums.mean(axis=0)) / num
        return blocks * math.sqrt(len(blocks) / (len(blocks) - 1)) * student_factor(len(blocks) - 1)

    @property
    def covariance(self) -> np.ndarray:
        """Sandwich covariance of the couplings `(operators, operators)`, valid for any distribution."""
        deviations = self.deviations
        covariance: np.ndarray = deviations.T @ deviations
        return covariance

    @property
    def standard_errors(self) -> np.ndarray:
        """Standard errors of the couplings `(operators,)`."""
        errors: np.ndarray = np.sqrt((self.deviations**2).sum(axis=0))
        return errors


def refuse_nan(configurations: Configurations) -> None:
    """Refuse configurations with values that are not finite.

    Raises:
        ValueError: A value is not finite; the message names its row and site, counted from 0.
    """
    bad = ~configurations.flatten(1).isfinite()
    if bad.any():
        row, site = bad.nonzero()[0].tolist()
        raise ValueError(
            f"The value of site {site} in configuration {row} (both counted from 0) is "
            f"{configurations.flatten(1)[row, site].item()}: pass finite numbers only."
        )


def normalized(weights: Tensor | None) -> tuple[Tensor | None, np.ndarray | None]:
    """Return weights with mean 1, and the counts if they are integers.

    Args:
        weights: Counts (integers) or real weights of the configurations `(M,)`.
    """
    if weights is None:
        return None, None
    counts = None if weights.is_floating_point() else weights.cpu().numpy()
    return weights.double() / weights.double().mean(), counts


class _Pass(NamedTuple):
    """Sums over configurations and sites at given couplings."""

    log_likelihood: float
    gradient: Tensor
    curvature: Tensor


def fit(
    fields: LocalFields,
    configurations: Configurations,
    targets: Tensor | None = None,
    offset: Tensor | None = None,
    initial: np.ndarray | None = None,
    block_size: int = 1,
    weights: Tensor | None = None,
    progress: Callable[[int], None] = lambda n: None,
    prior: float = math.inf,
) -> Fit:
    """Fit couplings βJ to the conditionals of single sites by Newton's method.

        ℓ(βJ) = Σ_{s,i} ln p(s_i | all others),  p ∝ e^{h_i(s_i) + Σ_r g_r(s_i) Σ_a βJ_a x_ira}

    By default ℓ is the pseudo-likelihood of the configurations. With targets, the mean of ln p over
    p_θ(s_i | all others) takes the place of ln p(s_i | all others). This projects a network onto the
    operators: it selects the Hamiltonian with the smallest mean divergence between the conditionals.

    Undecided sites have the largest weight. In least squares on energy differences, rare and poorly
    learned changes would dominate. The integrals over continuous sites are sums over equidistant nodes.
    Standard errors come from the sandwich estimator.

    A normal prior of couplings, −Σ_a βJ_a²/2w², holds combinations that the data leave undetermined. The
    errors contain what it may change: that of a combination without data is w.

    Args:
        fields: Local fields x of the operators.
        configurations: Configurations s `(M, *lattice)`.
        targets: Probabilities p_θ(s_i | all others): of an up spin `(M, sites)`, of every level
            `(M, sites, levels)`; by default the configurations themselves.
        offset: Fixed h: logits of spins `(M, sites)`, ln p of every level `(M, sites, levels)`; 0 by
            default.
        initial: Initial βJ `(operators,)`; 0 by default. Fields need finite conditionals there.
        block_size: Number of consecutive, correlated configurations treated as one observation.
        weights: Counts (integers) or real weights of the configurations `(M,)`; 1 by default.
        progress: Function called with the number of sites just processed; a fit takes about five passes
            over all sites.
        prior: Width w of the prior of each βJ; none by default.

    Raises:
        Undetermined: The data leave a coupling undetermined.

    References:
        J. Besag, The Statistician 24, 179 (1975).
    """
    num, parameters = len(configurations), len(fields.operators)
    if not parameters:
        return Fit(np.zeros(0), np.zeros((num, 0)), block_size)
    refuse_nan(configurations)
    couplings = torch.zeros(parameters, dtype=torch.float64, device=configurations.device)
    if initial is not None:
        couplings += torch.as_tensor(initial, device=couplings.device)
    elif num > 4 * PILOT:
        couplings += _pilot(fields, configurations, targets, offset, weights, prior)
    problem = _Problem(fields, configurations, targets, offset, weights, progress, prior)
    problem.choose_nodes(couplings)
    present = problem.evaluate(couplings)
    step = torch.full_like(couplings, torch.nan)
    for _ in range(STEPS):
        scale = _scale(fields, present.curvature, num)
        try:
            scaled = present.curvature / (scale[:, None] * scale)
            step = torch.linalg.solve(scaled, present.gradient / scale) / scale
        except RuntimeError as error:
            raise undetermined(fields, present.curvature, step) from error
        if step.isnan().any():
            raise undetermined(fields, present.curvature, step)
        # Far from the maximum a full step may overshoot to couplings that make all conditionals certain.
        limited = step / max(1.0, 2.0 * step.abs().max().item())
        if fields.site_kind in ("angle", "real"):
            limited = step
        proposal = problem.evaluate(couplings + limited)
        rounding = 1e-9 * (abs(present.log_likelihood) + num)
        while not proposal.log_likelihood >= present.log_likelihood - rounding:
            limited = limited / 2
            if (scale * limited).abs().max() < 1e-9:
                raise undetermined(fields, present.curvature, step)
            proposal = problem.evaluate(couplings + limited)
        couplings, present = couplings + limited, proposal
        if (scale * step).abs().max() < TOLERANCE:
            break
    else:
        raise undetermined(fields, present.curvature, step)
    influence = problem.influence(couplings, present.curvature)
    held = None
    if problem.precision:
        held = math.sqrt(problem.precision) * torch.linalg.inv(present.curvature).cpu().numpy()
    return Fit(couplings.cpu().numpy(), influence, block_size, problem.counts, held)


def _scale(fields: LocalFields, curvature: Tensor, num: int) -> Tensor:
    """Return the numbers that make couplings independent of the unit of a field `(operators,)`."""
    if fields.site_kind != "real":
        return torch.ones_like(curvature[0])
    scale = (curvature.diagonal() / num).sqrt()
    return torch.where(scale > 0, scale, 1.0)


def _pilot(
    fields: LocalFields,
    configurations: Configurations,
    targets: Tensor | None,
    offset: Tensor | None,
    weights: Tensor | None,
    prior: float,
) -> Tensor:
    """Return couplings fitted to some of the configurations, 0 if they are too few."""
    rows = slice(None, None, len(configurations) // PILOT)
    targets, offset, weights = (
        None if part is None else part[rows] for part in (targets, offset, weights)
    )
    try:
        part = fit(fields, configurations[rows], targets, offset, weights=weights, prior=prior)
        couplings = part.couplings
    except Undetermined:
        couplings = np.zeros(len(fields.operators))
    return torch.as_tensor(couplings, device=configurations.device)


class _Problem:
    """Conditionals of all sites as functions of the couplings; the arguments are those of `fit`."""

    def __init__(
        self,
        fields: LocalFields,
        configurations: Configurations,
        targets: Tensor | None,
        offset: Tensor | None,
        weights: Tensor | None,
        progress: Callable[[int], None],
        prior: float,
    ) -> None:
        self.fields, self.configurations = fields, configurations
        self.precision = prior**-2
        self.targets, self.offset, self.progress = targets, offset, Fractions(progress)
        self.weights, self.counts = normalized(weights)
        low, high = 0.0, 1.0
        if fields.site_kind == "real":
            low, high = configurations.min().item(), configurations.max().item()
        self.low, self.high = low, high
        self.model = site_model(fields, low, high)

    def choose_nodes(self, couplings: Tensor) -> None:
        """Choose the number of nodes for continuous sites from the first configurations."""
        if self.fields.site_kind not in ("angle", "real"):
            return
        fine = quadrature(self.fields, self.low, self.high, MOST_NODES)
        rows = self.fields.rows(self.configurations[:QUADRATURE])
        etas = [self.fields.natural(self.fields.at(site, rows), couplings) for site in self.fields.sites]
        most = max([LEAST_NODES, *(num_nodes(fine, eta) for eta in etas if eta.numel())])
        self.model = quadrature(self.fields, self.low, self.high, min(most, MOST_NODES))

    def evaluate(self, couplings: Tensor) -> _Pass:
        """Return ℓ with the prior, its gradient and the negative of its second derivatives."""
        gradient = -self.precision * couplings
        curvature = torch.diag(torch.full_like(couplings, self.precision))
        total = 0.5 * (gradient @ couplings).item()
        num = len(self.configurations)
        for chunk in self.fields.chunks(num):
            rows = self.fields.rows(self.configurations[chunk])
            weights = None if self.weights is None else self.weights[chunk]
            for position, site in enumerate(self.fields.sites):
                fields = self.fields.at(site, rows)
                if not fields:
                    continue
                offset = None if self.offset is None else self.offset[chunk, position]
                eta = self.fields.natural(fields, couplings)
                log_z, mean, covariance = self.model.moments(eta, offset)
                target = self._target(position, site, rows.values[site], chunk)
                log_p = (eta * target).sum(0) - log_z
                if offset is not None and self.targets is None:
                    log_p = log_p + self.model.log_offset(rows.values[site], offset)
                residual = target - mean
                if weights is not None:
                    log_p, residual, covariance = (
                        log_p * weights,
                        residual * weights,
                        covariance * weights,
                    )
                total += log_p.sum().item()
                for r, columns, x in fields:
                    gradient[columns] += x @ residual[r]
                    for other, other_columns, other_x in fields:
                        block = (x * covariance[r, other]) @ other_x.T
                        curvature[columns[:, None], other_columns] += block
                self.progress.add((chunk.stop - chunk.start) / num)
        return _Pass(total, gradient, curvature)

    def _target(self, position: int, site: int, values: Tensor, chunk: slice) -> Tensor:
        """Return the features that the conditional of a site should have on average."""
        if self.targets is None:
            return self.model.features(values)
        return self.model.target_features(self.targets[chunk, position])

    def influence(self, couplings: Tensor, curvature: Tensor) -> np.ndarray:
        """Return the influence of each configuration on the couplings `(M, operators)`."""
        num = len(self.configurations)
        scale = _scale(self.fields, curvature, num)
        inverse = num * torch.linalg.inv(curvature / (scale[:, None] * scale))
        inverse /= scale[:, None] * scale
        influence = np.empty((num, len(couplings)))
        for chunk in self.fields.chunks(num):
            rows = self.fields.rows(self.configurations[chunk])
            scores = torch.zeros(len(couplings), rows.values.shape[1], dtype=torch.float64)
            scores = scores.to(couplings.device)
            for position, site in enumerate(self.fields.sites):
                fields = self.fields.at(site, rows)
                if not fields:
                    continue
                offset = None if self.offset is None else self.offset[chunk, position]
                mean = self.model.moments(self.fields.natural(fields, couplings), offset).mean
                residual = self._target(position, site, rows.values[site], chunk) - mean
                for r, columns, x in fields:
                    scores[columns] += x * residual[r]
            if self.weights is not None and self.counts is None:
                scores *= self.weights[chunk]
            influence[chunk] = (inverse @ scores).T.cpu().numpy()
        return influence


def undetermined(fields: LocalFields, curvature: Tensor, step: Tensor) -> Undetermined:
    """Return the error that names the operators that the configurations leave undetermined.

    Args:
        fields: Local fields of the operators.
        curvature: Negative second derivatives of ℓ `(operators, operators)`.
        step: Last step of Newton's method `(operators,)`.
    """

    def named(mask: Tensor) -> list[Operator]:
        return [fields.operators[index] for index in mask.nonzero().ravel().tolist()]

    diagonal = curvature.diagonal()
    if diagonal.isnan().any():
        return Undetermined(named(diagonal.isnan()), "a value is not a number")
    # Powers of a field have units, so their curvatures cannot be compared.
    least = 0.0 if fields.site_kind == "real" else 1e-12 * diagonal.max()
    if (silent := diagonal <= least).any():
        return Undetermined(named(silent), "their sites never change, or never freely")
    scale = diagonal.rsqrt()
    values, vectors = torch.linalg.eigh(scale[:, None] * curvature * scale)
    if values[0] < DEPENDENT:
        return Undetermined(named(vectors[:, 0].abs() > 0.1), "they are dependent on the data")
    large = step.abs() > 0.1 * step.abs().max()
    return Undetermined(named(large), "larger and larger couplings fit the data")
