"""Arrays of MATLAB and Octave."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from lightdan.data.formats.common import choose, chosen, read_safely
from lightdan.data.formats.hdf5 import matlab73, matlab73_shapes
from lightdan.data.rows import Rows


def mat(path: Path, dataset: str | None) -> Rows:
    """Read a numeric array of a .mat file; fields of a struct have names like ``data.spins``."""
    if h5py.is_hdf5(path):
        return matlab73(path, dataset)
    arrays = _arrays(path)
    shapes = {name: array.shape for name, array in arrays.items()}
    name = choose(path, shapes, dataset)
    return chosen(arrays[name], name, shapes)


def mat_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays of numbers by name."""
    if h5py.is_hdf5(path):
        return matlab73_shapes(path)
    return {name: array.shape for name, array in _arrays(path).items()}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    content = read_safely(path, lambda: scipy.io.loadmat(path, struct_as_record=True))
    arrays: dict[str, np.ndarray] = {}
    for name, value in content.items():
        if not name.startswith("__"):
            arrays |= _numbers(name, value)
    return arrays


def _numbers(name: str, value: Any) -> dict[str, np.ndarray]:
    """Return the numeric arrays in a variable, also those in the fields of a struct."""
    if not isinstance(value, np.ndarray):
        toarray = getattr(value, "toarray", None)
        return {name: toarray()} if toarray else {}
    if value.dtype.kind in "biufc":
        return {name: value}
    if value.dtype.names and value.size == 1:
        fields: dict[str, np.ndarray] = {}
        for field in value.dtype.names:
            fields |= _numbers(f"{name}.{field}", value.flat[0][field])
        return fields
    return {}
