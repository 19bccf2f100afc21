"""Letters and words that stand for spins or levels."""

import re
from collections import Counter
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
        words: Words `(M, sites)`; one column of words of equal length has a character per site.
        columns: Names of the columns, if the file has them.

    Raises:
        ValueError: There are more different words than a site can have levels.
    """
    if words.ndim == 1 or words.shape[1] == 1:
        lines = words.ravel().tolist()
        if len({len(line) for line in lines}) == 1 < len(lines[0]) and not _are_spins(lines):
            return sequences(path, lines, [f"row {row}" for row in range(len(lines))])
    elif foreign := _foreign_columns(words):
        return _apart(path, words, columns, foreign)
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


def _are_spins(words: Sequence[str]) -> bool:
    return any({word.lower() for word in words} <= set(pair) for pair in PAIRS)


def _foreign_columns(words: np.ndarray) -> list[int]:
    """Return the columns that share no word with any other column, if the others share words."""
    columns = [set(column.tolist()) for column in words.T]
    times = Counter(word for column in columns for word in column)
    foreign = [
        number for number, column in enumerate(columns) if all(times[word] == 1 for word in column)
    ]
    return foreign if len(foreign) <= len(columns) - 2 else []


def _apart(
    path: Path, words: np.ndarray, columns: tuple[str, ...], foreign: Sequence[int]
) -> LabelledRows:
    """Return codes of a table in which some columns have words of their own."""
    others = np.delete(np.arange(words.shape[1]), list(foreign))
    rows = codes(path, words[:, others])
    table = np.empty(words.shape, np.int64)
    table[:, others] = rows.array[:]
    for column in foreign:
        table[:, column] = np.unique(words[:, column], return_inverse=True)[1]
    return LabelledRows(table, columns, rows.names, notes=rows.notes, words=tuple(foreign))


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
