"""Property tests of every registered system, and tests of the base class."""

import pathlib
from functools import partial

import numpy as np
import pytest
import tifffile
import torch
from trainers import quiet_trainer

from lightdan import (
    MADE,
    XY,
    BlockSpin,
    BlumeCapel,
    Clock,
    DoubleWell,
    Estimate,
    GaussianField,
    Ising,
    KerrImages,
    Path,
    Potts,
    Recorded,
    ScalarField,
    Simulation,
    SyntheticKerrImages,
    System,
    registry,
)
from lightdan.data.splits import derive_seed
from lightdan.testing import SystemTests

registry.load_plugins()
OURS = {
    name: cls for name, cls in registry.known(System).items() if cls.__module__.startswith("lightdan.")
}


def recorded(values, num_configurations, cache_dir, **kwargs):
    rng = np.random.default_rng(0)
    path = f"{cache_dir}.npy"
    np.save(path, rng.choice(np.array(values, np.int8), (num_configurations, 3, 4)))
    return Recorded(path, **kwargs)


EXAMPLES = {
    "Ising": {
        "square": partial(Ising, shape=3, temperature=2.5),
        "chain of two": partial(Ising, shape=(2,), temperature=1.5),
        "too large to enumerate": partial(Ising, shape=(5, 6), temperature=3.0),
        "two temperatures": partial(Ising, shape=4, temperature=[2.0, 5.0]),
    },
    "Potts": {
        "triangular": partial(Potts, (2, 4), 3, -1.0, "triangular", temperature=0.7),
    },
    "Clock": {
        "two Ising models": partial(Clock, shape=5, num_levels=4, temperature=1.2),
    },
    "BlumeCapel": {
        "square": partial(BlumeCapel, shape=3, crystal_field=0.6, temperature=0.8),
    },
    "XY": {
        "square": partial(XY, shape=3, temperature=1.0),
        "too large to solve": partial(XY, shape=(5, 6), temperature=0.8),
    },
    "Path": {
        "anharmonic": partial(Path, potential=[0, 0.2, 0.5, 0, 0.3], beta=3.0, num_slices=9),
        "Metropolis": partial(Path, potential=[0, 0, 0.5], beta=2.0, num_slices=5, sampler="metropolis"),
        "HMC": partial(Path, potential=[0, 0.2, 0.5, 0, 0.3], beta=3.0, num_slices=6, sampler="hmc"),
    },
    "DoubleWell": {"two temperatures": partial(DoubleWell, beta=[2.0, 4.0], num_slices=12)},
    "GaussianField": {
        "ring": partial(GaussianField, shape=(10,), mass2=4.0),
        "torus": partial(GaussianField, shape=(3, 4), mass2=0.5),
        "two rows": partial(GaussianField, shape=(2, 5), mass2=1.0),
        "a chain of one row": partial(GaussianField, shape=(1, 4), mass2=1.0),
        "cube": partial(GaussianField, shape=(3, 3, 3), mass2=0.5),
        "triangular": partial(GaussianField, shape=(3, 4), mass2=0.5, lattice="triangular"),
    },
    "ScalarField": {
        "square": partial(ScalarField, shape=4, hopping=0.25, coupling=0.5),
        "free ring": partial(ScalarField, shape=(6,), hopping=0.3, coupling=0.0),
    },
    "Recorded": {
        "spins": partial(recorded, (-1, 1)),
        "levels": partial(recorded, (-4, 0, 4), boundary="periodic"),
        "counts": partial(recorded, (-1, 1), shape=(3, 4), collapse=True),
    },
}
"""Small examples of each system."""


def images(num_configurations, cache_dir, **kwargs):
    """Write one texture of white noise per file."""
    folder = pathlib.Path(f"{cache_dir}-images")
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(12):
        image = np.where(rng.random((50, 60)) < 0.5, 90, 160).astype(np.uint8)
        tifffile.imwrite(folder / f"{number}.tif", image)
    return KerrImages(str(folder), patch=4, num_configurations=num_configurations, **kwargs)


EXAMPLES["KerrImages"] = {"noise": images}
EXAMPLES["SyntheticKerrImages"] = {
    "Ising": partial(SyntheticKerrImages, film=(24, 24), num_images=12, patch=4, temperature=3.0)
}


def blocks(batch_size=500, stride=2, rule="sum", **kwargs):
    return BlockSpin(Ising(4, temperature=2.5, **kwargs), stride, rule, batch_size=batch_size)


EXAMPLES["BlockSpin"] = {
    "sums": blocks,
    "overlapping": partial(blocks, stride=1),
    "majority": partial(blocks, rule="majority"),
}
MEMBERS = {f"{name}, {what}": make for name, some in EXAMPLES.items() for what, make in some.items()}


def test_no_system_of_ours_is_left_out():
    assert set(EXAMPLES) == set(OURS)


@pytest.fixture(scope="module", params=MEMBERS.values(), ids=MEMBERS)
def member(request):
    return request.param


@pytest.fixture(scope="module")
def prepared(member, tmp_path_factory):
    """Return a system that all tests of a member share, because images take long to read."""
    cache = tmp_path_factory.mktemp("systems")
    system = member(num_configurations=2000, batch_size=100, cache_dir=str(cache))
    system.setup()
    return system


class TestEvery(SystemTests):
    @pytest.fixture(autouse=True)
    def choose(self, member):
        self.member = member

    @pytest.fixture
    def system(self, prepared):
        return prepared

    def make(self, **kwargs):
        return self.member(**kwargs)


def simulated(system):
    system.setup()
    return torch.as_tensor(system.data.configurations)


def test_simulation_is_done_once_and_shared(tmp_path, monkeypatch):
    arguments = {"shape": 3, "num_configurations": 100, "cache_dir": str(tmp_path)}
    first = simulated(Ising(**arguments))
    monkeypatch.setattr(Ising, "simulate", lambda *args: pytest.fail("simulated twice"))
    assert torch.equal(simulated(Ising(**arguments, batch_size=7, splits=(0.5, 0.2, 0.3))), first)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (3, 4)},
        {"shape": (4, 3)},
        {"temperature": 2.0},
        {"num_configurations": 101},
        {"seed": 1},
        {"coupling": 0.5},
        {"field": 0.1},
    ],
    ids=str,
)
def test_every_parameter_that_changes_the_data_is_in_the_key(change, tmp_path):
    arguments = {"shape": (3, 3), "num_configurations": 100, "cache_dir": str(tmp_path)}
    simulated(Ising(**arguments))
    simulated(Ising(**{**arguments, **change}))
    assert len(list(tmp_path.glob("*.h5"))) == 2


def test_temperatures_have_seeds_of_their_own(tmp_path, monkeypatch):
    seeds = []

    def simulate(self, temperature, seed, progress):
        seeds.append(seed)
        return Simulation(np.ones((100, 3, 3), np.int8))

    monkeypatch.setattr(Ising, "simulate", simulate)
    simulated(Ising(shape=3, temperature=[1.0, 2.0], num_configurations=100, cache_dir=str(tmp_path)))
    assert seeds == [derive_seed(0, 0), derive_seed(0, 1)]


def test_correlated_rows_warn_and_are_split_by_blocks(tmp_path, monkeypatch):
    def simulate(self, temperature, seed, progress):
        return Simulation(np.ones((2000, 3, 3), np.int8), {"energy": Estimate(1.5, 0.1)})

    monkeypatch.setattr(Ising, "simulate", simulate)
    system = Ising(shape=3, num_configurations=2000, cache_dir=str(tmp_path))
    with pytest.warns(UserWarning, match=r"contiguous blocks.*autocorrelation time is 1\.50 rows"):
        system.setup()
    test = system.data.indices["test"]
    starts = test[torch.cat([torch.tensor([True]), test.diff() > 1])]
    assert len(test) / len(starts) >= 30
    assert torch.equal(starts % 30, torch.zeros_like(starts))


def test_rows_of_each_split_and_temperature(tmp_path):
    arguments = {"num_configurations": 1000, "splits": (0.5, 0.3, 0.2), "cache_dir": str(tmp_path)}
    system = Ising(shape=3, temperature=[1.0, 9.0], **arguments)
    sizes = {name: len(system.data.rows(name, 9.0)) for name in ("train", "validation", "test")}
    assert sizes == {"train": 500, "validation": 300, "test": 200}
    bonds = [system.energy(system.data.rows("train", t)).mean().item() for t in (1.0, 9.0)]
    assert bonds[0] < -17
    assert bonds[1] > -6


def test_a_system_without_simulation_or_energy_says_so(tmp_path):
    class _Bare(System):
        lattice_shape = (3,)

    bare = _Bare(cache_dir=str(tmp_path))
    assert not bare.has_energy
    assert bare.exact(1.0) is None
    assert set(bare.observables(1.0)) == {"magnetization", "abs_magnetization"}
    with pytest.raises(NotImplementedError, match="_Bare has no simulation"):
        bare.setup()
    with pytest.raises(NotImplementedError, match="Hamiltonian of _Bare is not known"):
        bare.energy(torch.ones(1, 3))


def test_observables_are_what_they_are_called(tmp_path):
    system = Ising(shape=(2, 3), field=0.5)
    s = torch.tensor([[[1.0, 1, -1], [-1, -1, -1]]])
    values = {name: function(s).item() for name, function in system.observables(1.0).items()}
    # along the rows −1 each, along the columns twice: 2 (−1 − 1 + 1)
    assert values == pytest.approx(
        {"energy": (-(-1 + 3 - 2) + 0.5 * 2) / 6, "magnetization": -1 / 3, "abs_magnetization": 1 / 3}
    )


def test_shuffling_follows_the_epoch_of_the_trainer(tmp_path):
    seen = []

    class _Watching(MADE):
        def training_step(self, batch):
            seen.append(batch.configurations)
            return super().training_step(batch)

    system = Ising(shape=4, num_configurations=200, batch_size=180, cache_dir=str(tmp_path))
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(_Watching(lattice_shape=(4, 4)), datamodule=system)
    assert len(seen) == 2
    assert not torch.equal(*seen)
    for s in seen:
        rows = s.flatten(1).sort(0).values
        assert torch.equal(rows, seen[0].flatten(1).sort(0).values)
