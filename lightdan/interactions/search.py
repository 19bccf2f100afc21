"""Search for the terms of a Hamiltonian: fields, pairs and products of more spins."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from lightdan.interactions.all_pairs import likely_pairs
from lightdan.interactions.graph_fit import GraphFit, downs, factors_and_signs, fit_terms
from lightdan.interactions.nodes import Node
from lightdan.interactions.observations import Observations
from lightdan.interactions.operators import Term
from lightdan.interactions.undetermined import undetermined_sites
from lightdan.types import Configurations

FALSE_TERMS = 0.01
"""Expected number of terms found in noise, over all terms tested at a time."""
PRELIMINARY = 20_000
"""Number of configurations for a first search, before all of them decide."""
ROUNDS = 30
"""Largest number of rounds of fitting, dropping and adding; about five are needed."""
SHORT_LIST = 200
"""Number of products tested with all configurations."""
LARGEST = 4
"""Number of missing terms per site that are tested exactly in a round."""
PRUNED = 3.0
"""βJ in standard errors that a pair needs in the fit of all pairs with which the search begins."""
CLEAR = 1.5
"""Ratio of βJ/σ to the threshold, or the reverse, that decides without r*."""
WEAK = 0.2
"""Largest |βJ| of a coupling that a small βJ/σ refutes."""
SCREEN = 0.65
"""Share of the threshold that a quick score needs to be tested exactly.

A pair that is never seen together has a score of r/√2 at least.
"""


def significance(num_tests: int) -> float:
    """Return the |z| that `FALSE_TERMS` out of `num_tests` normal numbers exceed on average."""
    return float(norm.isf(FALSE_TERMS / (2 * num_tests)))


class TermSearch:
    """A stepwise search for the terms t of an explicit Hamiltonian and their couplings.

        H = −Σ_t J_t Π_{i∈t} s_i

    Each spin has a conditional given all others, a logistic regression on the terms that contain it. A
    term is tested at each of its spins by the likelihood ratio, corrected for few counts, see
    `signed_root`; z is the mean over its spins. The threshold is such that noise leads to `FALSE_TERMS`
    terms on average.

    The fields of all sites are terms from the start, significant or not. Symmetric data have none,
    unless a field is significant: then the data are not symmetric, and all sites have one.

    Args:
        configurations: Configurations s `(M, *lattice)` of N sites.
        candidates: Products of more than two spins that are tested like pairs, `(terms, order)`.
        symmetric: Whether H(−s) = H(s) is expected, so that there are no fields.
        block_size: Number of consecutive, correlated configurations treated as one observation.
        weights: Counts (integers) or real weights of the configurations `(M,)`; 1 by default.

    References:
        E. Aurell and M. Ekeberg, Phys. Rev. Lett. 108, 090201 (2012), pseudo-likelihood.
        A. Decelle and F. Ricci-Tersenghi, Phys. Rev. Lett. 112, 070603 (2014), stepwise decimation.
    """

    def __init__(
        self,
        configurations: Configurations,
        candidates: Iterable[Sequence[int]] | NDArray[np.intp] = (),
        symmetric: bool = False,
        block_size: int = 1,
        weights: Tensor | None = None,
    ) -> None:
        if weights is not None and not weights.is_floating_point():
            # Rows with counts are often sorted, and the first of them decide about much.
            order = torch.randperm(len(weights), generator=torch.Generator().manual_seed(0))
            order = order.to(weights.device)
            configurations, weights = configurations[order], weights[order]
        self.weights = weights
        self.factors, _ = factors_and_signs(Observations(configurations, weights))
        self.spins = configurations.flatten(1).float()
        self.down = downs(configurations)
        self.num_sites, self.block_size = self.spins.shape[1], block_size
        self.left_out = undetermined_sites(self.down, self.factors)
        self.free = [site for site in range(self.num_sites) if site not in self.left_out]
        self.candidates: list[Term] = [
            tuple(sorted(map(int, term)))
            for term in candidates
            if not self.left_out.keys() & {*map(int, term)}
        ]
        self.symmetric, self.has_fields = symmetric, not symmetric
        num_free = len(self.free)
        self.threshold = significance(max(1, num_free * (num_free + 1) // 2 + len(self.candidates)))
        self.nodes: dict[int, Node] = {}
        self.num = len(self.spins)
        self.adopt([])

    @property
    def terms(self) -> list[Term]:
        """Terms of the Hamiltonian."""
        return self._terms

    def fit(self, configurations: Configurations, weights: Tensor | None = None) -> GraphFit:
        """Fit the couplings of the terms, and of the terms that tie the sites left out."""
        fit = fit_terms(configurations, self.terms, block_size=self.block_size, weights=weights)
        known = self.left_out.values()
        values = np.array([[tie.coupling, np.nan] for tie in known]).reshape(-1, 2)
        return replace(
            fit,
            terms=[*fit.terms, *(tie.term for tie in known)],
            values=np.concatenate([fit.values, values]),
        )

    def find(self, progress: Callable[[int], None] = lambda n: None) -> None:
        """Find fields, pairs and candidates.

        The search begins with the pairs that are large in a fit of all pairs. Each round fits the
        terms, drops those that are not significant, and adds the missing terms that are significant
        and the largest at all of their sites. Rounds end when nothing changes, with a part of the
        configurations first and then with all of them.

        Args:
            progress: Function called after each round.
        """
        if not self.terms:
            self.start()
            progress(1)
        for num in sorted({min(PRELIMINARY, len(self.spins)), len(self.spins)}):
            self.adopt(self.terms, num)
            seen = {frozenset(self.terms)}
            for _ in range(ROUNDS):
                kept = [term for term in self.terms if len(term) == 1 or self.is_significant(term)]
                self.adopt(kept)
                missing = self.missing()
                progress(1)
                terms = frozenset([*kept, *missing])
                if terms in seen:
                    break
                seen.add(terms)
                self.adopt([*kept, *missing])
            self.adopt(sorted(kept))

    def repeat(self, configurations: Configurations, weights: Tensor | None = None) -> "TermSearch":
        """Return the same search with other configurations; products of far spins are kept."""
        search = TermSearch(configurations, self.candidates, self.symmetric, self.block_size, weights)
        search.find()
        known = {*search.terms, *search.candidates}
        products = [term for term in self.terms if len(term) > 2 and term not in known]
        search.adopt([*search.terms, *products])
        return search

    def start(self) -> None:
        """Adopt the fields, and the pairs whose couplings are large in a fit of all pairs."""
        self.adopt([], PRELIMINARY)
        fields = [(site,) for site in self.free] if self.has_fields else self.missing_fields()
        pairs = likely_pairs(
            self.spins[:PRELIMINARY, self.free],
            PRUNED,
            weights=None if self.weights is None else self.weights[:PRELIMINARY],
        )
        self.adopt([*fields, *((self.free[i], self.free[j]) for i, j in pairs)])

    def missing_fields(self) -> list[Term]:
        """Return the fields of all sites if there are none and one of them is significant."""
        fields: list[Term] = [(site,) for site in self.free]
        if self.has_fields or all(abs(self.evidence(field)) <= self.threshold for field in fields):
            return []
        self.has_fields = True
        return fields

    def adopt(self, terms: Sequence[Term], num: int | None = None) -> None:
        """Adopt terms, and the first configurations, by default as many as before."""
        self._terms = list(terms)
        if num is not None:
            self.num = min(num, len(self.spins))
        by_site: dict[int, list[Term]] = {site: [] for site in self.free}
        for term in terms:
            for site in term:
                by_site[site].append(term)
        old = self.nodes
        self.nodes = {}
        for site, of_site in by_site.items():
            same = site in old and old[site].terms == of_site and old[site].down.shape[1] == self.num
            down, factors = self.down[:, : self.num], self.factors
            factors = None if factors is None else factors[: self.num]
            self.nodes[site] = old[site] if same else Node(site, of_site, down, factors=factors)

    def is_significant(self, term: Term) -> bool:
        """Return whether a term among the terms is significant.

        βJ/σ decides where it is large, because ℓ falls faster towards J = 0 than near its maximum, and
        where it is small for a weak coupling, because ℓ is a parabola there. All other terms need r*.
        """
        if self.block_size == 1:
            pairs = [self.nodes[site].wald(term) for site in term]
            z = abs(float(np.mean([z for _, z in pairs]))) / self.threshold
            weak = max(abs(coupling) for coupling, _ in pairs) < WEAK
            if z > CLEAR or (weak and z < 1 / CLEAR):
                return z > 1
        return abs(self.evidence(term)) > self.threshold

    def evidence(self, term: Term) -> float:
        """Return z of a term: the sum of r* over its spins, divided by its standard deviation.

        The r* of the spins of a term are nearly equal. Their standard deviation is at most the number of
        spins, unless configurations are correlated. Where it does not decide, it is not computed.
        """
        nodes = [self.nodes[site] for site in term]
        z = float(np.mean([node.evidence(term) for node in nodes]))
        decided = not len(nodes) ** -0.5 < abs(z) / self.threshold < 1
        if self.block_size == 1 and decided:
            return z
        num = self.num if self.block_size > 1 else min(self.num, PRELIMINARY)
        influence = np.sum([node.influence(term, num) for node in nodes], axis=0)
        blocks = np.add.reduceat(influence, np.arange(0, num, min(self.block_size, max(1, num // 8))))
        return z * len(nodes) / float(np.linalg.norm(blocks - blocks.mean()))

    def missing(self) -> list[Term]:
        """Return the missing terms that are significant, and the most so at each of their sites."""
        if fields := self.missing_fields():
            return fields
        found = [(abs(self.evidence(term)), term) for term in self.screened()]
        terms: list[Term] = []
        taken: set[int] = set()
        for z, term in sorted(found, reverse=True):
            if z > self.threshold and not taken & set(term):
                terms.append(term)
            taken |= set(term)
        return terms

    def screened(self) -> list[Term]:
        """Return the missing terms with large scores, at most `LARGEST` at each site.

            z_i = Σ_s r_i x̃/√(Σ_s w_i x̃²),  r_i = (1 + s_i)/2 − p_i,  w_i = p_i (1 − p_i)

        The product x of the other spins, without what the terms of site i explain, is x̃.
        """
        spins = self.spins[: self.num]
        scores = np.zeros((self.num_sites, self.num_sites))
        products = np.zeros(len(self.candidates))
        others: dict[int, list[tuple[int, Term]]] = {}
        for index, term in enumerate(self.candidates):
            for site in term:
                others.setdefault(site, []).append((index, term))
        for site, node in self.nodes.items():
            x = [spins]
            extra = others.get(site, [])
            if extra:
                columns = node.columns([term for _, term in extra])
                x.append(1 - 2 * torch.as_tensor(columns.T, device=spins.device).float())
            z = node.scores(torch.cat(x, 1) if extra else spins)
            scores[site] = z[: self.num_sites]
            products[[index for index, _ in extra]] += z[self.num_sites :]
        scores[list(self.left_out)] = scores[:, list(self.left_out)] = 0
        pairs = np.triu(np.abs(scores + scores.T) / 2, 1)
        for term in self.terms:
            if len(term) == 2:
                pairs[term] = 0
        least = SCREEN * self.threshold
        ranked: list[tuple[float, Term]] = [
            (pairs[i, j], (i, j)) for i, j in np.argwhere(pairs > least).tolist()
        ]
        for z, term in zip(np.abs(products), self.candidates, strict=True):
            if z / len(term) > least and term not in self.terms:
                ranked.append((z / len(term), term))
        number = dict.fromkeys(range(self.num_sites), 0)
        chosen = []
        for _, term in sorted(ranked, reverse=True):
            if min(number[site] for site in term) < LARGEST:
                chosen.append(term)
            for site in term:
                number[site] += 1
        return chosen

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
            sites = [
                site for site in unexplained(self) if site not in examined and site not in self.left_out
            ]
            if not sites:
                break
            examined.add(sites[0])
            term = self.product_at(sites[0])
            progress(1)
            if term is not None:
                products.append(term)
                self.adopt([*self.terms, term])
        return products

    def product_at(self, site: int) -> Term | None:
        """Return the most significant product of three or four spins that contains a site, or None."""
        spins = self.spins[:PRELIMINARY]
        spins = (spins - spins.mean(0)) / spins.std(0).clamp(min=1e-6)
        spins[:, list(self.left_out)] = 0
        r = self.nodes[site].residuals[: len(spins)]
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

        r_site = torch.as_tensor(r, device=spins.device).float()
        if self.factors is not None:
            r_site *= torch.as_tensor(self.factors[: len(spins)], device=spins.device).float()
        rank((spins * r_site[:, None]).T @ spins, site)
        for other in self.free:
            if other != site:
                rank((spins * (r_site * spins[:, other])[:, None]).T @ spins, site, other)
        terms = dict.fromkeys(term for value, term in sorted(ranking, reverse=True) if value > 0)
        short = [t for t in terms if t not in self.terms and len(set(t)) == len(t)][:SHORT_LIST]
        if not short:
            return None
        best = max(short, key=lambda term: abs(self.nodes[site].evidence(term)))
        enough = abs(self.evidence(best)) > significance(self.num_sites**4 // 24)
        return best if enough else None
