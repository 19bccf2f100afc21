import itertools

import numpy as np
import pytest

from lightdan import Ising
from lightdan.lattices.bravais import hypercubic, kagome, triangular
from lightdan.lattices.graphs import graph
from lightdan.simulation import ising
from lightdan.testing import SystemTests

EDGES = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 2), (1, 6)]


class TestTriangular(SystemTests):
    def make(self, **kwargs):
        return Ising(shape=(3, 4), lattice="triangular", temperature=3.0, field=0.2, **kwargs)


class TestAntiferromagnet(SystemTests):
    def make(self, **kwargs):
        return Ising(shape=3, lattice="triangular", temperature=1.0, coupling=-1.0, **kwargs)


class TestKagome(SystemTests):
    def make(self, **kwargs):
        return Ising(shape=2, lattice="kagome", temperature=2.0, coupling=[1.0, 0.5, -0.3], **kwargs)


class TestHoneycomb(SystemTests):
    def make(self, **kwargs):
        return Ising(shape=(2, 3), lattice="honeycomb", temperature=1.5, **kwargs)


class TestCubic(SystemTests):
    def make(self, **kwargs):
        return Ising(shape=(2, 2, 3), temperature=4.5, **kwargs)


@pytest.mark.filterwarnings("ignore:1 of the 8 sites")
class TestGraph(SystemTests):
    @pytest.fixture(autouse=True)
    def path(self, tmp_path_factory):
        path = tmp_path_factory.getbasetemp() / "bonds.csv"
        np.savetxt(path, EDGES, "%d", delimiter=",")
        self.file = str(path)

    def make(self, **kwargs):
        couplings = [1.0, -0.8, 0.6, 0.3, -1.1, 0.9, 0.4, -0.5]
        return Ising(shape=(8,), lattice=self.file, temperature=0.8, coupling=couplings, **kwargs)


@pytest.mark.parametrize(
    ("lattice", "coupling", "frustrated"),
    [
        (triangular((3, 3)), 1.0, False),
        (triangular((3, 3)), -1.0, True),
        (triangular((4, 4)), [-1.0, -1.0, 1.0], False),
        (triangular((4, 4)), [-1.0, 0.0, -1.0], False),
        (kagome((2, 2)), -1.0, True),
        (hypercubic((4, 4, 4)), -1.0, False),
        (hypercubic((4, 4, 3)), -1.0, True),
        (graph(7, EDGES), [1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0, -1.0], False),
        (graph(7, EDGES), [1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0], True),
    ],
)
def test_frustration_is_that_no_state_satisfies_all_bonds(lattice, coupling, frustrated):
    couplings = ising.bond_couplings(lattice, coupling)
    assert ising.is_frustrated(lattice, couplings) is frustrated
    if lattice.num_sites <= 12:
        spins = np.array([*itertools.product([-1, 1], repeat=lattice.num_sites)], np.int8)
        lowest = ising.energy(spins, coupling, 0.0, lattice).min()
        assert (lowest > -np.abs(couplings).sum() + 1e-9) == frustrated


def test_symmetries_are_those_of_the_couplings():
    names = {"translation", "rotation", "reflection"}
    assert {*Ising(shape=4, lattice="triangular", field=1.0).symmetries} == names
    assert {*Ising(shape=4, coupling=[1.0, 0.5], field=1.0).symmetries} == names - {"rotation"}
    anisotropic = Ising(shape=4, lattice="triangular", coupling=[1.0, 0.5, 0.2], field=1.0)
    assert anisotropic.symmetries == ("translation",)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"lattice": "kagom"}, "There is no lattice 'kagom': set lattice to one of hypercubic"),
        ({"lattice": "kagome", "shape": (4,)}, "shape .* does not fit the lattice kagome"),
        ({"lattice": "bonds.txt", "shape": (4,)}, "There is no file bonds.txt"),
        ({"coupling": [1.0, 2.0, 3.0]}, "3 numbers, but there are 2 directions of bonds"),
        ({"coupling": [1.0, float("nan")]}, "coupling must be finite"),
        ({"lattice": "triangular", "coupling": -1.0, "clusters": True}, "bonds are frustrated"),
    ],
)
def test_bad_lattices_are_named(options, reason):
    with pytest.raises(ValueError, match=reason):
        Ising(**options)


def test_rows_of_a_frustrated_ring_of_layers_are_independent():
    """All ⟨s_i s_j⟩ agree with enumeration; E, |m| and m alone do not see how slow they are."""
    system = Ising((2, 2, 3), coupling=-1.0, field=0.5)
    states = np.array([*itertools.product((-1, 1), repeat=12)])
    energies = system.energy(states.reshape(-1, 2, 2, 3)).numpy()
    weights = np.exp(-(energies - energies.min()) / 2)
    exact = (states.T * weights) @ states / weights.sum()
    run = ising.simulate((2, 2, 3), 2.0, 20_000, coupling=-1.0, field=0.5, seed=3)
    rows = run.configurations.reshape(-1, 12).astype(float)
    pairs = np.triu_indices(12, 1)
    deviations = (rows.T @ rows / len(rows) - exact)[pairs] / np.sqrt((1 - exact**2)[pairs] / len(rows))
    assert np.abs(deviations).max() < 5.0
    assert max(tau.value for tau in run.tau.values()) < 1.0
