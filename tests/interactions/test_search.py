import math

import numpy as np
import pytest
import torch

import lightdan
from lightdan.interactions.choice import choose
from lightdan.interactions.graph_fit import fit_terms
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.operators import Operator, operators_of_terms
from lightdan.interactions.search import TermSearch
from lightdan.lattices.bravais import hypercubic
from lightdan.lattices.geometry import plaquettes

NUM = 12_000
BLOCK = 5


def configurations(terms, shape, seed=0, num=NUM):
    """Draw configurations of the Hamiltonian with these couplings at T = 1."""
    operators = [Operator(str(t), np.array([t]), j) for t, j in terms.items()]
    return torch.as_tensor(
        ExplicitHamiltonian(shape, operators, 1.0).simulate(1.0, num, seed).configurations
    )


def glass(shape, coupling, seed=0):
    operators = lightdan.edwards_anderson(shape, seed=seed).operators
    return {tuple(o.sites[0].tolist()): coupling * o.coupling for o in operators}


def independent(rates, num, seed):
    """Draw independent spins with these probabilities of +1."""
    up = np.random.default_rng(seed).random((num, len(rates))) < rates
    return torch.as_tensor(np.where(up, 1, -1).astype(np.int8))


def exact(terms, num_sites, num, seed):
    """Draw independent rows from all states of each block of five sites."""
    rng = np.random.default_rng(seed)
    states = np.array((np.arange(2**BLOCK)[:, None] >> np.arange(BLOCK) & 1) * 2 - 1, np.int8)
    rows = np.empty((num, num_sites), np.int8)
    for first in range(0, num_sites, BLOCK):
        inside = {term: j for term, j in terms.items() if first <= term[0] < first + BLOCK}
        log_p = sum(j * states[:, np.array(term) - first].prod(1) for term, j in inside.items())
        p = np.exp(log_p - log_p.max())
        rows[:, first : first + BLOCK] = states[rng.choice(len(p), num, p=p / p.sum())]
    return torch.as_tensor(rows)


def sparse_terms(num_sites, num_bonds, seed):
    """Draw rates of about .02 to .2, and bonds of either sign inside blocks."""
    rng = np.random.default_rng(seed)
    rates = rng.uniform(0.02, 0.2, num_sites)
    terms = {(i,): 0.5 * math.log(p / (1 - p)) for i, p in enumerate(rates)}
    while len(terms) < num_sites + num_bonds:
        first = BLOCK * rng.integers(num_sites // BLOCK)
        i, j = sorted((first + rng.choice(BLOCK, 2, replace=False)).tolist())
        coupling = terms[i, j] = rng.choice([-1, 1]) * rng.uniform(0.2, 0.4)
        terms[i,] += 0.8 * coupling  # the other spin is nearly always down
        terms[j,] += 0.8 * coupling
    return terms


def deviations(configurations, search, truth):
    """Return (J − J_true)/σ of the terms found."""
    fit = search.fit(configurations)
    return (fit.values[:, 0] - [truth.get(term, 0.0) for term in fit.terms]) / fit.values[:, 1]


def check(search, truth, configurations):
    assert {*search.terms} == {*truth} | {(site,) for site in range(configurations[0].numel())}
    z = deviations(configurations, search, truth)
    assert np.square(z).mean() < 2
    assert np.abs(z).max() < 4.5


def test_the_bonds_and_fields_of_a_glass_and_no_others():
    truth = glass((5, 5), 0.6) | {(3,): 0.4, (17,): -0.5}
    rows = configurations(truth, (5, 5), seed=1)
    search = TermSearch(rows)
    search.find()
    check(search, truth, rows)


def test_a_plaquette_beside_the_bonds_is_found_like_one():
    truth = glass((4, 5), 0.5) | {(0, 4, 15, 19): 0.5}
    corners = plaquettes(hypercubic((4, 5)))
    assert [19, 15, 4, 0] in corners.tolist()  # not ascending
    rows = configurations(truth, (4, 5))
    search = TermSearch(rows, corners)
    search.find()
    check(search, truth, rows)


@pytest.mark.parametrize("product", [(1, 8, 19), (1, 8, 14, 19)], ids=["three", "four"])
def test_a_product_of_far_spins_is_found_at_one_of_its_sites(product):
    truth = glass((4, 5), 0.5) | {product: 0.6}
    rows = configurations(truth, (4, 5))
    search = TermSearch(rows)
    search.find()
    looks = iter([[0], [8, 0], [0]])
    assert search.find_products(lambda search: next(looks, []), 3) == [product]
    search.find()
    check(search, truth, rows)


def test_nothing_is_found_in_noise():
    wrong = 0
    for seed in range(20):
        spins = torch.as_tensor(
            np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), (500, 4, 4))
        )
        search = TermSearch(spins, plaquettes(hypercubic((4, 4))), symmetric=True)
        search.find()
        wrong += len(search.terms) > 0
        assert search.product_at(0) is None
    assert wrong <= 2  # 0.2 are expected


def test_independent_spins_with_a_rate_of_one_in_twenty_have_fields_only():
    search = TermSearch(independent(np.full(15, 0.05), 40_000, 0))
    search.find()
    assert search.terms == [(site,) for site in range(15)]
    truth = dict.fromkeys(search.terms, math.log(1 / 19) / 2)
    z = deviations(search.spins, search, truth)
    assert 0.5 < np.sqrt(np.square(z).mean()) < 1.5


@pytest.mark.parametrize(
    ("num_sites", "num_bonds"),
    [
        (15, 0),
        pytest.param(15, 12, marks=pytest.mark.slow),
        pytest.param(50, 0, marks=pytest.mark.slow),
        pytest.param(50, 40, marks=pytest.mark.slow),
    ],
)
def test_twenty_data_sets_of_rare_spins(num_sites, num_bonds):
    """Check that no bond is false in twenty data sets, and that errors cover."""
    false, missing, pulls, rates = 0, 0, [], []
    for seed in range(20):
        truth = sparse_terms(num_sites, num_bonds, seed)
        rows = exact(truth, num_sites, 20_000, seed)
        search = TermSearch(rows)
        search.find()
        found = {*search.terms}
        assert {(site,) for site in range(num_sites)} <= found
        false += len(found - truth.keys())
        missing += len(truth.keys() - found)
        rates.append((rows > 0).double().mean(0).numpy())
        search.adopt([*truth])  # pulls without the effects of selection
        pulls += deviations(rows, search, truth).tolist()
    assert false <= 1  # 0.2 are expected
    assert missing <= 0.4 * 20 * num_bonds
    assert np.min(rates) < 0.03 < 0.15 < np.max(rates)
    assert 0.9 < np.sqrt(np.mean(np.square(pulls))) < 1.1


def test_a_pair_that_is_never_seen_together_has_a_bond_with_a_bound():
    rows = independent(np.full(6, 0.1), 10_000, 0)
    rows = rows[~((rows[:, 1] > 0) & (rows[:, 4] > 0))]  # about 100 rows
    search = TermSearch(rows)
    search.find()
    fit = search.fit(rows)
    assert search.terms[-1] == (1, 4) or (1, 4) in search.terms
    assert len(search.terms) == 7
    assert [*fit.bounded] == [(1, 4)]
    coupling, error = fit.values[fit.terms.index((1, 4))]
    assert -3 < coupling < -0.5
    assert error > 0.3


def test_sites_that_never_change_or_repeat_others_are_left_out_by_name():
    rows = independent(np.full(8, 0.3), 3_000, 0)
    rows[:, 3] = -1
    rows[:, 5] = rows[:, 2]
    rows[:, 7] = -rows[:, 2]
    search = TermSearch(rows)
    search.find()
    assert search.terms == [(0,), (1,), (2,), (4,), (6,)]
    assert [tie.reason for tie in search.left_out.values()] == [
        "site 3 never changes",
        "sites 2 and 5 are equal in every row",
        "sites 2 and 7 are opposite in every row",
    ]
    fit = search.fit(rows)
    bound = 0.5 * math.log(6_001)
    assert fit.values[-3:, 0].tolist() == pytest.approx([-bound, bound, -bound])
    assert np.isnan(fit.values[-3:, 1]).all()
    p = torch.sigmoid(fit.logits(rows) * rows)
    assert (p[:, [3, 5, 7]] > 0.999).all()


def test_symmetric_data_have_no_fields_unless_one_is_significant():
    rows = configurations(glass((4, 4), 0.5), (4, 4))
    search = TermSearch(rows, symmetric=True)
    search.find()
    assert {len(term) for term in search.terms} == {2}
    rows = configurations(glass((4, 4), 0.5) | {(5,): 0.3}, (4, 4))
    search = TermSearch(rows, symmetric=True)
    search.find()
    assert [term for term in search.terms if len(term) == 1] == [(site,) for site in range(16)]


def test_rows_that_are_copies_count_once():
    rows = independent(np.full(6, 0.3), 4_000, 1)
    once = TermSearch(rows)
    copied = TermSearch(rows.repeat_interleave(9, 0), block_size=9)
    for search in (once, copied):
        search.adopt([(site,) for site in range(6)])
        search.threshold = 0.01  # no shortcut
    for term in [(0, 1), (2, 5), (3, 4)]:
        assert copied.evidence(term) == pytest.approx(once.evidence(term), rel=0.1, abs=0.05)


def test_correlated_rows_need_blocks():
    """Check two-state chains with an autocorrelation time of 5 rows: no bond is false, errors cover."""
    truth = {(i,): 0.5 * math.log(p / (1 - p)) for i, p in enumerate(np.linspace(0.2, 0.8, 8))}
    keep = 1 - 1 / 5.5  # τ = 1/2 + keep/(1 − keep) = 5
    false, naive, pulls = 0, 0, []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        states = rng.random((10_000, 8)) < np.linspace(0.2, 0.8, 8)
        last = np.where(rng.random(states.shape) > keep, np.arange(10_000)[:, None], 0)
        rows = np.take_along_axis(states, np.maximum.accumulate(last, 0), 0)
        rows = torch.as_tensor(np.where(rows, 1, -1).astype(np.int8))
        for block_size in (50, 1):
            search = TermSearch(rows, block_size=block_size)
            search.find()
            bonds = len(search.terms) - 8
            if block_size == 1:
                naive += bonds
                continue
            false += bonds
            search.adopt([*truth])
            pulls += deviations(rows, search, truth).tolist()
    assert false <= 1
    assert naive > 5
    assert 0.8 < np.sqrt(np.mean(np.square(pulls))) < 1.2


@pytest.mark.slow
def test_a_sparse_graph_of_sixty_sites_with_fields():
    """Check that 20,000 rows give a nearly exact graph, and 60,000 an exact one."""
    rng = np.random.default_rng(5)
    truth = {(site,): rng.normal(-0.4, 0.5) for site in range(60) if site % 15}
    while len(truth) < 56 + 140:
        i, j = sorted(rng.choice(60, 2, replace=False).tolist())
        truth[i, j] = rng.choice([-1, 1]) * rng.uniform(0.1, 0.45)
    rows = configurations(truth, (60,), 3, 60_000)
    search = TermSearch(rows[:20_000])
    search.find()
    assert len({*search.terms} - truth.keys()) <= 1 + 4  # four fields are 0
    assert len(truth.keys() - {*search.terms}) <= 5
    search = TermSearch(rows)
    search.find()
    check(search, truth, rows)
    z = deviations(rows, search, truth)
    assert 0.8 < np.sqrt(np.square(z).mean()) < 1.2


def test_names_of_terms():
    names = [o.name for o in operators_of_terms([(3,), (3, 4), (3, 4, 19)])]
    assert names == ["field_3", "bond_3_4", "product_3_4_19"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(((4, 4), "uniform"), "'binary' or 'gaussian'"), (((2, 4),), "at least 3")],
)
def test_a_glass_that_cannot_be(arguments, words):
    with pytest.raises(ValueError, match=words):
        lightdan.edwards_anderson(*arguments)


def test_couplings_of_a_glass():
    binary = lightdan.edwards_anderson((16, 16), temperature=1.25, seed=3)
    assert {o.coupling for o in binary.operators} == {-1.0, 1.0}
    assert len({tuple(o.sites[0]) for o in binary.operators}) == 512
    gaussian = lightdan.edwards_anderson((32, 32), "gaussian", seed=3)
    couplings = np.array([o.coupling for o in gaussian.operators])
    assert abs(couplings.mean()) < 0.1
    assert couplings.std() == pytest.approx(1, abs=0.06)


def collapsed(rows):
    """Return the different rows and their counts."""
    different, counts = np.unique(rows.numpy(), axis=0, return_counts=True)
    return torch.as_tensor(different), torch.as_tensor(counts)


def test_counts_are_repeated_rows():
    """Check terms, couplings and evidence exactly, and errors to the noise of 2,000 blocks."""
    truth = sparse_terms(10, 6, 0)
    rows = exact(truth, 10, 8_000, 0)
    different, counts = collapsed(rows)
    repeated = TermSearch(rows)
    counted = TermSearch(different, weights=counts)
    for search in (repeated, counted):
        search.find()
    assert counted.terms == repeated.terms
    for term in [*repeated.terms, (0, 9), (2, 7)]:
        assert counted.evidence(term) == pytest.approx(repeated.evidence(term), rel=1e-9)
    first, second = repeated.fit(rows).values, counted.fit(different, counts).values
    np.testing.assert_allclose(second[:, 0], first[:, 0], rtol=1e-9)
    np.testing.assert_allclose(second[:, 1], first[:, 1], rtol=0.15)
    first, second = choose(repeated, rows), choose(counted, different, counts)
    assert first.all_pairs == second.all_pairs


def test_real_weights_undo_a_biased_choice_of_rows():
    """Check that rows kept with known probabilities give couplings with pulls of size 1."""
    truth = sparse_terms(5, 3, 1)
    pulls = []
    for seed in range(30):
        rows = exact(truth, 5, 12_000, seed)
        keep = torch.where(rows[:, 0] == rows[:, 1], 0.3, 0.9)
        kept = torch.as_tensor(np.random.default_rng([seed, 1]).random(12_000)) < keep
        fit = fit_terms(rows[kept], [*truth], weights=(1 / keep)[kept])
        pulls += ((fit.values[:, 0] - [*truth.values()]) / fit.values[:, 1]).tolist()
    assert 0.8 < np.sqrt(np.mean(np.square(pulls))) < 1.2


def test_errors_with_counts_cover():
    truth = sparse_terms(5, 3, 2)
    pulls = []
    for seed in range(30):
        different, counts = collapsed(exact(truth, 5, 5_000, seed))
        fit = fit_terms(different, [*truth], weights=counts)
        pulls += ((fit.values[:, 0] - [*truth.values()]) / fit.values[:, 1]).tolist()
    assert 0.8 < np.sqrt(np.mean(np.square(pulls))) < 1.2
