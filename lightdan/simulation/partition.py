"""Partition function of an explicit Hamiltonian, exact if it is small."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from lightdan.simulation import annealing, terms
from lightdan.simulation.heat_bath import slice_widths
from lightdan.simulation.local import LEVEL, REAL, SPIN
from lightdan.simulation.terms import Interactions
from lightdan.statistics import Estimate

ENUMERATED = 20
"""Largest number of spins, or of bits of levels, whose states are all summed."""
ROWS = 2**16
"""Number of states of levels that are summed at a time."""
SMALLEST_ERROR = 1e-9
"""Error of ln Z to which smaller ones are raised, in nats."""
LARGEST = 4.0
"""Largest difference of the mean energies of chains in the same phase, in standard errors."""


def log_partition(
    interactions: Interactions,
    num_chains: int = 500,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n: None,
    fields: NDArray[np.float64] | None = None,
) -> Estimate:
    """Return ln Z with Z = Σ_s e^{−H(s)}: exact up to 2^20 states, and annealed beyond.

    With fields, half of the chains begin with these independent sites and half with free sites. If both
    halves end in the same phase, their estimates are combined; otherwise only free sites count. Fields
    of kind ``real`` begin with independent sites only.

    Args:
        interactions: Hamiltonian H, with couplings in units of T.
        num_chains: Number of annealed chains.
        seed: Random seed of the annealing.
        progress: Callback that receives the number of finished chains since its last call.
        fields: Independent sites that resemble H, see `annealing.with_sites`.

    Raises:
        ValueError: H does not bound the fields.
    """
    if is_enumerated(interactions):
        progress(num_chains)
        spins = interactions.kind == SPIN
        return Estimate(enumerated(interactions) if spins else _enumerated_levels(interactions), 0.0)
    if fields is None:
        return annealing.log_partition(interactions, num_chains, seed=seed, progress=progress)
    if interactions.kind == REAL:
        slice_widths(interactions, np.ones(1))
    half = 0 if interactions.kind == REAL else num_chains // 2
    sites, other_ends = annealing.log_partition_from_sites(
        interactions, fields, num_chains - half, seed=seed, progress=progress
    )
    if interactions.kind == REAL:
        return sites
    free, ends = annealing.log_partition_from_free(interactions, half, seed=seed, progress=progress)
    if not _same_phase(ends.real, other_ends.real, interactions, fields):
        return free
    # All weights are equal if H consists of the independent sites or of nothing.
    precisions = np.maximum([free.error, sites.error], SMALLEST_ERROR) ** -2.0
    value = float(precisions @ [free.value, sites.value] / precisions.sum())
    return Estimate(value, float(precisions.sum() ** -0.5))


def is_enumerated(interactions: Interactions) -> bool:
    """Return whether `log_partition` sums over all states."""
    values = {SPIN: 2, LEVEL: interactions.size}.get(interactions.kind, math.inf)
    return interactions.num_sites * math.log2(values) <= ENUMERATED + 1e-9


def _same_phase(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    interactions: Interactions,
    fields: NDArray[np.float64],
) -> bool:
    """Return whether two sets of states `(chains, N)` agree in H and in H_0 of the independent sites."""
    alone = annealing.scaled(*annealing.with_sites(interactions, fields), 1.0, 0.0)
    for hamiltonian in (interactions, alone):
        series = [terms.energies(states, hamiltonian) for states in (first, second)]
        error = np.sqrt(sum(x.var(ddof=1) / len(x) for x in series))
        if abs(series[0].mean() - series[1].mean()) > LARGEST * error:
            return False
    return True


def _enumerated_levels(interactions: Interactions) -> float:
    """Return ln Z as a sum over all q^N states of levels."""
    shape = (interactions.size,) * interactions.num_sites
    total = -np.inf
    for start in range(0, interactions.size**interactions.num_sites, ROWS):
        numbers = np.arange(start, min(start + ROWS, interactions.size**interactions.num_sites))
        states = np.stack(np.unravel_index(numbers, shape), axis=1)
        total = np.logaddexp(total, logsumexp(-terms.energies(states, interactions)))
    return float(total)


def enumerated(interactions: Interactions) -> float:
    """Return ln Z as a sum over all 2^N states of spins.

    The spins are two halves a and b. All energies are one product of matrices, because each term is a
    product of spins in a and spins in b.
    """
    first, second = np.array_split(np.arange(interactions.num_sites), 2)
    by_sites = _terms(interactions)
    couplings = np.array(list(by_sites.values()))
    halves = []
    for sites in (first, second):
        states = (np.arange(2 ** len(sites))[:, None] >> np.arange(len(sites)) & 1) * 2.0 - 1
        place = {site: column for column, site in enumerate(sites.tolist())}
        products = np.ones((len(states), len(by_sites)))
        for product, term in zip(products.T, by_sites, strict=True):
            product[:] = states[:, [place[site] for site in term if site in place]].prod(axis=1)
        halves.append(products)
    energies: NDArray[np.float64] = (halves[0] * couplings) @ halves[1].T
    return float(logsumexp(energies))


def _terms(interactions: Interactions) -> dict[tuple[int, ...], float]:
    """Return the sites of the terms, each once, with their couplings."""
    found_terms: dict[tuple[int, ...], float] = {}
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
                found_terms[term] = found_terms.get(term, 0.0) + float(coupling.real)
    return found_terms
