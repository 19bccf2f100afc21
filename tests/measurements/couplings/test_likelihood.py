"""ln Z of explicit Hamiltonians by Bennett's ratio with a network, against exact values."""

import numpy as np
import pytest
import torch

from lightdan import MADE, XY, Ising, Recorded
from lightdan.conditionals import VonMisesMixture
from lightdan.interactions.catalogue import UniformLattice
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.observations import Observations
from lightdan.measurements.couplings.likelihood import BRIDGED, bridged, of_interactions
from lightdan.measurements.ensemble import Ensemble
from lightdan.simulation import explicit
from lightdan.simulation.partition import log_partition
from lightdan.simulation.simulation import Simulation


def free_sites(system):
    """Return the ensemble of a network of independent, uniform sites."""
    angles = {"conditional": VonMisesMixture(components=1)} if system.site_kind == "angle" else {}
    network = MADE.for_system(system, width=1, **angles)
    for weight in network.parameters():
        torch.nn.init.zeros_(weight)
    return Ensemble(network, system, system.temperatures[0])


def neighbours(system, coupling):
    """Return the Hamiltonian of nearest neighbours, with its coupling in units of the temperature."""
    sites = system.site_kind, system.levels
    lattice = UniformLattice(system.lattice_shape, system.symmetries, 1.0, *sites)
    (operator,) = lattice.operators(["potts" if sites[0] == "level" else "nearest_neighbour"])
    return ExplicitHamiltonian.from_couplings(
        system.lattice_shape, [operator], np.array([coupling]), site_kind=sites[0], levels=sites[1]
    ).moves()


@pytest.mark.parametrize("system", [Ising(shape=5, temperature=8.0), XY(shape=4, temperature=6.0)])
def test_bridge_to_a_network_reproduces_exact_solutions(system):
    """Check Kaufman's solution and the character expansion; free sites have an ESS of 0.4 and 0.6."""
    (temperature,) = system.temperatures
    found = bridged(neighbours(system, 1 / temperature), free_sites(system))
    assert abs(found.value - system.exact_values(temperature)["ln_z"]) < 4 * found.error
    assert found.error < 0.02


def test_bridge_of_levels_reproduces_enumeration(tmp_path):
    """Check levels whose values are not their places."""
    rows = np.random.default_rng(0).choice([-2, 0, 3], (50, 3, 3))
    np.save(tmp_path / "rows.npy", rows)
    system = Recorded(str(tmp_path / "rows.npy"), values="level", boundary="periodic")
    system.setup()
    interactions = neighbours(system, 0.3)
    found = bridged(interactions, free_sites(system))
    assert abs(found.value - log_partition(interactions).value) < 4 * found.error
    assert found.error < 0.02


def test_without_overlap_there_is_annealing():
    """At the critical temperature free spins are never like those of the model."""
    system = Ising(shape=5, temperature=2.27)
    ensemble, interactions = free_sites(system), neighbours(system, 1 / 2.27)
    assert bridged(interactions, ensemble) is None
    held_out = Observations(ensemble.samples(50, 0).configurations)
    found, annealed = (
        of_interactions(interactions, held_out, "spin", (-1, 1), ensemble=each)
        for each in (ensemble, None)
    )
    assert found.error == annealed.error > 0


def test_a_simulation_that_is_stuck_is_not_used(monkeypatch):
    """Aligned spins contradict what importance sampling finds."""
    system = Ising(shape=5, temperature=8.0)
    stuck = Simulation(np.ones((BRIDGED, 25), np.int8))
    monkeypatch.setattr(explicit, "simulate", lambda *_, **__: stuck)
    assert bridged(neighbours(system, 1 / 8.0), free_sites(system)) is None
