"""Temperatures and controls of a user's configurations, for each row."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightdan.data.formats.readers import MAPPED, arrays_in, open_array
from lightdan.data.recorded.beside import NUMBER, Source, find_sources, open_beside, with_points
from lightdan.data.recorded.reading import Reading
from lightdan.data.rows import JoinedRows, Rows, Slab
from lightdan.data.weights import checked_weights

FEWEST_ROWS = 20
"""Length that the second of three axes must have to be taken for that of the rows."""
TEMPERATURE_NAMES = ("t", "temp", "temps", "temperature", "temperatures")
INVERSE_NAMES = ("beta", "betas", "β", "inverse_temperature", "inverse_temperatures")
NAMED_INVERSE = rf"(?i)(?:^|[^a-z])(?:beta|β)[=_-]?({NUMBER})"
NAMED_TEMPERATURE = rf"(?i)(?:^|[^a-z])t(?:emp(?:erature)?)?[=_-]?({NUMBER})"


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
        temperature: One number, numbers, a name as in `open_beside`, or ``*``: the number at the ``*``
            of the pattern. None is 1, unless the files hold temperatures.
        shape: Numbers of sites, which tell an axis of temperatures from one of sites.
        exclude: Names or numbers of columns that are no sites, as in `Reading`.
        axis: Axis of the configurations, as in `Reading`.
        controls: Numbers, or a name as in `open_beside`, of each control by its name.

    Raises:
        ValueError: There are no such numbers, or it is not clear which rows they belong to.
    """
    sources = find_sources(path, dataset)
    if len(sources) == 1 and dataset is None:
        sources = _groups(sources[0], temperature)
    names: dict[str, int | str] = {} if weights is None else {"weights": weights}
    if isinstance(temperature, str) and temperature != "*":
        if temperature.rpartition("/")[2].lower() in INVERSE_NAMES:
            raise ValueError(
                f"temperature is {temperature!r}, the name of inverse temperatures: save 1/β as T "
                "beside them, and set temperature to T."
            )
        names["temperature"] = temperature
    controls = controls or {}
    _check_names(controls)
    names |= {_control(key): value for key, value in controls.items() if isinstance(value, str)}
    several = temperature is not None and not isinstance(temperature, (int, float))
    reading = Reading(exclude, axis, shape, grouped=several or bool(controls))
    labelled, beside, places = open_beside(sources, names, reading)
    array = labelled.array
    name = str(sources[0]) if len(sources) == 1 else f"{sources[0]} and {len(sources) - 1} more"
    if isinstance(path, str) and len(sources) == 1:
        name = path
    given, origin = _numbers(temperature, sources, array, beside, places)
    known = _for_rows(given, array, len(sources))
    _check_positive(known.ravel(), origin)
    values = [_for_rows(beside.get(_control(k), v), array, len(sources)) for k, v in controls.items()]
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
    columns = [_checked_control(key, v, array, name) for key, v in zip(controls, values, strict=True)]
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
        labelled.notes,
        np.stack(columns, axis=1) if columns else None,
        tuple(controls),
    )


def _check_names(controls: Iterable[str]) -> None:
    """Raise ValueError unless names can stand in those of files and on the command line."""
    for name in controls:
        if not re.fullmatch(r"[\w.-]+", name) or name.lower() in TEMPERATURE_NAMES:
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


def _checked_control(key: str, values: np.ndarray, array: Rows, name: str) -> np.ndarray:
    """Return the values of a control `(M,)`.

    Raises:
        ValueError: There is another number of values, or one is not finite.
    """
    num, flat = array.shape[0], values.reshape(-1)
    if flat.size != num:
        raise ValueError(
            f"The control {key} has {flat.size} values, but the file {name} has {num} rows: set it to "
            "the name of an array or a column, or to the path of a file, with one number for each row."
        )
    if not np.isfinite(flat).all():
        row = int((~np.isfinite(flat)).argmax())
        raise ValueError(
            f"The control {key} is {flat[row]:g} in row {row} (counted from 0): correct it."
        )
    if flat.min() == flat.max():
        raise ValueError(
            f"The control {key} is {flat[0]:g} in all rows of {name}, so nothing can be learned about "
            "it: leave it out."
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
            "'*' if the names hold temperatures), or to one of them."
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
    if temperature == "*":
        numbers = [source.number for source in sources]
        if None in numbers:
            bad = sources[numbers.index(None)]
            raise ValueError(
                f"temperature is '*', but {bad.matched!r} in the name {bad} is not one number: set path "
                "or dataset to a pattern whose * stands for the temperature, like T=*/spins."
            )
        return numbers, "names of the data"
    if temperature is None:
        _ask(sources, array)
        return 1.0, "default"
    assert not isinstance(temperature, str)
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


def _ask(sources: Sequence[Source], array: Rows) -> None:
    """Raise ValueError if the files seem to hold several temperatures and none is set."""
    for pattern, inverse in ((NAMED_TEMPERATURE, False), (NAMED_INVERSE, True)):
        named = [re.search(pattern, with_points(str(source))) for source in sources]
        numbers = [found[1] for found in named if found]
        if len(numbers) == len(sources) and len(set(numbers)) > 1 and 0 not in map(float, numbers):
            if inverse:
                numbers = [f"{1 / float(number):.6g}" for number in numbers]
            raise ValueError(
                f"The names {sources[0]} to {sources[-1]} seem to hold {'inverse ' * inverse}"
                f"temperatures: set temperature to [{', '.join(numbers)}] if they do, or to one number."
            )
    source = sources[0]
    for each in arrays_in(source.path):
        last = each.rpartition("/")[2].lower()
        if last in (*TEMPERATURE_NAMES, *INVERSE_NAMES) and each != source.dataset:
            other = open_array(source.path, each)
            if math.prod(other.shape) > 1 and len(np.unique(np.asarray(other[...]))) > 1:
                use = "set temperature to that name to use them"
                if last in INVERSE_NAMES:
                    use = "save 1/β as T beside it and set temperature to T to use them"
                raise ValueError(
                    f"The file {source.path} holds several {'inverse ' * (last in INVERSE_NAMES)}"
                    f"temperatures in the array {each!r}: {use}, or set temperature to one number."
                )


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
