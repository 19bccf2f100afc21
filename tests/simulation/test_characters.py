"""The character expansion against quadrature over all angles and known numbers."""

import math

import numpy as np
import pytest
from scipy.special import i0

from lightdan.simulation import characters
from lightdan.simulation.characters import thermodynamics

SHAPES = [(2,), (3,), (5,), (1, 4), (2, 1), (2, 2), (3, 2)]


def integrate(shape, temperature, coupling, points):
    """Return ln Z, E and C by the trapezoidal rule in each angle except the first, bond by bond."""
    sites = math.prod(shape)
    index = np.arange(sites).reshape(shape)
    axis = 2.0 * math.pi * np.arange(points) / points
    angles = [np.zeros(1), *np.meshgrid(*[axis] * (sites - 1), indexing="ij", sparse=True)]
    energy = np.zeros((1,) * max(1, sites - 1))
    for site in np.ndindex(*shape):
        for direction, side in enumerate(shape):
            if side > 1:
                other = list(site)
                other[direction] = (other[direction] + 1) % side
                difference = angles[index[tuple(other)]] - angles[index[site]]
                energy = energy - coupling * np.cos(difference)
    ground = energy.min()
    weights = np.exp(-(energy - ground) / temperature)
    average = (weights * energy).sum() / weights.sum()
    variance = (weights * (energy - average) ** 2).sum() / weights.sum()
    return math.log(weights.mean()) - ground / temperature, average, variance / temperature**2


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_quadrature(shape, temperature):
    log_z, energy, specific_heat = integrate(shape, temperature, 0.7, points=24)
    exact = thermodynamics(shape, temperature, 0.7)
    assert exact.log_partition == pytest.approx(log_z, abs=1e-9)
    assert exact.free_energy == pytest.approx(-temperature * log_z, abs=1e-9)
    assert exact.energy == pytest.approx(energy, abs=1e-8)
    assert exact.specific_heat == pytest.approx(specific_heat, abs=1e-7)
    assert exact.entropy == pytest.approx(log_z + energy / temperature, abs=1e-8)


@pytest.mark.parametrize(("shape", "points"), [((2, 4), 10), ((3, 3), 8)])
def test_quadrature_on_larger_tori(shape, points):
    log_z, energy, specific_heat = integrate(shape, 2.5, 1.0, points)
    exact = thermodynamics(shape, 2.5)
    assert exact.log_partition == pytest.approx(log_z, abs=1e-6)
    assert exact.energy == pytest.approx(energy, abs=1e-5)
    assert exact.specific_heat == pytest.approx(specific_heat, abs=1e-4)


def test_momentum_blocks_add_up_to_the_transfer_matrix():
    bond = characters._bond_weights(1.0, 4)
    rows = characters._row_weights(bond, 4)
    for states, _ in characters._sectors(bond.value, 4, 4):
        whole = characters._transfer_matrix(states, states, bond, rows)
        blocks = characters._momentum_blocks(states, bond, rows)
        total = sum(copies * np.array([np.trace(x) for x in block]) for block, copies in blocks)
        assert total == pytest.approx([np.trace(x) for x in whole], rel=1e-12)


def test_known_numbers():
    torus, ring = thermodynamics((4, 4), 1.0), thermodynamics((16,), 1.0)
    assert torus.log_partition == pytest.approx(10.64748, abs=5e-6)
    assert torus.energy / 16 == pytest.approx(-1.41173, abs=5e-6)
    assert ring.log_partition == pytest.approx(3.774635, abs=5e-7)


def test_two_sites_with_two_bonds():
    assert thermodynamics((2,), 0.7).log_partition == pytest.approx(math.log(i0(2.0 / 0.7)), rel=1e-12)


@pytest.mark.parametrize(("shape", "temperature"), [((7,), 0.3), ((3, 5), 0.8), ((2, 9), 1.2)])
def test_derivatives(shape, temperature):
    step = 1e-3
    log_z = [
        thermodynamics(shape, 1.0 / (1.0 / temperature + n * step)).log_partition for n in range(-2, 3)
    ]
    first = np.array([1, -8, 0, 8, -1]) @ log_z / (12.0 * step)
    second = np.array([-1, 16, -30, 16, -1]) @ log_z / (12.0 * step**2)
    exact = thermodynamics(shape, temperature)
    assert exact.energy == pytest.approx(-first, rel=1e-9)
    assert exact.specific_heat == pytest.approx(second / temperature**2, rel=1e-6)


def test_nothing_depends_on_the_truncation(monkeypatch):
    exact = thermodynamics((3, 4), 0.7)
    monkeypatch.setattr(characters, "TOLERANCE", 1e-24)
    assert exact == pytest.approx(thermodynamics((3, 4), 0.7), rel=1e-9)


@pytest.mark.parametrize("shape", [(2,), (6,), (1, 4), (2, 2), (2, 4), (4, 4)])
def test_antiferromagnet_of_two_sublattices(shape):
    assert thermodynamics(shape, 1.3, -1.0) == thermodynamics(shape, 1.3, 1.0)
    if shape == (2, 2):
        log_z, energy, _ = integrate(shape, 1.3, -1.0, points=24)
        assert thermodynamics(shape, 1.3, -1.0)[::2][:2] == pytest.approx((log_z, energy), abs=1e-8)


def test_sides_may_be_exchanged():
    assert thermodynamics((3, 11), 0.9) == thermodynamics((11, 3), 0.9)


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_a_single_site_has_no_bond(shape):
    assert thermodynamics(shape, 0.5) == (0.0, 0.0, 0.0, 0.0, 0.0)


def test_zero_coupling_is_free_spins():
    assert thermodynamics((3, 5), 2.0, 0.0) == pytest.approx((0.0, 0.0, 0.0, 0.0, 0.0), abs=1e-15)


def test_limits_of_temperature():
    hot = thermodynamics((3, 50), 1e4)
    assert hot.energy == pytest.approx(-300 * 0.5e-4, rel=1e-2)
    # Harmonic at low temperature: k_B/2 per angle, except the common one.
    cold = thermodynamics((64,), 1e-3)
    assert cold.energy == pytest.approx(-64.0 + 63 * 0.5e-3, abs=1e-4)
    assert cold.specific_heat == pytest.approx(63 / 2, rel=1e-2)


@pytest.mark.parametrize(
    ("shape", "temperature", "coupling", "name"),
    [
        ((), 1.0, 1.0, "shape"),
        ((0, 4), 1.0, 1.0, "shape"),
        ((2, 2, 2), 1.0, 1.0, "shape"),
        ((4,), 0.0, 1.0, "temperature"),
        ((4,), math.nan, 1.0, "temperature"),
        ((4,), 1.0, math.inf, "coupling"),
        ((3, 4), 1.0, -1.0, "even sides"),
        ((5,), 1.0, -1.0, "even sides"),
        ((5, 6), 1.0, 1.0, "at most 4"),
        ((4, 4), 0.01, 1.0, "temperature is too low"),
        ((4, 4), 0.3, 1.0, "temperature is too low"),
    ],
)
def test_bad_arguments_are_named(shape, temperature, coupling, name):
    with pytest.raises(ValueError, match=name):
        thermodynamics(shape, temperature, coupling)
