"""The XY model on any lattice or graph."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightdan.checks import check_number
from lightdan.lattices import groups
from lightdan.lattices.bravais import lattice_of
from lightdan.simulation import characters, ising, xy
from lightdan.simulation.simulation import Simulation
from lightdan.simulation.thermodynamics import Thermodynamics
from lightdan.systems.base import System
from lightdan.types import Configurations, ConfigurationsLike, PerConfiguration


class XY(System):
    """XY model of angles θ in [0, 2π) on a periodic lattice or a graph.

        H = −Σ_<ij> J_ij cos(θ_i − θ_j)

    The bonds join nearest neighbours. The configurations come from over-relaxation, heat-bath sweeps
    and Wolff clusters, or from replica exchange if bonds are frustrated. They are spaced so that the
    integrated autocorrelation times of E, |m|, helicity modulus and vortex pairs are below one
    configuration. Exact results, in the measure dθ/2π, come from the character expansion, on rings and
    on rectangles with a side of at most 4. Hypercubic lattices alone have a helicity modulus, and graphs
    no vortices.

    Args:
        shape: Numbers of cells, one number for a ring, two for a rectangle; one integer L is L × L. On a
            graph it is the number of sites.
        coupling: Coupling J; positive is ferromagnetic. A list has one for each direction of bonds, or
            one for each bond of a graph.
        lattice: ``hypercubic``, ``triangular``, ``honeycomb``, ``kagome``, or the path of a list of
            bonds (.txt, .csv, .npy) with two sites in each line, counted from 0.
        kwargs: Further arguments of `System`: temperature, num_configurations, batch_size, splits, seed,
            cache_dir.

    Raises:
        ValueError: An argument is out of its range, or the lattice is unknown or does not fit the shape.

    Example:
        >>> import torch
        >>> XY(shape=(4, 4)).energy(torch.zeros(1, 4, 4))
        tensor([-32.])
    """

    site_kind = "angle"
    levels = ()

    def __init__(
        self,
        shape: int | tuple[int, ...] = 16,
        coupling: float | list[float] = 1.0,
        lattice: str = "hypercubic",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.lattice = lattice_of(lattice, shape)
        self.lattice_shape, self.boundary = self.lattice.shape, self.lattice.boundary
        self.coupling: float | Sequence[float] = coupling
        if not isinstance(coupling, Sequence):
            check_number("coupling", coupling)
        couplings = ising.bond_couplings(self.lattice, coupling)
        self.uniform = len(np.unique(couplings)) <= 1
        spatial = groups.spatial_operations(self.lattice)
        if not self.uniform:
            spatial = tuple(name for name in spatial if groups.keeps(name, self.lattice, couplings))
        self.symmetries = (*groups.SPIN_OPERATIONS, *spatial)

    def parameters(self) -> dict[str, Any]:
        """Return J, and the lattice unless it is hypercubic."""
        numbers: dict[str, Any] = {"coupling": self.coupling}
        return numbers if self.lattice.is_hypercubic else numbers | {"lattice": self.lattice.spec}

    def simulate(self, temperature: float, seed: int, progress: Callable[[int], None]) -> Simulation:
        """Draw configurations by over-relaxation, heat-bath sweeps and clusters, or replica exchange."""
        return xy.simulate(
            self.lattice,
            temperature,
            self.num_configurations,
            coupling=self.coupling,
            seed=seed,
            progress=progress,
        )

    def differences(self, configurations: Configurations) -> list[tuple[float, Tensor]]:
        """Return J and θ_j − θ_i `(B, bonds)` of the bonds that have it, one class after the other.

        The classes of a torus are its axes with more than one site.
        """
        flat = configurations.flatten(1)
        found = []
        for coupling, bonds in xy.bonds_by_coupling(self.lattice, self.coupling):
            first, second = torch.from_numpy(bonds.T).to(flat.device)
            found.append((coupling, flat.index_select(1, second) - flat.index_select(1, first)))
        return found

    def energy(self, configurations: ConfigurationsLike) -> PerConfiguration:
        """Return H(θ) `(B,)`, each bond counted once; a side of two cells has two bonds between them."""
        configurations = self.checked(configurations)
        total = configurations.new_zeros(len(configurations))
        for coupling, ahead in self.differences(configurations):
            total -= coupling * torch.cos(ahead).sum(1)
        return total

    @property
    def has_twist(self) -> bool:
        """Whether a twist along the axes is defined: on hypercubic lattices with bonds."""
        return self.lattice.is_hypercubic and self.num_sites > 1

    def helicity_modulus(self, configurations: Configurations, temperature: float) -> PerConfiguration:
        """Return the helicity modulus Υ of a hypercubic lattice averaged over the axes `(B,)`.

            Υ = J Σ cos(Δθ)/N − J² (Σ sin(Δθ))²/(T N)

        Its mean over the ensemble is the stiffness ∂²F/∂φ² against a twist φ per bond.

        References:
            S. Teitel and C. Jayaprakash, Phys. Rev. B 27, 598 (1983).
        """
        current, stiffness = self.twist(configurations)
        return ((stiffness - current.square() / temperature) / self.num_sites).mean(0)

    def twist(self, configurations: Configurations) -> tuple[Tensor, Tensor]:
        """Return ∂H/∂φ and ∂²H/∂φ² `(axes, B)` for a twist φ per bond along each axis."""
        couplings, differences = zip(*self.differences(configurations), strict=True)
        ahead, coupling = torch.stack(differences), configurations.new_tensor(couplings)[:, None]
        return coupling * torch.sin(ahead).sum(2), coupling * torch.cos(ahead).sum(2)

    def exact(self, temperature: float) -> Thermodynamics | None:
        """Return the character expansion, or None if the lattice is none of its, or frustrated."""
        if not self.lattice.is_hypercubic or isinstance(self.coupling, Sequence):
            return None
        try:
            return characters.thermodynamics(self.lattice_shape, temperature, self.coupling)
        except ValueError:
            return None

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Return the values from `exact`, and βJ if it is one and no bond is double."""
        couplings = {}
        if self.uniform and 2 not in self.lattice.cells and not isinstance(self.coupling, Sequence):
            couplings["nearest_neighbour"] = self.coupling / temperature
        return super().exact_values(temperature) | couplings

    def observables(self, temperature: float) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return energy, |m|, vortex pairs and helicity modulus, per site."""
        functions = super().observables(temperature)
        if "vortex_pairs" not in functions and xy.plaquettes(self.lattice):
            functions["vortex_pairs"] = lambda s: torch.from_numpy(
                xy.vortex_pairs(s.cpu().numpy(), self.lattice)
            ).to(s)
        if self.has_twist:
            functions["helicity_modulus"] = lambda s: self.helicity_modulus(s, temperature)
        return functions
