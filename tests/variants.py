"""Tests of variants of an architecture, whose usual form is tested on all kinds of site."""

from typing import ClassVar

from lightdan.testing import ArchitectureTests


class VariantTests(ArchitectureTests):
    """Property tests on spins and on reals."""

    sites: ClassVar = {name: ArchitectureTests.sites[name] for name in ("spins", "reals")}
    lattices: ClassVar = [(2, 3), (5,), (3, 4)]
