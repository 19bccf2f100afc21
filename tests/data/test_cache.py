import errno
import multiprocessing
import os
import signal
import time

import h5py
import numpy as np
import pytest

from lightdan.data.cache import CachedSimulation, write_hdf5
from lightdan.simulation.simulation import Parts, Simulation
from lightdan.statistics import Estimate

KEY = {"system": "x", "seed": 1}


def slow_simulation(directory, counter):
    def simulate(progress):
        with open(counter, "a") as file:
            file.write("x")
        time.sleep(0.5)
        return Simulation(np.ones((3, 2), np.int8))

    CachedSimulation(directory, "x", KEY).get(simulate, "x", 3)


def test_eight_processes_simulate_once(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    arguments = (tmp_path / "cache", tmp_path / "counter")
    processes = [context.Process(target=slow_simulation, args=arguments) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert (tmp_path / "counter").read_text() == "x"


def test_simulations_are_cached_with_their_parameters(tmp_path):
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


def test_a_damaged_file_is_simulated_again(tmp_path):
    cached = CachedSimulation(tmp_path, "x", KEY)
    cached.get(constant(1), "x", 3)
    cached.path.write_bytes(cached.path.read_bytes()[:200])
    assert not cached.get(constant(0), "x", 3).configurations.any()


def parts(progress):
    return Simulation(Parts((3, 2), np.dtype(np.int8), iter(np.ones((3, 1, 2), np.int8))))


@pytest.mark.parametrize("simulate", [constant(1, (3, 2)), parts], ids=["array", "parts"])
def test_a_full_disk_is_told_once_and_leaves_no_half_file(tmp_path, monkeypatch, simulate):
    create = h5py.Group.create_dataset

    def full(group, name, *args, **kwargs):
        if name == "tau_int":
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(group, name, *args, **kwargs)

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.warns(UserWarning, match="The disk of the cache .* is full, so no simulation") as said:
        runs = [CachedSimulation(tmp_path, name, KEY).get(simulate, "x", 3) for name in "xy"]
    assert all((run.configurations == np.ones((3, 2))).all() for run in runs)
    assert len({(str(one.message), one.lineno) for one in said}) == 1  # shown once by Python
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    with pytest.raises(ValueError, match=r"is full, and the data are larger than max_memory_gb: set"):
        CachedSimulation(tmp_path, "x", KEY).get(simulate, "x", 3, in_memory=False)


def test_a_cache_that_cannot_be_written_is_read_or_done_without(tmp_path, monkeypatch):
    kept = CachedSimulation(tmp_path, "x", KEY)
    kept.get(constant(1), "x", 3)

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)  # of the lock
    assert kept.get(constant(2), "x", 3).configurations.all()
    with pytest.warns(UserWarning, match=r"cannot be written \(Read-only file system\), so no"):
        assert (CachedSimulation(tmp_path, "y", KEY).get(constant(2), "x", 3).configurations == 2).all()


def test_nothing_is_simulated_that_can_neither_be_kept_nor_held(tmp_path):
    (tmp_path / "file").write_text("")
    cached = CachedSimulation(tmp_path / "file" / "cache", "x", KEY)
    with pytest.raises(ValueError, match="larger than max_memory_gb"):
        cached.get(lambda progress: pytest.fail("simulated"), "x", 3, in_memory=False)


def test_a_directory_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    cached = CachedSimulation(tmp_path / "file" / "cache", "x", KEY)
    with pytest.warns(UserWarning, match=r"cache cannot be written .*set cache_dir to another"):
        assert cached.get(constant(1), "x", 3).configurations.all()


def test_hdf5_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        write_hdf5(tmp_path / "x.h5", {"a": np.ones(2)}, {})
    assert not list(tmp_path.iterdir())


def killed_while_writing(directory):
    h5py.Group.create_dataset = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
    CachedSimulation(directory, "x", KEY).get(constant(1), "x", 3)


def test_a_killed_writer_leaves_nothing_behind_for_long(tmp_path):
    process = multiprocessing.get_context("forkserver").Process(
        target=killed_while_writing, args=(tmp_path,)
    )
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


def test_every_truncated_file_is_simulated_again(tmp_path):
    cached = CachedSimulation(tmp_path, "x", KEY)
    cached.get(constant(1, (40, 8)), "x", 40)
    whole = cached.path.read_bytes()
    for size in range(0, len(whole) - 1, len(whole) // 40):
        cached.path.write_bytes(whole[:size])
        assert (cached.get(constant(size), "x", 3).configurations == size).all()


def test_damaged_attributes_are_simulated_again(tmp_path, monkeypatch):
    cached = CachedSimulation(tmp_path, "x", KEY)
    cached.get(constant(1), "x", 3)

    def damaged(*args):
        raise RuntimeError("Error iterating over attributes (sign bit position out of bounds)")

    with monkeypatch.context() as patch:
        patch.setattr(h5py.AttributeManager, "__getitem__", damaged)
        assert not cached.get(constant(0), "x", 3).configurations.any()
