from dataclasses import replace

import numpy as np
import pytest
import torch
from intervals import data_set
from oracle import SHAPE, TEMPERATURE, ising, oracle

from lightdan import MADE, XY, Couplings, Recorded
from lightdan.interactions.fit import Fit
from lightdan.measurements.couplings import best as choice
from lightdan.measurements.couplings import likelihood
from lightdan.measurements.couplings import maximum_likelihood as module
from lightdan.measurements.couplings.best import best
from lightdan.measurements.couplings.effective_hamiltonian import uniform_hamiltonian
from lightdan.measurements.couplings.maximum_likelihood import (
    Step,
    combined,
    maximum_likelihood,
    principal_combinations,
    step_to_maximum,
)
from lightdan.measurements.couplings.moments import values_of
from lightdan.measurements.ensemble import Ensemble
from lightdan.statistics import student_factor
from lightdan.testing import all_configurations


@pytest.fixture(scope="module")
def found(system):
    """Provide the Hamiltonian with a field, two classes of pairs and plaquettes."""
    return uniform_hamiltonian(Ensemble(oracle(), system, TEMPERATURE), 1.5, 1000, 0)


def exact_maximum(found):
    """Return the couplings of maximum likelihood by enumeration, and the covariance of the operators."""
    values = values_of(found.operators, all_configurations(SHAPE, (-1, 1)).numpy())
    couplings = found.couplings.copy()
    for _ in range(20):
        logs = values @ couplings
        p = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
        covariance = np.cov(values, rowvar=False, aweights=p, ddof=0)
        couplings += np.linalg.solve(covariance, found.moments.means.couplings - p @ values)
    return couplings, covariance


def test_the_maximum_is_that_of_enumeration_and_its_errors_those_of_cramer_and_rao(found):
    likely = maximum_likelihood(found, 0)
    exact, covariance = exact_maximum(found)
    bound = np.sqrt(np.linalg.inv(covariance).diagonal() / 20_000)
    assert not likely.refused
    assert np.all((likely.errors > 0.95 * bound) & (likely.errors < 1.2 * bound))
    assert (likely.errors < found.corrected.pseudo.standard_errors).all()
    # The simulation has four times as many configurations as the data.
    assert (np.abs(likely.couplings - exact) < 4 * 0.6 * bound).all()
    assert 0.8 < found.moments.efficiency(likely.covariance).value < 1.05


@pytest.mark.parametrize("shift", [-0.3, 0.3])
def test_couplings_that_the_data_refuse_are_given_up(found, shift, monkeypatch):
    pseudo = found.corrected.pseudo
    wrong = pseudo._replace(couplings=pseudo.couplings + np.array([0, shift, 0, 0]))
    biased = replace(found)
    biased.__dict__["corrected"] = replace(found.corrected, pseudo=wrong)
    assert np.abs(biased.couplings - found.couplings).max() > 0.2
    likely = maximum_likelihood(biased, 0)
    exact, _ = exact_maximum(found)
    assert likely.refused
    assert (np.abs(likely.couplings - exact) < 4 * likely.errors).all()
    assert likely.errors.max() < 2 * pseudo.standard_errors.max()
    monkeypatch.setattr(choice, "maximum_likelihood", lambda *_: likely)
    chosen = best(biased, 0)
    assert chosen.fit is likely
    assert chosen.notes[0].endswith("the couplings are those of maximum likelihood.")
    monkeypatch.setattr(likelihood, "LARGEST_ERROR", -1.0)
    chosen = best(biased, 1)
    assert chosen.fit is likely
    assert "because ln Z is uncertain by" in chosen.notes[0]


def test_directions_without_a_step_keep_their_couplings_and_errors():
    """The sum of two equal operators is determined; their difference comes from pseudo-likelihood."""
    model = ising(1.0)
    twins = [*model.operators, model.operators[1]]
    rows = model.simulate(TEMPERATURE, 2000).configurations
    step = step_to_maximum(rows, twins, np.array([0.0, 9.0, 9.0]))
    assert step.change[1] == pytest.approx(step.change[2])
    noise = np.random.default_rng(0).normal(size=(1000, 3))
    values = values_of(twins, model.simulate(TEMPERATURE, 1000, seed=1).configurations)
    means = Fit(values.mean(0), values - values.mean(0))
    likely = combined(Fit(np.array([0.0, 0.7, 0.2]), noise), means, np.array([0.0, 0.1, 0.1]), step)
    assert likely.couplings[1] - likely.couplings[2] == pytest.approx(0.5)
    difference = np.array([0, 1, -1])
    expected = student_factor(999) ** 2 * difference @ np.cov(noise, rowvar=False) @ difference / 1000
    assert difference @ likely.covariance @ difference == pytest.approx(expected)


@pytest.mark.parametrize("noise", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("directions", [2, 3])
def test_combined_estimates_have_the_smallest_variance(directions, noise):
    """Σ − C V⁻¹ Cᵀ with Σ = Var(J), C = Cov(J, d) and V = Var(d), where d has few directions."""
    rng = np.random.default_rng(0)
    pseudo, means = (rng.normal(size=(400, 6)) @ rng.normal(size=(6, 3)) for _ in range(2))
    means = means + 2 * pseudo
    basis = np.linalg.qr(rng.normal(size=(3, directions)))[0]
    projector = basis @ basis.T
    inverse = basis @ np.diag([0.3, 0.2, 0.5][:directions]) @ basis.T
    change = means @ inverse - pseudo @ projector
    of_step = noise / 400 * basis @ basis.T
    step = Step(np.zeros(3), 0.0, inverse, np.eye(3) - projector, of_step)
    couplings, difference = rng.normal(size=3), basis @ np.full(directions, 0.01)
    likely = combined(Fit(couplings, pseudo), Fit(np.zeros(3), means), difference, step)

    data = student_factor(399) ** 2 / 400 * np.cov(pseudo, change, rowvar=False)
    variance = basis.T @ (data[3:, 3:] + of_step) @ basis
    weights = data[:3, 3:] @ basis @ np.linalg.inv(variance)
    smallest = data[:3, :3] - weights @ variance @ weights.T
    assert not likely.refused
    np.testing.assert_allclose(likely.covariance, smallest, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(likely.couplings, couplings - weights @ basis.T @ difference)


def test_weights_lead_to_the_means_of_the_data():
    model = ising(1.0)
    rows = model.simulate(TEMPERATURE, 4000).configurations
    values = values_of(model.operators, rows)
    target = values.mean(0) + 0.2 * values.std(0)
    step = step_to_maximum(rows, model.operators, target)
    weights = np.exp((values - target) @ step.change)
    np.testing.assert_allclose(np.average(values, axis=0, weights=weights), target, rtol=1e-9)
    far = step_to_maximum(rows, model.operators, values.mean(0) + 5 * values.std(0))
    assert far.size > 2
    assert np.linalg.norm(values.std(0) * far.change) == pytest.approx(1, rel=0.01)


def test_combinations_that_are_constant_are_left_out():
    rows = np.random.default_rng(0).normal(size=(500, 2))
    values = np.stack([rows[:, 0], rows[:, 1], -rows.sum(1) + 3, np.ones(500)], axis=1)
    basis, variances = principal_combinations(np.cov(values, rowvar=False))
    assert basis.shape == (4, 2)
    combined_values = np.cov(values @ basis, rowvar=False)
    np.testing.assert_allclose(combined_values, np.diag(variances), atol=1e-12)


def test_one_class_of_angles_has_the_error_of_cramer_and_rao(tmp_path):
    torch.manual_seed(0)
    options = {"num_configurations": 2000, "splits": (0.7, 0.1, 0.2), "cache_dir": str(tmp_path)}
    system = XY(4, temperature=1.2, **options)
    system.setup()
    model = MADE.for_system(system, width=1).eval()
    result = Couplings(2.0, ["nearest_neighbour"], num_samples=200).measure(Ensemble(model, system, 1.2))
    rows = torch.cat([system.data.rows(name, 1.2) for name in ("train", "validation", "test")])
    bound = 1 / (system.energy(rows.double()).numpy().std() * 2000**0.5)
    estimate = result.estimates["nearest_neighbour"]
    assert abs(estimate.value - 1 / 1.2) < 3.5 * estimate.error
    # The simulation has four times as many configurations as the data, with τ below one row.
    assert 0.95 * bound < estimate.error < 1.5**0.5 * bound
    assert estimate.error < 0.95 * result.estimates["pseudo_likelihood_nearest_neighbour"].error
    assert "pair_1_1" not in result.estimates


def test_weakly_correlated_rows_are_taken_in_blocks(tmp_path):
    np.save(tmp_path / "rows.npy", data_set("spin", 2000, 0.8, 0, 10_000))
    system = Recorded(str(tmp_path / "rows.npy"), boundary="periodic", splits=(0.5, 0.1, 0.4))
    system.setup()
    model = MADE.for_system(system, width=1).eval()
    effective = uniform_hamiltonian(Ensemble(model, system, 1.0), 1.0, 600, 0)
    (tau,) = system.data.tau_int
    assert 0.55 < tau < 1
    assert effective.block_size >= 10 * tau


def test_a_simulation_that_remains_correlated_is_not_used(found, monkeypatch):
    monkeypatch.setattr(module, "SLOW", 0.0)
    chosen = best(found, 0)
    assert chosen.fit is found.corrected
    assert "without maximum likelihood" in chosen.notes[0]
    assert "leave the configurations correlated" in chosen.notes[0]
