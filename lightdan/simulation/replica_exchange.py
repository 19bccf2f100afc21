"""Replica exchange: Markov chains at neighbouring temperatures swap their configurations."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

BURN_IN = 0.2
"""Fraction of the steps that is discarded as burn-in."""


@numba.njit(cache=True, nogil=True)
def exchange(energies: Any, betas: Any, step: int, uniforms: Any) -> Any:
    """Return the order of the replicas after a round of exchanges between neighbours.

    Even steps pair the replicas (0, 1), (2, 3), …, odd steps (1, 2), (3, 4), …. A pair is exchanged
    with probability

        min(1, e^{(β_k − β_{k+1})(E_k − E_{k+1})}).

    Args:
        energies: E of the replicas `(ladders, K)`.
        betas: β of each rung `(K,)`.
        step: Number of the step.
        uniforms: Random number in [0, 1) of each pair `(ladders, num_pairs(K, step))`.

    Returns:
        Flat indices `(ladders · K,)` of the replicas that come to each rung.
    """
    num_ladders, num_rungs = energies.shape
    order = np.arange(num_ladders * num_rungs)
    for ladder in range(num_ladders):
        for lower in range(step % 2, num_rungs - 1, 2):
            gain = (betas[lower] - betas[lower + 1]) * (
                energies[ladder, lower] - energies[ladder, lower + 1]
            )
            if gain >= 0.0 or uniforms[ladder, lower // 2] < math.exp(gain):
                place = ladder * num_rungs + lower
                order[place], order[place + 1] = place + 1, place
    return order


@numba.njit(cache=True, nogil=True)
def num_pairs(num_rungs: int, step: int) -> int:
    """Return the number of neighbours that `exchange` pairs in a step."""
    return (num_rungs - step % 2) // 2


class ReplicaExchange(ABC):
    """Independent ladders of Markov chains of e^{−βE} at several β, which exchange configurations.

    A subclass moves the chains. There are B = ladders · K of them; those of a ladder follow each other.

    Args:
        betas: β of the K rungs, in the inverse units of the energies that `move` returns.
        num_ladders: Number of independent ladders, each with one chain at every β.

    References:
        K. Hukushima and K. Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996).
    """

    def __init__(self, betas: Sequence[float], num_ladders: int) -> None:
        self.betas = np.array(betas, dtype=np.float64)
        self.num_ladders = num_ladders

    @abstractmethod
    def move(self, step: int, burn_in: bool) -> NDArray[np.float64]:
        """Move every chain and return the energies E `(B,)`.

        Args:
            step: Number of the step.
            burn_in: Whether the step belongs to the burn-in, when proposals may be adapted.
        """

    @abstractmethod
    def uniforms(self, num: int) -> NDArray[np.float64]:
        """Draw random numbers in [0, 1) `(num,)`."""

    @abstractmethod
    def reorder(self, order: NDArray[np.intp]) -> None:
        """Put the configuration of chain `order[b]` into chain b."""

    @abstractmethod
    def observe(self) -> NDArray[np.float64]:
        """Return the observables of the present configurations `(observables, B)`."""

    def step(self, step: int, burn_in: bool = False) -> None:
        """Move every chain, then exchange neighbours."""
        energies = self.move(step, burn_in).reshape(self.num_ladders, -1)
        shape = self.num_ladders, num_pairs(len(self.betas), step)
        uniforms = self.uniforms(math.prod(shape)).reshape(shape)
        self.reorder(exchange(energies, self.betas, step, uniforms))

    def run(
        self, num_steps: int, progress: Callable[[int], None] = lambda n: None
    ) -> NDArray[np.float64]:
        """Observe the configurations after every step that follows the burn-in.

        Args:
            num_steps: Number of steps of each chain, burn-in included.
            progress: Callback that receives the number of finished steps since its last call.

        Returns:
            The observables `(observables, K, ladders, steps)`.
        """
        num_burn_in = math.ceil(BURN_IN * num_steps)
        series = []
        for step in range(num_steps):
            self.step(step, burn_in=step < num_burn_in)
            if step >= num_burn_in:
                series.append(self.observe())
            progress(1)
        stacked = np.stack(series, axis=-1).astype(np.float64)
        by_ladder = stacked.reshape(len(stacked), self.num_ladders, len(self.betas), -1)
        return by_ladder.swapaxes(1, 2)
