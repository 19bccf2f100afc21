import pytest
import torch
from variants import VariantTests

from lightdan import MADE
from lightdan.architectures.base import Architecture
from lightdan.testing import all_configurations, randomize


class TestMADE(VariantTests):
    def make(self, **kwargs):
        return MADE(width=3, depth=2, **kwargs)


class TestPlain(VariantTests):
    def make(self, **kwargs):
        return MADE(width=2, depth=3, residual=False, **kwargs)


class WithoutCache(MADE):
    """MADE with the sampling of the base class, which has no cache."""

    incremental = Architecture.incremental


class TestFallback(VariantTests):
    def make(self, **kwargs):
        return WithoutCache(width=2, **kwargs)


@pytest.mark.parametrize("length", [15, 16, 17, 40])
def test_blocks_of_the_running_product(length):
    # The chains are shorter than, as long as and longer than a block.
    model = randomize(MADE(lattice_shape=(length,), width=2, depth=3), scale=0.2)
    uniforms = torch.rand(20, length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    samples = model.draw(uniforms)
    with torch.no_grad():
        assert torch.equal(model.conditional.sample(model(samples), uniforms), samples)


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": 0}])
def test_sizes_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"MADE needs {next(iter(options))} ≥ 1, not"):
        MADE(lattice_shape=(4,), **options)


@pytest.mark.parametrize("depth", [1, 2])
def test_gradients_reach_every_weight_that_is_not_masked_and_no_other(depth):
    model = randomize(MADE(lattice_shape=(5,), width=3, depth=depth))
    model.log_prob(all_configurations((5,), (-1, 1))[::3]).sum().backward()
    for layer in [*model.layers, model.linear]:
        assert torch.equal(layer.weight.grad != 0, layer.mask)


def test_training_begins_near_the_uniform_distribution():
    torch.manual_seed(0)
    model = MADE(lattice_shape=(3, 3))
    with torch.no_grad():
        terms = model.conditionals(all_configurations((3, 3), (-1, 1)).float()).exp()
    assert (terms - 0.5).abs().max() < 0.25
