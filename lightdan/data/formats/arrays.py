"""Arrays of numpy and torch."""

import ast
import gzip
import math
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightdan.data.formats.common import choose, chosen, read_safely, refuse_name
from lightdan.data.memory import check_memory, check_unpacked, stored_bytes
from lightdan.data.rows import LabelledRows, Rows

STACKED = 10
"""Smallest number of arrays in a list that are taken for one configuration each."""
MAX_HEADER = 10_000
"""Largest number of bytes in the header of a .npy file, as in numpy."""
RECORDED = "save only the rows that were recorded, uncompressed"


def npy(path: Path, dataset: str | None) -> Rows:
    """Open a .npy file, which stays on disk unless it is compressed; its fields are arrays."""
    if path.suffix.lower() == ".gz":
        array = read_safely(path, lambda: _unpacked(path))
    else:
        array = read_safely(path, lambda: np.lib.format.open_memmap(path, mode="r"))
        check_unpacked(f"The array in {path}", array.nbytes, stored_bytes(path), RECORDED)
    if array.dtype.names:
        return _field(path, array, dataset)
    refuse_name(path, dataset)
    return array


def _unpacked(path: Path) -> np.ndarray:
    """Return the array in a compressed .npy file."""
    with gzip.open(path) as file:
        shape, dtype = _header(file)
        what, num_bytes = f"The array in {path}", math.prod(shape) * dtype.itemsize
        check_unpacked(what, num_bytes, path.stat().st_size, RECORDED)
        check_memory(what, num_bytes, "unpack it, so that it stays on disk")
        file.seek(0)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _field(path: Path, records: np.ndarray, dataset: str | None) -> Rows:
    """Return one field of an array of records."""
    kinds = records.dtype
    shapes = {
        name: records.shape + kinds[name].shape
        for name in kinds.names or ()
        if kinds[name].base.kind in "biufcUS"
    }
    name = choose(path, shapes, dataset)
    return chosen(records[name], name, shapes)


def npz(path: Path, dataset: str | None) -> Rows:
    """Read one array of an .npz file."""
    headers = read_safely(path, lambda: _headers(path))
    sparse = {"indices", "indptr", "format", "shape", "data"} <= headers.keys()
    if sparse and dataset is None:
        raise ValueError(
            f"The file {path} holds a sparse matrix of scipy: save its toarray() with np.save."
        )
    every = {name: shape for name, (shape, _) in headers.items()}
    numbers = npz_shapes(path)
    if dataset is None and (together := _numbered(path, headers)) is not None:
        return together
    # If nothing else can be meant, the objects are read, and refused as what they are.
    objects = not numbers or (dataset in every and dataset not in numbers)
    name = choose(path, every if objects else numbers, dataset)

    what, num_bytes = f"The array {name!r} in {path}", math.prod(every[name]) * headers[name][1].itemsize
    check_unpacked(what, num_bytes, path.stat().st_size, RECORDED)
    check_memory(what, num_bytes, "save it with np.save, so that it stays on disk")

    def load() -> np.ndarray:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[name])

    array = read_safely(path, load)
    return _field(path, array, None) if array.dtype.names else chosen(array, name, every)


def _numbered(path: Path, headers: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> Rows | None:
    """Return many arrays of one shape that np.savez numbered, one configuration each, as one array."""
    names = [f"arr_{number}" for number in range(len(headers))]
    kinds = set(headers.values())
    if len(names) < STACKED or set(names) != headers.keys() or len(kinds) > 1 or not kinds.pop()[0]:
        return None
    num_bytes = sum(math.prod(shape) * dtype.itemsize for shape, dtype in headers.values())
    check_memory(f"The file {path}", 2 * num_bytes, "save one array with np.save")

    def load() -> np.ndarray:
        with np.load(path, allow_pickle=False) as archive:
            return np.stack([archive[name] for name in names])

    array = read_safely(path, load)
    return LabelledRows(array, notes=(f"{len(names)} arrays of the file are one configuration each",))


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays of numbers in an .npz file by name."""
    headers = read_safely(path, lambda: _headers(path))
    return {name: shape for name, (shape, dtype) in headers.items() if dtype.kind in "biufc"}


def _headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return shape and type of each array in an .npz file, without reading the arrays."""
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                headers[name.removesuffix(".npy")] = _header(file)
    return headers


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and type of the array in an open .npy file."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:  # numpy has no public function for names that are not Latin
        (length,) = struct.unpack("<I", file.read(4))
        if length > MAX_HEADER:
            raise ValueError(f"its header has {length} bytes")
        header = ast.literal_eval(file.read(length).decode())
        shape, dtype = header["shape"], np.lib.format.descr_to_dtype(header["descr"])
    return tuple(shape), dtype


def pt(path: Path, dataset: str | None) -> Rows:
    """Open a tensor in a .pt file; the file is memory-mapped and never unpickled."""
    content = _content(path)
    if isinstance(content, Tensor):
        refuse_name(path, dataset)
        return _array(path, content)
    tensors = dict(_tensors(content))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    name = choose(path, shapes, dataset)
    return chosen(_array(path, tensors[name]), name, shapes)


def pt_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the named tensors in a .pt file."""
    content = _content(path)
    if isinstance(content, Tensor):
        return {}
    return {name: tuple(tensor.shape) for name, tensor in _tensors(content)}


def _content(path: Path) -> Any:
    def load() -> Any:
        mapped = zipfile.is_zipfile(path)  # because the format before torch 1.6 cannot be mapped
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)

    return _stacked(read_safely(path, load))


def _array(path: Path, tensor: Tensor) -> np.ndarray:
    if tensor.layout != torch.strided:
        raise ValueError(f"The file {path} holds a sparse tensor: save its to_dense().")
    tensor = tensor.detach()
    stored = tensor.untyped_storage().nbytes()
    check_unpacked(f"The tensor in {path}", tensor.nbytes, stored, RECORDED)
    return read_safely(path, (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy)


def _stacked(content: Any) -> Any:
    """Return a long list of tensors of one shape as one tensor."""
    if not isinstance(content, Sequence) or isinstance(content, str) or len(content) < STACKED:
        return content
    if all(isinstance(part, Tensor) and part.shape == content[0].shape for part in content):
        return torch.stack(list(content))
    return content


def _tensors(content: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield name and tensor of all entries of dictionaries and lists in each other."""
    items: Any = ()
    if isinstance(content, Mapping):
        items = content.items()
    elif isinstance(content, Sequence) and not isinstance(content, str):
        items = enumerate(content)
    for key, value in items:
        name, value = f"{prefix}{key}", _stacked(value)
        if isinstance(value, Tensor):
            yield name, value
        else:
            yield from _tensors(value, f"{name}.")
