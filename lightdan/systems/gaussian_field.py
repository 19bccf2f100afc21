"""The Gaussian scalar field on a periodic lattice of any dimension."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lightdan.checks import SMALLEST, check_number
from lightdan.lattices import groups
from lightdan.lattices.bravais import lattice_of
from lightdan.simulation import gaussian_field
from lightdan.simulation.simulation import Simulation
from lightdan.systems.base import System
from lightdan.types import ConfigurationsLike, PerConfiguration


class GaussianField(System):
    """Free scalar field φ on a periodic lattice, simulated and solved exactly.

        S = ½ [Σ_<xy> (φ_x − φ_y)² + m² Σ_x φ_x²] = ½ φᵀ K φ

    K has z + m² on its diagonal, with z = 2d bonds per site in d dimensions, and −1 for each bond. Its
    modes are K_k = m² + Σ_μ 2 (1 − cos k_μ), on a triangular lattice with a third cosine of k_1 − k_2.
    There is no temperature: T = 1 in formulas that have one. The Fourier transform draws independent
    fields.

    Args:
        shape: Numbers of sites along the axes: one number for a ring, two for a rectangle, three for a
            cuboid, or more; one integer L is L × L.
        mass2: Squared mass m² in lattice units.
        lattice: ``hypercubic``, ``triangular``, or another lattice with one site per cell.
        kwargs: Further arguments of `System`: num_configurations, batch_size, splits, seed, cache_dir,
            max_memory_gb.

    Raises:
        ValueError: mass2 is not positive, or the lattice is unknown, does not fit the shape or has
            several sites per cell.

    References:
        I. Montvay and G. Münster, Quantum Fields on a Lattice (1994), section 2.

    Example:
        >>> round(GaussianField(shape=(10,), mass2=4.0).exact_values(1.0)["nll"], 5)
        5.37565
    """

    site_kind = "real"
    levels = ()

    def __init__(
        self,
        shape: int | tuple[int, ...] = (10,),
        mass2: float = 4.0,
        lattice: str = "hypercubic",
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature=1.0, **kwargs)
        self.lattice = lattice_of(lattice, shape)
        if self.lattice.is_graph or self.lattice.num_basis > 1:
            kind = "is a graph" if self.lattice.is_graph else "has several sites in a cell"
            raise ValueError(
                f"The lattice {lattice} {kind}, but the Fourier transform needs a torus with one in "
                "each: set lattice to hypercubic or triangular."
            )
        self.lattice_shape = self.lattice.shape
        self.mass2 = check_number("mass2", mass2, SMALLEST)
        self.symmetries = ("z2", *groups.spatial_operations(self.lattice))

    def parameters(self) -> dict[str, Any]:
        """Return m², and the lattice unless it is hypercubic."""
        numbers: dict[str, Any] = {"mass2": self.mass2}
        return numbers if self.lattice.is_hypercubic else numbers | {"lattice": self.lattice.spec}

    def label(self, temperature: float) -> str:
        """Return m² as the name, because there is no temperature."""
        return f"mass2={self.mass2:g}"

    def simulate(self, temperature: float, seed: int, progress: Callable[[int], None]) -> Simulation:
        """Draw independent fields."""
        return gaussian_field.simulate(self.spectrum, self.num_configurations, seed, progress)

    def action(
        self, configurations: ConfigurationsLike, temperature: PerConfiguration | float = 1.0
    ) -> PerConfiguration:
        """Return S `(B,)`, each bond counted once; a side of two sites has two bonds between them."""
        configurations = self.checked(configurations)
        density = self.mass2 * configurations.square()
        axes = tuple(range(1, configurations.ndim))
        for step in self.lattice.steps:
            ahead = configurations.roll([-cells for cells in step], axes)
            density = density + (ahead - configurations).square()
        return density.flatten(1).sum(1) / 2

    @property
    def spectrum(self) -> np.ndarray:
        """Eigenvalues K_k of K `(*lattice)`."""
        return gaussian_field.spectrum(self.lattice, self.mass2)

    def propagator(self) -> np.ndarray:
        """Return ⟨φ_0 φ_x⟩ `(*lattice)`."""
        return gaussian_field.propagator(self.lattice, self.mass2)

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Return ln Z, the entropy as `nll`, ⟨S⟩ per site, ⟨φ²⟩, and mean and mean modulus of Σφ/N."""
        log_z = gaussian_field.log_partition(self.lattice, self.mass2)
        return {
            "ln_z": log_z,
            "nll": log_z + self.num_sites / 2,
            "action": 0.5,
            "phi2": float(self.propagator().flat[0]),
            "magnetization": 0.0,
            "abs_magnetization": math.sqrt(2 / (math.pi * self.mass2 * self.num_sites)),
        }
