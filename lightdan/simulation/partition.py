"""Partition function of an explicit Hamiltonian, exact if it is small."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from lightdan.simulation import annealing
from lightdan.simulation.local import SPIN
from lightdan.simulation.terms import Interactions
from lightdan.statistics import Estimate

ENUMERATED = 20
"""Largest number of spins whose states are all summed."""


def log_partition(
    interactions: Interactions,
    num_chains: int = 500,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n: None,
) -> Estimate:
    """Return ln Z with Z = Σ_s e^{−H(s)}: exact up to 20 spins, and annealed beyond.

    Args:
        interactions: Hamiltonian H of spins, levels or angles, with couplings in units of T.
        num_chains: Number of annealed chains.
        seed: Random seed of the annealing.
        progress: Callback that receives the number of finished chains since its last call.
    """
    if interactions.kind == SPIN and interactions.num_sites <= ENUMERATED:
        progress(num_chains)
        return Estimate(enumerated(interactions), 0.0)
    return annealing.log_partition(interactions, num_chains, seed=seed, progress=progress)


def enumerated(interactions: Interactions) -> float:
    """Return ln Z as a sum over all 2^N states of spins.

    The spins are two halves a and b. All energies are one product of matrices, because each term is a
    product of spins in a and spins in b.
    """
    first, second = np.array_split(np.arange(interactions.num_sites), 2)
    terms = _terms(interactions)
    couplings = np.array(list(terms.values()))
    halves = []
    for sites in (first, second):
        states = (np.arange(2 ** len(sites))[:, None] >> np.arange(len(sites)) & 1) * 2.0 - 1
        place = {site: column for column, site in enumerate(sites.tolist())}
        products = np.ones((len(states), len(terms)))
        for product, term in zip(products.T, terms, strict=True):
            product[:] = states[:, [place[site] for site in term if site in place]].prod(axis=1)
        halves.append(products)
    energies: NDArray[np.float64] = (halves[0] * couplings) @ halves[1].T
    return float(logsumexp(energies))


def _terms(interactions: Interactions) -> dict[tuple[int, ...], float]:
    """Return the sites of the terms, each once, with their couplings."""
    terms: dict[tuple[int, ...], float] = {}
    for site in range(interactions.num_sites):
        pairs = range(interactions.pair_starts[site], interactions.pair_starts[site + 1])
        entries = range(interactions.starts[site], interactions.starts[site + 1])
        found = [([int(interactions.pair_others[k])], interactions.pair_couplings[k]) for k in pairs]
        for k in entries:
            bounds = slice(interactions.ends[k], interactions.ends[k + 1])
            found.append((interactions.others[bounds].tolist(), interactions.couplings[k]))
        for others, coupling in found:
            if all(site < other for other in others):
                term = (site, *sorted(others))
                terms[term] = terms.get(term, 0.0) + float(coupling.real)
    return terms
