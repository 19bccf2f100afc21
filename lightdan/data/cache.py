"""The cache of simulated data on disk."""

import errno
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from filelock import FileLock

from lightdan.data.files import whole_file
from lightdan.data.readers import Hdf5Rows, Rows


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
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        for name, array in arrays.items():
            dataset = file.create_dataset(name, array.shape, array.dtype)
            start = 0
            for part in array.parts if isinstance(array, Parts) else [array]:
                dataset[start : start + len(part)] = part
                start += len(part)
        file.attrs.update(attributes)


def _disk_message(directory: Path, error: OSError) -> str:
    if error.errno == errno.ENOSPC or "No space left" in str(error):
        return f"The disk is full: no room for the data in {directory}; free some or set data.cache_dir."
    return f"The directory {directory} cannot be written ({error}): set data.cache_dir to one that can."
