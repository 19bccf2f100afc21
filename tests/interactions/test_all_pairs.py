import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from lightdan.interactions.all_pairs import (
    WIDTHS,
    choose_width,
    fit_all_pairs,
    likely_pairs,
)
from lightdan.interactions.graph_fit import fit_terms

STATES = ((np.arange(2**9)[:, None] >> np.arange(9) & 1) * 2 - 1).astype(np.int8)
PAIRS = np.triu_indices(9, 1)


def small_couplings(seed, num, width=0.15):
    """Draw fields and 36 small couplings of nine spins, and configurations."""
    rng = np.random.default_rng(seed)
    fields, couplings = rng.normal(size=9) * 0.3, rng.normal(size=36) * width
    log_p = STATES @ fields + (STATES[:, PAIRS[0]] * STATES[:, PAIRS[1]]) @ couplings
    p = np.exp(log_p) / np.exp(log_p).sum()
    return np.concatenate([fields, couplings]), torch.as_tensor(STATES[rng.choice(512, num, p=p)])


def test_few_rows_with_many_small_couplings():
    """Check that a prior beats plain pseudo-likelihood over all pairs, and that errors cover."""
    errors, plain, pulls = [], [], []
    for seed in range(8):
        truth, rows = small_couplings(seed, 895)
        fit = fit_all_pairs(rows, choose_width(rows))
        assert fit.terms[9:] == [(i, j) for i in range(9) for j in range(i + 1, 9)]
        deviation = fit.values[:, 0] - truth
        errors.append(np.square(deviation[9:]).mean())
        plain.append(np.square((fit_terms(rows, fit.terms).values[:, 0] - truth)[9:]).mean())
        pulls += (deviation / fit.values[:, 1]).tolist()
    assert np.mean(errors) < 0.97 * np.mean(plain)
    assert 0.9 < np.sqrt(np.mean(np.square(pulls))) < 1.1


def test_one_regression_by_a_general_minimiser():
    """Check the means of two regressions whose maxima scipy finds."""
    _, rows = small_couplings(0, 300)
    spins, width = rows.numpy().astype(float), 0.1
    found = np.zeros((9, 9))
    for site in range(9):
        others = [i for i in range(9) if i != site]

        def loss(x, site=site, others=others):
            z = 2 * spins[:, site] * (x[0] + spins[:, others] @ x[1:])
            centred = x[0] + spins[:, others].mean(0) @ x[1:]  # the prior of the field
            return np.logaddexp(0, -z).sum() + x[1:] @ x[1:] / (2 * width**2) + centred**2 / 18

        found[site, others] = minimize(loss, np.zeros(9), method="BFGS").x[1:]
    fit = fit_all_pairs(rows, width)
    between = np.sort([found[PAIRS], found.T[PAIRS]], axis=0)
    assert (fit.values[9:, 0] > between[0] - 1e-4).all()
    assert (fit.values[9:, 0] < between[1] + 1e-4).all()
    rough = fit_all_pairs(rows, width, errors=False)
    np.testing.assert_allclose(rough.values[9:, 0], found[PAIRS] / 2 + found.T[PAIRS] / 2, atol=0.003)
    np.testing.assert_allclose(fit.log_likelihood(rows), by_hand(fit, spins), rtol=1e-12)


def by_hand(fit, spins):
    """Return Σ_i ln p(s_i | all others) from energies of flipped spins."""
    values = dict(zip(fit.terms, fit.values[:, 0], strict=True))

    def energy(s):
        return -sum(coupling * s[:, term].prod(1) for term, coupling in values.items())

    total = np.zeros(len(spins))
    for site in range(9):
        flipped = spins.copy()
        flipped[:, site] *= -1
        total -= np.logaddexp(0, energy(spins) - energy(flipped))
    return total


def test_rows_that_are_copies_count_once():
    _, rows = small_couplings(1, 4_000)
    once = fit_all_pairs(rows, 3.0)
    copied = fit_all_pairs(rows.repeat_interleave(5, 0), 3.0, block_size=5)
    np.testing.assert_allclose(copied.values[:, 1], once.values[:, 1], rtol=0.2)
    assert np.mean(copied.values[:, 1] / once.values[:, 1]) == pytest.approx(1, abs=0.03)


def test_sites_that_are_constant_or_equal_leave_finite_couplings():
    _, rows = small_couplings(2, 500)
    rows[:, 4] = 1
    rows[:, 7] = rows[:, 1]
    fit = fit_all_pairs(rows, 0.5)
    assert np.isfinite(fit.values).all()
    assert fit.values[fit.terms.index((1, 7)), 0] > 0.5


def test_the_width_follows_the_couplings():
    chosen = [choose_width(small_couplings(0, 2_000, width)[1]) for width in (0.005, 0.1, 0.4)]
    assert chosen[0] <= 0.02 < chosen[1] < chosen[2]
    assert {*chosen} <= {*WIDTHS}


def test_likely_pairs_contain_every_strong_bond():
    truth, rows = small_couplings(3, 5_000, 0.3)
    likely = likely_pairs(rows, 3.0)
    strong = [pair for pair, j in zip(zip(*PAIRS, strict=True), truth[9:], strict=True) if abs(j) > 0.15]
    assert len(strong) > 10
    assert {*strong} <= {*likely}


def test_all_pairs_of_sixty_spins():
    """Check fields and couplings of 60 independent spins, with errors that cover."""
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.1, 0.9, 60)
    rows = torch.as_tensor(np.where(rng.random((3_000, 60)) < rates, 1, -1).astype(np.int8))
    fit = fit_all_pairs(rows, 3.0)
    truth = np.zeros(len(fit.terms))
    truth[:60] = 0.5 * np.log(rates / (1 - rates))
    pulls = (fit.values[:, 0] - truth) / fit.values[:, 1]
    assert 0.9 < np.sqrt(np.square(pulls[60:]).mean()) < 1.1
    assert 0.7 < np.sqrt(np.square(pulls[:60]).mean()) < 1.3


def test_counts_are_repeated_rows():
    """Check couplings and the width of the prior exactly, and errors to the noise of the blocks."""
    _, rows = small_couplings(5, 3_000)
    different, counts = np.unique(rows.numpy(), axis=0, return_counts=True)
    different, counts = torch.as_tensor(different), torch.as_tensor(counts)
    for errors in (True, False):
        first = fit_all_pairs(rows, 0.3, errors=errors).values
        second = fit_all_pairs(different, 0.3, errors=errors, weights=counts).values
        np.testing.assert_allclose(second[:, 0], first[:, 0], atol=2e-4)
        if errors:
            np.testing.assert_allclose(second[:, 1], first[:, 1], rtol=0.2)
            assert np.mean(second[:, 1] / first[:, 1]) == pytest.approx(1, abs=0.03)
    mixed = rows[torch.randperm(len(rows))]
    assert 0.4 < choose_width(different, counts) / choose_width(mixed) < 2.6
    assert likely_pairs(different, 3.0, weights=counts) == likely_pairs(rows, 3.0)
