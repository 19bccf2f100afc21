"""Angles from complex phases and from unit vectors in the plane."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from lightdan.data.rows import ConvertedRows, LabelledRows, Rows, first_rows

Split: TypeAlias = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Function of values that returns lengths and angles."""
TOLERANCE = 1e-3
"""Largest distance of a length from 1."""
MOST = 0.9
"""Fraction of vectors of length 1 above which all are meant to have it."""
ROWS_READ = 1000
"""Number of rows that are looked at."""
FEW_ROWS = 100
"""Number of rows that are looked at because of components along another axis."""


def angles_of(path: str, rows: Rows, *, ask: bool = True) -> tuple[Rows, str | None]:
    """Return angles in place of complex numbers of modulus 1 or unit vectors `(M, …, 2)`.

    Args:
        path: File, for messages.
        rows: Array.
        ask: Whether a last axis of 2 may be the components of vectors.

    Returns:
        The array, and a sentence for the report if it was converted.

    Raises:
        ValueError: A length differs from 1, or the vectors have three components.
    """
    if rows.dtype.kind == "c":
        sample = first_rows(rows, ROWS_READ)
        if not sample.imag.any():
            raise ValueError(
                f"The file {path} holds complex numbers whose imaginary parts are 0: save the real "
                "part (array.real)."
            )
        return _converted(path, rows, tuple(rows.shape[1:]), _phases), "complex phases, read as angles"
    if ask and rows.dtype.kind == "f":
        _refuse_components(path, rows)
    if not ask or rows.dtype.kind != "f" or len(rows.shape) < 3 or rows.shape[-1] not in (2, 3):
        return rows, None
    sample = first_rows(rows, ROWS_READ).astype(np.float64)
    lengths = np.linalg.norm(sample, axis=-1)
    unit = np.abs(lengths - 1) <= TOLERANCE
    if not lengths.size or unit.mean() < MOST or (sample == np.floor(sample)).all():
        return rows, None
    if rows.shape[-1] == 3:
        raise ValueError(
            f"The file {path} holds unit vectors of three components, but sites are angles in a plane: "
            "save np.arctan2(y, x) if z is 0."
        )
    return _converted(path, rows, tuple(rows.shape[1:-1]), _directions), "unit vectors, read as angles"


def _refuse_components(path: str, rows: Rows) -> None:
    """Raise ValueError if the components of unit vectors are along another axis than the last."""
    row = rows.shape[1:]
    sample = first_rows(rows, FEW_ROWS).astype(np.float64)
    if len(np.unique(sample[:10])) < 8 or not np.isfinite(sample).all():
        return
    values = math.prod(row)
    splits = {}
    if len(row) > 1 and row[0] == 2:
        splits["a[:, 1], a[:, 0]"] = sample[:, 0], sample[:, 1]
    elif len(row) == 1 and values % 2 == 0 and values > 2:
        half = values // 2
        splits["a[:, 1::2], a[:, ::2]"] = sample[:, ::2], sample[:, 1::2]
        splits[f"a[:, {half}:], a[:, :{half}]"] = sample[:, :half], sample[:, half:]
    for words, (x, y) in splits.items():
        if np.abs(np.hypot(x, y) - 1).max() <= TOLERANCE:
            raise ValueError(
                f"The file {path} holds the components of unit vectors: save the angles "
                f"np.arctan2({words})."
            )


def _phases(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.abs(values), np.angle(values)


def _directions(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    doubled = values.astype(np.float64)
    return np.hypot(doubled[..., 0], doubled[..., 1]), np.arctan2(doubled[..., 1], doubled[..., 0])


def _converted(path: str, rows: Rows, shape: tuple[int, ...], split: Split) -> Rows:
    def convert(values: np.ndarray, first: int) -> np.ndarray:
        lengths, angles = split(values)
        far = np.abs(lengths - 1) > TOLERANCE
        if far.any():
            row = int(np.flatnonzero(far.reshape(len(far), -1).any(1))[0])
            length = float(lengths[row][far[row]].flat[0])
            what = "a complex number of modulus" if values.dtype.kind == "c" else "a vector of length"
            raise ValueError(_fault(path, first + row, length, what))
        return np.mod(angles, 2 * math.pi)

    inner = rows.array if isinstance(rows, LabelledRows) else rows
    return ConvertedRows(inner, shape, np.dtype(np.float64), convert)


def _fault(path: str, row: int, length: float, what: str) -> str:
    return (
        f"The file {path} holds {what} {length:g} in row {row} (counted from 0), not 1: divide by the "
        "lengths if only the directions count, or save the components of reals on their own."
    )
