"""Simulations kept on disk."""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lightdan.data.files import disk_is_full, locked, whole_file
from lightdan.data.rows import Hdf5Rows, Rows
from lightdan.progress import progress_bar
from lightdan.simulation.simulation import Parts, Simulation
from lightdan.statistics import Estimate


@dataclass(frozen=True)
class CachedSimulation:
    """A simulation that runs once and is kept in an HDF5 file, with its parameters in the attributes.

    The file's name contains a hash of ``key``, which holds every parameter that changes the numbers.
    The file is written under a lock and renamed when it is whole: two runs can request it at once, and
    a killed run leaves no damaged file.

    Args:
        directory: Directory of the cache; created if it is missing.
        name: First part of the file's name.
        key: Parameters of the simulation, JSON-serialisable.
    """

    directory: Path
    name: str
    key: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """Path of the file."""
        text = json.dumps(self.key, sort_keys=True)
        return self.directory / f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.h5"

    def get(
        self,
        simulate: Callable[[Callable[[int], None]], Simulation],
        title: str,
        total: int,
        *,
        in_memory: bool = True,
    ) -> Simulation:
        """Return the simulation from the file, after running it if the file is missing or damaged.

        A directory that cannot be written, or is full, is warned of, and nothing is kept.

        Args:
            simulate: Function that runs it and reports n more configurations to its argument.
            title: Title of the progress bar.
            total: Number of configurations.
            in_memory: Whether to read all configurations now; otherwise they are `Rows` on disk.

        Raises:
            ValueError: Nothing can be kept, and the configurations are too many for the memory.
        """
        if (cached := self._read(in_memory)) is not None:
            return cached
        with ExitStack() as held:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(Path(f"{self.path}.lock")))
            except OSError as error:
                self._check_unkept(error, in_memory)
                with progress_bar(title, total) as advance:
                    return self._unkept(simulate(advance))
            if (cached := self._read(in_memory)) is not None:  # another process has written it
                return cached
            with progress_bar(title, total) as advance:
                simulation = simulate(advance)
                try:
                    self._write(simulation)
                    with h5py.File(self.path) as file:
                        configurations = self._rows(file["configurations"], in_memory)
                except OSError as error:
                    self._check_unkept(error, in_memory)
                    if isinstance(simulation.configurations, Parts):
                        simulation = simulate(advance)  # some of its parts are spent
                    return self._unkept(simulation)
            return Simulation(configurations, simulation.tau, simulation.updates_per_configuration)

    def _check_unkept(self, error: OSError, in_memory: bool) -> None:
        """Warn that nothing can be kept, or raise ValueError if the memory is too small for all."""
        if not in_memory:
            raise ValueError(
                f"{reason(self.directory, error)}, and the data are larger than max_memory_gb: set "
                "cache_dir to another directory."
            ) from error
        warn(self.directory, error)

    @staticmethod
    def _unkept(simulation: Simulation) -> Simulation:
        configurations = simulation.configurations
        if isinstance(configurations, Parts):
            configurations = np.concatenate([*configurations.parts])
        return Simulation(configurations, simulation.tau, simulation.updates_per_configuration)

    def _read(self, in_memory: bool) -> Simulation | None:
        try:
            with h5py.File(self.path) as file:
                times = zip(json.loads(file.attrs["observables"]), file["tau_int"][...], strict=True)
                return Simulation(
                    self._rows(file["configurations"], in_memory),
                    {name: Estimate(float(value), float(error)) for name, (value, error) in times},
                    int(file.attrs["updates_per_configuration"]),
                )
        except (OSError, KeyError, RuntimeError, ValueError):
            return None  # missing or damaged

    def _rows(self, dataset: h5py.Dataset, in_memory: bool) -> Rows:
        whole: Rows = dataset[...] if in_memory else Hdf5Rows.of(self.path, dataset)
        return whole

    def _write(self, simulation: Simulation) -> None:
        for stale in self.directory.glob(f".{self.path.name}.*.tmp"):
            stale.unlink()  # left by a killed run, because only the holder of the lock writes
        times = np.array([*simulation.tau.values()], np.float64).reshape(-1, 2)
        write_hdf5(
            self.path,
            {"configurations": simulation.configurations, "tau_int": times},
            {
                "parameters": json.dumps(self.key, sort_keys=True),
                "observables": json.dumps([*simulation.tau]),
                "updates_per_configuration": simulation.updates_per_configuration,
            },
        )


def write_hdf5(
    path: Path, arrays: Mapping[str, np.ndarray | Parts], attributes: Mapping[str, Any]
) -> None:
    """Write arrays and attributes to an HDF5 file that appears whole or not at all."""
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        for name, array in arrays.items():
            dataset = file.create_dataset(name, array.shape, array.dtype)
            start = 0
            for part in array.parts if isinstance(array, Parts) else [array]:
                dataset[start : start + len(part)] = part
                start += len(part)
        file.attrs.update(attributes)


def warn(directory: Path, error: OSError) -> None:
    """Warn, once in a process, that nothing is kept in a cache."""
    warnings.warn(
        f"{reason(directory, error)}, so no simulation is kept: set cache_dir to another directory.",
        stacklevel=1,  # one place, so that Python shows it once
    )


def reason(directory: Path, error: OSError) -> str:
    """Return why nothing can be written to a cache."""
    if disk_is_full(error):
        return f"The disk of the cache {directory} is full"
    return f"The cache {directory} cannot be written ({error.strerror or error})"
