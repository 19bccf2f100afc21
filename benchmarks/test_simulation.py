"""Time to simulate nearly independent configurations of 16 × 16 sites on two threads."""

import numpy as np
import pytest

from lightdan.simulation import explicit, ising, xy
from lightdan.simulation.terms import Terms, gather

SITES = np.arange(256).reshape(16, 16)


def pairs(*displacement):
    """Return the pairs of sites of a periodic lattice at a displacement."""
    other = np.roll(SITES, [-step for step in displacement], (0, 1))
    return np.stack([SITES.ravel(), other.ravel()], 1)


def fitted_couplings():
    """Return a ferromagnet with small couplings of both signs, as fits to data at T_c have them."""
    rng = np.random.default_rng(0)
    far = [(i, j) for i in range(5) for j in range(-4, 5) if 1 < i * i + j * j <= 16 and (i, j) > (0, 0)]
    plaquettes = np.stack([np.roll(SITES, (i, j), (0, 1)).ravel() for i in (0, 1) for j in (0, 1)], 1)
    terms = [Terms(pairs(*displacement), (1, 1), 1.0) for displacement in ((0, 1), (1, 0))]
    terms += [Terms(pairs(*displacement), (1, 1), 0.005 * rng.normal()) for displacement in far]
    terms += [Terms(plaquettes, (1, 1, 1, 1), 0.004), Terms(SITES.reshape(-1, 1), (1,), 0.001)]
    return gather("spin", 256, terms)


def angles():
    """Return the XY model."""
    terms = [Terms(pairs(*displacement), (1, -1), 1.0) for displacement in ((0, 1), (1, 0))]
    return gather("angle", 256, terms)


def fields():
    """Return φ⁴ theory at κ = 0.3 and λ = 0.5."""
    terms = [Terms(pairs(*displacement), (1, 1), 0.6) for displacement in ((0, 1), (1, 0))]
    return gather("real", 256, [*terms, Terms(SITES.reshape(-1, 1), (4,), -0.5)])


def levels():
    """Return the Potts model of three levels."""
    bonds = np.concatenate([pairs(0, 1), pairs(1, 0)])
    return gather("level", 256, [Terms(bonds, (k, k), 1.0) for k in range(3)], np.eye(3))


def test_ising_at_the_critical_temperature(benchmark):
    ising.simulate((16, 16), 2.269185, 100)  # compile
    run = benchmark.pedantic(ising.simulate, args=((16, 16), 2.269185, 60_000), rounds=3)
    assert run.configurations.shape == (60_000, 16, 16)
    assert run.tau["energy"].value < 1


def test_xy_at_the_transition(benchmark):
    xy.simulate((16, 16), 0.8929, 100)  # compile
    run = benchmark.pedantic(xy.simulate, args=((16, 16), 0.8929, 9_000), rounds=3)
    assert run.configurations.shape == (9_000, 16, 16)
    assert all(tau.value < 1 for tau in run.tau.values())


@pytest.mark.parametrize(
    ("interactions", "temperature", "num"),
    [
        (fitted_couplings, 2.269185, 20_000),
        (angles, 0.8929, 9_000),
        (fields, 1.0, 20_000),
        (levels, 1 / np.log(1 + 3**0.5), 20_000),
    ],
)
def test_explicit_hamiltonians(benchmark, interactions, temperature, num):
    found = interactions()
    explicit.simulate(found, temperature, 100)  # compile
    run = benchmark.pedantic(explicit.simulate, args=(found, temperature, num), rounds=1)
    assert run.configurations.shape == (num, 256)
    assert all(tau.value < 1 for tau in run.tau.values())
