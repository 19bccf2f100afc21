import pytest

from lightdan.lattices.shapes import check_shape


@pytest.mark.parametrize(
    ("shape", "sides"), [(4, (4, 4)), ((4,), (4,)), ([3, 5], (3, 5)), ((1, 1), (1, 1))]
)
def test_sides_of_rings_and_rectangles(shape, sides):
    assert check_shape(shape) == sides


@pytest.mark.parametrize("shape", [0, (), (0,), (4, -1), (2, 2, 2)])
def test_other_shapes_are_refused_by_name(shape):
    with pytest.raises(ValueError, match=r"^patch must be one or two positive side lengths, not "):
        check_shape(shape, "patch")
