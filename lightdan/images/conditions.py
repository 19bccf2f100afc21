"""Controls of images, like a field: numbers in the names of their files, in a table, or in a list."""

import csv
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightdan.data.formats.readers import open_array
from lightdan.data.recorded.beside import NUMBER, Source, numbers_in_names, with_points
from lightdan.data.recorded.hints import CONTROLS, TEMPERATURES
from lightdan.data.recorded.temperatures import checked_control
from lightdan.images.files import Page

FILES = ("file", "files", "filename", "image", "images", "name", "path")
"""Headings of the column with the names of files, in small letters."""
FIELDS = ("b", "bx", "by", "bz", "hx", "hy", "hz")
"""Names of magnetic fields in names of files, in small letters, besides those of recorded data."""
UNITS = {
    **dict.fromkeys(("mT", "µT", "μT", "uT", "T", "Oe", "kOe", "mOe", "kG", "G"), "B"),
    **dict.fromkeys(("K", "mK"), "kelvin"),
    **dict.fromkeys(("mA", "kA"), "current"),
    **dict.fromkeys(("mV", "kV"), "voltage"),
}
"""Units of numbers in names of files, and the control that they stand for."""


def controls_of(
    pages: Sequence[Page], given: Mapping[str, Sequence[float] | str] | None
) -> NDArray[np.float64] | None:
    """Return the value of each control for each image `(M, controls)`, or None without controls.

    Args:
        pages: Images.
        given: For each control a list with a number for each image or file; a text with ``*`` for the
            number in the names of files, as in `numbers_in_names`; or the path of a file with a number
            for each image, or of a table with a column of that name and one of file names. None asks if
            the names of the files seem to hold numbers.

    Raises:
        ValueError: The names seem to hold several values of a control, and none are given; or there is
            no number for an image, or the same one for all.
    """
    files = list(dict.fromkeys(page.file for page in pages))
    if given is None:
        _ask(files)
    if not given:
        return None
    columns = []
    for name, value in given.items():
        if isinstance(value, str) and "*" in value:
            numbers = numbers_in_names(f"the control {name}", value, [Source(str(f)) for f in files])
            values = np.array(numbers)
        elif isinstance(value, str):
            values = _in_file(name, value, pages)
        else:
            values = np.asarray(value, np.float64)
        if values.size == len(files) != len(pages):
            by_file = dict(zip(files, values.ravel().tolist(), strict=True))
            values = np.array([by_file[page.file] for page in pages])
        place = pages[0].file.parent if len(files) > 1 else files[0]
        columns.append(checked_control(name, values, len(pages), str(place), "images"))
    return np.stack(columns, axis=1)


def conditions(values: NDArray[np.float64]) -> list[tuple[tuple[float, ...], NDArray[np.intp]]]:
    """Return the different values of the controls, ascending, and the images with each, from 0."""
    single = values.astype(np.float32)
    _, first, which = np.unique(single, axis=0, return_index=True, return_inverse=True)
    return [
        (tuple(values[at].tolist()), np.flatnonzero(which.ravel() == k)) for k, at in enumerate(first)
    ]


def _in_file(name: str, path: str, pages: Sequence[Page]) -> NDArray[np.float64]:
    """Return the number for each image in a file, or in the lines of a table with names of files."""
    table = Path(path).expanduser()
    if table.suffix.lower() in (".csv", ".tsv", ".txt", ".dat") and table.is_file():
        text = table.read_text(encoding="utf-8-sig")
        heading = text.partition("\n")[0]
        mark = max(",;\t", key=heading.count)
        rows = list(csv.reader(text.splitlines(), delimiter=mark, skipinitialspace=True))
        headings = [word.strip() for word in rows[0]] if rows else []
        column = next((k for k, word in enumerate(headings) if word.lower() in FILES), None)
        if column is not None:
            return _in_table(name, path, headings, rows[1:], column, pages)
    return np.asarray(open_array(path)[...], np.float64)


def _in_table(
    name: str,
    path: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    column: int,
    pages: Sequence[Page],
) -> NDArray[np.float64]:
    if name not in headings:
        listed = ", ".join(repr(word) for k, word in enumerate(headings) if k != column)
        raise ValueError(
            f"The table {path} has no column {name!r}: name the control like one of {listed or 'them'}."
        )
    place = headings.index(name)
    number_of: dict[tuple[str, str], str] = {}
    of_page = headings.index("page") if "page" in headings else None
    for row in filter(None, rows):
        known = len(row) > max(column, place)
        if known:
            page = "" if of_page is None else row[of_page].strip()
            number_of[_key(row[column]), page] = row[place].strip()
    values = []
    for image in pages:
        page = "" if of_page is None else str(image.number + 1)
        text = number_of.get((_key(image.file.name), page))
        try:
            values.append(float(text or ""))
        except ValueError:
            missing = "no line" if text is None else f"no number in the column {name!r}, but {text!r},"
            raise ValueError(
                f"The table {path} has {missing} for the image {image}: add it, or remove the image."
            ) from None
    return np.array(values)


def _key(file: str) -> str:
    """Return the name of a file without folders, equal for equal letters of any encoding."""
    return unicodedata.normalize("NFC", re.split(r"[/\\]", file.strip())[-1])


def _ask(files: Sequence[Path]) -> None:
    """Raise ValueError if all names of files seem to hold numbers that differ."""
    each = [_in_name(file.name) for file in files]
    shared = [key for key in each[0] if all(key in others for others in each)]
    found: dict[str, str] = {}
    for name, text in shared:
        if len({others[name, text] for others in each}) > 1 and name not in found:
            found[name] = text
    if found:
        option = ", ".join(f"{name}: '{text}'" for name, text in found.items())
        raise ValueError(
            f"The names {files[0].name} to {files[-1].name} seem to hold values of "
            f"{' and '.join(found)}, and images of each are a film of their own: set controls to "
            f"{{{option}}} if they do, or to {{}} if not."
        )


def _in_name(name: str) -> dict[tuple[str, str], float]:
    """Return the numbers that seem to be controls in the name of a file, by control and text with ``*``.

    A number that begins with 0 counts images, and one after a small letter without a unit may do so.
    """
    units = "|".join(sorted(UNITS, key=len, reverse=True))
    words = "|".join(sorted((*CONTROLS, *TEMPERATURES, *FIELDS), key=len, reverse=True))
    pattern = rf"(?<![A-Za-z])(?:((?i:{words}))([=_]?))?({NUMBER})\s?({units})?(?![A-Za-z])"
    found = {}
    for word, sign, number, unit in re.findall(pattern, with_points(name)):
        letter = len(word) == 1 and word.islower() and not (unit or sign == "=")
        if letter or re.match(r"[-+]?0\d", number) or not (word or unit):
            continue
        control = "kelvin" if word.lower() in TEMPERATURES else word or UNITS[unit]
        found[control, f"{word}{sign}*{unit}"] = float(number)
    return found
