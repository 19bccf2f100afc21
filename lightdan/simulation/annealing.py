"""Ln Z of any Hamiltonian of spins by annealed importance sampling."""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lightdan.simulation import heat_bath
from lightdan.statistics import Estimate, log_mean_exp


def log_partition(
    moves: heat_bath.Interactions,
    num_chains: int = 500,
    num_steps: int = 200,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n: None,
) -> Estimate:
    """Ln Σ_s e^{−H(s)}, from free spins to H in steps of β, a heat-bath sweep after each.

    Z = 2^N ⟨e^{−Σ_k (β_{k+1} − β_k) H(s_k)}⟩ with s_k from the k-th sweep, exact on the average however
    few the steps are; the error tells how few.

    Args:
        moves: H, its couplings in units of the temperature.
        num_chains: Independent ones.
        num_steps: Of β from 0 to 1.
        seed: Of all random numbers.
        progress: Told how many more chains are done.

    Source: R. Neal, Stat. Comput. 11, 125 (2001).
    """
    num_sites = len(moves.starts) - 1
    rng = np.random.default_rng([seed, 1])
    spins = rng.choice(np.array([-1, 1], np.int8), (num_chains, num_sites))

    def anneal(chain: int) -> float:
        log_weight: float = heat_bath.anneal(
            spins[chain], moves, num_steps, np.random.default_rng([seed, 2, chain])
        )
        return log_weight

    log_weights = np.empty(num_chains)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for chain, log_weight in enumerate(pool.map(anneal, range(num_chains))):
            log_weights[chain] = log_weight
            progress(1)
    found = log_mean_exp(log_weights)
    return Estimate(found.value + num_sites * math.log(2), found.error)
