"""Replica exchange of a Hamiltonian of spins between given temperatures."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lightdan.simulation import heat_bath

BURN_IN = 0.2
"""Fraction of the steps before the first that counts."""


def temper(
    moves: heat_bath.Interactions,
    temperatures: Sequence[float],
    num_ladders: int,
    num_steps: int,
    observe: Callable[[NDArray[np.int8]], NDArray[np.float64]],
    seed: int = 0,
    sweeps: int = 10,
    progress: Callable[[int], None] = lambda n: None,
) -> NDArray[np.float64]:
    """Observables of e^{−H/T}/Z at several T, by heat bath and exchange from random spins on.

    Args:
        moves: H.
        temperatures: T, ascending.
        num_ladders: Independent sets of chains, each with one at every T.
        num_steps: Of each chain; the first fifth does not count.
        observe: Of spins `(B, N)`: `(observables, B)`.
        seed: Of all random numbers.
        sweeps: Heat-bath sweeps of a step, which ends with one round of exchanges.
        progress: Told how many more steps are done.

    Returns:
        The observables `(observables, T, ladders, steps)`.
    """
    num = len(temperatures)
    rng = np.random.default_rng([seed, 1])
    spins = rng.choice(np.array([-1, 1], np.int8), (num_ladders * num, len(moves.starts) - 1))
    beta = 1 / np.asarray(temperatures, dtype=np.float64)
    order = np.arange(len(spins)).reshape(num_ladders, num)
    series = []
    for step in range(num_steps):
        heat_bath.sweep(spins, moves, np.tile(1 / beta, num_ladders), sweeps, seed * 1_000_003 + step)
        energies = heat_bath.energies(spins, moves).reshape(order.shape)
        lower = np.arange(step % 2, num - 1, 2)
        gain = (beta[lower] - beta[lower + 1]) * (energies[:, lower] - energies[:, lower + 1])
        where = rng.random(gain.shape) < np.exp(np.minimum(gain, 0.0))
        swapped = order.copy()
        swapped[:, lower] = np.where(where, order[:, lower + 1], order[:, lower])
        swapped[:, lower + 1] = np.where(where, order[:, lower], order[:, lower + 1])
        spins = spins[swapped.ravel()]
        if step >= BURN_IN * num_steps:
            series.append(observe(spins).reshape(-1, num_ladders, num))
        progress(1)
    return np.stack(series, axis=-1).transpose(0, 2, 1, 3)
