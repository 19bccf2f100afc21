"""Base classes of measurements: questions about a trained model, answered with numbers ± errors."""

import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from lightdan.architectures.base import Architecture
from lightdan.checks import check_integer, check_seed
from lightdan.data.recorded.groups import FEWEST_HELD_OUT, MOST_COMBINATIONS
from lightdan.measurements.curves import along_conditions
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.report import Report, Result, seconds
from lightdan.statistics import Estimate
from lightdan.systems.base import System


class Measurement(Callback, ABC):
    """Question about a trained model; a subclass implements `measure`.

    A measurement runs after every test, in one process, once for each temperature of the system and, if
    controls take few values, for each combination of them.
    Its numbers go to every logger, to ``<run>/measurements/<name>.json`` with the figure beside it, and
    into the table that ends the run. If it does not apply to a system, it is skipped and the reason is
    printed.

    Args:
        every_n_epochs: Number of epochs between measurements on validation data; by default none.
    """

    name: str
    """Name in tables and of files."""
    takes_weights: ClassVar[bool] = False
    """Whether it uses `Ensemble.weights`; otherwise it is skipped if the rows have weights."""
    takes_controls: ClassVar[bool] = False
    """Whether it uses `Ensemble.controls`; otherwise it is skipped if they differ from row to row."""

    def __init__(self, every_n_epochs: int | None = None) -> None:
        if every_n_epochs is not None:
            check_integer("every_n_epochs", every_n_epochs)
        self.every_n_epochs = every_n_epochs
        self._start = (0.0, 0)
        self._training = ""

    @abstractmethod
    def measure(self, ensemble: Ensemble) -> Result:
        """Measure at one temperature.

        Raises:
            NotMeasurable: The system lacks what the measurement needs.
        """

    def on_rows(self, ensemble: Ensemble) -> Result:
        """Measure, unless the measurement would ignore weights, or controls that differ.

        Raises:
            NotMeasurable: The rows have weights or different controls and the measurement does not take
                them, or the system lacks what it needs.
        """
        if ensemble.weights is not None and not self.takes_weights:
            raise NotMeasurable(
                f"{type(self).__name__} ignores the weights of the configurations: write every row as "
                "often as it counts, without weights."
            )
        if ensemble.controls is not None and not self.takes_controls:
            names, rows = ensemble.system.control_names, ensemble.controls
            have = f"the control {names[0]} has" if len(names) == 1 else f"{', '.join(names)} have"
            num = len(rows.unique(dim=0))
            few = "use" if num <= MOST_COMBINATIONS else f"round to at most {MOST_COMBINATIONS} with"
            raise NotMeasurable(
                f"{type(self).__name__} takes rows of one Hamiltonian, but {have} {num} different "
                f"values in {len(rows)} rows: {few} {FEWEST_HELD_OUT} held-out rows or more of each, or "
                "draw rows at one with 'lightdan sample'."
            )
        return self.measure(ensemble)

    def compare(
        self, temperatures: Sequence[float], estimates: Sequence[Mapping[str, Estimate]]
    ) -> Result | None:
        """Return a result that needs the estimates at several temperatures; by default None.

        Args:
            temperatures: T in ascending order.
            estimates: Estimates of `measure` at each T.
        """
        return None

    def survey(self, ensembles: Sequence[Ensemble]) -> Result | None:
        """Return a result that needs model and data at several temperatures; by default None.

        Args:
            ensembles: One ensemble for each temperature, all of the same model.
        """
        return None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = (time.monotonic(), trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the duration of the training for the report."""
        start, step = self._start
        resumed = f" from step {step:,} on" if step else ""
        self._training = f"training {seconds(time.monotonic() - start)}{resumed}"

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on the test configurations."""
        self._run_all(trainer, pl_module, measurements_of(trainer), "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on the validation configurations if the epoch asks for it."""
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
        """Run all measurements from the first of them, because they share the samples."""
        system = trainer.datamodule
        if not measurements or measurements[0] is not self or not isinstance(system, System):
            return
        if trainer.is_global_zero:
            assert isinstance(model, Architecture)
            report = Report(trainer, model, split, self._training)
            known = _known_log_prob(trainer, model, split)
            found: Found = defaultdict(list)
            for part in system.parts:
                ensembles = [Ensemble(model, part, t, known, split) for t in part.temperatures]
                for measurement, results in _measure_all(measurements, ensembles, report).items():
                    found[measurement] += results
            for measurement, results in found.items():
                for quantity, result in along_conditions(results):
                    report.keep(f"{measurement.name}-along-{quantity}", result)
            report.show()
        trainer.strategy.barrier("measurements")


class SampledMeasurement(Measurement):
    """Measurement that needs samples of the model; measurements with the same arguments share them.

    Args:
        num_samples: Number of configurations drawn from the model.
        seed: Random seed for sampling.
        every_n_epochs: Number of epochs between measurements on validation data; by default none.
    """

    def __init__(
        self, num_samples: int = 10_000, seed: int = 0, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(every_n_epochs)
        self.num_samples = check_integer("num_samples", num_samples, 2)
        self.seed = check_seed("seed", seed)


def measurements_of(trainer: Trainer) -> list[Measurement]:
    """Return the measurements of a trainer in their order."""
    return [callback for callback in trainer.callbacks if isinstance(callback, Measurement)]


Found = dict[Measurement, list[tuple[Mapping[str, float], Result]]]
"""Results of measurements, with the temperature and the controls of each."""


def _measure_all(
    measurements: Sequence[Measurement], ensembles: Sequence[Ensemble], report: Report
) -> Found:
    """Measure at each of several temperatures, then what needs all of them."""
    estimates: dict[Measurement, dict[float, Mapping[str, Estimate]]] = defaultdict(dict)
    found: Found = defaultdict(list)
    controls = ensembles[0].system.fixed_controls
    for ensemble in ensembles:
        for measurement in measurements:
            measure = partial(measurement.on_rows, ensemble)
            result = report.add(measurement.name, measure, ensemble.temperature, controls)
            if result is not None:
                estimates[measurement][ensemble.temperature] = result.estimates
                found[measurement].append(({"T": ensemble.temperature, **controls}, result))
    for measurement, by_temperature in estimates.items() if len(ensembles) > 1 else ():
        temperatures = sorted(by_temperature)
        compare = partial(measurement.compare, temperatures, [by_temperature[t] for t in temperatures])
        for answer in (compare, partial(measurement.survey, ensembles)):
            report.add(measurement.name, answer, temperatures, controls)
    return found


def _known_log_prob(trainer: Trainer, model: Architecture, split: str) -> Tensor | None:
    """Return ln p_θ of the test configurations if the test has just computed it."""
    system = trainer.datamodule
    alone = len(system.temperatures) == 1 and not system.data.parts
    if split == "test" and trainer.world_size == 1 and alone:
        log_prob = torch.cat(model.test_log_prob)
        return log_prob if len(log_prob) == system.data.num_in("test") else None
    return None
