"""Speed on one thread: forward passes, sampling with and without cache, growth with the lattice.

All single-site differences of 100 configurations, incrementally and by full passes.
"""

import pytest
import torch

from lightdan import MADE, PixelCNN, Recurrent, Transformer
from lightdan.architectures.base import Architecture

MODELS = {
    "MADE": lambda: MADE(lattice_shape=(16, 16), width=4, depth=3),
    "MADE, angles": lambda: MADE(lattice_shape=(16, 16), site_kind="angle", levels=()),
    "PixelCNN": lambda: PixelCNN(lattice_shape=(16, 16), channels=16, depth=3, kernel=7),
    "Recurrent": lambda: Recurrent(lattice_shape=(16, 16)),
    "Transformer": lambda: Transformer(lattice_shape=(16, 16)),
}


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def model(request):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return request.param().eval()


@pytest.fixture(scope="module")
def uniforms():
    return torch.rand(1000, 256, generator=torch.Generator().manual_seed(0))


def test_forward_pass(benchmark, model, uniforms):
    spins = model.draw(uniforms)
    with torch.no_grad():
        benchmark(model, spins)


def test_cached_sampling(benchmark, model, uniforms):
    benchmark(model.draw, uniforms)


def test_slow_sampling(benchmark, model, uniforms):
    few = uniforms[:50]
    cached = model.draw(few)
    model.incremental = Architecture.incremental.__get__(model)
    try:
        slow = benchmark.pedantic(model.draw, args=(few,), rounds=1)
    finally:
        del model.incremental
    # Rounding may change a draw whose uniform number lies at the very edge.
    assert slow.isclose(cached, atol=1e-4).double().mean() > 0.999


@pytest.mark.parametrize("side", [8, 16, 32])
@pytest.mark.parametrize("cls", [MADE, PixelCNN, Recurrent, Transformer])
def test_growth_with_the_lattice(benchmark, cls, side):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = cls(lattice_shape=(side, side)).eval()
    uniforms = torch.rand(200, side * side)
    benchmark.pedantic(model.draw, args=(uniforms,), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("incremental", [True, False], ids=["incremental", "full"])
def test_local_fields(benchmark, model, uniforms, incremental):
    if model.site_kind == "angle":
        pytest.skip("continuous")
    spins = model.draw(uniforms[:100])
    full = Architecture.bare_walkers.__get__(model)
    expected = full(spins).propose(7, -spins.flatten(1)[:, 7])
    assert torch.allclose(model.walkers(spins).propose(7, -spins.flatten(1)[:, 7]), expected, atol=1e-4)
    if not incremental:
        model.bare_walkers = full
    try:
        benchmark.pedantic(model.local_fields, args=(spins, 1.0), rounds=3)
    finally:
        vars(model).pop("bare_walkers", None)
