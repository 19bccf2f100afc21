"""Temperatures and controls of a user's configurations, for each row."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightdan.data.formats.readers import MAPPED, arrays_in, open_array
from lightdan.data.recorded.beside import Source, find_sources, numbers_in_names, open_beside
from lightdan.data.recorded.hints import INVERSE, TEMPERATURES, check_hints
from lightdan.data.recorded.reading import Reading
from lightdan.data.rows import JoinedRows, Rows, Slab
from lightdan.data.weights import checked_weights

FEWEST_ROWS = 20
"""Length that the second of three axes must have to be taken for that of the rows."""


@dataclass(frozen=True)
class Opened:
    """Configurations in files, with a weight and a temperature for each.

    Args:
        name: Name of the files for messages.
        array: Configurations `(M, ...)`.
        weights: Weights `(M,)`, or None.
        temperature: Temperature of each row `(M,)`.
        origin: Place that the temperatures come from, for the report.
        suffix: Ending of the names of the files; of several, one that cannot be mapped comes first.
        consecutive: Whether the rows are taken for equal consecutive parts, one for each temperature.
        names: Names of the levels 0, 1, …, where the files have letters or words.
        notes: Sentences for the report.
        controls: Controls of each row `(M, controls)`, or None.
        control_names: Names of the controls.
    """

    name: str
    array: Rows
    weights: np.ndarray | None
    temperature: np.ndarray
    origin: str
    suffix: str
    consecutive: bool
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    controls: np.ndarray | None = None
    control_names: tuple[str, ...] = ()


def open_recorded(
    path: str | Sequence[str],
    dataset: str | None = None,
    weights: int | str | None = None,
    temperature: float | Sequence[float] | str | None = None,
    shape: Sequence[int] | None = None,
    exclude: Sequence[int | str] | None = None,
    axis: int | None = None,
    controls: Mapping[str, Sequence[float] | str] | None = None,
) -> Opened:
    """Open configurations with their weights, temperatures and controls.

    Args:
        path: Path, pattern with ``*``, or several of them.
        dataset: Name of the array in each file, or pattern with ``*``.
        weights: Name of the weights, as in `open_beside`.
        temperature: One number, numbers, a name as in `open_beside`, or a text with ``*``, as in
            `numbers_in_names`. None is 1, unless the files hold temperatures.
        shape: Numbers of sites, which tell an axis of temperatures from one of sites.
        exclude: Names or numbers of columns that are no sites, as in `Reading`.
        axis: Axis of the configurations, as in `Reading`.
        controls: Values of each control by its name, given like temperatures.

    Raises:
        ValueError: There are no such numbers, or it is not clear which rows they belong to.
    """
    sources = find_sources(path, dataset)
    if len(sources) == 1 and dataset is None:
        sources = _groups(sources[0], temperature)
    names: dict[str, int | str] = {} if weights is None else {"weights": weights}
    if isinstance(temperature, str) and "*" not in temperature:
        if temperature.rpartition("/")[2].lower() in INVERSE:
            raise ValueError(
                f"temperature is {temperature!r}, the name of inverse temperatures: save 1/β as T "
                "beside them, and set temperature to T."
            )
        names["temperature"] = temperature
    given = controls or {}
    check_names(given)
    names |= {_control(k): v for k, v in given.items() if isinstance(v, str) and "*" not in v}
    several = temperature is not None and not isinstance(temperature, (int, float))
    reading = Reading(exclude, axis, shape, grouped=several or bool(controls))
    labelled, beside, places = open_beside(sources, names, reading)
    array = labelled.array
    name = str(sources[0]) if len(sources) == 1 else f"{sources[0]} and {len(sources) - 1} more"
    if isinstance(path, str) and len(sources) == 1:
        name = path
    lengths = [part.shape[0] for part in array.parts] if len(sources) > 1 else [array.shape[0]]
    hints = check_hints(sources, lengths, temperature, controls, {*map(str, names.values())})
    numbers, origin = _numbers(temperature, sources, array, beside, places)
    known = _for_rows(numbers, array, len(sources))
    _check_positive(known.ravel(), origin)
    values = []
    for key, value in given.items():
        in_file: Any = beside.get(_control(key), value)
        if isinstance(in_file, str):
            in_file = numbers_in_names(_control(key), in_file, sources)
        values.append(_for_rows(in_file, array, len(sources)))
    first_axis = _has_axis(known, array, name, shape) or any(_is_axis(v, array) for v in values)
    if first_axis:
        repeats, array = array.shape[1], _merged(array)
        known, *values = (_along_rows(each, repeats, array.shape[0]) for each in (known, *values))
    spread, consecutive = _spread(known, array, name, origin)
    row_weights = None
    if weights is not None:
        raw = beside["weights"]
        if raw.size == array.shape[0] and raw.shape[:1] != array.shape[:1]:
            raw = raw.reshape(-1)
        row_weights = checked_weights(raw, array.shape[0], places["weights"])
    num = array.shape[0]
    columns = [
        checked_control(key, v, num, f"the file {name}") for key, v in zip(given, values, strict=True)
    ]
    suffixes = sorted({source.suffix for source in sources}, key=lambda each: each in MAPPED)
    return Opened(
        name,
        array,
        row_weights,
        spread,
        origin,
        suffixes[0],
        consecutive,
        labelled.names,
        (*labelled.notes, *hints),
        np.stack(columns, axis=1) if columns else None,
        tuple(given),
    )


def check_names(controls: Iterable[str]) -> None:
    """Raise ValueError unless names can stand in those of files and on the command line."""
    for name in controls:
        if not re.fullmatch(r"[\w.-]+", name) or name.lower() in TEMPERATURES:
            raise ValueError(
                f"A control cannot have the name {name!r}: use letters, digits, '_', '.' and '-', and "
                "the option temperature for T."
            )


def _control(name: str) -> str:
    return f"the control {name}"


def _for_rows(given: Any, array: Rows, num_sources: int) -> np.ndarray:
    """Return numbers as an array, repeated for the rows if there is one for each source."""
    values = np.asarray(given, np.float64)
    if values.ndim != 1 and values.size:
        values = values.squeeze()
    if num_sources > 1 and values.size == num_sources != array.shape[0]:
        assert isinstance(array, JoinedRows)
        values = np.repeat(values.ravel(), [part.shape[0] for part in array.parts])
    return values


def _along_rows(values: np.ndarray, repeats: int, num: int) -> np.ndarray:
    """Return numbers for the rows of an array whose first two axes are merged."""
    if values.size in (1, num) or values.size * repeats != num:
        return values.reshape(-1)
    return np.repeat(values, repeats)


def _is_axis(values: np.ndarray, array: Rows) -> bool:
    """Return whether numbers belong to the first axis of an array whose second one counts rows."""
    if values.ndim == 2:
        return values.shape == tuple(array.shape[:2])
    return len(array.shape) > 3 and 1 < values.size == array.shape[0]


def checked_control(
    key: str, values: np.ndarray, num: int, name: str, things: str = "rows"
) -> np.ndarray:
    """Return the values of a control `(M,)`.

    Args:
        key: Name of the control.
        values: Its values.
        num: Number M of rows or images.
        name: File or folder with these, in words.
        things: Word for rows or images.

    Raises:
        ValueError: There is another number of values, one is not finite, or all are equal.
    """
    flat, one = values.reshape(-1), things.removesuffix("s")
    if flat.size != num:
        raise ValueError(
            f"The control {key} has {flat.size} values, but {name} has {num} {things}: set it to the "
            f"name of an array or a column, or to the path of a file, with one number for each {one}."
        )
    if not np.isfinite(flat).all():
        row = int((~np.isfinite(flat)).argmax())
        raise ValueError(
            f"The control {key} is {flat[row]:g} in {one} {row} (counted from 0): correct it."
        )
    if flat.min() == flat.max():
        raise ValueError(
            f"The control {key} is {flat[0]:g} in all {things} of {name}, so nothing can be learned "
            "about it: leave it out."
        )
    return flat


def _groups(source: Source, temperature: float | Sequence[float] | str | None) -> list[Source]:
    """Return the arrays of a file whose names hold the listed temperatures, or the source itself.

    Raises:
        ValueError: The file has arrays of the same name in several groups, and others are listed.
    """
    sources = [Source(source.path, name, name) for name in arrays_in(source.path)]
    listed = list(temperature) if isinstance(temperature, (list, tuple)) else []
    found = {each.number: each for each in sources}
    if listed and len(found) == len(sources) == len(listed) and found.keys() == set(listed):
        return [found[value] for value in listed]
    tails = {str(each.dataset).rpartition("/")[2] for each in sources}
    if len(sources) > 1 and len(tails) == 1:
        raise ValueError(
            f"The file {source.path} holds the arrays {sources[0].dataset!r} to "
            f"{sources[-1].dataset!r}: set dataset to '*/{tails.pop()}' to join them (with temperature "
            "'*' or 'T=*' if the names hold temperatures, and controls {h: 'h=*'} if they hold "
            "fields), or to one of them."
        )
    return [source]


def _numbers(
    temperature: float | Sequence[float] | str | None,
    sources: Sequence[Source],
    array: Rows,
    beside: Mapping[str, np.ndarray],
    places: Mapping[str, str],
) -> tuple[Any, str]:
    """Return the numbers that the option stands for, and where they come from."""
    if "temperature" in beside:
        return beside["temperature"], places["temperature"]
    if isinstance(temperature, str):
        return numbers_in_names("temperature", temperature, sources), "names of the data"
    if temperature is None:
        return 1.0, "default"
    values = np.atleast_1d(np.asarray(temperature, np.float64))
    if len(sources) == 1 and 1 < values.size < array.shape[0]:
        if place := _beside_with(sources[0], array, values):
            return open_array(sources[0].path, place)[
                ...
            ], f"array {place!r} of the file {sources[0].path}"
    elif len(sources) > 1 and values.size not in (1, len(sources), array.shape[0]):
        raise ValueError(
            f"temperature has {values.size} numbers, but there are {len(sources)} arrays of "
            "configurations: pass one number for each."
        )
    return values, "option temperature"


def _beside_with(source: Source, array: Rows, values: np.ndarray) -> str | None:
    """Return the name of the only array of the file with one of these values for each row."""
    found = []
    for each in arrays_in(source.path):
        other = open_array(source.path, each)
        if math.prod(other.shape) == array.shape[0] != math.prod(array.shape):
            different = np.unique(np.asarray(other[...], np.float32))
            if np.array_equal(different, np.unique(values.astype(np.float32))):
                found.append(each)
    return found[0] if len(found) == 1 else None


def _check_positive(values: np.ndarray, origin: str) -> None:
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"temperature must be positive and finite, but the {origin} holds {values[row]:g} in place "
            f"{row} (counted from 0): correct it."
        )


def _has_axis(values: np.ndarray, array: Rows, name: str, shape: Sequence[int] | None) -> bool:
    """Return whether temperatures belong to the first axis of an array whose second one counts rows.

    Raises:
        ValueError: It is not clear, or they belong to the second axis.
    """
    if _is_axis(values, array):
        return True
    if len(array.shape) == 4 and 1 < values.size == array.shape[1]:
        raise ValueError(
            f"The file {name} has the shape {tuple(array.shape)}, with {values.size} temperatures along "
            "the second axis: move it to the front (numpy.moveaxis(a, 1, 0)) and write the file again."
        )
    if len(array.shape) < 3 or not 1 < values.size == array.shape[0]:
        return False
    return _first_axis_is_temperature(values, array, name, shape)


def _spread(values: np.ndarray, array: Rows, name: str, origin: str) -> tuple[np.ndarray, bool]:
    """Return the temperatures of the rows `(M,)`, and whether these are equal consecutive parts.

    Raises:
        ValueError: It is not clear which rows the temperatures belong to.
    """
    num, values = array.shape[0], values.reshape(-1)
    if values.size in (1, num):
        return np.broadcast_to(values, (num,)), False
    if values.size == 0 or num % values.size or num < values.size:
        raise ValueError(_unclear(values, num, name, origin))
    if len(set(values)) < values.size:
        raise ValueError(_unclear(values, num, name, origin, "some of them equal"))
    return np.repeat(values, num // values.size), True


def _unclear(values: np.ndarray, num: int, name: str, origin: str, why: str = "") -> str:
    return (
        f"The {origin} has {values.size} temperatures{', ' * bool(why)}{why}, but the file {name} has "
        f"{num} rows: set temperature to the name of an array or a column, or to the path of a file, "
        "with one number for each row."
    )


def _first_axis_is_temperature(
    values: np.ndarray, array: Rows, name: str, shape: Sequence[int] | None
) -> bool:
    """Return whether the first axis counts temperatures, of rows along the second one."""
    if shape is not None and math.prod(shape) in (array.shape[2], math.prod(array.shape[1:])):
        return math.prod(shape) == array.shape[2]
    if len(set(values)) < values.size:
        return False
    if array.shape[1] == array.shape[2] or array.shape[1] < FEWEST_ROWS:
        raise ValueError(
            f"The file {name} has the shape {tuple(array.shape)} and a temperature for each index of "
            f"the first axis: set shape to ({array.shape[2]},) if the second axis counts "
            "configurations, or round the temperatures if each configuration has its own."
        )
    return True


def _merged(array: Rows) -> Rows:
    """Return an array `(T, M, ...)` as `(TM, ...)`."""
    return JoinedRows([Slab(array, number) for number in range(array.shape[0])])
