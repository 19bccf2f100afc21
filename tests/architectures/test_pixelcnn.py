from typing import ClassVar

import pytest
import torch
from variants import VariantTests

from lightdan import PixelCNN
from lightdan.architectures.convolutions import CausalConv, RunningConv, reach
from lightdan.testing import all_configurations, randomize

SHAPES = [(16,), (4, 4), (3, 5), (6, 4)]


class TestDeep(VariantTests):
    """PixelCNN with kernels that end within the lattice, at its boundary and beyond it."""

    lattices: ClassVar = [(1,), (2, 3), (5,), (1, 4), (4, 4)]

    def make(self, **kwargs):
        return PixelCNN(channels=3, depth=3, kernel=3, **kwargs)


class TestShallow(VariantTests):
    def make(self, **kwargs):
        return PixelCNN(channels=2, depth=1, **kwargs)


def seen_by(function, x):
    """Return whether output i depends on input j `(sites, sites)`, for x `(1, units, *plane)`."""
    jacobian = torch.autograd.functional.jacobian(function, x).abs()
    sites = x[0, 0].numel()
    return jacobian.reshape(-1, sites, x.shape[1], sites).sum((0, 2)) > 0


def causal_conv(plane, kernel, strict=False, units=2):
    layer = CausalConv(plane, units, 3, reach(kernel, plane[0]) + reach(kernel, plane[1]), strict=strict)
    return randomize(layer)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_site_sees_all_that_precede_it_and_no_other(shape, depth):
    model = randomize(PixelCNN(lattice_shape=shape, channels=3, depth=depth, kernel=3))
    spins = model.sample(1, seed=1)
    jacobian = torch.autograd.functional.jacobian(model, spins)
    seen = jacobian.reshape(model.num_sites, model.num_sites) != 0
    assert torch.equal(seen, torch.ones_like(seen).tril(-1))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("plane", [(1, 16), (4, 4), (3, 5), (6, 4), (5, 1)], ids=str)
def test_a_kernel_sees_the_preceding_sites_within_its_reach_on_the_torus(plane, kernel, strict):
    layer = causal_conv(plane, kernel, strict)
    x = torch.randn(1, 2, *plane, dtype=torch.float64)
    seen = seen_by(layer, x)
    rows, columns = plane
    for i in range(rows * columns):
        for j in range(rows * columns):
            near = True
            for from_, to, side in zip(divmod(i, columns), divmod(j, columns), plane, strict=True):
                before, after = reach(kernel, side)
                near &= (to - from_ + before) % side <= before + after
            assert seen[i, j] == (near and (j < i if strict else j <= i)), (i, j)


@pytest.mark.parametrize("plane", [(1, 16), (4, 4), (3, 5), (6, 4), (9, 8)], ids=str)
def test_weights_depend_on_the_displacement_on_the_torus_only(plane):
    """Check W_ij = W_kl if i − j = k − l on the torus, i follows j and k follows l."""
    layer = causal_conv(plane, kernel=5)
    x = torch.randn(1, 2, *plane, dtype=torch.float64)
    sites = x[0, 0].numel()
    weights = torch.autograd.functional.jacobian(layer, x).reshape(3, sites, 2, sites).transpose(1, 2)
    rows, columns = plane
    by_displacement = {}
    for i in range(sites):
        for j in range(i + 1):
            displacement = (i // columns - j // columns) % rows, (i - j) % columns
            weight = by_displacement.setdefault(displacement, weights[:, :, i, j])
            assert torch.equal(weight, weights[:, :, i, j])
    distinct = {tuple(weight.flatten().tolist()) for weight in by_displacement.values()}
    count = min(5, rows) * min(5, columns)
    assert len(distinct - {(0.0,) * 6}) == count


def test_parameters_move_with_the_sites_in_the_bulk():
    """Check that a patch of sites and its parameters move together, without weights of places."""
    model = randomize(PixelCNN(lattice_shape=(9, 9), channels=3, depth=2, kernel=3), scale=0.2)
    for name, weight in model.named_parameters():
        if "bias" in name or "of_" in name:
            weight.data.zero_()
    spins = torch.zeros(2, 9, 9, dtype=torch.float64)
    patch = torch.tensor([[1.0, -1, 1], [1, 1, -1]])
    spins[0, 2:4, 3:6] = patch
    spins[1, 4:6, 4:7] = patch
    with torch.no_grad():
        a = model(spins).reshape(2, 9, 9)
    torch.testing.assert_close(a[1, 4:8, 2:8], a[0, 2:6, 1:7])
    assert a[0, 5, 1:7].abs().min() > 0


@pytest.mark.parametrize("plane", [(1, 9), (5, 4), (4, 5), (7, 7)], ids=str)
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("strict", [False, True])
def test_the_running_convolution_is_the_convolution(plane, kernel, strict):
    layer = causal_conv(plane, kernel, strict)
    x = torch.randn(4, 2, *plane, dtype=torch.float64)
    with torch.no_grad():
        expected = layer(x).flatten(2)
        running = RunningConv(layer, 4)
        for site, units in enumerate(x.flatten(2).permute(2, 1, 0)):
            if not strict:
                running.push(site, units)
            torch.testing.assert_close(running.at(site), expected[:, :, site].T)
            if strict:
                running.push(site, units)


@pytest.mark.parametrize("options", [{"channels": 0}, {"depth": 0}, {"kernel": 0}, {"kernel": 4}])
def test_sizes_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"PixelCNN needs .*{next(iter(options))}"):
        PixelCNN(lattice_shape=(4,), **options)


def test_three_axes_are_refused():
    with pytest.raises(ValueError, match="one or two axes"):
        PixelCNN(lattice_shape=(2, 2, 2))


def test_training_begins_near_the_uniform_distribution():
    torch.manual_seed(0)
    model = PixelCNN(lattice_shape=(3, 3))
    with torch.no_grad():
        terms = model.conditionals(all_configurations((3, 3), (-1, 1)).float()).exp()
    assert (terms - 0.5).abs().max() < 0.25
