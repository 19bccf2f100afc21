"""The character expansion against integrals over all angles and closed forms."""

import math

import numpy as np
import pytest
from scipy.special import iv

from lightdan.simulation.characters import log_partition, thermodynamics


def integral(shape, beta, points):
    """Ln Z by the trapezoidal rule in every angle but the first; it converges exponentially."""
    angles = 2 * np.pi * np.arange(points) / points
    others = np.meshgrid(*[angles] * (math.prod(shape) - 1), indexing="ij")
    s = np.stack([np.zeros_like(others[0]), *others]).reshape(*shape, -1)
    axes = [axis for axis, side in enumerate(shape) if side > 1]
    bonds = sum(np.cos(np.roll(s, 1, axis) - s).reshape(math.prod(shape), -1).sum(0) for axis in axes)
    return np.log(np.exp(beta * bonds).mean())


@pytest.mark.parametrize(
    ("shape", "beta", "points"),
    [
        ((2,), 1.3, 40),
        ((5,), 0.8, 20),
        ((1, 4), 1.5, 24),
        ((2, 2), 1.1, 40),
        ((2, 2), -0.7, 40),
        ((3, 2), 0.6, 16),
        ((4,), -1.2, 24),
    ],
)
def test_partition_function_is_the_integral(shape, beta, points):
    assert log_partition(shape, beta) == pytest.approx(integral(shape, beta, points), abs=1e-9)


def test_known_numbers():
    # H. E. Stanley's ring, and the expansion of 4 × 4 in independent arithmetic
    assert log_partition((16,), 1.0) == pytest.approx(3.774635, abs=1e-6)
    found = thermodynamics((4, 4), 1.0)
    assert found.log_partition == pytest.approx(10.64748, abs=5e-6)
    assert found.energy / 16 == pytest.approx(-1.41173, abs=5e-6)


def test_both_sides_may_be_the_shorter():
    assert log_partition((3, 5), 0.9) == pytest.approx(log_partition((5, 3), 0.9), abs=1e-9)
    assert log_partition((1, 7), 0.9) == log_partition((7,), 0.9) == log_partition((7, 1), 0.9)
    assert log_partition((1,), 0.9) == 0.0


def test_high_temperature_series():
    # ln Z = N K²/2 + N K⁴ (1 − …): two bonds a site, I_0(K) = 1 + K²/4, and the plaquettes 2 (K/2)⁴
    k = 0.02
    expected = 2 * math.log(iv(0, k)) + 2 * (k / 2) ** 4
    # rings around the width of 4 have the same order: two a row, one row for each site of a column
    expected += 2 * (k / 2) ** 4 / 4
    assert log_partition((4, 5), k) / 20 == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("shape", "temperature"), [((3, 3), 1.2), ((16,), 0.7), ((2, 4), 0.8)])
def test_derivatives(shape, temperature):
    found = thermodynamics(shape, temperature)
    beta, step = 1 / temperature, 1e-3 / temperature
    low, middle, high = (log_partition(shape, beta + k * step) for k in (-1, 0, 1))
    assert found.energy == pytest.approx(-(high - low) / (2 * step), rel=1e-5)
    curvature = (high - 2 * middle + low) / step**2
    assert found.specific_heat == pytest.approx(beta**2 * curvature, rel=1e-4)
    assert found.free_energy == pytest.approx(found.energy - temperature * found.entropy)


def test_energy_of_a_ring_is_a_ratio_of_bessel_functions():
    n, k = np.arange(-40, 41), 1.4
    weights = iv(n, k) ** 6
    derivative = 0.5 * (iv(n - 1, k) + iv(n + 1, k)) * iv(n, k) ** 5
    expected = -6 * derivative.sum() / weights.sum()
    assert thermodynamics((6,), 1 / 1.4).energy == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("shape", "temperature", "coupling", "culprit"),
    [
        ((4, 4), 0.0, 1.0, "temperature"),
        ((4, 4), math.nan, 1.0, "temperature"),
        ((0,), 1.0, 1.0, "shape"),
        ((2, 2, 2), 1.0, 1.0, "shape"),
        ((3, 4), 1.0, -1.0, "even sides"),
        ((5, 6), 1.0, 1.0, "at most 4"),
        ((4, 4), 0.1, 1.0, "at most 2.5"),
        ((4, 4), 1.0, math.inf, "coupling"),
    ],
)
def test_bad_input_is_named(shape, temperature, coupling, culprit):
    with pytest.raises(ValueError, match=culprit):
        thermodynamics(shape, temperature, coupling)
