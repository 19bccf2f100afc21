"""What becomes of the answers: files, loggers and the table."""

import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from lightdan.architectures.base import Architecture
from lightdan.data.files import whole_file, write_text
from lightdan.interactions.fit import Undetermined
from lightdan.measurements.ensemble import NotMeasurable
from lightdan.running import run_directory
from lightdan.statistics import Estimate


@dataclass
class Result:
    """The answer of a measurement at one temperature.

    Args:
        estimates: Name → value ± standard error.
        arrays: Name → the numbers behind the figure, kept in ``<name>.npz``.
        figure: One figure.
        reference: Name → exact value, or that of the data with its error, for the table.
        unlisted: Names of estimates that are kept in the file but not shown in tables and figures.
        notes: Sentences that a reader of the numbers must know.
        attachments: File name → text of more files, in the folder ``<name>/``.
    """

    estimates: dict[str, Estimate]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    figure: Figure | None = None
    reference: Mapping[str, float | Estimate] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    attachments: dict[str, str] = field(default_factory=dict)


class Summary:
    """The table of results, with the notes below it."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, Estimate, float | Estimate | None]] = []
        self.notes: list[str] = []

    def add(self, title: str, result: Result) -> None:
        """Add the rows and notes of a result."""
        self.rows += [
            (title, key, estimate, result.reference.get(key))
            for key, estimate in result.estimates.items()
            if key not in result.unlisted
        ]
        self.notes += [f"{title}: {note}" for note in result.notes]

    def show(self, heading: str, directory: Path) -> None:
        """Print all, and where the files are."""
        table = Table(title=heading, title_justify="left")
        table.add_column("measurement", no_wrap=True)
        table.add_column("estimate", no_wrap=True)
        for column in ("value", "reference", "deviation"):
            table.add_column(column, justify="right", no_wrap=True)
        last = None
        for title, name, estimate, reference in self.rows:
            if last not in (None, title):
                table.add_section()
            shown, deviation = _against(estimate, reference)
            table.add_row(title if title != last else "", name, str(estimate), shown, deviation)
            last = title
        console = Console()
        if not console.is_terminal:
            console = Console(width=110)
        console.print(table)
        for note in self.notes:
            console.print(f"[dim]•[/dim] {note}", highlight=False)
        if self.rows:
            console.print(f"Numbers and figures: {directory}", highlight=False)


class Report:
    """Files, loggers and table of a round of measurements.

    Args:
        trainer: The trainer.
        model: The model that is measured.
        split: ``test`` or ``validation``.
    """

    def __init__(self, trainer: Trainer, model: Architecture, split: str) -> None:
        self.trainer, self.model, self.split = trainer, model, split
        self.directory = run_directory(trainer) / "measurements"
        self.summary = Summary()

    def add(
        self, title: str, answer: Callable[[], Result | None], temperature: float | list[float]
    ) -> Result | None:
        """Measure, write and log; returns the answer, if there is one."""
        try:
            result = answer()
        except (NotMeasurable, Undetermined) as reason:
            self.summary.notes.append(f"{title}: not measured, for {reason}.")
            return None
        except Exception as error:
            # The other measurements, and the trained model, are not to be lost with this one.
            message = f"{title}: failed: {type(error).__name__}: {error}"
            warnings.warn(message, stacklevel=2)
            self.summary.notes.append(message)
            return None
        if result is None:
            return None
        self.summary.add(title, result)
        self._log(title, result)
        stem = title if self.split == "test" else f"{title}-epoch{self.trainer.current_epoch}"
        context = {
            "temperature": temperature,
            "augment": list(self.model.augment),
            "symmetrize": list(self.model.symmetrize),
            "reference_frame": self.model.reference_frame,
        }
        write_result(self.directory, stem, result, context)
        return result

    def _log(self, title: str, result: Result) -> None:
        scalars = {}
        for name, estimate in result.estimates.items():
            scalars[f"{title}/{name}"] = estimate.value
            scalars[f"{title}/{name}_error"] = estimate.error
        for logger in self.trainer.loggers:
            logger.log_metrics(scalars, step=self.trainer.global_step)
            if isinstance(logger, WandbLogger) and result.figure is not None:
                FigureCanvasAgg(result.figure).draw()
                image = np.asarray(result.figure.canvas.buffer_rgba())
                logger.log_image(f"{title}/figure", [image], step=self.trainer.global_step)

    def show(self) -> None:
        """Print the table."""
        self.summary.show(f"Measured on {self.split} data", self.directory)


def write_result(directory: Path, stem: str, result: Result, context: Mapping[str, Any]) -> None:
    """Write ``<stem>.json`` with the numbers and their context, ``.npz`` and ``.png``."""
    directory.mkdir(parents=True, exist_ok=True)
    content = {
        "estimates": {
            name: {"value": _finite(estimate.value), "error": _finite(estimate.error)}
            for name, estimate in result.estimates.items()
        },
        "reference": {
            name: _finite(value.value if isinstance(value, Estimate) else value)
            for name, value in result.reference.items()
        },
        **context,
        "unlisted": sorted(result.unlisted),
        "notes": result.notes,
    }
    write_text(directory / f"{stem}.json", json.dumps(content, indent=2))
    for name, text in result.attachments.items():
        (directory / stem).mkdir(exist_ok=True)
        write_text(directory / stem / name, text)
    if result.arrays:
        with whole_file(directory / f"{stem}.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **result.arrays)  # type: ignore[arg-type]
    if result.figure is not None:
        FigureCanvasAgg(result.figure)
        with whole_file(directory / f"{stem}.png") as temporary:
            result.figure.savefig(temporary, format="png", dpi=200)


def _against(estimate: Estimate, reference: float | Estimate | None) -> tuple[str, str]:
    """A reference, and the deviation from it in standard errors, as the table shows them."""
    if reference is None:
        return "", ""
    value, own_error = reference if isinstance(reference, Estimate) else (reference, 0.0)
    error = math.hypot(estimate.error, own_error)
    shown = str(reference) if isinstance(reference, Estimate) else f"{reference:.6g}"
    if not 0 < error < math.inf:
        return shown, ""
    return shown, f"{(estimate.value - value) / error:+.1f} σ"


def _finite(value: float) -> float | None:
    """The number, or null where JSON has none for it."""
    return float(value) if math.isfinite(value) else None
