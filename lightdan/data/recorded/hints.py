"""Temperatures and controls that files seem to hold, in names, arrays or attributes."""

import math
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from lightdan.data.formats.readers import arrays_in, open_array
from lightdan.data.recorded.beside import HDF5, NUMBER, Source, with_points

TEMPERATURES = ("t", "temp", "temps", "temperature", "temperatures")
INVERSE = ("beta", "betas", "β", "inverse_temperature", "inverse_temperatures")
CONTROLS = ("h", "field", "fields", "mu", "μ", "chemical_potential", "pressure", "rate", "rates")
KINDS = {
    **dict.fromkeys(TEMPERATURES, "temperatures"),
    **dict.fromkeys(INVERSE, "inverse temperatures"),
    **dict.fromkeys(CONTROLS, "controls"),
}
"""Names of numbers that belong to rows, in small letters, and what they are."""


class Hint(NamedTuple):
    """Numbers under a known name.

    Args:
        name: Name in the file.
        place: Array or attribute with the numbers; empty if the names of the files have them.
        option: Text by which an option takes them.
        numbers: Numbers, from one array of configurations after the other.
    """

    name: str
    place: str
    option: str
    numbers: tuple[float, ...]

    @property
    def kind(self) -> str:
        """Kind of the numbers."""
        return KINDS[self.name.rpartition("/")[2].lower()]

    @property
    def temperatures(self) -> list[float]:
        """The numbers, or their inverse, as temperatures."""
        inverse = self.kind == "inverse temperatures"
        if not inverse:
            return [*self.numbers]
        return [1 / number if number else math.inf for number in self.numbers]


def check_hints(
    sources: Sequence[Source],
    lengths: Sequence[int],
    temperature: object,
    controls: object,
    used: Collection[str] = (),
) -> list[str]:
    """Check that no temperatures and controls are ignored.

    Args:
        sources: Arrays of configurations.
        lengths: Length of the first axis of each.
        temperature: Option temperature, or None.
        controls: Option controls, or None.
        used: Names of arrays and attributes that other options take.

    Returns:
        Sentences on single temperatures that no option mentions.

    Raises:
        ValueError: There seem to be several temperatures, or several values of a control, which no
            option mentions.
    """
    notes = []
    for hint in sorted(_hints(sources, lengths), key=lambda hint: hint.kind == "controls"):
        given = controls if hint.kind == "controls" else temperature
        if given is not None or hint.option in used:
            continue
        if len(set(hint.numbers)) > 1:
            raise ValueError(_question(sources, hint))
        (number,), (value, *_) = set(hint.numbers), hint.temperatures
        if hint.kind != "controls" and value != 1 and 0 < value < math.inf:
            where = hint.place or "the name"
            notes.append(
                f"temperature: 1, because none is set; {where} says {hint.name} = {number:g}: set "
                f"temperature to {value:.6g} if that is it"
            )
    return notes


def _question(sources: Sequence[Source], hint: Hint) -> str:
    """Return the sentence that asks for an option."""
    name, kind = hint.name.rpartition("/")[2], hint.kind
    if not hint.place:
        names = f"The names {sources[0]} to {sources[-1]} seem to hold"
        if kind == "controls":
            return (
                f"{names} values of {name!r}: set controls to {{{name}: '{hint.option}'}} if they do, "
                "or to {} if not."
            )
        listed = ", ".join(f"{value:.6g}" for value in hint.temperatures)
        return f"{names} {kind}: set temperature to [{listed}] if they do, or to one number."
    file = f"The file {sources[0].path} holds several"
    if kind == "controls":
        return (
            f"{file} values in the {hint.place}: set controls to {{{name}: {hint.option}}} to use them, "
            "or to {} if all rows have the same Hamiltonian."
        )
    use = "set temperature to that name to use them"
    if kind == "inverse temperatures":
        use = "save 1/β as T beside it and set temperature to T to use them"
    return f"{file} {kind} in the {hint.place}: {use}, or set temperature to one number."


def _hints(sources: Sequence[Source], lengths: Sequence[int]) -> Iterator[Hint]:
    """Yield the numbers that all arrays of configurations seem to have."""
    for look in (_in_name, _beside):
        each = [
            {hint.name.lower(): hint for hint in look(source, length, len(sources) == 1)}
            for source, length in zip(sources, lengths, strict=True)
        ]
        for key, hint in each[0].items():
            if all(key in others for others in each):
                yield hint._replace(numbers=sum((others[key].numbers for others in each), ()))


def _in_name(source: Source, _: int, alone: bool) -> Iterator[Hint]:
    """Yield the numbers after known words in the name of a file and of an array."""
    text = str(source)
    if alone:  # folders above a single file say little about it
        text = f"{Path(source.path).stem} {source.dataset or ''}"
    words = "|".join(sorted(map(re.escape, KINDS), key=len, reverse=True))
    pattern = rf"(?i)(?<![a-z])({words})([=_-]?)({NUMBER})"
    for name, sign, number in re.findall(pattern, with_points(text)):
        if float(number) != 0 or name.lower() in CONTROLS:
            yield Hint(name, "", f"{name}{sign}*", (float(number),))


def _beside(source: Source, length: int, alone: bool) -> Iterator[Hint]:
    """Yield the numbers in arrays and attributes with known names that belong to configurations."""
    group = (source.dataset or "").strip("/").rpartition("/")[0]
    for each in arrays_in(source.path):
        folder, _, name = each.rpartition("/")
        kind = KINDS.get(name.lower())
        above = alone or f"{group}/".startswith(f"{folder}/" if folder else "")
        if kind is None or not above or each == (source.dataset or "").strip("/"):
            continue
        other = open_array(source.path, each)
        fits = kind != "controls" or math.prod(other.shape) in (1, length)
        if fits and (numbers := _different(other[...])):
            yield Hint(name, f"array {each!r}", each if alone else name, numbers)
    if source.suffix in HDF5:
        yield from _attributes(source)


def _attributes(source: Source) -> Iterator[Hint]:
    """Yield the numbers in attributes of a dataset, of its groups and of the file."""
    known = arrays_in(source.path)
    with h5py.File(Path(source.path).expanduser()) as file:
        item = file[source.dataset or (known[0] if len(known) == 1 else "/")]
        while True:
            for name, value in item.attrs.items():
                if name.lower() in KINDS and (numbers := _different(value)):
                    yield Hint(name, f"attribute {name!r}", name, numbers)
            if item.name == "/":
                return
            item = item.parent


def _different(values: Any) -> tuple[float, ...]:
    """Return the different finite numbers in an array or an attribute; none if it holds text."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        return ()
    numbers = np.unique(array.astype(np.float64))
    return tuple(numbers[np.isfinite(numbers)].tolist())
