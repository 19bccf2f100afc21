"""Arrays in memory or on disk, read by rows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import h5py
import numpy as np

VALUES_READ = 4_000_000
"""Number of values that are enough to recognise a file."""


@runtime_checkable
class Rows(Protocol):
    """An array in memory or on disk, read by slices or ascending indices of its first axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""

    @property
    def dtype(self) -> Any:
        """Type of the values that are read."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Return rows as an array."""


@dataclass(frozen=True)
class Hdf5Rows:
    """A dataset in an HDF5 file that is opened for each reading, so other processes can read it too.

    Args:
        path: HDF5 file.
        name: Name of the dataset.
        shape: Shape of the dataset.
        dtype: Type of its values.
        offset: Position of the first value in the file, if all values are contiguous. Rows are then
            read through a memory map, ten times faster.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int | None = None

    @classmethod
    def of(cls, path: Path, dataset: h5py.Dataset) -> "Hdf5Rows":
        """Return the rows of an open dataset."""
        offset = dataset.id.get_offset() if dataset.size and not dataset.chunks else None
        return cls(path, dataset.name, dataset.shape or (), dataset.dtype, offset)

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        if self.offset is not None:
            return np.array(np.memmap(self.path, self.dtype, "r", self.offset, self.shape)[rows])
        try:
            with h5py.File(self.path) as file:
                return file[self.name][rows]
        except OSError as error:
            raise ValueError(
                f"The dataset {self.name!r} in {self.path} is damaged or incomplete: write it again "
                f"({error})."
            ) from None


def first_rows(rows: Rows, num: int, fewest: int = 1) -> np.ndarray:
    """Return the first rows of an array, fewer of them if rows are long.

    Args:
        rows: Array.
        num: Largest number of rows.
        fewest: Smallest number of rows, however long they are.
    """
    affordable = max(fewest, VALUES_READ // max(1, math.prod(rows.shape[1:])))
    return np.asarray(rows[: min(num, affordable, rows.shape[0])])


def row_codes(table: np.ndarray) -> np.ndarray:
    """Return one value for each row of a table, equal for equal rows `(M,)`."""
    rows = np.ascontiguousarray(table + 0)  # −0 becomes 0
    return rows.view(f"V{rows.dtype.itemsize * rows.shape[1]}").ravel()


@dataclass(frozen=True)
class LabelledRows:
    """Rows with what their file says about them.

    Args:
        array: Rows.
        columns: Names of the columns of a table, or none.
        names: Names of the levels 0, 1, …, where the file has letters or words.
        block: Number of lines between two empty lines or comments of a text file, if it is always the
            same; otherwise 0.
        notes: Sentences for the report.
        words: Numbers of the columns that hold words, as codes, among columns of numbers.
    """

    array: Rows
    columns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    block: int = 0
    notes: tuple[str, ...] = ()
    words: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> Any:
        """Type of the values."""
        return self.array.dtype

    def __getitem__(self, rows: Any, /) -> Any:
        return self.array[rows]


@dataclass(frozen=True)
class ConvertedRows:
    """Rows that are made of others when they are read.

    Args:
        array: Rows in the file.
        row: Shape of a new row.
        dtype: Type of the new values.
        convert: Function of some rows of the file, and of the number of the first of them.
        together: Number of consecutive rows of the file in a new one.
    """

    array: Rows
    row: tuple[int, ...]
    dtype: Any
    convert: Callable[[np.ndarray, int], np.ndarray]
    together: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the converted array."""
        return (self.array.shape[0] // self.together, *self.row)

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """Return the rows of a slice without a step, or of ascending indices."""
        if isinstance(rows, tuple):  # row, and a part of it
            return self[rows[0] : rows[0] + 1][0][rows[1:]]
        if isinstance(rows, np.ndarray):
            inner: Any = (rows[:, None] * self.together + np.arange(self.together)).ravel()
            first = int(rows[0]) if len(rows) else 0
        elif rows is Ellipsis:
            inner, first = slice(None), 0
        else:
            first, stop, _ = rows.indices(self.shape[0])
            inner = slice(first * self.together, stop * self.together)
        values = np.asarray(self.array[inner])
        return self.convert(values, first * self.together).reshape(-1, *self.row)


@dataclass(frozen=True)
class JoinedRows:
    """Several arrays, one after the other.

    Args:
        parts: Arrays whose rows have the same shape and type.
    """

    parts: Sequence[Rows]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the joined array."""
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    @property
    def dtype(self) -> Any:
        """Type that holds the values of all parts."""
        return np.result_type(*(part.dtype for part in self.parts))

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray:
        """Return the rows of a slice or of ascending indices."""
        ends = np.cumsum([part.shape[0] for part in self.parts])
        starts = np.array([0, *ends[:-1]])
        pieces: list[Any]
        if isinstance(rows, slice):
            first, last, _ = rows.indices(self.shape[0])
            bounds = zip(starts, ends, strict=True)
            pieces = [slice(max(first, a) - a, max(first, a, min(last, b)) - a) for a, b in bounds]
        else:
            places = np.split(rows, np.searchsorted(rows, ends[:-1]))
            pieces = [piece - start for piece, start in zip(places, starts, strict=True)]
        return np.concatenate(
            [np.asarray(part[piece]) for part, piece in zip(self.parts, pieces, strict=True)]
        )


@dataclass(frozen=True)
class Slab:
    """Rows at one index of the first axis of an array.

    Args:
        array: Array `(K, M, ...)`.
        number: Index of the first axis.
    """

    array: Rows
    number: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the slab."""
        return tuple(self.array.shape[1:])

    @property
    def dtype(self) -> Any:
        """Type of the values."""
        return self.array.dtype

    def __getitem__(self, rows: Any, /) -> Any:
        return self.array[self.number, rows]


@dataclass(frozen=True)
class ChosenRows:
    """Some rows of an array, in any order.

    Args:
        array: Array.
        numbers: Row numbers `(M,)`.
    """

    array: Rows
    numbers: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the chosen rows."""
        return (len(self.numbers), *self.array.shape[1:])

    @property
    def dtype(self) -> Any:
        """Type of the values."""
        return self.array.dtype

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        ascending, places = np.unique(self.numbers[rows], return_inverse=True)
        return np.asarray(self.array[ascending])[places]
