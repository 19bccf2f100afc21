import warnings

import numpy as np
import pytest

from lightdan import Ising, Recorded
from lightdan.lattices.bravais import kagome


@pytest.fixture
def spins(tmp_path):
    """Return a function that writes random spins of a shape, and the path of their file."""

    def write(*shape):
        path = tmp_path / "spins.npy"
        np.save(path, np.random.default_rng(0).choice([-1, 1], (200, *shape)).astype(np.int8))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("written", "options", "lattice"),
    [
        ((4, 4, 3), {"lattice": "kagome"}, kagome((4, 4))),
        ((48,), {"lattice": "kagome", "shape": (4, 4)}, kagome((4, 4))),
        ((4, 4, 4), {"lattice": "hypercubic"}, Ising(shape=(4, 4, 4)).lattice),
    ],
)
def test_arrays_on_lattices(spins, written, options, lattice, capsys):
    system = Recorded(path=spins(*written), boundary="periodic", **options)
    assert system.lattice == lattice
    assert system.symmetries[-2:] == ("rotation", "reflection")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        system.setup()
    assert tuple(system.data.rows("train", 1.0).shape[1:]) == lattice.shape
    assert "bonds" not in capsys.readouterr().out


def test_arrays_on_graphs(spins, tmp_path):
    bonds = tmp_path / "bonds.txt"
    bonds.write_text("# a star\n0 1\n0 2\n0 3\n")
    system = Recorded(path=spins(4), lattice=str(bonds))
    assert system.lattice.bonds.tolist() == [[0, 1], [0, 2], [0, 3]]
    assert system.symmetries == ("z2", "automorphism")
    bonds.write_text("0 1\n0 4\n")
    with pytest.raises(ValueError, match=r"bonds\.txt, bond 1 joins the sites 0 and 4"):
        Recorded(path=spins(4), lattice=str(bonds))


@pytest.mark.parametrize(
    ("written", "options", "reason"),
    [
        (
            (6, 6),
            {"lattice": "kagome"},
            r"not fit the lattice kagome, .* 3 sites of a cell",
        ),
        ((4, 4, 3), {"lattice": "honeycomb"}, r"axis 2, 2 sites of a cell\): set shape"),
        ((36,), {"lattice": "triangular"}, r"axes \(cells along axis 1, cells along axis 2\)"),
        ((36,), {"lattice": "triangular", "shape": (5, 6)}, "30 sites, but a row .* 36 values"),
        ((36,), {"lattice": "square"}, "There is no lattice 'square': set lattice to one of"),
        ((4, 4, 4), {}, "lattice to hypercubic if these are its axes"),
    ],
)
def test_axes_that_do_not_fit(spins, written, options, reason):
    with pytest.raises(ValueError, match=reason):
        Recorded(path=spins(*written), **options)
