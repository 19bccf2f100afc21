import math

import numpy as np
import pytest

from lightdan.images import correlations

RNG = np.random.default_rng(0)


def test_correlation_by_hand():
    patches = RNG.choice([-1, 1], (5, 4, 6))
    c = correlations.correlation(patches)
    s = patches - patches.mean()
    assert c.shape == (5, 3)
    np.testing.assert_allclose(c[:, 0], (s**2).mean((1, 2)))
    down = [s[1, i, j] * s[1, i + 2, j] for i in range(2) for j in range(6)]
    right = [s[1, i, j] * s[1, i, j + 2] for i in range(4) for j in range(4)]
    assert c[1, 2] == pytest.approx((np.mean(down) + np.mean(right)) / 2)


def test_correlation_length_of_an_exponential():
    r = np.arange(20)
    assert correlations.correlation_length(np.exp(-r / 5.0)) == pytest.approx(5.0)
    assert correlations.correlation_length(np.exp(-r / 4.5)) == pytest.approx(4.5, abs=0.05)
    assert math.isnan(correlations.correlation_length(np.ones(4)))
