"""Simulated averages against enumeration, the transfer matrix and Kaufman."""

import itertools
import math
import os
import signal

import numpy as np
import pytest

from lightdan import statistics
from lightdan.simulation import chains, ising
from lightdan.simulation.kaufman import thermodynamics

NUM = 16_000


def exact_averages(shape, temperature, coupling, field):
    """Return E, |m| and C by a sum over all states."""
    states = itertools.product([-1, 1], repeat=math.prod(shape))
    spins = np.array(list(states), dtype=np.int8).reshape(-1, *shape)
    energy = ising.energy(spins, coupling, field)
    weights = np.exp(-(energy - energy.min()) / temperature)
    weights /= weights.sum()
    average = weights @ energy
    order = weights @ np.abs(spins.reshape(len(spins), -1).mean(axis=1))
    return average, order, weights @ (energy - average) ** 2 / temperature**2


def per_chain(x):
    """Reshape ``(M,)`` to ``(chains, M / chains)``."""
    return np.reshape(x, (chains.NUM_CHAINS, -1))


def agrees(estimate, exact):
    """Return whether the estimate is within 4 σ; a rare state may be missed altogether."""
    return abs(estimate.value - exact) < 4.0 * estimate.error + 1e-5 * abs(exact)


@pytest.mark.parametrize(
    ("shape", "temperature", "coupling", "field"),
    [
        ((4, 4), 2.269185, 1.0, 0.0),
        ((4, 4), 1.0, 1.0, 0.0),
        ((4, 4), 10.0, 1.0, 0.0),
        ((3, 4), 2.5, 1.0, 0.0),
        ((2, 5), 3.0, 1.0, 0.0),
        ((2, 2), 4.0, 1.0, 0.0),
        ((1, 6), 1.0, 1.0, 0.0),
        ((4, 4), 2.0, -1.0, 0.0),
        ((3, 4), 1.5, -1.0, 0.0),
        ((3, 3), 2.0, 1.0, 0.01),
        ((3, 3), 2.0, 1.0, -0.3),
        ((4, 4), 2.269185, 1.0, 0.1),
        ((4, 4), 3.0, 1.0, 2.0),
        ((3, 3), 3.0, 1.0, -5.0),
        ((4, 4), 2.0, -1.0, 1.5),
        ((3, 3), 1.5, -1.0, -1.0),
        ((3, 3), 1.5, 0.0, 0.4),
        ((1,), 1.5, 1.0, 0.4),
    ],
)
def test_enumeration(shape, temperature, coupling, field):
    run = ising.simulate(shape, temperature, NUM, coupling=coupling, field=field)
    energy = ising.energy(run.configurations, coupling, field)
    magnetization = run.configurations.reshape(NUM, -1).mean(axis=1)
    exact_energy, exact_order, exact_heat = exact_averages(shape, temperature, coupling, field)
    heat = statistics.jackknife(lambda e, e2: (e2 - e * e) / temperature**2, energy, energy**2)
    assert agrees(statistics.mean(per_chain(energy)), exact_energy)
    assert agrees(statistics.mean(per_chain(np.abs(magnetization))), exact_order)
    assert agrees(heat, exact_heat)
    if field == 0.0:
        assert agrees(statistics.mean(per_chain(magnetization)), 0.0)
    for tau in run.tau.values():
        assert tau.value < 1.0


@pytest.mark.parametrize("coupling", [1.0, -1.0])
@pytest.mark.parametrize("field", [0.05, -0.8])
def test_ring_against_the_transfer_matrix(coupling, field):
    sites, temperature = 24, 0.8
    spins = np.array([1.0, -1.0])

    def log_partition(beta):
        exponent = beta * (coupling * np.outer(spins, spins) + 0.5 * field * np.add.outer(spins, spins))
        return math.log((np.linalg.eigvalsh(np.exp(exponent)) ** sites).sum())

    step = 1e-4
    beta = 1.0 / temperature
    exact = -(log_partition(beta + step) - log_partition(beta - step)) / (2.0 * step)
    run = ising.simulate((sites,), temperature, NUM, coupling=coupling, field=field)
    energy = ising.energy(run.configurations, coupling, field)
    assert agrees(statistics.mean(per_chain(energy)), exact)


@pytest.mark.parametrize("seed", [0, 1])
def test_critical_energy(seed):
    run = ising.simulate((16, 16), 2.269185, 60_000, seed=seed)
    energy = statistics.mean(per_chain(ising.energy(run.configurations) / 256))
    exact = thermodynamics((16, 16), 2.269185).energy / 256
    assert agrees(energy, exact)
    assert energy.error < 1e-3
    assert run.tau["energy"].value + 3.0 * run.tau["energy"].error < 1.0
    assert run.tau["abs_magnetization"].value + 3.0 * run.tau["abs_magnetization"].error < 1.0
    assert run.updates_per_configuration <= 6


def test_times_are_those_of_the_rows():
    run = ising.simulate((8, 8), 2.3, 1600)
    energy = per_chain(ising.energy(run.configurations))
    assert run.tau["energy"] == statistics.autocorrelation_time(energy)


def test_frustrated_lattice_ends_and_reports_its_times():
    run = ising.simulate((5, 5), 0.4, 1600, coupling=-1.0)
    assert run.updates_per_configuration <= chains.MAX_SPACING
    assert 0.3 < run.tau["energy"].value < 2.0


@pytest.mark.parametrize("spacing", [1, 2])
def test_both_phases_are_equally_likely_at_low_temperature(spacing, monkeypatch):
    monkeypatch.setattr(chains, "pilot", lambda *arguments, **settings: (spacing, True))
    run = ising.simulate((8, 8), 1.0, 1600)
    magnetization = per_chain(run.configurations.reshape(1600, -1).mean(axis=1))
    assert np.all(np.abs(magnetization.mean(axis=1)) < 4.0 / math.sqrt(100))
    assert run.tau["magnetization"].value < 0.7


def test_both_phases_are_visited_in_a_weak_field():
    run = ising.simulate((8, 8), 1.0, 1600, field=1e-3)
    magnetization = run.configurations.reshape(1600, -1).mean(axis=1)
    average = statistics.mean(per_chain(magnetization))
    # Two saturated phases of magnetisation ±0.9993 share the weight e^{±hM/T}.
    assert agrees(average, 0.9993 * math.tanh(64 * 0.9993 * 1e-3))
    assert run.tau["magnetization"].value < 1.0


def test_energy_counts_the_bonds():
    up = np.ones((1, 4, 4), np.int8)
    assert ising.energy(up, 1.0, 0.5) == pytest.approx([-32.0 - 8.0])
    assert ising.energy(np.ones((1, 2, 2), np.int8)) == pytest.approx([-8.0])
    assert ising.energy(np.ones((1, 1, 5), np.int8)) == pytest.approx([-5.0])
    assert ising.energy(np.ones((1, 1), np.int8), 1.0, 0.5) == pytest.approx([-0.5])


@pytest.mark.parametrize("num", [1, 5, 16, 17, 100])
def test_number_of_rows_and_progress(num):
    numbers = []
    run = ising.simulate((3, 5), 2.0, num, progress=numbers.append)
    assert run.configurations.shape == (num, 3, 5)
    assert run.configurations.dtype == np.int8
    assert set(np.unique(run.configurations)) <= {-1, 1}
    assert sum(numbers) == num
    assert all(new > 0 for new in numbers)


def test_seed_determines_every_spin(monkeypatch):
    first = ising.simulate((8, 8), 2.3, 3000, field=0.1, seed=3)
    np.random.seed(1)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(ising, "SITES_PER_CALL", 1000)
    again = ising.simulate((8, 8), 2.3, 3000, field=0.1, seed=3)
    other = ising.simulate((8, 8), 2.3, 3000, field=0.1, seed=4)
    assert np.array_equal(first.configurations, again.configurations)
    assert first.tau["energy"] == again.tau["energy"]
    assert not np.array_equal(first.configurations, other.configurations)


def test_interrupt_ends_the_run_at_the_next_call():
    """A call simulates a bounded number of sites, and the signal is heard after it."""
    numbers = []

    def interrupt(new):
        numbers.append(new)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            ising.simulate((8, 8), 2.269185, 500_000, progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(numbers) == 1
    assert numbers[0] <= chains.NUM_CHAINS * ising.SITES_PER_CALL // 64


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"lattice": ()}, "axes"),
        ({"lattice": (4, 0)}, "cells"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"num_configurations": 0}, "num_configurations"),
        ({"coupling": math.inf}, "coupling"),
        ({"field": math.nan}, "field"),
    ],
)
def test_bad_arguments_are_named(arguments, name):
    valid = {"lattice": (4, 4), "temperature": 2.0, "num_configurations": 10}
    with pytest.raises(ValueError, match=name):
        ising.simulate(**{**valid, **arguments})
