"""What a physical system is: its lattice, its sites, its symmetries, its observables and its data."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from platformdirs import user_cache_path
from torch import Tensor

from lightdan.data.cache import CachedArray, Parts
from lightdan.data.loader import BatchLoader
from lightdan.data.readers import JoinedRows, Rows
from lightdan.data.splits import derive_seed, split
from lightdan.lattices.angles import polarization, vorticity
from lightdan.progress import progress_bar
from lightdan.provenance import KeepsArguments, is_plain
from lightdan.simulation.thermodynamics import Thermodynamics
from lightdan.statistics import Estimate
from lightdan.types import Configurations, PerConfiguration

SITE_KINDS = ("spin", "level", "angle", "real")
SPLITS = ("train", "validation", "test")


class System(LightningDataModule, KeepsArguments):
    """A physical system and its configurations at one temperature or several.

    A subclass states `lattice_shape`, `boundary`, `site_kind`, `levels` and `symmetries`, and gives
    the configurations by `simulate`. Where it knows them it adds `energy`, `exact` and more
    `observables`; whatever needs an energy says so for a system that has none.

    Args:
        temperature: T of the configurations, one number or a list, in units of J (k_B = 1).
        num_configurations: Configurations at each temperature, over all splits.
        batch_size: Configurations in a training batch, over all devices together.
        splits: Fractions of the configurations for training, validation and test.
        seed: Of the simulation, the split, the shuffling and all noise during training.
        cache_dir: Directory of simulated data; by default the user's cache.
        max_memory_gb: Configurations that take more, one byte a discrete and four a real value, stay
            on disk and are read by batches.

    Raises:
        ValueError: an argument is out of its range; the sentence names it.
    """

    boundary: str = "periodic"
    """``periodic``, ``open``, or ``window``: cut out of something larger that is not seen."""
    site_kind: str = "spin"
    """``spin`` (±1), ``level`` (integers), ``angle`` ([0, 2π)) or ``real``."""
    levels: tuple[int, ...] = (-1, 1)
    """The values a discrete site can take; empty for a continuous one."""
    symmetries: tuple[str, ...] = ()
    """Names of the operations of `lightdan.lattices.groups` that leave the ensemble as it is."""
    lattice_shape: tuple[int, ...]
    """Numbers of sites along the axes."""
    rows_together: int = 1
    """Consecutive configurations that depend on each other, like patches of one image."""

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
        arguments = self.constructor_arguments.items()
        self._arguments = {name: value for name, value in arguments if name != "cache_dir"}
        if not max_memory_gb >= 0:
            raise ValueError(f"max_memory_gb must not be negative, but is {max_memory_gb}.")
        self.max_memory_gb = max_memory_gb
        self.temperatures = check_temperatures(temperature)
        self.num_configurations = check_positive("num_configurations", num_configurations)
        self.batch_size = check_positive("batch_size", batch_size)
        self.splits = splits
        self.seed = seed
        self.cache_dir = Path(cache_dir) if cache_dir else user_cache_path("lightdan")
        self._configurations: Any = None

    # What a subclass gives

    def simulate(
        self, temperature: float, seed: int, progress: Callable[[int], None]
    ) -> tuple[np.ndarray | Parts, dict[str, float]]:
        """Configurations `(M, *lattice)` in a compact type, and numbers to keep beside them.

        Many may come part by part, as they are written.

        `tau_int` among the numbers, the integrated autocorrelation time in rows (1/2 where rows are
        independent), decides how the rows are split; where it is above 1 by more than `tau_int_error`
        the user is warned. `progress(n)` reports n more configurations.
        """
        raise NotImplementedError(f"{type(self).__name__} has no simulation and no data of its own.")

    def parameters(self) -> dict[str, Any]:
        """The numbers beside temperature, size and seed that change the simulated data."""
        return {}

    def energy(self, configurations: Configurations) -> PerConfiguration:
        """H(s) of each configuration `(B, *lattice)`: `(B,)`."""
        raise NotImplementedError(f"The Hamiltonian of {type(self).__name__} is not known.")

    def action(self, configurations: Configurations, temperature: PerConfiguration | float) -> Tensor:
        """S(s) = −ln p(s) − ln Z `(B,)`: H(s)/T, or what a field defines as its action."""
        return self.energy(configurations) / temperature

    def log_measure(self, temperature: float) -> float:
        """Ln of the constant c in Z = c ∫ e^{−S} ds; 0 but for paths."""
        return 0.0

    def exact(self, temperature: float) -> Thermodynamics | None:
        """Exact thermodynamics, where they are known."""
        return None

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Name of an observable or estimate → its exact value, as far as it is known.

        By default those of `exact`: `ln_z`, and a site `free_energy`, `energy` and `specific_heat`.
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
        """Name → function of configurations `(B, *lattice)` that gives one number each `(B,)`.

        By default the energy or action a site where it is known, and the magnetisation: of angles
        |m| = |Σ e^{iθ}|/N, and the density of vortex pairs, Σ|v|/(2N), where there are plaquettes; of
        reals also φ².

        Args:
            temperature: T, for what is an observable of an ensemble, like the helicity modulus.
        """
        found: dict[str, Callable[[Tensor], Tensor]] = {}
        if self.has_energy:
            found["energy"] = lambda s: self.energy(s) / self.num_sites
        elif self.has_action:
            found["action"] = lambda s: self.action(s, temperature) / self.num_sites
        if self.site_kind == "angle":
            found["abs_magnetization"] = lambda s: polarization(s).norm(dim=1)
            if len(self.lattice_shape) == 2 and min(self.lattice_shape) > 1:
                found["vortex_pairs"] = lambda s: (
                    vorticity(s, self.boundary).abs().flatten(1).mean(1) / 2
                )
        else:
            found["abs_magnetization"] = lambda s: s.flatten(1).mean(1).abs()
            found["magnetization"] = lambda s: s.flatten(1).mean(1)
        if self.site_kind == "real":
            found["phi2"] = lambda s: s.flatten(1).square().mean(1)
        return found

    # What follows

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
        """How tables and files tell the temperatures apart."""
        return f"T={temperature:g}"

    @property
    def in_memory(self) -> bool:
        """Whether all configurations are held in memory."""
        size = 1 if self.site_kind in ("spin", "level") else 4
        total = len(self.temperatures) * self.num_configurations * self.num_sites * size
        return total <= self.max_memory_gb * 1e9

    def spec(self) -> dict[str, Any] | None:
        """Class and arguments as plain data, for a checkpoint; None where an argument is an object."""
        if not is_plain(self._arguments):
            return None
        cls = type(self)
        return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": self._arguments}

    def prepare_data(self) -> None:
        """Simulate what is not yet in the cache; Lightning calls it in one process only."""
        for index in range(len(self.temperatures)):
            self._simulated(index)

    def _simulated(self, index: int) -> tuple[Rows, dict[str, Any]]:
        temperature = self.temperatures[index]
        name = type(self).__name__
        key = {
            "system": name,
            "lattice_shape": self.lattice_shape,
            "temperature": temperature,
            "num_configurations": self.num_configurations,
            "seed": derive_seed(self.seed, index),
            **self.parameters(),
        }

        sites = "×".join(map(str, self.lattice_shape))
        title = f"Simulating {name} {sites} at {self.label(temperature)}"
        with ExitStack() as stack:

            def compute() -> tuple[np.ndarray | Parts, dict[str, float]]:
                advance = stack.enter_context(progress_bar(title, self.num_configurations))
                return self.simulate(temperature, key["seed"], advance)

            cache = CachedArray(self.cache_dir, name.lower(), key)
            configurations, attributes = cache.get(compute, in_memory=self.in_memory)
        if attributes.get("tau_int", 0.5) - attributes.get("tau_int_error", 0.0) >= 1:
            warnings.warn(
                f"The simulated configurations at T = {temperature:g} are correlated: the integrated "
                f"autocorrelation time is {attributes['tau_int']:.2f} rows, where 0.5 is independent; "
                "they are split by contiguous blocks.",
                stacklevel=2,
            )
        return configurations, attributes

    def setup(self, stage: str | None = None) -> None:
        """Read the configurations and split them; at the first call only."""
        if self._configurations is not None:
            return
        parts = [self._simulated(index) for index in range(len(self.temperatures))]
        self.tau_int = [float(attributes.get("tau_int", 0.5)) for _, attributes in parts]
        rows = [configurations for configurations, _ in parts]
        joined: Tensor | Rows = JoinedRows(rows)
        if self.in_memory:
            joined = torch.cat([torch.from_numpy(np.asarray(part)) for part in rows])
        self.load(joined, [part.shape[0] for part in rows])

    def load(self, configurations: Tensor | Rows, lengths: Sequence[int]) -> None:
        """Take the configurations, `lengths[k]` rows at the k-th temperature, and split them."""
        self._configurations = configurations
        self._temperature = torch.repeat_interleave(
            torch.tensor(self.temperatures, dtype=torch.get_default_dtype()), torch.tensor(lengths)
        )
        dealt = [
            split(
                length,
                self.splits,
                block=max(1, min(math.ceil(20 * tau), length // 50)) if tau >= 1 else 1,
                seed=derive_seed(self.seed, index),
            )
            for index, (length, tau) in enumerate(zip(lengths, self.tau_int, strict=True))
        ]
        offsets = np.cumsum([0, *lengths[:-1]])
        self._indices = {
            name: torch.cat([part[k] + int(o) for part, o in zip(dealt, offsets, strict=True)])
            for k, name in enumerate(SPLITS)
        }

    def num_in(self, name: str) -> int:
        """Number of configurations in the split ``train``, ``validation`` or ``test``."""
        return len(self._indices[name])

    def rows(self, name: str, temperature: float, device: torch.device | None = None) -> Tensor:
        """All configurations of a split at one temperature."""
        self.setup()
        index = self._indices[name]
        value = torch.tensor(temperature, dtype=self._temperature.dtype)
        chosen = index[self._temperature.cpu()[index] == value]
        loader = BatchLoader(self._configurations, self._temperature, chosen, len(chosen))
        return loader.take(chosen).configurations.to(device)

    def moments(self) -> tuple[float, float, float, float]:
        """Mean, standard deviation, minimum and maximum of the values in the training set."""
        count, total, squares, low, high = 0, 0.0, 0.0, math.inf, -math.inf
        # All of it in every process: the units must not depend on the number of processes.
        loader = BatchLoader(self._configurations, self._temperature, self._indices["train"], 10_000)
        for configurations, _ in loader:
            values = configurations.double()
            count += values.numel()
            total += values.sum().item()
            squares += values.square().sum().item()
            low, high = min(low, values.min().item()), max(high, values.max().item())
        mean = total / count
        return mean, math.sqrt(max(squares / count - mean**2, 0.0)), low, high

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches."""
        return self._loader("train", self.batch_size, seed=self.seed)

    def val_dataloader(self) -> BatchLoader:
        """Validation batches, in order."""
        return self._loader("validation", 1000)

    def test_dataloader(self) -> BatchLoader:
        """Test batches, in order."""
        return self._loader("test", 1000)

    predict_dataloader = test_dataloader

    def _loader(self, name: str, batch_size: int, seed: int | None = None) -> BatchLoader:
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        if isinstance(self._configurations, Tensor):
            self._configurations = self._configurations.to(device)
        self._temperature = self._temperature.to(device)
        return BatchLoader(
            self._configurations,
            self._temperature,
            self._indices[name],
            batch_size,
            seed=seed,
            epoch=lambda: trainer.current_epoch if trainer else 0,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )


def check_temperatures(temperature: float | Sequence[float]) -> list[float]:
    """The temperatures as a list of positive numbers.

    Raises:
        ValueError: none is given, one is given twice, or one is not a positive finite number.
    """
    given = [temperature] if isinstance(temperature, (int, float)) else temperature
    temperatures = [float(value) for value in given]
    if not temperatures or not all(0 < value < math.inf for value in temperatures):
        raise ValueError(f"temperature must be positive and finite, not {temperature}.")
    if len(set(temperatures)) < len(temperatures):
        raise ValueError(f"temperature names a value twice: {temperature}.")
    return temperatures


def autocorrelation_times(times: Mapping[str, Estimate]) -> dict[str, float]:
    """Each integrated time by name, and the longest as `tau_int`, for `System.simulate`."""
    slowest = max(times.values())
    each = {f"tau_int_{name}": time.value for name, time in times.items()}
    return {"tau_int": slowest.value, "tau_int_error": slowest.error, **each}


def check_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """The sides of a ring or a rectangle; one integer L is the square L × L.

    Raises:
        ValueError: there are not one or two, or one is not positive.
    """
    sides = (shape, shape) if isinstance(shape, int) else tuple(shape)
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise ValueError(f"shape must be one or two positive numbers of sites, not {shape}.")
    return sides


def check_positive(name: str, value: int) -> int:
    """The value, an integer of at least 1.

    Raises:
        ValueError: it is not.
    """
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}.")
    return value
