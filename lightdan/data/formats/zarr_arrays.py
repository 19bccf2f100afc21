"""Arrays of zarr directories."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lightdan.data.formats.arrays import RECORDED
from lightdan.data.formats.common import choose, chosen, read_safely, refuse_name
from lightdan.data.memory import RefusedError, check_memory, check_unpacked, stored_bytes
from lightdan.data.rows import Rows


@dataclass(frozen=True)
class ZarrRows:
    """A zarr array, whose rows are read from disk.

    Args:
        path: Directory, for messages.
        array: Open array.
    """

    path: Path
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
        indexed = self.array.oindex if isinstance(rows, np.ndarray) else self.array
        return np.asarray(read_safely(self.path, lambda: indexed[rows]))


def zarr(path: Path, dataset: str | None) -> Rows:
    """Open an array in a zarr directory; it stays on disk."""
    arrays = _zarr(path)
    if "" in arrays:
        refuse_name(path, dataset)
        return _zarr_rows(path, "", arrays[""])
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    name = choose(path, shapes, dataset)
    return chosen(_zarr_rows(path, name, arrays[name]), name, shapes)


def _zarr_rows(path: Path, name: str, array: Any) -> ZarrRows:
    """Return the rows of an open array."""
    what = f"The array {name!r} in {path}" if name else f"The array in {path}"
    itemsize = np.dtype(array.dtype).itemsize
    check_memory(
        f"A chunk of {what.lower()[:3]}{what[3:]}",
        math.prod(array.chunks) * itemsize,
        "write it with smaller chunks",
    )
    folder = path / name
    stored = sum(stored_bytes(file) for file in folder.rglob("*") if file.is_file())
    check_unpacked(what, array.size * itemsize, stored, RECORDED)
    return ZarrRows(path, array)


def zarr_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the named arrays in a zarr directory."""
    return {name: tuple(array.shape) for name, array in _zarr(path).items() if name}


def _zarr(path: Path) -> dict[str, Any]:
    """Return the arrays of numbers by name; the only array of a directory has an empty one.

    Raises:
        ValueError: It cannot be read, its files are elsewhere, or decoding it could run code.
    """
    if find_spec("zarr") is None:
        raise ValueError(f"The package zarr is needed to read {path}: pip install 'lightdan[formats]'.")
    import zarr as library

    read_safely(path, lambda: _refuse_codecs(path))

    def load() -> dict[str, Any]:
        content = library.open(str(path), mode="r")
        if isinstance(content, library.Array):
            return {"": content}
        return dict(_zarr_arrays(library, content))

    return read_safely(path, load)


def _refuse_codecs(path: Path) -> None:
    """Raise ValueError if files of a zarr directory are elsewhere or could run code when decoded."""
    root = path.resolve()
    for file in path.rglob("*"):
        if file.is_symlink() and root not in file.resolve().parents:
            raise RefusedError(
                f"The file {file} is a link out of {path}: copy the array with its files."
            )
        if file.name in (".zarray", ".zmetadata", "zarr.json"):
            metadata = json.loads(file.read_text())
            if any(word.rpartition(".")[2] == "pickle" for word in _words(metadata)):
                raise RefusedError(
                    f"The array of {file} is encoded by pickle, which could run code: write it with "
                    "another codec."
                )


def _words(content: Any) -> Iterator[str]:
    """Yield all texts in metadata, except attributes."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            if key != "attributes" and not str(key).endswith(".zattrs"):
                yield from _words(value)
    elif isinstance(content, list):
        for value in content:
            yield from _words(value)


def _zarr_arrays(library: Any, group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield name and array of all numeric arrays in a group and its groups."""
    for name, member in sorted(group.members()):
        if not isinstance(member, library.Array):
            yield from _zarr_arrays(library, member, f"{prefix}{name}/")
        elif np.dtype(member.dtype).kind in "biufc":
            yield f"{prefix}{name}", member
