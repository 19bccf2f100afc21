"""Help for the readers of all formats: damaged files, and files with several arrays."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from lightdan.data.memory import RefusedError
from lightdan.data.rows import LabelledRows, Rows

T = TypeVar("T")

LISTED = 12
"""Largest number of names in a message."""


def read_safely(path: Path, function: Callable[[], T]) -> T:
    """Return the function's result.

    Raises:
        ValueError: The file is damaged or holds pickled objects.
    """
    # A library may raise any exception for damaged bytes. The ValueError is raised after the handler,
    # because the command line would show the library's exception if it were the context.
    try:
        return function()
    except MemoryError:
        reason, unsafe = "it declares more values than memory holds", False
    except RefusedError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        unsafe = isinstance(error, pickle.UnpicklingError) or any(
            word in reason for word in ("pickle", "Python objects", "Object arrays")
        )
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(2)
    if unsafe or (start[:1] == b"\x80" and start[1:] <= b"\x05"):
        raise ValueError(
            f"The file {path} holds pickled Python objects, which could run code when loaded, and is "
            "refused: save one plain numeric array instead, without dtype=object (np.stack of a list, "
            "or np.savez(path, **arrays) of a dict)."
        )
    what = f"The file {path} is truncated, damaged or not a {path.suffix} file"
    if path.is_dir():
        what = f"The directory {path} is damaged or no {path.suffix[1:]} array"
    raise ValueError(f"{what}: write it again ({reason[:150].rstrip('.')}).")


def kind_of(path: Path) -> str:
    """Return the suffix in lower case that decides the format, which is the last before ``.gz``."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def refuse_name(path: Path, dataset: str | None) -> None:
    """Raise ValueError if a name is given for the only array in a file."""
    if dataset is not None:
        raise ValueError(
            f"The file {path} holds one array without a name: leave out dataset={dataset!r}."
        )


def choose(path: Path, shapes: Mapping[str, tuple[int, ...]], dataset: str | None) -> str:
    """Return the name of the array of configurations.

    Among several arrays it is the only one with two axes or more, or else the only one with an axis.
    Axes of length 1 do not count, because MATLAB has them everywhere.

    Args:
        path: File, for messages.
        shapes: Shapes of the arrays by name.
        dataset: Name that the user gives.

    Raises:
        ValueError: There is no such array, or several can be meant.
    """
    listed = ", ".join(f"{name!r} {shape}" for name, shape in list(shapes.items())[:LISTED])
    if len(shapes) > LISTED:
        listed += f" and {len(shapes) - LISTED} more"
    if not shapes:
        raise ValueError(
            f"The file {path} holds no array of numbers: save the configurations as one, of the shape "
            "(M, sites) or (M, rows, columns)."
        )
    if dataset is not None:
        if dataset not in shapes:
            raise ValueError(
                f"The file {path} has no array {dataset!r}: set dataset to one of {listed}."
            )
        return dataset
    for axes in (2, 1):
        names = [name for name, shape in shapes.items() if sum(n > 1 for n in shape) >= axes]
        if len(names) == 1:
            return names[0]
        if names:
            break
    if len(shapes) == 1:
        return next(iter(shapes))
    raise ValueError(f"The file {path} holds several arrays: set dataset to one of {listed}.")


def chosen(rows: Rows, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Rows:
    """Return rows with a note that names the other arrays of the file."""
    others = [other for other in shapes if other != name]
    if not others:
        return rows
    more = f" and {len(others) - LISTED} more" if len(others) > LISTED else ""
    listed = ", ".join(others[:LISTED])
    return LabelledRows(rows, notes=(f"configurations: array {name}; other arrays: {listed}{more}",))
