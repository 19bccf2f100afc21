"""Kaufman's solution against enumeration, published numbers and the thermodynamic limit."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.special import ellipk

from lightdan.simulation.kaufman import log_partition, thermodynamics

SHAPES = [(1,), (2,), (5,), (1, 1), (1, 4), (2, 1), (2, 2), (2, 3), (2, 5), (3, 4), (4, 3), (4, 4)]
CRITICAL = 2.0 / math.log1p(math.sqrt(2.0))


def enumerate_states(shape, temperature, coupling):
    """Return ln Z, E and C by a sum over all states, bond by bond."""
    sites = np.arange(math.prod(shape)).reshape(shape)
    spins = np.array(list(itertools.product([-1, 1], repeat=sites.size)))
    energy = np.zeros(len(spins))
    for site in np.ndindex(*shape):
        for axis, side in enumerate(shape):
            if side > 1:
                other = list(site)
                other[axis] = (other[axis] + 1) % side
                energy -= coupling * spins[:, sites[site]] * spins[:, sites[tuple(other)]]
    ground = energy.min()
    weights = np.exp(-(energy - ground) / temperature)
    partition = weights.sum()
    average = (weights * energy).sum() / partition
    variance = (weights * (energy - average) ** 2).sum() / partition
    return math.log(partition) - ground / temperature, average, variance / temperature**2


@pytest.mark.parametrize("temperature", [0.2, 1.5, CRITICAL, 3.0, 50.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_enumeration(shape, temperature):
    log_z, energy, specific_heat = enumerate_states(shape, temperature, 0.7)
    exact = thermodynamics(shape, temperature, 0.7)
    assert exact.log_partition == pytest.approx(log_z, rel=1e-12)
    assert exact.free_energy == pytest.approx(-temperature * log_z, rel=1e-12)
    assert exact.energy == pytest.approx(energy, rel=1e-11, abs=1e-12)
    assert exact.specific_heat == pytest.approx(specific_heat, rel=1e-9, abs=1e-12)
    assert exact.entropy == pytest.approx(log_z + energy / temperature, rel=1e-10)


@pytest.mark.parametrize("shape", [(2, 2), (2, 4), (4, 4), (5,), (4,), (1, 3)])
def test_antiferromagnet(shape):
    log_z, energy, _ = enumerate_states(shape, 1.3, -1.0)
    exact = thermodynamics(shape, 1.3, -1.0)
    assert exact.log_partition == pytest.approx(log_z, rel=1e-12)
    assert exact.energy == pytest.approx(energy, rel=1e-11)
    assert log_partition(shape, -1.0 / 1.3) == pytest.approx(log_z, rel=1e-12)


@pytest.mark.parametrize(
    ("side", "temperature", "free_energy", "energy", "specific_heat", "entropy"),
    [
        (4, 2.269185, -2.201381, -1.565624, 0.7833, 0.280170),
        (16, 2.0, -2.057002, -1.745531, 0.7255, 0.155736),
        (16, 2.269185, -2.115326, -1.453065, 1.4987, 0.291850),
        (16, 3.0, -2.447664, -0.817689, 0.4043, 0.543325),
    ],
)
def test_numbers_per_site(side, temperature, free_energy, energy, specific_heat, entropy):
    exact = thermodynamics((side, side), temperature)
    assert exact.free_energy / side**2 == pytest.approx(free_energy, abs=1e-6)
    assert exact.energy / side**2 == pytest.approx(energy, abs=1e-6)
    assert exact.specific_heat / side**2 == pytest.approx(specific_heat, abs=1e-4)
    assert exact.entropy / side**2 == pytest.approx(entropy, abs=1e-6)


def test_specific_heat_peaks_above_the_critical_temperature():
    peak = minimize_scalar(
        lambda t: -thermodynamics((16, 16), t).specific_heat / 256,
        bounds=(2.2, 2.4),
        method="bounded",
    )
    assert peak.x == pytest.approx(2.317, abs=1e-3)
    assert -peak.fun == pytest.approx(1.552, abs=5e-4)


@pytest.mark.parametrize("temperature", [1.5, 2.0, 3.0])
def test_onsager(temperature):
    k = 1.0 / temperature
    kappa = 2.0 * math.sinh(2.0 * k) / math.cosh(2.0 * k) ** 2

    def integrand(angle):
        return math.log(0.5 * (1.0 + math.sqrt(1.0 - (kappa * math.sin(angle)) ** 2)))

    log_z = math.log(2.0 * math.cosh(2.0 * k)) + quad(integrand, 0.0, math.pi)[0] / (2.0 * math.pi)
    factor = 2.0 * math.tanh(2.0 * k) ** 2 - 1.0
    energy = -(1.0 + 2.0 / math.pi * factor * ellipk(kappa**2)) / math.tanh(2.0 * k)
    side = 128
    exact = thermodynamics((side, side), temperature)
    # Below T_c the two phases leave ln 2 in ln Z.
    phases = math.log(2.0) if temperature < CRITICAL else 0.0
    assert (exact.log_partition - phases) / side**2 == pytest.approx(log_z, rel=1e-10)
    assert exact.energy / side**2 == pytest.approx(energy, rel=1e-10)


def test_sides_may_be_exchanged():
    assert thermodynamics((6, 11), 2.2) == thermodynamics((11, 6), 2.2)


def test_zero_coupling_is_free_spins():
    assert thermodynamics((3, 5), 2.0, 0.0) == pytest.approx(
        (15 * math.log(2.0), -30 * math.log(2.0), 0.0, 0.0, 15 * math.log(2.0))
    )


@pytest.mark.parametrize("temperature", [1e-3, 1e6])
def test_limits_of_temperature(temperature):
    exact = thermodynamics((32, 32), temperature)
    assert exact.entropy == pytest.approx(math.log(2.0) * (1 if temperature < 1.0 else 1024), rel=1e-9)
    assert exact.energy == pytest.approx(-2048.0 * min(1.0, 1.0 / temperature), rel=1e-9)


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
    ],
)
def test_bad_arguments_are_named(shape, temperature, coupling, name):
    with pytest.raises(ValueError, match=name):
        thermodynamics(shape, temperature, coupling)
