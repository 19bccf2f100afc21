import itertools
import math

import numpy as np
import pytest
import torch

from lightdan.lattices.angles import TWO_PI, polarization, vorticity, wrap
from lightdan.lattices.bravais import hypercubic
from lightdan.lattices.groups import (
    OPERATIONS,
    SPIN_OPERATIONS,
    Group,
    group,
    identity,
    spatial_operations,
)


def random_spins(num, shape):
    generator = torch.Generator().manual_seed(0)
    return 2.0 * torch.randint(2, (num, *shape), generator=generator) - 1


def elements_of(operation):
    degrees = torch.zeros_like(operation.signs) if operation.degrees is None else operation.degrees
    rows = torch.column_stack([operation.signs, degrees, operation.permutations])
    return {tuple(row) for row in rows.tolist()}


@pytest.mark.parametrize("shape", [(5,), (4, 4), (3, 5)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_groups(name, shape):
    if name == "rotation" and len(shape) == 1:
        pytest.skip("no rotation of a ring")
    operation = OPERATIONS[name](shape)
    assert len(elements_of(operation)) == len(operation)
    assert elements_of(operation @ operation) == elements_of(operation)
    sites = torch.arange(operation.permutations.shape[1])
    assert torch.equal(operation.permutations.sort(1).values, sites.expand(len(operation), -1))


@pytest.mark.parametrize(
    ("names", "shape", "order"),
    [
        ((), (4, 4), 1),
        (("rotation", "reflection"), (4, 4), 8),
        (("rotation", "reflection"), (3, 5), 4),
        (("translation", "rotation", "reflection", "z2"), (4, 4), 256),
        (("translation", "reflection"), (6,), 12),
        (("spin_rotation", "spin_reflection"), (2,), 720),
        (("spin_reflection", "spin_rotation", "reflection"), (2,), 1440),
    ],
)
def test_orders_of_products(names, shape, order):
    assert len(group(names, shape)) == order


def test_product_acts_as_one_after_the_other():
    first, second = OPERATIONS["rotation"]((4, 4)), OPERATIONS["translation"]((4, 4))
    s = random_spins(3, (4, 4))
    product = {tuple(image.flatten().tolist()) for image in _images(first @ second, s[:1])}
    successive = {
        tuple(image.flatten().tolist())
        for inner in _images(second, s[:1])
        for image in _images(first, inner)
    }
    assert product == successive


@pytest.mark.parametrize(("name", "order"), [("colours_4", 24), ("clock_5", 10), ("clock_2", 2)])
def test_exchanges_of_levels(name, order):
    """They are closed, act on all sites alike, and commute with the operations on the lattice."""
    operation, num_levels = OPERATIONS[name]((2, 3)), int(name[-1])
    assert len(operation) == len(operation @ operation) == order
    s = torch.randint(num_levels, (3, 2, 3), generator=torch.Generator().manual_seed(0)).float()
    same = s.flatten(1)[:, :, None] == s.flatten(1)[:, None]
    for image in _images(operation, s):
        assert torch.equal(image.flatten(1)[:, :, None] == image.flatten(1)[:, None], same)
    products = [
        {tuple(image.flatten().tolist()) for image in _images(group, s[:1])}
        for group in (
            operation @ OPERATIONS["translation"]((2, 3)),
            group((name, "translation"), (2, 3)),
        )
    ]
    assert products[0] == products[1]
    elements = operation.random_elements(3, torch.Generator().manual_seed(1))
    together = operation.act(s, elements)
    assert torch.equal(together[2:], operation.act(s[2:], elements[2]))


def test_names_of_operations():
    with pytest.raises(KeyError, match="colours_x"):
        OPERATIONS["colours_x"]


def _images(operation: Group, s):
    return [operation.act(s, torch.tensor(index)) for index in range(len(operation))]


def test_action_matches_numpy():
    s = random_spins(1, (4, 4))
    turned = {image.numpy().tobytes() for image in _images(OPERATIONS["rotation"]((4, 4)), s)}
    assert turned == {np.rot90(s[0].numpy(), k).tobytes() for k in range(4)}
    shifted = {image.numpy().tobytes() for image in _images(OPERATIONS["translation"]((4, 4)), s)}
    assert np.roll(s[0].numpy(), (1, 3), (0, 1)).tobytes() in shifted


def test_one_element_for_each_configuration():
    operation = group(("translation", "z2"), (3, 3))
    s = random_spins(5, (3, 3))
    elements = operation.random_elements(5, torch.Generator().manual_seed(1))
    together = operation.act(s, elements)
    for index in range(5):
        assert torch.equal(together[index], operation.act(s[index : index + 1], elements[index])[0])


def test_identity_leaves_alone():
    s = random_spins(2, (2, 3))
    assert torch.equal(identity((2, 3)).act(s, torch.tensor(0)), s)


@pytest.mark.parametrize(
    ("shape", "boundary", "names"),
    [
        ((4,), "periodic", ("translation", "reflection")),
        ((4, 4), "open", ("rotation", "reflection")),
        ((4, 6), "periodic", ("translation", "rotation", "reflection")),
    ],
)
def test_boundary_decides_what_is_offered(shape, boundary, names):
    assert spatial_operations(hypercubic(shape, boundary)) == names


@pytest.mark.parametrize(
    ("names", "shape"), [(("rotation", "reflection", "z2"), (4, 4)), (("translation", "z2"), (2, 3))]
)
def test_products_of_elements_act_as_one_after_the_other(names, shape):
    """Check (g h) s = g (h s) element by element, and that products and inverses are in the group."""
    elements = group(names, shape)
    s = torch.arange(1, 1 + math.prod(shape)).reshape(1, *shape).double()
    images = torch.stack([image[0] for image in _images(elements, s)]).flatten(1)
    number = {tuple(row.tolist()): index for index, row in enumerate(images)}
    assert len(number) == len(elements)
    table = torch.zeros(len(elements), len(elements), dtype=torch.long)
    for g in range(len(elements)):
        for h in range(len(elements)):
            inner = elements.act(s, torch.tensor(h))
            table[g, h] = number[tuple(elements.act(inner, torch.tensor(g)).flatten().tolist())]
            permutation = elements.permutations[h][elements.permutations[g]]
            assert torch.equal(elements.permutations[table[g, h]], permutation)
            assert elements.signs[table[g, h]] == elements.signs[g] * elements.signs[h]
    everything = torch.arange(len(elements))
    assert torch.equal(table.sort(0).values, everything[:, None].expand_as(table))
    assert torch.equal(table.sort(1).values, everything.expand_as(table))


@pytest.mark.parametrize(
    ("order", "names"), [(256, ["z2", "translation", "rotation", "reflection"]), (16, ["translation"])]
)
def test_all_elements_act_differently(order, names):
    s = torch.arange(1, 17.0).reshape(1, 4, 4)
    for permuted in itertools.permutations(names):
        images = {tuple(image.flatten().tolist()) for image in _images(group(permuted, (4, 4)), s)}
        assert len(images) == order


def test_random_elements_are_uniform_and_of_their_seed():
    elements = group(("rotation", "reflection"), (4, 4))
    indices = elements.random_elements(8000, torch.Generator().manual_seed(0))
    assert torch.equal(indices, elements.random_elements(8000, torch.Generator().manual_seed(0)))
    assert (indices.bincount(minlength=8) - 1000).abs().max() < 5 * 1000**0.5


def random_angles(num, shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return TWO_PI * torch.rand(num, *shape, generator=generator, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wrapped_angles_are_in_their_range(dtype):
    edge = torch.tensor([-1e-20, -1e-9, 0.0, TWO_PI, 2 * TWO_PI, -TWO_PI, 7.0], dtype=dtype)
    wrapped = wrap(edge)
    assert ((wrapped >= 0) & (wrapped < TWO_PI)).all()
    torch.testing.assert_close(torch.cos(wrapped), torch.cos(edge), atol=1e-6, rtol=0)


def test_spins_turn_and_reflect_together():
    s = random_angles(4, (2, 3))
    turned = OPERATIONS["spin_rotation"]((2, 3)).act(s, torch.tensor([0, 72, 144, 359]))
    for index, degrees in enumerate((0, 72, 144, 359)):
        expected = torch.remainder(s[index] + math.radians(degrees), TWO_PI)
        torch.testing.assert_close(turned[index], expected)
    reflected = OPERATIONS["spin_reflection"]((2, 3)).act(s, torch.tensor([0, 1, 1, 1]))
    assert torch.equal(reflected[0], s[0])
    torch.testing.assert_close(reflected[1:], TWO_PI - s[1:])


def test_products_of_turns_and_reflections_act_as_one_after_the_other():
    first, second = (OPERATIONS[name]((2, 2)) for name in SPIN_OPERATIONS)
    s = random_angles(1, (2, 2))
    for left, right in ((first, second), (second, first)):
        product = left @ right
        images = torch.stack([image[0] for image in _images(product, s)])
        for g, h in ((1, 1), (len(left) - 1, 0), (0, len(right) - 1)):
            inner = right.act(s, torch.tensor(h))
            image = left.act(inner, torch.tensor(g))
            assert (images - image).abs().amax((1, 2)).min() < 1e-9


def test_polarization_of_aligned_and_opposite_angles():
    s = torch.stack([torch.full((2, 2), 0.3), torch.tensor([[0.0, math.pi], [0.0, math.pi]])])
    torch.testing.assert_close(
        polarization(s), torch.tensor([[math.cos(0.3), math.sin(0.3)], [0.0, 0.0]])
    )


def test_vorticity_is_integer_sums_to_zero_and_is_a_third_at_infinite_temperature():
    winding = vorticity(random_angles(4000, (8, 6)))
    assert torch.equal(winding, winding.round())
    assert torch.equal(winding.sum((1, 2)), torch.zeros(4000, dtype=torch.float64))
    density = winding.abs().mean((1, 2))
    assert density.mean().item() == pytest.approx(1 / 3, abs=5 * density.std().item() / 4000**0.5)


@pytest.mark.parametrize("turns", [(0, 0), (1, 0), (0, -1), (2, 1)])
def test_spin_wave_has_no_vortex(turns):
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(12.0), indexing="ij")
    wave = wrap(TWO_PI * (turns[0] * rows / 8 + turns[1] * columns / 12) + 0.1)[None]
    assert not vorticity(wave).any()


@pytest.mark.parametrize("sign", [1, -1])
def test_vortex_and_antivortex_are_found_where_they_are(sign):
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    angles = wrap(sign * torch.atan2(y - 2.5, x - 3.5))[None]
    winding = vorticity(angles, "open")
    assert winding.shape == (1, 5, 6)
    assert winding[0, 2, 3] == sign
    assert winding.abs().sum() == 1
