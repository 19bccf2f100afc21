"""Configurations in one file or several, with the numbers that stand beside them in the files."""

import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lightdan.data.formats.arrays import STACKED
from lightdan.data.formats.common import kind_of
from lightdan.data.formats.readers import READERS, SHAPES, arrays_in, is_table, open_array
from lightdan.data.recorded.reading import Reading
from lightdan.data.rows import JoinedRows, LabelledRows

NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
HDF5 = (".h5", ".hdf5")
LISTS = (".parquet", ".arrow", ".feather")


@dataclass(frozen=True)
class Source:
    """One array of configurations.

    Args:
        path: Path of the file.
        dataset: Name of the array in the file; None if it holds only one.
        matched: Part of the name that stands for the ``*`` of a pattern.
    """

    path: str
    dataset: str | None = None
    matched: str = ""

    def __str__(self) -> str:
        return self.path if self.dataset is None else f"{self.path} ({self.dataset})"

    @property
    def suffix(self) -> str:
        """Ending of the file name."""
        return kind_of(Path(self.path))

    @property
    def number(self) -> float | None:
        """The only number in `matched`, or None."""
        found = re.findall(NUMBER, with_points(self.matched))
        return float(found[0]) if len(found) == 1 else None


def with_points(text: str) -> str:
    """Return text with a point in place of the p in numbers like 2p5, as names of files have it."""
    return re.sub(r"(?<=\d)p(?=\d)", ".", text)


def numbers_in_names(option: str, given: str, sources: Sequence[Source]) -> list[float]:
    """Return the number at the ``*`` of a text in the name of each array.

    Args:
        option: Option of the text, for messages.
        given: Text like ``T=*``, with what stands before and after the number; ``*`` alone is the only
            number at the ``*`` of the path or of the name of the array.
        sources: Arrays of configurations.

    Raises:
        ValueError: A name has no such number.
    """
    before, _, after = given.partition("*")
    # Without text before it a number must not begin after its sign or its first digits.
    edge = r"(?<![A-Za-z])" if before else r"(?<![A-Za-z0-9.+-])"
    pattern = rf"{edge}{re.escape(before)}({NUMBER}){re.escape(after)}"
    numbers = []
    for source in sources:
        found = re.search(pattern, with_points(str(source))) if given != "*" else None
        number = source.number if given == "*" else float(found[1]) if found else None
        if number is None:
            missing = f"the name {source} has no number there"
            if given == "*":
                missing = f"{source.matched!r} in the name {source} is not one number"
            raise ValueError(
                f"{option} is {given!r}, but {missing}: set it to the text before the number and *, "
                "like 'h=*', or path or dataset to a pattern whose * is the number, like T=*/spins."
            )
        numbers.append(number)
    return numbers


def find_sources(path: str | Sequence[str], dataset: str | None) -> list[Source]:
    """Return the arrays that paths and names stand for, sorted by the numbers in matched names.

    Args:
        path: Path, pattern with ``*``, or several of them.
        dataset: Name of the array in each file, or pattern with ``*``.

    Raises:
        ValueError: A pattern matches nothing, or there is no path.
    """
    paths = [path] if isinstance(path, str) else list(path)
    sources = [source for each in paths for source in _files(each, dataset)]
    if not sources:
        raise ValueError("path names no file: set it to a path or to a list of paths.")
    if dataset is None or "*" not in dataset:
        return sources
    found = []
    for source in sources:
        names = arrays_in(source.path)
        matches = _matches(dataset.strip("/"), names)
        if not matches:
            listed = ", ".join(map(repr, names))
            raise ValueError(
                f"The file {source.path} has no array like {dataset!r}: set dataset to a pattern of "
                f"{listed or 'names of arrays'}."
            )
        found += [Source(source.path, name, text) for name, text in matches]
    return found


def _files(path: str, dataset: str | None) -> list[Source]:
    expanded = str(Path(path).expanduser())
    if "*" not in path or Path(expanded).exists():
        return [Source(path, dataset)]
    paths = glob.glob("*".join(map(glob.escape, expanded.split("*"))))
    if not paths:
        raise ValueError(f"No file matches {path} (seen from {Path.cwd()}): pass another pattern.")
    return [Source(name, dataset, text) for name, text in _matches(expanded, paths)]


def _matches(pattern: str, names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the names that fit a pattern with the text at its ``*``, ordered by their numbers."""
    regex = re.compile("(.*)".join(map(re.escape, pattern.split("*"))))
    found = [(name, " ".join(m.groups())) for name in names if (m := regex.fullmatch(name))]
    return sorted(
        found, key=lambda each: ([float(n) for n in re.findall(NUMBER, with_points(each[1]))], each[0])
    )


def open_beside(
    sources: Sequence[Source], names: Mapping[str, int | str], reading: Reading
) -> tuple[LabelledRows, dict[str, np.ndarray], dict[str, str]]:
    """Open configurations together with numbers beside them.

    A name is that of an array or an attribute in the same file; the group of the configurations comes
    first. It can also be the name or number of a column of a table, or the path of another file.

    Args:
        sources: Arrays of configurations, which are joined.
        names: Name of the numbers for each option of the system.
        reading: Options that say how the files are meant.

    Returns:
        Configurations, numbers for each option as they are in the file, and the place of the numbers for
        messages. With several sources the numbers are repeated for each row.

    Raises:
        ValueError: There are no such numbers, or the configurations have different shapes.
    """
    found: dict[str, list[np.ndarray]] = {option: [] for option in names}
    places, inside = {}, dict(names)
    for option, name in names.items():
        if isinstance(name, str) and kind_of(Path(name)) in READERS and not _is_inside(sources, name):
            found[option] = [np.asarray(open_array(name)[...])]
            places[option] = f"file {name}"
            del inside[option]
    parts = []
    for source in sources:
        array, numbers = _open_one(source, inside, reading)
        parts.append(array)
        for option, raw in numbers.items():
            kind = _kind(source, inside[option])
            places[option] = f"{kind} {inside[option]!r} of the file {source.path}"
            if len(sources) > 1:
                if raw.size not in (1, array.shape[0]):
                    raise ValueError(
                        f"The {places[option]} has the shape {raw.shape}, but there are "
                        f"{array.shape[0]} configurations: write one number for all or one for each."
                    )
                raw = np.broadcast_to(raw.reshape(-1), (array.shape[0],))
            found[option].append(raw)
    for source, part in zip(sources, parts, strict=True):
        if part.shape[1:] != parts[0].shape[1:]:
            raise ValueError(
                f"The rows of {source} have the shape {tuple(part.shape[1:])}, but those of "
                f"{sources[0]} have {tuple(parts[0].shape[1:])}: pass arrays with rows of one shape."
            )
        if part.names != parts[0].names:
            raise ValueError(
                f"The letters or words of {source} are others than those of {sources[0]}: join the "
                "files, so that each letter has one meaning."
            )
    whole = parts[0]
    shape = whole.shape
    same = len(shape) == 2 and {part.shape for part in parts} == {shape}
    # Few long arrays are chains of rows, unless they are square by chance.
    lattices = same and (shape[0] == shape[1] or 1 < shape[0] < len(parts))
    if reading.shape is None and lattices and len(parts) >= STACKED:
        raise ValueError(
            f"The arrays {sources[0]} to {sources[-1]} have the shape {shape} each: set shape to "
            f"{shape} if each is one lattice, or to ({shape[1]},) if each line is a configuration."
        )
    if len(parts) > 1:
        notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
        notes = tuple(note for note in notes if not note.startswith("configurations: array"))
        joined = JoinedRows([part.array for part in parts])
        whole = LabelledRows(joined, names=whole.names, notes=notes)
    return (
        whole,
        {option: np.concatenate(v) if len(v) > 1 else v[0] for option, v in found.items()},
        places,
    )


def _kind(source: Source, name: int | str) -> str:
    """Return in a word what has some numbers beside configurations."""
    if is_table(source.path) or source.suffix == ".npy":
        return "column"
    in_file = any(each in arrays_in(source.path) for each in _names_beside(source, name))
    return "array" if in_file else "attribute"


def _names_beside(source: Source, name: int | str) -> list[str]:
    """Return the names that an array beside the configurations can have; their group comes first."""
    group = (source.dataset or "").strip("/").rpartition("/")[0]
    return [f"{group}/{name}" if group else str(name), str(name).strip("/")]


def _is_inside(sources: Sequence[Source], name: str) -> bool:
    """Return whether a name that ends like a file is that of an array or a column."""
    source = sources[0]
    return not Path(name).expanduser().exists() and name in arrays_in(source.path)


def _open_one(
    source: Source, names: Mapping[str, int | str], reading: Reading
) -> tuple[LabelledRows, dict[str, np.ndarray]]:
    columns: dict[str, int | str] = {}
    if is_table(source.path):
        columns = dict(names)
    elif source.suffix not in SHAPES:
        for option, name in names.items():
            if isinstance(name, str) and not re.fullmatch(r"(column )?-?\d+", name):
                open_array(source.path, source.dataset)
                what = "weights" if option == "weights" else "numbers, one for each row"
                raise ValueError(
                    f"{option} is {name!r}, but the file {source.path} has no names: set it to the path "
                    f"of a file of {what}, or to 'column n' with the number of a column."
                )
            columns[option] = name
    dataset, numbers = source.dataset, dict[str, np.ndarray]()
    if names and not columns:
        dataset, numbers = _arrays_beside(source, names)
    rows = open_array(source.path, dataset)
    if is_table(source.path) and not (isinstance(rows, LabelledRows) and rows.columns):
        # A column of lists has the configurations, and the other columns have names.
        for option, name in list(columns.items()):
            if isinstance(name, str) and source.suffix in LISTS:
                numbers[option] = np.asarray(open_array(source.path, name)[...])
                del columns[option]
    rows, taken = reading.of(source.path, rows, columns)
    return rows, numbers | taken


def _arrays_beside(
    source: Source, names: Mapping[str, int | str]
) -> tuple[str | None, dict[str, np.ndarray]]:
    """Return the name of the configurations, and the numbers in other arrays of the file."""
    known = arrays_in(source.path)
    numbers: dict[str, np.ndarray] = {}
    taken: list[str] = []
    for option, name in names.items():
        options = _names_beside(source, name)
        own = next((each for each in options if each in known), None)
        raw: Any = None
        if own is not None:
            raw = np.asarray(open_array(source.path, own)[...])
            taken.append(own)
        elif source.suffix in HDF5:
            arrays = [each for each in known if each not in options]
            only = arrays[0] if len(arrays) == 1 else None
            raw = _attribute(replace(source, dataset=source.dataset or only), str(name))
        if raw is None:
            listed = ", ".join(repr(each) for each in known if each != (source.dataset or "").strip("/"))
            raise ValueError(
                f"The file {source.path} has no array {name!r}: set {option} to one of "
                f"{listed or 'its arrays'}, or to the path of another file."
            )
        numbers[option] = raw
    others = [each for each in known if each not in taken]
    dataset = others[0] if source.dataset is None and len(others) == 1 else source.dataset
    return dataset, numbers


def _attribute(source: Source, name: str) -> np.ndarray | None:
    """Return the numbers in an attribute of a dataset, of its groups or of the file, or None."""
    with h5py.File(Path(source.path).expanduser()) as file:
        item = file.get(source.dataset or "/", file)
        while True:
            if name in item.attrs:
                value = np.asarray(item.attrs[name])
                return value if value.dtype.kind in "biuf" else None
            if item.name == "/":
                return None
            item = item.parent
