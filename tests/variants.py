"""Tests of variants of an architecture, whose usual form is tested on all kinds of site."""

from typing import ClassVar

from lightdan.lattices.lattice import Lattice
from lightdan.testing import ArchitectureTests


class VariantTests(ArchitectureTests):
    """Property tests on spins and on reals."""

    sites: ClassVar = {name: ArchitectureTests.sites[name] for name in ("spins", "reals")}
    lattices: ClassVar = [(2, 3), (5,), (3, 4)]


def of_cells(shape):
    """Return a network's arguments for a lattice whose last axis, if there are several, is a basis."""
    if len(shape) == 1:
        return {"lattice_shape": shape}
    *cells, num = shape
    basis = tuple((site / num, *[0.0] * (len(cells) - 1)) for site in range(num))
    return {"lattice_shape": shape, "lattice_spec": Lattice(tuple(cells), basis=basis).spec}
