"""Letters and words that stand for spins or levels."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lightdan.data.rows import LabelledRows

MAX_WORDS = 256
"""Largest number of different words."""

PAIRS = (
    ("-", "+"),
    ("−", "+"),
    ("down", "up"),
    ("d", "u"),
    ("dn", "up"),
    ("↓", "↑"),
    ("false", "true"),
    ("f", "t"),
    ("no", "yes"),
    ("off", "on"),
    ("minus", "plus"),
)
"""Words of a spin, down and up."""


def codes(path: Path, words: np.ndarray, columns: tuple[str, ...] = ()) -> LabelledRows:
    """Return ±1 for the words of a spin, and otherwise the levels 0, 1, … in alphabetic order.

    Args:
        path: File, for messages.
        words: Words `(M, sites)`.
        columns: Names of the columns, if the file has them.

    Raises:
        ValueError: There are more different words than a site can have levels.
    """
    names, inverse = np.unique(words, return_inverse=True)
    inverse = inverse.reshape(words.shape)
    lower = [name.lower() for name in names.tolist()]
    for pair in PAIRS:
        if set(lower) <= set(pair) and len(lower) > 1:
            spins = np.array([1 if word == pair[1] else -1 for word in lower], np.int8)
            note = f"{names[0]} is {spins[0]:+d}, {names[-1]} is {spins[-1]:+d}".replace("-1", "−1")
            return LabelledRows(spins[inverse], columns=columns, notes=(f"words: {note}",))
    if len(names) > MAX_WORDS:
        raise ValueError(
            f"The file {path} holds {len(names)} different words like {str(names[0])[:20]!r}, too many "
            f"for levels of a site: write numbers, or at most {MAX_WORDS} different words."
        )
    kind = np.uint8 if len(names) <= 256 else np.int16
    return LabelledRows(inverse.astype(kind), columns=columns, names=tuple(names.tolist()))


def sequences(path: Path, lines: Sequence[str], places: Sequence[str]) -> LabelledRows:
    """Return configurations from lines with one character per site.

    Digits are values, and other characters become spins or levels as by `codes`.

    Args:
        path: File, for messages.
        lines: Lines without blanks.
        places: Place of each line in the file, for messages.

    Raises:
        ValueError: Two lines have different lengths.
    """
    for line, place in zip(lines, places, strict=True):
        if len(line) != len(lines[0]):
            raise ValueError(
                f"The file {path} has {len(line)} characters in {place} but {len(lines[0])} in "
                f"{places[0]}: align the sequences, so that each has the same number of sites."
            )
    if all(re.fullmatch(r"([+-]\d)+", line) for line in lines):
        return LabelledRows(np.array([re.findall(r"[+-]\d", line) for line in lines]).astype(np.int8))
    characters = np.array(lines).view("U1").reshape(len(lines), -1)
    if np.isin(characters, list("0123456789")).all():
        return LabelledRows(characters.astype(np.int8))
    return codes(path, characters)
