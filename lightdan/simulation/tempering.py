"""Replica exchange of any explicit Hamiltonian between given temperatures."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightdan.simulation import terms
from lightdan.simulation.heat_bath import random_states, slice_widths, sweep
from lightdan.simulation.local import LEVEL, SPIN
from lightdan.simulation.replica_exchange import ReplicaExchange


def temper(
    interactions: terms.Interactions,
    temperatures: Sequence[float],
    num_ladders: int,
    num_steps: int,
    observe: Callable[[NDArray[Any]], NDArray[np.float64]],
    seed: int = 0,
    sweeps: int = 10,
    progress: Callable[[int], None] = lambda n: None,
) -> NDArray[np.float64]:
    """Simulate e^{−H/T}/Z at several T by sweeps and replica exchange, from random sites.

    Args:
        interactions: Hamiltonian H.
        temperatures: Temperatures T, ascending.
        num_ladders: Number of independent ladders, each with one chain at every T.
        num_steps: Number of steps of each chain; the first fifth is discarded.
        observe: Function from spins, places of levels, angles or fields `(B, N)` to observables
            `(observables, B)`.
        seed: Random seed.
        sweeps: Number of sweeps per step; a step ends with one round of exchanges.
        progress: Callback that receives the number of finished steps since its last call.

    Returns:
        The observables `(observables, T, ladders, steps)`.
    """
    chains = _Ladders(interactions, temperatures, num_ladders, observe, seed, sweeps)
    return chains.run(num_steps, progress)


class _Ladders(ReplicaExchange):
    """Ladders that move by sweeps; the arguments are those of `temper`."""

    def __init__(
        self,
        interactions: terms.Interactions,
        temperatures: Sequence[float],
        num_ladders: int,
        observe: Callable[[NDArray[Any]], NDArray[np.float64]],
        seed: int,
        sweeps: int,
    ) -> None:
        super().__init__([1 / temperature for temperature in temperatures], num_ladders)
        self.interactions, self.observables, self.seed, self.sweeps = interactions, observe, seed, sweeps
        self.temperatures = np.tile(1 / self.betas, num_ladders)
        self.rng = np.random.default_rng([seed, 1])
        betas, index = np.unique(1 / self.temperatures, return_inverse=True)
        self.widths = slice_widths(interactions, 1 / betas)[index]
        shape = len(self.temperatures), interactions.num_sites
        states = random_states(shape, interactions, self.widths, self.rng)
        dtype = {SPIN: np.int8, LEVEL: np.int16}.get(interactions.kind, np.float64)
        self.configurations: NDArray[Any] = np.empty(shape, dtype)
        terms.from_states(states, self.configurations, interactions)

    def move(self, step: int, burn_in: bool) -> NDArray[np.float64]:
        """Sweep every chain and return H `(B,)`."""
        seed = self.seed * 1_000_003 + step
        sweep(self.configurations, self.interactions, self.temperatures, self.sweeps, seed, self.widths)
        return terms.energies(self.configurations, self.interactions)

    def uniforms(self, num: int) -> NDArray[np.float64]:
        """Draw random numbers in [0, 1) `(num,)`."""
        return self.rng.random(num)

    def reorder(self, order: NDArray[np.intp]) -> None:
        """Put the configuration of chain `order[b]` into chain b."""
        self.configurations = self.configurations[order]

    def observe(self) -> NDArray[np.float64]:
        """Return the observables of the present configurations `(observables, B)`."""
        return self.observables(self.configurations)
