import itertools

import numpy as np
import pytest

from lightdan.lattices.bravais import from_spec, honeycomb, hypercubic, kagome, triangular
from lightdan.lattices.colours import colours
from lightdan.lattices.graphs import automorphisms, graph, read_graph
from lightdan.lattices.isometries import point_group, reflections, rotations
from lightdan.lattices.lattice import Lattice
from lightdan.lattices.loops import loops
from lightdan.simulation import ising


def diamond(cells, boundary="periodic"):
    vectors = ((0.0, 2.0, 2.0), (2.0, 0.0, 2.0), (2.0, 2.0, 0.0))
    return Lattice(cells, boundary, vectors, ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))


# Bonds and loops by their number of corners, both per cell; order of the point group; colours.
KNOWN = {
    (hypercubic, 1): (1, {}, 2, 2),
    (hypercubic, 2): (2, {4: 1}, 8, 2),
    (hypercubic, 3): (3, {4: 3}, 48, 2),
    (triangular, 2): (3, {3: 2}, 12, 3),
    (honeycomb, 2): (3, {6: 1}, 12, 2),
    (kagome, 2): (6, {3: 2, 6: 1}, 12, 3),
    (diamond, 3): (4, {6: 4}, 24, 2),
}


def counted(bonds):
    """Return each bond with the number of times that it is there."""
    pairs, numbers = np.unique(np.sort(bonds, axis=1), axis=0, return_counts=True)
    return dict(zip(map(tuple, pairs.tolist()), numbers.tolist(), strict=True))


@pytest.mark.parametrize("side", [2, 6])
@pytest.mark.parametrize(("make", "dimension"), KNOWN, ids=lambda x: getattr(x, "__name__", x))
def test_known_numbers(make, dimension, side):
    num_bonds, faces, order, num_colours = KNOWN[make, dimension]
    lattice = make((side,) * dimension)
    cells = side**dimension
    assert len(lattice.bonds) == num_bonds * cells
    assert {size: len(found) for size, found in loops(lattice).items()} == {
        size: num * cells for size, num in faces.items()
    }
    if dimension == 2:
        euler = lattice.num_sites - len(lattice.bonds) + sum(map(len, loops(lattice).values()))
        assert euler == 0
    for _, corners in loops(lattice).items():
        assert counted(corners[:, [0, -1]]).keys() <= counted(lattice.bonds).keys()
    colour = colours(lattice)
    assert (colour[lattice.bonds[:, 0]] != colour[lattice.bonds[:, 1]]).all()
    if side == 6:
        assert colour.max() + 1 == num_colours
        assert (np.bincount(colour) == lattice.num_sites / num_colours).all()
    assert len(point_group(lattice)) == order


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize(
    ("make", "cells"),
    [
        (hypercubic, (2, 2)),
        (hypercubic, (3, 4)),
        (hypercubic, (3, 3, 3)),
        (triangular, (2, 2)),
        (triangular, (3, 5)),
        (honeycomb, (3, 3)),
        (kagome, (2, 2)),
        (kagome, (4, 4)),
        (diamond, (3, 3, 3)),
    ],
)
def test_operations_keep_the_bonds_and_are_groups(make, cells, boundary):
    lattice = make(cells, boundary)
    bonds = counted(lattice.bonds)
    for group in (point_group(lattice), rotations(lattice), reflections(lattice)):
        permutations = [isometry.permutation(lattice) for isometry in group]
        found = {tuple(p.tolist()) for p in permutations}
        assert all(counted(p[lattice.bonds]) == bonds for p in permutations)
        assert all(tuple(p[q].tolist()) in found for p in permutations for q in permutations)
    assert len(point_group(lattice)) in (len(rotations(lattice)) * order for order in (1, 2))


@pytest.mark.parametrize("shape", [(5,), (1, 4), (2, 3), (4, 4), (2, 2, 3)])
def test_bonds_are_those_of_the_simulation(shape):
    lattice = hypercubic(shape)
    spins = np.random.default_rng(0).choice([-1, 1], (1, *shape)).astype(np.int8)
    products = spins.reshape(-1)[lattice.bonds].prod(axis=1)
    assert -products.sum() == ising.energy(spins)[0]
    starts, others, bonds = lattice.links
    raster = np.arange(lattice.num_sites).reshape(shape)
    moves = [(step, axis) for axis, side in enumerate(shape) if side > 1 for step in (-1, 1)]
    around = np.stack([np.roll(raster, *move).ravel() for move in moves], axis=1)
    assert others.reshape(lattice.num_sites, -1).tolist() == around.tolist()
    assert (np.diff(starts) == 2 * len(lattice.bond_classes)).all()
    sites = np.repeat(np.arange(lattice.num_sites), np.diff(starts))
    ends = np.sort(np.stack([sites, others], axis=1), axis=1)
    assert np.array_equal(ends, np.sort(lattice.bonds, axis=1)[bonds])


@pytest.mark.parametrize(
    ("make", "cells"),
    [(triangular, (4, 6)), (kagome, (3, 2)), (triangular, (2, 9)), (diamond, (2, 3, 2))],
)
def test_distances_are_the_shortest_around_the_torus(make, cells):
    lattice = make(cells)
    positions, torus = lattice.positions, np.array(cells)[:, None] * np.array(lattice.vectors)
    turns = np.array([*itertools.product(range(-5, 6), repeat=len(cells))]) @ torus
    ahead = positions - positions[:, None]
    distances = np.full(ahead.shape[:2], np.inf)
    for turn in turns:
        distances = np.minimum(distances, np.linalg.norm(ahead + turn, axis=2))
    found = {}
    for displacement, length in lattice.displacements(2.7).items():
        for i, j in lattice.displaced(displacement).tolist():
            assert distances[i, j] == pytest.approx(length, abs=1e-8)
            found[i, j] = length
    near = (distances > 0) & (distances < 2.7 + 1e-9)
    assert len(found) == near.sum()


def test_units_do_not_matter():
    metres = Lattice((4, 4), "periodic", ((3e-10, 0.0), (1.5e-10, 1.5e-10 * 3**0.5)))
    assert np.allclose(metres.vectors, triangular((4, 4)).vectors)
    assert len(point_group(metres)) == 12


def test_directions_and_plain_data():
    assert [make((3, 3)).directions for make in (hypercubic, triangular, honeycomb, kagome)] == [
        (0, 1),
        (0, 1, 2),
        (0, 1, 2),
        (0, 1, 2, 0, 1, 2),
    ]
    assert triangular((3, 3)).steps == ((1, 0), (0, 1), (1, -1))
    for lattice in (kagome((2, 3), "open"), graph(4, [(0, 1), (2, 1)])):
        assert from_spec(lattice.spec) == lattice


@pytest.mark.parametrize(
    ("num", "edges"),
    [
        (5, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]),
        (6, [(0, 1), (0, 2), (0, 3), (4, 5)]),
        (4, [*itertools.combinations(range(4), 2)]),
        (6, [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (1, 5)]),
    ],
)
def test_automorphisms_are_all_permutations_that_keep_the_bonds(num, edges):
    network = graph(num, edges)
    bonds = {frozenset(edge) for edge in edges}
    expected = {
        p
        for p in itertools.permutations(range(num))
        if {frozenset((p[i], p[j])) for i, j in edges} == bonds
    }
    found = automorphisms(network)
    assert {tuple(p) for p in found.tolist()} == expected
    assert len(found) == len(expected)
    colour = colours(network)
    assert all(colour[i] != colour[j] for i, j in edges)


def test_graph_of_a_lattice():
    lattice = triangular((4, 5))
    network = graph(20, lattice.bonds.tolist())
    assert {n: len(x) for n, x in loops(network).items()} == {3: 40}
    distances = network.distances
    assert len(network.displaced((2,))) == (np.triu(distances == 2)).sum()
    assert network.displacements(2.0) == {(1,): 1.0, (2,): 2.0}
    assert len(automorphisms(network)) >= 20 * len(point_group(lattice))


@pytest.mark.parametrize(
    ("edges", "reason"),
    [
        ([(0, 1), (2, 2)], "Bond 1 joins site 2 with itself"),
        ([(0, 1), (1, 2), (1, 0)], "The bonds 0 and 2 both join the sites 0 and 1"),
        ([(0, 1), (1, 5)], "Bond 1 joins the sites 1 and 5, but the last site is 4"),
    ],
)
def test_bad_bonds_are_named(edges, reason):
    with pytest.raises(ValueError, match=reason):
        graph(5, edges)


def test_too_many_automorphisms():
    with pytest.raises(ValueError, match=r"3\.63e\+06 automorphisms, more than 100,000"):
        automorphisms(graph(10, []))


def test_files_of_graphs(tmp_path):
    edges = [[0, 1], [1, 2], [3, 1], [4, 0]]
    matrix = np.zeros((5, 5), int)
    for i, j in edges:
        matrix[i, j] = matrix[j, i] = 1
    (tmp_path / "bonds.txt").write_text("\ufeff# bonds\n0 1\n1 2  # a comment\n\n3, 1\n4 0\n")
    np.save(tmp_path / "matrix.npy", matrix)
    for name in ("bonds.txt", "matrix.npy"):
        assert counted(read_graph(tmp_path / name, 5).bonds) == counted(np.array(edges))
    texts = {
        "head.csv": "i,j\n0,1\n",
        "ragged.txt": "0 1\n2\n",
        "none.txt": "# bonds\n",
        "far.txt": "0 1e30\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    arrays = {"three": np.ones((4, 3)), "weights": -matrix, "none": np.empty((0, 2))}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "empty.npy").touch()
    reasons = {
        "missing.txt": "There is no file",
        "head.csv": r"line 1 is 'i,j', which are no numbers\): write two sites",
        "ragged.txt": "line 2 has 1 numbers, and others 2",
        "none.txt": "has no bonds",
        "none.npy": "has no bonds",
        "empty.npy": "cannot be read",
        "far.txt": "bond 0 joins the sites 0 and .*, but the last site is 4",
        "three.npy": r"has the shape \(4, 3\)",
        "weights.npy": "values other than 0 and 1",
    }
    for name, reason in reasons.items():
        with pytest.raises(ValueError, match=reason):
            read_graph(tmp_path / name, 5)
    with pytest.warns(UserWarning, match=r"1 of the 6 sites .* such as site 5"):
        read_graph(tmp_path / "bonds.txt", 6)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (((0, 3),), "cells must be at least 1"),
        (((3, 3), "closed"), "boundary must be one of"),
        (((3, 3), "open", ((1.0, 0.0), (2.0, 0.0))), "linearly independent"),
        (((3, 3), "open", (), ((0.0,),)), "positions of 2 numbers"),
        (((3, 3), "open", (), ((0.0, 0.5), (0.2, 0.1), (1.2, 3.1))), "sites 1 and 2 of the basis"),
        (((3,), "open", ((float("nan"),),)), "linearly independent"),
    ],
)
def test_bad_lattices(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        Lattice(*arguments)
