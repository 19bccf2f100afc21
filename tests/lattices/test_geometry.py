import numpy as np
import pytest

from lightdan.lattices.bravais import hypercubic
from lightdan.lattices.geometry import canonical, coordinates, pairs_by_displacement, plaquettes


def test_coordinates_are_in_raster_order():
    assert coordinates((2, 3)).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


@pytest.mark.parametrize(
    ("symmetries", "number"),
    [((), 12), (("reflection",), 8), (("rotation",), 6), (("rotation", "reflection"), 5)],
    ids=["exchange", "reflections", "rotations", "both"],
)
def test_displacements_within_two_steps_fall_into_classes(symmetries, number):
    lattice = hypercubic((9, 9))
    steps = [(x, y) for x in range(-2, 3) for y in range(-2, 3) if (x, y) != (0, 0)]
    assert len({canonical(step, lattice, symmetries) for step in steps}) == number
    for x, y in steps:
        assert canonical((x, y), lattice, symmetries) == canonical((-x, -y), lattice, symmetries)
        assert canonical(canonical((x, y), lattice, symmetries), lattice, symmetries) == canonical(
            (x, y), lattice, symmetries
        )


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_pairs_have_their_displacement(boundary):
    places = coordinates((4, 5))
    for displacement, pairs in pairs_by_displacement(hypercubic((4, 5), boundary), (), 2.5).items():
        assert len(np.unique(pairs, axis=0)) == len(pairs)
        step = places[pairs[:, 1]] - places[pairs[:, 0]]
        for sign in (1, -1):
            off = step - sign * np.array(displacement)
            off = off % (4, 5) if boundary == "periodic" else off
            step = np.where((off == 0).all(1, keepdims=True), 0, step)
        assert not step.any()


def test_chains_and_narrow_strips_have_no_plaquettes():
    assert len(plaquettes(hypercubic((8,), "periodic"))) == 0
    assert len(plaquettes(hypercubic((2, 8), "periodic"))) == 0
    assert len(plaquettes(hypercubic((3, 4), "periodic"))) == 12
    assert len(plaquettes(hypercubic((3, 4), "open"))) == 6
