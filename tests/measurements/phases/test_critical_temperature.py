import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import brentq

from lightdan import MADE, CriticalTemperature, Ising, NotMeasurable
from lightdan.interactions.catalogue import uniform_operators
from lightdan.lattices.bravais import hypercubic
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.phases import critical_temperature
from lightdan.measurements.phases.films import Film
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate


def with_couplings(monkeypatch, shape, temperature, couplings, errors):
    """Return an ensemble whose `Couplings` are these, instead of a fit."""
    reach = 6.0 if len(couplings) > 4 else 2.0

    class Known:
        operators = uniform_operators(hypercubic(shape, "window"), ("rotation", "reflection"), reach)

    Known.couplings = np.array([couplings.get(operator.name, 0.0) for operator in Known.operators])
    assert couplings.keys() <= {operator.name for operator in Known.operators}
    Known.covariance = np.diag([errors.get(operator.name, 0.0) ** 2 for operator in Known.operators])
    monkeypatch.setattr(critical_temperature, "uniform_hamiltonian", lambda *args: Known)
    monkeypatch.setattr(critical_temperature, "best", lambda *args: SimpleNamespace(fit=Known))
    system = Ising(shape, temperature=temperature)
    return Ensemble(MADE(lattice_shape=shape), system, temperature)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [2.0, 3.0])
def test_critical_temperature_of_known_couplings(temperature, monkeypatch):
    """Find Onsager's temperature within the error, for couplings learned at any T."""
    known = {"nearest_neighbour": 1 / temperature}
    errors = {"field": 0.01, "nearest_neighbour": 0.001}
    ensemble = with_couplings(monkeypatch, (16, 16), temperature, known, errors)
    result = CriticalTemperature(2.0, size=8, num_ladders=8, num_steps=120).measure(ensemble)
    estimate = result.estimates["critical_temperature"]
    assert abs(estimate.value - 2.269185) < 3 * estimate.error < 0.09
    assert result.estimates["ratio"].value == pytest.approx(estimate.value / temperature)
    assert result.arrays["binder_16"].shape == result.arrays["temperature"].shape


@pytest.mark.slow
def test_critical_temperature_of_a_rectangular_patch(monkeypatch):
    """Couplings that differ along the axes keep their axes on the square lattices.

    At T_C of the anisotropic model, sinh(2βJ_1) sinh(2βJ_2) = 1 (L. Onsager, Phys. Rev. 65, 117).
    """
    known = {"nearest_neighbour": 0.3, "pair_0_1": 0.6}
    ensemble = with_couplings(monkeypatch, (6, 8), 1.0, known, dict.fromkeys(known, 0.001))
    result = CriticalTemperature(2.0, size=8, num_ladders=8, num_steps=120).measure(ensemble)
    estimate = result.estimates["critical_temperature"]
    assert estimate.error < 0.03
    exact = brentq(lambda t: np.sinh(0.6 / t) * np.sinh(1.2 / t) - 1, 0.5, 2.0)
    assert abs(estimate.value - exact) < 3 * estimate.error


def test_no_critical_temperature_of_an_antiferromagnet(monkeypatch):
    """Its waves have k = (π, π)."""
    known = {"nearest_neighbour": -0.4}
    ensemble = with_couplings(monkeypatch, (16, 16), 2.5, known, {"nearest_neighbour": 0.001})
    result = CriticalTemperature(size=16, num_ladders=8, num_steps=60).measure(ensemble)
    assert list(result.estimates) == ["period"]
    assert result.estimates["period"].value == pytest.approx(math.sqrt(2), abs=0.02)


@pytest.mark.slow
def test_dipoles_make_a_modulated_phase(monkeypatch):
    """Exchange and dipoles make stripes; 120 films by replica exchange have the period 7.50(7)."""
    operators = uniform_operators(hypercubic((16, 16), "window"), ("rotation", "reflection"), 6.0)
    pairs = [operator for operator in operators if operator.displacement]
    j = {o.name: ((o.distance == 1) - 0.35 / o.distance**3) / 0.8 for o in pairs}
    ensemble = with_couplings(monkeypatch, (16, 16), 0.8, j, dict.fromkeys(j, 0.003))
    result = CriticalTemperature(num_steps=60).measure(ensemble)
    assert "modulated phase of period" in result.notes[0]
    assert "no T_C is claimed" in result.notes[0]
    period = result.estimates["period"]
    assert "critical_temperature" not in result.estimates
    assert abs(period.value - 7.5) < 3 * math.hypot(period.error, 0.07) < 3


def test_no_pair_reaches_half_around_the_lattice(monkeypatch):
    """Each operator has as many terms per site as on a lattice of any size."""
    known = dict.fromkeys(("nearest_neighbour", "pair_1_1", "pair_2_0", "pair_2_1", "pair_2_2"), 0.1)
    ensemble = with_couplings(monkeypatch, (16, 16), 2.0, known, dict.fromkeys(known, 0.001))

    def simulate(film, side, *_):
        large = film.operators(20)
        for operator, other in zip(film.operators(side), large, strict=True):
            assert len(operator.sites) * 20**2 == len(other.sites) * side**2
        raise NotMeasurable(f"The side is {side}.")

    monkeypatch.setattr(Film, "simulate", simulate)
    with pytest.raises(NotMeasurable, match="The side is 13"):
        CriticalTemperature(size=12).measure(ensemble)


def test_no_critical_temperature_without_an_error(monkeypatch):
    """A crossing that some couplings within their errors do not have is told apart from none."""
    monkeypatch.setattr(
        critical_temperature, "with_errors", lambda *args, **kwargs: [Estimate(1.96, math.inf)]
    )
    result = Result({})
    CriticalTemperature.add_crossing(result, [], 2.0)
    assert not result.estimates
    assert "cross at 1.96, but not for all couplings" in result.notes[0]


@pytest.mark.slow
def test_no_critical_temperature_without_a_peak(monkeypatch):
    known = {"nearest_neighbour": 0.02}
    ensemble = with_couplings(monkeypatch, (16, 16), 2.5, known, {"nearest_neighbour": 1e-5})
    with pytest.raises(NotMeasurable, match="has no peak between"):
        CriticalTemperature(2.0, size=8, num_ladders=32, num_steps=100).measure(ensemble)


def test_critical_temperature_refuses_a_lattice_within_the_couplings():
    with pytest.raises(ValueError, match="needs size ≥ 9"):
        CriticalTemperature(size=4)
