"""The XY model on a periodic lattice."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightdan.checks import check_number
from lightdan.lattices import groups
from lightdan.lattices.shapes import check_shape
from lightdan.simulation import characters, xy
from lightdan.simulation.simulation import Simulation
from lightdan.simulation.thermodynamics import Thermodynamics
from lightdan.systems.base import System
from lightdan.types import Configurations, ConfigurationsLike, PerConfiguration


class XY(System):
    """XY model of angles θ in [0, 2π) on a periodic ring or rectangle.

        H = −J Σ_<ij> cos(θ_i − θ_j)

    The configurations come from over-relaxation, heat-bath sweeps and Wolff clusters. They are spaced so
    that the integrated autocorrelation times of E, |m|, helicity modulus and vortex pairs are below one
    configuration. Exact results, in the measure dθ/2π, come from the character expansion, on rings and
    on rectangles with a side of at most 4.

    Args:
        shape: Numbers of sites, one number for a ring, two for a rectangle; one integer L is L × L.
        coupling: Coupling J; positive is ferromagnetic.
        kwargs: Further arguments of `System`: temperature, num_configurations, batch_size, splits, seed,
            cache_dir.

    Example:
        >>> import torch
        >>> XY(shape=(4, 4)).energy(torch.zeros(1, 4, 4))
        tensor([-32.])
    """

    site_kind = "angle"
    levels = ()

    def __init__(self, shape: int | tuple[int, ...] = 16, coupling: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lattice_shape = check_shape(shape)
        self.coupling = check_number("coupling", coupling)
        spatial = groups.spatial_operations(self.lattice)
        self.symmetries = (*groups.SPIN_OPERATIONS, *spatial)

    def parameters(self) -> dict[str, Any]:
        """Return J."""
        return {"coupling": self.coupling}

    def simulate(self, temperature: float, seed: int, progress: Callable[[int], None]) -> Simulation:
        """Draw configurations by over-relaxation, heat-bath sweeps and cluster updates."""
        return xy.simulate(
            self.lattice_shape,
            temperature,
            self.num_configurations,
            coupling=self.coupling,
            seed=seed,
            progress=progress,
        )

    def bonds(self, configurations: Configurations) -> list[Tensor]:
        """Return θ_j − θ_i along each axis `(B, *lattice)`; a side of one site has no bonds."""
        axes = [axis for axis, side in enumerate(self.lattice_shape, start=1) if side > 1]
        return [configurations.roll(-1, axis) - configurations for axis in axes]

    def energy(self, configurations: ConfigurationsLike) -> PerConfiguration:
        """Return H(θ) `(B,)`, each bond counted once; a side of two sites has two bonds between them."""
        configurations = self.checked(configurations)
        total = configurations.new_zeros(len(configurations))
        for bond in self.bonds(configurations):
            total -= self.coupling * torch.cos(bond).flatten(1).sum(1)
        return total

    def helicity_modulus(self, configurations: Configurations, temperature: float) -> PerConfiguration:
        """Return the helicity modulus Υ averaged over the axes, in units of J `(B,)`.

            Υ = J Σ cos(Δθ)/N − J² (Σ sin(Δθ))²/(T N)

        Its mean over the ensemble is the stiffness ∂²F/∂φ² against a twist φ per bond.

        References:
            S. Teitel and C. Jayaprakash, Phys. Rev. B 27, 598 (1983).
        """
        current, stiffness = self.twist(configurations)
        return ((stiffness - current.square() / temperature) / self.num_sites).mean(0)

    def twist(self, configurations: Configurations) -> tuple[Tensor, Tensor]:
        """Return ∂H/∂φ and ∂²H/∂φ² `(axes, B)` for a twist φ per bond along each axis."""
        bonds = torch.stack(self.bonds(configurations)).flatten(2)
        return self.coupling * torch.sin(bonds).sum(2), self.coupling * torch.cos(bonds).sum(2)

    def exact(self, temperature: float) -> Thermodynamics | None:
        """Return the character expansion, or None if the lattice is too wide or frustrated."""
        try:
            return characters.thermodynamics(self.lattice_shape, temperature, self.coupling)
        except ValueError:
            return None

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Return the values from `exact`, and βJ unless a side of two has each bond twice."""
        couplings = {"nearest_neighbour": self.coupling / temperature}
        return super().exact_values(temperature) | ({} if 2 in self.lattice_shape else couplings)

    def observables(self, temperature: float) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return energy, |m|, vortex pairs and helicity modulus, per site."""
        functions = super().observables(temperature)
        if max(self.lattice_shape) > 1:
            functions["helicity_modulus"] = lambda s: self.helicity_modulus(s, temperature)
        return functions
