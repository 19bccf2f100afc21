"""Ln Z of any Hamiltonian of spins by annealed importance sampling."""

import math
from collections.abc import Callable

import numpy as np

from lightdan.simulation import interactions
from lightdan.statistics import Estimate, log_mean_exp


def log_partition(
    moves: interactions.Interactions,
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
        progress: Told how many more steps are done.

    Source: R. Neal, Stat. Comput. 11, 125 (2001).
    """
    num_sites = len(moves.starts) - 1
    rng = np.random.default_rng([seed, 1])
    spins = rng.choice(np.array([-1, 1], np.int8), (num_chains, num_sites))
    log_weights = np.zeros(num_chains)
    for step in range(1, num_steps + 1):
        log_weights -= interactions.energies(spins, moves) / num_steps
        at = np.full(num_chains, num_steps / step)
        interactions.sweep(spins, moves, at, 1, seed * 1_000_003 + step)
        progress(1)
    found = log_mean_exp(log_weights)
    return Estimate(found.value + num_sites * math.log(2), found.error)
