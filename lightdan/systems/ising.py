"""The Ising model on a periodic lattice."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lightdan.lattices import groups
from lightdan.simulation import ising, kaufman
from lightdan.simulation.thermodynamics import Thermodynamics
from lightdan.systems.base import System, autocorrelation_times, check_shape
from lightdan.types import Configurations, PerConfiguration


class Ising(System):
    """H = −J Σ_<ij> s_i s_j − h Σ_i s_i, spins s = ±1 on a periodic ring or rectangle.

    The configurations come from heat-bath sweeps and Wolff clusters, spaced so that the integrated
    autocorrelation times of E, |m| and, in a field, m are below one configuration; exact results are
    Kaufman's on the torus and the transfer matrix' on the ring, for h = 0.

    Args:
        shape: Numbers of sites, one number for a ring, two for a rectangle; one integer L is L × L.
        coupling: J; positive is ferromagnetic.
        field: h.
        kwargs: Of `System`: temperature, num_configurations, batch_size, splits, seed, cache_dir.

    Example:
        >>> import torch
        >>> Ising(shape=(4, 4)).energy(torch.ones(1, 4, 4))
        tensor([-32.])
    """

    def __init__(
        self,
        shape: int | tuple[int, ...] = 16,
        coupling: float = 1.0,
        field: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.lattice_shape = check_shape(shape)
        self.coupling = coupling
        self.field = field
        spatial = groups.spatial_operations(self.lattice_shape, self.boundary)
        self.symmetries = spatial if field else ("z2", *spatial)

    def parameters(self) -> dict[str, Any]:
        """J and h."""
        return {"coupling": self.coupling, "field": self.field}

    def simulate(
        self, temperature: float, seed: int, progress: Callable[[int], None]
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Configurations by cluster updates, with the autocorrelation times of E and |m|."""
        run = ising.simulate(
            self.lattice_shape,
            temperature,
            self.num_configurations,
            coupling=self.coupling,
            field=self.field,
            seed=seed,
            progress=progress,
        )
        times = {
            "energy": run.tau_energy,
            "abs_magnetization": run.tau_abs_magnetization,
            "magnetization": run.tau_magnetization,
        }
        return run.configurations, {
            **autocorrelation_times(times),
            "updates_per_configuration": run.updates_per_configuration,
        }

    def energy(self, configurations: Configurations) -> PerConfiguration:
        """H(s), each bond counted once; a side of two sites has two bonds between them."""
        axes = range(1, configurations.ndim)
        neighbours = sum(
            configurations.roll(-1, axis) for axis in axes if configurations.shape[axis] > 1
        )
        bonds = (configurations * neighbours).flatten(1).sum(1)
        return -self.coupling * bonds - self.field * configurations.flatten(1).sum(1)

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Those of `exact`, and βh and βJ, but not where a side of two has each bond twice."""
        couplings = {"field": self.field / temperature}
        if 2 not in self.lattice_shape:
            couplings["nearest_neighbour"] = self.coupling / temperature
        return super().exact_values(temperature) | couplings

    def exact(self, temperature: float) -> Thermodynamics | None:
        """Kaufman's solution of the finite torus, or the transfer matrix' of the ring; h = 0."""
        frustrated = self.coupling < 0 and any(side % 2 for side in self.lattice_shape)
        if self.field or frustrated:
            return None
        return kaufman.thermodynamics(self.lattice_shape, temperature, self.coupling)
