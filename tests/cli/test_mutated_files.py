"""Damaged files of every format end with exit code 0 or 2, and run no code."""

import os

import pytest
from mutated import FORMATS, faults, prepare

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="each file is read in a process of its own"),
]


@pytest.fixture(scope="module", autouse=True)
def prepared():
    prepare()


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_refused(name):
    assert not faults(name, range(4))
