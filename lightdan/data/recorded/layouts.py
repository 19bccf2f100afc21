"""Axes and lines of a file: which of them are configurations, and which are sites."""

import math
from collections.abc import Sequence

import numpy as np

from lightdan.data.rows import ConvertedRows, LabelledRows, Rows, first_rows

ROWS_READ = 20_000
"""Number of rows that are looked at."""
SURE = 6.0
"""Standard errors that a difference must exceed before a question is asked."""
FEWEST_ROWS = 20
"""Number of rows below which a pattern in each row may be chance."""
MAX_STATES = 32
"""Largest number of states of a site in one-hot form that is looked for."""
FEW_ROWS = 50
"""Smallest ratio of columns to rows at which any dependence of the rows counts."""
FEWEST_PLACES = 9
"""Number of sites below which values that are listed once may look like places by chance."""
LEAST = 0.1
"""Smallest rise of a correlation with the distance that time does not explain."""


def move_axis(path: str, rows: Rows, axis: int) -> Rows:
    """Return the array with the configurations along the first axis.

    Args:
        path: File, for messages.
        rows: Array.
        axis: Axis of the configurations.

    Raises:
        ValueError: There is no such axis.
    """
    axes = len(rows.shape)
    if not -axes <= axis < axes:
        raise ValueError(
            f"axis is {axis}, but the file {path} has the shape {tuple(rows.shape)}: set it to a number "
            f"from 0 to {axes - 1}, or -1 for the last."
        )
    if axis % axes == 0:
        return rows
    if isinstance(rows, LabelledRows):
        return LabelledRows(move_axis(path, rows.array, axis), names=rows.names, notes=rows.notes)
    array = rows if isinstance(rows, np.ndarray) else np.asarray(rows[:])
    return np.moveaxis(array, axis, 0)


def regroup(
    path: str, rows: Rows, shape: Sequence[int], *, grouped: bool = False
) -> tuple[Rows, str | None]:
    """Return configurations of a shape from rows that are lines of lattices, single values or bits.

    Args:
        path: File, for messages.
        rows: Array.
        shape: Numbers of sites along the axes.
        grouped: Whether the first axis may count temperatures, each with several rows.

    Returns:
        Array `(M, *lattice)` or `(M, sites)`, and a sentence for the report if rows were regrouped.

    Raises:
        ValueError: The rows do not fit the shape.
    """
    wanted = math.prod(shape)
    given = math.prod(rows.shape[1:])
    num = rows.shape[0]
    if wanted == given or wanted < 1 or num * given == 0:
        return rows, None
    if grouped and len(rows.shape) > 2 and wanted == math.prod(rows.shape[2:]):
        return rows, None
    if is_packed(rows, shape):
        return _unpacked(rows, shape), f"bits: unpacked to {wanted} sites per row"
    if num == 1 and given % wanted == 0:
        row = np.asarray(rows[:]).reshape(-1, *shape)
        return row, f"the only row of the file holds {given // wanted} configurations"
    if wanted % given == 0 and given in (1, shape[-1]):
        together = wanted // given
        if num % together:
            raise ValueError(
                f"The file {path} has {num} rows of {given} values, which are no whole number of "
                f"configurations of {_times(shape)} sites: remove the incomplete one, or correct shape."
            )
        return _joined(rows, shape, together), (
            f"{together} consecutive rows of the file make one configuration"
        )
    if len(rows.shape) > 2 and wanted == math.prod(rows.shape[:-1]):
        raise ValueError(
            f"shape {tuple(shape)} fits all but the last axis of the file {path}, whose shape is "
            f"{tuple(rows.shape)}: set axis to -1 if the configurations are along the last axis."
        )
    raise ValueError(
        f"shape {tuple(shape)} has {wanted} sites, but a row of the file {path} has {given} values: set "
        "shape to numbers with that product."
    )


def is_packed(rows: Rows, shape: Sequence[int]) -> bool:
    """Return whether each byte of a table holds eight sites of a configuration, as in np.packbits."""
    sites = math.prod(shape)
    if rows.dtype != np.uint8 or len(rows.shape) != 2 or sites == 1 or rows.shape[1] != -(-sites // 8):
        return False
    return len(np.unique(first_rows(rows, ROWS_READ))) > 2


def _joined(rows: Rows, shape: Sequence[int], together: int) -> Rows:
    inner = rows.array if isinstance(rows, LabelledRows) else rows
    if isinstance(inner, np.ndarray):
        array: Rows = inner.reshape(-1, *shape)
    else:
        array = ConvertedRows(inner, tuple(shape), inner.dtype, lambda values, first: values, together)
    if isinstance(rows, LabelledRows):
        return LabelledRows(array, names=rows.names, notes=rows.notes)
    return array


def _unpacked(rows: Rows, shape: Sequence[int]) -> Rows:
    sites = math.prod(shape)

    def convert(values: np.ndarray, first: int) -> np.ndarray:
        return np.unpackbits(values, axis=1, count=sites)

    return ConvertedRows(rows, tuple(shape), np.dtype(np.uint8), convert)


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def without_single_axes(rows: Rows) -> Rows:
    """Return rows without the axes of length 1, as networks for images have them."""
    row = tuple(side for side in rows.shape[1:] if side > 1)
    if len(row) == len(rows.shape) - 1 or not row:
        return rows
    inner = rows.array if isinstance(rows, LabelledRows) else rows
    array = ConvertedRows(inner, row, inner.dtype, lambda values, first: values)
    if isinstance(rows, LabelledRows):
        return LabelledRows(array, names=rows.names, notes=rows.notes)
    return array


def refuse_one_hot(path: str, rows: Rows) -> None:
    """Raise ValueError if levels are written as zeros with a single one; the message has the remedy."""
    num, *row = rows.shape
    if num < FEWEST_ROWS or rows.dtype.kind == "c" or not row:
        return
    sample = first_rows(rows, 1000, FEWEST_ROWS)
    empty = sample.min()
    if empty not in (0, -1) or not ((sample == empty) | (sample == 1)).all():
        return
    if len(row) > 1 and row[0] > 1 and ((sample == 1).sum(1) == 1).all():
        raise ValueError(
            f"The file {path} has exactly one 1 among the {row[0]} values along the second axis, like "
            "levels in one-hot form: save np.argmax(a, axis=1), or set shape to "
            f"({', '.join(map(str, row))}) if all values are sites."
        )
    sample = (sample == 1).reshape(len(sample), -1)
    last = row[-1]
    parts = [last] if len(row) > 1 else [q for q in range(2, MAX_STATES + 1) if last % q == 0 < last - q]
    for states in parts:
        if states > 1 and (sample.reshape(-1, states).sum(1) == 1).all():
            kept = f"({', '.join(map(str, row))}{',' if len(row) == 1 else ''})"
            raise ValueError(
                f"The file {path} has exactly one 1 among each {states} values in a line, like levels "
                f"in one-hot form: save np.argmax(a.reshape(len(a), -1, {states}), axis=-1), or set "
                f"shape to {kept} if all values are sites."
            )


def ask_about_axes(path: str, rows: Rows) -> None:
    """Raise ValueError if the configurations may be along another axis; the message has the remedy."""
    shape = tuple(rows.shape)
    last = "last axis (MATLAB, np.dstack)"
    if len(shape) == 3:
        first, second, third = shape
        square = first == second != third
        long = third >= 8 * max(first, second) and first < 100
        if square or long:
            raise _question(path, shape, last, -1)
        if first == third and second >= 8 * first and first < 100:
            raise _question(path, shape, "second axis", 1)
    if len(shape) == 2 and shape[0] == 1 < shape[1]:
        raise ValueError(
            f"The file {path} holds one row of {shape[1]} values: set shape to that of a lattice if "
            "configurations follow each other in it, or axis to -1 if each value is one."
        )
    if len(shape) == 2 and shape[1] >= max(4 * shape[0], 100):
        table = first_rows(rows, 400, 50)[:, :ROWS_READ].astype(np.float64)
        if np.isfinite(table).all() and _rows_are_sites(table):
            reason = "because its rows depend on each other like sites"
            raise _question(path, shape, last, -1, reason)


def _question(path: str, shape: tuple[int, ...], where: str, axis: int, reason: str = "") -> ValueError:
    """Return the question whether the configurations are along another axis than the first."""
    return ValueError(
        f"The file {path} has the shape {shape}, so the configurations may be along the {where}"
        f"{reason and ', '}{reason}: set axis to {axis} if they are, or to 0 if the first axis has them."
    )


def _rows_are_sites(table: np.ndarray) -> bool:
    """Return whether rows depend on each other like sites, and neighbouring columns do not.

    Rows in time depend on each other too, but the less the larger their distance is. If there are far
    more columns than rows, any dependence counts, and columns may depend on each other like times.
    """
    rows, columns = table.shape
    centred = table - table.mean(1, keepdims=True)
    centred -= centred.mean(0)
    spread = centred.std(1, keepdims=True)
    if rows < 4 or (spread**2 < 1e-12 * table.var()).any() or not table.any():
        return False
    scaled = centred / spread
    squares = (scaled**2).mean(0)
    number = squares.sum() ** 2 / (squares**2).sum()  # of columns, if some vary more than others
    of_rows = scaled @ scaled.T / columns
    size = (_without_rows(of_rows)[np.triu_indices(rows, 1)] ** 2).mean() - 1.3 / number
    rises = any(_rises(of_rows.diagonal(lag), of_rows.diagonal(lag - 1)) for lag in range(2, rows - 3))
    far_more = columns >= FEW_ROWS * rows
    if far_more and size > max(LEAST**2, 30 / number):
        return True
    if not rises and not (far_more and size > 1 / number):
        return False
    # Products of two independent columns have the variance Σ C²/rows² if rows correlate.
    beside = (scaled[:, 1:] * scaled[:, :-1]).mean()
    scatter = math.sqrt((of_rows**2).sum() / rows**2 / (columns - 1))
    return bool(size > 4 * (abs(beside) + 3 * scatter) ** 2)


def _without_rows(matrix: np.ndarray) -> np.ndarray:
    """Return correlations of rows without the parts of single rows, which the centring makes."""
    rows = len(matrix)
    apart = matrix - np.diag(matrix.diagonal())
    parts = apart.sum(1) / (rows - 2)
    parts -= parts.sum() / (2 * (rows - 1))
    return apart - parts[:, None] - parts


def _rises(far: np.ndarray, near: np.ndarray) -> bool:
    """Return whether rows at one distance correlate more than rows at a distance less by one."""
    rise = far - near[: len(far)]
    return bool(rise.mean() > max(LEAST, SURE * rise.std() / math.sqrt(len(rise))))


def ask_about_lines(path: str, rows: Rows) -> None:
    """Raise ValueError if rows may be lines of square lattices; the message has the remedy."""
    if len(rows.shape) != 2:
        return
    num, side = rows.shape
    block = rows.block if isinstance(rows, LabelledRows) else 0
    if block and block != side:
        raise ValueError(
            f"The file {path} has blocks of {block} lines with {side} values: set shape to "
            f"({block}, {side}) if a block is one lattice, or to ({side},) if each line is a "
            "configuration."
        )
    if block or side < 3 or num % side or num < 20 * side:
        return
    table = first_rows(rows, ROWS_READ, 20 * side).astype(np.float64)
    table = table[: len(table) // side * side]
    if not np.isfinite(table).all():
        return
    inside, across = _overlaps(table, side)
    difference = inside.mean() - across.mean()
    error = math.hypot(inside.std() / len(inside) ** 0.5, across.std() / len(across) ** 0.5)
    if abs(difference) > SURE * error and abs(across.mean()) < 0.5 * abs(inside.mean()):
        raise ValueError(
            f"The file {path} seems to hold one line of a {side} × {side} lattice per row, because the "
            f"overlap of neighbouring rows is {inside.mean():.2g}, but {across.mean():.2g} after every "
            f"{side} of them: set shape to ({side}, {side}) if it does, or to ({side},) if each row is "
            "a configuration."
        )


def _overlaps(table: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean overlap within each group of rows, and that of its end with the next group."""
    centred = table - table.mean()
    scale = centred.std() or 1.0
    overlap = (centred[1:] * centred[:-1]).mean(1) / scale**2
    overlap = np.append(overlap, np.nan).reshape(-1, side)
    return overlap[:, :-1].mean(1), overlap[:-1, -1]


def refuse_positions(path: str, rows: Rows) -> None:
    """Raise ValueError if the columns before the last list the places of sites again and again."""
    num, columns = rows.shape
    if not 2 <= columns <= 5 or num < 4:
        return
    table = first_rows(rows, ROWS_READ).astype(np.float64)
    # One place of (x, y) is preferred if it recurs, and then a place on a line.
    for axes, recurs in ((2, True), (1, True), (2, False)):
        if axes < columns and (extent := _extent(table[:, -1 - axes : -1], recurs)):
            shape = ", ".join(map(str, extent)) + ("," if axes == 1 else "")
            raise ValueError(
                f"The file {path} lists the place of each site before its value, {columns} numbers a "
                f"line: set exclude to {[*range(columns - 1)]} and shape to ({shape})."
            )


def _extent(places: np.ndarray, recurs: bool) -> tuple[int, ...]:
    """Return the sides of the lattice whose sites are listed in order, or nothing.

    Args:
        places: Places `(lines, axes)`.
        recurs: Whether they are listed more than once.
    """
    extent = tuple(len(np.unique(column)) for column in places.T)
    sites = math.prod(extent)
    fewest = 4 if recurs else FEWEST_PLACES
    if sites < fewest or min(extent) < 2 or len(places) < (1 + recurs) * sites:
        return ()
    if not np.isfinite(places).all() or (places != np.floor(places)).any():
        return ()
    once = places[:sites]
    if (places != np.resize(once, places.shape)).any() or len(np.unique(once, axis=0)) < sites:
        return ()
    on_a_line = len(extent) == 1
    return () if on_a_line and (np.diff(once[:, 0]) != 1).any() else extent
