import numpy as np
import pytest

from lightdan.measurements.phases import ladders
from lightdan.measurements.phases.ladders import (
    Change,
    Ladders,
    falling_root,
    free_energies,
    with_errors,
)
from lightdan.testing import all_configurations

TEMPERATURES = np.array([1.0, 1.5, 2.2, 3.0])
STATES = all_configurations((6,), (-1, 1)).numpy()
BONDS = (STATES * np.roll(STATES, -1, 1)).sum(1)
MAGNETIZATION = np.abs(STATES.mean(1))


def chains(num_ladders, coupling=1.0, spread=0.0, seed=0, num_steps=60):
    """Independent draws from a ring of six spins, with draws of its coupling."""
    rng = np.random.default_rng(seed)
    rows = []
    for temperature in TEMPERATURES:
        p = np.exp(coupling * BONDS / temperature)
        rows.append(rng.choice(len(p), (num_ladders, num_steps), p=p / p.sum()))
    index = np.array(rows)
    draws = [Change(change * -BONDS[index]) for change in rng.normal(0, spread, 24)] if spread else []
    return Ladders(TEMPERATURES, 6, -coupling * BONDS[index], MAGNETIZATION[index], variations=draws)


def exact(coupling, temperature):
    p = np.exp(coupling * BONDS / temperature)
    p /= p.sum()
    energy, m = -coupling * BONDS, MAGNETIZATION
    return {
        "energy": p @ energy / 6,
        "specific_heat": (p @ energy**2 - (p @ energy) ** 2) / (6 * temperature**2),
        "abs_magnetization": p @ m,
        "susceptibility": 6 * (p @ m**2 - (p @ m) ** 2) / temperature,
        "binder_cumulant": 1 - p @ m**4 / (3 * (p @ m**2) ** 2),
    }


@pytest.mark.parametrize("name", ["energy", "specific_heat", "susceptibility", "binder_cumulant"])
def test_intervals_of_moments_cover_the_sum_over_states(name):
    hits = []
    for seed in range(60):
        for k, estimate in enumerate(with_errors(getattr(ladders, name), chains(16, seed=seed))):
            hits.append(abs(estimate.value - exact(1.0, TEMPERATURES[k])[name]) < estimate.error)
    assert np.mean(hits) == pytest.approx(0.68, abs=0.1)


def test_the_error_of_a_coupling_is_that_of_its_moments():
    """E itself changes with the coupling, and so do the weights: d(JE)/dJ by differences."""
    estimates = with_errors(ladders.energy, chains(32, spread=0.05, num_steps=2000))
    for temperature, estimate in zip(TEMPERATURES, estimates, strict=True):
        up, down = (exact(1.0 + d, temperature)["energy"] for d in (0.01, -0.01))
        assert estimate.error == pytest.approx(0.05 * abs(up - down) / 0.02, rel=0.5)


def test_free_energies_are_those_of_the_sum_over_states():
    series = chains(64, num_steps=500)
    reduced = series.hamiltonian.ravel() / TEMPERATURES[:, None]
    log_z = [np.log(np.exp(BONDS / temperature).sum()) for temperature in TEMPERATURES]
    np.testing.assert_allclose(free_energies(reduced), log_z[0] - np.array(log_z), atol=0.02)


def test_free_energies_solve_the_equations_of_multiple_histograms():
    reduced = chains(8).hamiltonian.ravel() / TEMPERATURES[:, None]
    free = free_energies(reduced)
    density = (np.exp(free[:, None] - reduced)).mean(0)
    again = -np.log((np.exp(-reduced) / density).mean(1))
    np.testing.assert_allclose(again - again[0], free, atol=1e-9)
    assert free_energies(reduced[:1]).tolist() == [0.0]


def test_the_peak_of_the_specific_heat_by_multiple_histograms():
    grid = np.linspace(TEMPERATURES[0], TEMPERATURES[-1], 2001)
    heat = [exact(2.5, temperature)["specific_heat"] for temperature in grid]
    series = chains(32, coupling=2.5, num_steps=400)
    place, value, *_ = with_errors(ladders.peaks, series, bias_corrected=False)
    assert abs(place.value - grid[int(np.argmax(heat))]) < 4 * place.error < 0.4
    assert abs(value.value - max(heat)) < 4 * value.error < 0.1


def test_a_curve_that_only_rises_has_no_falling_root():
    x = np.linspace(1, 2, 8)
    assert falling_root(x, 1.4 - x, 1, 1.5) == pytest.approx(1.4)
    assert np.isnan(falling_root(x, x - 1.4, 1, 1.5))
    (estimate,) = with_errors(lambda series: np.nan, chains(4), bias_corrected=False)
    assert estimate.error == np.inf
