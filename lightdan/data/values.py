"""Recognition of the values in a file of configurations as spins, levels, angles or reals."""

import math
from collections.abc import Callable, Sequence
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
RARE = 0.01
"""Fraction of sites below which values other than those of a spin are taken for mistakes."""
ROUND_OFF = 1e-5
"""Distance of values, relative to their range, that are the same."""
BEYOND = 0.01
"""Distance in radians by which round-off leads out of the circle."""
EDGE = math.pi / 4
"""Width in radians of the parts of the circle beside its ends."""
SPACING = 0.01
"""Error of the angles of a clock, relative to their distance."""
FEW = 0.005
"""Fraction of the values beside an end of the circle below which those outside are mistakes."""
UNEVEN = 0.05
"""Smallest ratio of the numbers of values beside both ends of a circle."""
SHARE = 0.005
"""Smallest fraction of the values beside each end of a circle that a few values have left."""
HINT = 1.0
"""Range in radians from which a sentence about angles is worth reading."""
FULL = 0.98
"""Fraction of a circle that the values extend over at least."""

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
        self.minimum = min(self.minimum, float(chunk.min()))
        self.maximum = max(self.maximum, float(chunk.max()))
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


@dataclass(frozen=True)
class Form:
    """Conversion of the values in a file to values of the sites.

    Args:
        site_kind: Kind of site, as in `System`.
        levels: Values of a discrete site, as in `System`.
        dtype: Compact type of the site values.
        description: Description for the report.
        convert: Function from values in the file to site values.
        level_values: Physical value of each level, if it is not the level itself.
        clock: Whether the physical values are angles.
    """

    site_kind: str
    levels: tuple[int, ...]
    dtype: np.dtype
    description: str
    convert: Callable[[np.ndarray], np.ndarray]
    level_values: tuple[float, ...] = ()
    clock: bool = False


def _automatic(values: ValueSummary) -> Form:
    counts = values.counts
    if counts is not None and len(counts) == 2:
        return _spin(values)
    if values.names:
        return _level(values)
    if counts is not None and len(counts) <= MAX_LEVELS_AUTO:
        _refuse_odd_spins(values, counts)
        if values.fraction is None:
            return _level(values)
    _refuse_degrees(values)
    if values.few():
        return _level(values)
    if values.fraction is not None:
        for circle in values.circles:
            if circle.filled() and not circle.outside and (circle.low == 0 or _about_zero(values)):
                return _angle(values)
            if circle.left(values.total) and circle.place is not None:
                low, high = ("0", "2π") if circle.low == 0 else ("−π", "π")
                raise ValueError(
                    f"{values.at(*circle.place)}, and {circle.outside} values in all are outside "
                    f"[{low}, {high}), which the others fill like angles: set values to 'angle' to take "
                    "them modulo 2π, to 'real' if they are no angles, or correct them."
                )
    return _real(values)


def _about_zero(values: ValueSummary) -> bool:
    """Return whether the values extend from −π to π, except for 2 %."""
    return min(-values.minimum, values.maximum) > FULL * math.pi


def _refuse_degrees(values: ValueSummary) -> None:
    """Raise ValueError if the values fill a circle in degrees."""
    for low in (0, -180):
        start, end = values.minimum - low, values.maximum - low
        if -0.5 < start < (1 - FULL) * 360 and FULL * 360 < end < 360.5:
            raise ValueError(
                f"The file {values.path} holds {values.minimum:.4g} to {values.maximum:.4g}, "
                "which look like angles in degrees: set values to 'degrees', or to 'real' or 'level' if "
                "they are no angles."
            )


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
    down, up = sorted(values.counts)
    middle = (down + up) / 2
    share = values.counts[up] / values.total
    renamed = "" if (down, up) == (-1, 1) else f": {values.name(up)} is +1, {values.name(down)} is −1"
    return Form(
        "spin",
        (-1, 1),
        np.dtype(np.int8),
        f"spins ±1{renamed} ({100 * share:.3g} % up)",
        lambda raw: np.where(raw > middle, np.int8(1), np.int8(-1)),
    )


def _level(values: ValueSummary) -> Form:
    if values.counts is None:
        what = "integers" if values.fraction is None else "different values"
        raise ValueError(
            f"The file {values.path} holds more than {MAX_LEVELS} {what} from {values.minimum:g} to "
            f"{values.maximum:g}, too many for levels: set values to 'real', or bin them."
        )
    present = sorted(values.counts)
    if values.fraction is None:
        levels = tuple(int(value) for value in present)
        description = f"{len(levels)} integer levels {_listed(levels)}"
        if values.names:
            description = f"{len(levels)} levels, named {', '.join(map(values.name, levels))}"
        elif len(levels) > MAX_LEVELS_AUTO:
            description += " (set values to 'real' if their order and distance matter)"
        return Form("level", levels, _smallest(levels), description, _unchanged)
    return _clock(values, present) or _scaled(values, present)


def _scaled(values: ValueSummary, present: Sequence[float]) -> Form:
    """Return the form of levels whose physical values are no integers."""
    levels = _integers(present)
    description = (
        f"{len(levels)} values {_listed(present)} that repeat, taken for the levels {_listed(levels)} "
        "with these physical values (set values to 'real' if they are rounded reals)"
    )
    return Form(
        "level", levels, _smallest(levels), description, _nearest(present, levels), tuple(present)
    )


def _integers(present: Sequence[float]) -> tuple[int, ...]:
    """Return integer levels proportional to the values if there are small ones, or else ranks.

    Ranks of values that are symmetric about 0 are symmetric too.
    """
    values = np.array(present)
    step = np.diff(values).min()
    for parts in range(1, 11):
        multiples = values / (step / parts)
        if np.abs(multiples - np.rint(multiples)).max() < 1e-3 and np.abs(multiples).max() < 2**15:
            return tuple(int(number) for number in np.rint(multiples))
    if np.allclose(values, -values[::-1], atol=ROUND_OFF * np.ptp(values)):
        half = len(values) // 2
        return tuple(k for k in range(-half, half + 1) if k or len(values) % 2)
    return tuple(range(len(values)))


def _clock(values: ValueSummary, present: Sequence[float]) -> Form | None:
    """Return the form of equally spaced angles, or None if the values are none."""
    angles = np.array(present)
    reach = np.ptp(angles)
    if reach > TWO_PI * (1 + ROUND_OFF) or angles[0] < -math.pi - BEYOND or angles[-1] > TWO_PI + BEYOND:
        return None
    gaps = np.diff(angles)
    states = round(TWO_PI / gaps[gaps > 1e-3].min()) if (gaps > 1e-3).any() else 0
    if not 3 <= states <= MAX_LEVELS:
        return None
    # Levels start at the angle 0 if it is one of them.
    start = 0.0 if np.abs(_remainder(angles / (TWO_PI / states))).max() < SPACING else angles[0]
    steps = (angles - start) / (TWO_PI / states)
    occupied = np.unique(np.rint(steps).astype(int) % states)
    if np.abs(_remainder(steps)).max() > SPACING or len(occupied) < max(3, 0.75 * states):
        return None
    levels = tuple(occupied.tolist())
    physical = tuple(float(start + TWO_PI / states * level) for level in levels)

    def convert(raw: np.ndarray) -> np.ndarray:
        return np.rint((raw.astype(np.float64) - start) / (TWO_PI / states)).astype(int) % states

    described = f"{len(levels)} angles" if len(levels) == states else f"{len(levels)} of {states} angles"
    description = (
        f"{described} at equal distances on the circle, taken for the levels {_listed(levels)} of a "
        "clock (set values to 'angle' to take them for angles)"
    )
    return Form("level", levels, _smallest(levels), description, convert, physical, clock=True)


def _remainder(numbers: np.ndarray) -> np.ndarray:
    return numbers - np.rint(numbers)


def _nearest(present: Sequence[float], levels: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
    middles = (np.array(present)[1:] + np.array(present)[:-1]) / 2
    table = np.array(levels)
    return lambda raw: table[np.searchsorted(middles, raw)]


def _smallest(levels: Sequence[int]) -> np.dtype:
    kinds = (np.int8, np.int16, np.int32, np.int64)
    low, high = min(levels), max(levels)
    return np.dtype(next(k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max))


def _listed(numbers: Sequence[float]) -> str:
    if len(numbers) <= MAX_LEVELS_AUTO:
        return ", ".join(f"{number:.6g}" for number in numbers)
    return f"{numbers[0]:.6g}…{numbers[-1]:.6g}"


def _angle(values: ValueSummary) -> Form:
    largest = max(-values.minimum, values.maximum)
    if values.outside is not None:
        _refuse_degrees(values)
    wrapped = ""
    if values.outside is not None:
        _, value = values.outside
        wrapped = f", taken modulo 2π (the first outside [0, 2π) is {value:.6g})"
        if 50 < largest <= 360:
            wrapped += "; if they are degrees, set values to 'degrees'"
    described = f"angles from {values.minimum:.6g} to {values.maximum:.6g}{wrapped}"
    return Form("angle", (), np.dtype(np.float32), described + _repeating(values), _wrapped)


def _degrees(values: ValueSummary) -> Form:
    description = f"angles from {values.minimum:.6g}° to {values.maximum:.6g}°, converted to radians"
    return Form(
        "angle",
        (),
        np.dtype(np.float32),
        description + _repeating(values),
        lambda raw: _wrapped(np.deg2rad(raw.astype(np.float64))),
    )


def _repeating(values: ValueSummary) -> str:
    """Return a warning if a density is fitted to few values that repeat."""
    if not values.few():
        return ""
    assert values.counts is not None
    return (
        f"; they are only {len(values.counts)} different values, to which a density can be fitted "
        "without bound: set values to 'level'"
    )


def _wrapped(raw: np.ndarray) -> np.ndarray:
    """Return angles modulo 2π that are below 2π in single precision too."""
    angles = np.mod(raw.astype(np.float64), TWO_PI).astype(np.float32)
    return np.where(angles >= np.float32(TWO_PI), np.float32(0), angles)


def _real(values: ValueSummary) -> Form:
    hint = ""
    if values.fraction is None:
        hint = ", all integers: set values to 'level' if they are levels"
    elif values.maximum - values.minimum > HINT:
        hint = "; angles need values: angle (radians, taken modulo 2π) or values: degrees"
    description = f"reals from {values.minimum:.4g} to {values.maximum:.4g}{hint}"
    if values.fraction is not None:
        description += _repeating(values)
    return Form("real", (), np.dtype(np.float32), description, _unchanged)


def _unchanged(raw: np.ndarray) -> np.ndarray:
    return raw


RECOGNISE = {
    "auto": _automatic,
    "spin": _spin,
    "level": _level,
    "angle": _angle,
    "degrees": _degrees,
    "real": _real,
}
"""Functions that return the `Form` of a summary, or raise ValueError, by the argument `values`."""
