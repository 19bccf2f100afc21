"""The clock model on any lattice or graph."""

import math
from collections.abc import Callable
from typing import Any

from lightdan.checks import check_integer, check_number
from lightdan.simulation.levels import Levels, clock
from lightdan.simulation.thermodynamics import Thermodynamics
from lightdan.systems.ising import Ising
from lightdan.systems.levels import LevelSystem


class Clock(LevelSystem):
    """Clock model of q directions 2πa/q, a = 0, …, q − 1, on a periodic lattice or a graph.

        H = −J Σ_<ij> cos(2π(a_i − a_j)/q)

    The configurations come from heat-bath sweeps and clusters of reflected directions. They are spaced
    so that the integrated autocorrelation times of E, m² and correlations are below one configuration.
    Exact results are known on small rectangular tori; those of q = 4 are twice those of an Ising model
    with J/2 at any size.

    Args:
        shape: Numbers of cells, one number for a ring, two for a rectangle; one integer L is L × L. On a
            graph it is the number of sites.
        num_levels: Number q of directions.
        coupling: Coupling J; positive is ferromagnetic.
        lattice: ``hypercubic``, ``triangular``, ``honeycomb``, ``kagome``, or the path of a list of
            bonds (.txt, .csv, .npy) with two sites in each line, counted from 0.
        kwargs: Further arguments of `System`: temperature, num_configurations, batch_size, splits, seed,
            cache_dir.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import torch
        >>> Clock(shape=(4, 4)).energy(torch.zeros(1, 4, 4))
        tensor([-32.])
    """

    clock = True

    def __init__(
        self,
        shape: int | tuple[int, ...] = 16,
        num_levels: int = 6,
        coupling: float = 1.0,
        lattice: str = "hypercubic",
        **kwargs: Any,
    ) -> None:
        self.num_levels = check_integer("num_levels", num_levels, 2, 100)
        self.coupling = check_number("coupling", coupling)
        self.levels = tuple(range(num_levels))
        self.level_values = tuple(2 * math.pi * a / num_levels for a in self.levels)
        self.internal = (f"clock_{num_levels}",)
        super().__init__(shape, lattice, **kwargs)
        self.spins = {2: 1, 4: 2}.get(num_levels, 0)
        """Number of Ising models that it consists of, with J divided by their number."""
        if self.spins:
            self.ising = Ising(shape, self.coupling / self.spins, lattice=lattice)

    @property
    def model(self) -> tuple[Callable[..., Levels], tuple[float, ...]]:
        """The clock model with q and J."""
        return clock, (self.num_levels, self.coupling)

    def exact(self, temperature: float) -> Thermodynamics | None:
        """Return the sum of Ising models for q = 2 and 4, else that of a small torus, or None."""
        solved = self.ising.exact(temperature) if self.spins else None
        if solved is None:
            return super().exact(temperature)
        return Thermodynamics(*(self.spins * value for value in solved))
