"""Fields of the lines of a table: numbers as programs write them, words, and strings of bits."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lightdan.data.formats.words import codes
from lightdan.data.rows import LabelledRows

QUOTES = "\"' "
BRACKETS = "[](){}"
DELIMITERS = re.compile(r"[;,\s]")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eEdD][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?\d{1,3}([.,'’]\d{3})+([.,]\d+)?")
MISSING = ("", "na", "n/a", "null", "none", "missing", "-", ".", "?")
"""Fields that stand for a missing value, in small letters."""


def table_of(path: Path, lines: Sequence[tuple[int, str]], names: tuple[str, ...]) -> LabelledRows:
    """Return a table whose fields are no plain numbers.

    They may have decimal commas, exponents with a D, or be words. A column of words among columns of
    numbers is kept as codes, and a column of bits like 0110 becomes one column per bit.

    Args:
        path: File, for messages.
        lines: Numbers and texts of the lines with data.
        names: Names of the columns, or none.

    Raises:
        ValueError: A line has another number of fields, a value is missing, or a column has words and
            numbers.
    """
    mark = delimiter(lines[0][1])
    table = [fields(line, mark) for _, line in lines]
    cut = [row[:-1] if len(row) > 2 and row[-1] == "" else row for row in table]
    if len({len(row) for row in cut}) == 1:  # lines end with the mark, perhaps except the last one
        names, table = names[: len(cut[0])], cut
    table, together = _continued(table)
    for (number, _), row in zip(lines, table, strict=False):
        if len(row) != len(table[0]):
            raise ValueError(
                f"The file {path} has {len(row)} numbers in line {number} but {len(table[0])} in line "
                f"{lines[0][0]}: write the same number of sites for every configuration, with line "
                "breaks at the same places in each, and # before lines that are no data."
            )
    written, names = _with_bits(table, names)
    cells = written if mark == "," else np.char.replace(written, ",", ".")
    numeric = np.vectorize(is_number, otypes=[bool])(cells)
    blank = cells == ""
    notes = () if together == 1 else (f"{together} consecutive lines make one configuration",)
    if not numeric.any() and not blank.any():
        rows = codes(path, cells, names)
        return LabelledRows(rows.array, rows.columns, rows.names, 0, (*rows.notes, *notes), rows.words)
    words = ~numeric.any(axis=0) & ~blank.all(axis=0)
    if not numeric.any():
        words = ~blank.any(axis=0)
    if not (numeric | words).all():
        line, column = (int(place[0]) for place in np.nonzero(~(numeric | words)))
        cell = str(written[line, column])
        place = f"line {lines[line * together][0]}"
        if names and names[column]:
            place += f", column {names[column]!r}"
        raise ValueError(f"The file {path} has {_fault(cell)} in {place}{_remedy(cell)}.")
    values = np.empty(cells.shape)
    for column in range(cells.shape[1]):
        if words[column]:
            values[:, column] = np.unique(cells[:, column], return_inverse=True)[1]
        else:
            values[:, column] = [number_in(cell) for cell in cells[:, column]]
    of_words = tuple(int(column) for column in np.flatnonzero(words))
    return LabelledRows(values, names, notes=notes, words=of_words)


def _fault(cell: str) -> str:
    return f"no value ({cell!r})" if cell.lower() in MISSING else repr(cell)


def _remedy(cell: str) -> str:
    if cell.lower() in MISSING:
        return ": write the value, or leave out the line or the column"
    if THOUSANDS.fullmatch(cell):
        return ", with marks between the thousands: remove them"
    return ", which is not a number: correct or remove the line"


def _continued(table: list[list[str]]) -> tuple[list[list[str]], int]:
    """Return rows that are continued on further lines as one each, and the number of lines of a row.

    All lines of a row but the last have equally many fields, and the last has fewer.
    """
    lengths = [len(row) for row in table]
    period = next((k for k, length in enumerate(lengths) if length < lengths[0]), 0) + 1
    pattern = lengths[:period]
    if period < 2 or len(table) < 2 * period or lengths != pattern * (len(table) // period):
        return table, 1
    groups = [table[k : k + period] for k in range(0, len(table), period)]
    return [[field for line in group for field in line] for group in groups], period


def bit_columns(table: Sequence[Sequence[str]]) -> list[int]:
    """Return the columns of strings like 0110, one character per site, which are no numbers.

    Some begin with 0 and some with 1, and all have the same length.
    """
    found = []
    for number, column in enumerate(zip(*table, strict=False)):
        different = set(column)
        lengths = {len(field) for field in different}
        if len(lengths) == 1 and lengths != {1} and set("".join(different)) == {"0", "1"}:
            found += [number] if {field[0] for field in different} == {"0", "1"} else []
    return found


def _with_bits(table: list[list[str]], names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the fields of a table, with one column per bit, and the names of the columns."""
    bits = bit_columns(table)
    if not bits:
        return np.array(table), names
    cells, titles = [], []
    for number, column in enumerate(zip(*table, strict=True)):
        parts = [*zip(*column, strict=True)] if number in bits else [column]
        cells += parts
        name = names[number] if names else ""
        titles += [f"{name} {k}" for k in range(len(parts))] if number in bits else [name]
    return np.array(cells).T, tuple(titles) if names else ()


def delimiter(line: str) -> str | None:
    """Return the mark between the fields of a line, or None for blanks."""
    if "|" in line and all(map(is_number, line.split("|"))):
        return "|"
    if ";" in line:
        return ";"
    if "\t" in line and not any(_has_numbers(part) for part in line.split("\t")):
        return "\t"
    if "," not in line:
        return None
    words = line.split()
    return None if len(words) > 1 and all(map(DECIMAL_COMMA.fullmatch, words)) else ","


def _has_numbers(text: str) -> bool:
    """Return whether a text holds several numbers, or ends in a comma."""
    words = text.split()
    return text.rstrip().endswith(",") or (len(words) > 1 and all(map(is_number, words)))


def fields(line: str, mark: str | None = "") -> list[str]:
    """Return the fields of a line without blanks, quotes and brackets.

    Args:
        line: Line.
        mark: Mark between the fields; by default that of `delimiter`.
    """
    mark = delimiter(line) if mark == "" else mark
    return [_bare(field.strip()) for field in _bare(line).split(mark)]


def _bare(text: str) -> str:
    """Return a text without quotes and brackets at its ends; those of a unit, as in T (K), stay."""
    text = text.strip(QUOTES).lstrip(QUOTES + BRACKETS)
    return text if re.search(r"[\[({]", text) else text.rstrip(QUOTES + BRACKETS)


def is_number(field: str) -> bool:
    """Return whether a field holds a number."""
    try:
        number_in(field)
    except ValueError:
        return False
    return True


def number_in(field: str) -> float:
    """Return the number in a field.

    The exponent may be written with the D of Fortran or the *^ of Mathematica, and the minus as −.

    Raises:
        ValueError: The field holds no number.
    """
    if "_" in field:  # Python reads 1_0 as 10
        raise ValueError(f"{field!r} is no number.")
    try:
        return float(field)
    except ValueError:
        plain = field.replace("−", "-").replace("*^", "e")
        return float(re.sub(r"(?<=[\d.])[dD](?=[+-]?\d+$)", "e", plain))
