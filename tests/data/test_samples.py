import numpy as np
import pytest
import torch

from lightdan.data.samples import Samples
from lightdan.data.splits import SPLITS

LENGTHS = [100, 60]
TEMPERATURES = [1.0, 2.5]


def samples(tau_int=(0.5, 0.5), configurations=None):
    """Return samples whose one site is the number of the row."""
    rows = torch.arange(160)[:, None] if configurations is None else configurations
    return Samples.split(rows, LENGTHS, TEMPERATURES, tau_int, (0.5, 0.2, 0.3), seed=3)


def test_every_row_is_in_one_split_at_each_temperature():
    data = samples()
    for start, length, temperature in zip([0, 100], LENGTHS, TEMPERATURES, strict=True):
        parts = [data.rows(name, temperature)[:, 0].tolist() for name in SPLITS]
        assert [len(part) for part in parts] == [length // 2, length // 5, 3 * length // 10]
        assert sorted(row for part in parts for row in part) == [*range(start, start + length)]
    assert [data.num_in(name) for name in SPLITS] == [80, 32, 48]


def test_correlated_rows_are_split_by_blocks_at_their_temperature_only():
    data = samples(tau_int=(1.5, 0.5))
    blocks = [{*(data.rows(name, 1.0)[:, 0] // 2).tolist()} for name in SPLITS]
    assert sum(map(len, blocks)) == len(set.union(*blocks)) == 50
    assert torch.equal(data.rows("test", 2.5), samples().rows("test", 2.5))


def test_blocks_of_errors():
    data = samples(tau_int=(1.5, 0.7))
    assert data.block_size(1.0) == 13  # √(100 · 1.5) is less than 20 · 1.5
    assert data.block_size(2.5) == 1
    rows = torch.zeros(10_000, 2)
    data = Samples.split(rows, [10_000], [1.0], [3.2], (0.5, 0.2, 0.3), seed=0)
    assert data.block_size(1.0) == 64


def test_moments_of_the_training_set_in_memory_and_on_disk(tmp_path):
    values = np.random.default_rng(0).normal(2.0, 3.0, (160, 4)).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    data = samples(configurations=torch.from_numpy(values))
    train = values[data.indices["train"].numpy()].astype(np.float64)
    expected = (train.mean(), train.std(), train.min(), train.max())
    assert data.moments() == pytest.approx(expected)
    mapped = samples(configurations=np.load(tmp_path / "a.npy", mmap_mode="r"))
    assert mapped.moments() == pytest.approx(expected)
