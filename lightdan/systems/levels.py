"""Base class of models whose sites have discrete levels."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lightdan.lattices import groups
from lightdan.lattices.bravais import lattice_of
from lightdan.simulation import layers, level_chains
from lightdan.simulation.levels import Levels
from lightdan.simulation.simulation import Simulation
from lightdan.simulation.thermodynamics import Thermodynamics
from lightdan.systems.base import System
from lightdan.types import Configurations, ConfigurationsLike, PerConfiguration


class LevelSystem(System, ABC):
    """Model of discrete levels with one matrix for all bonds, on a periodic lattice or a graph.

        H = −J Σ_<ij> g(a_i, a_j) + Σ_i u(a_i)

    A subclass declares `levels` and `internal`, and implements `model`.

    Args:
        shape: Numbers of cells, or of the sites of a graph.
        lattice: Name of the lattice, or the path of a list of bonds.
        kwargs: Further arguments of `System`.
    """

    site_kind = "level"
    internal: tuple[str, ...] = ()
    """Names of the operations on levels that leave H unchanged."""

    def __init__(self, shape: int | tuple[int, ...], lattice: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lattice = lattice_of(lattice, shape)
        self.lattice_shape, self.boundary = self.lattice.shape, self.lattice.boundary
        self.symmetries = (*self.internal, *groups.spatial_operations(self.lattice))

    @property
    @abstractmethod
    def model(self) -> tuple[Callable[..., Levels], tuple[float, ...]]:
        """Function of `lightdan.simulation.levels` that returns the Hamiltonian, and its arguments."""

    @cached_property
    def hamiltonian(self) -> Levels:
        """Functions g and u as arrays, the coupling J, and the reflections of the levels."""
        function, arguments = self.model
        return function(*arguments)

    def parameters(self) -> dict[str, Any]:
        """Return the arguments of the Hamiltonian, and the lattice unless it is rectangular."""
        numbers: dict[str, Any] = {"arguments": list(self.model[1])}
        return numbers if self.lattice.is_hypercubic else numbers | {"lattice": self.lattice.spec}

    def simulate(self, temperature: float, seed: int, progress: Callable[[int], None]) -> Simulation:
        """Draw configurations by heat-bath sweeps and clusters of reflected levels."""
        run = level_chains.simulate(
            self.hamiltonian,
            self.lattice,
            temperature,
            self.num_configurations,
            seed=seed,
            progress=progress,
        )
        configurations = run.configurations
        configurations += self.levels[0]
        return run

    def energy(self, configurations: ConfigurationsLike) -> PerConfiguration:
        """Return H `(B,)`, each bond counted once; a side of two cells has two bonds between them."""
        flat = self.checked(configurations).flatten(1)
        places = flat.long() - self.levels[0]
        first, second = torch.from_numpy(self.lattice.bonds.T).to(flat.device)
        pairs = torch.from_numpy(-self.hamiltonian.coupling * self.hamiltonian.product).to(flat)
        single = torch.from_numpy(self.hamiltonian.single).to(flat)
        return pairs[places[:, first], places[:, second]].sum(1) + single[places].sum(1)

    def exact(self, temperature: float) -> Thermodynamics | None:
        """Return the exact thermodynamics of a small torus by transfer matrices, or None."""
        if not (self.lattice.is_hypercubic and self.lattice.periodic):
            return None
        return layers.solved(*self.model, self.lattice.cells, temperature)


def shares(configurations: Configurations, levels: tuple[int, ...]) -> Tensor:
    """Return the share of each level among the sites `(B, q)`."""
    flat = configurations.flatten(1)
    return torch.stack([(flat == level).double().mean(1) for level in levels], 1)
