import math

import pytest
import torch
from variants import VariantTests

from lightdan import Transformer
from lightdan.architectures.transformer import first_displacements
from lightdan.testing import randomize


class TestDeep(VariantTests):
    def make(self, **kwargs):
        return Transformer(width=5, heads=1, depth=3, **kwargs)


@pytest.mark.parametrize("shape", [(7,), (1, 5), (3, 5), (2, 2, 3)], ids=str)
def test_positions_are_relative_and_periodic(shape):
    """Check q · k = Σ α (cos 2π(x_i − x_j − c)/L − 1)(L/2π)²."""
    model = randomize(Transformer(lattice_shape=shape, width=4, heads=2))
    block, sides = model.blocks[0], torch.tensor([side for side in shape if side > 1]).double()
    sites = torch.cartesian_prod(*[torch.arange(side) for side in sides]).reshape(-1, len(sides))
    with torch.no_grad():
        products = model.positions.queries(block) @ model.positions.keys(block).T
        offset = sites[:, None] - sites - block.centre[:, None, None]
        expected = block.log_alpha.exp()[:, None, None] * ((2 * math.pi * offset / sides).cos() - 1)
        expected = expected * (sides / (2 * math.pi)).square()
        torch.testing.assert_close(products, expected.sum(-1), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("shape", [(7,), (1, 5), (4, 4), (2, 2, 2)], ids=str)
def test_each_site_sees_all_that_precede_it(shape, depth):
    model = randomize(Transformer(lattice_shape=shape, width=4, heads=2, depth=depth), scale=0.1)
    jacobian = torch.autograd.functional.jacobian(model, model.sample(1, seed=1))
    seen = jacobian.reshape(model.num_sites, model.num_sites) != 0
    assert torch.equal(seen, torch.ones_like(seen).tril(-1))


BOUNDS = [
    [],
    [(0, 1), (0, 3)],
    [(1, 1), (0, 2)],
    [(2, 1), (0, 1)],
    [(0, 1), (0, 2)],
    [(4, 1), (4, 3), (1, 1), (1, 2)],
    [(5, 1), (4, 2), (2, 1), (2, 2)],
    [(6, 1), (4, 1), (3, 1), (3, 2)],
    [(4, 1), (0, 1)],
    [(8, 1), (8, 3), (5, 1), (1, 1)],
    [(9, 1), (8, 2), (6, 1), (2, 1)],
    [(10, 1), (8, 1), (7, 1), (3, 1)],
]
"""Nearest preceding sites of each site of 3 × 4 in raster order, with their distances."""


@pytest.mark.parametrize("power", [0, 1])
def test_the_nearest_known_sites_in_every_direction_are_known_from_the_first(power):
    """Check with one unit that h_i is Σ s_n, or Σ (1 + s_n)/√d_n, over the nearest sites n."""
    model = Transformer(lattice_shape=(3, 4), width=1).double()
    weights = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]][power]
    with torch.no_grad():
        model.embedding.weight.copy_(torch.tensor([weights * 4]))
        hidden = model.embedding(torch.arange(12, dtype=torch.float64).reshape(1, 12, 1))
    for bounds, value in zip(BOUNDS, hidden.flatten().tolist(), strict=True):
        expected = sum((power + s) / d ** (power / 2) for s, d in bounds)
        assert value == pytest.approx(expected)


def test_white_sites_are_bounded_by_their_black_neighbours():
    embedding = Transformer(lattice_shape=(4, 4), width=1, ordering="checkerboard").embedding
    assert (embedding.distance[8:] == 1).all()
    assert (embedding.distance[:8] != 1).all()


def test_heads_begin_at_the_nearest_sites_before():
    assert sorted(first_displacements(4, 2).tolist()) == [[0, 2], [1, -1], [1, 1], [2, 0]]
    assert first_displacements(3, 1).tolist() == [[2], [3], [4]]


def test_reduced_precision_leaves_the_parameters_near():
    """Check autocast to bfloat16, whose parameters keep the floating type of the weights."""
    torch.manual_seed(0)
    model = Transformer(lattice_shape=(16, 16))
    s = model.sample(20, seed=0)
    with torch.no_grad():
        exact = model(s)
        with torch.autocast("cpu", torch.bfloat16):
            reduced = model(s)
    assert reduced.dtype == torch.float32
    torch.testing.assert_close(reduced, exact, rtol=0, atol=0.02)


def test_lattices_of_many_axes_are_refused():
    with pytest.raises(ValueError, match="at most five axes, not 6"):
        Transformer(lattice_shape=(2, 2, 2, 1, 2, 2, 2))


@pytest.mark.parametrize("options", [{"width": 0}, {"heads": 0}, {"depth": 0}])
def test_sizes_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"Transformer needs {next(iter(options))} ≥ 1, not"):
        Transformer(lattice_shape=(4,), **options)
