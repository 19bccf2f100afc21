"""What a measurement is: a question put to a trained model, answered with numbers ± errors."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from lightdan.architectures.base import Architecture
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.report import Report, Result
from lightdan.statistics import Estimate
from lightdan.systems.base import System


class Measurement(Callback, ABC):
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

    def compare(
        self, temperatures: Sequence[float], estimates: Sequence[Mapping[str, Estimate]]
    ) -> Result | None:
        """The answer that needs several temperatures, from those at each; none by default.

        Args:
            temperatures: T, ascending.
            estimates: Those of `measure` at each T.
        """
        return None

    def survey(self, ensembles: Sequence[Ensemble]) -> Result | None:
        """The answer that needs model and configurations at several temperatures; none by default.

        Args:
            ensembles: Those of a model that saw several temperatures, at each.
        """
        return None

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
            report = Report(trainer, model, split)
            known = _known_log_prob(trainer, model, split)
            found: dict[Measurement, dict[float, Mapping[str, Estimate]]] = defaultdict(dict)
            several = len(system.temperatures) > 1
            ensembles = [
                Ensemble(model, system, temperature, known, split) for temperature in system.temperatures
            ]
            for ensemble in ensembles:
                temperature = ensemble.temperature
                suffix = f"@{system.label(temperature)}" if several else ""
                for measurement in measurements:
                    title = measurement.name + suffix
                    result = report.add(title, partial(measurement.measure, ensemble), temperature)
                    if result is not None:
                        found[measurement][temperature] = result.estimates
            for measurement, by_temperature in found.items() if several else ():
                temperatures = sorted(by_temperature)
                estimates = [by_temperature[t] for t in temperatures]
                compare = partial(measurement.compare, temperatures, estimates)
                report.add(measurement.name, compare, temperatures)
                report.add(measurement.name, partial(measurement.survey, ensembles), temperatures)
            report.show()
        trainer.strategy.barrier("measurements")


class SampledMeasurement(Measurement):
    """A question for which configurations are drawn from the model, once for all that ask for the same.

    Args:
        num_samples: Configurations drawn from the model.
        seed: Of the drawing.
        every_n_epochs: Measure during training too.
    """

    def __init__(
        self, num_samples: int = 10_000, seed: int = 0, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(every_n_epochs)
        self.num_samples = num_samples
        self.seed = seed


def measurements_of(trainer: Trainer) -> list[Measurement]:
    """The measurements of a trainer, in their order."""
    return [callback for callback in trainer.callbacks if isinstance(callback, Measurement)]


def _known_log_prob(trainer: Trainer, model: Architecture, split: str) -> Tensor | None:
    system = trainer.datamodule
    if split == "test" and trainer.world_size == 1 and len(system.temperatures) == 1:
        terms = torch.cat(model.test_log_prob)
        return terms if len(terms) == system.num_in("test") else None
    return None
