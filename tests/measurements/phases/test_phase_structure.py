import numpy as np
import pytest
import torch
from oracle import SHAPE, TEMPERATURE, oracle, within

from lightdan import MADE, DoubleWell, Ising, NotMeasurable, PhaseStructure
from lightdan.measurements.couplings.effective_hamiltonian import uniform_hamiltonian
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate


@pytest.mark.parametrize(
    ("distortion", "hamiltonian"),
    [
        pytest.param(0.0, "network", marks=pytest.mark.slow),
        (0.3, "network"),
        pytest.param(0.3, "best", marks=pytest.mark.slow),
    ],
)
def test_phase_structure_equals_the_sum_over_states(system, distortion, hamiltonian):
    """Estimates are moments of p_θ^{T/T'}, for a right and a wrong network.

    With "best", the couplings replace the wrong network, and estimates agree with the exact moments.
    """
    temperatures = [1.5, 2.0, 2.5, 3.5]
    model = oracle(distortion=distortion)
    measurement = PhaseStructure(
        temperatures, hamiltonian, num_ladders=64, num_steps=400 if hamiltonian == "best" else 50
    )
    measured = Ensemble(model, system, TEMPERATURE)
    result = measurement.measure(measured)
    with torch.no_grad():
        log_p = model.log_prob(model.states)
    energy = system.energy(model.states)
    gain = log_p - (log_p_exact := (-energy / TEMPERATURE).log_softmax(0))
    within(result.estimates["nll_gain"], -(log_p_exact.exp() @ gain).item(), errors=5)
    if hamiltonian == "best":
        log_p = log_p_exact
    size = model.states.flatten(1).mean(1).abs()

    def moments(t):
        p = (log_p * TEMPERATURE / t).softmax(0)
        mean = p @ energy
        return (
            mean / 9,
            (p @ (energy - mean) ** 2) / (9 * t * t),
            p @ size,
            9 * (p @ size**2 - (p @ size) ** 2) / t,
        )

    names = ("energy", "specific_heat", "abs_magnetization", "susceptibility")
    for t in temperatures:
        for name, value in zip(names, moments(t), strict=True):
            within(result.estimates[f"{name}@{t:g}"], value.item())
    grid = np.linspace(1.5, 3.5, 2001)
    heat = [moments(t)[1].item() for t in grid]
    within(result.estimates["specific_heat_peak"], grid[int(np.argmax(heat))])
    within(result.estimates["specific_heat_maximum"], max(heat))
    assert result.estimates["specific_heat_peak"].error < 0.1
    if not distortion or hamiltonian == "best":
        for name in ("energy@2.5", "specific_heat@2.5"):
            assert result.reference[name] == pytest.approx(moments(2.5)[name != "energy@2.5"].item())
    assert result.estimates["acceptance@2"].value > 0.5
    if hamiltonian == "best":
        # The states of lowest energy, at one end of the range of the data, are within it.
        assert result.estimates["seen@1.5"].value > 0.99
        # Linear response ∂E/∂βJ_a = (T/T') Cov(E, O_a); the statistical error of the chains adds to it.
        effective = uniform_hamiltonian(measured, 4.0, 3000, 0)
        operators = [o.value(model.states.numpy()) for o in effective.operators]
        p = (log_p_exact * TEMPERATURE / 2.5).softmax(0).numpy()
        e = (energy.numpy() - p @ energy.numpy()) / 9
        response = [TEMPERATURE / 2.5 * (p * e) @ o for o in operators]
        expected = (response @ effective.covariance @ response) ** 0.5
        assert 0.85 * expected < result.estimates["energy@2.5"].error < 2 * expected


def test_phase_structure_says_where_the_network_saw_nothing(system):
    result = PhaseStructure([2.0, 80.0], "network", num_ladders=8, num_steps=20).measure(
        Ensemble(oracle(), system, TEMPERATURE)
    )
    assert result.estimates["seen@2"].value > 0.99
    assert result.estimates["ess@2"].value == pytest.approx(1)
    assert result.estimates["ess@80"].value < 0.5


def test_phase_structure_goes_on_where_there_are_no_couplings(tmp_path):
    """Three held-out configurations determine no couplings; chains of H_θ move one site at a time."""
    system = Ising(SHAPE, temperature=2.0, num_configurations=60, cache_dir=str(tmp_path))
    measured = Ensemble(oracle(), system, 2.0)
    result = PhaseStructure([1.8, 2.0, 2.5], num_ladders=4, num_steps=5).measure(measured)
    assert "without a Hamiltonian of Couplings: The 3 held-out" in result.notes[0]
    assert "nll_gain" not in result.estimates
    with pytest.raises(NotMeasurable, match="3 held-out configurations are too few"):
        PhaseStructure([1.8, 2.0], "couplings").measure(measured)


def test_exact_values_may_be_missing_at_some_temperatures(system, monkeypatch):
    """The exact solution of XY, for instance, needs a temperature that is not too low."""
    monkeypatch.setattr(
        system, "exact_values", lambda t: {} if t < 2 else {"energy": -1 / t, "free_energy": -2.0}
    )
    estimate = Estimate(-0.5, 0.1)
    columns = {"energy": [estimate, estimate], "seen": [estimate, estimate]}
    result = Result({})
    PhaseStructure.add_columns(result, Ensemble(oracle(), system, 2.0), [1.5, 2.5], columns)
    assert result.reference == {"energy@2.5": -0.4}
    assert result.unlisted == {"seen@1.5", "seen@2.5"}
    assert "energy_exact" not in result.arrays


def test_phase_structure_needs_a_magnetisation(tmp_path):
    system = DoubleWell(num_slices=6, beta=2.0, num_configurations=100, cache_dir=str(tmp_path))
    model = MADE(lattice_shape=(6,), site_kind="real", levels=())
    with pytest.raises(NotMeasurable, match="DoubleWell has no observable abs_magnetization"):
        PhaseStructure().measure(Ensemble(model, system, 0.5))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperatures": [2.0, 0.0]}, "temperature must be positive and finite"),
        ({"temperatures": [2.0, 2.0]}, "names a value twice"),
        ({"num_ladders": 1}, "num_ladders ≥ 2"),
    ],
)
def test_phase_structure_refuses_what_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        PhaseStructure(**options)
