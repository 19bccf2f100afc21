from dataclasses import replace

import numpy as np
import pytest
from oracle import SHAPE, TEMPERATURE, oracle, within

from lightdan.interactions.catalogue import uniform_operators
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.measurements.couplings.effective_hamiltonian import EffectiveHamiltonian
from lightdan.measurements.couplings.own_simulation import OwnSimulation, principal_combinations
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.report import Result
from lightdan.testing import all_configurations as all_states


def ising(coupling):
    """Return the Hamiltonian with a field and nearest neighbours only."""
    every = ("translation", "rotation", "reflection")
    field, pairs = uniform_operators(SHAPE, "periodic", every, 1.0)[:2]
    operators = [field, replace(pairs, coupling=coupling)]
    return ExplicitHamiltonian(SHAPE, operators, TEMPERATURE)


def statistics(ensemble, own):
    """Return the statistics of all configurations for the operators of a Hamiltonian."""
    return EffectiveHamiltonian(ensemble, own.hamiltonian.operators, 100, 0).statistics


def test_the_true_hamiltonian_is_not_refused_and_has_its_entropy(system):
    ensemble = Ensemble(oracle(), system, TEMPERATURE)
    own = OwnSimulation(ensemble, ising(1.0), 2000, 0)
    assert own.refined(statistics(ensemble, own)) is own
    result = Result({})
    own.add_to(result)
    assert not result.notes
    energy = system.energy(all_states(SHAPE, (-1, 1))).double() / TEMPERATURE
    within(own.log_z, (-energy).logsumexp(0).item())
    within(result.estimates["own_energy"], system.exact_values(TEMPERATURE)["energy"])
    gain = result.estimates["gain_network"]
    assert gain.value == pytest.approx(0, abs=4 * gain.error + 1e-6)


def test_couplings_that_are_too_strong_are_refused_and_refined(system):
    ensemble = Ensemble(oracle(), system, TEMPERATURE)
    own = OwnSimulation(ensemble, ising(1.4), 2000, 0)
    result = Result({})
    own.add_to(result)
    assert "own simulation differs from the held-out data: " in result.notes[0]
    assert "energy" in result.notes[0]
    assert "Held-out data prefer the network to the Hamiltonian by" in result.notes[1]
    refined = own.refined(statistics(ensemble, own))
    field, pairs = refined.hamiltonian.operators
    assert abs(pairs.coupling - 1.0) < 4 * pairs.error < 0.5
    assert abs(field.coupling) < 4 * field.error
    assert refined.likelihood()["nll"].value < own.likelihood()["nll"].value


def test_directions_without_a_step_keep_their_error(system):
    ensemble = Ensemble(oracle(), system, TEMPERATURE)
    hamiltonian = ising(1.4)
    twins = [*hamiltonian.operators, replace(hamiltonian.operators[1], name="twin", coupling=0.0)]
    prior = np.diag([0.01, 0.02, 0.02])
    own = OwnSimulation(ensemble, replace(hamiltonian, operators=twins, covariance=prior), 500, 0)
    refined = own.refined(statistics(ensemble, own))
    assert refined is not own
    # The sum of the two couplings is determined, and their difference keeps its variance of 0.04.
    difference = np.array([0, 1, -1])
    variance = difference @ refined.hamiltonian.covariance @ difference
    assert variance == pytest.approx(0.04, rel=0.01)


def test_combinations_that_are_constant_are_left_out():
    rows = np.random.default_rng(0).normal(size=(500, 2))
    values = np.stack([rows[:, 0], rows[:, 1], -rows.sum(1) + 3, np.ones(500)], axis=1)
    basis, variances = principal_combinations(np.cov(values, rowvar=False))
    assert basis.shape == (4, 2)
    combined = np.cov(values @ basis, rowvar=False)
    np.testing.assert_allclose(combined, np.diag(variances), atol=1e-12)
