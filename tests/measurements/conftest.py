"""Data that several measurements are tested with."""

import pytest
from oracle import SHAPE, TEMPERATURE

from lightdan import MADE, Ising
from lightdan.measurements.ensemble import Ensemble, Samples
from lightdan.testing import all_configurations


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


@pytest.fixture(scope="session")
def measured(tmp_path_factory):
    """Provide Ising 4 × 4 with the exact distribution and simulated samples instead of a network."""
    cache = str(tmp_path_factory.mktemp("cache"))
    options = {"temperature": 2.5, "num_configurations": 8000, "cache_dir": cache}
    system, other = Ising((4, 4), **options), Ising((4, 4), seed=1, **options)
    system.setup()
    states = all_configurations((4, 4), (-1, 1))
    log_z = (-system.energy(states) / 2.5).logsumexp(0)
    log_prob = -system.energy(system.data.rows("test", 2.5).double()) / 2.5 - log_z
    model = MADE(lattice_shape=(4, 4))
    ensemble = Ensemble(model, system, 2.5, log_prob)
    samples = other.data.rows("train", 2.5)[:400]
    ensemble.keep(("samples", 400, 0), lambda: Samples(ensemble, samples))
    return ensemble
