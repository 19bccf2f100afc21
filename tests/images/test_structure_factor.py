import math

import numpy as np
import pytest

from lightdan.images import structure_factor

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(16, 16), (12, 17)])
def test_power_of_noise_is_flat_and_that_of_a_wave_has_its_peak(shape):
    noise = RNG.choice([-1.0, 1.0], (4000, *shape))
    k, s = structure_factor.structure_factor(noise)
    assert k.shape == s.mean(0).shape
    np.testing.assert_allclose(s.mean(0)[2:], 1.0, atol=0.05)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for wave in (0.9, 1.2, 1.7):
        phases, angles = 2 * np.pi * RNG.random((2, 500, 1, 1))
        waves = np.cos(wave * (np.cos(angles) * x + np.sin(angles) * y) + phases)
        k, s = structure_factor.structure_factor(waves)
        # The Hann window lowers the peak of a wave that has two periods in it by 3.2(2) %.
        tolerance = 0.04 if shape == (16, 16) else 0.07
        assert structure_factor.peak(k, s.mean(0))[0] == pytest.approx(wave, rel=tolerance)


def test_structure_factor_is_the_sum_over_sites(monkeypatch):
    """The first bin agrees with the definition, and batches agree with a single pass."""
    patches = RNG.choice([-1, 1], (7, 5, 6)).astype(np.int8)
    _, s = structure_factor.structure_factor(patches)
    y, x = np.mgrid[:5, :6]
    w = (np.sin(np.pi * (y + 0.5) / 5) * np.sin(np.pi * (x + 0.5) / 6)) ** 2
    total, norm = np.zeros(7), 0
    for i in range(-5, 5):
        for j in range(-6, 7):
            size = 2 * np.pi * np.hypot(i / 10, j / 12)
            if 0.5 < size * 6 / np.pi < 1.5 and j != -6:
                wave = np.exp(2j * np.pi * (i * y / 10 + j * x / 12))
                total += np.abs(((patches - patches.mean()) * w * wave).sum((1, 2))) ** 2
                norm += 1
    np.testing.assert_allclose(s[:, 0], total / norm / (w**2).sum())
    monkeypatch.setattr(structure_factor, "SITES_PER_BATCH", 60)
    np.testing.assert_allclose(structure_factor.structure_factor(patches)[1], s)


def test_width_of_a_gaussian_peak_and_no_width_at_the_end():
    k = np.linspace(0.1, 3, 30)
    found = structure_factor.peak(k, np.exp(-((k - 1.23) ** 2) / (2 * 0.4**2)))
    assert found == pytest.approx((1.23, 0.4 * math.sqrt(2 * math.log(2))))
    at, width = structure_factor.peak(k, np.exp(-k))
    assert at == k[0]
    assert math.isnan(width)
