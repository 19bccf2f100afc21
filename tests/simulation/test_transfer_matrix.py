import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lightdan.simulation import paths
from lightdan.simulation.transfer_matrix import TransferMatrix
from lightdan.statistics import mean


def double_well(x):
    return (x * x - 1.96) ** 2


def oscillator(x):
    return 0.845 * x * x


def tilted(x):
    return 0.3 * x**4 - 0.5 * x * x + 0.4 * x


@pytest.mark.parametrize(
    ("beta", "x2", "action", "log_z", "entropy"),
    [
        (20, 1.60558, 71.109, -34.8179, 35.11),
        (40, 1.62140, 78.776, -67.4557, 54.50),
        (80, 1.68913, 88.878, -122.1172, 54.30),
    ],
)
def test_double_well_of_128_slices(beta, x2, action, log_z, entropy):
    solved = TransferMatrix(double_well, beta, 128)
    assert solved.mean(np.square) == pytest.approx(x2, abs=5e-6)
    assert solved.mean_action() == pytest.approx(action, abs=5e-4)
    assert solved.log_partition == pytest.approx(log_z, abs=5e-5)
    assert solved.entropy() == pytest.approx(entropy, abs=5e-3)
    energies = solved.continuum_energies()
    assert energies[:2] == pytest.approx([1.770516, 1.770516 + 0.108171], abs=1e-6)


@pytest.mark.parametrize(("beta", "n"), [(4.0, 16), (0.5, 3), (30.0, 12)])
def test_harmonic_path_is_gaussian(beta, n):
    """The harmonic oscillator agrees with the inverse and the determinant of K."""
    a = beta / n
    step = np.roll(np.eye(n), 1, axis=1)
    kernel = (2 / a + 1.69 * a) * np.eye(n) - (step + step.T) / a
    covariance = np.linalg.inv(kernel)
    solved = TransferMatrix(oscillator, beta, n)
    log_z = -0.5 * np.linalg.slogdet(a * kernel)[1]
    assert solved.log_partition == pytest.approx(log_z, abs=1e-10)
    assert solved.mean_action() == pytest.approx(n / 2, abs=1e-8)
    assert solved.entropy() == pytest.approx(
        n / 2 * math.log(2 * math.pi * math.e) + log_z + n / 2 * math.log(a), abs=1e-8
    )
    np.testing.assert_allclose(solved.correlator(), covariance[0], atol=1e-10)
    frequency = 2 / a * math.asinh(math.sqrt(1.69) * a / 2)
    np.testing.assert_allclose(np.diff(solved.energies[:3]), frequency, rtol=1e-9)
    np.testing.assert_allclose(solved.continuum_energies()[:3], 1.3 * (np.arange(3) + 0.5), rtol=1e-9)


@pytest.mark.parametrize("potential", [double_well, tilted])
def test_density_of_the_sampled_paths_is_exact(potential):
    """ln q = −S − ln Z to 1e-10, where q is the product of the probabilities per cell width.

    q follows from the paths alone: x_0 on the diagonal of T^N, then each x_i given x_{i−1} and x_0.
    """
    solved = TransferMatrix(potential, 3.0, 7)
    part = np.concatenate(list(solved.sample(5, seed=1)))
    grid, h, n = solved.grid, solved.grid[1] - solved.grid[0], 7
    log_z = solved.log_partition - n / 2 * math.log(1 / (2 * math.pi * solved.spacing))
    for path in part:
        # A grid through each point: sums over it do not depend on where it lies.
        grids = [grid + (x - grid[np.abs(grid - x).argmin()]) for x in path]
        log_q = 0.0
        for i in range(n):
            backward = solved._matrix(grids[-1], np.array([path[0], path[0] + h]))[:, :1]
            if i < n - 1:
                for j in range(n - 1, i + 1, -1):
                    backward = solved._matrix(grids[j - 1], grids[j]) @ backward
            if i == 0:
                weights = np.array([_closed(solved, [np.array([x]), *grids[1:]], h) for x in grids[0]])
            else:
                pair = np.array([path[i - 1], path[i - 1] + h])
                row = solved._matrix(pair, grids[i])[0]
                if i < n - 1:
                    backward = solved._matrix(grids[i], grids[i + 1]) @ backward
                weights = row * backward[:, 0]
            probability = weights[np.abs(grids[i] - path[i]).argmin()] / weights.sum()
            log_q += math.log(probability / h)
        action = paths.action(path[None], potential, 3.0)[0]
        assert log_q == pytest.approx(-action - log_z, abs=1e-10)


def _closed(solved, grids, h):
    """Return the weight of all ways from a point of the first grid around the ring, up to a constant."""
    start = np.array([grids[0][0], grids[0][0] + h])
    row = solved._matrix(start, grids[1])[0]
    for before, after in itertools.pairwise(grids[1:]):
        row = row @ solved._matrix(before, after)
    return row @ solved._matrix(grids[-1], start)[:, 0]


def test_log_z_on_shifted_grids():
    solved = TransferMatrix(double_well, 20.0, 128)
    for seed in range(3):
        assert solved._draw(4, np.random.default_rng(seed))[1] == pytest.approx(
            solved.log_partition, abs=1e-10
        )


@pytest.mark.parametrize("beta", [20.0, 80.0])
def test_sampled_moments(beta):
    solved = TransferMatrix(double_well, beta, 128)
    drawn = np.concatenate(list(solved.sample(20_000, seed=3)))
    assert drawn.shape == (20_000, 128)
    for values, exact in (
        ((drawn**2).mean(1), solved.mean(np.square)),
        (paths.action(drawn, double_well, beta), solved.mean_action()),
        ((drawn * np.roll(drawn, 40, 1)).mean(1), solved.correlator()[40]),
        ((drawn > 0).mean(1), 0.5),
    ):
        found = mean(values)
        assert abs(found.value - exact) < 3 * found.error


def test_same_seed_same_paths_and_progress():
    solved = TransferMatrix(tilted, 2.0, 5)
    told = []
    first, second = (np.concatenate(list(solved.sample(3000, 7, told.append))) for _ in range(2))
    assert np.array_equal(first, second)
    assert sum(told) == 6000
    assert len(np.unique(first)) > first.size / 3


def test_values_fill_the_cells_of_the_grid_evenly():
    """Values are continuous: the shifts of the grids are uniform over a distance h."""
    solved = TransferMatrix(double_well, 20.0, 128)
    first = np.array([part[0] for part in solved.sample(300, seed=4)])
    h = solved.grid[1] - solved.grid[0]
    assert stats.kstest((first.ravel() - solved.grid[0]) / h % 1.0, "uniform").pvalue > 0.01


@pytest.mark.parametrize("sampler", ["metropolis", "hmc"])
def test_markov_chains_agree_with_the_exact_solution(sampler):
    """Both agree within three standard errors from the measured autocorrelation times."""
    solved = TransferMatrix(tilted, 4.0, 10)
    if sampler == "metropolis":
        run = paths.metropolis(tilted, 4.0, 10, 6000, seed=1)
    else:
        run = paths.hmc(tilted, lambda x: 1.2 * x**3 - x + 0.4, 4.0, 10, 6000, seed=1)
    assert run.configurations.shape == (6000, 10)
    assert max(tau.value for tau in run.tau.values()) < 1.5
    rows = run.configurations.astype(float)
    for values, exact in (
        (rows.mean(1), solved.mean(lambda x: x)),
        ((rows**2).mean(1), solved.mean(np.square)),
        (paths.action(rows, tilted, 4.0), solved.mean_action()),
        ((rows * np.roll(rows, 5, 1)).mean(1), solved.correlator()[5]),
    ):
        found = mean(values)
        assert abs(found.value - exact) < 3 * found.error


def test_potentials_that_do_not_confine_are_refused():
    with pytest.raises(ValueError, match="does not confine"):
        TransferMatrix(lambda x: 0 * x, 1.0, 4).grid  # noqa: B018
    with pytest.raises(ValueError, match="numba cannot compile"):
        paths.metropolis(lambda x: x.no_such_method(), 1.0, 4, 10)
