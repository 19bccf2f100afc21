"""What the values of a file of configurations are: spins, levels, angles or reals."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

TWO_PI = 2 * math.pi
LEVELS_AUTO = 16
LEVELS_BY_HAND = 256
RARE = 0.01
"""A fraction of sites below which values beside those of a spin are taken for errors."""

Place = tuple[int, tuple[int, ...]]
"""Row and site, from 0."""


@dataclass
class Seen:
    """What the values of a file are, collected chunk by chunk.

    Args:
        path: The file, for messages.
        lattice_shape: Numbers of sites, for messages.
    """

    path: str
    lattice_shape: tuple[int, ...]
    minimum: float = math.inf
    maximum: float = -math.inf
    total: int = 0
    counts: dict[float, int] | None = field(default_factory=dict)
    """How often each value occurs; None where there are more than 256."""
    first: dict[float, Place] = field(default_factory=dict)
    """Where each of them occurs first."""
    fraction: tuple[Place, float] | None = None
    """The first value that is no integer."""
    outside: tuple[Place, float] | None = None
    """The first value outside [0, 2π)."""

    def add(self, start: int, chunk: np.ndarray) -> None:
        """Take the values `(rows, sites)` of the rows from ``start`` on.

        Raises:
            ValueError: one of them is not finite.
        """
        if chunk.dtype.kind == "b":
            chunk = chunk.view(np.uint8)
        if chunk.dtype.kind == "f":
            if found := self._find(start, chunk, ~np.isfinite(chunk)):
                raise ValueError(f"{self.at(*found)}: remove or mend that row.")
            if self.fraction is None:
                self.fraction = self._find(start, chunk, chunk != np.floor(chunk))
        if self.outside is None:
            # 2π in single precision is above 2π
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
        if len(self.counts) + len(new) > LEVELS_BY_HAND:
            self.counts = None
            return
        for value, number in zip(new, numbers, strict=True):
            found = self._find(start, chunk, chunk == value)
            assert found is not None
            self.counts[value.item()] = int(number)
            self.first[value.item()] = found[0]

    def _find(self, start: int, chunk: np.ndarray, bad: np.ndarray) -> tuple[Place, float] | None:
        if not bad.any():
            return None
        row, site = divmod(int(bad.argmax()), chunk.shape[1])
        place = tuple(int(i) for i in np.unravel_index(site, self.lattice_shape))
        return (start + row, place), chunk[row, site].item()

    def at(self, place: Place, value: float) -> str:
        """The beginning of a sentence about one value."""
        site = place[1] if len(place[1]) > 1 else place[1][0]
        return f"The file {self.path} holds {value:g} in row {place[0]}, site {site} (counted from 0)"


@dataclass(frozen=True)
class Form:
    """How the values of a file become those of the sites.

    Args:
        site_kind: As in `System`.
        levels: As in `System`.
        dtype: Compact type to keep them in.
        description: For the report.
        convert: From raw values to site values in any type.
    """

    site_kind: str
    levels: tuple[int, ...]
    dtype: np.dtype
    description: str
    convert: Callable[[np.ndarray], np.ndarray]


def _automatic(seen: Seen) -> Form:
    counts = seen.counts
    if counts is not None and len(counts) == 2:
        return _spin(seen)
    if counts is not None and len(counts) <= LEVELS_AUTO:
        _refuse_odd_spins(seen, counts)
        if seen.fraction is None:
            return _level(seen)
    if seen.fraction is not None and (
        (seen.outside is None and seen.maximum > math.pi) or _fills_circle_about_zero(seen)
    ):
        return _angle(seen)
    return _real(seen)


def _fills_circle_about_zero(seen: Seen) -> bool:
    """Whether the values reach from −π to π, to 2 %, and no further."""
    return all(0.98 * math.pi < end <= np.float32(math.pi) for end in (-seen.minimum, seen.maximum))


def _refuse_odd_spins(seen: Seen, counts: dict[float, int]) -> None:
    """Raise where levels look like spins with a few wrong values among them."""
    for pair in ((-1, 1), (0, 1)):
        if set(pair) <= counts.keys():
            others = [value for value in counts if value not in pair]
            steps = set(np.diff(sorted(counts)))
            rare = sum(counts[value] for value in others) < RARE * seen.total
            if rare or (pair == (-1, 1) and len(steps) > 1 and seen.fraction is None):
                odd = min(others, key=lambda value: seen.first[value])
                raise ValueError(
                    f"{seen.at(seen.first[odd], odd)} among spins {pair[0]} and {pair[1]}: mend it, or "
                    "set values to another kind if it is meant."
                )


def _spin(seen: Seen) -> Form:
    if seen.counts is None or len(seen.counts) > 2:
        counts = seen.counts or {}
        pair = next(
            (set(pair) for pair in ((-1, 1), (0, 1)) if set(pair) <= counts.keys()),
            set(sorted(counts, key=lambda value: -counts[value])[:2]),
        )
        odd = [value for value in counts if value not in pair]
        if not odd:
            raise ValueError(
                f"The file {seen.path} holds more than {LEVELS_BY_HAND} values from {seen.minimum:g} to "
                f"{seen.maximum:g}, too many for spins: set values to 'real' or 'angle'."
            )
        value = min(odd, key=lambda value: seen.first[value])
        low, high = sorted(pair)
        raise ValueError(
            f"{seen.at(seen.first[value], value)} among spins {low:g} and {high:g}: mend it, or set "
            "values to another kind."
        )
    up, down = seen.maximum, seen.minimum
    share = seen.counts[up] / seen.total
    renamed = "" if (down, up) == (-1, 1) else f": {up:g} is +1, {down:g} is −1"
    return Form(
        "spin",
        (-1, 1),
        np.dtype(np.int8),
        f"spins ±1{renamed} ({100 * share:.3g} % up)",
        lambda raw: np.where(raw == up, np.int8(1), np.int8(-1)),
    )


def _level(seen: Seen) -> Form:
    if seen.fraction is not None:
        raise ValueError(
            f"{seen.at(*seen.fraction)}, which is no integer level: mend it, or set values to 'real'."
        )
    if seen.counts is None:
        raise ValueError(
            f"The file {seen.path} holds more than {LEVELS_BY_HAND} integers from {seen.minimum:g} to "
            f"{seen.maximum:g}, too many for levels: set values to 'real', or coarsen them."
        )
    levels = tuple(sorted(int(value) for value in seen.counts))
    kinds = (np.int8, np.int16, np.int32, np.int64)
    smallest = next(k for k in kinds if np.iinfo(k).min <= levels[0] and levels[-1] <= np.iinfo(k).max)
    listed = ", ".join(map(str, levels)) if len(levels) <= LEVELS_AUTO else f"{levels[0]}…{levels[-1]}"
    description = f"{len(levels)} integer levels {listed}"
    return Form("level", levels, np.dtype(smallest), description, _unchanged)


def _angle(seen: Seen) -> Form:
    if seen.outside is not None and 50 < max(-seen.minimum, seen.maximum) <= 360:
        raise ValueError(
            f"{seen.at(*seen.outside)}, which is no angle in [0, 2π): they look like degrees, so apply "
            "np.deg2rad, or set values to 'real'."
        )
    wrapped = ", taken modulo 2π" if seen.outside is not None else ""
    description = f"angles from {seen.minimum:.4g} to {seen.maximum:.4g}{wrapped}"
    return Form("angle", (), np.dtype(np.float32), description, _wrapped)


def _wrapped(raw: np.ndarray) -> np.ndarray:
    """Modulo 2π, below 2π in single precision too."""
    angles = np.mod(raw.astype(np.float64), TWO_PI).astype(np.float32)
    return np.where(angles >= np.float32(TWO_PI), np.float32(0), angles)


def _real(seen: Seen) -> Form:
    integers = "" if seen.fraction else ", all integers: set values to 'level' if they are levels"
    description = f"reals from {seen.minimum:.4g} to {seen.maximum:.4g}{integers}"
    return Form("real", (), np.dtype(np.float32), description, _unchanged)


def _unchanged(raw: np.ndarray) -> np.ndarray:
    return raw


RECOGNISE = {"auto": _automatic, "spin": _spin, "level": _level, "angle": _angle, "real": _real}
"""`values` → what makes a `Form` of what was seen, or raises ValueError."""
