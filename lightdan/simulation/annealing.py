"""Partition function of any explicit Hamiltonian by annealed importance sampling."""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lightdan.simulation.heat_bath import anneal, random_states
from lightdan.simulation.local import LEVEL, REAL, SPIN
from lightdan.simulation.terms import Interactions
from lightdan.statistics import Estimate, log_mean_exp


def log_partition(
    interactions: Interactions,
    num_chains: int = 500,
    num_steps: int = 200,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n: None,
) -> Estimate:
    """Estimate ln Z with Z = Σ_s e^{−H(s)}, by annealing from free sites to H.

    β rises from 0 to 1 in steps, each followed by a sweep. With s_k from the k-th sweep

        Z = Z_0 ⟨e^{−Σ_k (β_{k+1} − β_k) H(s_k)}⟩,

    which is exact on average for any number of steps; few steps cause a large error. Z_0 is the number
    of configurations, q^N for q levels. For angles the sum is the integral over dθ/2π, and Z_0 = 1.

    Args:
        interactions: Hamiltonian H of spins, levels or angles, with couplings in units of T.
        num_chains: Number of independent chains.
        num_steps: Number of steps of β from 0 to 1.
        seed: Random seed.
        progress: Callback that receives the number of finished chains since its last call.

    Raises:
        ValueError: The sites are fields, which have no uniform distribution.

    References:
        R. Neal, Stat. Comput. 11, 125 (2001).
    """
    if interactions.kind == REAL:
        raise ValueError("Free fields have no partition function: ln Z needs spins, levels or angles.")
    num_sites = interactions.num_sites
    rng = np.random.default_rng([seed, 1])
    widths = np.ones(num_sites)
    states = random_states((num_chains, num_sites), interactions, widths, rng)

    def weigh(chain: int) -> float:
        log_weight: float = anneal(
            states[chain], interactions, widths, num_steps, np.random.default_rng([seed, 2, chain])
        )
        return log_weight

    log_weights = np.empty(num_chains)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for chain, log_weight in enumerate(pool.map(weigh, range(num_chains))):
            log_weights[chain] = log_weight
            progress(1)
    value, error = log_mean_exp(log_weights)
    values = {SPIN: 2, LEVEL: interactions.size}.get(interactions.kind, 1)
    return Estimate(value + num_sites * math.log(values), error)
