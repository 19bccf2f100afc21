import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from variants import VariantTests, of_cells

from lightdan import PixelCNN
from lightdan.architectures.convolutions import CausalConv, reach
from lightdan.architectures.running_convolutions import RunningConv
from lightdan.testing import all_configurations, randomize

SHAPES = [(16,), (4, 4), (3, 5), (6, 4), (3, 2, 4)]
TORI = pytest.mark.parametrize(
    ("cells", "basis"),
    [
        ((1, 16), 1),
        ((4, 4), 1),
        ((3, 5), 1),
        ((6, 4), 1),
        ((5, 1), 1),
        ((3, 2, 4), 1),
        ((3, 4), 2),
        ((2, 3, 2), 3),
    ],
    ids=str,
)


class TestDeep(VariantTests):
    """PixelCNN with kernels that end within the lattice, at its boundary and beyond it."""

    lattices: ClassVar = [(2, 3), (1,), (5,), (1, 4), (4, 4), (2, 2, 2)]

    def make(self, **kwargs):
        return PixelCNN(channels=3, depth=3, kernel=3, **kwargs)


class TestBasis(VariantTests):
    """Chains, planes and cubes of cells with several sites; one layer on chains."""

    lattices: ClassVar = [(2, 3), (2, 2, 2), (2, 2, 3), (2, 1, 2, 2)]

    def make(self, lattice_shape, **kwargs):
        depth = max(1, len(lattice_shape) - 1)
        return PixelCNN(channels=2, depth=depth, **of_cells(lattice_shape), **kwargs)


def seen_by(function, x):
    """Return whether output i depends on input j `(sites, sites)`, for x `(1, units, *plane)`."""
    weights = weights_of(function, x)
    return weights.abs().sum((2, 3)) > 0


def weights_of(layer, x):
    """Return ∂y_i/∂x_j `(sites, sites, out, in)`, for x `(1, basis × in, *cells)`."""
    basis, num = layer.basis, math.prod(layer.cells)
    jacobian = torch.autograd.functional.jacobian(layer, x)
    blocks = jacobian.reshape(basis, -1, num, basis, x.shape[1] // basis, num)
    return blocks.permute(2, 0, 5, 3, 1, 4).flatten(2, 3).flatten(0, 1)


def causal_conv(cells, kernel, strict=False, basis=1):
    reaches = [reach(kernel, side) for side in cells]
    return randomize(CausalConv(cells, 2, 3, reaches, basis=basis, strict=strict))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cells_of", [False, True], ids=["sites", "cells"])
def test_each_site_sees_all_that_precede_it_and_no_other(shape, depth, cells_of):
    if cells_of and len(shape) == 1:
        pytest.skip("no axis of cells")
    options = of_cells(shape) if cells_of else {"lattice_shape": shape}
    model = randomize(PixelCNN(**options, channels=3, depth=depth, kernel=3))
    spins = model.sample(1, seed=1)
    jacobian = torch.autograd.functional.jacobian(model, spins)
    seen = jacobian.reshape(model.num_sites, model.num_sites) != 0
    assert torch.equal(seen, torch.ones_like(seen).tril(-1))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@TORI
def test_a_kernel_sees_the_preceding_sites_within_its_reach_on_the_torus(cells, basis, kernel, strict):
    layer = causal_conv(cells, kernel, strict, basis)
    x = torch.randn(1, 2 * basis, *cells, dtype=torch.float64)
    place = np.indices(cells).reshape(len(cells), -1).repeat(basis, axis=1)
    near = torch.ones(place.shape[1], place.shape[1], dtype=torch.bool)
    for axis, side in zip(place, cells, strict=True):
        before, after = reach(kernel, side)
        near &= torch.from_numpy((axis - axis[:, None] + before) % side <= before + after)
    assert torch.equal(seen_by(layer, x), near.tril(-1 if strict else 0))


@TORI
def test_weights_depend_on_the_displacement_on_the_torus_only(cells, basis):
    """Check W_ij = W_kl if i − j = k − l on the torus, i follows j and k follows l.

    With a basis, the places of both sites in their cells must be the same, too.
    """
    layer = causal_conv(cells, 5, basis=basis)
    x = torch.randn(1, 2 * basis, *cells, dtype=torch.float64)
    weights = weights_of(layer, x)
    place = np.indices(cells).reshape(len(cells), -1).T
    by_displacement = {}
    for i in range(len(weights)):
        for j in range(i + 1):
            steps = (place[i // basis] - place[j // basis]) % cells
            kind = *steps.tolist(), i % basis, j % basis
            assert torch.equal(by_displacement.setdefault(kind, weights[i, j]), weights[i, j])
    distinct = {tuple(weight.flatten().tolist()) for weight in by_displacement.values()}
    own_later = basis * (basis - 1) // 2
    count = math.prod(min(5, side) for side in cells) * basis**2 - own_later
    assert len(distinct - {(0.0,) * 6}) == count


@pytest.mark.parametrize(
    "options",
    [{"lattice_shape": (9, 9)}, {"lattice_shape": (7, 8, 9)}, of_cells((9, 9, 2))],
    ids=["plane", "cube", "cells"],
)
def test_parameters_move_with_the_sites_in_the_bulk(options):
    """Check that a patch of sites and its parameters move together, without weights of places."""
    model = randomize(PixelCNN(**options, channels=3, depth=2, kernel=3), scale=0.2)
    shape = model.lattice_shape
    for name, weight in model.named_parameters():
        if "bias" in name or "of_" in name:
            weight.data.zero_()
    d = len(model.cells)
    patch = torch.tensor([[1.0, -1, 1], [1, 1, -1]]).reshape(2, 3, *[1] * (len(shape) - 2))
    spins = torch.zeros(2, *shape, dtype=torch.float64)
    spins[(0, slice(2, 4), slice(2, 5), *[slice(3, 4)] * (d - 2))] = patch
    spins[1] = spins[0].roll([1] * d, [*range(d)])
    with torch.no_grad():
        a = model(spins).reshape(2, *shape)
    moved = a[0].roll([1] * d, [*range(d)])
    bulk = (slice(3, 7),) * d
    torch.testing.assert_close(a[1][bulk], moved[bulk])
    assert a[(1, *bulk)].abs().max() > 0


@TORI
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("strict", [False, True])
def test_the_running_convolution_is_the_convolution(cells, basis, kernel, strict):
    layer = causal_conv(cells, kernel, strict, basis)
    x = torch.randn(4, 2 * basis, *cells, dtype=torch.float64)

    def by_site(units):
        return units.unflatten(1, (basis, -1)).flatten(3).permute(3, 1, 2, 0).flatten(0, 1)

    with torch.no_grad():
        expected = by_site(layer(x))
        running = RunningConv(layer, 4)
        for site, units in enumerate(by_site(x)):
            if not strict:
                running.push(site, units)
            torch.testing.assert_close(running.at(site), expected[site])
            if strict:
                running.push(site, units)


@pytest.mark.parametrize("options", [{"channels": 0}, {"depth": 0}, {"kernel": 0}, {"kernel": 4}])
def test_sizes_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"PixelCNN needs .*{next(iter(options))}"):
        PixelCNN(lattice_shape=(4,), **options)


def test_four_axes_are_refused():
    with pytest.raises(ValueError, match="PixelCNN needs cells along at most 3 axes, not 4: use MADE"):
        PixelCNN(lattice_shape=(2, 2, 2, 2))


def test_training_begins_near_the_uniform_distribution():
    torch.manual_seed(0)
    model = PixelCNN(lattice_shape=(3, 3))
    with torch.no_grad():
        terms = model.conditionals(all_configurations((3, 3), (-1, 1)).float()).exp()
    assert (terms - 0.5).abs().max() < 0.25
