"""Errors of fits cover the truth, over many data sets of a known Hamiltonian."""

import numpy as np
import pytest
from intervals import TAU, pulls_of_fits

POOL = 100_000


@pytest.mark.parametrize(
    ("kind", "num_sets"),
    [
        pytest.param("spin", 150, marks=pytest.mark.slow),
        pytest.param("level", 60, marks=pytest.mark.slow),
        pytest.param("angle", 80, marks=pytest.mark.slow),
        ("real", 120),
    ],
)
def test_errors_of_independent_rows(kind, num_sets):
    check([pulls_of_fits(kind, 400, 0.5, seed, POOL) for seed in range(num_sets)])


@pytest.mark.slow
def test_errors_of_correlated_rows():
    check([pulls_of_fits("real", 4000, TAU, seed, POOL) for seed in range(80)])


def check(pulls):
    """Check that (estimate − truth)/error has a rms near 1 and is below 1 in 68 % of the cases.

    Errors that are 20 % too small or too large fail.
    """
    sizes = np.abs(pulls)
    assert 0.88 < np.sqrt((sizes**2).mean()) < 1.13
    assert 0.60 < (sizes < 1).mean() < 0.76
