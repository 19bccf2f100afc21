import numpy as np
import pytest

from lightdan.interactions.catalogue import UniformLattice
from lightdan.lattices.bravais import honeycomb, hypercubic, kagome, triangular
from lightdan.lattices.geometry import pairs_by_displacement, plaquettes, triples
from lightdan.lattices.graphs import automorphisms, graph
from lightdan.lattices.groups import OPERATIONS, group, spatial_operations
from lightdan.lattices.orderings import ordering

EVERY = ("translation", "rotation", "reflection")


@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        (triangular, [3, 3, 3, 6]),  # pairs per site at the distances 1, √3, 2, √7
        (honeycomb, [1.5, 3, 1.5, 3]),  # 1, √3, 2, √7
        (kagome, [2, 2, 2, 1, 4]),  # 1, √3, 2 along bonds, 2 across hexagons, √7
    ],
)
def test_classes_of_pairs_are_orbits_of_the_symmetries(make, sizes):
    lattice = make((6, 6))
    pairs = pairs_by_displacement(lattice, EVERY, 2.7)
    found = [len(each) / lattice.num_sites for each in pairs.values()]
    assert sorted(found) == sorted(sizes)
    bonds = next(iter(pairs.values()))
    assert np.array_equal(bonds, np.unique(np.sort(lattice.bonds, axis=1), axis=0))
    operations = group(EVERY, lattice).permutations.numpy()
    for each in pairs.values():
        (i, j), expected = each[0], {tuple(pair) for pair in each.tolist()}
        images = {tuple(sorted((p[i], p[j]))) for p in operations.tolist()}
        assert images == expected


@pytest.mark.parametrize(
    ("lattice", "orders"),
    [
        (hypercubic((3, 3, 3)), {"translation": 27, "rotation": 24, "reflection": 8}),
        (triangular((4, 4)), {"translation": 16, "rotation": 6, "reflection": 2}),
        (kagome((3, 3)), {"translation": 9, "rotation": 6, "reflection": 2}),
        (triangular((3, 5)), {"translation": 15, "rotation": 2}),
        (triangular((4, 4), "open"), {"rotation": 2, "reflection": 2}),
        (kagome((3, 4), "open"), {}),
    ],
)
def test_boundaries_and_sides_decide_what_is_offered(lattice, orders):
    names = spatial_operations(lattice)
    assert {name: len(OPERATIONS[name](lattice)) for name in names} == orders
    assert len(group(names, lattice)) == np.prod([*orders.values()]) / (
        4 if len(lattice.cells) == 3 else 1
    )


def test_graphs_offer_their_automorphisms():
    ring = graph(6, [(i, (i + 1) % 6) for i in range(6)])
    assert spatial_operations(ring) == ("automorphism",)
    assert len(OPERATIONS["automorphism"](ring)) == len(automorphisms(ring)) == 12
    assert spatial_operations(graph(30, [])) == ()
    # The 4 × 4 torus is the four-dimensional cube.
    assert len(OPERATIONS["automorphism"](hypercubic((4, 4)))) == 384
    assert {d: len(p) for d, p in pairs_by_displacement(ring, (), 2.0).items()} == {(1,): 6, (2,): 6}
    assert len(triples(ring)) == 0


def test_squares_and_lines_of_a_cube():
    lattice = hypercubic((3, 4, 5))
    corners = plaquettes(lattice)
    places = lattice.places[corners]
    assert len(np.unique(np.sort(corners, axis=1), axis=0)) == 3 * 60
    sides = np.array(lattice.cells)
    steps = np.minimum((places[:, 1:] - places[:, :1]) % sides, (places[:, :1] - places[:, 1:]) % sides)
    assert (steps.sum(2) == [1, 1, 2]).all()
    assert len(triples(lattice)) == 3 * 60
    assert len(triples(kagome((3, 3)))) == 3 * 9 * 2
    names = [operator.name for operator in UniformLattice((3, 3, 3), EVERY, 1.0).operators()]
    assert names == ["field", "nearest_neighbour", "plaquette"]


@pytest.mark.parametrize("lattice", [triangular((6, 6)), kagome((3, 3)), graph(5, [(0, 1), (1, 2)])])
def test_last_stage_of_a_checkerboard_has_no_bonds(lattice):
    order = ordering("checkerboard", lattice)
    assert sorted(order.sites.tolist()) == list(range(lattice.num_sites))
    assert order.stages[-1] >= lattice.num_sites / 3
    white = set(order.sites[-order.stages[-1] :].tolist())
    assert not any({i, j} <= white for i, j in lattice.bonds.tolist())


def test_operators_know_their_distance():
    operators = UniformLattice(triangular((6, 6)), EVERY, 2.0).operators(["pairs"])
    assert [o.name for o in operators] == ["nearest_neighbour", "pair_2_m1", "pair_2_0"]
    assert [o.distance for o in operators] == pytest.approx([1, 3**0.5, 2], abs=1e-8)
