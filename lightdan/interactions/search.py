"""Search for the terms of a Hamiltonian: fields, pairs and products of more spins."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from lightdan.interactions.fit import Fit, fit
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.operators import Term, operators_of_terms
from lightdan.types import Configurations

FALSE_TERMS = 0.01
"""Expected number of terms found in noise, over all terms tested at a time."""
PRELIMINARY = 20_000
"""Number of configurations for a first search, before all of them decide."""
ROUNDS = 30
"""Largest number of rounds of fitting, dropping and adding; about five are needed."""
SHORT_LIST = 200
"""Number of products tested with all configurations."""


def significance(num_tests: int) -> float:
    """Return the |z| that `FALSE_TERMS` out of `num_tests` normal numbers exceed on average."""
    return float(norm.isf(FALSE_TERMS / (2 * num_tests)))


class TermSearch:
    """A stepwise search for the terms t of an explicit Hamiltonian and their couplings.

        H = −Σ_t J_t Π_{i∈t} s_i

    With the pseudo-likelihood ℓ(J) = Σ_{s,i} ln p(s_i | all others), the residual of a spin is

        r_i = (1 + s_i)/2 − p(s_i = 1 | all others)

    and the score of a term that is not part of H is Σ_s Σ_{i∈t} r_i Π_{j∈t, j≠i} s_j. The threshold
    for couplings and scores is such that noise leads to `FALSE_TERMS` terms on average.

    Args:
        configurations: Configurations s `(M, *lattice)` of N sites.
        candidates: Products of more than two spins that are tested like pairs, `(terms, order)`.

    References:
        E. Aurell and M. Ekeberg, Phys. Rev. Lett. 108, 090201 (2012), pseudo-likelihood.
        A. Decelle and F. Ricci-Tersenghi, Phys. Rev. Lett. 112, 070603 (2014), stepwise decimation.
    """

    def __init__(self, configurations: Configurations, candidates: np.ndarray | None = None) -> None:
        self.configurations = configurations
        self.spins = configurations.flatten(1).float()
        self.num_sites = self.spins.shape[1]
        products = np.empty((0, 4), np.intp) if candidates is None else candidates
        self.candidates = np.sort(products, axis=1)
        self.terms: list[Term] = []
        self.couplings: dict[Term, float] = {}
        num_tests = self.num_sites * (self.num_sites + 1) // 2 + len(self.candidates)
        self.threshold = significance(num_tests)

    def find(self, progress: Callable[[int], None] = lambda n: None) -> None:
        """Find fields, pairs and candidates.

        The search begins with the pairs at the maximum of ℓ − λ Σ|J|. Each round fits the terms, drops
        those that are not significant, and adds the missing terms with the largest significant scores
        at all of their sites. Rounds end when nothing changes, with a part of the configurations first
        and then with all of them.

        Args:
            progress: Function called after each round.
        """
        if not self.terms:
            self.terms = l1_pairs(self.spins[:PRELIMINARY])
            progress(1)
        for num in (PRELIMINARY, len(self.spins)):
            seen = {frozenset(self.terms)}
            for _ in range(ROUNDS):
                significant = self.significant(num)
                self.fit(significant, num)
                missing = [term for term in self.missing(num) if term not in significant]
                progress(1)
                terms = significant + missing
                if frozenset(terms) in seen:
                    break
                seen.add(frozenset(terms))
                self.terms = terms
            self.terms = sorted(significant)

    def fit(self, terms: Sequence[Term], num: int | None = None) -> Fit:
        """Fit the couplings of terms by maximum pseudo-likelihood and adopt them.

        Args:
            terms: Terms of the Hamiltonian.
            num: Number of configurations; all by default.
        """
        initial = np.array([self.couplings.get(term, 0.0) for term in terms])
        self.fields = LocalFields(operators_of_terms(terms), self.num_sites, self.spins.device)
        result = fit(self.fields, self.configurations[:num], initial=initial)
        self.terms = list(terms)
        self.couplings = dict(zip(terms, result.couplings.tolist(), strict=True))
        return result

    def significant(self, num: int | None = None) -> list[Term]:
        """Return the terms with significant couplings."""
        result = self.fit(self.terms, num)
        significant = np.abs(result.couplings) > self.threshold * result.standard_errors
        return list(itertools.compress(self.terms, significant))

    def residuals(self, num: int | None = None) -> Tensor:
        """Return the residuals r of the spins `(M, N)`."""
        values = np.array(list(self.couplings.values()))
        up = torch.sigmoid(self.fields.logits(self.configurations[:num], values)).float()
        return (self.spins[:num] + 1) / 2 - up

    def missing(self, num: int | None = None) -> list[Term]:
        """Return the missing terms whose score is significant and the largest at each of their sites."""
        spins, r = self.spins[:num], self.residuals(num)
        variance = r.square().sum(0)
        covariance = (r * spins).T @ (r * spins)
        pairs = (r.T @ spins + spins.T @ r) / (variance[:, None] + variance + 2 * covariance).sqrt()
        z = pairs.abs().fill_diagonal_(0)
        fields = (r.sum(0) / variance.sqrt()).abs()
        products = self.scores(self.candidates, spins, r).abs()
        candidates = [tuple(term) for term in self.candidates.tolist()]
        for term in self.terms:
            if len(term) == 1:
                fields[term] = 0
            elif len(term) == 2:
                z[term[0], term[1]] = z[term[1], term[0]] = 0
        products[[term in self.couplings for term in candidates]] = 0
        largest = torch.maximum(z.amax(1), fields)
        for place in range(self.candidates.shape[1]):
            sites = torch.as_tensor(self.candidates[:, place], device=z.device)
            largest = largest.scatter_reduce(0, sites, products, "amax")
        best = (z >= largest) & (z >= largest[:, None]) & (z > self.threshold)
        terms: list[Term] = [(i, j) for i, j in best.triu(1).nonzero().tolist()]
        best_fields = (fields >= largest) & (fields > self.threshold)
        terms += [(i,) for i in best_fields.nonzero().ravel().tolist()]
        for term, score in zip(candidates, products, strict=True):
            if score > self.threshold and (score >= largest[list(term)]).all():
                terms.append(term)
        return terms

    @staticmethod
    def scores(terms: np.ndarray, spins: Tensor, r: Tensor) -> Tensor:
        """Return the scores of terms `(terms, order)` divided by their standard deviations."""
        scores = []
        for term in terms.tolist():
            product = spins[:, term].prod(1)
            # Π_{j≠i} s_j = s_i Π_j s_j.
            parts = (r[:, term] * spins[:, term]).sum(1) * product
            scores.append(parts.sum() / parts.square().sum().sqrt())
        return torch.stack(scores) if scores else spins.new_zeros(0)

    def find_products(
        self,
        unexplained: Callable[["TermSearch"], list[int]],
        max_sites: int,
        progress: Callable[[int], None] = lambda n: None,
    ) -> list[Term]:
        """Find products of three and four spins that contain an unexplained site.

        Args:
            unexplained: Function that returns the sites that the terms do not explain, worst first.
            max_sites: Largest number of sites examined; each costs N passes over the preliminary
                configurations.
            progress: Function called after each site.

        Returns:
            Products that were added.
        """
        products: list[Term] = []
        examined: set[int] = set()
        while len(examined) < max_sites:
            sites = [site for site in unexplained(self) if site not in examined]
            if not sites:
                break
            examined.add(sites[0])
            term = self.product_at(sites[0])
            progress(1)
            if term is not None:
                products.append(term)
                self.fit([*self.terms, term])
        return products

    def product_at(self, site: int) -> Term | None:
        """Return the most significant product of three or four spins that contains a site, or None."""
        spins, r = self.spins[:PRELIMINARY], self.residuals(PRELIMINARY)
        r_site = r[:, site] / r[:, site].norm()
        ranking: list[tuple[float, Term]] = []

        def rank(products: Tensor, *fixed: int) -> None:
            """Add the largest |Σ_s r Π_{j fixed} s_j s_k s_l| over k and l to the ranking."""
            products = products.abs().triu(1)
            products[list(fixed)] = 0
            products[:, list(fixed)] = 0
            values, places = products.flatten().topk(min(4, products.numel()))
            for value, place in zip(values.tolist(), places.tolist(), strict=True):
                others = divmod(place, self.num_sites)
                ranking.append((value, tuple(sorted((*fixed, *others)))))

        rank((spins * r_site[:, None]).T @ spins, site)
        for other in range(self.num_sites):
            if other != site:
                rank((spins * (r_site * spins[:, other])[:, None]).T @ spins, site, other)
        terms = dict.fromkeys(term for _, term in sorted(ranking, reverse=True))
        short = [t for t in terms if t not in self.couplings and len(set(t)) == len(t)][:SHORT_LIST]
        residuals = self.residuals()
        best, best_score = None, significance(self.num_sites**4 // 24)
        for order in (3, 4):
            products = np.array([term for term in short if len(term) == order])
            scores = self.scores(products, self.spins, residuals).abs()
            if len(scores) and scores.max() > best_score:
                best, best_score = tuple(products[int(scores.argmax())].tolist()), float(scores.max())
        return best


def l1_pairs(spins: Tensor, steps: int = 300) -> list[Term]:
    """Return the pairs with J_ij ≠ 0 at the maximum of the penalised pseudo-likelihood.

        ℓ(J)/M − λ Σ_{i<j} |J_ij|,  λ = 2 √(2 ln N / M)

    λ is about the largest gradient that noise causes. The maximum is found by accelerated proximal
    gradients with restart.

    Args:
        spins: Spins s `(M, N)`.
        steps: Largest number of steps.

    References:
        A. Beck and M. Teboulle, SIAM J. Imaging Sci. 2, 183 (2009).
        B. O'Donoghue and E. Candès, Found. Comput. Math. 15, 715 (2015).
    """
    num, num_sites = spins.shape
    penalty = 2 * (2 * np.log(max(num_sites, 2)) / num) ** 0.5
    # −ℓ''/M is at most 4 times the largest eigenvalue of the correlations, as a pair acts on two sites.
    rate = 1 / (4 * torch.linalg.eigvalsh(spins.T @ spins / num)[-1].item())
    couplings = spins.new_zeros(num_sites, num_sites)
    ahead, momentum = couplings, 1.0
    for _ in range(steps):
        r = (spins + 1) / 2 - torch.sigmoid(2 * spins @ ahead)
        gradient = 2 * r.T @ spins / num
        new = ahead + rate * (gradient + gradient.T)
        new = torch.sign(new) * (new.abs() - rate * penalty).clamp(min=0)
        new.fill_diagonal_(0)
        if ((ahead - new) * (new - couplings)).sum() > 0:
            momentum = 1.0
        next_momentum = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = new + (momentum - 1) / next_momentum * (new - couplings)
        change = (new - couplings).abs().max().item()
        couplings, momentum = new, next_momentum
        if change < 1e-4:
            break
    return [(i, j) for i, j in couplings.triu(1).nonzero().tolist()]
