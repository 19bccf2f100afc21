import numpy as np
import pytest
from oracle import SHAPE, TEMPERATURE, ising, oracle, within

from lightdan.measurements.couplings.own_simulation import OwnSimulation
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.report import Result
from lightdan.testing import all_configurations as all_states


def test_the_true_hamiltonian_has_its_entropy(system):
    ensemble = Ensemble(oracle(), system, TEMPERATURE)
    own = OwnSimulation(ensemble, ising(1.0), 2000, 0)
    result = Result({})
    own.add_to(result)
    assert not result.notes
    energy = system.energy(all_states(SHAPE, (-1, 1))).double() / TEMPERATURE
    likelihood = own.likelihood()
    log_z = likelihood.values - system.energy(ensemble.configurations).numpy() / TEMPERATURE
    np.testing.assert_allclose(log_z, (-energy).logsumexp(0).item(), rtol=1e-6)
    assert likelihood.error == 0
    within(result.estimates["own_energy"], system.exact_values(TEMPERATURE)["energy"])
    gain = result.estimates["gain_network"]
    assert gain.value == pytest.approx(0, abs=4 * gain.error + 1e-6)


def test_couplings_that_are_too_strong_differ_from_the_data(system):
    ensemble = Ensemble(oracle(), system, TEMPERATURE)
    own = OwnSimulation(ensemble, ising(1.4), 2000, 0)
    result = Result({})
    own.add_to(result)
    assert "own simulation differs from the held-out data: " in result.notes[0]
    assert "energy" in result.notes[0]
    assert "Held-out data prefer the network to the Hamiltonian by" in result.notes[1]
