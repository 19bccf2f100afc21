"""Property tests for systems."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightdan.data.splits import SPLITS
from lightdan.lattices.groups import OPERATIONS, SPIN_OPERATIONS, spatial_operations
from lightdan.simulation.thermodynamics import Thermodynamics
from lightdan.systems.base import SITE_KINDS, System
from lightdan.testing.states import all_configurations


class SystemTests:
    """Property tests for systems; subclass and implement `make`.

    Keep the system small enough to be simulated in a second. With at most 65,536 states everything is
    compared with their enumeration.

    Example:
        A test file for your own system::

            class TestMine(SystemTests):
                def make(self, **kwargs):
                    return Mine(shape=(4, 4), temperature=2.5, **kwargs)
    """

    def make(self, **kwargs: Any) -> System:
        """Return a small system, with the keyword arguments passed on to `System`."""
        raise NotImplementedError

    @pytest.fixture
    def system(self, tmp_path_factory: pytest.TempPathFactory) -> System:
        """Return a system with 2,000 configurations, simulated once for all tests of a run."""
        cache = tmp_path_factory.getbasetemp() / "systems"
        system = self.make(num_configurations=2000, batch_size=100, cache_dir=str(cache))
        system.prepare_data()
        system.setup()
        return system

    def test_declares_what_it_is(self, system: System) -> None:
        """Check that lattice, sites and symmetries are consistent."""
        assert all(isinstance(side, int) and side > 0 for side in system.lattice_shape)
        assert system.site_kind in SITE_KINDS
        assert system.boundary in ("periodic", "open", "window")
        assert bool(system.levels) == (system.site_kind in ("spin", "level"))
        spatial, q = spatial_operations(system.lattice), len(system.levels)
        of_levels = ["z2", f"colours_{q}", f"clock_{q}"]
        internal = {"angle": [*SPIN_OPERATIONS], "level": of_levels}.get(system.site_kind, ["z2"])
        assert {*internal, *spatial} >= {*system.symmetries}

    def test_batches_have_the_promised_form(self, system: System) -> None:
        """Check shape `(B, *lattice)`, values and temperatures of all batches, and the split."""
        loaders = system.train_dataloader(), system.val_dataloader(), system.test_dataloader()
        for name, loader in zip(SPLITS, loaders, strict=True):
            batches = list(loader)
            s = torch.cat([batch.configurations for batch in batches])
            temperature = torch.cat([batch.temperature for batch in batches])
            assert s.shape[1:] == system.lattice_shape
            assert s.dtype == temperature.dtype == torch.float32
            assert torch.isin(temperature, torch.tensor(system.temperatures)).all()
            assert not system.levels or torch.isin(s, torch.tensor(system.levels)).all()
            counts = system.data.has_counts and name == "train"
            num = int(system.data.observations_in(name)) if counts else system.data.num_in(name)
            assert len(s) == len(temperature) == (num // 100 * 100 if name == "train" else num)
            assert name != "train" or {len(batch.temperature) for batch in batches} == {100}
        rows = torch.cat([system.data.indices[name] for name in SPLITS])
        assert system.data.has_counts or len(rows.unique()) == len(rows)

    def test_same_seed_same_data(self, system: System, tmp_path: Path) -> None:
        """Check that the same seed gives the same data bit for bit, and another seed different ones."""
        np.random.seed(1)
        torch.manual_seed(1)
        again, other = (
            self.make(num_configurations=2000, seed=seed, cache_dir=str(tmp_path / f"again{seed}"))
            for seed in (0, 1)
        )
        for temperature in system.temperatures:
            expected = system.data.rows("test", temperature)
            assert torch.equal(again.data.rows("test", temperature), expected)
            assert not torch.equal(other.data.rows("test", temperature), expected)

    def test_energy_and_observables_are_one_number_each(self, system: System) -> None:
        """Check that observables are finite `(B,)`, and S(g s) = S(s) for every declared symmetry."""
        temperature = system.temperatures[0]
        s = system.data.rows("test", temperature)[:20].double()
        for name, observable in system.observables(temperature).items():
            assert observable(s).shape == (len(s),), name
            assert observable(s).isfinite().all(), name
        for name in system.symmetries if system.has_action else ():
            operation = OPERATIONS[name](system.lattice)
            for index in range(len(operation)):
                image = operation.act(s, torch.tensor(index))
                expected = system.action(s, temperature)
                torch.testing.assert_close(system.action(image, temperature), expected, msg=name)

    def test_exact_values_are_those_of_the_simulation(self, system: System) -> None:
        """Check each observable with a known mean, within 4 standard errors."""
        for tau, t in zip(system.data.tau_int, system.temperatures, strict=True):
            s = torch.cat([system.data.rows(name, t) for name in SPLITS]).double()
            exact, observables = system.exact_values(t), system.observables(t)
            for name in exact.keys() & observables.keys():
                values = observables[name](s)
                error = math.sqrt(2 * max(tau, 0.5)) * values.std() / math.sqrt(len(values))
                assert abs(values.mean() - exact[name]) < 4 * error + 1e-6, name

    def test_simulation_and_exact_results_agree(self, system: System) -> None:
        """Check ⟨H⟩ within 4 standard errors, and F, E, C and S against the enumeration to 1e-8."""
        few = system.levels and len(system.levels) ** system.num_sites <= 2**16
        if not system.has_energy or not (few or system.exact(system.temperatures[0])):
            pytest.skip("no energy, or nothing exact to compare with")
        for tau, t in zip(system.data.tau_int, system.temperatures, strict=True):
            exact = system.exact(t)
            if few:
                energy = system.energy(all_configurations(system.lattice_shape, system.levels))
                log_z = (-energy / t).logsumexp(0)
                p = (-energy / t - log_z).exp()
                mean = p @ energy
                heat = p @ (energy - mean).square() / t**2
                enumerated = [x.item() for x in (log_z, -t * log_z, mean, heat, log_z + mean / t)]
                assert exact is None or list(exact) == pytest.approx(enumerated, rel=1e-8, abs=1e-8)
                exact = Thermodynamics(*enumerated)
            assert exact is not None
            assert exact.free_energy == pytest.approx(exact.energy - t * exact.entropy, rel=1e-8)
            s = torch.cat([system.data.rows(name, t) for name in SPLITS])
            measured = system.energy(s).double()
            error = math.sqrt(2 * max(tau, 0.5) * exact.specific_heat * t**2 / len(measured))
            assert abs(measured.mean().item() - exact.energy) < 4 * error
