import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.operators import Operator
from lightdan.simulation.annealing import (
    LARGEST_SCALE,
    likeliest_scale,
    log_partition,
    log_partition_from_sites,
)
from lightdan.simulation.tempering import temper
from lightdan.simulation.terms import Terms, energies, gather
from lightdan.testing import all_configurations

STATES = all_configurations((3, 4), (-1, 1)).numpy().astype(np.int8)


def hamiltonian(scale=1.0):
    """Return a Hamiltonian of different fields, bonds of either sign and products of three."""
    rng = np.random.default_rng(0)
    terms = [rng.choice(12, order, replace=False) for order in rng.choice([1, 2, 2, 2, 3], 40)]
    operators = [Operator("", np.array([np.sort(term)]), scale * rng.normal()) for term in terms]
    return ExplicitHamiltonian((3, 4), operators, 1.0)


@pytest.mark.parametrize("scale", [0.2, 1.0])
def test_ln_z_by_enumeration(scale):
    h = hamiltonian(scale)
    exact = np.logaddexp.reduce(-h.energy(STATES))
    steps = []
    found = log_partition(h.moves(), num_chains=400, num_steps=60, seed=1, progress=steps.append)
    assert abs(found.value - exact) < 3 * found.error < 0.3
    assert sum(steps) == 400


@pytest.mark.slow
def test_intervals_of_ln_z_cover_it():
    h = hamiltonian(0.5)
    exact = np.logaddexp.reduce(-h.energy(STATES))
    found = [log_partition(h.moves(), num_chains=200, num_steps=30, seed=seed) for seed in range(100)]
    assert np.mean([abs(f.value - exact) < f.error for f in found]) == pytest.approx(0.68, abs=0.1)


def test_tempering_by_enumeration():
    h = hamiltonian()
    temperatures = [0.7, 1.0, 1.5, 2.5]
    moves = h.moves()
    found = temper(
        moves,
        temperatures,
        num_ladders=40,
        num_steps=100,
        observe=lambda s: np.stack([energies(s, moves), s.mean(1)]),
        sweeps=2,
    )
    assert found.shape == (2, 4, 40, 80)
    energy, m = h.energy(STATES), STATES.reshape(len(STATES), -1).mean(1)
    for k, temperature in enumerate(temperatures):
        p = np.exp(-(energy - energy.min()) / temperature)
        for series, values in zip(found[:, k], (energy, m), strict=True):
            means = series.mean(1)
            assert abs(means.mean() - p @ values / p.sum()) < 4 * means.std(ddof=1) / 40**0.5


@pytest.mark.slow
def test_cold_chains_reach_both_signs_through_the_hot_ones():
    pairs = np.stack([np.arange(12), (np.arange(12) + 1) % 12], 1)
    bonds = Operator("", np.concatenate([pairs, (pairs * 5) % 12]), 1.0)
    moves = ExplicitHamiltonian((12,), [bonds], 1.0).moves()
    m = temper(moves, np.geomspace(0.3, 8, 10).tolist(), 8, 400, lambda s: s.mean(1)[None], sweeps=1)
    assert np.abs(m[0, 0].mean()) < 0.35
    assert np.abs(m[0, 0]).mean() > 0.99


def random_interactions(kind, num_sites=5, scale=0.4, seed=0):
    """Return fields and all pairs with random couplings; levels have three values."""
    rng = np.random.default_rng(seed)
    if kind == "spin":
        table, factors = None, (1,)
    else:
        table, factors = rng.normal(size=(2, 3)), (0, 1)
    pairs = [(i, j) for i in range(num_sites) for j in range(i)]
    terms = [Terms(np.array([[i]]), (factors[-1],), rng.normal() - 1) for i in range(num_sites)]
    terms += [Terms(np.array([p]), (factors[0], factors[-1]), scale * rng.normal()) for p in pairs]
    return gather(kind, num_sites, terms, table)


@pytest.mark.parametrize("kind", ["spin", "level"])
def test_ln_z_from_independent_sites_by_enumeration(kind):
    h = random_interactions(kind)
    q = {"spin": 2, "level": 3}[kind]
    states = np.stack(np.meshgrid(*[np.arange(q)] * 5, indexing="ij"), -1).reshape(-1, 5)
    exact = np.logaddexp.reduce(-energies(2 * states - 1 if kind == "spin" else states, h))
    shape = (5, 3) if kind == "level" else (5,)
    fields = np.random.default_rng(1).normal(size=shape)
    found = [log_partition_from_sites(h, fields, 100, 20, seed)[0] for seed in range(40)]
    pulls = [(f.value - exact) / f.error for f in found]
    assert max(f.error for f in found) < 0.2
    assert 0.8 < np.sqrt(np.mean(np.square(pulls))) < 1.2


def test_ln_z_of_fields_by_quadrature():
    """Check two coupled fields in double wells, ∫∫ e^{φ_1 φ_2/2 + φ² − φ⁴ + 0.3 φ_1}."""
    sites = np.array([[0], [1]])
    terms = [
        Terms(sites, (2,), 1.0),
        Terms(sites, (4,), -1.0),
        Terms(np.array([[0]]), (1,), 0.3),
        Terms(np.array([[0, 1]]), (1, 1), 0.5),
    ]
    h = gather("real", 2, terms)
    x = np.linspace(-4, 4, 801)
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    exact = np.log(np.exp(-energies(grid, h)).sum() * (x[1] - x[0]) ** 2)
    fields = np.array([[0.2, 0.9], [0.1, 0.8]])
    found = [log_partition_from_sites(h, fields, 100, 20, seed)[0] for seed in range(40)]
    pulls = [(f.value - exact) / f.error for f in found]
    assert max(f.error for f in found) < 0.15
    assert 0.8 < np.sqrt(np.mean(np.square(pulls))) < 1.2


def neighbours(size, coupling=0.8):
    """Return the bonds of a window of 3 × 3 sites, H and all states of spins or levels."""
    sites = np.arange(9).reshape(3, 3)
    across, down = (
        np.stack([a.ravel(), b.ravel()], 1)
        for a, b in ((sites[:, :-1], sites[:, 1:]), (sites[:-1], sites[1:]))
    )
    bonds = np.concatenate([across, down])
    if size == 2:
        moves = gather("spin", 9, [Terms(bonds, (1, 1), coupling)])
        return moves, all_configurations((3, 3), (-1, 1)).numpy().reshape(-1, 9)
    moves = gather("level", 9, [Terms(bonds, (0, 0), coupling)], np.array([[1.0, 0.0, -1.0]]))
    return moves, all_configurations((3, 3), (0, 1, 2)).numpy().reshape(-1, 9)


@pytest.mark.parametrize(("size", "scale"), [(2, 0.35), (2, 1.0), (2, 1.6), (3, 0.7)])
def test_likeliest_scale_by_enumeration(size, scale):
    """Check data of bonds and other pairs, whose likelihood under scaled bonds has its maximum at x."""
    moves, states = neighbours(size)
    energy = energies(states, moves)
    other = (states[:, [0, 2, 4]] - 1) @ [0.2, -0.1, 0.1]
    p = np.exp(-scale * energy - other)
    mean = p @ energy / p.sum()

    def cost(x):
        return x * mean + np.logaddexp.reduce(-x * energy)

    best = minimize_scalar(cost, bounds=(0, 2), method="bounded", options={"xatol": 1e-6})
    steps = []
    found = likeliest_scale(moves, mean, num_chains=400, seed=1, progress=steps.append)
    weights = np.exp(-best.x * (energy - energy.min()))
    deviation = np.sqrt(np.cov(energy, aweights=weights / weights.sum(), ddof=0))
    assert abs(found - best.x) < 4 / (400**0.5 * deviation)
    assert cost(found) - best.fun < 8 / 400
    assert sum(steps) == 400


def test_scales_of_data_without_and_with_perfect_order():
    moves, states = neighbours(2, 0.3)
    assert likeliest_scale(moves, energies(states, moves).mean() + 1, 100) == 0
    assert likeliest_scale(moves, energies(states, moves).min(), 100) == LARGEST_SCALE
