"""Base class of physical systems."""

import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning import LightningDataModule
from platformdirs import user_cache_path
from torch import Tensor

from lightdan.checks import check_integer, check_number, check_seed, check_temperatures
from lightdan.data.cache import CachedSimulation
from lightdan.data.loader import BatchLoader
from lightdan.data.rows import JoinedRows, Rows
from lightdan.data.samples import Samples
from lightdan.data.seen import simulation_name
from lightdan.data.splits import check_splits, derive_seed
from lightdan.lattices.angles import polarization, vorticity
from lightdan.lattices.bravais import hypercubic
from lightdan.lattices.lattice import Lattice
from lightdan.lattices.sites import site_values
from lightdan.provenance import KeepsArguments, is_plain
from lightdan.simulation.simulation import Simulation
from lightdan.simulation.thermodynamics import Thermodynamics
from lightdan.statistics import Blocks, is_correlated
from lightdan.types import ConfigurationsLike, PerConfiguration

SITE_KINDS = ("spin", "level", "angle", "real")


class System(LightningDataModule, KeepsArguments):
    """A physical system on a lattice, with configurations at one temperature or several.

    A subclass declares `lattice_shape`, `boundary`, `site_kind`, `levels` and `symmetries`, and
    implements `simulate`. If they are known, it adds `energy`, `exact` and more
    `observables`.

    The configurations and their split are the attribute `data`, a `Samples` object.

    Args:
        temperature: Temperature T of the configurations, one number or a list, in units of J (k_B = 1).
        num_configurations: Number of configurations at each temperature, over all splits.
        batch_size: Number of configurations in a training batch, over all devices together.
        splits: Fractions of the configurations for training, validation and test.
        seed: Random seed for simulation, splitting, shuffling and training noise.
        cache_dir: Directory for simulated data; the user's cache by default.
        max_memory_gb: Memory for the configurations in GB, at 1 byte per discrete and 4 per continuous
            site. Larger data stay on disk and are read batch by batch.

    Raises:
        ValueError: An argument is out of its range.
    """

    boundary: str = "periodic"
    """``periodic``, ``open``, or ``window``: cut out of a larger lattice that is not seen."""
    site_kind: str = "spin"
    """``spin`` (±1), ``level`` (integers), ``angle`` ([0, 2π)) or ``real``."""
    levels: tuple[int, ...] = (-1, 1)
    """Values of a discrete site; empty for a continuous one."""
    level_values: tuple[float, ...] = ()
    """Physical value of each level; empty if it is the level itself."""
    level_names: tuple[str, ...] = ()
    """Name of each level, where the file has letters or words; empty if it is the level itself."""
    clock: bool = False
    """Whether the physical values of the levels are angles."""
    symmetries: tuple[str, ...] = ()
    """Names of the operations in `lightdan.lattices.groups` that leave the ensemble unchanged."""
    lattice_shape: tuple[int, ...]
    """Numbers of sites along the axes."""
    controls: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Parameters of the system, each with the operators whose βJ are proportional to it."""
    control_names: tuple[str, ...] = ()
    """Names of the controls that differ from row to row, besides the temperature."""
    fixed_controls: Mapping[str, float] = {}
    """Controls of all rows of a system that `at` returns, by name."""

    def __init__(
        self,
        temperature: float | list[float] = 1.0,
        num_configurations: int = 10_000,
        batch_size: int = 500,
        splits: tuple[float, float, float] = (0.9, 0.05, 0.05),
        seed: int = 0,
        cache_dir: str | None = None,
        max_memory_gb: float = 4.0,
    ) -> None:
        super().__init__()
        self.max_memory_gb = check_number("max_memory_gb", max_memory_gb, 0, math.inf)
        self.temperatures = check_temperatures(temperature)
        self.num_configurations = check_integer("num_configurations", num_configurations)
        self.batch_size = check_integer("batch_size", batch_size)
        check_splits(splits)
        self.splits = splits
        self.seed = check_seed("seed", seed)
        self.cache_dir = Path(cache_dir) if cache_dir else user_cache_path("lightdan")

    @cached_property
    def lattice(self) -> Lattice:
        """Lattice of the sites, rectangular unless a subclass sets another one."""
        return hypercubic(self.lattice_shape, self.boundary)

    @property
    def lattice_spec(self) -> dict[str, Any] | None:
        """Lattice as plain lists for an architecture, or None if it is rectangular."""
        return None if self.lattice.is_hypercubic else self.lattice.spec

    # Implemented by subclasses

    def simulate(self, temperature: float, seed: int, progress: Callable[[int], None]) -> Simulation:
        """Draw `num_configurations` configurations in equilibrium.

        Args:
            temperature: Temperature T.
            seed: Random seed; the same seed must give the same configurations.
            progress: Function that reports n more configurations.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no simulation and no data: implement simulate."
        )

    def parameters(self) -> dict[str, Any]:
        """Return the numbers besides temperature, size and seed that change the simulated data."""
        return {}

    def energy(self, configurations: ConfigurationsLike) -> PerConfiguration:
        """Return H(s) of each configuration: `(B, *lattice)` → `(B,)`.

        An implementation begins with `checked`, so that values that are no sites are refused.
        """
        raise NotImplementedError(f"The Hamiltonian of {type(self).__name__} is not known.")

    def action(
        self, configurations: ConfigurationsLike, temperature: PerConfiguration | float
    ) -> Tensor:
        """Return S(s) = −ln p(s) − ln Z `(B,)`, which is H(s)/T unless a field defines its action."""
        return self.energy(configurations) / temperature

    def log_measure(self, temperature: float) -> float:
        """Return ln c, where Z = c ∫ e^{−S} ds; 0 except for paths."""
        return 0.0

    def exact(self, temperature: float) -> Thermodynamics | None:
        """Return the exact thermodynamics, or None if they are not known."""
        return None

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Return the known exact values by name of the observable or estimate.

        By default they come from `exact`: `ln_z`, and per site `free_energy`, `energy` and
        `specific_heat`.
        """
        exact = self.exact(temperature)
        if exact is None:
            return {}
        return {
            "ln_z": exact.log_partition,
            "free_energy": exact.free_energy / self.num_sites,
            "energy": exact.energy / self.num_sites,
            "specific_heat": exact.specific_heat / self.num_sites,
        }

    def observables(self, temperature: float) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return functions `(B, *lattice)` → `(B,)` by name.

        By default these are the energy or action per site, if it is known, and the magnetisation.
        Angles have |m| = |Σ e^{iθ}|/N and, if there are plaquettes, the density of vortex pairs
        Σ|v|/(2N). Reals also have φ².

        Args:
            temperature: Temperature T, which some observables depend on, like the helicity modulus.
        """
        functions: dict[str, Callable[[Tensor], Tensor]] = {}
        if self.has_energy:
            functions["energy"] = lambda s: self.energy(s) / self.num_sites
        elif self.has_action:
            functions["action"] = lambda s: self.action(s, temperature) / self.num_sites
        if self.site_kind == "angle" or self.clock:
            functions["abs_magnetization"] = lambda s: polarization(self.physical(s)).norm(dim=1)
            plane = len(self.lattice_shape) == 2 and self.lattice.is_hypercubic
            if plane and min(self.lattice_shape) > 1:
                functions["vortex_pairs"] = lambda s: (
                    vorticity(self.physical(s), self.boundary).abs().flatten(1).mean(1) / 2
                )
        else:
            functions["abs_magnetization"] = lambda s: self.physical(s).flatten(1).mean(1).abs()
            functions["magnetization"] = lambda s: self.physical(s).flatten(1).mean(1)
        if self.site_kind == "real":
            functions["phi2"] = lambda s: s.flatten(1).square().mean(1)
        return functions

    # Derived

    def checked(self, configurations: ConfigurationsLike) -> Tensor:
        """Return configurations as a floating tensor `(B, *lattice)`, with angles modulo 2π.

        Raises:
            ValueError: The shape is another one, or a value is none of a site.
        """
        return site_values(configurations, self.lattice_shape, self.site_kind, self.levels)

    def physical(self, configurations: Tensor) -> Tensor:
        """Return the physical values of levels, and other configurations as they are."""
        if not self.level_values:
            return configurations
        levels = torch.tensor(self.levels).to(configurations)
        values = torch.tensor(self.level_values, dtype=torch.float64, device=configurations.device)
        floating = configurations if configurations.is_floating_point() else configurations.double()
        return values.to(floating)[torch.searchsorted(levels, configurations.contiguous())]

    @property
    def num_sites(self) -> int:
        """Number of sites N."""
        return math.prod(self.lattice_shape)

    @property
    def has_energy(self) -> bool:
        """Whether the Hamiltonian is known."""
        return type(self).energy is not System.energy

    @property
    def has_action(self) -> bool:
        """Whether p(s) is known up to a constant."""
        return self.has_energy or type(self).action is not System.action

    def label(self, temperature: float) -> str:
        """Return the name of a temperature in tables and files."""
        return f"T={temperature:g}"

    def spec(self) -> dict[str, Any] | None:
        """Return class and arguments as plain data, for a checkpoint, or None if one is an object."""
        arguments = {k: v for k, v in self.constructor_arguments.items() if k != "cache_dir"}
        if not is_plain(arguments):
            return None
        cls = type(self)
        return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": arguments}

    # Data

    @cached_property
    def data(self) -> Samples:
        """The configurations and their split, loaded at first use."""
        return self.load()

    def at(self, controls: Mapping[str, float]) -> "System":
        """Return this system at one of the combinations of controls that are told apart.

        Args:
            controls: Value of each control by name.
        """
        system = copy.copy(self)
        system.data = self.data.at([controls[name] for name in self.control_names])
        system.temperatures = [*system.data.temperatures]
        system.control_names, system.fixed_controls = (), dict(controls)
        return system

    @property
    def parts(self) -> "list[System]":
        """The system at each combination of controls, or itself if they are not told apart."""
        combinations = [*self.data.parts]
        return [
            self.at(dict(zip(self.control_names, values, strict=True))) for values in combinations
        ] or [self]

    def load(self) -> Samples:
        """Return the configurations and their split, simulated unless they are in the cache."""
        runs = [self._cached(number) for number in range(len(self.temperatures))]
        parts = [run.configurations for run in runs]
        configurations: Tensor | Rows = JoinedRows(parts)
        if self.in_memory:
            configurations = torch.cat([torch.from_numpy(np.asarray(part)) for part in parts])
        samples = Samples.split(
            configurations,
            [part.shape[0] for part in parts],
            self.temperatures,
            [run.tau_int.value for run in runs],
            self.splits,
            self.seed,
        )
        samples.sources = [[simulation_name(self._key(number))] for number in range(len(parts))]
        return samples

    def film_squares(self, num: int, side: int, seed: int) -> Tensor | None:
        """Return squares of a film larger than a configuration `(num, side, side)`, None without film.

        Args:
            num: Number of squares, at random places of the training part.
            side: Rows and columns.
            seed: Random seed.
        """
        return None

    def block_size(self, temperature: float) -> int:
        """Return the number of consecutive configurations that count as one observation in errors."""
        return self.data.block_size(temperature)

    def blocks(self, split: str, temperature: float) -> Blocks:
        """Return the blocks of held-out configurations that count as one observation in errors."""
        return self.data.blocks(split, temperature)

    def _key(self, number: int) -> dict[str, Any]:
        """Return what determines the simulation at one of the temperatures."""
        return {
            "system": type(self).__name__,
            "lattice_shape": self.lattice_shape,
            "temperature": self.temperatures[number],
            "num_configurations": self.num_configurations,
            "seed": derive_seed(self.seed, number),
            **self.parameters(),
        }

    def _cached(self, number: int) -> Simulation:
        """Return the simulation at one of the temperatures, run unless it is in the cache."""
        temperature, key = self.temperatures[number], self._key(number)
        name = type(self).__name__
        sites = "×".join(map(str, self.lattice_shape))
        title = f"Simulating {name} {sites} at {self.label(temperature)}"
        run = CachedSimulation(self.cache_dir, name.lower(), key).get(
            lambda progress: self.simulate(temperature, key["seed"], progress),
            title,
            self.num_configurations,
            in_memory=self.in_memory,
        )
        tau = run.tau_int
        if is_correlated(tau):
            warnings.warn(
                f"The simulated configurations at T = {temperature:g} are correlated, so they are split "
                f"by contiguous blocks: the integrated autocorrelation time is {tau.value:.2f} rows, "
                "where 0.5 is independent.",
                stacklevel=2,
            )
        return run

    @property
    def bytes_per_value(self) -> int:
        """Bytes of a value in memory."""
        return 1 if self.site_kind in ("spin", "level") else 4

    @property
    def in_memory(self) -> bool:
        """Whether all configurations are held in memory."""
        num = len(self.temperatures) * self.num_configurations * self.num_sites
        return num * self.bytes_per_value <= self.max_memory_gb * 1e9

    def prepare_data(self) -> None:
        """Simulate missing configurations; Lightning calls this in one process only."""
        _ = self.data  # not only simulated, in case that the cache cannot be written

    def setup(self, stage: str | None = None) -> None:
        """Load the configurations, at the first call only."""
        _ = self.data

    def train_dataloader(self) -> BatchLoader:
        """Return shuffled training batches."""
        return self.data.loader("train", self.batch_size, seed=self.seed, trainer=self.trainer)

    def val_dataloader(self) -> BatchLoader:
        """Return validation batches in order."""
        return self.data.loader("validation", 1000, trainer=self.trainer)

    def test_dataloader(self) -> BatchLoader:
        """Return test batches in order."""
        return self.data.loader("test", 1000, trainer=self.trainer)

    predict_dataloader = test_dataloader
