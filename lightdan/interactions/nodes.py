"""Logistic regressions of single spins on the others, from counts of their patterns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightdan.interactions.operators import Term

PRIOR = 1 / 9
"""Precision of the weak Gaussian prior of βJ, which keeps couplings of patterns never seen finite."""
DENSE = 12
"""Largest number of columns with a table of all their patterns."""
STEPS = 50
"""Largest number of steps of Newton's method; about six are needed."""
LEAST = 1 / math.sqrt(2 * math.pi)
"""Smallest correction q, of the most extreme outcome, which has the probability e^{−r²/2}."""


class Table(NamedTuple):
    """Counts of the patterns of some columns.

    Args:
        design: Values ±1 of the columns in each pattern `(patterns, columns)`.
        totals: Number of configurations with each pattern `(patterns,)`.
        ups: Number of these in which the spin is up `(patterns,)`, or the sum of its probabilities.
        codes: Index of the pattern of each configuration `(M,)`.
    """

    design: NDArray[np.float64]
    totals: NDArray[np.float64]
    ups: NDArray[np.float64]
    codes: NDArray[np.intp]


class Regression(NamedTuple):
    """Fit of a spin's conditional, ln p(up) − ln p(down) = 2 Σ_t βJ_t x_t.

    Args:
        couplings: βJ `(columns,)`.
        curvature: −ℓ'' at the maximum `(columns, columns)`.
        log_likelihood: ℓ at the maximum, with the weak prior.
    """

    couplings: NDArray[np.float64]
    curvature: NDArray[np.float64]
    log_likelihood: float


def tabulate(
    columns: NDArray[np.uint8], up: NDArray[Any], factors: NDArray[np.float64] | None = None
) -> Table:
    """Count the patterns of columns.

    Args:
        columns: One row per column, 1 where its value is −1, `(columns, M)`.
        up: 1 where the spin is up, or the probability that it is, `(M,)`.
        factors: Number of times that each configuration counts `(M,)`; 1 by default.
    """
    num = len(columns)
    if num <= DENSE:
        codes = np.zeros(up.size, np.intp)
        for place, column in enumerate(columns):
            codes |= column.astype(np.intp) << place
        patterns = np.arange(2**num)[:, None] >> np.arange(num) & 1
    else:
        # A sum of random integers is a hash; two patterns out of M share one with probability M²/2⁶⁵.
        keys = np.random.default_rng(0).integers(-(2**62), 2**62, num)
        hashes = np.zeros(up.size, np.int64)
        for key, column in zip(keys, columns, strict=True):
            hashes += key * column
        _, rows, codes = np.unique(hashes, return_index=True, return_inverse=True)
        patterns = columns[:, rows].T
    totals = np.bincount(codes, weights=factors, minlength=len(patterns)).astype(float)
    weighted = up if factors is None else up * factors
    ups = np.bincount(codes, weights=weighted, minlength=len(patterns))
    design = np.asarray(1.0 - 2.0 * patterns, np.float64)
    return Table(design, totals, np.asarray(ups, np.float64), codes)


def regress(table: Table, keep: Sequence[int] | None = None) -> Regression:
    """Fit the couplings of the columns by Newton's method, with a weak prior.

    Args:
        table: Counts of patterns.
        keep: Indices of the columns used; all by default.
    """
    seen = table.totals > 0
    x = 2 * (table.design if keep is None else table.design[:, keep])[seen]
    totals, ups = table.totals[seen], table.ups[seen]

    def log_likelihood(couplings: NDArray[np.float64]) -> float:
        z = x @ couplings
        return float(ups @ z - totals @ np.logaddexp(0, z) - PRIOR / 2 * couplings @ couplings)

    couplings = np.zeros(x.shape[1])
    best = log_likelihood(couplings)
    identity = PRIOR * np.eye(len(couplings))
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(x @ couplings)))
        gradient = x.T @ (ups - totals * p) - PRIOR * couplings
        curvature = (x.T * (totals * p * (1 - p))) @ x + identity
        step = np.linalg.solve(curvature, gradient)
        if gradient @ step < 1e-9:
            break
        while (new := log_likelihood(couplings + step)) < best and np.abs(step).max() > 1e-9:
            step /= 2
        couplings, best = couplings + step, max(new, best)
    return Regression(couplings, curvature, best)


def signed_root(full: Regression, column: int, reduced: Regression) -> float:
    """Return the signed root r* of the likelihood ratio, a normal number if a coupling is 0.

        r = ± √(2Δℓ),  r* = r + ln(q/r)/r,  q = (1 − e^{−4|βJ|})/4 √(det ℓ''/det ℓ''_reduced)

    The tail of r* is that of the exact test, to a few per cent, even with a handful of counts. There
    βJ/σ and the score deceive: the first stays small for strong couplings, the second is large for a few
    chance coincidences of rare events.

    Args:
        full: Fit with the coupling.
        column: Its index.
        reduced: Fit without it.

    References:
        W. Hauck and A. Donner, J. Am. Stat. Assoc. 72, 851 (1977), deception by βJ/σ.
        O. Barndorff-Nielsen, Biometrika 73, 307 (1986), r*.
        H. Daniels, Int. Stat. Rev. 55, 37 (1987), q of a lattice variable.
    """
    coupling = full.couplings[column]
    r = math.sqrt(2 * max(0.0, full.log_likelihood - reduced.log_likelihood))
    if r > 1:
        logs = [np.linalg.slogdet(fit.curvature)[1] for fit in (full, reduced)]
        q = -math.expm1(-4 * abs(coupling)) / 4 * math.exp((logs[0] - logs[1]) / 2)
        r += math.log(max(q, LEAST) / r) / r
    return math.copysign(max(r, 0.0), coupling)


@dataclass(eq=False)
class Node:
    """The conditional of one spin under a set of terms.

    Args:
        site: Site i of the spin.
        terms: Terms that contain it.
        down: 1 where a spin is down `(N, M)`.
        target: Probabilities that the spin is up `(M,)`; by default the spin itself, 0 or 1.
        factors: Number of times that each configuration counts `(M,)`; 1 by default.
    """

    site: int
    terms: list[Term]
    down: NDArray[np.uint8]
    target: NDArray[np.float64] | None = None
    factors: NDArray[np.float64] | None = None

    @cached_property
    def table(self) -> Table:
        """Counts of the patterns of the terms."""
        return self.tabulate(self.terms)

    @cached_property
    def regression(self) -> Regression:
        """Fit of the couplings."""
        return regress(self.table)

    @cached_property
    def errors(self) -> NDArray[np.float64]:
        """Standard errors σ of the couplings by the curvature `(terms,)`."""
        errors: NDArray[np.float64] = np.sqrt(np.linalg.inv(self.regression.curvature).diagonal())
        return errors

    def wald(self, term: Term) -> tuple[float, float]:
        """Return βJ and βJ/σ of one of the terms."""
        column = self.terms.index(term)
        coupling = float(self.regression.couplings[column])
        return coupling, coupling / float(self.errors[column])

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Probability that the spin is up, given all others, in each pattern `(patterns,)`."""
        p: NDArray[np.float64] = 1 / (1 + np.exp(-2 * self.table.design @ self.regression.couplings))
        return p

    @property
    def residuals(self) -> NDArray[np.float64]:
        """Target − p(s_i = 1 | all others) of the configurations `(M,)`."""
        residuals: NDArray[np.float64] = self.up - self.probabilities[self.table.codes]
        return residuals

    @property
    def up(self) -> NDArray[Any]:
        """Target: 1 where the spin is up, or the probability that it is, `(M,)`."""
        return 1 - self.down[self.site] if self.target is None else self.target

    def scores_of_blocks(
        self, starts: NDArray[np.intp], signs: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return ∂ℓ/∂J summed over blocks of configurations, `(blocks, terms)`.

        Args:
            starts: First configuration of each block `(blocks,)`.
            signs: Factor of each configuration `(M,)`; by default how often it counts.
        """
        signs = self.factors if signs is None else signs
        residuals = self.residuals if signs is None else self.residuals * signs
        scores = (2 * self.table.design)[self.table.codes] * residuals[:, None]
        return np.add.reduceat(scores, starts, axis=0)

    def misses(self, column: int) -> bool:
        """Return whether one of the four combinations of the spin and a column is never seen."""
        with_down = self.table.design[:, column] < 0
        totals, ups = self.table.totals, self.table.ups
        return any(not 0 < ups[rows].sum() < totals[rows].sum() for rows in (with_down, ~with_down))

    def scores(self, x: Tensor) -> NDArray[np.float64]:
        """Return the scores of more columns, in units of their standard deviations, `(columns,)`.

            z = Σ_s r x̃/√(Σ_s p (1 − p) x̃²)

        Args:
            x: Values of the columns `(M, columns)`; x̃ is what the terms do not explain of x.
        """
        p = self.probabilities
        weights = p * (1 - p)
        table = self.table
        rows = np.concatenate([table.design.T * weights, -p[None]])[:, table.codes]
        rows[-1] += self.up
        if self.factors is not None:
            rows *= self.factors
        sums = (torch.as_tensor(rows, device=x.device).float() @ x).double().cpu().numpy()
        shared, score = sums[:-1], sums[-1]
        total = float(weights @ table.totals)
        explained = (shared * np.linalg.solve(self.regression.curvature / 4, shared)).sum(axis=0)
        variance = np.maximum(total - explained, 1e-4 * total)
        z: NDArray[np.float64] = score / np.sqrt(variance)
        return z

    def influence(self, term: Term, num: int) -> NDArray[np.float64]:
        """Return r x̃ of a term in the first configurations, with unit norm, `(num,)`; see `scores`.

        A configuration that counts c times stands for c independent ones, whose norm grows like √c.
        """
        weights = (p := self.probabilities) * (1 - p)
        codes = self.table.codes[:num]
        others = [place for place, other in enumerate(self.terms) if other != term]
        x = 1.0 - 2.0 * self.columns([term])[0, :num]
        shared = (self.table.design[:, others].T * weights)[:, codes]
        share: float = len(self.down[0]) / num
        if self.factors is not None:
            factors = self.factors[:num]
            shared, share = shared * factors, self.factors.sum() / factors.sum()
        shares = np.linalg.solve(self.regression.curvature[np.ix_(others, others)] / 4, shared @ x)
        x -= (shares @ self.table.design[:, others].T)[codes] * share
        influence = self.residuals[:num] * x
        if self.factors is not None:
            influence *= np.sqrt(factors)
        return influence / max(float(np.linalg.norm(influence)), 1e-12)

    def tabulate(self, terms: Sequence[Term]) -> Table:
        """Count the patterns of terms; the column of a field is 1."""
        return tabulate(self.columns(terms), self.up, self.factors)

    def columns(self, terms: Sequence[Term]) -> NDArray[np.uint8]:
        """Return 1 where the product of the other spins of a term is −1, `(terms, M)`."""
        columns = np.zeros((len(terms), self.down.shape[1]), np.uint8)
        for column, term in zip(columns, terms, strict=True):
            for other in term:
                if other != self.site:
                    column ^= self.down[other]
        return columns

    def evidence(self, term: Term) -> float:
        """Return r* of a term, be it among the terms or not."""
        if term in self.terms:
            column = self.terms.index(term)
            others = [index for index in range(len(self.terms)) if index != column]
            return signed_root(self.regression, column, regress(self.table, others))
        full = regress(self.tabulate([*self.terms, term]))
        return signed_root(full, len(self.terms), self.regression)
