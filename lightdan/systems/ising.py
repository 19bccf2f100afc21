"""The Ising model on a periodic lattice."""

from collections.abc import Callable
from typing import Any

from lightdan.checks import check_number
from lightdan.lattices import groups
from lightdan.lattices.shapes import check_shape
from lightdan.simulation import ising, kaufman
from lightdan.simulation.simulation import Simulation
from lightdan.simulation.thermodynamics import Thermodynamics
from lightdan.systems.base import System
from lightdan.types import ConfigurationsLike, PerConfiguration


class Ising(System):
    """Ising model of spins s = ±1 on a periodic ring or rectangle.

        H = −J Σ_<ij> s_i s_j − h Σ_i s_i

    The configurations come from heat-bath sweeps and Wolff clusters. They are spaced so that the
    integrated autocorrelation times of E, |m| and m are below one configuration. Exact results at h = 0
    come from Kaufman's solution on the torus and from the transfer matrix on the ring.

    Args:
        shape: Numbers of sites, one number for a ring, two for a rectangle; one integer L is L × L.
        coupling: Coupling J; positive is ferromagnetic.
        field: Magnetic field h.
        kwargs: Further arguments of `System`: temperature, num_configurations, batch_size, splits, seed,
            cache_dir.

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
        self.coupling = check_number("coupling", coupling)
        self.field = check_number("field", field)
        spatial = groups.spatial_operations(self.lattice)
        self.symmetries = spatial if field else ("z2", *spatial)

    def parameters(self) -> dict[str, Any]:
        """Return J and h."""
        return {"coupling": self.coupling, "field": self.field}

    def simulate(self, temperature: float, seed: int, progress: Callable[[int], None]) -> Simulation:
        """Draw configurations by heat-bath sweeps and cluster updates."""
        return ising.simulate(
            self.lattice_shape,
            temperature,
            self.num_configurations,
            coupling=self.coupling,
            field=self.field,
            seed=seed,
            progress=progress,
        )

    def energy(self, configurations: ConfigurationsLike) -> PerConfiguration:
        """Return H(s) `(B,)`, each bond counted once; a side of two sites has two bonds between them."""
        configurations = self.checked(configurations)
        axes = range(1, configurations.ndim)
        neighbours = sum(
            configurations.roll(-1, axis) for axis in axes if configurations.shape[axis] > 1
        )
        bonds = (configurations * neighbours).flatten(1).sum(1)
        return -self.coupling * bonds - self.field * configurations.flatten(1).sum(1)

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Return the values from `exact`, βh, and βJ unless a side of two has each bond twice."""
        couplings = {"field": self.field / temperature}
        if 2 not in self.lattice_shape:
            couplings["nearest_neighbour"] = self.coupling / temperature
        return super().exact_values(temperature) | couplings

    def exact(self, temperature: float) -> Thermodynamics | None:
        """Return Kaufman's solution of the torus or the transfer matrix of the ring, at h = 0."""
        frustrated = self.coupling < 0 and any(side % 2 for side in self.lattice_shape)
        if self.field or frustrated:
            return None
        return kaufman.thermodynamics(self.lattice_shape, temperature, self.coupling)
