"""Values that have two meanings or look like mistakes, refused with the remedy."""

import math

import numpy as np

from lightdan.data.values.summary import FULL, MAX_LEVELS_AUTO, ValueSummary
from lightdan.lattices.angles import TWO_PI

RARE = 0.01
"""Fraction of sites below which values other than those of a spin are taken for mistakes."""
TURN = 0.004
"""Distance from the ends of a number of turns, relative to it, within which values end there."""
WRAPPED = (2**8 - 1, 2**16 - 1, 2**32 - 1)
"""The number −1 written without a sign."""
FAR = 5.0
"""Smallest ratio of the mark of a missing value to all other values."""


def refuse_degrees(values: ValueSummary) -> None:
    """Raise ValueError if the values fill a circle in degrees."""
    for low in (0, -180):
        start, end = values.minimum - low, values.maximum - low
        if -0.5 < start < (1 - FULL) * 360 and FULL * 360 < end < 360.5:
            raise ValueError(
                f"The file {values.path} holds {values.minimum:.4g} to {values.maximum:.4g}, "
                "which look like angles in degrees: set values to 'degrees', or to 'real' or 'level' if "
                "they are no angles."
            )


def refuse_odd_spins(values: ValueSummary, counts: dict[float, int]) -> None:
    """Raise ValueError if the values look like spins with a few mistakes among them."""
    for pair in ((-1, 1), (0, 1)):
        if set(pair) <= counts.keys():
            others = [value for value in counts if value not in pair]
            steps = set(np.diff(sorted(counts)))
            rare = sum(counts[value] for value in others) < RARE * values.total
            even = len(steps) == 1 or {-value for value in counts} == set(counts)
            if rare or (pair == (-1, 1) and not even and values.fraction is None):
                odd = min(others, key=lambda value: values.first[value])
                raise ValueError(
                    f"{values.at(values.first[odd], odd)} among spins {pair[0]} and {pair[1]}: correct "
                    "it, or set values to another kind if it is intended."
                )


def refuse_turns(values: ValueSummary) -> None:
    """Raise ValueError if the values end where one half or two turns of a circle do."""
    ends = {
        "half a turn": [(0, math.pi), (-math.pi / 2, math.pi / 2), (0, 180), (-90, 90)],
        "two turns": [(-TWO_PI, TWO_PI), (0, 2 * TWO_PI), (-360, 360), (0, 720)],
    }
    for what, pairs in ends.items():
        for low, high in pairs:
            margin = TURN * (high - low)
            if abs(values.minimum - low) < margin and abs(values.maximum - high) < margin:
                kind = "angle" if high < 5 * math.pi else "degrees"
                remedy = f"set values to '{kind}'"
                if what == "half a turn":
                    remedy += ", doubled first if opposite directions are the same"
                raise ValueError(
                    f"The file {values.path} holds {values.minimum:.4g} to {values.maximum:.4g}, like "
                    f"angles over {what}: {remedy}, or to 'real' if they are no angles."
                )


def refuse_wrapped(values: ValueSummary) -> None:
    """Raise ValueError if −1 was written without a sign."""
    counts = values.counts
    if not values.unsigned or counts is None or values.maximum not in WRAPPED:
        return
    positive = [value for value in counts if value <= MAX_LEVELS_AUTO]
    negative = [value for value in counts if value >= values.maximum - MAX_LEVELS_AUTO]
    if 1 in positive and len(positive) + len(negative) == len(counts):
        raise ValueError(
            f"The file {values.path} holds {values.maximum:g} beside 1, like −1 without a sign: write "
            "signed integers, or set values to 'level' if it is none."
        )


def refuse_marks(values: ValueSummary) -> None:
    """Raise ValueError if a number like −999 among reals seems to stand for a missing value."""
    if values.fraction is not None and values.mark is not None:
        place, value = values.mark
        if abs(value) > FAR * values.largest_but_marks:
            raise ValueError(
                f"{values.at(place, value)}, far from all others, like the mark of a missing value: "
                "remove those rows, or set values to 'real' if it is a value."
            )
