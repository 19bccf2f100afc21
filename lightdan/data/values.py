"""Recognition of the values in a file of configurations as spins, levels, angles or reals."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lightdan.lattices.angles import TWO_PI

MAX_LEVELS_AUTO = 16
"""Largest number of levels that are recognised."""
MAX_LEVELS = 256
"""Largest number of levels."""
RARE = 0.01
"""Fraction of sites below which values other than those of a spin are taken for mistakes."""

Place = tuple[int, tuple[int, ...]]
"""Row and site, counted from 0."""


@dataclass
class ValueSummary:
    """Summary of the values in a file, collected chunk by chunk.

    Args:
        path: Path of the file, for messages.
        lattice_shape: Shape of a configuration, for messages.
    """

    path: str
    lattice_shape: tuple[int, ...]
    minimum: float = math.inf
    maximum: float = -math.inf
    total: int = 0
    counts: dict[float, int] | None = field(default_factory=dict)
    """Number of occurrences of each value; None if there are more than 256 values."""
    first: dict[float, Place] = field(default_factory=dict)
    """Place where each value first occurs."""
    fraction: tuple[Place, float] | None = None
    """First value that is not an integer."""
    outside: tuple[Place, float] | None = None
    """First value outside [0, 2π)."""

    def add(self, start: int, chunk: np.ndarray) -> None:
        """Add values `(rows, sites)` to the summary.

        Args:
            start: Number of the first row.
            chunk: Values of consecutive rows.

        Raises:
            ValueError: A value is not finite.
        """
        if chunk.dtype.kind == "b":
            chunk = chunk.view(np.uint8)
        if chunk.dtype.kind == "f":
            if bad := self._find(start, chunk, ~np.isfinite(chunk)):
                raise ValueError(f"{self.at(*bad)}: remove or correct that row.")
            if self.fraction is None:
                self.fraction = self._find(start, chunk, chunk != np.floor(chunk))
        if self.outside is None:
            # In single precision 2π is slightly larger.
            self.outside = self._find(start, chunk, (chunk < 0) | (chunk > np.float32(TWO_PI)))
        self.minimum = min(self.minimum, float(chunk.min()))
        self.maximum = max(self.maximum, float(chunk.max()))
        self.total += chunk.size
        self._count(start, chunk)

    def _count(self, start: int, chunk: np.ndarray) -> None:
        if self.counts is None:
            return
        rest = chunk.ravel()
        for value in self.counts:
            others = rest[rest != value]
            self.counts[value] += rest.size - others.size
            rest = others
        new, numbers = np.unique(rest, return_counts=True)
        if len(self.counts) + len(new) > MAX_LEVELS:
            self.counts = None
            return
        for value, number in zip(new, numbers, strict=True):
            occurrence = self._find(start, chunk, chunk == value)
            assert occurrence is not None
            self.counts[value.item()] = int(number)
            self.first[value.item()] = occurrence[0]

    def _find(self, start: int, chunk: np.ndarray, bad: np.ndarray) -> tuple[Place, float] | None:
        if not bad.any():
            return None
        row, site = divmod(int(bad.argmax()), chunk.shape[1])
        place = tuple(int(i) for i in np.unravel_index(site, self.lattice_shape))
        return (start + row, place), chunk[row, site].item()

    def at(self, place: Place, value: float) -> str:
        """Return the beginning of a sentence about one value."""
        site = place[1] if len(place[1]) > 1 else place[1][0]
        return f"The file {self.path} holds {value:g} in row {place[0]}, site {site} (counted from 0)"


@dataclass(frozen=True)
class Form:
    """Conversion of the values in a file to values of the sites.

    Args:
        site_kind: Kind of site, as in `System`.
        levels: Values of a discrete site, as in `System`.
        dtype: Compact type of the site values.
        description: Description for the report.
        convert: Function from values in the file to site values.
    """

    site_kind: str
    levels: tuple[int, ...]
    dtype: np.dtype
    description: str
    convert: Callable[[np.ndarray], np.ndarray]


def _automatic(values: ValueSummary) -> Form:
    counts = values.counts
    if counts is not None and len(counts) == 2:
        return _spin(values)
    if counts is not None and len(counts) <= MAX_LEVELS_AUTO:
        _refuse_odd_spins(values, counts)
        if values.fraction is None:
            return _level(values)
    if values.fraction is not None and (
        (values.outside is None and values.maximum > math.pi) or _fills_circle_about_zero(values)
    ):
        return _angle(values)
    return _real(values)


def _fills_circle_about_zero(values: ValueSummary) -> bool:
    """Return whether the values extend from −π to π, to 2 %, and no further."""
    return all(0.98 * math.pi < end <= np.float32(math.pi) for end in (-values.minimum, values.maximum))


def _refuse_odd_spins(values: ValueSummary, counts: dict[float, int]) -> None:
    """Raise ValueError if the values look like spins with a few mistakes among them."""
    for pair in ((-1, 1), (0, 1)):
        if set(pair) <= counts.keys():
            others = [value for value in counts if value not in pair]
            steps = set(np.diff(sorted(counts)))
            rare = sum(counts[value] for value in others) < RARE * values.total
            if rare or (pair == (-1, 1) and len(steps) > 1 and values.fraction is None):
                odd = min(others, key=lambda value: values.first[value])
                raise ValueError(
                    f"{values.at(values.first[odd], odd)} among spins {pair[0]} and {pair[1]}: correct "
                    "it, or set values to another kind if it is intended."
                )


def _spin(values: ValueSummary) -> Form:
    if values.counts is None or len(values.counts) > 2:
        counts = values.counts or {}
        pair = next(
            (set(pair) for pair in ((-1, 1), (0, 1)) if set(pair) <= counts.keys()),
            set(sorted(counts, key=lambda value: -counts[value])[:2]),
        )
        odd = [value for value in counts if value not in pair]
        if not odd:
            raise ValueError(
                f"The file {values.path} holds more than {MAX_LEVELS} values from {values.minimum:g} to "
                f"{values.maximum:g}, too many for spins: set values to 'real' or 'angle'."
            )
        value = min(odd, key=lambda value: values.first[value])
        low, high = sorted(pair)
        raise ValueError(
            f"{values.at(values.first[value], value)} among spins {low:g} and {high:g}: correct it, or "
            "set values to another kind."
        )
    up, down = values.maximum, values.minimum
    share = values.counts[up] / values.total
    renamed = "" if (down, up) == (-1, 1) else f": {up:g} is +1, {down:g} is −1"
    return Form(
        "spin",
        (-1, 1),
        np.dtype(np.int8),
        f"spins ±1{renamed} ({100 * share:.3g} % up)",
        lambda raw: np.where(raw == up, np.int8(1), np.int8(-1)),
    )


def _level(values: ValueSummary) -> Form:
    if values.fraction is not None:
        raise ValueError(
            f"{values.at(*values.fraction)}, which is not an integer level: correct it, or set values "
            "to 'real'."
        )
    if values.counts is None:
        raise ValueError(
            f"The file {values.path} holds more than {MAX_LEVELS} integers from {values.minimum:g} to "
            f"{values.maximum:g}, too many for levels: set values to 'real', or bin them."
        )
    levels = tuple(sorted(int(value) for value in values.counts))
    kinds = (np.int8, np.int16, np.int32, np.int64)
    smallest = next(k for k in kinds if np.iinfo(k).min <= levels[0] and levels[-1] <= np.iinfo(k).max)
    listed = (
        ", ".join(map(str, levels)) if len(levels) <= MAX_LEVELS_AUTO else f"{levels[0]}…{levels[-1]}"
    )
    description = f"{len(levels)} integer levels {listed}"
    return Form("level", levels, np.dtype(smallest), description, _unchanged)


def _angle(values: ValueSummary) -> Form:
    if values.outside is not None and 50 < max(-values.minimum, values.maximum) <= 360:
        raise ValueError(
            f"{values.at(*values.outside)}, outside [0, 2π): the values look like degrees, so apply "
            "np.deg2rad, or set values to 'real'."
        )
    wrapped = ", taken modulo 2π" if values.outside is not None else ""
    description = f"angles from {values.minimum:.4g} to {values.maximum:.4g}{wrapped}"
    return Form("angle", (), np.dtype(np.float32), description, _wrapped)


def _wrapped(raw: np.ndarray) -> np.ndarray:
    """Return angles modulo 2π that are below 2π in single precision too."""
    angles = np.mod(raw.astype(np.float64), TWO_PI).astype(np.float32)
    return np.where(angles >= np.float32(TWO_PI), np.float32(0), angles)


def _real(values: ValueSummary) -> Form:
    integers = "" if values.fraction else ", all integers: set values to 'level' if they are levels"
    description = f"reals from {values.minimum:.4g} to {values.maximum:.4g}{integers}"
    return Form("real", (), np.dtype(np.float32), description, _unchanged)


def _unchanged(raw: np.ndarray) -> np.ndarray:
    return raw


RECOGNISE = {"auto": _automatic, "spin": _spin, "level": _level, "angle": _angle, "real": _real}
"""Functions that return the `Form` of a summary, or raise ValueError, by the argument `values`."""
