"""The command ``lightdan inspect``: a page about each file of configurations."""

import contextlib
import io
import shlex
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lightdan.cli.commands import check_new
from lightdan.cli.errors import one_sentence
from lightdan.cli.functions import class_arguments
from lightdan.cli.inspection_figure import draw
from lightdan.data.files import whole_file
from lightdan.data.formats.readers import READERS, open_array
from lightdan.data.inspection.conditions import conditions, inspect_samples
from lightdan.data.inspection.inspection import Finding, brief, shown
from lightdan.images import formats as images
from lightdan.systems.recorded import Recorded

CONFIG = "configs/recorded/any.yaml"
FORMATS = (".png", ".pdf", ".svg")
SHOWN = 12
"""Number of first values of a refused file that are shown."""
OTHER_KINDS = {
    "level": "real, if they are amounts",
    "angle": "real, if they have no period",
    "real": "angle, if they have the period 2π",
}
"""Kinds that the values may have instead, by the recognised one."""


def inspect(*files: str, output: str | None = None) -> None:
    """Report what is in files of configurations, and what to set to fit a model to them.

    Write the files first. Further options are those of the system Recorded, such as --shape '[6, 6]',
    --values, --dataset or --boundary; 'lightdan fit --data.help Recorded' lists them.

    Args:
        files: Files of configurations, and options of Recorded.
        output: Figure to be written (.png, .pdf or .svg); several files add their names to it.

    Raises:
        ValueError: There is no file, one cannot be opened, or the output exists already.
    """
    first_option = next((k for k, arg in enumerate(files) if arg.startswith("-")), len(files))
    paths, options = files[:first_option], files[first_option:]
    if not paths:
        raise ValueError("inspect needs a file: pass its path, as in 'lightdan inspect spins.npy'.")
    arguments = class_arguments(Recorded, options, {"path"})
    figures = _figures(paths, output)
    refused = []
    for path in paths:
        try:
            _page(path, arguments, options, figures.get(path))
        except ValueError as error:
            if len(paths) == 1:
                raise
            print(f"{path}: {one_sentence(error)}\n")
            refused.append(path)
    if refused:
        raise ValueError(
            f"{', '.join(refused)} cannot be read as configurations: inspect each by itself, with the "
            "options that the sentences above name."
        )


def _figures(paths: Sequence[str], output: str | None) -> dict[str, Path]:
    """Return the figure of each file.

    Raises:
        ValueError: A figure exists, or its name does not end in a known format.
    """
    if output is None:
        return {}
    target = Path(output)
    if target.suffix not in FORMATS:
        raise ValueError(f"--output {output} ends in no known format: use {', '.join(FORMATS)}.")
    names = dict.fromkeys(paths, target)
    if len(paths) > 1:
        names = {path: target.with_stem(f"{target.stem}-{Path(path).name}") for path in paths}
    for name in names.values():
        check_new(name)
    return names


def _page(path: str, arguments: Mapping[str, Any], options: Sequence[str], figure: Path | None) -> None:
    suffix = Path(path).suffix.lower()
    if suffix in images.FORMATS and suffix not in READERS:
        raise ValueError(f"{path} is an image: use 'lightdan images {path}'.")
    console = Console(highlight=False)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            system = Recorded(path=path, **arguments)
            system.setup()
    except ValueError:
        _show_start(path, arguments["dataset"])
        raise
    short = set(brief(system.findings))
    for line in said.getvalue().splitlines():
        if line not in short:
            print(line)
    for warning in caught:
        console.print(f"  warning: {warning.message}", markup=False)
    if kind := OTHER_KINDS.get(system.site_kind):
        console.print(f"  other kind of values that could be set: {kind}", markup=False)
    findings = inspect_samples(system.data, system.sites, control_names=system.control_names)
    console.print(_table(findings))
    print(_command(path, system, findings, options))
    if figure is not None:
        (condition, samples), *others = conditions(system.data, system.control_names).items()
        title = Path(path).name + (f" at {condition}" if others else "")
        page = draw(samples, system.sites, title)
        with whole_file(figure) as temporary:
            page.savefig(temporary, format=figure.suffix[1:], dpi=150)
            check_new(figure)  # another process may have made it meanwhile
        print(f"  figure: {figure}")


def _show_start(path: str, dataset: str | None) -> None:
    """Print shape and first values of a file that the system refuses, if it can be opened."""
    with contextlib.suppress(ValueError):
        array = open_array(path, dataset)
        first = np.asarray(array[:SHOWN] if array.shape else array[...]).ravel()
        values = ", ".join([*(f"{value:g}" for value in first[:SHOWN]), *["…"] * (len(first) > SHOWN)])
        start = f", first values {values}" if values else ""
        print(f"{path}: shape {tuple(array.shape)}, type {array.dtype}{start}")


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("", "finding", "p", box=box.SIMPLE_HEAD, pad_edge=False)
    for finding in findings:
        p_value = "" if finding.p_value is None else shown(finding.p_value).removeprefix("= ")
        remedy = f"\n→ {finding.option}" if finding.option else ""
        table.add_row(finding.name, escape(finding.sentence + remedy), p_value)
    return table


def _command(path: str, system: Recorded, findings: Sequence[Finding], options: Sequence[str]) -> str:
    """Return the command that fits a model with what was found and what was passed."""
    words = ["lightdan", "fit", "--config", CONFIG, "--data.init_args.path", path]
    for option in options:
        words.append(f"--data.init_args.{option[2:]}" if option.startswith("--") else option)
    for finding in findings:
        name, _, _ = finding.option.partition(" ")
        words += [] if name in _names(words) else shlex.split(finding.option)
    if "--data.init_args.boundary" not in _names(words):
        words += ["--data.init_args.boundary", system.boundary]
    if len(system.temperatures) > 1:
        words += ["--model.init_args.temperature_input", "true"]
    return shlex.join(words)


def _names(words: Sequence[str]) -> set[str]:
    """Return the options among words, also of the form option=value."""
    return {word.partition("=")[0] for word in words}
