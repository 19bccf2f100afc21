import math

import numpy as np
import pytest
import torch

from lightdan import MADE, Ising
from lightdan.lattices.orderings import ORDERINGS, ordering
from lightdan.testing import all_configurations, probabilities_of, randomize

SHAPES = [(1,), (7,), (16,), (2, 2), (4, 4), (8, 8), (3, 5), (5, 1)]


def steps(order, shape):
    """Return the distances on the plane from each site to the next."""
    places = np.stack(np.unravel_index(order.sites.numpy(), shape))
    return np.abs(np.diff(places)).sum(0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ORDERINGS)
def test_every_site_once_and_back_again(name, shape):
    order = ordering(name, shape)
    num_sites = math.prod(shape)
    assert sorted(order.sites.tolist()) == list(range(num_sites))
    assert sum(order.stages) == len(order.stage) == num_sites
    s = torch.arange(3 * num_sites).reshape(3, *shape)
    arranged = order.arrange(s)
    assert arranged.shape == s.shape
    assert torch.equal(order.restore(arranged.flatten(1)).reshape(s.shape), s)
    assert order.is_raster == torch.equal(arranged, s)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("snake", (3, 5)),
        ("snake", (4, 4)),
        ("hilbert", (4, 4)),
        ("hilbert", (16, 16)),
        ("hilbert", (2, 2)),
    ],
)
def test_curves_go_from_neighbour_to_neighbour(name, shape):
    assert (steps(ordering(name, shape), shape) == 1).all()


def test_diagonals():
    assert ordering("diagonal", (2, 3)).sites.tolist() == [0, 1, 3, 2, 4, 5]


@pytest.mark.parametrize("shape", [(4, 4), (6,), (3, 5), (7,), (2, 3), (5, 5), (3, 2, 4)], ids=str)
def test_white_sites_are_no_neighbours(shape):
    order = ordering("checkerboard", shape)
    last = order.stages[-1]
    assert last == math.prod(shape) // 2 or any(side % 2 for side in shape)
    white = torch.zeros(math.prod(shape), dtype=torch.bool)
    white[order.sites[-last:]] = True
    white = white.reshape(shape)
    for axis, side in enumerate(shape):
        assert side == 1 or not (white & white.roll(1, axis)).any()


def test_white_spins_are_independent_given_the_black_ones():
    """Check by enumeration that p(white | black) has logits linear in the four neighbours."""
    shape, temperature = (4, 4), 2.5
    states = all_configurations(shape, (-1, 1))
    p = (-Ising(shape=shape).energy(states) / temperature).softmax(0)
    model = MADE(lattice_shape=shape, ordering="checkerboard").double()
    order = model.ordering
    assert order.stages == (1,) * 8 + (8,)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        for row, site in enumerate(order.sites[8:].tolist(), start=8):
            r, c = divmod(site, 4)
            for n in (
                (r + 1) % 4 * 4 + c,
                (r - 1) % 4 * 4 + c,
                r * 4 + (c + 1) % 4,
                r * 4 + (c - 1) % 4,
            ):
                model.linear.weight[row, order.places[n]] = 2 / temperature
        terms = order.arrange(model.conditionals(states)).flatten(1)[:, 8:].sum(1)
    flat = order.arrange(states).flatten(1)
    black = (flat[:, :8] > 0).long() @ (2 ** torch.arange(8))
    marginal = torch.zeros(256, dtype=p.dtype).index_add_(0, black, p)
    torch.testing.assert_close(terms, (p / marginal[black]).log())


def test_orders_of_ones_own():
    s = torch.randn(4, 2, 2)
    order = ordering([3, 1, 0, 2], (2, 2))
    assert torch.equal(order.arrange(s).flatten(1), s.flatten(1)[:, [3, 1, 0, 2]])
    states = all_configurations((2, 2), (-1, 1))
    plain = randomize(MADE(lattice_shape=(2, 2)))
    turned = MADE(lattice_shape=(2, 2), ordering=[3, 1, 0, 2]).double()
    turned.load_state_dict(plain.state_dict())
    expected = probabilities_of(plain, order.arrange(states))
    torch.testing.assert_close(probabilities_of(turned, states), expected)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("spiral", r"There is no order of sites 'spiral': set model\.ordering to one of raster, snake"),
        (
            [0, 1, 2],
            "3 numbers that are not a permutation of the sites: list each raster index 0 … 3 once",
        ),
        ([0, 1, 2, 2], "a list of 4 numbers that are not a permutation"),
        ([True, False, 2, 3], "a list of 4 numbers that are not a permutation"),
    ],
)
def test_unknown_orders_are_refused(order, message):
    with pytest.raises(ValueError, match=message):
        MADE(lattice_shape=(2, 2), ordering=order)
