"""Tails of importance weights against closed forms and an independent implementation."""

import math

import numpy as np
import pytest
from scipy.stats import genpareto

from lightdan.statistics import pareto_shape, weakness, weakness_of_size
from lightdan.statistics.pareto import fitted_shape


def pareto_quantiles(shape, num):
    """Return the quantiles of the generalised Pareto distribution with σ = 1, in closed form."""
    p = (np.arange(num) + 0.5) / num
    return np.expm1(-shape * np.log1p(-p)) / shape


@pytest.mark.parametrize("shape", [-0.5, 0.2, 0.7, 1.5])
@pytest.mark.parametrize("scale", [1e-6, 3.0])
def test_fit_finds_the_shape_of_pareto_quantiles(shape, scale):
    assert fitted_shape(scale * pareto_quantiles(shape, 2000)) == pytest.approx(shape, abs=0.03)


@pytest.mark.parametrize("shape", [-0.3, 0.4, 1.0])
def test_fit_agrees_with_maximum_likelihood(shape):
    """The errors of both are 0.03, and they are nearly the same estimate."""
    x = np.sort(genpareto.rvs(shape, size=2000, random_state=1))
    assert fitted_shape(x) == pytest.approx(genpareto.fit(x, shape, floc=0)[0], abs=0.005)


@pytest.mark.parametrize(("shape", "threshold"), [(0.2, 0.7), (0.5, 0.7), (1.0, 0.7)])
def test_shape_of_the_tail_of_weights(shape, threshold):
    """Pareto tails keep their shape above any w_0; a constant factor of the weights changes nothing."""
    rng = np.random.default_rng(0)
    log_weights = np.log1p(np.expm1(-shape * np.log(rng.random(200_000))) / shape)
    found = pareto_shape(log_weights)
    assert found == pytest.approx(shape, abs=0.12)
    assert pareto_shape(log_weights + 700.0) == pytest.approx(found, rel=1e-6)
    assert (weakness(log_weights) is not None) is (shape > threshold)
    assert (weakness_of_size(log_weights) is not None) is (2 * shape > threshold)


def test_few_or_equal_weights_have_no_tail():
    assert math.isnan(pareto_shape(np.zeros(1000)))
    assert math.isnan(pareto_shape([0.0]))
    assert weakness(np.zeros(1000)) is None
    assert weakness(np.zeros(30)) is None


def test_few_effective_samples_are_weak():
    log_weights = np.log(np.r_[np.full(60, 1.0), np.full(940, 1e-9)])
    assert weakness(log_weights) == "60 effective samples, the largest is 1.7 %"
