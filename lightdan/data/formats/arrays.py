"""Arrays of numpy, torch and zarr."""

import io
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightdan.data.formats.common import choose, chosen, plain, read_safely, refuse_name
from lightdan.data.rows import LabelledRows, Rows

STACKED = 10
"""Smallest number of arrays in a list that are taken for one configuration each."""


def npy(path: Path, dataset: str | None) -> Rows:
    """Open a .npy file, which stays on disk unless it is compressed; its fields are arrays."""
    if path.suffix.lower() == ".gz":
        array = read_safely(path, lambda: np.load(io.BytesIO(plain(path)), allow_pickle=False))
    else:
        array = read_safely(path, lambda: np.lib.format.open_memmap(path, mode="r"))
    if array.dtype.names:
        return _field(path, array, dataset)
    refuse_name(path, dataset)
    return array


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
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                shape, _, dtype = read[np.lib.format.read_magic(file)](file)
            headers[name.removesuffix(".npy")] = (tuple(shape), dtype)
    return headers


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


@dataclass(frozen=True)
class ZarrRows:
    """A zarr array, whose rows are read from disk.

    Args:
        array: Open array.
    """

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> Any:
        """Type of the values."""
        return self.array.dtype

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        if isinstance(rows, np.ndarray):
            return np.asarray(self.array.oindex[rows])
        return np.asarray(self.array[rows])


def zarr(path: Path, dataset: str | None) -> Rows:
    """Open an array in a zarr directory; it stays on disk."""
    arrays = _zarr(path)
    if "" in arrays:
        refuse_name(path, dataset)
        return ZarrRows(arrays[""])
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    name = choose(path, shapes, dataset)
    return chosen(ZarrRows(arrays[name]), name, shapes)


def zarr_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the named arrays in a zarr directory."""
    return {name: tuple(array.shape) for name, array in _zarr(path).items() if name}


def _zarr(path: Path) -> dict[str, Any]:
    """Return the arrays of numbers by name; the only array of a directory has an empty one."""
    if find_spec("zarr") is None:
        raise ValueError(f"The package zarr is needed to read {path}: pip install 'lightdan[formats]'.")
    import zarr as library

    content, reason = None, ""
    try:
        content = library.open(str(path), mode="r")
    except Exception as error:  # a library may raise any for damaged files
        reason = " ".join(str(error).split())[:150].rstrip(".")
    if content is None:
        raise ValueError(f"The directory {path} is damaged or no zarr array: write it again ({reason}).")
    return {"": content} if isinstance(content, library.Array) else dict(_zarr_arrays(library, content))


def _zarr_arrays(library: Any, group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield name and array of all numeric arrays in a group and its groups."""
    for name, member in sorted(group.members()):
        if not isinstance(member, library.Array):
            yield from _zarr_arrays(library, member, f"{prefix}{name}/")
        elif np.dtype(member.dtype).kind in "biufc":
            yield f"{prefix}{name}", member
