"""Measurements of paths: on a harmonic path with an exact model, and on the double well."""

import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from gaussian import FREQUENCY, harmonic, oracle

from lightdan import MADE, DoubleWell, Ising
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.fields.action import Action, plane
from lightdan.measurements.fields.correlator import Correlator, correlations, gap
from lightdan.measurements.fields.kinks import Kinks, aligned
from lightdan.measurements.importance_sampling import ImportanceSampling
from lightdan.measurements.observables import Observables
from lightdan.statistics import Bound
from lightdan.testing import MeasurementTests

BETA = 4.0


class TestCorrelator(MeasurementTests):
    undefined = ("gap", "gap_reweighted", "gap_continuum")
    """A random network has none."""
    two_temperatures: ClassVar = {"beta": [1.0, 2.0]}

    def make(self, **kwargs):
        return Correlator(num_samples=300, **kwargs)

    def make_system(self, **kwargs):
        return DoubleWell(num_slices=16, **{"beta": 1.0, **kwargs})


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    system = harmonic(
        BETA,
        num_configurations=6000,
        splits=(0.1, 0.1, 0.8),
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )
    system.setup()
    return system


def within(estimate, value, errors=4.0):
    assert abs(estimate.value - value) <= errors * estimate.error, (estimate, value)


def double(ensemble):
    """Convert the configurations to the double precision of the oracle."""
    ensemble.configurations = ensemble.configurations.double()
    return ensemble


def test_exact_model_has_the_true_action(system):
    result = Action(num_samples=4000).measure(double(Ensemble(oracle(BETA), system, 1 / BETA)))
    for name in ("slope", "r2", "kinetic", "potential"):
        assert result.estimates[name].value == pytest.approx(1, abs=1e-6)
        assert result.reference[name] == (Bound(1, "≤") if name == "r2" else 1)
    assert result.estimates["kl"].value == pytest.approx(0, abs=1e-6)
    assert result.estimates["ln_z"].value == pytest.approx(result.reference["ln_z"], abs=1e-6)


def test_wider_model_has_the_known_divergence_and_coefficients(system):
    """Scale paths by s, so that KL = N (ln s + 1/2s² − 1/2) and the learned action is S/s²."""
    s = 1.1
    model = oracle(BETA, scale=s)
    found = Action(num_samples=4000).measure(double(Ensemble(model, system, 1 / BETA))).estimates
    within(found["kl"], 16 * (math.log(s) + 0.5 / s**2 - 0.5))
    for name in ("slope", "kinetic", "potential"):
        assert found[name].value == pytest.approx(1 / s**2, abs=1e-6)
    within(found["ln_z"], system.exact_values(1 / BETA)["ln_z"])


def test_reweighting_of_a_wrong_model_is_exact(system):
    model = oracle(BETA, scale=1.1)
    result = ImportanceSampling(num_samples=8000).measure(double(Ensemble(model, system, 1 / BETA)))
    for name in ("ln_z", "x2", "x4", "action", "kinetic", "potential"):
        within(result.estimates[name], result.reference[name])
    within(result.estimates["metropolis_x2"], result.reference["x2"])
    assert "free_energy" not in result.estimates
    raw = Observables(num_samples=4000).measure(double(Ensemble(model, system, 1 / BETA)))
    within(raw.estimates["x2"], 1.21 * system.exact_values(1 / BETA)["x2"])


def test_plane_through_known_points():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 500))
    found = plane([first, second], 2 * first - 3 * second + 5)
    assert [estimate.value for estimate in found] == pytest.approx([2, -3])
    noisy = plane([first, second], 2 * first - 3 * second + rng.normal(size=500))
    within(noisy[0], 2)
    assert noisy[0].error == pytest.approx(1 / math.sqrt(500), rel=0.4)


def test_gap_of_the_oscillator(system):
    """Compare all gaps with that of the lattice, and the continuum gap with ω."""
    model = oracle(BETA, scale=1.05)
    result = Correlator(num_samples=8000, start=1.0).measure(double(Ensemble(model, system, 1 / BETA)))
    a = BETA / 16
    lattice_gap = 2 / a * math.asinh(FREQUENCY * a / 2)
    assert result.reference["gap"] == pytest.approx(lattice_gap, rel=1e-9)
    assert result.reference["gap_continuum"] == pytest.approx(FREQUENCY, rel=1e-9)
    for name, value in (
        ("gap", lattice_gap),
        ("gap_reweighted", lattice_gap),
        ("gap_data", lattice_gap),
    ):
        within(result.estimates[name], value)
    within(result.estimates["gap_continuum"], FREQUENCY)


def test_gap_of_an_exact_correlator_and_of_none():
    t = np.arange(9)
    exact = np.cosh(0.7 * 0.5 * (t - 8))
    products = np.tile(exact, (64, 1))
    assert gap(products, np.ones(64), 1, 16, 0.5).value == pytest.approx(0.7, rel=1e-9)
    assert math.isnan(gap(products[:, ::-1], np.ones(64), 1, 16, 0.5).value)


def test_correlations_are_those_of_the_definition():
    paths = torch.randn(5, 7, dtype=torch.float64)
    expected = [(paths * paths.roll(-t, 1)).mean(1) for t in range(4)]
    np.testing.assert_allclose(correlations(paths), torch.stack(expected, 1))


@pytest.fixture(scope="module")
def double_well(tmp_path_factory):
    system = DoubleWell(
        beta=10.0,
        num_slices=32,
        num_configurations=4000,
        splits=(0.1, 0.1, 0.8),
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )
    system.setup()
    return system


class TrueWell(MADE):
    """Provide an ensemble with samples and ln p of the double well itself."""

    def log_prob(self, configurations, temperature=None):
        return -self.system.action(configurations.double(), 0.1) - self.log_z

    def sample(self, num, seed=0, temperature=None, **options):
        return torch.from_numpy(np.concatenate(list(self.system.solution(0.1).sample(num, 77))))


def test_kinks_of_the_true_model(double_well):
    model = TrueWell(lattice_shape=(32,), site_kind="real", levels=())
    model.system = double_well
    model.log_z = double_well.exact_values(0.1)["ln_z"] - double_well.log_measure(0.1)
    result = Kinks(num_samples=3000).measure(Ensemble(model, double_well, 0.1))
    within(result.estimates["kinks"], result.reference["kinks"])
    within(result.estimates["kinks_reweighted"], result.reference["kinks"])
    assert result.estimates["kinks_reweighted"].value == pytest.approx(result.estimates["kinks"].value)
    assert result.estimates["kink_action"].value == pytest.approx(
        result.reference["kink_action"].value, abs=1e-4
    )
    assert result.estimates["profile_rms"].value < 0.1
    assert result.figure is not None


def test_profile_of_ideal_kinks():
    """Find a kink at every shift, rising or falling, centred at the crossing."""
    time = torch.arange(40.0)
    path = torch.tanh(time - 9.5) * torch.tanh(29.5 - time)
    paths = torch.stack([path.roll(shift) for shift in range(40)])
    sums, counts = aligned(paths, 5, 0.5)
    assert (counts == 2).all()
    np.testing.assert_allclose(sums / 2, np.tile(np.tanh(np.arange(-5, 6) - 0.5), (40, 1)), atol=1e-3)
    assert not aligned(torch.ones(3, 40), 5, 0.5)[1].any()


def test_what_has_no_paths_is_not_measured(tmp_path):
    ising = Ising(shape=3, num_configurations=100, cache_dir=str(tmp_path))
    ensemble = Ensemble(MADE(lattice_shape=(3, 3)), ising, 1.0)
    for measurement in (Action(), Correlator(), Kinks()):
        with pytest.raises(NotMeasurable):
            measurement.measure(ensemble)
