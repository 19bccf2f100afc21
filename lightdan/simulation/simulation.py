"""The result of a simulation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lightdan.statistics import Estimate


class Parts(NamedTuple):
    """An array that comes in pieces, so that a file can be written in bounded memory.

    Args:
        shape: Shape of the whole array.
        dtype: Type of its values.
        parts: Consecutive rows of the array.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    parts: Iterator[np.ndarray]


@dataclass(frozen=True)
class Simulation:
    """Configurations in equilibrium and their autocorrelation times.

    Args:
        configurations: Array `(M, *lattice)` in a compact type, or `Parts` of it. The rows of a Markov
            chain follow each other, chain after chain.
        tau: Integrated autocorrelation time of each observable by name, in rows of a chain; empty for
            independent configurations.
        updates_per_configuration: Updates between two rows of a chain.
    """

    configurations: Any
    tau: Mapping[str, Estimate] = field(default_factory=dict)
    updates_per_configuration: int = 1

    @property
    def tau_int(self) -> Estimate:
        """The longest autocorrelation time in rows; 0.5 for independent configurations."""
        return max(self.tau.values(), default=Estimate(0.5, 0.0))
