"""Rows at several temperatures: splits, reports, weights, and the numbers of the simulated system."""

import h5py
import numpy as np
import pytest
import torch
from trainers import quiet_trainer

from lightdan import MADE, FreeEnergy, Hamiltonian, Ising, PhaseStructure
from lightdan.data.inspection.conditions import conditions, equal_rows
from lightdan.data.splits import SPLITS
from lightdan.measurements.ensemble import Ensemble
from lightdan.systems.recorded import Recorded

T = [2.0, 3.0, 4.0]


def random(num, shape=(4, 4), seed=0):
    """Draw independent spins."""
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), (num, *shape))


def copied(probability, num):
    """Draw rows of spins that repeat the row before with probability p: τ = (1+p)/(2(1−p))."""
    fresh = np.random.default_rng(0).random(num) >= probability
    fresh[0] = True
    return random(num)[np.flatnonzero(fresh)][np.cumsum(fresh) - 1]


def mixed(parts, seed=0):
    """Return rows and labels in random order, but in their own order at each temperature."""
    labels = np.random.default_rng(seed).permutation(np.repeat(T[: len(parts)], [*map(len, parts)]))
    rows = np.empty((len(labels), *parts[0].shape[1:]), parts[0].dtype)
    for temperature, part in zip(T, parts, strict=False):
        rows[labels == temperature] = part
    return rows, labels


def recorded(folder, rows, labels, **options):
    """Write rows with labels and return the system."""
    np.savez(folder / "a.npz", s=rows, kT=labels, **options.pop("beside", {}))
    return Recorded(str(folder / "a.npz"), dataset="s", temperature="kT", **options)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Provide simulated configurations at three temperatures."""
    system = Ising(
        4,
        temperature=T,
        num_configurations=400,
        splits=(0.5, 0.25, 0.25),
        batch_size=60,
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )
    system.prepare_data()
    system.setup()
    return system


def trained(system):
    """Train a tiny network with temperature input for some steps."""
    torch.manual_seed(0)
    model = MADE.for_system(system, width=2, temperature_input=True)
    quiet_trainer(max_steps=10, limit_val_batches=0).fit(model, datamodule=system)
    return model


class Known(Recorded):
    """Recorded configurations of the Ising model on 4 × 4 sites."""

    def energy(self, configurations):
        return Ising(4).energy(configurations)

    def exact(self, temperature):
        return Ising(4).exact(temperature)


def numbers(model, system, *more):
    """Return all estimates of measurements, also of what needs several temperatures."""
    found, ensembles = {}, [Ensemble(model, system, temperature) for temperature in T]
    measurements = FreeEnergy(num_samples=50), Hamiltonian(num_samples=50), *more
    with torch.inference_mode():
        for measurement in measurements:
            for place, each in enumerate(ensembles):
                for name, estimate in measurement.measure(each).estimates.items():
                    found[measurement.name, name, place] = estimate
        for name, estimate in FreeEnergy(50, 6).survey(ensembles).estimates.items():
            found["free_energy", name, "all"] = estimate
    return found


CHAINS = {"hamiltonian": "network", "num_ladders": 6, "num_steps": 10, "max_distance": 1.0}


@pytest.mark.parametrize(
    "more",
    [[], pytest.param([PhaseStructure([2.5], **CHAINS)], marks=pytest.mark.slow)],
    ids=["", "PhaseStructure"],
)
def test_a_recorded_copy_gives_the_numbers_of_the_simulation(simulated, tmp_path, more):
    """Temperatures in any order, in memory or on disk, change neither training nor measurements."""
    parts = [
        torch.cat([simulated.data.rows(split, t) for split in SPLITS])[simulated.data.order(t)]
        for t in T
    ]
    assert max(simulated.data.tau_int) < 1
    rows, labels = mixed([part.numpy().astype(np.int8) for part in parts])
    expected = numbers(trained(simulated), simulated, *more)
    options = {"splits": (0.5, 0.25, 0.25), "batch_size": 60, "boundary": "periodic"}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["s"], file["kT"] = rows, labels
    disk = Recorded(str(tmp_path / "a.h5"), dataset="s", temperature="kT", max_memory_gb=0.0, **options)
    np.savez(tmp_path / "a.npz", s=rows, kT=labels)
    system = Known(str(tmp_path / "a.npz"), dataset="s", temperature="kT", **options)
    model = trained(system)
    # The simulation measures the time of other observables, and the blocks of errors follow from it.
    system.data.tau_int = simulated.data.tau_int
    found = numbers(model, system, *more)
    assert system.temperatures == T
    assert {"nll", "ln_z", "entropy", "transition"} <= {name for _, name, _ in found}
    assert found.keys() == expected.keys()
    for name, estimate in found.items():
        assert [*estimate] == pytest.approx([*expected[name]], rel=1e-6), name
    for mine, other in zip(trained(disk).parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_splits_and_blocks_at_each_temperature(tmp_path):
    """A slow temperature has blocks of its own rows, whatever rows lie between."""
    slow, fast = copied(0.8, 4000), random(num=1000, seed=5)
    rows, labels = mixed([slow, fast])
    system = recorded(tmp_path, rows, labels, splits=(0.5, 0.25, 0.25))
    with pytest.warns(UserWarning, match=r"correlated at T = 2: .*4000 configurations") as caught:
        system.setup()
    assert sum("correlated" in str(each.message) for each in caught) == 1
    assert system.data.tau_int[0] == pytest.approx(4.5, rel=0.3)
    assert system.data.tau_int[1] < 1
    assert system.data.block_size(3.0) == 1
    assert system.data.block_size(2.0) > 20
    block = 4000 // 50  # because 20 τ is longer
    own = torch.from_numpy(np.flatnonzero(labels == 2.0))
    owners = [
        set((torch.searchsorted(own, system.data.rows_of(name, 2.0)) // block).tolist())
        for name in SPLITS
    ]
    assert sum(map(len, owners)) == len(set.union(*owners)) == -(-4000 // block)
    for temperature, part in zip(T, [slow, fast], strict=False):
        joined = torch.cat([system.data.rows(name, temperature) for name in SPLITS])
        np.testing.assert_array_equal(joined[system.data.order(temperature)], part)


def test_report_of_each_temperature(tmp_path, capsys):
    rows, labels = mixed([random(num=200, seed=k) for k in range(3)])
    recorded(tmp_path, rows, labels, num_configurations=150).setup()
    out = capsys.readouterr().out
    assert "450 configurations of 4 × 4 sites" in out
    assert f"temperatures: 3, from the array 'kT' of the file {tmp_path / 'a.npz'}" in out
    for temperature in T:
        assert f"autocorrelation along the file at T = {temperature:g}: 0." in out
    assert "150 are " in out


def test_weights_and_counts_at_each_temperature(tmp_path):
    rows, labels = mixed([random(num=300, seed=k) for k in range(3)])
    counts = np.random.default_rng(0).integers(0, 5, 900)
    for weights in (counts, counts * 0.37):
        system = recorded(
            tmp_path, rows, labels, beside={"w": weights}, weights="w", splits=(0.5, 0.25, 0.25)
        )
        system.setup()
        for temperature in T:
            total = sum(system.data.weights(name, temperature).sum().item() for name in SPLITS)
            assert total == pytest.approx(weights[labels == temperature].sum())
            for name in SPLITS:
                chosen = system.data.rows_of(name, temperature).numpy()
                assert (labels[chosen] == temperature).all()
                assert (weights[chosen] > 0).all()


def test_equal_rows_are_collapsed_at_each_temperature(tmp_path):
    rows = random(shape=(3,), num=900)
    labels = np.repeat(T, 300)[np.random.default_rng(3).permutation(900)]
    system = recorded(tmp_path, rows, labels, collapse=True, splits=(0.5, 0.25, 0.25))
    system.setup()
    assert system.data.configurations.shape == (24, 3)
    for temperature in T:
        found = {}
        for name in SPLITS:
            chosen = system.data.rows(name, temperature).long().tolist()
            for row, count in zip(chosen, system.data.weights(name, temperature).tolist(), strict=True):
                found[tuple(row)] = found.get(tuple(row), 0) + count
        states, counts = np.unique(rows[labels == temperature], axis=0, return_counts=True)
        assert found == {tuple(s): n for s, n in zip(states.tolist(), counts.tolist(), strict=True)}


def test_consecutive_parts(tmp_path):
    """Equal parts are found where the rows show them; otherwise the question is asked."""
    biased = [
        np.where(np.random.default_rng(k).random((300, 4, 4)) < p, 1, -1)
        for k, p in enumerate((0.5, 0.6, 0.7))
    ]
    np.save(tmp_path / "a.npy", np.concatenate(biased))
    system = Recorded(str(tmp_path / "a.npy"), temperature=[4.0, 3.0, 2.0])
    system.setup()
    assert system.temperatures == T
    joined = torch.cat([system.data.rows(name, 2.0) for name in SPLITS])[system.data.order(2.0)]
    np.testing.assert_array_equal(joined, biased[2])
    np.save(tmp_path / "b.npy", np.stack(biased, 1).reshape(900, 4, 4))
    system = Recorded(str(tmp_path / "b.npy"), temperature=[4.0, 3.0, 2.0])
    with pytest.raises(ValueError, match=r"b\.npy do not show 3 consecutive parts of 300 rows"):
        system.setup()


def test_a_temperature_with_too_few_rows_is_named(tmp_path):
    rows, labels = mixed([random(num=300), random(num=4)])
    with pytest.raises(ValueError, match="4 configurations at T = 3 are too few for the splits"):
        recorded(tmp_path, rows, labels).setup()


def test_the_network_must_see_several_temperatures(tmp_path):
    system = recorded(tmp_path, *mixed([random(num=300)] * 2))
    with pytest.raises(ValueError, match=r"set model\.temperature_input to true"):
        quiet_trainer(max_steps=1).fit(MADE.for_system(system, width=2), datamodule=system)


@pytest.mark.parametrize("memory", [4.0, 0.0])
def test_inspection_takes_one_temperature_after_the_other(tmp_path, memory):
    parts = [random(num=100 * k, seed=k) for k in (1, 2, 3)]
    rows, labels = mixed(parts)
    np.save(tmp_path / "s.npy", rows)
    system = Recorded(
        str(tmp_path / "s.npy"), temperature=labels.tolist(), max_memory_gb=memory, shape=(16,)
    )
    system.setup()
    every = conditions(system.data)
    assert [*every] == [f"T = {t:g}" for t in T[2::-1]]
    for part, found in zip(reversed(parts), every.values(), strict=True):
        rows, tau = equal_rows(found)
        assert tau == 0.5
        np.testing.assert_array_equal(rows[:], part.reshape(-1, 16))
