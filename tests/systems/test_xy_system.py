import numpy as np
import pytest
import torch

from lightdan import XY
from lightdan.lattices.angles import TWO_PI
from lightdan.simulation import xy
from lightdan.testing import SystemTests


class TestSquare(SystemTests):
    def make(self, **kwargs):
        return XY(shape=(3, 4), temperature=1.0, **kwargs)


class TestRing(SystemTests):
    def make(self, **kwargs):
        return XY(shape=(6,), temperature=0.7, **kwargs)


class TestAntiferromagnet(SystemTests):
    def make(self, **kwargs):
        return XY(shape=(4, 2), temperature=1.0, coupling=-1.0, **kwargs)


class TestTooLargeToSolve(SystemTests):
    def make(self, **kwargs):
        return XY(shape=(5, 6), temperature=[0.9, 2.0], **kwargs)


class TestTriangularAntiferromagnet(SystemTests):
    def make(self, **kwargs):
        return XY(shape=3, temperature=0.6, coupling=-1.0, lattice="triangular", **kwargs)


class TestKagome(SystemTests):
    def make(self, **kwargs):
        return XY(shape=2, temperature=1.0, coupling=[1.0, 0.5, -0.3], lattice="kagome", **kwargs)


class TestGraph(SystemTests):
    @pytest.fixture(autouse=True)
    def path(self, tmp_path_factory):
        self.file = str(tmp_path_factory.getbasetemp() / "angles.csv")
        np.savetxt(self.file, [(0, 1), (1, 2), (2, 0), (2, 3)], "%d", delimiter=",")

    def make(self, **kwargs):
        return XY(4, [1.0, 0.8, -0.6, 1.0], self.file, temperature=0.5, **kwargs)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"lattice": "triangular"}, {"vortex_pairs"}),
        ({"shape": (3, 4, 5)}, {"vortex_pairs", "helicity_modulus"}),
        ({"lattice": "honeycomb", "coupling": [1.0, 0.5, 2.0]}, {"vortex_pairs"}),
        ({"shape": (4, 6), "coupling": [1.0, -0.5]}, {"vortex_pairs", "helicity_modulus"}),
    ],
)
def test_observables_on_lattices_are_those_of_the_simulation(options, names):
    system = XY(**{"shape": (4, 3), **options})
    s = TWO_PI * torch.rand(20, *system.lattice_shape, dtype=torch.float64)
    observed = {name: function(s).numpy() for name, function in system.observables(1.3).items()}
    assert observed.keys() - {"energy", "abs_magnetization"} == names
    first, second = system.lattice.bonds.T
    flat = s.flatten(1).numpy()
    own = xy.bond_couplings(system.lattice, system.coupling)
    energy = -np.cos(flat[:, first] - flat[:, second]) @ own
    np.testing.assert_allclose(observed["energy"] * system.num_sites, energy, atol=1e-10)
    np.testing.assert_allclose(observed["vortex_pairs"], xy.vortex_pairs(s.numpy(), system.lattice))
    if "helicity_modulus" in names:
        expected = xy.helicity_modulus(s.numpy(), 1.3, system.coupling)
        np.testing.assert_allclose(observed["helicity_modulus"], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"lattice": "kagom"}, "There is no lattice 'kagom'"),
        ({"lattice": "kagome", "shape": (4,)}, "does not fit the lattice kagome"),
        ({"coupling": [1.0, 2.0, 3.0]}, "3 numbers, but there are 2 directions of bonds"),
        ({"coupling": float("nan")}, "coupling"),
    ],
)
def test_bad_lattices_are_named(options, reason):
    with pytest.raises(ValueError, match=reason):
        XY(**options)


@pytest.mark.parametrize("shape", [(5,), (4, 6), (1, 3), (2, 2)])
def test_observables_are_those_of_the_simulation(shape):
    system = XY(shape=shape, coupling=-0.7)
    s = TWO_PI * torch.rand(50, *shape, generator=torch.Generator().manual_seed(0)).double()
    np.testing.assert_allclose(system.energy(s), xy.energy(s.numpy(), -0.7), atol=1e-12)
    observed = {name: function(s).numpy() for name, function in system.observables(1.3).items()}
    expected = xy.helicity_modulus(s.numpy(), 1.3, -0.7)
    np.testing.assert_allclose(observed["helicity_modulus"], expected, atol=1e-12)
    order = np.abs(np.exp(1j * s.numpy().reshape(50, -1)).mean(axis=1))
    np.testing.assert_allclose(observed["abs_magnetization"], order, atol=1e-12)
    if "vortex_pairs" in observed:
        np.testing.assert_allclose(observed["vortex_pairs"], xy.vortex_pairs(s.numpy()))
    assert ("vortex_pairs" in observed) == (len(shape) == 2 and min(shape) > 1)


def test_aligned_spins():
    system = XY(shape=4, coupling=2.0)
    aligned = torch.full((1, 4, 4), 1.2)
    assert system.energy(aligned).item() == pytest.approx(-64)
    assert system.helicity_modulus(aligned, 1.0).item() == pytest.approx(2.0)
    assert XY(shape=1).energy(torch.ones(2, 1, 1)).tolist() == [0, 0]


def test_exact_where_it_can_be():
    assert XY(shape=4).exact(1.0).log_partition == pytest.approx(10.64748, abs=5e-6)
    assert XY(shape=5).exact(1.0) is None
    assert XY(shape=4).exact(0.1) is None
    assert XY(shape=(3, 4), coupling=-1.0).exact(1.0) is None
    assert XY(shape=(16,)).exact(1.0).log_partition == pytest.approx(3.774635, abs=1e-6)
