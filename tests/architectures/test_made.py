import pytest
import torch

from lightdan import MADE
from lightdan.architectures.base import Architecture
from lightdan.testing import ArchitectureTests, all_configurations, randomize


class TestMADE(ArchitectureTests):
    def make(self, **kwargs):
        return MADE(width=3, depth=2, **kwargs)


class TestLogistic(ArchitectureTests):
    def make(self, **kwargs):
        return MADE(depth=0, **kwargs)


class TestPlain(ArchitectureTests):
    def make(self, **kwargs):
        return MADE(width=2, depth=3, residual=False, **kwargs)


class WithoutCache(MADE):
    """MADE that samples by the fallback of the base class."""

    incremental = Architecture.incremental


class TestFallback(ArchitectureTests):
    def make(self, **kwargs):
        return WithoutCache(width=2, **kwargs)


def test_all_65536_states_of_4_x_4():
    model = randomize(MADE(lattice_shape=(4, 4), width=4, depth=2), scale=0.3)
    with torch.no_grad():
        states = all_configurations((4, 4), (-1, 1))
        total = sum(part.exp().sum() for part in map(model.log_prob, states.split(8192)))
    assert total.item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("length", [15, 16, 17, 40])
def test_blocks_of_the_running_product(length):
    # Chains shorter than, as long as and longer than a block.
    model = randomize(MADE(lattice_shape=(length,), width=2, depth=3), scale=0.2)
    uniforms = torch.rand(20, length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = model.draw(uniforms)
    with torch.no_grad():
        assert torch.equal(model.conditional.sample(model(drawn), uniforms), drawn)


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": -1}, {"depth": 0, "residual": False}])
def test_sizes_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="MADE needs width ≥ 1"):
        MADE(lattice_shape=(4,), **options)
