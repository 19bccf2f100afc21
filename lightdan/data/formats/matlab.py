"""Arrays of MATLAB and Octave."""

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
import scipy.sparse

from lightdan.data.formats.common import choose, chosen, read_safely
from lightdan.data.formats.hdf5 import matlab73, matlab73_shapes
from lightdan.data.memory import check_memory, check_unpacked, most_unpacked
from lightdan.data.rows import Rows

HEADER = 128
"""Number of bytes before the first variable; the last two tell the order of bytes."""
COMPRESSED = 15
"""Kind of a variable that is compressed."""
PART = 65_536
"""Number of bytes that are unpacked at a time."""


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
    def load() -> dict[str, Any]:
        if scipy.io.matlab.matfile_version(path)[0] == 1:
            _check_unpacked(path)
        return dict(scipy.io.loadmat(path, struct_as_record=True))

    content = read_safely(path, load)
    arrays: dict[str, np.ndarray] = {}
    for name, value in content.items():
        if not name.startswith("__"):
            arrays |= _numbers(name, value)
    return arrays


def _check_unpacked(path: Path) -> None:
    """Raise ValueError if the compressed variables of MATLAB 5 to 7.2 do not fit into memory."""
    total, packed = 0, path.stat().st_size
    most = most_unpacked(packed)
    with path.open("rb") as file:
        order = "<" if file.read(HEADER)[-2:] == b"IM" else ">"
        while total <= most and len(tag := file.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            end = file.tell() + length
            unpacked = zlib.decompressobj()
            while total <= most and (part := file.read(min(PART, end - file.tell()))):
                total += len(unpacked.decompress(part)) if kind == COMPRESSED else len(part)
            file.seek(end)
    remedy = "save the configurations as .h5, which stays on disk"
    check_unpacked(f"The content of {path}", total, packed, remedy)
    check_memory(f"The content of {path}", 2 * total, remedy)


def _numbers(name: str, value: Any) -> dict[str, np.ndarray]:
    """Return the numeric arrays in a variable, also those in the fields of a struct."""
    if not isinstance(value, np.ndarray):
        if not scipy.sparse.issparse(value):
            return {}
        size = math.prod(value.shape) * value.dtype.itemsize
        check_memory(f"The sparse matrix {name!r}", size, "save the rows that are needed")
        return {name: value.toarray()}
    if value.dtype.kind in "biufc":
        return {name: value}
    if value.dtype.names and value.size == 1:
        fields: dict[str, np.ndarray] = {}
        for field in value.dtype.names:
            fields |= _numbers(f"{name}.{field}", value.flat[0][field])
        return fields
    return {}
