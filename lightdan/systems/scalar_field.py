"""The scalar φ⁴ theory on a periodic hypercubic lattice."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from lightdan.checks import check_number
from lightdan.lattices import groups
from lightdan.lattices.bravais import MOST_AXES, lattice_of
from lightdan.simulation import scalar_field
from lightdan.simulation.simulation import Simulation
from lightdan.systems.base import System
from lightdan.types import ConfigurationsLike, PerConfiguration

BONDS = tuple(
    "_".join(map(str, ("pair", *step)))
    for axes in range(2, MOST_AXES + 1)
    for step in np.eye(axes, dtype=int)
)
"""Names of the operators of bonds along the axes, which differ where the sides do."""


class ScalarField(System):
    """Scalar φ⁴ theory in the hopping form on a periodic lattice of d dimensions.

        S = Σ_x [−2κ Σ_μ φ_x φ_{x+μ} + φ_x² + λ (φ_x² − 1)²]

    With φ_c = √(2κ) φ it is the lattice form of ∫ [(∂φ_c)²/2 + m² φ_c²/2 + g φ_c⁴/4!], where
    m² = (1 − 2λ)/κ − 2d and g = 6λ/κ². At λ = 0 the field is free for κ < 1/(2d); λ → ∞ is the Ising
    model with J/T = 2κ. There is no temperature: T = 1 in formulas that have one. The fields come from
    slice sampling and clusters, free ones from the Fourier transform.

    Args:
        shape: Numbers of sites along the axes: one number for a ring, two for a rectangle, three for a
            cuboid, or more; one integer L is L × L.
        hopping: Hopping parameter κ.
        coupling: Self-coupling λ.
        kwargs: Further arguments of `System`: num_configurations, batch_size, splits, seed, cache_dir,
            max_memory_gb.

    Raises:
        ValueError: The action is unbounded below.

    References:
        I. Montvay and G. Münster, Quantum Fields on a Lattice (1994), section 2.

    Example:
        >>> import torch
        >>> ScalarField(shape=(2, 2), hopping=0.1, coupling=0.5).action(torch.ones(1, 2, 2), 1.0)
        tensor([2.4000])
    """

    site_kind = "real"
    levels = ()
    controls: ClassVar = {"hopping": ("nearest_neighbour", *BONDS)}

    def __init__(
        self,
        shape: int | tuple[int, ...] = 16,
        hopping: float = 0.2,
        coupling: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature=1.0, **kwargs)
        self.lattice_shape = lattice_of("hypercubic", shape).shape
        dimensions = sum(side > 1 for side in self.lattice_shape)
        check_number("hopping", hopping)
        check_number("coupling", coupling, 0)
        if coupling == 0 and abs(hopping) * 2 * dimensions >= 1:
            raise ValueError(
                f"Without coupling the action is unbounded below at hopping {hopping}: set |hopping| < "
                f"1/{2 * dimensions}, or a positive coupling."
            )
        self.hopping, self.coupling = hopping, coupling
        self.symmetries = ("z2", *groups.spatial_operations(self.lattice))

    def parameters(self) -> dict[str, Any]:
        """Return κ, λ and the name of the sampler."""
        sampler = "slices" if self.coupling else "exact"
        return {"hopping": self.hopping, "coupling": self.coupling, "sampler": sampler}

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Return the couplings in −S, unless a side of two has each bond twice."""
        if 2 in self.lattice_shape:
            return {}
        return {
            "nearest_neighbour": 2 * self.hopping,
            "power_2": 2 * self.coupling - 1,
            "power_4": -self.coupling,
        }

    def label(self, temperature: float) -> str:
        """Return κ as the name, because there is no temperature."""
        return f"kappa={self.hopping:g}"

    def simulate(self, temperature: float, seed: int, progress: Callable[[int], None]) -> Simulation:
        """Draw fields by slice sampling and clusters."""
        return scalar_field.simulate(
            self.lattice_shape,
            self.hopping,
            self.coupling,
            self.num_configurations,
            seed=seed,
            progress=progress,
        )

    def action(
        self, configurations: ConfigurationsLike, temperature: PerConfiguration | float = 1.0
    ) -> PerConfiguration:
        """Return S `(B,)`, each bond counted once; a side of two sites has two bonds between them."""
        configurations = self.checked(configurations)
        axes = range(1, configurations.ndim)
        ahead = sum(configurations.roll(-1, axis) for axis in axes if configurations.shape[axis] > 1)
        square = configurations.square()
        density = square + self.coupling * (square - 1).square()
        density = density - 2 * self.hopping * configurations * ahead
        return density.flatten(1).sum(1)
