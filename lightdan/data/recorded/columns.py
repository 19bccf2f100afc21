"""Columns of a table that are no sites: temperatures, energies, labels, counts, numbers of rows."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightdan.data.rows import ConvertedRows, LabelledRows, Rows, first_rows

ROWS_READ = 2000
"""Number of rows that are looked at."""
MAX_COLUMNS = 20_000
"""Number of columns beyond which a file is no table that somebody keeps notes in."""
ALPHABET = 16
"""Largest number of different values of discrete sites."""
FOREIGN = 0.05
"""Fraction of values in no other column above which a column is unlike the others."""

NAMED = re.compile(
    r"t|temp|temperature|beta|e|en|ene|energy|energies|h|field|mu|m|mag|magnetization|magnetisation|"
    r"step|steps|sweep|sweeps|mcs|time|timestamp|date|label|labels|class|target|y|count|counts|"
    r"multiplicity|weight|weights|id|idx|index|row|run|chain|replica|seed|sample|unnamed: 0|",
    re.IGNORECASE,
)
"""Names of columns that are no sites."""


@dataclass(frozen=True)
class OddColumn:
    """A column unlike the others.

    Args:
        number: Number of the column, from 0.
        name: Its name, or its number.
        reason: Difference from the others.
    """

    number: int
    name: int | str
    reason: str


def odd_columns(rows: Rows) -> list[OddColumn]:
    """Return the columns of a table `(M, columns)` that seem to be no sites.

    They are told by their names, by words, by values that no other column has, by a constant value, or
    by values that only increase.
    """
    names = rows.columns if isinstance(rows, LabelledRows) else ()
    words = rows.words if isinstance(rows, LabelledRows) else ()
    if rows.shape[1] > MAX_COLUMNS:
        return []
    table = first_rows(rows, ROWS_READ).astype(np.float64)
    num, columns = table.shape
    if columns < 2 or num < 2 or not np.isfinite(table).all():
        return []
    if columns == 2:
        return [] if num < 10 else _clock_of_two(table, names)
    reasons: dict[int, str] = {}
    for column in words:
        reasons[column] = "it holds words"
    for column in _unlike_names(names):
        described = f"its name is {names[column]!r}" if names[column] else "it has no name"
        reasons.setdefault(column, f"{described}, unlike the others")
    if num >= 10:
        for column, reason in _unlike_values(table):
            reasons.setdefault(column, reason)
    if len(reasons) > max(3, columns // 4):  # then the columns differ from each other, as sites may
        reasons = {column: reason for column, reason in reasons.items() if column in words}
    return [OddColumn(c, names[c] if names and names[c] else c, reasons[c]) for c in sorted(reasons)]


def _clock_of_two(table: np.ndarray, names: Sequence[str]) -> list[OddColumn]:
    """Return the first of two columns if only it rises, as the times of events do."""
    rising = _rising(table)
    if not rising[0] or rising[1]:
        return []
    span = f"it runs from {table[0, 0]:.6g} to {table[-1, 0]:.6g} without turning"
    return [OddColumn(0, names[0] if names and names[0] else 0, span)]


def _rising(table: np.ndarray) -> np.ndarray:
    """Return which columns only rise or only fall, and mostly do not stay."""
    steps = np.diff(table, axis=0)
    one_way = (steps >= 0).all(0) | (steps <= 0).all(0)
    rising: np.ndarray = one_way & ((steps != 0).mean(0) > 0.5)
    return rising


def _unlike_names(names: Sequence[str]) -> Iterator[int]:
    """Yield the columns whose names are known, or do not follow the numbering of the others."""
    stems = [re.sub(r"[\d_.,:;()\[\] -]+$", "", name).lower() for name in names]
    numbered = [bool(re.search(r"\d[)\]]*$", name)) for name in names]
    series = max(set(stems), key=stems.count) if stems else ""
    follows = [stem == series and is_one for stem, is_one in zip(stems, numbered, strict=True)]
    regular = sum(follows) >= max(2, 0.75 * len(names))
    for column, name in enumerate(names):
        if (regular and not follows[column]) or (
            not regular and NAMED.fullmatch(name) and (len(name) != 1)
        ):
            yield column


def _unlike_values(table: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yield columns with values unlike those of the others, and the reason."""
    low, high = table.min(0), table.max(0)
    span = "it runs from {:.6g} to {:.6g}"
    rising = _rising(table)
    if rising.any() and rising.mean() <= 0.5:
        for column in np.flatnonzero(rising).tolist():
            yield column, span.format(low[column], high[column]) + " without turning"
    alphabets = [np.unique(column) for column in table.T]
    typical = int(np.median([len(values) for values in alphabets]))
    num, columns = table.shape
    if typical <= ALPHABET:
        occurrences: dict[float, int] = {}
        for values in alphabets:
            for value in values.tolist():
                occurrences[value] = occurrences.get(value, 0) + 1
        rare = columns // 10 + 1
        common = [value for value, times in occurrences.items() if times > rare]
        for column, values in enumerate(alphabets):
            foreign = [value for value in values.tolist() if occurrences[value] <= rare]
            share = np.isin(table[:, column], foreign).mean()
            if share > FOREIGN and _outside(foreign, common):
                yield column, _values(values) + ", unlike the others"
        return
    whole = np.array([bool((values == np.floor(values)).all()) for values in alphabets])
    for column, values in enumerate(alphabets):
        rest = np.delete(np.arange(columns), column)
        bottom, top = low[rest].min(), high[rest].max()
        gap = max(low[column] - top, bottom - high[column])
        if len(values) == 1 and not (whole.all() and gap < 0):
            yield column, f"it is {values[0]:g} in every row"
        elif whole[column] and not whole[rest].any():
            yield column, _values(values) + ", all whole numbers"
        elif len(values) <= ALPHABET and typical >= 0.5 * num and num >= 50:
            yield column, _values(values) + ", few among many"
        elif column in (0, 1, columns - 2, columns - 1) and gap > 0.5 * (top - bottom):
            yield column, span.format(low[column], high[column]) + ", far from the others"


def _outside(foreign: Sequence[float], others: Sequence[float]) -> bool:
    """Return whether values are no further levels of the sites.

    They lie between the steps of the others, or far beyond them; two values of spins have none beyond.
    """
    if len(others) < 2:
        return False
    step, low, high = np.diff(sorted(others)).min(), min(others), max(others)
    margin = {2: 0.0, 3: 1.5 * step, 4: 1.5 * step}.get(len(others), high - low)
    values = np.array(foreign)
    positions = (values - low) / step
    between = np.abs(positions - np.rint(positions)) > 1e-3
    return bool((between | (values < low - margin) | (values > high + margin)).any())


def _values(values: np.ndarray) -> str:
    if len(values) == 1:
        return f"it is {values[0]:g} in every row"
    if len(values) <= 4:
        return f"it holds {', '.join(f'{value:g}' for value in values)}"
    return f"it holds {len(values)} values from {values[0]:g} to {values[-1]:g}"


def refuse_odd(path: str, rows: Rows) -> None:
    """Raise ValueError if a column seems to be no site; the message names it and the remedies."""
    found = odd_columns(rows)
    if not found:
        return
    described = " and ".join(f"{column.name!r} ({column.reason})" for column in found[:3])
    which = "columns" if len(found) > 1 else "a column"
    listed = ", ".join(str(column.name) for column in found)
    raise ValueError(
        f"The file {path} has {which} unlike the others, {described}: set exclude to [{listed}] to "
        "leave out what is no site, temperature, controls or weights to a column that holds them, or "
        "exclude to [] if all are sites."
    )


def column_of(path: str | Path, rows: Rows, name: int | str, option: str) -> int:
    """Return the number of a column, given by its name or its number.

    Args:
        path: File, for messages.
        rows: Table `(M, columns)`.
        name: Name, or number from 0, also as ``column 0``; negative numbers count from the end.
        option: Option that the name comes from, for messages.

    Raises:
        ValueError: There is no such column.
    """
    names = rows.columns if isinstance(rows, LabelledRows) else ()
    columns = rows.shape[1] if len(rows.shape) > 1 else 0
    if name in names:
        return names.index(str(name))
    if isinstance(name, str) and re.fullmatch(r"(column )?-?\d+", name):
        name = int(name.split()[-1])
    if isinstance(name, int) and -columns <= name < columns:
        return name % columns
    if not columns or len(rows.shape) > 2:
        raise ValueError(f"{option} is {name!r}, but the file {path} has no columns: leave it out.")
    listed = ", ".join(map(repr, names))
    if len(names) > 8:
        listed = f"{', '.join(map(repr, names[:4]))}, …, {', '.join(map(repr, names[-4:]))}"
    choices = f"one of {listed} or " if names else ""
    number, last = (
        ("'column n' with n", "'column -1'") if option == "temperature" else ("a number", "-1")
    )
    raise ValueError(
        f"The file {path} has no column {name!r}: set {option} to {choices}{number} from 0 to "
        f"{columns - 1}, or {last} for the last."
    )


def without_columns(rows: Rows, numbers: Sequence[int]) -> Rows:
    """Return a table without some columns."""
    if not numbers:
        return rows
    kept = np.delete(np.arange(rows.shape[1]), list(numbers))
    inner = rows.array if isinstance(rows, LabelledRows) else rows
    if isinstance(inner, np.ndarray) and not isinstance(inner, np.memmap):
        array: Rows = inner[:, kept]
    else:
        array = ConvertedRows(inner, (len(kept),), inner.dtype, lambda values, first: values[:, kept])
    if not isinstance(rows, LabelledRows):
        return array
    columns = tuple(rows.columns[k] for k in kept) if rows.columns else ()
    words = tuple(place for place, k in enumerate(kept) if k in rows.words)
    return LabelledRows(array, columns, rows.names, rows.block, rows.notes, words)
