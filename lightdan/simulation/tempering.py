"""Replica exchange of a Hamiltonian of spins between given temperatures."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lightdan.simulation import heat_bath
from lightdan.simulation.replica_exchange import ReplicaExchange


def temper(
    interactions: heat_bath.Interactions,
    temperatures: Sequence[float],
    num_ladders: int,
    num_steps: int,
    observe: Callable[[NDArray[np.int8]], NDArray[np.float64]],
    seed: int = 0,
    sweeps: int = 10,
    progress: Callable[[int], None] = lambda n: None,
) -> NDArray[np.float64]:
    """Simulate e^{−H/T}/Z at several T by heat bath and replica exchange, from random spins.

    Args:
        interactions: Hamiltonian H.
        temperatures: Temperatures T, ascending.
        num_ladders: Number of independent ladders, each with one chain at every T.
        num_steps: Number of steps of each chain; the first fifth is discarded.
        observe: Function from spins `(B, N)` to observables `(observables, B)`.
        seed: Random seed.
        sweeps: Number of heat-bath sweeps per step; a step ends with one round of exchanges.
        progress: Callback that receives the number of finished steps since its last call.

    Returns:
        The observables `(observables, T, ladders, steps)`.
    """
    chains = _SpinLadders(interactions, temperatures, num_ladders, observe, seed, sweeps)
    return chains.run(num_steps, progress)


class _SpinLadders(ReplicaExchange):
    """Ladders of spins that move by heat-bath sweeps; the arguments are those of `temper`."""

    def __init__(
        self,
        interactions: heat_bath.Interactions,
        temperatures: Sequence[float],
        num_ladders: int,
        observe: Callable[[NDArray[np.int8]], NDArray[np.float64]],
        seed: int,
        sweeps: int,
    ) -> None:
        super().__init__([1 / temperature for temperature in temperatures], num_ladders)
        self.interactions, self.observables, self.seed, self.sweeps = interactions, observe, seed, sweeps
        self.temperatures = np.tile(1 / self.betas, num_ladders)
        self.rng = np.random.default_rng([seed, 1])
        shape = len(self.temperatures), len(interactions.starts) - 1
        self.spins = self.rng.choice(np.array([-1, 1], np.int8), shape)

    def move(self, step: int, burn_in: bool) -> NDArray[np.float64]:
        """Sweep every chain and return H `(B,)`."""
        seed = self.seed * 1_000_003 + step
        heat_bath.sweep(self.spins, self.interactions, self.temperatures, self.sweeps, seed)
        return heat_bath.energies(self.spins, self.interactions)

    def uniforms(self, num: int) -> NDArray[np.float64]:
        """Draw random numbers in [0, 1) `(num,)`."""
        return self.rng.random(num)

    def reorder(self, order: NDArray[np.intp]) -> None:
        """Put the spins of chain `order[b]` into chain b."""
        self.spins = self.spins[order]

    def observe(self) -> NDArray[np.float64]:
        """Return the observables of the present spins `(observables, B)`."""
        return self.observables(self.spins)
