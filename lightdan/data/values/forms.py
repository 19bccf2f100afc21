"""Forms of values: spins, levels, angles or reals, recognised from a summary."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lightdan.data.values.questions import (
    refuse_degrees,
    refuse_marks,
    refuse_odd_spins,
    refuse_turns,
    refuse_wrapped,
)
from lightdan.data.values.summary import (
    BEYOND,
    FULL,
    MAX_LEVELS,
    MAX_LEVELS_AUTO,
    ROUND_OFF,
    ValueSummary,
)
from lightdan.lattices.angles import TWO_PI

SPACING = 0.01
"""Error of the angles of a clock, relative to their distance."""
HINT = 1.0
"""Range in radians from which a sentence about angles is worth reading."""


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
    refuse_wrapped(values)
    if counts is not None and len(counts) == 2:
        return _spin(values)
    if values.names:
        return _level(values)
    if counts is not None and len(counts) <= MAX_LEVELS_AUTO:
        refuse_odd_spins(values, counts)
        if values.fraction is None:
            return _clock_in_degrees(values) or _level(values)
    refuse_degrees(values)
    if values.few():
        refuse_marks(values)
        return _clock_in_degrees(values) or _level(values)
    if values.fraction is not None:
        refuse_turns(values)
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
    refuse_marks(values)
    return _real(values)


def _about_zero(values: ValueSummary) -> bool:
    """Return whether the values extend from −π to π, except for 2 %."""
    return min(-values.minimum, values.maximum) > FULL * math.pi


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
            description += f" (set values to 'real' if their order and distance matter{_packed(values)})"
        return Form("level", levels, _smallest(levels), description, _unchanged)
    return _clock(values, present) or _scaled(values, present)


def _scaled(values: ValueSummary, present: Sequence[float]) -> Form:
    """Return the form of levels whose physical values are no integers."""
    levels = _integers(present)
    rounded = "'real' if they are rounded reals"
    if FULL * TWO_PI < np.ptp(present) < TWO_PI + 2 * np.diff(present).max() and len(present) > 8:
        rounded = "'angle' if they are rounded angles, or to 'real' if they are rounded reals"
    description = (
        f"{len(levels)} values {_listed(present)} that repeat, taken for the levels {_listed(levels)} "
        f"with these physical values (set values to {rounded})"
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


def _clock_in_degrees(values: ValueSummary) -> Form | None:
    """Return the form of integers that divide a circle in degrees, or None if the values do not."""
    if values.fraction is not None or values.counts is None:
        return None
    present = sorted(values.counts)
    states = len(present)
    step = 360 // states
    starts = (0, -180, step - 180, -step * (states - 1) // 2)
    if states < 3 or 360 % states or [present[0] + step * k for k in range(states)] != present:
        return None
    if present[0] not in starts:
        return None
    low = present[0]
    levels = tuple(range(states))
    return Form(
        "level",
        levels,
        _smallest(levels),
        f"{states} angles {_listed(present)} in degrees, taken for the levels {_listed(levels)} of a "
        "clock (set values to 'level' if they are no angles)",
        lambda raw: (raw.astype(np.int64) - int(low)) // step,
        tuple(math.radians(value) for value in present),
        clock=True,
    )


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
        refuse_degrees(values)
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
        hint = f", all integers: set values to 'level' if they are levels{_packed(values)}"
    elif values.maximum - values.minimum > HINT:
        hint = "; angles need values: angle (radians, taken modulo 2π) or values: degrees"
    description = f"reals from {values.minimum:.4g} to {values.maximum:.4g}{hint}"
    if values.fraction is not None:
        description += _repeating(values)
    return Form("real", (), np.dtype(np.float32), description, _unchanged)


def _packed(values: ValueSummary) -> str:
    """Return a remedy for bytes, which may hold eight sites each."""
    if values.unsigned and 127 < values.maximum < 256:
        return ", or shape to that of the lattice if each byte holds eight sites"
    return ""


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
