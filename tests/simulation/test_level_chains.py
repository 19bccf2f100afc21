"""Simulated levels against exact thermodynamics and enumeration."""

import itertools
import math

import numpy as np
import pytest

from lightdan import statistics
from lightdan.lattices.bravais import hypercubic, kagome, triangular
from lightdan.simulation import chains, layers, levels
from lightdan.simulation.level_chains import simulate

NUM = 8_000


def per_chain(x):
    """Reshape ``(M,)`` to ``(chains, M / chains)``."""
    return np.reshape(x, (chains.NUM_CHAINS, -1))


def agrees(estimate, exact):
    return abs(estimate.value - exact) < 4.0 * estimate.error


@pytest.mark.parametrize(
    ("model", "shape", "temperature"),
    [
        (levels.potts(3), (4, 4), 0.9949729),
        (levels.potts(4, -1.0), (3, 4), 0.5),
        (levels.clock(6), (4, 4), 0.7),
        (levels.blume_capel(1.0, 1.9), (4, 4), 0.7),
        (levels.ising(1.0, 0.3), (2, 2, 3), 4.0),
        (levels.potts(3), (1,), 1.0),
    ],
)
def test_energy_and_its_fluctuations_are_exact(model, shape, temperature):
    run = simulate(model, shape, temperature, NUM)
    energy = levels.energy(run.configurations.reshape(NUM, -1), model, hypercubic(shape).bonds)
    exact = layers.thermodynamics(model, shape, temperature)
    if exact.specific_heat < 1e-20:  # a single site of equal levels
        assert (energy == exact.energy).all()
        return
    assert agrees(statistics.mean(per_chain(energy)), exact.energy)
    square = statistics.mean(per_chain((energy - exact.energy) ** 2 / temperature**2))
    assert agrees(square, exact.specific_heat)
    assert all(tau.value < 1.0 for tau in run.tau.values())


@pytest.mark.parametrize("lattice", [triangular((3, 3)), kagome((1, 3))], ids=["triangular", "kagome"])
def test_other_lattices(lattice):
    """Probabilities of all energies of the Potts antiferromagnet, by a sum over all states."""
    model, temperature = levels.potts(3, -1.0), 0.6
    states = np.array([*itertools.product(range(3), repeat=lattice.num_sites)], np.int8)
    energy = levels.energy(states, model, lattice.bonds)
    weights = np.exp(-energy / temperature)
    weights /= weights.sum()
    run = simulate(model, lattice, temperature, NUM)
    assert run.configurations.shape == (NUM, *lattice.shape)
    simulated = levels.energy(run.configurations.reshape(NUM, -1), model, lattice.bonds)
    for value in np.unique(energy):
        share = weights[energy == value].sum()
        if share > 1e-3:
            assert agrees(statistics.mean(per_chain(simulated == value)), share)


@pytest.mark.parametrize(
    "model",
    [levels.potts(2), levels.clock(4), levels.blume_capel()],
    ids=["Potts", "clock", "Blume-Capel"],
)
def test_all_phases_are_equally_likely_at_low_temperature(model, monkeypatch):
    """The number of clusters between two rows is even."""
    monkeypatch.setattr(chains, "pilot", lambda *arguments, **settings: (2, True))
    run = simulate(model, (4, 4), 0.2, 1600)
    phases = [a for a in range(len(model.single)) if model.product[a, a] > 0]
    for a in phases:
        share = statistics.mean(per_chain((run.configurations == a).mean(axis=(1, 2))))
        assert abs(share.value - 1 / len(phases)) < 4 * math.sqrt(0.25 / 1600)


def test_seed_determines_every_level():
    first, again, other = (
        simulate(levels.clock(6), (4, 4), 0.7, 320, seed=seed).configurations for seed in (3, 3, 4)
    )
    assert first.dtype == np.int8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("temperature", "num"), [(0.0, 10), (math.nan, 10), (1.0, 0)])
def test_bad_arguments_are_named(temperature, num):
    with pytest.raises(ValueError, match="temperature" if num else "num_configurations"):
        simulate(levels.potts(3), (4, 4), temperature, num)
