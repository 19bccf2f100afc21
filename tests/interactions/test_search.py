import numpy as np
import pytest
import torch

import lightdan
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.operators import Operator, operators_of_terms
from lightdan.interactions.search import TermSearch, l1_pairs
from lightdan.lattices.geometry import plaquettes

NUM = 12_000


def configurations(terms, shape, seed=0, num=NUM):
    """Draw configurations of the Hamiltonian with these couplings at T = 1."""
    operators = [Operator(str(t), np.array([t]), j) for t, j in terms.items()]
    return torch.as_tensor(
        ExplicitHamiltonian(shape, operators, 1.0).simulate(1.0, num, seed).configurations
    )


def glass(shape, coupling, seed=0):
    operators = lightdan.edwards_anderson(shape, seed=seed).operators
    return {tuple(o.sites[0].tolist()): coupling * o.coupling for o in operators}


def fitted(search):
    result = search.fit(search.terms)
    return dict(
        zip(search.terms, zip(result.couplings, result.standard_errors, strict=True), strict=True)
    )


def check(search, truth):
    terms = fitted(search)
    assert terms.keys() == truth.keys()
    z = [(value - truth[term]) / error for term, (value, error) in terms.items()]
    assert np.square(z).mean() < 2
    assert np.abs(z).max() < 4.5


def test_the_bonds_and_fields_of_a_glass_and_no_others():
    truth = glass((5, 5), 0.6) | {(3,): 0.4, (17,): -0.5}
    search = TermSearch(configurations(truth, (5, 5)))
    search.find()
    check(search, truth)


def test_a_plaquette_beside_the_bonds_is_found_like_one():
    truth = glass((4, 5), 0.5) | {(0, 4, 15, 19): 0.5}
    corners = plaquettes((4, 5), "periodic")
    assert [19, 15, 4, 0] in corners.tolist()  # not ascending
    search = TermSearch(configurations(truth, (4, 5)), corners)
    search.find()
    check(search, truth)


@pytest.mark.parametrize("product", [(1, 8, 19), (1, 8, 14, 19)], ids=["three", "four"])
def test_a_product_of_far_spins_is_found_at_one_of_its_sites(product):
    truth = glass((4, 5), 0.5) | {product: 0.6}
    search = TermSearch(configurations(truth, (4, 5)))
    search.find()
    looks = iter([[0], [8, 0], [0]])
    assert search.find_products(lambda search: next(looks, []), 3) == [product]
    search.find()
    check(search, truth)


def test_nothing_is_found_in_noise():
    wrong = 0
    for seed in range(20):
        spins = torch.as_tensor(
            np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), (500, 4, 4))
        )
        search = TermSearch(spins, plaquettes((4, 4), "periodic"))
        search.find()
        wrong += len(search.terms) > 0
        assert search.product_at(0) is None
    assert wrong <= 2  # 0.2 are expected


def test_l1_keeps_every_strong_bond():
    truth = glass((5, 5), 0.6)
    pairs = l1_pairs(configurations(truth, (5, 5)).flatten(1).float())
    assert truth.keys() <= set(pairs)
    assert len(pairs) < 150  # of 300


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
