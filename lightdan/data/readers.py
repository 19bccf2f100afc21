"""Readers of arrays in common file formats; they never run code in a file."""

import itertools
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import torch
from torch import Tensor

from lightdan.data.rows import Hdf5Rows, Rows

T = TypeVar("T")


def open_array(path: str | Path, dataset: str | None = None, besides: str | None = None) -> Rows:
    """Open the numeric array in a file; .npy, .h5 and .pt files stay on disk until rows are read.

    A text file has one row per line, with numbers separated by commas, semicolons, tabs or blanks. A
    first line of column names is skipped, and so is everything after a ``#``.

    Args:
        path: File that ends in .npy, .npz, .h5, .hdf5, .csv, .txt or .pt.
        dataset: Name of the array in a file with several.
        besides: Name of an array in the file that is not meant.

    Raises:
        ValueError: The file does not exist or does not hold exactly one such array; the message names
            the file, the place and the remedy.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        what = "is a directory" if file.is_dir() else "does not exist"
        raise ValueError(f"The file {path} {what} (seen from {Path.cwd()}): pass the path of a file.")
    if file.suffix.lower() not in READERS:
        raise ValueError(
            f"The file {path} ends in {file.suffix or 'nothing'!r}, an unknown format: convert it to "
            f"one of {', '.join(READERS)}."
        )
    if not os.access(file, os.R_OK):
        raise ValueError(f"The file {path} may not be read by this user: allow it (chmod u+r).")
    if file.stat().st_size == 0:
        raise ValueError(f"The file {path} is empty (0 bytes): write the configurations again.")
    array = READERS[file.suffix.lower()](file, dataset, besides)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"The file {path} holds values of type {array.dtype}, not real numbers: save them as "
            "integers or floats."
        )
    return array


def _read(path: Path, function: Callable[[], T]) -> T:
    """Return the function's result.

    Raises:
        ValueError: The file is damaged or holds pickled objects.
    """
    # A library may raise any exception for damaged bytes. The ValueError is raised after the handler,
    # because the command line would show the library's exception if it were the context.
    try:
        return function()
    except MemoryError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        unsafe = isinstance(error, pickle.UnpicklingError) or any(
            word in reason for word in ("pickle", "Python objects", "Object arrays")
        )
    with path.open("rb") as file:
        start = file.read(2)
    if unsafe or (start[:1] == b"\x80" and start[1:] <= b"\x05"):
        raise ValueError(
            f"The file {path} holds pickled Python objects, which could run code when loaded, and is "
            "refused: save a plain numeric array instead, without dtype=object."
        )
    raise ValueError(
        f"The file {path} is truncated, damaged or not a {path.suffix} file: write it again "
        f"({reason[:150].rstrip('.')})."
    )


def _npy(path: Path, dataset: str | None, besides: str | None) -> Rows:
    _refuse_name(path, dataset)
    return _read(path, lambda: np.lib.format.open_memmap(path, mode="r"))


def _npz(path: Path, dataset: str | None, besides: str | None) -> Rows:
    def names() -> list[str]:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]

    def load() -> np.ndarray:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[name])

    name = _choose(path, dict.fromkeys(_read(path, names), ""), dataset, besides)
    return _read(path, load)


def _hdf5(path: Path, dataset: str | None, besides: str | None) -> Rows:
    datasets: dict[str, Hdf5Rows] = {}

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            datasets[name] = Hdf5Rows.of(path.absolute(), item)

    def visit() -> None:
        with h5py.File(path) as file:
            file.visititems(add)

    _read(path, visit)
    shapes = {name: f" {rows.shape}" for name, rows in datasets.items()}
    return datasets[
        _choose(path, shapes, dataset and dataset.strip("/"), besides and besides.strip("/"))
    ]


def _pt(path: Path, dataset: str | None, besides: str | None) -> Rows:
    def load() -> Any:
        mapped = zipfile.is_zipfile(path)  # because the format before torch 1.6 cannot be mapped
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)

    content = _read(path, load)
    if isinstance(content, Tensor):
        _refuse_name(path, dataset)
        content = {"": content}
        dataset = ""
    if not isinstance(content, Mapping):
        content = {}
    tensors = {str(k): v.detach() for k, v in content.items() if isinstance(v, Tensor)}
    shapes = {name: f" {tuple(tensor.shape)}" for name, tensor in tensors.items()}
    tensor = tensors[_choose(path, shapes, dataset, besides)]
    return _read(path, (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy)


def _refuse_name(path: Path, dataset: str | None) -> None:
    if dataset is not None:
        raise ValueError(
            f"The file {path} holds one array without a name: leave out dataset={dataset!r}."
        )


def _choose(path: Path, shapes: Mapping[str, str], dataset: str | None, besides: str | None) -> str:
    """Return the name of the array to read, from names with their descriptions."""
    shapes = {name: shape for name, shape in shapes.items() if name != besides}
    listed = ", ".join(f"{name!r}{shape}" for name, shape in shapes.items())
    if not shapes:
        raise ValueError(f"The file {path} holds no array: save the configurations as one.")
    if dataset is None and len(shapes) > 1:
        raise ValueError(f"The file {path} holds several arrays: set dataset to one of {listed}.")
    if dataset is not None and dataset not in shapes:
        raise ValueError(f"The file {path} has no array {dataset!r}: set dataset to one of {listed}.")
    return next(iter(shapes)) if dataset is None else dataset


def _text(path: Path, dataset: str | None, besides: str | None) -> Rows:
    _refuse_name(path, dataset)

    def head() -> list[tuple[int, str]]:
        with path.open(encoding="utf-8-sig") as file:
            return list(itertools.islice(_written(file), 2))

    lines = _read(path, head)
    names = bool(lines) and not any(map(_is_number, _fields(lines[0][1])))
    if len(lines) < 1 + names:
        raise ValueError(f"The file {path} holds no line of numbers: write one configuration per line.")
    number, first = lines[names]
    columns = len(_fields(first))
    try:
        table = np.loadtxt(
            path,
            delimiter=_delimiter(first),
            skiprows=number - 1,
            ndmin=2,
            encoding="utf-8-sig",
        )
    except ValueError:
        table = None
    if table is None:
        raise ValueError(_text_fault(path, number, columns))
    # pandas numbers the columns if they have no names, and the rows by default.
    numbered = columns > 2 and len(table) > 1 and np.array_equal(table[0], np.arange(columns))
    table = table[1:] if numbered and table[1:].max() < columns - 1 else table
    if columns > 1 and len(table) > 9 and (np.diff(table[:, 0]) == 1).all():
        raise ValueError(f"The file {path} has row numbers in its first column: {WITHOUT_NUMBERS}.")
    return table


def column_of(path: Path, name: int | str, columns: int, option: str) -> int:
    """Return the index of a column of a text file, given by its name or its number.

    Args:
        path: Text file.
        name: Name in the first line, or number from 0, also as ``column 0``; negative numbers count from
            the end.
        columns: Number of columns.
        option: Option of the system that names the column, for messages.

    Raises:
        ValueError: There is no such column.
    """
    with path.open(encoding="utf-8-sig") as file:
        names = _fields(next(iter(_written(file)))[1])
    if any(map(_is_number, names)):
        names = []
    if isinstance(name, str) and name in names:
        return names.index(name)
    if isinstance(name, str) and re.fullmatch(r"column -?\d+", name):
        name = int(name.split()[1])
    if isinstance(name, int) and -columns <= name < columns:
        return name % columns
    listed = f"one of {', '.join(map(repr, names))} or " if names else ""
    number = "a number" if option == "weights" else "'column n' with n"
    last = "-1" if option == "weights" else "'column -1'"
    raise ValueError(
        f"The file {path} has no column {name!r}: set {option} to {listed}{number} from 0 to "
        f"{columns - 1}, or {last} for the last."
    )


def _text_fault(path: Path, first: int, columns: int) -> str:
    """Describe the first bad line at or after line ``first``."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in _written(file):
            fields = _fields(line)
            if number < first:
                continue
            if number == first and not fields[0]:
                return (
                    f"The file {path} has no name for the first column in line {number}, as if it "
                    f"held row numbers: {WITHOUT_NUMBERS}."
                )
            if len(fields) != columns:
                return (
                    f"The file {path} has {len(fields)} numbers in line {number} but {columns} in line "
                    f"{first}: write the same number of sites for every configuration."
                )
            for field in fields:
                if not _is_number(field):
                    return (
                        f"The file {path} has {field!r} in line {number}, which is not a number: "
                        "correct or remove the line."
                    )
    return f"The file {path} cannot be read as a table of numbers: write one configuration per line."


def _written(lines: Iterable[str]) -> Iterable[tuple[int, str]]:
    """Yield number (from 1) and text of each line that is not blank, without comments."""
    for number, line in enumerate(lines, start=1):
        if text := line.partition("#")[0].strip():
            yield number, text


def _delimiter(line: str) -> str | None:
    return next((mark for mark in ";," if mark in line), None)


def _fields(line: str) -> list[str]:
    return [field.strip() for field in line.split(_delimiter(line))]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


WITHOUT_NUMBERS = "write the configurations alone (in pandas with index=False)"

MAPPED = (".npy", ".h5", ".hdf5", ".pt")
"""Formats whose rows are read from disk when they are needed."""

READERS: dict[str, Callable[[Path, str | None, str | None], Rows]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".csv": _text,
    ".txt": _text,
    ".pt": _pt,
}
