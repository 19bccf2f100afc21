"""The scalar φ⁴ theory on a periodic lattice."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lightdan.lattices import groups
from lightdan.simulation import scalar_field
from lightdan.systems.base import System, autocorrelation_times, check_shape
from lightdan.types import Configurations, PerConfiguration


class ScalarField(System):
    """S = Σ_x [−2κ Σ_μ φ_x φ_{x+μ} + φ_x² + λ (φ_x² − 1)²] on a periodic ring or rectangle.

    The hopping form: with φ_c = √(2κ) φ it is the lattice form of ∫ [(∂φ_c)²/2 + m² φ_c²/2 + g φ_c⁴/4!]
    with m² = (1 − 2λ)/κ − 2d and g = 6λ/κ². λ = 0 is the free field for κ < 1/(2d), λ → ∞
    the Ising model with J/T = 2κ. There is no temperature: T = 1 in formulas that have one. The fields
    come from hybrid Monte Carlo. (I. Montvay and G. Münster, Quantum Fields on a Lattice, section 2.)

    Args:
        shape: Numbers of sites, one number for a ring, two for a rectangle; one integer L is L × L.
        hopping: κ.
        coupling: λ.
        kwargs: Of `System`: num_configurations, batch_size, splits, seed, cache_dir, max_memory_gb.

    Raises:
        ValueError: the action is unbounded below.

    Example:
        >>> import torch
        >>> ScalarField(shape=(2, 2), hopping=0.1, coupling=0.5).action(torch.ones(1, 2, 2), 1.0)
        tensor([2.4000])
    """

    site_kind = "real"
    levels = ()

    def __init__(
        self,
        shape: int | tuple[int, ...] = 16,
        hopping: float = 0.2,
        coupling: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature=1.0, **kwargs)
        self.lattice_shape = check_shape(shape)
        dimensions = sum(side > 1 for side in self.lattice_shape)
        if not (math.isfinite(hopping) and 0 <= coupling < math.inf):
            raise ValueError(
                f"hopping and coupling must be finite, coupling not negative, not {hopping} and "
                f"{coupling}: else the action is unbounded below."
            )
        if coupling == 0 and abs(hopping) * 2 * dimensions >= 1:
            raise ValueError(
                f"Without coupling the action is bounded below for |hopping| < 1/{2 * dimensions} only, "
                f"not for {hopping}."
            )
        self.hopping, self.coupling = hopping, coupling
        self.symmetries = ("z2", *groups.spatial_operations(self.lattice_shape, self.boundary))

    def parameters(self) -> dict[str, Any]:
        """κ and λ."""
        return {"hopping": self.hopping, "coupling": self.coupling}

    def label(self, temperature: float) -> str:
        """By κ."""
        return f"kappa={self.hopping:g}"

    def simulate(
        self, temperature: float, seed: int, progress: Callable[[int], None]
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Fields by hybrid Monte Carlo, with the autocorrelation times of S, |φ| and φ²."""
        run = scalar_field.simulate(
            self.lattice_shape,
            self.hopping,
            self.coupling,
            self.num_configurations,
            seed=seed,
            progress=progress,
        )
        return run.configurations, {
            **autocorrelation_times(run.tau),
            "updates_per_configuration": run.updates_per_configuration,
        }

    def action(
        self, configurations: Configurations, temperature: PerConfiguration | float = 1.0
    ) -> PerConfiguration:
        """S `(B,)`, each bond counted once; a side of two sites has two bonds between them."""
        axes = range(1, configurations.ndim)
        ahead = sum(configurations.roll(-1, axis) for axis in axes if configurations.shape[axis] > 1)
        square = configurations.square()
        density = square + self.coupling * (square - 1).square()
        density = density - 2 * self.hopping * configurations * ahead
        return density.flatten(1).sum(1)
