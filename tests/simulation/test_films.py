"""Tests of large films against enumeration."""

import itertools

import numpy as np
import pytest

from lightdan.interactions.catalogue import UniformLattice
from lightdan.interactions.films import simulate_film, stencil_of
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.operators import Operator
from lightdan.lattices.bravais import hypercubic
from lightdan.simulation import films
from lightdan.simulation.films import Film
from lightdan.statistics import mean


def hamiltonian(shape, boundary, max_distance=1.5, temperature=2.0, **couplings):
    """Return a uniform Hamiltonian with a field, pairs and plaquettes."""
    operators = UniformLattice(
        hypercubic(shape, boundary), ("rotation", "reflection"), max_distance
    ).operators(["field", "pairs", "plaquettes"])
    values = np.array([couplings.get(operator.name, 0.0) for operator in operators])
    return ExplicitHamiltonian.from_couplings(shape, operators, values, temperature)


COUPLINGS = {"field": 0.1, "nearest_neighbour": 0.3, "pair_1_1": -0.12, "plaquette": 0.15}


def test_sweeps_against_enumeration():
    """Means over a film of 3 × 3 sites are those of all its 512 states."""
    learned = hamiltonian((8, 8), "window", **COUPLINGS)
    own = hamiltonian((3, 3), "periodic", **COUPLINGS)
    states = np.array(list(itertools.product((-1, 1), repeat=9))).reshape(-1, 3, 3)
    weights = np.exp(-own.energy(states) / own.temperature)
    film = Film.disordered(stencil_of(learned), (3, 3), np.random.default_rng(0))
    film.sweep(100)
    visited = []
    for _ in range(4_000):
        film.sweep(1)
        visited.append(film.spins.copy())
    visited = np.array(visited)
    for function in (own.energy, lambda s: s.mean((1, 2)), lambda s: s.mean((1, 2)) ** 2):
        exact = np.average(function(states), weights=weights)
        estimate = mean(function(visited))
        assert abs(estimate.value - exact) < 4 * estimate.error


@pytest.mark.parametrize("boundary", ["periodic", "window"])
def test_energy(boundary):
    """H of a film is that of the Hamiltonian on its lattice, wherever it was learned."""
    couplings = COUPLINGS | {"pair_0_1": 0.2, "pair_2_0": 0.05, "pair_2_1": -0.07, "pair_1_2": 0.03}
    learned = hamiltonian((6, 5), boundary, 2.3, **couplings)
    own = hamiltonian((8, 9), "periodic", 2.3, **couplings)
    film = Film.disordered(stencil_of(learned), (8, 9), np.random.default_rng(1))
    film.sweep(3)
    energy = own.energy(film.spins[None])[0] / own.temperature
    assert film.energy() * film.spins.size == pytest.approx(energy)


def test_stripes():
    """Dipoles against exchange make stripes from disorder: S(k) has its peak away from 0."""
    pairs = UniformLattice(hypercubic((13, 13), "window"), ("rotation", "reflection"), 6.0).operators(
        ["pairs"]
    )
    couplings = np.array([(o.distance == 1) - 0.35 / o.distance**3 for o in pairs]) / 0.8
    stripes = ExplicitHamiltonian.from_couplings((13, 13), pairs, couplings)
    cooled = simulate_film(stripes, (64, 64), 0)
    assert cooled.settled
    spectrum = np.abs(np.fft.fft2(cooled.spins)) ** 2
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    assert spectrum[(k > 1 / 9) & (k < 1 / 7)].mean() > 3 * spectrum[k < 1 / 16].mean()
    assert np.array_equal(cooled.spins, simulate_film(stripes, (64, 64), 0).spins)


def test_growing_domains_are_not_settled(monkeypatch):
    """Their energy falls all the time, so a third of the sweeps is too short to tell an error."""
    monkeypatch.setattr(films, "LONGEST", films.SETTLING)
    ising = hamiltonian((4, 4), "window", 1.0, nearest_neighbour=1 / 1.5)
    cooled = simulate_film(ising, (64, 64), 0)
    assert cooled.drift.value < -0.02
    assert cooled.drift.error == np.inf
    assert not cooled.settled


def test_windows_side_by_side():
    film = np.arange(5 * 8).reshape(5, 8)
    found = films.windows(film, (2, 3))
    assert found.shape == (4, 2, 3)
    np.testing.assert_array_equal(found[3], film[2:4, 3:6])


def test_refusals():
    """Bonds that are not everywhere, short films and other sites are refused."""
    bond = ExplicitHamiltonian((4, 4), [Operator("bond", np.array([[0, 1]]), 1.0)], 1.0)
    with pytest.raises(ValueError, match="does not act everywhere"):
        stencil_of(bond)
    with pytest.raises(ValueError, match="too small"):
        simulate_film(hamiltonian((8, 8), "window", 3.0), (6, 20), 0)
    with pytest.raises(ValueError, match="spins on a plane"):
        stencil_of(ExplicitHamiltonian((4,), [], 1.0))
