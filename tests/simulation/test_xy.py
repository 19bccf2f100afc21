"""Simulated averages against the character expansion, and the definition of a vortex."""

import math
import os
import signal

import numpy as np
import pytest
from scipy.special import iv

from lightdan import statistics
from lightdan.lattices.bravais import honeycomb, hypercubic, kagome, triangular
from lightdan.lattices.graphs import graph
from lightdan.simulation import chains, xy
from lightdan.simulation.characters import thermodynamics

NUM = 16_000


def per_chain(x):
    """``(M,)`` -> ``(chains, M / chains)``."""
    return np.reshape(x, (chains.NUM_CHAINS, -1))


def agrees(estimate, exact):
    return abs(estimate.value - exact) < 4.0 * estimate.error


@pytest.mark.parametrize(
    ("shape", "temperature", "coupling"),
    [
        ((4, 4), 1.0, 1.0),
        ((16,), 1.0, 1.0),
        ((2, 2), 1.3, 1.0),
        ((1, 5), 0.7, 1.0),
        ((3, 5), 2.0, 1.0),
        ((2, 6), 0.9, -1.0),
        ((3, 3), 50.0, 1.0),
    ],
)
def test_energy_and_its_fluctuations_are_exact(shape, temperature, coupling):
    run = xy.simulate(shape, temperature, NUM, coupling=coupling)
    energy = xy.energy(run.configurations, coupling)
    exact = thermodynamics(shape, temperature, coupling)
    assert agrees(statistics.mean(per_chain(energy)), exact.energy)
    square = statistics.mean(per_chain((energy - exact.energy) ** 2 / temperature**2))
    assert agrees(square, exact.specific_heat)
    assert all(tau.value < 1.0 for tau in run.tau.values())


def integrated(lattice, temperature, coupling, points):
    """Return ⟨H⟩ and ⟨(H − ⟨H⟩)²⟩/T² by the trapezoidal rule, exact to rounding, with θ_0 = 0."""
    angles = 2 * np.pi * np.indices((points,) * (lattice.num_sites - 1)) / points
    angles = np.pad(angles.reshape(lattice.num_sites - 1, -1).T, ((0, 0), (1, 0)))
    first, second = lattice.bonds.T
    own = xy.bond_couplings(lattice, coupling)
    energy = -np.cos(angles[:, first] - angles[:, second]) @ own
    weights = np.exp(-(energy - energy.min()) / temperature)
    mean = np.average(energy, weights=weights)
    return mean, np.average((energy - mean) ** 2, weights=weights) / temperature**2


TRIANGLE_AND_TAIL = graph(4, [(0, 1), (1, 2), (2, 0), (2, 3)])
COMPLETE = graph(4, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])


@pytest.mark.parametrize(
    ("lattice", "temperature", "coupling"),
    [
        (TRIANGLE_AND_TAIL, 0.6, [1.0, 0.8, 0.5, -1.3]),
        (COMPLETE, 0.5, [1.0, -1.0, 0.6, -0.9, 1.1, -0.7]),
        (triangular((2, 2)), 1.2, [0.3, 1.0, -0.2]),
        (honeycomb((1, 2)), 0.7, 1.0),
        (hypercubic((1, 2, 2)), 1.5, 1.0),
    ],
)
def test_energy_of_any_graph_is_that_of_the_integral(lattice, temperature, coupling):
    run = xy.simulate(lattice, temperature, NUM // 4, coupling=coupling)
    energy = xy.energy(run.configurations, coupling, lattice)
    mean, heat = integrated(lattice, temperature, coupling, 40)
    assert agrees(statistics.mean(per_chain(energy)), mean)
    assert agrees(statistics.mean(per_chain((energy - mean) ** 2 / temperature**2)), heat)


def test_frustrated_triangle_is_that_of_bessel_functions():
    """Σ_n I_n(K)³ with K < 0 has alternating signs; the tail multiplies it by I_0(K)."""
    temperature = 0.4
    n = np.arange(-40, 41)
    k = 1 / temperature
    ring = ((-1.0) ** n * iv(n, k) ** 3).sum()
    slope = ((-1.0) ** n * 3 * iv(n, k) ** 2 * (iv(n - 1, k) + iv(n + 1, k)) / 2).sum()
    exact = -slope / ring - iv(1, k) / iv(0, k)
    assert integrated(TRIANGLE_AND_TAIL, temperature, -1.0, 40)[0] == pytest.approx(exact, abs=1e-10)


def test_replicas_take_over_where_sweeps_do_not_decorrelate(monkeypatch):
    found = []

    def pilot(*arguments, **settings):
        found.append(settled(*arguments, **settings) if found else (1, False))
        return found[-1]

    settled = chains.pilot
    monkeypatch.setattr(chains, "pilot", pilot)
    run = xy.simulate(TRIANGLE_AND_TAIL, 0.4, NUM // 4, coupling=-1.0)
    assert len(found) > 1
    assert run.configurations.shape == (NUM // 4, 4)
    energy = xy.energy(run.configurations, -1.0, TRIANGLE_AND_TAIL)
    mean, _ = integrated(TRIANGLE_AND_TAIL, 0.4, -1.0, 40)
    assert agrees(statistics.mean(per_chain(energy)), mean)


@pytest.mark.parametrize(
    ("lattice", "faces"),
    [
        (triangular((4, 5)), {3: 40}),
        (honeycomb((3, 4)), {6: 12}),
        (kagome((3, 3)), {3: 18, 6: 9}),
        (hypercubic((3, 4, 5)), {4: 180}),
    ],
)
def test_random_angles_have_the_vortices_of_their_loops(lattice, faces):
    """A loop of n random angles has the mean |winding| of n − 1 wrapped differences and their sum."""
    rng = np.random.default_rng(0)
    s = 2 * np.pi * rng.random((1000, *lattice.shape))
    expected = 0.0
    for corners, number in faces.items():
        loop = 2 * np.pi * rng.random((100_000, corners))
        ahead = np.angle(np.exp(1j * (np.roll(loop, -1, axis=1) - loop)))
        expected += number * np.abs(np.rint(ahead.sum(axis=1) / (2 * np.pi))).mean()
    found = xy.vortex_pairs(s, lattice)
    assert found.mean() == pytest.approx(expected / lattice.num_sites / 2, rel=0.03)
    assert not xy.vortex_pairs(np.full((2, *lattice.shape), 1.3), lattice).any()


def test_order_of_120_degrees_is_a_vortex_in_every_triangle():
    lattice = triangular((3, 6))
    s = 2 * np.pi / 3 * (lattice.places @ [1, -1] % 3).reshape(1, 3, 6)
    assert xy.energy(s, -1.0, lattice)[0] == pytest.approx(-1.5 * 18)
    assert xy.vortex_pairs(s, lattice)[0] == pytest.approx(1.0)


def test_helicity_modulus_of_a_ring_is_exact():
    """A twist φ per bond has Z(φ) = Σ_n I_n(K)^N cos(n N φ), so Υ = T N ⟨n²⟩."""
    num_sites, temperature = 6, 0.5
    n = np.arange(-30, 31)
    weights = iv(n, 1 / temperature) ** num_sites
    exact = temperature * num_sites * (weights @ n**2) / weights.sum()
    run = xy.simulate((num_sites,), temperature, NUM)
    modulus = xy.helicity_modulus(run.configurations, temperature)
    assert agrees(statistics.mean(per_chain(modulus)), exact)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (1.0, {"energy": -1.3359, "helicity": 0.4926, "pairs": 0.01033, "order": 0.6390}),
        pytest.param(
            0.8929,
            {"energy": -1.4503, "helicity": 0.6482, "pairs": 0.00395, "order": 0.7191},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_sixteen_by_sixteen_is_that_of_longer_runs(temperature, expected):
    run = xy.simulate((16, 16), temperature, 4800)
    s = run.configurations
    measured = {
        "energy": xy.energy(s) / 256,
        "helicity": xy.helicity_modulus(s, temperature),
        "pairs": xy.vortex_pairs(s),
        "order": np.abs(np.exp(1j * s).mean(axis=(1, 2))),
    }
    for name, values in measured.items():
        assert agrees(statistics.mean(per_chain(values)), expected[name]), name
    assert all(tau.value < 1.0 for tau in run.tau.values())


def test_vortices_of_random_angles_and_of_a_spin_wave():
    random = 2 * np.pi * np.random.default_rng(0).random((4000, 6, 5))
    pairs = xy.vortex_pairs(random)
    assert agrees(statistics.mean(pairs), 1 / 6)
    rows = np.arange(12)[:, None] * np.ones((1, 8))
    wave = np.mod(2 * np.pi * rows / 12, 2 * np.pi)[None]
    assert xy.vortex_pairs(wave)[0] == 0
    assert not xy.vortex_pairs(random.reshape(4000, 30)).any()


def test_angles_are_in_their_range_and_turn_freely():
    run = xy.simulate((4, 4), 0.3, 3200)
    s = run.configurations
    assert s.dtype == np.float32
    assert s.min() >= 0
    assert s.max() < np.float32(2 * np.pi)
    direction = statistics.mean(per_chain(np.cos(s).mean(axis=(1, 2))))
    assert agrees(direction, 0.0)


@pytest.mark.parametrize("num", [1, 17, 100])
def test_number_of_rows_and_progress(num):
    numbers = []
    run = xy.simulate((3, 5), 2.0, num, progress=numbers.append)
    assert run.configurations.shape == (num, 3, 5)
    assert sum(numbers) == num


def test_seed_determines_every_angle(monkeypatch):
    first = xy.simulate((8, 8), 1.0, 1000, seed=3)
    np.random.seed(1)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(xy, "SITES_PER_CALL", 1000)
    again = xy.simulate((8, 8), 1.0, 1000, seed=3)
    assert np.array_equal(first.configurations, again.configurations)
    assert not np.array_equal(
        first.configurations, xy.simulate((8, 8), 1.0, 1000, seed=4).configurations
    )


def test_interrupt_ends_the_run_at_the_next_call():
    """A call simulates a bounded number of sites, and the signal is heard after it."""
    numbers = []

    def interrupt(new):
        numbers.append(new)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            xy.simulate((8, 8), 0.9, 500_000, progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(numbers) == 1
    assert numbers[0] <= chains.NUM_CHAINS * xy.SITES_PER_CALL // 64


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"lattice": ()}, "axes"),
        ({"lattice": (0,)}, "cells"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"num_configurations": 0}, "num_configurations"),
        ({"coupling": math.inf}, "coupling"),
        ({"coupling": [1.0, 2.0, 3.0]}, "3 numbers, but there are 2 directions"),
    ],
)
def test_bad_input_is_named(change, culprit):
    arguments = {"lattice": (4, 4), "temperature": 1.0, "num_configurations": 10, "coupling": 1.0}
    with pytest.raises(ValueError, match=culprit):
        xy.simulate(**(arguments | change))
