import numpy as np
import pytest

from lightdan.interactions.catalogue import uniform_operators
from lightdan.interactions.operators import nearest_neighbours
from lightdan.lattices.bravais import hypercubic

EVERY = ("translation", "rotation", "reflection")


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_operators_of_a_uniform_lattice_by_counting(boundary):
    names = {}
    for operator in uniform_operators(hypercubic((5, 5), boundary), EVERY, 2.5):
        assert len(np.unique(np.sort(operator.sites, 1), axis=0)) == len(operator.sites)
        names[operator.name] = len(operator.sites)
    counts = [25, 50, 50, 50, 100, 25] if boundary == "periodic" else [25, 40, 32, 30, 48, 16]
    assert list(names) == [
        "field",
        "nearest_neighbour",
        "pair_1_1",
        "pair_2_0",
        "pair_2_1",
        "plaquette",
    ]
    assert list(names.values()) == counts
    rectangle = uniform_operators((5, 4), EVERY, 1.0)
    assert [o.displacement for o in rectangle] == [None, (0, 1), (1, 0), None]
    assert [o.name for o in rectangle] == ["field", "pair_0_1", "nearest_neighbour", "plaquette"]
    apart = uniform_operators((5, 4), ("translation",), 1.5)
    assert {o.displacement for o in apart} == {None, (1, 0), (0, 1), (1, 1), (1, -1)}
    assert {o.name for o in apart if o.distance > 1} == {"pair_1_1", "pair_1_m1"}


def test_nearest_neighbours_of_a_rectangle_are_one_operator():
    operators = uniform_operators(hypercubic((3, 4), "open"), EVERY, 1.5)
    assert [o.displacement for o in operators if o.distance == 1] == [(0, 1), (1, 0)]
    assert nearest_neighbours(operators).sites.shape == (3 * 3 + 2 * 4, 2)
