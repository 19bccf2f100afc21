import math

import numpy as np
import pytest

from lightdan.images import correlations

RNG = np.random.default_rng(0)


def test_correlation_length_of_an_exponential():
    r = np.arange(20)
    assert correlations.correlation_length(np.exp(-r / 5.0)) == pytest.approx(5.0)
    assert correlations.correlation_length(np.exp(-r / 4.5)) == pytest.approx(4.5, abs=0.05)
    assert math.isnan(correlations.correlation_length(np.ones(4)))
