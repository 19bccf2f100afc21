"""Tests of a variant of an architecture, which in its usual form is put to all kinds of site."""

from typing import ClassVar

from lightdan.testing import ArchitectureTests


class VariantTests(ArchitectureTests):
    """On discrete sites of two and three levels, and on reals."""

    sites: ClassVar = {name: ArchitectureTests.sites[name] for name in ("spins", "levels", "reals")}
    lattices: ClassVar = [(2, 3), (5,), (3, 4)]
