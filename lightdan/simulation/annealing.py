"""Partition function of any Hamiltonian of spins by annealed importance sampling."""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lightdan.simulation import heat_bath
from lightdan.statistics import Estimate, log_mean_exp


def log_partition(
    interactions: heat_bath.Interactions,
    num_chains: int = 500,
    num_steps: int = 200,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n: None,
) -> Estimate:
    """Estimate ln Z with Z = Σ_s e^{−H(s)}, by annealing from free spins to H.

    β rises from 0 to 1 in steps, each followed by a heat-bath sweep. With s_k from the k-th sweep

        Z = 2^N ⟨e^{−Σ_k (β_{k+1} − β_k) H(s_k)}⟩,

    which is exact on average for any number of steps; few steps cause a large error.

    Args:
        interactions: Hamiltonian H, with couplings in units of the temperature.
        num_chains: Number of independent chains.
        num_steps: Number of steps of β from 0 to 1.
        seed: Random seed.
        progress: Callback that receives the number of finished chains since its last call.

    References:
        R. Neal, Stat. Comput. 11, 125 (2001).
    """
    num_sites = len(interactions.starts) - 1
    rng = np.random.default_rng([seed, 1])
    spins = rng.choice(np.array([-1, 1], np.int8), (num_chains, num_sites))

    def anneal(chain: int) -> float:
        log_weight: float = heat_bath.anneal(
            spins[chain], interactions, num_steps, np.random.default_rng([seed, 2, chain])
        )
        return log_weight

    log_weights = np.empty(num_chains)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for chain, log_weight in enumerate(pool.map(anneal, range(num_chains))):
            log_weights[chain] = log_weight
            progress(1)
    value, error = log_mean_exp(log_weights)
    return Estimate(value + num_sites * math.log(2), error)
