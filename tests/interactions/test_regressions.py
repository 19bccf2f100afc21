import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm, vonmises

from lightdan.interactions import independent
from lightdan.interactions.gaussian import Normal, best_normal
from lightdan.interactions.observations import Observations
from lightdan.interactions.pairwise import pairwise
from lightdan.interactions.regressions import FINE, WIDTHS, Sites, best_regression, regress
from lightdan.simulation.terms import energies

KINDS = {"spin": (-1, 1), "level": (0, 1, 2), "angle": ()}
GRID = 2 * math.pi * np.arange(16) / 16


def states_of(kind, num_sites):
    """Return all states, for angles those of a grid, and the volume of one state."""
    values = {"spin": np.array([-1, 1], np.int8), "level": np.arange(3, dtype=np.int8), "angle": GRID}[
        kind
    ]
    grid = np.meshgrid(*[values] * num_sites, indexing="ij")
    volume = 1 / len(GRID) if kind == "angle" else 1.0  # in the measure dθ/2π
    return torch.as_tensor(np.stack(grid, -1).reshape(-1, num_sites)), volume**num_sites


def pair_model(kind, num_sites, num, seed=0):
    """Draw rows of a random Hamiltonian of pairs and fields; return them, all states and ln p."""
    rng = np.random.default_rng(seed)
    states, volume = states_of(kind, num_sites)
    f = Sites(kind, KINDS[kind]).features(states).double().numpy()
    size = f.shape[1]
    couplings = np.triu(rng.normal(size=(size, size)) * 0.5, 1)
    site = np.arange(size) * num_sites // size
    couplings[site[:, None] == site] = 0
    log_p = f @ rng.normal(size=size) * 0.5 + ((f @ couplings) * f).sum(1)
    log_p -= np.logaddexp.reduce(log_p)
    chosen = rng.choice(len(states), num, p=np.exp(log_p))
    return states[chosen], states, log_p - math.log(volume)


def test_logistic_regressions_by_a_general_minimiser():
    rows, _, _ = pair_model("spin", 5, 600)
    spins, width = rows.numpy().astype(float), 0.2
    total = np.zeros(len(spins))
    for site in range(5):
        x = np.column_stack([np.ones(len(spins)), spins[:, :site]])

        def loss(w, x=x, site=site):
            return np.logaddexp(0, -2 * spins[:, site] * (x @ w)).sum() + w[1:] @ w[1:] / (2 * width**2)

        w = minimize(loss, np.zeros(site + 1), method="BFGS").x
        total -= np.logaddexp(0, -2 * spins[:, site] * (x @ w))
    found = regress(Observations(rows), Sites("spin"), before=True, width=width).log_prob(rows)
    np.testing.assert_allclose(found, total, atol=0.01)
    assert found.mean() == pytest.approx(total.mean(), abs=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_regressions_on_the_sites_before_are_normalised_and_nearly_exact(kind):
    """Check that two sites, whose model is exact, are learned to the cost of their parameters."""
    rows, states, log_p = pair_model(kind, 2, 8_000)
    fit = best_regression(Observations(rows), Sites(kind, KINDS[kind]), before=True)
    found = fit.log_prob(states)
    volume = states_of(kind, 2)[1]
    assert (np.exp(found) * volume).sum() == pytest.approx(1, abs=2e-3)
    divergence = volume * (np.exp(log_p) * (log_p - found)).sum()
    assert abs(divergence) < 4 * fit.weight.numel() / 8_000 + (0.02 if kind == "angle" else 0)


def test_the_width_is_the_best_between_the_coarse_ones():
    observations, sites = Observations(pair_model("spin", 4, 150, seed=3)[0]), Sites("spin")
    fit = best_regression(observations, sites, before=True)
    assert fit.width not in WIDTHS

    def held_out(width):
        pairs = observations.folds()
        return sum(regress(b, sites, True, width).log_prob(a.rows).sum() for a, b in pairs)

    assert held_out(fit.width) > max(held_out(fit.width * step) for step in (3**-0.5, 3**0.5))
    same = regress(observations, sites, before=True, width=fit.width, tolerance=FINE)
    torch.testing.assert_close(fit.weight, same.weight)


@pytest.mark.parametrize("kind", ["level", "angle"])
def test_all_pairs_give_the_hamiltonian(kind):
    rows, states, log_p = pair_model(kind, 3, 20_000)
    fit = best_regression(Observations(rows), Sites(kind, KINDS[kind]), before=False)
    volume = states_of(kind, 3)[1]
    found = -energies(states.numpy(), pairwise(fit))
    found -= np.logaddexp.reduce(found) + math.log(volume)
    divergence = volume * (np.exp(log_p) * (log_p - found)).sum()
    assert 0 < divergence < 3 * fit.weight.numel() / 2 / 20_000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [True, False])
def test_counts_are_repeated_rows(kind, before):
    rows, states, _ = pair_model(kind, 3, 2_000)
    different, counts = np.unique(rows.numpy(), axis=0, return_counts=True)
    counted = Observations(torch.as_tensor(different), torch.as_tensor(counts))
    first = regress(Observations(rows), Sites(kind, KINDS[kind]), before, 1.0).log_prob(states)
    second = regress(counted, Sites(kind, KINDS[kind]), before, 1.0).log_prob(states)
    np.testing.assert_allclose(second, first, atol=0.02)


@pytest.mark.parametrize("kind", [*KINDS, "real"])
def test_independent_sites(kind):
    rng = np.random.default_rng(0)
    if kind == "real":
        values = rng.normal(size=(500, 2)) * [3, 0.1] + [300, -1]
        rows = torch.as_tensor(values)
        found = independent.log_prob(Observations(rows), rows, "real", ())
        exact = norm.logpdf(values, values.mean(0), values.std(0)).sum(1)
        np.testing.assert_allclose(found, exact)
        np.testing.assert_allclose(
            independent.fields(Observations(rows), "real", ())[:, 0], values.mean(0)
        )
        return
    if kind == "angle":
        rows = torch.as_tensor(rng.vonmises(0, 1, (3_000, 2)) % (2 * math.pi))
        fine = 2 * math.pi * (np.arange(64) + 0.5) / 64
        states = torch.as_tensor(np.stack([fine, np.full(64, 1.0)], 1))
        found = independent.log_prob(Observations(rows), states, "angle", ())
        alone = independent.log_prob(Observations(rows[:, 1:]), states[:, 1:], "angle", ())
        exact = 2 * math.pi * vonmises.pdf(fine, 1)
        assert np.exp(found - alone).mean() == pytest.approx(1)
        np.testing.assert_allclose(np.exp(found - alone), exact, atol=0.4)
        return
    rows, _, _ = pair_model(kind, 2, 3_000)
    states, volume = states_of(kind, 2)
    found = independent.log_prob(Observations(rows), states, kind, KINDS[kind])
    assert (np.exp(found) * volume).sum() == pytest.approx(1, abs=1e-9)
    if kind == "level":
        fields = independent.fields(Observations(rows), kind, KINDS[kind])
        np.testing.assert_allclose(np.exp(fields).sum(1), 1)
        np.testing.assert_allclose(fields[[0, 1], [2, 1]].sum(), found[7])  # levels 2 and 1
    if kind == "spin":
        fields = independent.fields(Observations(rows), kind, KINDS[kind])
        means = rows.double().mean(0).numpy()
        np.testing.assert_allclose(np.tanh(fields), means, atol=1e-3)


def test_uniform_angles_have_one_bin():
    rows = torch.as_tensor(2 * math.pi * np.random.default_rng(0).random((2_000, 9)))
    found = independent.log_prob(Observations(rows), rows, "angle", ())
    np.testing.assert_allclose(found, 0, atol=1e-9)


def test_a_normal_distribution():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5)) + 1e4
    weights = rng.integers(0, 5, 400)
    observations = Observations(torch.as_tensor(rows), torch.as_tensor(weights))
    covariance = np.cov(rows, rowvar=False, ddof=0, fweights=weights)
    exact = multivariate_normal(np.average(rows, axis=0, weights=weights), covariance).logpdf(rows)
    np.testing.assert_allclose(
        Normal(observations, 0.0).log_prob(torch.as_tensor(rows)), exact, rtol=1e-6
    )
    alone = independent.log_prob(observations, torch.as_tensor(rows), "real", ())
    np.testing.assert_allclose(Normal(observations, 1.0).log_prob(torch.as_tensor(rows)), alone)


def test_shrinkage_follows_the_number_of_rows():
    rng = np.random.default_rng(1)
    rows = torch.as_tensor(rng.normal(size=(4_000, 30)))
    held_out = torch.as_tensor(rng.normal(size=(4_000, 30)))
    exact = norm.logpdf(held_out.numpy()).sum(1).mean()
    for num in (100, 4_000):
        found = best_normal(Observations(rows[:num])).log_prob(held_out).mean()
        assert exact - found < 3 * 60 / 2 / num  # as much as means and variances cost


def test_a_field_that_never_changes_is_named():
    rows = torch.as_tensor(np.random.default_rng(0).normal(size=(50, 3)))
    rows[:, 1] = 2.0
    with pytest.raises(
        ValueError, match="Site 1 never changes, so its density is infinite: leave it out"
    ):
        independent.moments(Observations(rows))
