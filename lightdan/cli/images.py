"""The command ``lightdan images``: pages about microscope images, and what to set to fit a model."""

import contextlib
import csv
import io
import math
import shlex
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from lightdan.cli.commands import check_new
from lightdan.cli.functions import class_arguments
from lightdan.cli.images_figure import Page, draw
from lightdan.data.files import whole_file
from lightdan.images.film import POWERS
from lightdan.images.frames import Frame
from lightdan.images.survey import Survey, suggest, survey
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate
from lightdan.systems.kerr_images import KerrImages

CONFIG = "configs/kerr/images.yaml"
NAMES = {
    "area_fraction": "area fraction of the bright phase",
    "domain_period": "domain period, from the peak of S(k)",
    "correlation_length": "correlation length, C(r)/C(0) = 1/e",
    "width_bright": "width of bright domains",
    "width_dark": "width of dark domains",
    "chord_bright": "mean chord of the bright phase",
    "chord_dark": "mean chord of the dark phase",
    "wall_length": "walls per area",
    "euler_number": "Euler number of the bright phase per area",
    "density": "domains of the rarer phase per area",
    "diameter": "diameter of these domains",
    "psi6": "hexatic order |ψ₆| of these domains",
}
"""Numbers of a film in the order in which they are shown, and what they are."""
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
DPI = 200
"""Dots per inch of a page, with which an image has about one per pixel."""
FEW = 3
"""Number of images up to which all get a page."""


def images(*path: str, output: str | None = None, pages: Literal["some", "all"] = "some") -> None:
    """Show microscope images and the numbers of their films, and what to set to fit a model to them.

    Write the path first: a folder, a pattern in quotes or a file. Further options are those of
    KerrImages, such as --site_size, --denoise, --masks or --threshold; 'lightdan fit --data.help
    KerrImages' lists them. The first, the last and a typical image get a page, and all are in a table.

    Args:
        path: Folder, pattern or file of the images, and options of KerrImages.
        output: New folder for pages and table; by default runs/images-NAME/version_N.
        pages: Whether some or all images get a page.

    Raises:
        ValueError: There is no path, KerrImages refuses the images, or the output exists already.
    """
    first_option = next((k for k, arg in enumerate(path) if arg.startswith("-")), len(path))
    names, options = path[:first_option], path[first_option:]
    if len(names) != 1:
        raise ValueError(
            f"images needs one folder, pattern or file, not {len(names)}: use quotes, as in "
            "'lightdan images \"films/*.tif\"'."
        )
    arguments = class_arguments(KerrImages, options, {"path"})
    folder = _folder(names[0], output)
    system, said = _read(names[0], arguments)
    found, frames = _measure(system)
    known = [frame.wall for frame in frames if math.isfinite(frame.wall)]
    wall = float(np.median(known)) if known else math.nan
    site, patch = suggest(found.together, system.stack.steps.zoom, wall)
    settings = _settings(system, site, patch)
    print(said, end="")
    Console(highlight=False).print(_table(system, found))
    folder.mkdir(parents=True)
    with whole_file(folder / "images.csv") as temporary:
        temporary.write_text(_rows(system, frames), encoding="utf-8", newline="")
    number = len(frames)
    some = range(number) if pages == "all" or number <= FEW else {0, found.typical(), number - 1}
    with progress_bar("Drawing", len(some)) as advance:
        for k in sorted(some):
            figure = draw(_page(system, found, frames[k], settings))
            with whole_file(folder / f"image-{k + 1:04d}.png") as temporary:
                figure.savefig(temporary, format="png", dpi=DPI)
            advance(1)
    print(f"  {len(some)} page{'s' * (len(some) > 1)} and images.csv: {folder}\n")
    print(shlex.join(_command(names[0], options, settings)))


def _folder(path: str, output: str | None) -> Path:
    """Return the folder to be written.

    Raises:
        ValueError: It exists already, or cannot be written.
    """
    if output is not None:
        check_new(Path(output))
        return Path(output)
    parent = Path("runs") / f"images-{Path(path).stem.replace('*', '') or 'film'}"
    number = 0
    while (parent / f"version_{number}").exists():
        number += 1
    return parent / f"version_{number}"


def _read(path: str, arguments: Mapping[str, Any]) -> tuple[KerrImages, str]:
    """Return the images, and what `KerrImages` reports and warns of."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        system = KerrImages(path=path, **arguments)
        system.setup()
    said.writelines(f"  warning: {warning.message}\n" for warning in caught)
    return system, said.getvalue()


def _measure(system: KerrImages) -> tuple[Survey, list[Frame]]:
    stack, found, number = system.stack, system.survey, len(system.textures)
    with progress_bar(f"Measuring {system.path}", number) as advance:
        if len(found.images) < number:
            bright = max(system.levels)
            found = survey(system.textures, stack.sites, system.independence, bright)
        frames = []
        for k, numbers in enumerate(found.frames):
            frames.append(Frame.of(stack, k + 1, numbers, found.film.labels))
            advance(1)
    return found, frames


def _settings(system: KerrImages, site: float, patch: int) -> dict[str, str]:
    """Return options of `KerrImages` for a model, site in pixels."""
    steps = system.stack.steps
    denoise = steps.denoise if isinstance(steps.denoise, str) else f"{steps.denoise:.3g}"
    threshold = system.threshold if isinstance(system.threshold, str) else f"{system.threshold:g}"
    side = f"{site * system.site / steps.zoom:.3g}"
    return {"denoise": denoise, "threshold": threshold, "site_size": side, "patch": str(patch)}


def _command(path: str, options: Sequence[str], settings: Mapping[str, str]) -> list[str]:
    """Return the command that fits a model with what was found and what was passed."""
    words = ["lightdan", "fit", "--config", CONFIG, "--data.init_args.path", path]
    for option in options:
        words.append(f"--data.init_args.{option[2:]}" if option.startswith("--") else option)
    passed = {word.partition("=")[0] for word in words}
    for name, value in settings.items():
        if f"--data.init_args.{name}" not in passed:
            words += [f"--data.init_args.{name}", value]
    return words


def unit_of(name: str, unit: str) -> str:
    """Return the unit of a number of a film, given that of lengths."""
    return {0: "", 1: unit, -1: f"1/{unit}", -2: f"1/{unit}²"}[POWERS.get(name, 0)]


def _table(system: KerrImages, found: Survey) -> Table:
    """Return the table of the numbers of the film."""
    title = f"whole images; errors from {found.blocks} independent blocks"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for heading in ("", "value", "unit"):
        table.add_column(heading)
    numbers = system.numbers(found.together)
    for name, words in NAMES.items():
        if name in numbers:
            table.add_row(words, str(numbers[name]), unit_of(name, system.unit))
        elif name == "domain_period":
            table.add_row(words, "S(k) has no peak", "")
    return table


def _rows(system: KerrImages, frames: Sequence[Frame]) -> str:
    """Return the table of images, as comma-separated values with units."""
    repeats = system.independence.repeats
    pixel = system.site / system.stack.steps.zoom
    header = ["image", "file", "page", "texture", "drift down [px]", "drift right [px]"]
    header += ["signal to noise", "threshold", "separation", "separation error"]
    header += [f"wall 10-90 % [{system.unit}]", "domains"]
    for name in COLUMNS:
        unit = unit_of(name, system.unit)
        header += [f"{name} [{unit}]" if unit else name, f"{name} error"]
    shifts = np.insert(repeats.drifts * system.stack.steps.zoom, 0, math.nan, axis=0)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    for frame, shift in zip(frames, shifts, strict=True):
        page, phases = frame.page, frame.phases
        row: list[Any] = [frame.number, page.file, page.number + 1]
        row += [repeats.copies[frame.number - 1] + 1, *shift, frame.ratio, system.stack.thresholds[-1]]
        row += [phases.separation, phases.separation_error, frame.wall * pixel, frame.numbers.domains]
        numbers = system.numbers(frame.numbers)
        for name in COLUMNS:
            row += numbers.get(name, (math.nan, math.nan))
        writer.writerow([_cell(value) for value in row])
    return text.getvalue()


def _cell(value: Any) -> str:
    """Return a value as text; a number that is not known is empty."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.6g}" if math.isfinite(value) else ""


def _page(system: KerrImages, found: Survey, frame: Frame, settings: Mapping[str, str]) -> Page:
    stack, unit = system.stack, system.unit
    pixel = system.site / stack.steps.zoom
    facts = {
        "image": f"{frame.number} of {len(found.frames)}",
        "signal to noise of a pixel": f"{frame.ratio:.2g}"
        if math.isfinite(frame.ratio)
        else "not known",
        "wall, 10–90 %": f"{frame.wall * pixel:.3g} {unit}" if math.isfinite(frame.wall) else "",
    }
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
    suggested = ", ".join(f"{name} {value}" for name, value in settings.items())
    lines = "threshold and domain period" if "domain_period" in numbers else "threshold"
    return Page(
        stack,
        found.film,
        frame,
        system.textures[frame.number - 1],
        system.division.role_of_sites(frame.number - 1),
        system.site,
        unit,
        facts,
        f"red lines: {lines}; errors from {len(found.film.tiles)} tiles; "
        f"suggested: {suggested} (site_size in {unit})",
    )
