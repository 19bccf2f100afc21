"""Text: tables of numbers or words, lines of characters, and alignments of sequences."""

import codecs
import contextlib
import gzip
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lightdan.data.formats.cells import (
    DECIMAL_COMMA,
    DELIMITERS,
    bit_columns,
    delimiter,
    fields,
    is_number,
    table_of,
)
from lightdan.data.formats.common import read_safely, refuse_name
from lightdan.data.formats.words import PAIRS, sequences
from lightdan.data.memory import check_memory, check_unpacked, most_unpacked
from lightdan.data.rows import LabelledRows, Rows

COMMENTS = ("#", "%")
PERCENT = re.compile(r"^[^#%]*\d\s?%\s*([,;\t]|$|[+-]?\d)")
"""Line with a number in per cent."""
SIGNED = re.compile(r"([+-]\d){2,}")
LEAST_BLOCKS = 3
"""Smallest number of blocks after which a shorter one is taken for incomplete."""
SAMPLE = 65_536
"""Number of bytes that tell the encoding."""
BYTES_PER_CHARACTER = 4
"""Memory for the numbers that are written in short."""
HEAD = 50
"""Number of lines that are searched for the words of the first one."""
WORDS = {word for pair in PAIRS for word in pair}


@dataclass
class Layout:
    """Lines of a text file that hold data.

    Args:
        first: Number of the first line with data (from 1), and its text.
        names: Names of the columns, or none.
        num: Number of lines with data.
        block: Number of lines between two empty lines or comments, if always the same; otherwise 0.
        together: Whether each line holds the characters of all sites without separators.
    """

    first: tuple[int, str]
    names: tuple[str, ...]
    num: int
    block: int
    together: bool


def text(path: Path, dataset: str | None) -> Rows:
    """Read a table with one configuration or one row of a lattice per line.

    Raises:
        ValueError: The file has no numbers, or lines that differ in their number of values.
    """
    refuse_name(path, dataset)
    check_size(path)
    _refuse_binary(path)
    if read_safely(path, lambda: _starts_with_title(path)):
        return fasta(path, dataset)
    _refuse_symbols(path)
    layout = read_safely(path, lambda: _layout(path))
    if layout is None:
        raise ValueError(f"The file {path} holds no line of numbers: write one configuration per line.")
    number, first = layout.first
    if layout.together:
        lines = list(_data(path, number))
        rows = sequences(path, [line for _, line in lines], [f"line {n}" for n, _ in lines])
        return LabelledRows(rows.array, (), rows.names, layout.block, rows.notes)
    table = None
    if not bit_columns([fields(line) for _, line in itertools.islice(_data(path, number), HEAD)]):
        with contextlib.suppress(ValueError):
            table = np.loadtxt(
                path,
                delimiter=delimiter(first),
                skiprows=number - 1,
                ndmin=2,
                encoding=encoding(path),
                comments=COMMENTS,
            )
    if table is None:
        found = table_of(path, list(_data(path, number)), layout.names)
        # Consecutive lines may make one configuration.
        block = layout.block * found.shape[0] // layout.num
        return replace(found, block=block if block > 1 else 0)
    # pandas numbers the columns if they have no names.
    columns, names = table.shape[1], layout.names
    numbered = columns > 2 and len(table) > 1 and np.array_equal(table[0], np.arange(columns))
    if numbered and table[1:].max() < columns - 1:
        table, names = table[1:], tuple(map(str, range(columns)))
    return LabelledRows(table, columns=names, block=layout.block)


def fasta(path: Path, dataset: str | None) -> Rows:
    """Read an alignment: titles that begin with ``>``, each before the lines of its sequence."""
    refuse_name(path, dataset)
    check_size(path)

    def read() -> dict[int, list[str]]:
        parts: dict[int, list[str]] = {}
        for line in open_text(path):
            stripped = line.strip()
            if stripped.startswith(">"):
                parts[len(parts) + 1] = []
            elif stripped and parts:
                parts[len(parts)].append("".join(stripped.split()))
        return parts

    parts = read_safely(path, read)
    if not any(parts.values()):
        raise ValueError(f"The file {path} holds no sequence: write a title like '>1' before each.")
    written = ["".join(p) for p in parts.values()]
    # Small letters and dots mark residues and gaps of uncertain alignment.
    lines = [line.upper().replace(".", "-") for line in written]
    rows = sequences(path, lines, [f"sequence {n}" for n in parts])
    if lines == written or rows.names == ():
        return rows
    note = "small letters are read as capitals, and dots as gaps"
    return LabelledRows(rows.array, names=rows.names, notes=(*rows.notes, note))


def check_size(path: Path) -> None:
    """Raise ValueError if the numbers in a text file do not fit into memory."""
    packed = size = path.stat().st_size
    if path.suffix.lower() == ".gz":
        size = read_safely(path, lambda: _unpacked_size(path, most_unpacked(packed)))
        check_unpacked(f"The text in {path}", size, packed, "unpack it with gunzip if you know it")
    check_memory(f"The table in {path}", BYTES_PER_CHARACTER * size, "convert it to .npy")


def _unpacked_size(path: Path, most: int) -> int:
    """Return the size of a compressed text, or a number above `most`."""
    size = 0
    with gzip.open(path) as file:
        while size <= most and (part := file.read(2**20)):
            size += len(part)
    return size


def open_text(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, which may be compressed."""
    code, compressed = encoding(path), path.suffix.lower() == ".gz"
    with gzip.open(path, "rt", encoding=code) if compressed else path.open(encoding=code) as file:
        yield from file


def encoding(path: Path) -> str:
    """Return the encoding of a text file: UTF-8, UTF-16 as of some Windows programs, or Latin 1."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        start = file.read(SAMPLE)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        wide = start.decode("utf-16", errors="ignore")
        if sum(map(str.isascii, wide)) > 0.5 * len(wide):
            return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        is_text = not any(byte < 9 or 14 <= byte < 32 for byte in start)
        return "latin-1" if is_text else "utf-8"
    return "utf-8-sig"


def _starts_with_title(path: Path) -> bool:
    return next((line for line in open_text(path) if line.strip()), "").startswith(">")


def _layout(path: Path) -> Layout | None:
    """Return where the data are, or None if there are none."""
    head = list(itertools.islice(_written(open_text(path)), HEAD))
    if not head:
        return None
    named = bool(fields(head[0][1])) and _is_header(head)
    if len(head) < 1 + named:
        return None
    number, first = head[named]
    num, run, runs, width = 0, 0, set(), len(first)
    together, digits, zero = len(fields(first)) == 1 and width > 1, True, False
    for line in itertools.islice(open_text(path), number - 1, None):
        data = _without_comment(line)
        if "\0" in data:
            raise ValueError("it holds binary numbers, which np.fromfile can read")
        if data:
            num, run = num + 1, run + 1
            if together:
                together = len(data) == width and not data.isspace() and " " not in data
                digits = digits and data.isdecimal()
                zero = zero or (data[0] == "0")
        elif run:
            runs.add(run)
            run = 0
    if run and (len(runs) != 1 or run >= min(runs) or num < LEAST_BLOCKS * min(runs)):
        runs.add(run)  # else the last lattice is incomplete
    block = runs.pop() if len(runs) == 1 and runs != {num} else 0
    if together and SIGNED.fullmatch(first):
        together = True
    elif together and digits:  # otherwise numbers of equal length, one a line
        together = zero or width >= 16 or set(first) <= {"0", "1"}
    elif together:
        together = not is_number(first) and first.lower() not in WORDS and not DELIMITERS.search(first)
    names = tuple(fields(head[0][1])) if named else ()
    width = len(fields(first))
    if len(names) == width - 1:  # R names no column of row names, or the lines of data end with a mark
        names = (*names, "") if fields(first)[-1] == "" else ("", *names)
    names = names if len(names) == width else ()
    return Layout((number, first), names, num, block if block > 1 else 0, together)


def _refuse_binary(path: Path) -> None:
    """Raise ValueError if the bytes of a file are no text."""
    if read_safely(path, lambda: encoding(path)) == "utf-8":
        raise ValueError(
            f"The file {path} holds binary numbers, not text: read it with np.fromfile and save it with "
            "np.save."
        )


def _refuse_symbols(path: Path) -> None:
    """Raise ValueError if a character that begins a comment is part of the data."""
    lines = read_safely(path, lambda: [*itertools.islice(open_text(path), HEAD)])
    lines = [line.strip() for line in lines if line.strip()]
    if any(PERCENT.search(line) for line in lines):
        raise ValueError(
            f"The file {path} has % after numbers, where it begins a comment: remove these signs."
        )
    characters = set("".join(lines))
    if len(lines) < 2 or len(lines[0]) < 2 or len({len(line) for line in lines}) > 1:
        return
    if len(characters) <= 4 and characters & {*COMMENTS} and not characters & set(" ,;\t0123456789"):
        raise ValueError(
            f"The file {path} writes sites as # or %, which begin comments: write letters or digits."
        )


def _is_header(head: list[tuple[int, str]]) -> bool:
    """Return whether the first line names the columns: its fields are no numbers, and do not recur."""
    above = fields(head[0][1])
    if above[0] == "" and len(above) > 1 and all(map(is_number, above[1:])):
        return [float(field) for field in above[1:]] == [*range(len(above) - 1)]
    if any(is_number(field) or DECIMAL_COMMA.fullmatch(field) for field in above):
        return False
    if len(head) < 2:
        return not (set(map(str.lower, above)) <= WORDS or (len(above) == 1 and len(above[0]) > 1))
    below = fields(head[1][1])
    if any(is_number(field) or DECIMAL_COMMA.fullmatch(field) for field in below):
        return True
    if len(above) == 1:
        return len(above[0]) != len(below[0]) and above[0].lower() not in WORDS
    words = {field for _, line in head[1:] for field in fields(line)}
    return len(set(above)) == len(above) and not set(above) & words


def _data(path: Path, first: int) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines with data."""
    for number, line in _written(open_text(path)):
        if number >= first:
            yield number, line


def _written(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and text of each line that is not blank, without comments."""
    for number, line in enumerate(lines, start=1):
        if written := _without_comment(line):
            yield number, written


def _without_comment(line: str) -> str:
    for mark in COMMENTS:
        if mark in line:
            line = line.partition(mark)[0]
    return line.strip()
