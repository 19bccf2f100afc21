"""Exact solutions of planar lattices against enumeration, Kaufman and the thermodynamic limit."""

import math
from functools import cache

import numpy as np
import pytest

from lightdan import statistics
from lightdan.lattices.bravais import honeycomb, kagome, triangular
from lightdan.simulation import chains, ising, kaufman
from lightdan.simulation.planar import thermodynamics

CORNERS = ((0, 1), (1, 0), (0, 0))
"""Corners of a triangle; the bond opposite corner d has direction d, and the third is (1, −1)."""
BASIS = {"square": 1, "triangular": 1, "honeycomb": 2, "kagome": 3}


def bonds(lattice, cell):
    """Yield direction, cells and places of the bonds of a cell."""
    i, j = cell
    if lattice in ("square", "triangular"):
        for direction, (x, y) in enumerate(((1, 0), (0, 1), (1, -1))[: 2 + (lattice == "triangular")]):
            yield direction, (i, j, 0), (i + x, j + y, 0)
    elif lattice == "honeycomb":
        for direction, (x, y) in enumerate(CORNERS):
            yield direction, (i, j, 0), (i + x, j + y, 1)
    else:
        for direction in range(3):
            m, n = (corner for corner in range(3) if corner != direction)
            x, y = np.subtract(CORNERS[m], CORNERS[n])
            yield direction, (i, j, m), (i, j, n)
            yield direction, (i, j, m), (i + x, j + y, n)


@cache
def sums_of_bonds(lattice, shape):
    """Return Σ s_i s_j in each direction for all states with the first spin up `(3, states)`."""
    sites = np.arange(math.prod(shape) * BASIS[lattice]).reshape(*shape, BASIS[lattice])
    states = np.arange(2 ** (sites.size - 1))
    sums = np.zeros((3, len(states)))
    for cell in np.ndindex(shape):
        for direction, *ends in bonds(lattice, cell):
            first, second = (sites[i % shape[0], j % shape[1], place] for i, j, place in ends)
            sums[direction] += 1 - 2 * ((states >> first ^ states >> second) & 1)
    return sums


@pytest.mark.parametrize("temperature", [0.3, 1.5])
@pytest.mark.parametrize(
    ("lattice", "shape"),
    [
        ("square", (3, 3)),
        ("triangular", (4, 4)),
        ("triangular", (2, 5)),
        ("honeycomb", (2, 3)),
        pytest.param("honeycomb", (3, 3), marks=pytest.mark.slow),
        ("kagome", (2, 2)),
        pytest.param("kagome", (2, 3), marks=pytest.mark.slow),
    ],
)
def test_enumeration(lattice, shape, temperature):
    """Ferromagnet, antiferromagnet and unequal couplings, frustrated and not."""
    for couplings in ((1.0,) * 3, (-1.0,) * 3, (0.3, -0.5, 0.2), (-0.8, -0.1, 1.1)):
        energy = -np.array(couplings) @ sums_of_bonds(lattice, shape)
        weights = np.exp(-(energy - energy.min()) / temperature)
        log_z = math.log(2 * weights.sum()) - energy.min() / temperature
        weights /= weights.sum()
        mean = weights @ energy
        heat = weights @ (energy - mean) ** 2 / temperature**2
        exact = thermodynamics(lattice, shape, temperature, couplings[: 2 + (lattice != "square")])
        expected = log_z, -temperature * log_z, mean, heat, log_z + mean / temperature
        assert [*exact] == pytest.approx(expected, rel=1e-11, abs=1e-10)
        if couplings[0] == couplings[1]:
            assert thermodynamics(lattice, shape, temperature, couplings[0]) == exact


@pytest.mark.parametrize(
    ("lattice", "side", "temperature", "coupling", "free_energy", "energy", "entropy"),
    [
        ("triangular", 8, 4 / math.log(3), 1.0, -3.2387450, -2.127165, 19.53912),
        pytest.param(
            *("triangular", 12, 0.5, -1.0, -1.1646905, -0.9987025, 47.80455), marks=pytest.mark.slow
        ),
        ("honeycomb", 8, 2 / math.log(2 + math.sqrt(3)), 1.0, -1.5642597, -1.191410, 31.42575),
        ("kagome", 8, 4 / math.log(3 + math.sqrt(12)), 1.0, -2.0963841, -1.530422, 50.69924),
    ],
)
def test_numbers(lattice, side, temperature, coupling, free_energy, energy, entropy):
    """F and S come from an independent program."""
    exact = thermodynamics(lattice, (side, side), temperature, coupling)
    sites = BASIS[lattice] * side**2
    assert exact.free_energy / sites == pytest.approx(free_energy, abs=1.1e-7)
    assert exact.energy / sites == pytest.approx(energy, abs=1e-6)
    assert exact.entropy == pytest.approx(entropy, abs=3e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lattice", "temperature", "coupling"),
    [(triangular, 3.641, 1.0), (triangular, 1.0, -1.0), (honeycomb, 1.519, 1.0), (kagome, 2.143, 1.0)],
)
def test_simulations_of_larger_tori(lattice, temperature, coupling):
    run = ising.simulate(lattice((16, 16)), temperature, 4800, coupling=coupling)
    energy = ising.energy(run.configurations, coupling, lattice=lattice((16, 16)))
    exact = thermodynamics(lattice.__name__, (16, 16), temperature, coupling)
    estimate = statistics.mean(energy.reshape(chains.NUM_CHAINS, -1))
    assert abs(estimate.value - exact.energy) < 4 * estimate.error


def test_square_lattice_is_that_of_kaufman():
    assert thermodynamics("square", (3, 4), 2.1) == pytest.approx(kaufman.thermodynamics((3, 4), 2.1))


@pytest.mark.parametrize(("lattice", "shape"), [("triangular", (3, 3)), ("square", (3, 4))])
def test_ground_states_of_frustrated_tori(lattice, shape):
    """The precision rises with 1/T, because most of the four products cancels."""
    sums, counts = np.unique(sums_of_bonds(lattice, shape).sum(0), return_counts=True)
    exact = thermodynamics(lattice, shape, 0.05, -1.0)
    assert exact.energy == pytest.approx(sums[0], rel=1e-12)
    assert exact.entropy == pytest.approx(math.log(2 * counts[0]), rel=1e-11)


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (("cubic", (4, 4), 1.0), "lattice"),
        (("kagome", (4,), 1.0), "shape"),
        (("kagome", (1, 4), 1.0), "shape"),
        (("kagome", (4, 4), 0.0), "temperature"),
        (("square", (4, 4), 1.0, (1.0, 1.0, 1.0)), "coupling"),
        (("kagome", (4, 4), 1.0, math.nan), "coupling"),
    ],
)
def test_bad_arguments_are_named(arguments, culprit):
    with pytest.raises(ValueError, match=culprit):
        thermodynamics(*arguments)
