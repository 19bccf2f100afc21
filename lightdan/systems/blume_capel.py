"""The Blume–Capel model on any lattice or graph."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from lightdan.checks import check_number
from lightdan.simulation.levels import Levels, blume_capel
from lightdan.systems.levels import LevelSystem


class BlumeCapel(LevelSystem):
    """Blume–Capel model of spins s = −1, 0, 1 on a periodic lattice or a graph.

        H = −J Σ_<ij> s_i s_j + D Σ_i s_i²

    The configurations come from heat-bath sweeps and Wolff clusters. They are spaced so that the
    integrated autocorrelation times of E, m² and correlations are below one configuration. Exact
    results are known on small rectangular tori, such as 8 × 8.

    Args:
        shape: Numbers of cells, one number for a ring, two for a rectangle; one integer L is L × L. On a
            graph it is the number of sites.
        coupling: Coupling J; positive is ferromagnetic.
        crystal_field: Crystal field D, which favours s = 0 if it is positive.
        lattice: ``hypercubic``, ``triangular``, ``honeycomb``, ``kagome``, or the path of a list of
            bonds (.txt, .csv, .npy) with two sites in each line, counted from 0.
        kwargs: Further arguments of `System`: temperature, num_configurations, batch_size, splits, seed,
            cache_dir.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import torch
        >>> BlumeCapel(shape=(4, 4), crystal_field=0.5).energy(torch.ones(1, 4, 4))
        tensor([-24.])
    """

    levels = (-1, 0, 1)
    internal = ("z2",)

    def __init__(
        self,
        shape: int | tuple[int, ...] = 16,
        coupling: float = 1.0,
        crystal_field: float = 0.0,
        lattice: str = "hypercubic",
        **kwargs: Any,
    ) -> None:
        self.coupling = check_number("coupling", coupling)
        self.crystal_field = check_number("crystal_field", crystal_field)
        super().__init__(shape, lattice, **kwargs)

    @property
    def model(self) -> tuple[Callable[..., Levels], tuple[float, ...]]:
        """The Blume–Capel model with J and D."""
        return blume_capel, (self.coupling, self.crystal_field)

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Return the values from `exact`, and βJ and −βD unless a bond is double."""
        couplings = {"power_2": -self.crystal_field / temperature}
        if 2 not in self.lattice.cells:
            couplings["nearest_neighbour"] = self.coupling / temperature
        return super().exact_values(temperature) | couplings

    def observables(self, temperature: float) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return energy, |m|, m and ⟨s²⟩, per site."""
        squares = {"square": lambda s: s.flatten(1).square().mean(1)}
        return super().observables(temperature) | squares
