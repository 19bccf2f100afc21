"""Results of measurements, and where they go: files, loggers and the table that ends a run."""

import itertools
import json
import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lightdan.architectures.base import Architecture
from lightdan.data.files import whole_file, write_text
from lightdan.data.splits import SPLITS
from lightdan.interactions.fit import Undetermined
from lightdan.measurements import table
from lightdan.measurements.ensemble import NotMeasurable
from lightdan.measurements.table import Reference, Row
from lightdan.runs.directories import run_directory
from lightdan.statistics import Bound, Estimate
from lightdan.systems.base import System

TOO_FEW = "too few independent rows"
"""Reason why an estimate has no error, unless a measurement gives another."""


@dataclass
class Result:
    """Estimates of a measurement at one temperature, with their references, figure and notes.

    Args:
        estimates: Name → value ± standard error.
        arrays: Name → numbers behind the figure, saved in ``<name>.npz``.
        figure: One figure.
        reference: Name → exact value, estimate from the data, or bound, shown beside the estimate.
        unlisted: Names of estimates that are in the file but not in tables and figures.
        notes: Sentences that a reader of the numbers must know.
        attachments: File name → text of more files, in the folder ``<name>/``.
        remarks: Name → why an estimate has no error, in a few words that stand beside it in the table.
    """

    estimates: dict[str, Estimate]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    figure: Figure | None = None
    reference: Mapping[str, Reference] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    attachments: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def withhold(self, names: Iterable[str], reason: str | None) -> None:
        """Withhold the errors of estimates that would not cover, which become infinite.

        Args:
            names: Names of the estimates.
            reason: A few words, or None if nothing is wrong.
        """
        for name in names if reason else ():
            self.estimates[name] = Estimate(self.estimates[name].value, math.inf)
            self.remarks[name] = str(reason)

    @property
    def reasons(self) -> dict[str, str]:
        """Why estimates have no error, by name; where no measurement said so, the rows are too few."""
        few = {name: TOO_FEW for name, (_, error) in self.estimates.items() if error == math.inf}
        return few | self.remarks


class Summary:
    """Rows and notes of several results, printed as one table."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.notes: dict[tuple[str, str], list[str]] = {}

    def add(self, name: str, result: Result, label: str = "") -> None:
        """Add a result.

        Args:
            name: Name of the measurement.
            result: Result of the measurement.
            label: Conditions, if there are several.
        """
        reasons = result.reasons
        self.rows += [
            Row(name, label, key, estimate, result.reference.get(key), reasons.get(key, ""))
            for key, estimate in result.estimates.items()
            if key not in result.unlisted
        ]
        for text in result.notes:
            self.note(name, text, label)

    def note(self, name: str, text: str, label: str = "") -> None:
        """Add a note; a note that is the same under several conditions is printed once."""
        self.notes.setdefault((name, text), []).append(label)

    def show(self, heading: str, directory: Path) -> None:
        """Print the table, the notes by measurement and the directory of the files."""
        console = table.terminal()
        if rows := table.worst(self.rows):
            console.print(table.estimates(rows, heading))
        conditions: dict[tuple[str, ...], set[str]] = {}
        for label in {*(row.label for row in self.rows), *itertools.chain(*self.notes.values())}:
            conditions.setdefault(quantities(label), set()).add(label)
        names = list(dict.fromkeys(name for name, _ in self.notes))
        for (name, text), at in sorted(self.notes.items(), key=lambda item: names.index(item[0][0])):
            everywhere = not any(at) or conditions[quantities(at[0])] <= {*at}
            separator = "; " if "," in at[0] else ", "
            title = name if everywhere else f"{name} at {separator.join(at)}"
            console.print(f"• {title}: {text}", markup=False, highlight=False)
        if self.rows:
            console.print(f"Numbers and figures: {directory}", markup=False, highlight=False)


class Report:
    """Files, loggers and table of a round of measurements.

    Args:
        trainer: Trainer of the model and its system.
        model: Model that is measured.
        split: ``test`` or ``validation``.
        training: Duration of the training as text, if the model was trained in this process.
    """

    def __init__(self, trainer: Trainer, model: Architecture, split: str, training: str = "") -> None:
        self.trainer, self.model, self.split, self.training = trainer, model, split, training
        self.system: System = trainer.datamodule
        self.directory = run_directory(trainer) / "measurements"
        self.summary = Summary()
        self.start = time.monotonic()

    def add(
        self,
        name: str,
        answer: Callable[[], Result | None],
        temperature: float | list[float],
        controls: Mapping[str, float],
    ) -> Result | None:
        """Measure, write and log.

        Args:
            name: Name of the measurement.
            answer: Function that measures.
            temperature: T, or all T of a result that needs several.
            controls: Controls at which it is measured, by name.

        Returns:
            The result, or None if there is none.
        """
        parts = [f"{key}={shortest(value)}" for key, value in controls.items()]
        if len(self.system.temperatures) > 1 and not isinstance(temperature, list):
            parts.insert(0, self.system.label(temperature))
        label = ",".join(parts)
        title = f"{name}@{label}" if label else name
        try:
            result = answer()
        except (NotMeasurable, Undetermined) as reason:
            self.summary.note(name, f"skipped. {reason}", label)
            return None
        except Exception as error:
            # One failure must not lose the other measurements or the trained model.
            message = f"failed: {type(error).__name__}: {error}"
            warnings.warn(f"{title}: {message}", stacklevel=2)
            self.summary.note(name, message, label)
            return None
        if result is None:
            return None
        self.summary.add(name, result, label)
        self.keep(title, result, temperature=temperature, controls=dict(controls))
        return result

    def keep(self, title: str, result: Result, **conditions: Any) -> None:
        """Write and log a result.

        Args:
            title: Name of its files.
            result: Result.
            conditions: Temperature and controls for the file.
        """
        self._log(title, result)
        stem = title if self.split == "test" else f"{title}-epoch{self.trainer.current_epoch}"
        context = {
            **conditions,
            "augment": list(self.model.augment),
            "symmetrize": list(self.model.symmetrize),
            "reference_frame": self.model.reference_frame,
            "doubts": list(self.system.data.doubts),
        }
        write_result(self.directory, stem, result, context)

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

    def facts(self) -> dict[str, str]:
        """Return system, data, model and time in words."""
        system, model = self.system, self.model
        name, sides = type(system).__name__, " × ".join(map(str, system.lattice_shape))
        labels = [system.label(temperature) for temperature in system.temperatures]
        ends = f"{len(labels)} temperatures, {labels[0]} to {labels[-1]}"
        numbers = [system.data.num_in(split) for split in SPLITS]
        worth = [round(system.data.observations_in(split)) for split in SPLITS]
        weighting = ""
        if system.data.has_counts:
            numbers, weighting = worth, f", counts of {system.data.configurations.shape[0]:,} rows"
        elif worth != numbers:
            weighting = f", by their weights worth {sum(worth):,}"
        shares = ", ".join(
            f"{number:,} {use}"
            for number, use in zip(numbers, ("training", "validation", "test"), strict=True)
        )
        parameters = sum(parameter.numel() for parameter in model.parameters())
        measuring = f"measurements {seconds(time.monotonic() - self.start)}"
        return {
            "System": f"{name}, {sides} sites, {system.boundary}, {ends if labels[1:] else labels[0]}",
            **({"Controls": self._controls()} if system.control_names else {}),
            "Data": f"{sum(numbers):,} configurations: {shares}{weighting}",
            "Model": f"{type(model).__name__}, {parameters:,} parameters",
            "Time": ", ".join(filter(None, (self.training, measuring))),
        }

    def _controls(self) -> str:
        """Return the controls and their values in words."""
        data, words = self.system.data, []
        for name, values in zip(self.system.control_names, data.train_controls().T, strict=True):
            low, high = values.min().item(), values.max().item()
            number = f"{len(values.unique())} values of {name}" if data.parts else name
            words.append(f"{number} from {low:g} to {high:g}")
        return ", ".join(words)

    def show(self) -> None:
        """Print system, data, model and time, the headline numbers and the table."""
        console = table.terminal()
        when = "" if self.split == "test" else f" after epoch {self.trainer.current_epoch}"
        console.print(f"Measurements on the {self.split} configurations{when}", style="bold")
        console.print(table.pairs(self.facts()))
        for doubt in self.system.data.doubts:
            console.print(f"Caution: {doubt}", style="bold red", highlight=False, markup=False)
        if block := table.headlines(self.summary.rows):
            console.print(block)
        heading = "Estimates"
        if len(self.system.temperatures) > 1 or self.system.data.parts:
            heading += " where furthest from their reference; those without one are in the files"
        self.summary.show(heading, self.directory)


def shortest(value: float) -> str:
    """Return the shortest text of a number that no other number in single precision has."""
    return str(np.float32(value)).removesuffix(".0")


def quantities(label: str) -> tuple[str, ...]:
    """Return the names of what a label like ``T=1,h=0`` has the values of."""
    return tuple(part.partition("=")[0] for part in label.split(","))


def seconds(duration: float) -> str:
    """Return a duration in words."""
    return f"{duration:,.{0 if duration >= 10 else 1}f} s"


def write_result(directory: Path, stem: str, result: Result, context: Mapping[str, Any]) -> None:
    """Write ``<stem>.json`` with the numbers and their context, ``<stem>.npz`` and ``<stem>.png``.

    ``intervals`` has the 68 % intervals that end at a bound, and ``remarks`` why errors are null.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rows = [Row("", "", *pair, result.reference.get(pair[0])) for pair in result.estimates.items()]
    content = {
        "estimates": {
            name: {"value": _finite(estimate.value), "error": _finite(estimate.error)}
            for name, estimate in result.estimates.items()
        },
        "reference": {
            name: _finite(value.value if isinstance(value, Estimate | Bound) else value)
            for name, value in result.reference.items()
        },
        "reference_kind": {name: _kind(value) for name, value in result.reference.items()},
        "intervals": {row.name: row.interval for row in rows if row.interval},
        "remarks": result.reasons,
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


def _kind(reference: Reference) -> str:
    """Return ``exact``, ``estimate``, ``upper bound`` or ``lower bound``."""
    if isinstance(reference, Bound):
        return "upper bound" if reference.side == "≤" else "lower bound"
    return "estimate" if isinstance(reference, Estimate) else "exact"


def _finite(value: float) -> float | None:
    """Return the number, or None for what JSON cannot hold."""
    return float(value) if math.isfinite(value) else None
