"""Summary of the values in a file of configurations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lightdan.lattices.angles import TWO_PI

MAX_LEVELS_AUTO = 16
"""Largest number of integers that are always taken for levels."""
MAX_LEVELS = 256
"""Largest number of levels."""
REPEATS = 5
"""Smallest mean number of occurrences of each of a few values that are levels."""
MANY_REPEATS = 50
"""Smallest mean number of occurrences of each of more than 16 values that are levels."""
ROUND_OFF = 1e-5
"""Distance of values, relative to their range, that are the same."""
BEYOND = 0.01
"""Distance in radians by which round-off leads out of the circle."""
EDGE = math.pi / 4
"""Width in radians of the parts of the circle beside its ends."""
FEW = 0.005
"""Fraction of the values beside an end of the circle below which those outside are mistakes."""
UNEVEN = 0.05
"""Smallest ratio of the numbers of values beside both ends of a circle."""
SHARE = 0.005
"""Smallest fraction of the values beside each end of a circle that a few values have left."""
FULL = 0.98
"""Fraction of a circle that the values extend over at least."""
MARKS = (-99, -999, -9999, -99999, 999, 9999, 99999)
"""Numbers that stand for missing values."""

Place = tuple[int, tuple[int, ...]]
"""Row and site, counted from 0."""


@dataclass
class Circle:
    """A circle [low, low + 2π), and how many values are beside its ends and outside.

    Args:
        low: Lower end in radians.
    """

    low: float
    first: int = 0
    """Number of values in the first eighth."""
    last: int = 0
    """Number of values in the last eighth."""
    outside: int = 0
    """Number of values outside, beyond round-off."""
    place: tuple[Place, float] | None = None
    """First value outside."""

    def filled(self) -> bool:
        """Return whether the values are as dense after the start as before the end, as on a circle."""
        return min(self.first, self.last) > UNEVEN * max(self.first, self.last)

    def left(self, total: int) -> bool:
        """Return whether a few of all values are outside a circle that the others fill."""
        beside = min(self.first, self.last)
        return self.filled() and 0 < self.outside < FEW * beside and beside > SHARE * total


@dataclass
class ValueSummary:
    """Summary of the values in a file, collected chunk by chunk.

    Args:
        path: Path of the file, for messages.
        lattice_shape: Shape of a configuration, for messages.
        names: Names of the levels 0, 1, …, where the file has letters or words.
    """

    path: str
    lattice_shape: tuple[int, ...]
    names: Sequence[str] = ()
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
    unsigned: bool = False
    """Whether the file holds integers without a sign."""
    mark: tuple[Place, float] | None = None
    """First number that may stand for a missing value."""
    largest_but_marks: float = 0.0
    """Largest size of the other values."""
    circles: tuple[Circle, Circle] = field(default_factory=lambda: (Circle(0.0), Circle(-math.pi)))
    """The circles [0, 2π) and [−π, π)."""

    def add(self, start: int, chunk: np.ndarray) -> None:
        """Add values `(rows, sites)` to the summary.

        Args:
            start: Number of the first row.
            chunk: Values of consecutive rows.

        Raises:
            ValueError: A value is not finite.
        """
        self.unsigned = chunk.dtype.kind == "u"
        if chunk.dtype.kind == "b":
            chunk = chunk.view(np.uint8)
        if chunk.dtype.kind == "f":
            if bad := self._find(start, chunk, ~np.isfinite(chunk)):
                raise ValueError(f"{self.at(*bad)}: remove or correct that row.")
            if self.fraction is None:
                self.fraction = self._find(start, chunk, chunk != np.floor(chunk))
            if self.fraction is not None:
                self._around(start, chunk)
        if self.outside is None:
            # In single precision 2π is slightly larger.
            self.outside = self._find(start, chunk, (chunk < 0) | (chunk > np.float32(TWO_PI)))
        low, high = float(chunk.min()), float(chunk.max())
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        if low in MARKS or high in MARKS:
            marked = np.isin(chunk, MARKS)
            self.mark = self.mark or self._find(start, chunk, marked)
            others = chunk[~marked]
            low, high = (float(others.min()), float(others.max())) if others.size else (0.0, 0.0)
        self.largest_but_marks = max(self.largest_but_marks, -low, high)
        self.total += chunk.size
        self._count(start, chunk)

    def _around(self, start: int, chunk: np.ndarray) -> None:
        for circle in self.circles:
            low, high = circle.low, circle.low + TWO_PI
            outside = (chunk < low - BEYOND) | (chunk > high + BEYOND)
            circle.outside += int(np.count_nonzero(outside))
            circle.first += int(np.count_nonzero((chunk >= low - BEYOND) & (chunk < low + EDGE)))
            circle.last += int(np.count_nonzero((chunk > high - EDGE) & (chunk <= high + BEYOND)))
            if circle.place is None:
                circle.place = self._find(start, chunk, outside)

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

    def merge(self) -> None:
        """Merge values that differ by round-off into the most frequent of them."""
        if not self.counts or self.fraction is None:
            return
        tolerance = ROUND_OFF * (self.maximum - self.minimum)
        counts, merged = self.counts, dict[float, int]()
        first: dict[float, Place] = {}
        ordered = sorted(counts)
        gaps = np.flatnonzero(np.diff(ordered) > tolerance) + 1
        for group in np.split(np.array(ordered), gaps):
            values = group.tolist()
            common = max(values, key=counts.__getitem__)
            merged[common] = sum(counts[value] for value in values)
            first[common] = min(self.first[value] for value in values)
        self.counts, self.first = merged, first

    def few(self) -> bool:
        """Return whether there are few different values that repeat."""
        if self.counts is None:
            return False
        repeats = REPEATS if len(self.counts) <= MAX_LEVELS_AUTO else MANY_REPEATS
        return self.total >= repeats * len(self.counts)

    def _find(self, start: int, chunk: np.ndarray, bad: np.ndarray) -> tuple[Place, float] | None:
        if not bad.any():
            return None
        row, site = divmod(int(bad.argmax()), chunk.shape[1])
        place = tuple(int(i) for i in np.unravel_index(site, self.lattice_shape))
        return (start + row, place), chunk[row, site].item()

    def name(self, value: float) -> str:
        """Return the name of a value in the file."""
        return self.names[int(value)] if self.names else f"{value:g}"

    def at(self, place: Place, value: float) -> str:
        """Return the beginning of a sentence about one value."""
        site = place[1] if len(place[1]) > 1 else place[1][0]
        return f"The file {self.path} holds {value:g} in row {place[0]}, site {site} (counted from 0)"
