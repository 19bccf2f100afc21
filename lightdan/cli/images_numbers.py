"""Numbers of single images on the pages and in the table of ``lightdan images``."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightdan.cli.images_figure import Page
from lightdan.images.film import POWERS
from lightdan.images.frames import Frame
from lightdan.images.survey import Survey
from lightdan.statistics import Estimate
from lightdan.systems.kerr_images import KerrImages

FACTS = {
    "area_fraction": "area fraction, bright",
    "domain_period": "domain period",
    "correlation_length": "correlation length",
    "width_bright": "width, bright",
    "width_dark": "width, dark",
    "density": "density of domains",
    "diameter": "their diameter",
    "psi6": "their |ψ₆|",
}
"""Numbers on the page of an image, and their short names."""
COLUMNS = ("area_fraction", "domain_period", "correlation_length", "density", "psi6")
"""Numbers in the table of images."""


@dataclass(frozen=True)
class ShownFilm:
    """A film under equal conditions, measured in all its images.

    Args:
        system: The film as a system, with its images only.
        found: Numbers of the film.
        frames: Its images.
    """

    system: KerrImages
    found: Survey
    frames: list[Frame]

    @property
    def where(self) -> str:
        """Values of the controls in words, empty without controls."""
        names, values = self.system.control_names, self.system.series.controls
        return ", ".join(f"{name} = {value:g}" for name, value in zip(names, values, strict=True))

    def number(self, k: int) -> int:
        """Return the number of an image among all images, from 1, given its place in the film."""
        return int(self.system.series.images[k]) + 1


def unit_of(name: str, unit: str) -> str:
    """Return the unit of a number of a film, given that of lengths."""
    return {0: "", 1: unit, -1: f"1/{unit}", -2: f"1/{unit}²"}[POWERS.get(name, 0)]


def table_of_images(films: Sequence[ShownFilm]) -> str:
    """Return the table of images, as comma-separated values with units."""
    system = films[0].system
    header = ["image", "file", "page", *system.control_names]
    header += ["texture", "drift down [px]", "drift right [px]"]
    if system.stack.segmentation is None:
        header += ["signal to noise", "threshold", "separation", "separation error"]
        header += [f"wall 10-90 % [{system.unit}]"]
    header += ["domains"]
    for name in COLUMNS:
        unit = unit_of(name, system.unit)
        header += [f"{name} [{unit}]" if unit else name, f"{name} error"]
    rows = sorted(row for film in films for row in _rows(film))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue()


def _rows(film: ShownFilm) -> list[list[Any]]:
    """Return the lines of the table for a film, with the numbers of the images first."""
    system, stack = film.system, film.system.stack
    repeats, pixel = system.series.independence.repeats, system.site / stack.steps.zoom
    shifts = np.insert(repeats.drifts * stack.steps.zoom, 0, math.nan, axis=0)
    rows = []
    for k, (frame, shift) in enumerate(zip(film.frames, shifts, strict=True)):
        row: list[Any] = [film.number(k), frame.page.file, frame.page.number + 1]
        row += [*system.series.controls, repeats.copies[k] + 1, *shift]
        if stack.segmentation is None:
            row += [frame.ratio, stack.thresholds[-1], *frame.separation, frame.wall * pixel]
        row += [frame.numbers.domains]
        numbers = system.numbers(frame.numbers)
        for name in COLUMNS:
            row += numbers.get(name, (math.nan, math.nan))
        rows.append(row)
    return rows


def _cell(value: Any) -> str:
    """Return a value as text; a number that is not known is empty."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.6g}" if math.isfinite(value) else ""


def page_of(film: ShownFilm, k: int, settings: Mapping[str, str]) -> Page:
    """Return the page of an image.

    Args:
        film: The film.
        k: Place of the image in the film.
        settings: Suggested options.
    """
    system, frame, stack = film.system, film.frames[k], film.system.stack
    numbers = system.numbers(frame.numbers)
    suggested = ", ".join(f"{name} {value}" for name, value in settings.items())
    marked = [] if frame.segmented else ["threshold"]
    marked += ["domain period"] if "domain_period" in numbers else []
    lines = f"red lines: {' and '.join(marked)}; " if marked else ""
    rows, columns = stack.masks.sites(frame.page).shape
    return Page(
        stack,
        frame,
        system.textures[k, :rows, :columns],
        system.series.division.role_of_sites(k)[:rows, :columns],
        system.site,
        system.unit,
        _facts(film, k),
        f"{lines}errors from {len(frame.film.tiles)} tiles; suggested: {suggested} (site_size in "
        f"{system.unit})",
    )


def _facts(film: ShownFilm, k: int) -> dict[str, str]:
    """Return the numbers of an image by their names."""
    system, frame = film.system, film.frames[k]
    unit, pixel = system.unit, system.site / system.stack.steps.zoom
    number, others = film.number(k), len(film.frames)
    facts = {"image": f"{number}, one of {others}" if others > 1 else f"{number}"}
    for name, value in zip(system.control_names, system.series.controls, strict=True):
        facts[name] = f"{value:g}"
    if math.isfinite(frame.ratio):
        facts["signal to noise of a pixel"] = f"{frame.ratio:.2g}"
    if math.isfinite(frame.wall):
        facts["wall, 10–90 %"] = f"{frame.wall * pixel:.3g} {unit}"
    numbers = system.numbers(frame.numbers)
    for name, words in FACTS.items():
        if name in numbers:
            facts[words] = f"{numbers[name]} {unit_of(name, unit)}".rstrip()
            if name == "domain_period" and unit != "px":
                in_pixels = Estimate(*(x / pixel for x in numbers[name]))
                facts["domain period in pixels"] = f"{in_pixels} px"
        elif name == "domain_period":
            facts[words] = "S(k) has no peak"
    facts["domains of the rarer phase"] = str(frame.numbers.domains)
    return facts
