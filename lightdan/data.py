"""Device-resident batches, splits that respect correlation, and the cache of simulated data on disk."""

import errno
import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from lightdan.readers import Hdf5Rows, Rows
from lightdan.types import Batch


class BatchLoader:
    """Batches cut out of one array that already lies where the model is: no workers, no collate.

    The order of epoch e is the permutation drawn from (seed, e); a process of rank r among R takes
    the r-th of R equal parts of every batch, so that the optimisation does not depend on R. The state
    is the number of batches served of this epoch: a killed run goes on with the very next batch.

    Args:
        configurations: All configurations `(M, *lattice)`, a tensor, or a memory map read by batches.
        temperature: Of each configuration `(M,)`.
        indices: The rows to serve.
        batch_size: Configurations in a batch, over all processes.
        seed: Of the shuffling; None serves all rows in their order, in batches as equal as can be, so
            that no process is left with an empty part.
        epoch: Gives the number of the epoch when one begins.
        rank: Of this process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        configurations: Tensor | Rows,
        temperature: Tensor,
        indices: Tensor,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.configurations = configurations
        self.temperature = temperature
        self.indices = indices
        self.batch_size = min(batch_size, len(indices))
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = epoch
        self.served = 0

    def __len__(self) -> int:
        if self.seed is None:
            return math.ceil(len(self.indices) / self.batch_size)
        return len(self.indices) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        order = self.indices
        if self.seed is not None:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch()))
            order = order[torch.randperm(len(order), generator=generator)]
        whole = self.seed is None
        batches = order.tensor_split(len(self)) if whole else order.split(self.batch_size)
        for index in range(self.served, len(self)):
            rows = batches[index].tensor_split(self.world_size)[self.rank]
            # Before the batch leaves, for nobody comes back after the last one.
            self.served = (index + 1) % len(self)
            yield self.take(rows)

    def take(self, rows: Tensor) -> Batch:
        """The batch of the given rows, in the floating type of the temperatures."""
        dtype = self.temperature.dtype
        if isinstance(self.configurations, Tensor):
            rows = rows.to(self.configurations.device)
            return Batch(self.configurations[rows].to(dtype), self.temperature[rows])
        ascending, inverse = rows.sort()
        configurations = torch.from_numpy(np.asarray(self.configurations[ascending.numpy()]))
        device = self.temperature.device
        return Batch(
            configurations[inverse.argsort()].to(device, dtype), self.temperature[rows.to(device)]
        )

    def state_dict(self) -> dict[str, int]:
        """Where the loader stands; Lightning keeps it in the checkpoint."""
        return {"served": self.served}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from ``state``."""
        self.served = state["served"]


def derive_seed(*parts: int) -> int:
    """A seed that is a function of several integers, for streams that must not overlap."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def check_splits(fractions: Sequence[float]) -> None:
    """Refuse fractions of training, validation and test that are none.

    Raises:
        ValueError: one is not positive, they are not three, or add up to more than 1.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
        raise ValueError(
            f"splits must be three positive fractions that add up to at most 1, not {fractions}."
        )


def split(
    num: int, fractions: Sequence[float], *, block: int = 1, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows for training, validation and test: whole blocks of neighbouring rows, dealt at random.

    Args:
        num: Number of rows M.
        fractions: Of training, validation and test, adding up to at most 1.
        block: Rows in a block, of the order of 20 autocorrelation times; 1 deals single rows.
        seed: Of the deal.

    Raises:
        ValueError: fractions that are no fractions, or a part that would stay empty.
    """
    check_splits(fractions)
    num_blocks = math.ceil(num / block)
    order = torch.randperm(num_blocks, generator=torch.Generator().manual_seed(seed))
    bounds = [0, *(round(edge * num_blocks) for edge in np.cumsum(fractions))]
    dealt = [order[start:end].sort().values for start, end in itertools.pairwise(bounds)]
    if not all(map(len, dealt)):
        raise ValueError(
            f"{num} configurations in {num_blocks} uncorrelated blocks cannot be split into "
            f"{fractions}: give more configurations or other fractions."
        )
    rows = [(block * part[:, None] + torch.arange(block)).flatten() for part in dealt]
    train, validation, test = (part[part < num] for part in rows)
    return train, validation, test


class Parts(NamedTuple):
    """An array whose rows come part by part, for a file to be written in bounded memory.

    Args:
        shape: Of the whole array.
        dtype: Of its values.
        parts: Its rows, some at a time.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    parts: Iterator[np.ndarray]


@dataclass(frozen=True)
class CachedArray:
    """An array computed once and kept in an HDF5 file, with its provenance in the attributes.

    The name of the file is a hash of ``key``: every parameter that changes the numbers. The file is
    written under a lock to a temporary name and renamed, so that two runs may ask for it at once and
    a killed run leaves nothing half-written.

    Args:
        directory: Of the cache; made where it is missing.
        name: First part of the file's name.
        key: Parameters, JSON-serialisable.
    """

    directory: Path
    name: str
    key: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """The file."""
        text = json.dumps(self.key, sort_keys=True)
        return self.directory / f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.h5"

    def get(
        self,
        compute: Callable[[], tuple[np.ndarray | Parts, Mapping[str, Any]]],
        *,
        in_memory: bool = True,
    ) -> tuple[Rows, dict[str, Any]]:
        """The array and its attributes, from the file or from ``compute`` (which is then kept).

        Args:
            compute: Makes them.
            in_memory: Whether to read the array whole; else its rows are read when asked for.

        Raises:
            ValueError: the directory cannot be written or the disk is full.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock"):
                if (kept := self._read(in_memory)) is None:
                    array, attributes = compute()
                    attributes = self._write(array, attributes)
                    with h5py.File(self.path) as file:
                        kept = self._rows(file["configurations"], in_memory), attributes
                return kept
        except OSError as error:
            raise ValueError(_disk_message(self.directory, error)) from error

    def _read(self, in_memory: bool) -> tuple[Rows, dict[str, Any]] | None:
        if not self.path.exists():
            return None
        try:
            with h5py.File(self.path) as file:
                return self._rows(file["configurations"], in_memory), dict(file.attrs)
        except (OSError, KeyError, RuntimeError):
            return None  # damaged from outside: computed again and replaced

    def _rows(self, dataset: h5py.Dataset, in_memory: bool) -> Rows:
        whole: Rows = dataset[...] if in_memory else Hdf5Rows.of(self.path, dataset)
        return whole

    def _write(self, array: np.ndarray | Parts, attributes: Mapping[str, Any]) -> dict[str, Any]:
        for stale in self.directory.glob(f".{self.path.name}.*.tmp"):
            stale.unlink()  # of a killed run, for whoever writes holds the lock
        kept = {"parameters": json.dumps(self.key, sort_keys=True), **attributes}
        write_hdf5(self.path, {"configurations": array}, kept)
        return kept


def write_hdf5(
    path: Path, arrays: Mapping[str, np.ndarray | Parts], attributes: Mapping[str, Any]
) -> None:
    """Write arrays and attributes to an HDF5 file that appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w") as file:
            for name, array in arrays.items():
                dataset = file.create_dataset(name, array.shape, array.dtype)
                start = 0
                for part in array.parts if isinstance(array, Parts) else [array]:
                    dataset[start : start + len(part)] = part
                    start += len(part)
            file.attrs.update(attributes)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _disk_message(directory: Path, error: OSError) -> str:
    if error.errno == errno.ENOSPC or "No space left" in str(error):
        return f"The disk is full: no room for the data in {directory}; free some or set data.cache_dir."
    return f"The directory {directory} cannot be written ({error}): set data.cache_dir to one that can."
