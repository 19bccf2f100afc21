import errno
import multiprocessing
import os
import signal
import time

import h5py
import numpy as np
import pytest
import torch

from lightdan.data.cache import CachedSimulation, write_hdf5
from lightdan.data.loader import BatchLoader
from lightdan.data.splits import derive_seed, split_rows
from lightdan.simulation.simulation import Simulation
from lightdan.statistics import Estimate

KEY = {"system": "x", "seed": 1}


def loader(**options):
    configurations = torch.arange(100).reshape(100, 1).to(torch.int8)
    return BatchLoader(configurations, torch.ones(100), torch.arange(100), 7, **options)


def values(batches):
    return [batch.configurations.flatten().tolist() for batch in batches]


def test_without_seed_in_order_and_whole():
    assert [row for batch in values(loader()) for row in batch] == list(range(100))


def test_every_epoch_has_its_own_order_and_all_are_served():
    epoch = [0]
    shuffled = loader(seed=3, epoch=lambda: epoch[0])
    first = values(shuffled)
    assert values(shuffled) == first
    epoch[0] = 1
    second = values(shuffled)
    assert first != second
    assert [len(batch) for batch in first] == [len(batch) for batch in second] == [7] * 14
    assert len({row for batch in first for row in batch}) == 98


def test_served_whole_when_the_last_batch_is_not_asked_beyond():
    shuffled = loader(seed=3)
    for _ in range(3):  # as Lightning does, which knows the length
        iterator = iter(shuffled)
        assert len([next(iterator) for _ in range(len(shuffled))]) == 14


def test_resumed_with_the_very_next_batch():
    whole = values(loader(seed=3))
    started = loader(seed=3)
    iterator = iter(started)
    for _ in range(5):
        next(iterator)
    resumed = loader(seed=3)
    resumed.load_state_dict(started.state_dict())
    assert values(resumed) == whole[5:]
    assert values(resumed) == whole


def test_processes_share_each_batch():
    whole = values(loader(seed=3))
    parts = [values(loader(seed=3, rank=rank, world_size=2)) for rank in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


def test_memory_map_gives_the_same_batches(tmp_path):
    array = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (100, 4))
    np.save(tmp_path / "x.npy", array)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    arguments = (torch.ones(100), torch.arange(100), 7)
    inside = values(BatchLoader(torch.from_numpy(array), *arguments, seed=1))
    assert values(BatchLoader(mapped, *arguments, seed=1)) == inside


@pytest.mark.parametrize("block", [1, 10])
def test_split_is_disjoint_complete_and_blocked(block):
    parts = split_rows(1000, (0.8, 0.1, 0.1), block=block, seed=2)
    assert sorted(torch.cat(parts).tolist()) == list(range(1000))
    assert [len(part) for part in parts] == [800, 100, 100]
    owners = [{row // block for row in part.tolist()} for part in parts]
    if block > 1:
        assert not owners[0] & owners[1]
        assert not owners[0] & owners[2]
    assert torch.equal(split_rows(1000, (0.8, 0.1, 0.1), block=block, seed=2)[2], parts[2])


@pytest.mark.parametrize(
    ("num", "fractions"),
    [(100, (0.5, 0.5)), (100, (0.9, 0.2, 0.1)), (100, (1.0, 0.0, 0.0)), (3, (0.9, 0.05, 0.05))],
)
def test_impossible_splits_are_refused(num, fractions):
    with pytest.raises(ValueError, match="split"):
        split_rows(num, fractions)


def slow_simulation(directory, counter):
    def simulate(progress):
        with open(counter, "a") as file:
            file.write("x")
        time.sleep(0.5)
        return Simulation(np.ones((3, 2), np.int8))

    CachedSimulation(directory, "x", KEY).get(simulate, "x", 3)


def test_two_processes_compute_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    arguments = (tmp_path / "cache", tmp_path / "counter")
    processes = [context.Process(target=slow_simulation, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert (tmp_path / "counter").read_text() == "x"


def test_cached_with_provenance_and_found_again(tmp_path):
    cached = CachedSimulation(tmp_path, "x", KEY)
    times = {"energy": Estimate(0.7, 0.1), "abs_magnetization": Estimate(0.6, 0.2)}
    run = cached.get(lambda progress: Simulation(np.ones((3, 2)), times, 5), "x", 3)
    again = cached.get(lambda progress: pytest.fail("simulated twice"), "x", 3)
    assert np.array_equal(run.configurations, again.configurations)
    assert run.tau == again.tau == times
    assert run.updates_per_configuration == again.updates_per_configuration == 5
    assert again.tau_int == Estimate(0.7, 0.1)
    with h5py.File(cached.path) as file:
        assert '"seed": 1' in file.attrs["parameters"]
    assert CachedSimulation(tmp_path, "x", {**KEY, "seed": 2}).path != cached.path


def constant(value, shape=(3,)):
    return lambda progress: Simulation(np.full(shape, value))


def test_a_crash_leaves_nothing(tmp_path):
    def crash(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CachedSimulation(tmp_path, "x", KEY).get(crash, "x", 3)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_damaged_file_is_computed_again(tmp_path):
    cached = CachedSimulation(tmp_path, "x", KEY)
    cached.get(constant(1), "x", 3)
    cached.path.write_bytes(cached.path.read_bytes()[:200])
    assert not cached.get(constant(0), "x", 3).configurations.any()


def test_full_disk_is_said_and_leaves_no_half_file(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(ValueError, match="The disk is full"):
        CachedSimulation(tmp_path, "x", KEY).get(constant(1), "x", 3)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_unwritable_directory_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot be written.*set cache_dir"):
        CachedSimulation(tmp_path / "file" / "cache", "x", KEY).get(constant(1), "x", 3)


def test_hdf5_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        write_hdf5(tmp_path / "x.h5", {"a": np.ones(2)}, {})
    assert not list(tmp_path.iterdir())


def killed_while_writing(directory):
    h5py.Group.create_dataset = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
    CachedSimulation(directory, "x", KEY).get(constant(1), "x", 3)


def test_killed_while_writing_leaves_nothing_behind_for_long(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=killed_while_writing, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    cached = CachedSimulation(tmp_path, "x", KEY)
    assert not cached.path.exists()
    other = tmp_path / ".y-0.h5.1.tmp"
    other.write_text("of another array")
    assert not cached.get(constant(0), "x", 3).configurations.any()
    left = {path for path in tmp_path.iterdir() if path.suffix != ".lock"}
    assert left == {cached.path, other}


def test_every_truncation_is_computed_again(tmp_path):
    cached = CachedSimulation(tmp_path, "x", KEY)
    cached.get(constant(1, (40, 8)), "x", 40)
    whole = cached.path.read_bytes()
    for size in range(0, len(whole) - 1, len(whole) // 40):
        cached.path.write_bytes(whole[:size])
        assert (cached.get(constant(size), "x", 3).configurations == size).all()


def test_damaged_attributes_are_computed_again(tmp_path, monkeypatch):
    cached = CachedSimulation(tmp_path, "x", KEY)
    cached.get(constant(1), "x", 3)

    def damaged(*args):
        raise RuntimeError("Error iterating over attributes (sign bit position out of bounds)")

    with monkeypatch.context() as patch:
        patch.setattr(h5py.AttributeManager, "__getitem__", damaged)
        assert not cached.get(constant(0), "x", 3).configurations.any()


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize(("num", "world_size"), [(71, 2), (71, 3), (8, 4)])
def test_no_process_is_left_without_a_part_of_a_batch(num, world_size, seed):
    """An empty part would make the mean over it, and with it the validation loss, NaN."""
    configurations = torch.arange(num)[:, None]
    parts = [
        BatchLoader(
            configurations,
            torch.ones(num),
            torch.arange(num),
            7,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        for rank in range(world_size)
    ]
    sizes = [[len(batch.temperature) for batch in part] for part in parts]
    assert min(map(min, sizes)) > 0
    assert {len(part) for part in sizes} == {len(parts[0])}
    assert sum(map(sum, sizes)) == (num if seed is None else num // 7 * 7)


def test_order_of_an_epoch_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return values(loader(seed=seed, epoch=lambda: epoch))

    torch.manual_seed(1)
    first = order(3, 5)
    torch.manual_seed(2)
    assert order(3, 5) == first
    assert order(4, 5) != first
    assert order(5, 3) != first


def test_temperatures_stay_beside_their_configurations():
    rows = torch.arange(100)
    shuffled = BatchLoader(rows[:, None], 1.0 + rows, rows[10:90], 7, seed=3)
    for batch in shuffled:
        assert torch.equal(batch.temperature, 1 + batch.configurations[:, 0])
        assert batch.configurations.min() >= 10
        assert batch.configurations.max() < 90


def test_seeds_are_derived_from_every_part_and_its_place():
    seeds = [derive_seed(*parts) for parts in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, 2) == derive_seed(1, 2)
