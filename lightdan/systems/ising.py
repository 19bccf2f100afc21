"""The Ising model on any lattice or graph."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from lightdan.checks import check_number
from lightdan.lattices import groups
from lightdan.lattices.bravais import lattice_of
from lightdan.simulation import ising, kaufman, layers, levels, planar
from lightdan.simulation.simulation import Simulation
from lightdan.simulation.thermodynamics import Thermodynamics
from lightdan.systems.base import System
from lightdan.types import ConfigurationsLike, PerConfiguration

PLANAR = {
    "hypercubic": ("square", (0, 1)),
    "triangular": ("triangular", (0, 1, 2)),
    "honeycomb": ("honeycomb", (1, 2, 0)),
    "kagome": ("kagome", (0, 1, 2)),
}
"""Lattices that `planar` solves, with its order of the directions of bonds."""


class Ising(System):
    """Ising model of spins s = ±1 on a periodic lattice or a graph.

        H = −Σ_<ij> J_ij s_i s_j − h Σ_i s_i

    The bonds join nearest neighbours. The configurations come from heat-bath sweeps and Wolff clusters,
    or from replica exchange if bonds are frustrated. They are spaced so that the integrated
    autocorrelation times of E, |m| and m are below one configuration. Exact results at h = 0 are known
    on rings and on rectangular, triangular, honeycomb and kagome tori, those of small tori such as
    4 × 4 × 4 also in a field.

    Args:
        shape: Numbers of cells, one number for a ring, two for a rectangle; one integer L is L × L. On a
            graph it is the number of sites.
        coupling: Coupling J; positive is ferromagnetic. A list has one for each direction of bonds, or
            one for each bond of a graph.
        field: Magnetic field h.
        lattice: ``hypercubic``, ``triangular``, ``honeycomb``, ``kagome``, or the path of a list of
            bonds (.txt, .csv, .npy) with two sites in each line, counted from 0.
        clusters: Whether clusters are flipped; by default unless bonds are frustrated, and on all
            hypercubic tori, where only loops around the torus can be.
        kwargs: Further arguments of `System`: temperature, num_configurations, batch_size, splits, seed,
            cache_dir.

    Raises:
        ValueError: An argument is out of its range, the lattice is unknown or does not fit the shape, or
            clusters are asked of frustrated bonds.

    Example:
        >>> import torch
        >>> Ising(shape=(4, 4)).energy(torch.ones(1, 4, 4))
        tensor([-32.])
        >>> Ising(shape=(4, 4), lattice="kagome").lattice_shape
        (4, 4, 3)
    """

    def __init__(
        self,
        shape: int | tuple[int, ...] = 16,
        coupling: float | list[float] = 1.0,
        field: float = 0.0,
        lattice: str = "hypercubic",
        clusters: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name, self.lattice = lattice, lattice_of(lattice, shape)
        self.lattice_shape, self.boundary = self.lattice.shape, self.lattice.boundary
        self.coupling: float | Sequence[float] = coupling
        if not isinstance(coupling, Sequence):
            check_number("coupling", coupling)
        self.field = check_number("field", field)
        couplings = ising.bond_couplings(self.lattice, coupling)
        self.frustrated = ising.is_frustrated(self.lattice, couplings)
        if clusters and self.frustrated:
            raise ValueError(
                "clusters cannot be flipped where bonds are frustrated, because they would span the "
                "lattice: set clusters to false."
            )
        self.clusters = clusters
        self.uniform = len(np.unique(couplings)) <= 1
        spatial = groups.spatial_operations(self.lattice)
        if not self.uniform:
            spatial = tuple(name for name in spatial if groups.keeps(name, self.lattice, couplings))
        self.symmetries = spatial if field else ("z2", *spatial)

    def parameters(self) -> dict[str, Any]:
        """Return J and h, and where they are no defaults lattice and clusters."""
        numbers: dict[str, Any] = {"coupling": self.coupling, "field": self.field}
        if not self.lattice.is_hypercubic:
            numbers["lattice"] = self.lattice.spec
        if self.clusters is not None:
            numbers["clusters"] = self.clusters
        return numbers

    def simulate(self, temperature: float, seed: int, progress: Callable[[int], None]) -> Simulation:
        """Draw configurations by heat-bath sweeps with cluster updates, or replica exchange."""
        return ising.simulate(
            self.lattice,
            temperature,
            self.num_configurations,
            coupling=self.coupling,
            field=self.field,
            clusters=self.clusters,
            seed=seed,
            progress=progress,
        )

    def energy(self, configurations: ConfigurationsLike) -> PerConfiguration:
        """Return H(s) `(B,)`, each bond counted once; a side of two cells has two bonds between them."""
        flat = self.checked(configurations).flatten(1)
        total = -self.field * flat.sum(1)
        for coupling, bonds in ising.bonds_by_coupling(self.lattice, self.coupling).items():
            first, second = torch.from_numpy(bonds.T).to(flat.device)
            total = total - coupling * (flat[:, first] * flat[:, second]).sum(1)
        return total

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Return the values from `exact`, βh, and βJ if it is one and no bond is double."""
        couplings = {"field": self.field / temperature}
        if self.uniform and 2 not in self.lattice.cells and not isinstance(self.coupling, Sequence):
            couplings["nearest_neighbour"] = self.coupling / temperature
        return super().exact_values(temperature) | couplings

    def exact(self, temperature: float) -> Thermodynamics | None:
        """Return the exact thermodynamics, or None if they are not known.

        They are known on planar tori at h = 0, and by transfer matrices on small rectangular and cubic
        tori.
        """
        cells, coupling = self.lattice.cells, self.coupling
        wide = len(cells) == 2 and min(cells) > 1
        solution = PLANAR.get(str(self.name)) if wide and not self.field else None
        if isinstance(coupling, Sequence):
            if solution is None:
                return None
            couplings = [coupling[k] for k in solution[1]]
            return planar.thermodynamics(solution[0], cells, temperature, couplings)
        if self.lattice.is_hypercubic and len(cells) < 3 and not (self.field or self.frustrated):
            return kaufman.thermodynamics(cells, temperature, coupling)
        if solution is not None:
            return planar.thermodynamics(solution[0], cells, temperature, coupling)
        if not self.lattice.is_hypercubic:
            return None
        return layers.solved(levels.ising, (coupling, self.field), cells, temperature)
