"""Property tests for measurements."""

import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.loggers import CSVLogger

from lightdan import registry
from lightdan.architectures.base import Architecture
from lightdan.architectures.made import MADE
from lightdan.data.samples import Samples
from lightdan.interactions.fit import Undetermined
from lightdan.measurements.base import Measurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.report import Result
from lightdan.statistics import Bound
from lightdan.systems.base import System
from lightdan.systems.ising import Ising
from lightdan.testing.states import random_configurations, randomize


class _Unknown(System):
    """Random configurations of any kind of site, without Hamiltonian or symmetries."""

    def __init__(self, shape: tuple[int, ...], site: Mapping[str, Any], boundary: str) -> None:
        super().__init__(num_configurations=200, splits=(0.25, 0.25, 0.5))
        self.lattice_shape, self.boundary = shape, boundary
        self.site_kind, self.levels = site["site_kind"], site["levels"]
        rows = random_configurations(dict(site), shape, 200).float()
        self.data = Samples.split(rows, [200], self.temperatures, [0.5], self.splits, self.seed)


KINDS = {"spin": (-1, 1), "level": (0, 1, 3), "angle": (), "real": ()}
LATTICES = {"open chain": ((4,), "open"), "torus": ((3, 3), "periodic"), "window": ((4, 4), "window")}


@contextmanager
def no_failure() -> Iterator[None]:
    """Raise an error if a measurement fails, which a run would only report."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*: failed: ")
        yield


class MeasurementTests:
    """Property tests for measurements: subclass and implement `make`, small enough to run in a second.

    The measurement runs on a network with random weights. Its default system is an Ising model on a
    periodic 3 × 3 lattice at T = 4; override `make_system` for a measurement of other systems.

    Example:
        Tests of your own measurement::

            class TestMine(MeasurementTests):
                def make(self, **kwargs):
                    return Mine(num_samples=500, **kwargs)
    """

    undefined: ClassVar[tuple[str, ...]] = ()
    """Names of estimates that may lack a finite value or a positive error on a system this small."""
    two_temperatures: ClassVar[dict[str, Any]] = {"temperature": [4.0, 5.0]}
    """Arguments with which the system has two temperatures; empty if it can only have one."""

    def make(self, **kwargs: Any) -> Measurement:
        """Return the measurement; pass the arguments on to it."""
        raise NotImplementedError

    def make_system(self, **kwargs: Any) -> System:
        """Return a small system that the measurement applies to; pass the arguments on to it."""
        return Ising(shape=3, **{"temperature": 4.0, **kwargs})

    def make_model(self, system: System, **kwargs: Any) -> Architecture:
        """Return a network with random weights for a system."""
        torch.manual_seed(0)
        return randomize(MADE.for_system(system, width=2, **kwargs), scale=0.1).float()

    @pytest.fixture
    def system(self, tmp_path: Path) -> System:
        """Provide a system of 800 configurations with its own cache."""
        return self._system(tmp_path)

    def _system(self, folder: Path, **kwargs: Any) -> System:
        few = {"num_configurations": 800, "batch_size": 100, "splits": (0.25, 0.25, 0.5)}
        return self.make_system(cache_dir=str(folder / "cache"), **few, **kwargs)

    def _trainer(self, folder: Path, **kwargs: Any) -> Trainer:
        return Trainer(
            logger=CSVLogger(folder, name=None, version="run"),
            callbacks=[self.make(**kwargs)],
            accelerator="cpu",
            max_epochs=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )

    def _test(self, folder: Path, system: System, model: Architecture) -> Path:
        with no_failure():
            self._trainer(folder).test(model, datamodule=system, verbose=False)
        return folder / "run" / "measurements"

    def _measure(self, system: System) -> Result:
        temperature = system.temperatures[0]
        return self.make().measure(Ensemble(self.make_model(system).eval(), system, temperature))

    def _check(
        self, estimates: Mapping[str, Mapping[str, float | None]], remarks: Mapping[str, str]
    ) -> None:
        assert estimates
        for name in estimates.keys() - {*self.undefined}:
            value, error = estimates[name]["value"], estimates[name]["error"]
            assert value is not None, name
            assert math.isfinite(value), name
            if remarks.get(name, ""):
                assert error in (None, math.inf), name
                continue
            assert error is not None, name
            assert 0 < error < math.inf, name

    def test_name_is_unique(self) -> None:
        """Require a name of lower case, digits and underscores that no other measurement has."""
        ours = type(self.make())
        assert re.fullmatch(r"[a-z][a-z0-9_]*", ours.name)
        registry.load_plugins()
        for other in registry.known(Measurement).values():
            related = issubclass(other, ours) or issubclass(ours, other)
            assert related or getattr(other, "name", None) != ours.name, other

    def test_every_estimate_has_an_error(self, system: System) -> None:
        """Require finite values and positive errors, or remarks, and bounds that hold."""
        result = self._measure(system)
        asked = {name: estimate._asdict() for name, estimate in result.estimates.items()}
        self._check(asked, result.remarks)
        assert {*result.reference, *result.unlisted, *result.remarks} <= {*result.estimates}
        for name, reference in result.reference.items():
            if isinstance(reference, Bound):
                excess = result.estimates[name].value - reference.value
                beyond = excess if reference.side == "≤" else -excess
                assert beyond <= 5 * result.estimates[name].error + 1e-9, (name, str(reference))
        assert all(isinstance(array, np.ndarray) for array in result.arrays.values())
        assert all(note.strip() for note in result.notes)

    def test_same_seed_same_numbers(self, system: System) -> None:
        """Require identical numbers from the same seed, whatever ran before."""
        first = self._measure(system)
        np.random.seed(1)
        torch.rand(5)
        again = self._measure(system)
        np.testing.assert_equal(again.estimates, first.estimates)
        np.testing.assert_equal(again.arrays, first.arrays)

    def test_files_are_written(self, system: System, tmp_path: Path) -> None:
        """Require files of numbers, arrays and figure after `Trainer.test`, as far as they exist."""
        result, name = self._measure(system), self.make().name
        folder = self._test(tmp_path, system, self.make_model(system))
        written = json.loads((folder / f"{name}.json").read_text())
        self._check(written["estimates"], written["remarks"])
        assert list(written["estimates"]) == list(result.estimates)
        assert (folder / f"{name}.npz").exists() == bool(result.arrays)
        assert (folder / f"{name}.png").exists() == (result.figure is not None)
        assert {path.name for path in folder.glob(f"{name}/*")} == {*result.attachments}

    def test_measures_during_training(self, system: System, tmp_path: Path) -> None:
        """Require a file from validation configurations with `every_n_epochs`."""
        trainer = self._trainer(tmp_path, every_n_epochs=1)
        with no_failure():
            trainer.fit(self.make_model(system).train(), datamodule=system)
        assert (tmp_path / "run" / "measurements" / f"{self.make().name}-epoch0.json").exists()

    def test_measures_at_several_temperatures(self, tmp_path: Path) -> None:
        """Require a file for each temperature."""
        if not self.two_temperatures:
            pytest.skip("The system can have only one temperature.")
        system = self._system(tmp_path, **self.two_temperatures)
        folder = self._test(tmp_path, system, self.make_model(system, temperature_input=True))
        files = {path.name for path in folder.glob("*.json")}
        assert files >= {f"{self.make().name}@{system.label(t)}.json" for t in system.temperatures}

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("lattice", LATTICES)
    def test_says_what_it_cannot_measure(self, kind: str, lattice: str) -> None:
        """Require a result, or a sentence with the reason, for configurations without Hamiltonian."""
        shape, boundary = LATTICES[lattice]
        system = _Unknown(shape, {"site_kind": kind, "levels": KINDS[kind]}, boundary)
        try:
            answer: Result | str = self._measure(system)
        except (NotMeasurable, Undetermined) as reason:
            answer = str(reason)
        if isinstance(answer, str):
            assert re.fullmatch(r"[^a-z].*\.", answer), "The reason must be a sentence."
        else:
            assert answer.estimates
