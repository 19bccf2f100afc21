"""Datasets in HDF5 files, and in the files of MATLAB from version 7.3 on, which are HDF5 too."""

import math
from pathlib import Path

import h5py
import numpy as np

from lightdan.data.formats.common import choose, chosen, read_safely
from lightdan.data.memory import RefusedError, check_memory, check_unpacked
from lightdan.data.rows import VALUES_READ, Hdf5Rows, Rows


def hdf5(path: Path, dataset: str | None) -> Rows:
    """Open a dataset of an HDF5 file; it stays on disk unless it holds words.

    Raises:
        ValueError: The dataset holds records, numbers that attributes scale, or missing values.
    """
    datasets, others = _datasets(path)
    shapes = {name: rows.shape for name, rows in datasets.items()}
    wanted = dataset and dataset.strip("/")
    name = choose(path, others if wanted in others or not shapes else shapes, wanted)
    read_safely(path, lambda: _refuse_unwritten(path, name))
    if name in others:
        words = read_safely(path, lambda: _words(path, name))
        if words is not None:
            return words
        raise ValueError(
            f"The file {path} holds records in {name!r}, not numbers: save the configurations as "
            "integers or floats."
        )
    scaled = read_safely(path, lambda: _attributes(path, name, ("scale_factor", "add_offset")))
    if scaled.get("scale_factor", 1) != 1 or scaled.get("add_offset", 0) != 0:
        listed = " and ".join(f"{key} {value:g}" for key, value in scaled.items())
        raise ValueError(
            f"The file {path} holds numbers in {name!r} that its attributes scale ({listed}): save "
            "array * scale_factor + add_offset."
        )
    _refuse_missing(path, name, datasets[name])
    return chosen(datasets[name], name, shapes)


def _words(path: Path, name: str) -> np.ndarray | None:
    """Return the text in a dataset, or None if it holds anything else."""
    with h5py.File(path) as file:
        item = file[name]
        return np.asarray(item.asstr()[...]).astype(str) if h5py.check_string_dtype(item.dtype) else None


def _refuse_unwritten(path: Path, name: str) -> None:
    """Raise RefusedError if the numbers of a dataset are in other files, or were never written.

    External storage and virtual datasets can name any file of this machine as numbers.
    """
    with h5py.File(path) as file:
        item, what = file[name], f"the dataset {name!r} in {path}"
        if item.external or item.is_virtual:
            raise RefusedError(
                f"The numbers of {what} are in other files, which it can name at will: save them in one "
                "file, as by h5repack or np.save."
            )
        if not item.size:
            return
        stored = item.id.get_storage_size()
        share = 1.0 if stored else 0.0
        if item.chunks:
            remedy = "write it with smaller chunks"
            check_memory(f"A chunk of {what}", math.prod(item.chunks) * item.dtype.itemsize, remedy)
            counts = [-(-n // side) for n, side in zip(item.shape, item.chunks, strict=True)]
            share = item.id.get_num_chunks() / math.prod(counts)
        remedy = "save only the rows that were recorded"
        if share < 1:
            raise RefusedError(
                f"Only {100 * share:.3g} % of {what}, {item.shape}, were ever written: {remedy}."
            )
        check_unpacked(f"The {what[4:]}", item.nbytes, stored, remedy)


def _attributes(path: Path, name: str, keys: tuple[str, ...]) -> dict[str, float]:
    """Return the attributes of a dataset with these names that are numbers."""
    with h5py.File(path) as file:
        found = {key: np.asarray(file[name].attrs[key]) for key in keys if key in file[name].attrs}
        return {
            key: value.flat[0].item()
            for key, value in found.items()
            if value.dtype.kind in "iuf" and value.size
        }


def _refuse_missing(path: Path, name: str, rows: Hdf5Rows) -> None:
    """Raise ValueError if a value is one that attributes of netCDF declare as missing."""
    missing = read_safely(path, lambda: _attributes(path, name, ("_FillValue", "missing_value")))
    # Other values than finite ones are refused in any case.
    missing = {key: value for key, value in missing.items() if math.isfinite(value)}
    if not missing or not rows.shape:
        return
    step = max(1, VALUES_READ // max(1, math.prod(rows.shape[1:])))
    for start in range(0, rows.shape[0], step):
        part = rows[start : start + step]
        for key, value in missing.items():
            if (bad := part == value).any():
                row = start + int(np.argwhere(bad)[0][0])
                raise ValueError(
                    f"The file {path} has no value in row {row} of {name!r} (counted from 0), because "
                    f"{value:g} is its {key}: leave out such rows, or delete that attribute."
                )


def matlab73(path: Path, dataset: str | None) -> Rows:
    """Read a numeric array as MATLAB shows it, because the file has its axes reversed."""
    datasets = _numbers(path)
    shapes = matlab73_shapes(path)
    name = choose(path, shapes, dataset and dataset.replace("/", "."))
    inside = name.replace(".", "/")
    rows = datasets[inside]
    read_safely(path, lambda: _refuse_unwritten(path, inside))
    num_bytes = 2 * math.prod(rows.shape) * rows.dtype.itemsize  # with a copy in the order of numpy
    check_memory(f"The array {name!r} in {path}", num_bytes, "save it as HDF5, so that it stays on disk")
    array = read_safely(path, lambda: np.asarray(rows[slice(None)]).T)
    return chosen(_complex(array), name, shapes)


def hdf5_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the datasets of numbers by name."""
    return {name: rows.shape for name, rows in _datasets(path)[0].items()}


def matlab73_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays of numbers by name, as MATLAB shows them."""
    return {name.replace("/", "."): rows.shape[::-1] for name, rows in _numbers(path).items()}


def _numbers(path: Path) -> dict[str, Hdf5Rows]:
    """Return the datasets that are arrays of numbers in MATLAB."""
    return {
        name: rows
        for name, rows in _datasets(path)[0].items()
        if not name.startswith("#") and not _is_object(path, name)
    }


def _datasets(path: Path) -> tuple[dict[str, Hdf5Rows], dict[str, tuple[int, ...]]]:
    """Return the numeric datasets by name, and the shapes of all others."""
    datasets: dict[str, Hdf5Rows] = {}
    others: dict[str, tuple[int, ...]] = {}

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            numeric = item.dtype.kind in "biufc" or item.dtype.names == ("real", "imag")
            if numeric and item.shape is not None:
                datasets[name] = Hdf5Rows.of(path.absolute(), item)
            else:
                others[name] = item.shape or ()

    def visit() -> None:
        with h5py.File(path) as file:
            file.visititems(add)

    read_safely(path, visit)
    return datasets, others


def _is_object(path: Path, name: str) -> bool:
    """Return whether a dataset of MATLAB is text, empty or no array."""
    with h5py.File(path) as file:
        attributes = file[name].attrs
        kind = attributes.get("MATLAB_class", b"double")
        kind = kind.decode() if isinstance(kind, bytes) else str(kind)
        return "MATLAB_empty" in attributes or kind in ("char", "cell", "function_handle", "struct")


def _complex(array: np.ndarray) -> np.ndarray:
    """Return numbers that MATLAB stores as pairs of real and imaginary parts."""
    return array["real"] + 1j * array["imag"] if array.dtype.names else array
