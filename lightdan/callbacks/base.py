"""What a measurement is: a question put to a trained model, answered with numbers ± errors."""

import json
import math
import os
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightdan.architectures.base import Architecture
from lightdan.progress import progress_bar
from lightdan.running import run_directory
from lightdan.statistics import Estimate
from lightdan.systems.base import System


@dataclass
class Result:
    """The answer of a measurement at one temperature.

    Args:
        estimates: Name → value ± standard error.
        arrays: Name → the numbers behind the figure, kept in ``<name>.npz``.
        figure: One figure.
        reference: Name → exact value, or that of the data with its error, for the table.
        unlisted: Names of estimates that are kept in the file but not shown in the table.
        notes: Sentences that a reader of the numbers must know.
    """

    estimates: dict[str, Estimate]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    figure: Figure | None = None
    reference: Mapping[str, float | Estimate] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


class NotMeasurable(Exception):
    """The system lacks what the measurement needs; the message says what."""


class Ensemble:
    """A trained model, its system and the configurations of both at one temperature.

    Everything is computed when first asked for and kept, so that measurements share it.

    Args:
        model: The architecture.
        system: The system.
        temperature: One of the system's temperatures.
        log_prob: ln p_θ of the test configurations where it is known already.
    """

    def __init__(
        self,
        model: Architecture,
        system: System,
        temperature: float,
        log_prob: Tensor | None = None,
        split: str = "test",
    ) -> None:
        self.model, self.system, self.temperature = model, system, temperature
        self.split = split
        self._samples: dict[tuple[int, int], Samples] = {}
        if log_prob is not None:
            self.log_prob = log_prob.double().cpu().numpy()

    @cached_property
    def configurations(self) -> Tensor:
        """Held-out configurations `(M, *lattice)` on the model's device."""
        return self.system.rows(self.split, self.temperature, self.model.device)

    @cached_property
    def log_prob(self) -> np.ndarray:
        """Ln p_θ of the held-out configurations `(M,)`."""
        return self.evaluate(self.model.log_prob, self.configurations)

    @cached_property
    def energy(self) -> np.ndarray:
        """H of the held-out configurations `(M,)`.

        Raises:
            NotMeasurable: the Hamiltonian is not known.
        """
        return self.energy_of(self.configurations)

    def energy_of(self, configurations: Tensor) -> np.ndarray:
        """H of configurations `(M,)`."""
        if not self.system.has_energy:
            raise NotMeasurable(f"the Hamiltonian of {type(self.system).__name__} is not known")
        return self.system.energy(configurations).double().cpu().numpy()

    def samples(self, num: int, seed: int) -> "Samples":
        """Independent configurations of the model, drawn once for all who ask."""
        if (num, seed) not in self._samples:
            temperature = self.temperature if self.model.temperature_input else None
            with progress_bar("Sampling", num) as advance:
                drawn = self.model.sample(num, seed, temperature, progress=advance)
            self._samples[num, seed] = Samples(self, drawn)
        return self._samples[num, seed]

    @torch.no_grad()
    def evaluate(
        self,
        function: Callable[[Tensor, Tensor], Tensor],
        configurations: Tensor,
        title: str = "Evaluating",
        batch_size: int = 1000,
    ) -> np.ndarray:
        """A function of configurations and temperatures, batch by batch, in double precision."""
        parts = []
        with progress_bar(title, len(configurations)) as advance:
            for part in configurations.split(batch_size):
                temperature = part.new_full((len(part),), self.temperature)
                parts.append(function(part, temperature).double().cpu().numpy())
                advance(len(part))
        return np.concatenate(parts)


@dataclass
class Samples:
    """Independent configurations of the model `(M, *lattice)` with ln p_θ and H, when asked for."""

    ensemble: Ensemble
    configurations: Tensor

    @cached_property
    def log_prob(self) -> np.ndarray:
        """Ln p_θ `(M,)`."""
        return self.ensemble.evaluate(self.ensemble.model.log_prob, self.configurations)

    @cached_property
    def energy(self) -> np.ndarray:
        """H `(M,)`."""
        return self.ensemble.energy_of(self.configurations)


class Measurement(Callback):
    """A question put to a trained model; a subclass implements `measure`.

    It runs after every test, in one process, once for each temperature of the system. The numbers go
    to every logger, to ``<run>/measurements/<name>.json`` with the figure beside it, and into the
    table that ends the run. What a measurement cannot answer for a system is said and left out.

    Args:
        every_n_epochs: Measure on validation data too, after each such number of epochs.
    """

    name: str
    """Of its files and rows."""

    def __init__(self, every_n_epochs: int | None = None) -> None:
        self.every_n_epochs = every_n_epochs

    @abstractmethod
    def measure(self, ensemble: Ensemble) -> Result:
        """The answer at one temperature.

        Raises:
            NotMeasurable: the system lacks what is needed.
        """

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on the test configurations."""
        self._run_all(trainer, pl_module, measurements_of(trainer), "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on the validation configurations, when due."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            epoch = trainer.current_epoch + 1
            due = [
                callback
                for callback in measurements_of(trainer)
                if callback.every_n_epochs and epoch % callback.every_n_epochs == 0
            ]
            self._run_all(trainer, pl_module, due, "validation")

    def _run_all(
        self,
        trainer: Trainer,
        model: LightningModule,
        measurements: "list[Measurement]",
        split: str,
    ) -> None:
        """Run the measurements together, for they share the samples: the first runs them all."""
        system = trainer.datamodule
        if not measurements or measurements[0] is not self or not isinstance(system, System):
            return
        if trainer.is_global_zero:
            assert isinstance(model, Architecture)
            report = Report(trainer, split)
            for temperature in system.temperatures:
                ensemble = Ensemble(
                    model, system, temperature, _known_log_prob(trainer, model, split), split
                )
                for measurement in measurements:
                    report.add(measurement, ensemble)
            report.show()
        trainer.strategy.barrier("measurements")


def measurements_of(trainer: Trainer) -> list[Measurement]:
    """The measurements of a trainer, in their order."""
    return [callback for callback in trainer.callbacks if isinstance(callback, Measurement)]


def _known_log_prob(trainer: Trainer, model: Architecture, split: str) -> Tensor | None:
    system = trainer.datamodule
    if split == "test" and trainer.world_size == 1 and len(system.temperatures) == 1:
        terms = torch.cat(model.test_log_prob)
        return terms if len(terms) == system.num_in("test") else None
    return None


class Report:
    """Files, loggers and table of a round of measurements.

    Args:
        trainer: The trainer.
        split: ``test`` or ``validation``.
    """

    def __init__(self, trainer: Trainer, split: str) -> None:
        self.trainer, self.split = trainer, split
        self.directory = run_directory(trainer) / "measurements"
        self.rows: list[tuple[str, str, Estimate, float | Estimate | None]] = []
        self.notes: list[str] = []

    def add(self, measurement: Measurement, ensemble: Ensemble) -> None:
        """Measure, write and log."""
        try:
            result = measurement.measure(ensemble)
        except NotMeasurable as reason:
            self.notes.append(f"{measurement.name}: not measured, for {reason}.")
            return
        except Exception as error:
            # The other measurements, and the trained model, are not to be lost with this one.
            message = f"{measurement.name}: failed: {type(error).__name__}: {error}"
            warnings.warn(message, stacklevel=2)
            self.notes.append(message)
            return
        several = len(ensemble.system.temperatures) > 1
        title = measurement.name + (f"@T={ensemble.temperature:g}" if several else "")
        self.rows += [
            (title, name, estimate, result.reference.get(name))
            for name, estimate in result.estimates.items()
            if name not in result.unlisted
        ]
        self.notes += [f"{title}: {note}" for note in result.notes]
        self._log(title, result)
        self._write(title, result, ensemble)

    def _write(self, title: str, result: Result, ensemble: Ensemble) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        stem = title if self.split == "test" else f"{title}-epoch{self.trainer.current_epoch}"
        content = {
            "estimates": {
                name: {"value": _finite(estimate.value), "error": _finite(estimate.error)}
                for name, estimate in result.estimates.items()
            },
            "reference": {
                name: _finite(value.value if isinstance(value, Estimate) else value)
                for name, value in result.reference.items()
            },
            "temperature": ensemble.temperature,
            "augment": list(ensemble.model.augment),
            "symmetrize": list(ensemble.model.symmetrize),
            "notes": result.notes,
        }
        write_whole(self.directory / f"{stem}.json", json.dumps(content, indent=2).encode())
        if result.arrays:
            temporary = self.directory / f".{stem}.{os.getpid()}.npz"
            np.savez_compressed(temporary, **result.arrays)  # type: ignore[arg-type]
            os.replace(temporary, self.directory / f"{stem}.npz")
        if result.figure is not None:
            FigureCanvasAgg(result.figure)
            result.figure.savefig(self.directory / f"{stem}.png", dpi=200)

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
        table = Table(title=f"Measured on {self.split} data", title_justify="left")
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
            console.print(f"Numbers and figures: {self.directory}", highlight=False)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


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
