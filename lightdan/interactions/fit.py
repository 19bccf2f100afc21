"""Fits of couplings to local conditionals, given by spins or by a network."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions.operators import Operator
from lightdan.types import Configurations

STEPS = 30
"""Largest number of steps of Newton's method; about five are needed."""


class Undetermined(ValueError):
    """The configurations do not determine a coupling, for instance because a spin never changes."""

    def __init__(self) -> None:
        super().__init__(
            "The configurations leave a coupling undetermined, for instance because a spin never "
            "changes: use more configurations or fewer operators."
        )


class SiteTerms(NamedTuple):
    """The terms of one operator that contain a given site.

    Args:
        operator: Index of the operator.
        others: Other sites of each term `(terms, order − 1)`.
    """

    operator: int
    others: Tensor


class LocalFields:
    """Local fields of operators.

        x_ia = ∂O_a/∂s_i,  p(s_i | all others) = σ(2 s_i Σ_a βJ_a x_ia)

    For each site only the operators that contain it are stored. A graph has one operator per bond, but
    each site has only a few bonds.

    Args:
        operators: Operators O_a.
        num_sites: Number of sites N.
        device: Device of the computation.
        sites: Sites whose conditionals are used; all by default.
    """

    def __init__(
        self,
        operators: Sequence[Operator],
        num_sites: int,
        device: torch.device | None = None,
        sites: Sequence[int] | None = None,
    ) -> None:
        self.operators, self.num_sites = operators, num_sites
        self.sites = range(num_sites) if sites is None else sites
        self.terms: list[list[SiteTerms]] = [[] for _ in range(num_sites)]
        for index, operator in enumerate(operators):
            terms, order = operator.sites, operator.order
            others = np.concatenate([np.delete(terms, place, axis=1) for place in range(order)])
            members = terms.T.ravel()
            sort = members.argsort(kind="stable")
            present, starts = np.unique(members[sort], return_index=True)
            for site, rows in zip(present, np.split(others[sort], starts[1:]), strict=True):
                self.terms[site].append(SiteTerms(index, torch.as_tensor(rows, device=device)))
        self.columns = [
            torch.tensor([part.operator for part in site_terms], device=device, dtype=torch.long)
            for site_terms in self.terms
        ]
        """Indices of the operators that contain each site."""

    def at(self, site: int, spins: Tensor) -> Tensor:
        """Return x at one site for the operators that contain it: `(N, M)` → `(columns, M)`."""
        x = spins.new_empty(len(self.terms[site]), spins.shape[1], dtype=torch.float64)
        for row, part in zip(x, self.terms[site], strict=True):
            row.copy_(spins[part.others].prod(1, dtype=spins.dtype).sum(0, dtype=torch.float64))
        return x

    def logits(self, configurations: Configurations, couplings: np.ndarray) -> Tensor:
        """Return ln p(s_i = 1 | all others) − ln p(s_i = −1 | all others), `(M, sites)`."""
        spins = by_site(configurations)
        values = torch.as_tensor(couplings, device=spins.device)
        rows = [2 * values[self.columns[i]] @ self.at(i, spins) for i in self.sites]
        return torch.stack(rows, dim=1)


def by_site(configurations: Configurations) -> Tensor:
    """Return spins `(N, M)`, one byte each, contiguous for each site."""
    return configurations.flatten(1).to(torch.int8).T.contiguous()


class Fit(NamedTuple):
    """Fitted couplings βJ and the influence of each configuration on them.

    Args:
        couplings: βJ `(operators,)`.
        influence: Influence of each configuration `(M, operators)`; the covariance of the couplings is
            the covariance of its mean.
        block_size: Number of consecutive, correlated configurations treated as one observation, at
            most M/8.
    """

    couplings: np.ndarray
    influence: np.ndarray
    block_size: int = 1

    @property
    def blocks(self) -> np.ndarray:
        """Deviations of the observations from their mean, divided by M, `(observations, operators)`."""
        num = len(self.influence)
        starts = np.arange(0, num, min(self.block_size, max(1, num // 8)))
        sums = np.add.reduceat(self.influence, starts, axis=0)
        deviations: np.ndarray = (sums - sums.mean(axis=0)) / num
        return deviations

    @property
    def covariance(self) -> np.ndarray:
        """Sandwich covariance of the couplings `(operators, operators)`, valid for any distribution."""
        blocks = self.blocks
        covariance: np.ndarray = blocks.T @ blocks * (len(blocks) / (len(blocks) - 1))
        return covariance

    @property
    def standard_errors(self) -> np.ndarray:
        """Standard errors of the couplings `(operators,)`."""
        blocks = self.blocks
        errors: np.ndarray = np.sqrt((blocks**2).sum(axis=0) * (len(blocks) / (len(blocks) - 1)))
        return errors


def fit(
    fields: LocalFields,
    configurations: Configurations,
    targets: Tensor | None = None,
    offset: Tensor | None = None,
    initial: np.ndarray | None = None,
    block_size: int = 1,
    progress: Callable[[int], None] = lambda n: None,
) -> Fit:
    """Fit couplings βJ to local conditionals by Newton's method.

        ℓ(βJ) = Σ_{s,i} [t_i ln σ(z_i) + (1 − t_i) ln σ(−z_i)],  z_i = h_i + 2 Σ_a βJ_a x_ia

    By default the targets are the spins, t_i = (1 + s_i)/2, and ℓ is the pseudo-likelihood. The targets
    t_i = p_θ(s_i = 1 | all others) project a network onto the operators: they select the Hamiltonian
    with the smallest mean divergence between the local conditionals.

    Undecided spins have the largest weight. In least squares on energy differences, rare and poorly
    learned flips would dominate. Standard errors come from the sandwich estimator.

    Args:
        fields: Local fields x of the operators.
        configurations: Configurations s `(M, *lattice)`.
        targets: Probabilities t `(M, sites)`; by default the spins.
        offset: Fixed logits h `(M, sites)`; 0 by default.
        initial: Initial βJ `(operators,)`; 0 by default.
        block_size: Number of consecutive, correlated configurations treated as one observation.
        progress: Function called with the number of sites just processed; a fit takes about five passes
            over all sites.

    Raises:
        Undetermined: The data leave a coupling undetermined.

    References:
        J. Besag, The Statistician 24, 179 (1975).
    """
    num, parameters = len(configurations), len(fields.operators)
    if not parameters:
        return Fit(np.zeros(0), np.zeros((num, 0)), block_size)
    spins = by_site(configurations)
    targets = None if targets is None else targets.T.contiguous()
    offset = None if offset is None else offset.T.contiguous()
    couplings = torch.zeros(parameters, dtype=torch.float64, device=spins.device)
    if initial is not None:
        couplings += torch.as_tensor(initial, device=spins.device)

    def residuals(row: int, site: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return 2x `(columns, M)`, t − p and p(1 − p) `(M,)`."""
        x = 2 * fields.at(site, spins)
        z = couplings[fields.columns[site]] @ x
        p = torch.sigmoid(z if offset is None else z + offset[row])
        t = (spins[site] > 0).double() if targets is None else targets[row]
        return x, t - p, p * (1 - p)

    for _ in range(STEPS):
        gradient = torch.zeros_like(couplings)
        curvature = torch.zeros(parameters, parameters, dtype=torch.float64, device=spins.device)
        for row, site in enumerate(fields.sites):
            columns = fields.columns[site]
            x, residual, weight = residuals(row, site)
            gradient[columns] += x @ residual
            curvature[columns[:, None], columns] += (x * weight) @ x.T
            progress(1)
        try:
            step = torch.linalg.solve(curvature, gradient)
        except RuntimeError as error:
            raise Undetermined from error
        # Far from the maximum a full step may overshoot to couplings that make all conditionals certain.
        couplings += step / max(1.0, 2.0 * step.abs().max().item())
        if step.abs().max() < 1e-7:
            break
    else:
        raise Undetermined
    scores = torch.zeros(parameters, num, dtype=torch.float32, device=spins.device)
    for row, site in enumerate(fields.sites):
        columns = fields.columns[site]
        x, residual, _ = residuals(row, site)
        scores[columns] += (x * residual).float()
    influence = num * torch.linalg.solve(curvature, scores.double()).T
    return Fit(couplings.cpu().numpy(), influence.cpu().numpy(), block_size)
