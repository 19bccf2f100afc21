"""The command ``lightdan images``: pages about microscope images, and what to set to fit a model."""

import contextlib
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
from lightdan.cli.images_figure import draw
from lightdan.cli.images_numbers import ShownFilm, page_of, table_of_images, unit_of
from lightdan.data.files import whole_file
from lightdan.images.frames import Frame
from lightdan.images.survey import suggest, survey
from lightdan.progress import progress_bar
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
    films = _measure(system)
    settings = _settings(system, films, arguments["site_size"] is not None)
    print(said, end="")
    for film in films:
        Console(highlight=False).print(_table(film))
    folder.mkdir(parents=True)
    with whole_file(folder / "images.csv") as temporary:
        temporary.write_text(table_of_images(films), encoding="utf-8", newline="")
    shown = _shown(films, pages)
    with progress_bar("Drawing", len(shown)) as advance:
        for film, k in shown:
            figure = draw(page_of(film, k, settings))
            with whole_file(folder / f"image-{film.number(k):04d}.png") as temporary:
                figure.savefig(temporary, format="png", dpi=DPI, pil_kwargs={"compress_level": 1})
            advance(1)
    print(f"  {len(shown)} page{'s' * (len(shown) > 1)} and images.csv: {folder}\n")
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


def _measure(system: KerrImages) -> list[ShownFilm]:
    """Return the films with the numbers of all their images."""
    measured = []
    with progress_bar(f"Measuring {system.path}", len(system.textures)) as advance:
        for series in system.films:
            part, found = system.only(series), series.survey
            if len(found.images) < len(series.images):
                bright = max(system.levels)
                found = survey(series.textures, series.sites, series.independence, bright)
            frames = []
            for k, (numbers, film) in enumerate(zip(found.frames, found.films, strict=True)):
                frames.append(Frame.of(part.stack, k + 1, numbers, film))
                advance(1)
            measured.append(ShownFilm(part, found, frames))
    return measured


def _shown(films: Sequence[ShownFilm], pages: str) -> list[tuple[ShownFilm, int]]:
    """Return the films and places of the images that get a page."""
    shown = []
    for film in films:
        number = len(film.frames)
        if pages == "all" or (len(films) == 1 and number <= FEW):
            some = set(range(number))
        else:
            some = {film.found.typical()} if len(films) > 1 else {0, film.found.typical(), number - 1}
        shown += [(film, k) for k in sorted(some)]
    return shown


def _settings(system: KerrImages, films: Sequence[ShownFilm], has_site: bool) -> dict[str, str]:
    """Return options of `KerrImages` and `HalfPlane` for a model of all films.

    Args:
        system: The images.
        films: The films with their numbers.
        has_site: Whether the size of a site was passed.
    """
    steps = system.stack.steps
    known = [frame.wall for film in films for frame in film.frames if math.isfinite(frame.wall)]
    wall = float(np.median(known)) if known else math.nan
    chosen = steps.zoom if has_site else None
    found = [suggest(film.found.together, steps.zoom, wall, chosen) for film in films]
    site, patch, reach = np.max(found, axis=0)
    size = f"{site * system.site / steps.zoom:.3g}"
    settings = {"site_size": size, "patch": f"{patch:.0f}", "reach": f"{reach:.0f}"}
    if system.stack.segmentation is not None:
        return settings
    denoise = steps.denoise if isinstance(steps.denoise, str) else f"{steps.denoise:.3g}"
    threshold = system.threshold if isinstance(system.threshold, str) else f"{system.threshold:g}"
    return {"denoise": denoise, "threshold": threshold} | settings


def _command(path: str, options: Sequence[str], settings: Mapping[str, str]) -> list[str]:
    """Return the command that fits a model with what was found and what was passed."""
    words = ["lightdan", "fit", "--config", CONFIG, "--data.init_args.path", path]
    for option in options:
        words.append(f"--data.init_args.{option[2:]}" if option.startswith("--") else option)
    passed = {word.partition("=")[0] for word in words}
    for name, value in settings.items():
        if f"--data.init_args.{name}" not in passed:
            group = "model" if name == "reach" else "data"
            words += [f"--{group}.init_args.{name}", value]
    return words


def _table(film: ShownFilm) -> Table:
    """Return the table of the numbers of a film."""
    found, unit = film.found, film.system.unit
    at = f"{film.where}; " if film.where else ""
    title = f"{at}whole images; errors from {found.blocks} independent blocks"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for heading in ("", "value", "unit"):
        table.add_column(heading)
    numbers = film.system.numbers(found.together)
    for name, words in NAMES.items():
        if name in numbers:
            table.add_row(words, str(numbers[name]), unit_of(name, unit))
        elif name == "domain_period":
            table.add_row(words, "S(k) has no peak", "")
    return table
