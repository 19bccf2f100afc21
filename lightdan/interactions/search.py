"""The terms of a Hamiltonian that configurations demand: fields, pairs, products of more spins."""

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from lightdan.interactions.fit import Fit, LocalFields, fit
from lightdan.interactions.hamiltonian import Operator
from lightdan.types import Configurations

Term = tuple[int, ...]
"""Ascending sites of a product of spins."""

FALSE_TERMS = 0.01
"""Terms found where there are none, the mean over all that are tried at a time."""
FIRST_LOOK = 20_000
"""Configurations for what is then decided with all of them."""
ROUNDS = 30
"""Of fitting, dropping and adding; some five are needed."""
SHORT_LIST = 200
"""Products among which all configurations decide."""


def operators_of_terms(terms: Iterable[Term]) -> list[Operator]:
    """One operator for each product of spins: ``field 3``, ``bond 3 4``, ``product 3 4 19 20``."""
    kinds = {1: "field", 2: "bond"}
    return [
        Operator(" ".join([kinds.get(len(term), "product"), *map(str, term)]), np.array([term]))
        for term in terms
    ]


def significance(tried: int) -> float:
    """The |z| that `FALSE_TERMS` of so many normal numbers exceed."""
    return float(norm.isf(FALSE_TERMS / (2 * tried)))


class TermSearch:
    """Terms t and couplings of H = −Σ_t J_t Π_{i∈t} s_i, found step by step from configurations.

    ℓ(J) = Σ_{s,i} ln p(s_i | all others) is the pseudo-likelihood, r_i = (1 + s_i)/2 − p(s_i = 1 | all
    others) what a Hamiltonian leaves of a spin, and Σ_s Σ_{i∈t} r_i Π_{j∈t, j≠i} s_j the score of a
    term that is not in it. The significance asked of couplings and scores is such that among all pairs
    `FALSE_TERMS` would be found where there are none.

    Args:
        configurations: s `(M, *lattice)` of N sites.
        candidates: Products of more than two spins that are tried as pairs are `(terms, order)`.

    Source: E. Aurell and M. Ekeberg, Phys. Rev. Lett. 108, 090201 (2012), pseudo-likelihood; A. Decelle
        and F. Ricci-Tersenghi, Phys. Rev. Lett. 112, 070603 (2014), dropping pairs step by step.
    """

    def __init__(self, configurations: Configurations, candidates: np.ndarray | None = None) -> None:
        self.configurations = configurations
        self.spins = configurations.flatten(1).float()
        self.num_sites = self.spins.shape[1]
        given = np.empty((0, 4), np.intp) if candidates is None else candidates
        self.candidates = np.sort(given, axis=1)
        self.terms: list[Term] = []
        self.couplings: dict[Term, float] = {}
        tried = self.num_sites * (self.num_sites + 1) // 2 + len(self.candidates)
        self.limit = significance(tried)

    def find(self, progress: Callable[[int], None] = lambda n: None) -> None:
        """Fields, pairs and candidates.

        Begins with the pairs at the maximum of ℓ − λ Σ|J|, and repeats until nothing changes: fit the
        terms, drop what is not significant, and add those of significant score that have the
        largest at all of their sites; first with a part of the configurations, then with all.

        Args:
            progress: Told of each round.
        """
        if not self.terms:
            self.terms = l1_pairs(self.spins[:FIRST_LOOK])
            progress(1)
        for num in (FIRST_LOOK, len(self.spins)):
            seen = {frozenset(self.terms)}
            for _ in range(ROUNDS):
                kept = self.significant(num)
                self.fit(kept, num)
                new = kept + [term for term in self.demanded(num) if term not in kept]
                progress(1)
                if frozenset(new) in seen:
                    break
                seen.add(frozenset(new))
                self.terms = new
            self.terms = sorted(kept)

    def fit(self, terms: Sequence[Term], num: int | None = None) -> Fit:
        """The maximum of ℓ over the couplings of terms, which become those of the graph."""
        initial = np.array([self.couplings.get(term, 0.0) for term in terms])
        self.fields = LocalFields(operators_of_terms(terms), self.num_sites, self.spins.device)
        found = fit(self.fields, self.configurations[:num], initial=initial)
        self.terms = list(terms)
        self.couplings = dict(zip(terms, found.couplings.tolist(), strict=True))
        return found

    def significant(self, num: int | None = None) -> list[Term]:
        """The terms with couplings beyond the limit."""
        found = self.fit(self.terms, num)
        return list(
            itertools.compress(self.terms, np.abs(found.couplings) > self.limit * found.standard_errors)
        )

    def residuals(self, num: int | None = None) -> Tensor:
        """What the graph leaves of the spins, r `(M, N)`."""
        values = np.array(list(self.couplings.values()))
        up = torch.sigmoid(self.fields.logits(self.configurations[:num], values)).float()
        return (self.spins[:num] + 1) / 2 - up

    def demanded(self, num: int | None = None) -> list[Term]:
        """Fields, pairs and candidates that are not there, significant and strongest at their sites."""
        spins, r = self.spins[:num], self.residuals(num)
        own = r.square().sum(0)
        both = (r * spins).T @ (r * spins)
        pairs = (r.T @ spins + spins.T @ r) / (own[:, None] + own + 2 * both).sqrt()
        z = pairs.abs().fill_diagonal_(0)
        fields = (r.sum(0) / own.sqrt()).abs()
        products = self.score(self.candidates, spins, r).abs()
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
        best = (z >= largest) & (z >= largest[:, None]) & (z > self.limit)
        found: list[Term] = [(i, j) for i, j in best.triu(1).nonzero().tolist()]
        found += [(i,) for i in ((fields >= largest) & (fields > self.limit)).nonzero().ravel().tolist()]
        for term, score in zip(candidates, products, strict=True):
            if score > self.limit and (score >= largest[list(term)]).all():
                found.append(term)
        return found

    @staticmethod
    def score(terms: np.ndarray, spins: Tensor, r: Tensor) -> Tensor:
        """Scores of terms `(terms, order)` over their standard deviations."""
        scores = []
        for term in terms.tolist():
            product = spins[:, term].prod(1)
            # Π_{j≠i} s_j = s_i Π_j s_j.
            each = (r[:, term] * spins[:, term]).sum(1) * product
            scores.append(each.sum() / each.square().sum().sqrt())
        return torch.stack(scores) if scores else spins.new_zeros(0)

    def find_products(
        self,
        unexplained: Callable[["TermSearch"], list[int]],
        most: int,
        progress: Callable[[int], None] = lambda n: None,
    ) -> list[Term]:
        """Products of three and four spins, anywhere, with one of the sites that are unexplained.

        Args:
            unexplained: Tells the sites that the graph does not explain, the worst first.
            most: Looks at so many sites; each costs N passes of a part of the configurations.
            progress: Told of each look.

        Returns:
            Those that were added.
        """
        found: list[Term] = []
        looked: set[int] = set()
        while len(looked) < most:
            sites = [site for site in unexplained(self) if site not in looked]
            if not sites:
                break
            looked.add(sites[0])
            term = self.product_at(sites[0])
            progress(1)
            if term is not None:
                found.append(term)
                self.fit([*self.terms, term])
        return found

    def product_at(self, site: int) -> Term | None:
        """The most significant product of three or four spins, one of them this."""
        spins, r = self.spins[:FIRST_LOOK], self.residuals(FIRST_LOOK)
        r_site = r[:, site] / r[:, site].norm()
        ranked: list[tuple[float, Term]] = []

        def rank(products: Tensor, *given: int) -> None:
            """Note the largest of |Σ_s r Π_given s_j s_k s_l| over k and l."""
            products = products.abs().triu(1)
            products[list(given)] = 0
            products[:, list(given)] = 0
            values, places = products.flatten().topk(min(4, products.numel()))
            for value, place in zip(values.tolist(), places.tolist(), strict=True):
                rest = divmod(place, self.num_sites)
                ranked.append((value, tuple(sorted((*given, *rest)))))

        rank((spins * r_site[:, None]).T @ spins, site)
        for other in range(self.num_sites):
            if other != site:
                rank((spins * (r_site * spins[:, other])[:, None]).T @ spins, site, other)
        terms = dict.fromkeys(term for _, term in sorted(ranked, reverse=True))
        short = [t for t in terms if t not in self.couplings and len(set(t)) == len(t)][:SHORT_LIST]
        everything = self.residuals()
        best, best_score = None, significance(self.num_sites**4 // 24)
        for order in (3, 4):
            of_order = np.array([term for term in short if len(term) == order])
            scores = self.score(of_order, self.spins, everything).abs()
            if len(scores) and scores.max() > best_score:
                best, best_score = tuple(of_order[int(scores.argmax())].tolist()), float(scores.max())
        return best


def l1_pairs(spins: Tensor, steps: int = 300) -> list[Term]:
    """Pairs with J_ij ≠ 0 at the maximum of ℓ(J)/M − λ Σ_{i<j} |J_ij|.

    By accelerated proximal gradients. λ = 2 √(2 ln N / M) is about the largest gradient of noise.

    Args:
        spins: s `(M, N)`.
        steps: At most.

    Source: A. Beck and M. Teboulle, SIAM J. Imaging Sci. 2, 183 (2009), with the restart of
        B. O'Donoghue and E. Candès, Found. Comput. Math. 15, 715 (2015).
    """
    num, num_sites = spins.shape
    penalty = 2 * (2 * np.log(max(num_sites, 2)) / num) ** 0.5
    # −ℓ''/M is at most 4 times the largest eigenvalue of the correlations: each pair is in two sites.
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
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = new + (momentum - 1) / following * (new - couplings)
        change = (new - couplings).abs().max().item()
        couplings, momentum = new, following
        if change < 1e-4:
            break
    return [(i, j) for i, j in couplings.triu(1).nonzero().tolist()]
