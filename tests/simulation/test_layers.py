"""Transfer matrices of layers against enumeration, Kaufman and independent numbers."""

import itertools
import math

import numpy as np
import pytest

from lightdan.simulation import kaufman, layers, levels
from lightdan.simulation.layers import thermodynamics

MODELS = {
    "Ising in a field": levels.ising(-0.7, 0.3),
    "Potts": levels.potts(3, 0.8),
    "antiferromagnetic Potts": levels.potts(3, -1.0),
    "clock": levels.clock(5, 1.0),
    "Blume-Capel": levels.blume_capel(1.0, 0.6),
}


def bonds(shape):
    """Return the bonds of a torus `(bonds, 2)`; a side of 2 has them twice, a side of 1 has none."""
    sites = np.arange(math.prod(shape)).reshape(shape)
    axes = [axis for axis, side in enumerate(shape) if side > 1]
    pairs = [np.stack([sites, np.roll(sites, -1, axis)], -1).reshape(-1, 2) for axis in axes]
    return np.concatenate([np.empty((0, 2), int), *pairs])


def enumerated(model, shape, temperature):
    """Return ln Z, F, E, C and S as sums over all states."""
    q, num_sites = len(model.single), math.prod(shape)
    states = np.array(list(itertools.product(range(q), repeat=num_sites)))
    energy = levels.energy(states, model, bonds(shape))
    weights = np.exp(-(energy - energy.min()) / temperature)
    log_z = math.log(weights.sum()) - energy.min() / temperature
    weights /= weights.sum()
    mean = weights @ energy
    heat = weights @ (energy - mean) ** 2 / temperature**2
    return log_z, -temperature * log_z, mean, heat, log_z + mean / temperature


@pytest.mark.parametrize("temperature", [0.1, 0.9])
@pytest.mark.parametrize("shape", [(1,), (2,), (5,), (1, 3), (2, 3), (2, 1, 2)], ids=str)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_enumeration(model, shape, temperature):
    expected = enumerated(model, shape, temperature)
    assert [*thermodynamics(model, shape, temperature)] == pytest.approx(expected, rel=1e-11, abs=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 2)], ids=str)
def test_enumeration_of_larger_tori(shape):
    for model in (levels.ising(-1.0), levels.potts(3), levels.blume_capel(1.0, 1.9)):
        expected = enumerated(model, shape, 0.8)
        assert [*thermodynamics(model, shape, 0.8)] == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("shape", [(3, 7), (4, 4), (5, 8), (9,)])
def test_ising_is_that_of_kaufman(shape):
    exact = kaufman.thermodynamics(shape, 2.2)
    assert [*thermodynamics(levels.ising(), shape, 2.2)] == pytest.approx([*exact], rel=1e-12)


def test_clock_of_four_levels_is_two_ising_models():
    """s = (cos θ ± sin θ) are two spins with half the coupling each."""
    ising = thermodynamics(levels.ising(0.5), (4, 4), 1.1346)
    clock = thermodynamics(levels.clock(4), (4, 4), 1.1346)
    assert [*clock] == pytest.approx([2 * x for x in ising], rel=1e-12)


@pytest.mark.parametrize(
    ("model", "side", "temperature", "log_z", "energy", "entropy"),
    [
        (levels.potts(3), 4, 0.9949729, 34.1726081, -1.7100623, 6.67337),
        (levels.potts(3), 6, 0.9949729, 75.5719518, -1.6737359, 15.01302),
        (levels.potts(4), 6, 0.9102392, 82.6873998, -1.6384598, 17.88625),
        (levels.clock(6), 4, 0.9, 41.9464536, -1.5102484, 15.097594),
        pytest.param(
            *(levels.potts(3), 8, 0.9949729, 133.5365242, -1.6537674, 27.16065), marks=pytest.mark.slow
        ),
    ],
)
def test_numbers(model, side, temperature, log_z, energy, entropy):
    """They come from an independent program, whose temperature has one more digit."""
    exact = thermodynamics(model, (side, side), temperature)
    assert exact.log_partition == pytest.approx(log_z, abs=5e-6)
    assert exact.energy / side**2 == pytest.approx(energy, abs=5e-7)
    assert exact.entropy == pytest.approx(entropy, abs=1e-5)


@pytest.mark.slow
def test_critical_ising_cube():
    exact = thermodynamics(levels.ising(), (4, 4, 4), 1 / 0.221654626)
    assert exact.log_partition == pytest.approx(50.4277425, abs=1e-7)
    assert exact.entropy == pytest.approx(32.082137, abs=1e-5)


def test_orbits_are_those_of_layer_and_levels():
    """A layer of 4 × 4 spins has 433 classes under 128 symmetries and the reversal of all spins."""
    first, sizes = layers._orbits(levels.ising(), [4, 4])
    assert len(first) == 433
    assert sizes.sum() == 2**16


@pytest.mark.parametrize(
    ("shape", "temperature", "culprit"),
    [
        ((), 1.0, "shape"),
        ((0, 4), 1.0, "shape"),
        ((4, 4), 0.0, "temperature"),
        ((17, 18), 1.0, "use shorter sides"),
        ((3, 3), 1e-4, "temperature"),  # it is frustrated, so that all weights underflow
    ],
)
def test_bad_arguments_are_named(shape, temperature, culprit):
    with pytest.raises(ValueError, match=culprit):
        thermodynamics(levels.ising(-1.0), shape, temperature)
