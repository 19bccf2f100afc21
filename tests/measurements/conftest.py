"""Data that several measurements are tested with."""

import pytest
from oracle import SHAPE, TEMPERATURE

from lightdan import Ising


@pytest.fixture(scope="session")
def system(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    system = Ising(
        SHAPE,
        temperature=TEMPERATURE,
        num_configurations=20_000,
        splits=(0.5, 0.25, 0.25),
        cache_dir=cache,
    )
    system.setup()
    return system
