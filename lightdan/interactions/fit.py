"""Couplings from local conditionals: logistic regression of spins, or of what a network says of them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions.hamiltonian import Operator
from lightdan.types import Configurations


class Undetermined(ValueError):
    """The configurations leave a coupling undetermined, for instance where a spin never changes."""

    def __init__(self) -> None:
        super().__init__(
            "the configurations leave a coupling undetermined, for instance where a spin never changes: "
            "give more of them, or fewer operators"
        )


class SiteTerms(NamedTuple):
    """The terms of one operator that a site is in.

    Args:
        operator: Its place in the list of operators.
        others: The other sites of each term `(terms, order − 1)`.
    """

    operator: int
    others: Tensor


class LocalFields:
    """x_ia = ∂O_a/∂s_i, so that p(s_i | all others) = σ(2 s_i Σ_a βJ_a x_ia).

    Kept site by site, with the operators only that a site is in: those of a graph are as many as its
    bonds, and a site has a few.

    Args:
        operators: The O_a.
        num_sites: N.
        device: Where to compute.
        sites: Those whose conditionals are asked for; by default all.
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
            own = terms.T.ravel()
            sort = own.argsort(kind="stable")
            present, starts = np.unique(own[sort], return_index=True)
            for site, rows in zip(present, np.split(others[sort], starts[1:]), strict=True):
                self.terms[site].append(SiteTerms(index, torch.as_tensor(rows, device=device)))
        self.columns = [
            torch.tensor([part.operator for part in of_site], device=device, dtype=torch.long)
            for of_site in self.terms
        ]
        """The operators that each site is in."""

    def at(self, site: int, spins: Tensor) -> Tensor:
        """X of one site and of the operators that it is in, `(columns, M)`, from spins `(N, M)`."""
        x = spins.new_empty(len(self.terms[site]), spins.shape[1], dtype=torch.float64)
        for row, part in zip(x, self.terms[site], strict=True):
            row.copy_(spins[part.others].prod(1, dtype=spins.dtype).sum(0, dtype=torch.float64))
        return x

    def logits(self, configurations: Configurations, couplings: np.ndarray) -> Tensor:
        """Ln p(s_i = 1 | all others) − ln p(s_i = −1 | all others) `(M, sites)`."""
        spins = by_site(configurations)
        values = torch.as_tensor(couplings, device=spins.device)
        rows = [2 * values[self.columns[i]] @ self.at(i, spins) for i in self.sites]
        return torch.stack(rows, dim=1)


def by_site(configurations: Configurations) -> Tensor:
    """Spins `(N, M)` in one byte each, those of a site beside each other."""
    return configurations.flatten(1).to(torch.int8).T.contiguous()


class Fit(NamedTuple):
    """Couplings βJ, and what each configuration adds to them.

    Args:
        couplings: βJ `(operators,)`.
        influence: Of each configuration on them `(M, operators)`; the covariance is that of its mean.
        together: So many consecutive configurations are one independent observation, an eighth of all
            at most.
    """

    couplings: np.ndarray
    influence: np.ndarray
    together: int = 1

    @property
    def blocks(self) -> np.ndarray:
        """Deviations of the observations' sums from their mean, over M `(observations, operators)`."""
        num = len(self.influence)
        starts = np.arange(0, num, min(self.together, max(1, num // 8)))
        sums = np.add.reduceat(self.influence, starts, axis=0)
        deviations: np.ndarray = (sums - sums.mean(axis=0)) / num
        return deviations

    @property
    def covariance(self) -> np.ndarray:
        """Of the couplings `(operators, operators)`, whatever the true distribution."""
        blocks = self.blocks
        covariance: np.ndarray = blocks.T @ blocks * (len(blocks) / (len(blocks) - 1))
        return covariance

    @property
    def standard_errors(self) -> np.ndarray:
        """Of the couplings `(operators,)`."""
        blocks = self.blocks
        errors: np.ndarray = np.sqrt((blocks**2).sum(axis=0) * (len(blocks) / (len(blocks) - 1)))
        return errors


def fit(
    fields: LocalFields,
    configurations: Configurations,
    targets: Tensor | None = None,
    offset: Tensor | None = None,
    initial: np.ndarray | None = None,
    together: int = 1,
    progress: Callable[[int], None] = lambda n: None,
) -> Fit:
    """The βJ that maximise Σ_{s,i} [t ln σ(z) + (1 − t) ln σ(−z)], z_i = h_i + 2 Σ_a βJ_a x_ia.

    Newton's method. With the spins themselves for targets, t_i = (1 + s_i)/2, and no offset h this is
    the maximum of the pseudo-likelihood. With t_i = p_θ(s_i = 1 | all others) it is the projection of
    a network on the operators: of all Hamiltonians made of them that with the smallest mean divergence
    of the local conditionals. A configuration weighs most where a spin is undecided, unlike in least
    squares of the energy differences, which is ruled by rare flips that a network knows least. Standard
    errors are those of the sandwich.

    Args:
        fields: x of the operators.
        configurations: s `(M, *lattice)`.
        targets: t `(M, sites)`; by default of the spins.
        offset: h `(M, sites)`.
        initial: βJ to begin with; by default 0.
        together: So many consecutive configurations are one independent observation.
        progress: Told how many more sites are passed; a fit takes some five times all of them.

    Raises:
        Undetermined: the data leave a coupling undetermined.

    Source: J. Besag, The Statistician 24, 179 (1975).
    """
    num, parameters = len(configurations), len(fields.operators)
    if not parameters:
        return Fit(np.zeros(0), np.zeros((num, 0)), together)
    spins = by_site(configurations)
    targets = None if targets is None else targets.T.contiguous()
    offset = None if offset is None else offset.T.contiguous()
    couplings = torch.zeros(parameters, dtype=torch.float64, device=spins.device)
    if initial is not None:
        couplings += torch.as_tensor(initial, device=spins.device)

    def residuals(row: int, site: int) -> tuple[Tensor, Tensor, Tensor]:
        """2x `(columns, M)`, t − p and p(1 − p) `(M,)`."""
        x = 2 * fields.at(site, spins)
        z = couplings[fields.columns[site]] @ x
        p = torch.sigmoid(z if offset is None else z + offset[row])
        t = (spins[site] > 0).double() if targets is None else targets[row]
        return x, t - p, p * (1 - p)

    for _ in range(30):
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
        # From far away Newton's method may overshoot to where all conditionals are certain.
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
    return Fit(couplings.cpu().numpy(), influence.cpu().numpy(), together)
