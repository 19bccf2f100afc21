import numpy as np
import pytest
import torch
from oracle import Boltzmann

from lightdan import MADE, FreeEnergy, Ising, NotMeasurable
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.phases import free_energy
from lightdan.measurements.phases.free_energy import peak
from lightdan.statistics import Estimate

SHAPE = (3, 4)
TEMPERATURES = [1.5, 2.5, 4.0]


def boltzmann():
    return Boltzmann(lattice_shape=SHAPE, temperature_input=True)


def ensembles(model, tmp_path):
    system = Ising(SHAPE, temperature=TEMPERATURES, num_configurations=100, cache_dir=str(tmp_path))
    return [Ensemble(model, system, temperature) for temperature in TEMPERATURES]


def within(estimate, value, errors=4.0):
    assert abs(estimate.value - value) <= errors * estimate.error + 1e-9, (estimate, value)


def test_the_exact_network_has_exact_estimates(tmp_path):
    """F has no spread because H + T ln p is constant; the others agree within their errors."""
    every = ensembles(boltzmann(), tmp_path)
    with torch.inference_mode():
        measured = [FreeEnergy().measure(each) for each in every]
    for result in measured:
        bound = result.reference["free_energy"]
        assert result.estimates["free_energy"].value == pytest.approx(bound.value)
        assert bound.side == "≥"
        assert result.estimates["free_energy"].error < 1e-9
        for name in ("energy", "entropy", "specific_heat"):
            within(result.estimates[name], result.reference[name])
        within(result.estimates["fisher_specific_heat"], result.reference["specific_heat"])


def test_energy_is_the_derivative_of_the_free_energy_of_a_wrong_network(tmp_path):
    """For a network at 1.2 β, E is d(βF_q)/dβ of the sum over all states, by differences."""
    model = boltzmann()
    model.factor = 1.2
    result = FreeEnergy(num_samples=20_000).measure(ensembles(model, tmp_path)[1])

    def reduced(beta):
        log_p = (-1.2 * beta * model.energies).log_softmax(0)
        return (log_p.exp() @ (beta * model.energies + log_p)).item(), -(log_p.exp() @ log_p).item()

    (up, s_up), (down, s_down) = reduced(0.4 + 1e-4), reduced(0.4 - 1e-4)
    within(result.estimates["free_energy"], reduced(0.4)[0] * 2.5 / 12)
    within(result.estimates["energy"], (up - down) / 2e-4 / 12)
    within(result.estimates["specific_heat"], -0.4 * (s_up - s_down) / 2e-4 / 12)


def test_survey_without_a_peak_and_without_some_exact_values(tmp_path, monkeypatch):
    every = ensembles(boltzmann(), tmp_path)
    monkeypatch.setattr(free_energy, "peak", lambda *args: Estimate(1.5, np.inf))
    monkeypatch.setattr(free_energy, "exact_values", lambda _, t: {} if t < 2 else {"free_energy": -2.0})
    result = FreeEnergy(num_samples=10, num_temperatures=6).survey(every)
    assert "transition, fisher_transition, specific_heat_peak are largest at an end" in result.notes[0]
    assert not result.reference


@pytest.mark.slow
def test_the_survey_finds_the_largest_specific_heat(tmp_path):
    result = FreeEnergy(num_temperatures=25).survey(ensembles(boltzmann(), tmp_path))
    grid = np.linspace(1.5, 4.0, 501)
    heat = [Ising(SHAPE).exact_values(t)["specific_heat"] for t in grid]
    for name in ("transition", "fisher_transition", "specific_heat_peak"):
        assert result.reference[name] == pytest.approx(grid[int(np.argmax(heat))], abs=0.01)
        within(result.estimates[name], result.reference[name])
        assert result.estimates[name].error < 0.2
    assert abs(result.estimates["free_energy_max_deviation"].value) < 1e-8
    assert result.arrays["free_energy"].shape == (25, 2)


@pytest.mark.slow
def test_the_error_of_a_peak_is_its_spread(monkeypatch):
    monkeypatch.setattr(free_energy, "BOOTSTRAPS", 30)
    x = np.linspace(-1, 1, 21)
    rng = np.random.default_rng(0)
    places, errors = zip(
        *(
            peak(x, np.stack([1 - x**2 + 0.05 * rng.normal(size=21), np.full(21, 0.05)], 1), 0, rng)
            for _ in range(60)
        ),
        strict=True,
    )
    hits = np.abs(places) < np.array(errors)
    assert 0.5 <= hits.mean() <= 0.86
    assert peak(x, np.stack([x, np.full(21, 0.01)], 1), 0, rng).error == np.inf


def test_bad_networks_and_options_are_refused(tmp_path):
    system = Ising(SHAPE, temperature=2.0, num_configurations=100, cache_dir=str(tmp_path))
    with pytest.raises(NotMeasurable, match="needs the temperature as input"):
        FreeEnergy().measure(Ensemble(MADE(lattice_shape=SHAPE), system, 2.0))
    with pytest.raises(ValueError, match="num_temperatures must be at least 6, not 5"):
        FreeEnergy(num_temperatures=5)
