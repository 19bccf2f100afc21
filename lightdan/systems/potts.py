"""The Potts model on any lattice or graph."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from lightdan.checks import check_integer, check_number
from lightdan.simulation.levels import Levels, potts
from lightdan.systems.levels import LevelSystem, shares

MOST_COLOURS = 5
"""Largest q whose permutations are all declared as symmetries; beyond it the cyclic ones are."""


class Potts(LevelSystem):
    """Potts model of q colours a = 0, …, q − 1 on a periodic lattice or a graph.

        H = −J Σ_<ij> δ(a_i, a_j)

    The configurations come from heat-bath sweeps and clusters of two exchanged colours. They are spaced
    so that the integrated autocorrelation times of E, m² and correlations are below one configuration.
    Exact results are known on small rectangular tori, such as 8 × 8 with q ≤ 4.

    Args:
        shape: Numbers of cells, one number for a ring, two for a rectangle; one integer L is L × L. On a
            graph it is the number of sites.
        num_levels: Number q of colours.
        coupling: Coupling J; positive is ferromagnetic.
        lattice: ``hypercubic``, ``triangular``, ``honeycomb``, ``kagome``, or the path of a list of
            bonds (.txt, .csv, .npy) with two sites in each line, counted from 0.
        kwargs: Further arguments of `System`: temperature, num_configurations, batch_size, splits, seed,
            cache_dir.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import torch
        >>> Potts(shape=(4, 4)).energy(torch.zeros(1, 4, 4))
        tensor([-32.])
    """

    def __init__(
        self,
        shape: int | tuple[int, ...] = 16,
        num_levels: int = 3,
        coupling: float = 1.0,
        lattice: str = "hypercubic",
        **kwargs: Any,
    ) -> None:
        self.num_levels = check_integer("num_levels", num_levels, 2, 100)
        self.coupling = check_number("coupling", coupling)
        self.levels = tuple(range(num_levels))
        kind = "colours" if num_levels <= MOST_COLOURS else "clock"
        self.internal = (f"{kind}_{num_levels}",)
        super().__init__(shape, lattice, **kwargs)

    @property
    def model(self) -> tuple[Callable[..., Levels], tuple[float, ...]]:
        """The Potts model with q and J."""
        return potts, (self.num_levels, self.coupling)

    def observables(self, temperature: float) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return the energy per site, and |m| = √((q Σ n_a² − 1)/(q − 1)) with the shares n_a."""

        def order(configurations: Tensor) -> Tensor:
            squares = shares(configurations, self.levels).square().sum(1)
            return ((self.num_levels * squares - 1) / (self.num_levels - 1)).clamp(min=0).sqrt()

        return {
            "energy": lambda s: self.energy(s) / self.num_sites,
            "abs_magnetization": order,
        }
