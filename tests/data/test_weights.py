"""Weights of rows: reading, refusal, splits of counts, draws for training, and collapsed rows."""

import h5py
import numpy as np
import pytest
import torch

from lightdan.data.loader import BatchLoader
from lightdan.data.recorded.temperatures import open_recorded
from lightdan.data.samples import Samples
from lightdan.data.splits import SPLITS
from lightdan.data.weights import collapse, draw_rows, num_drawn, split_counts


def open_weighted(path, dataset, weights):
    """Return configurations and weights."""
    opened = open_recorded(path, dataset, weights)
    return opened.array, opened.weights


def split(rows, weights, temperature, fractions):
    """Return samples with weights at one temperature."""
    return Samples.split(rows, [len(rows)], [temperature], [0.5], fractions, 3, weights=weights)


ROWS = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (50, 4))
COUNTS = np.random.default_rng(1).integers(0, 9, 50)
REAL = np.random.default_rng(2).random(50)


def write(path, rows, weights):
    """Write rows and weights in the format of the path; return the argument `weights`."""
    if path.suffix == ".npy":
        np.save(path, rows)
        np.save(path.with_name("w.npy"), weights)
        return str(path.with_name("w.npy"))
    if path.suffix == ".npz":
        np.savez(path, configurations=rows, w=weights)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["group/configurations"], file["w"] = rows, weights[:, None]
    elif path.suffix == ".pt":
        torch.save({"configurations": torch.tensor(rows), "w": torch.tensor(weights)}, path)
    else:
        header = "a,b,w,c,d" if path.suffix == ".csv" else ""
        table = np.column_stack([rows[:, :2], weights, rows[:, 2:]])
        np.savetxt(path, table, delimiter=",", header=header, comments="")
        return "w" if header else -3
    return "w"


@pytest.mark.parametrize("weights", [COUNTS, COUNTS.astype(float), REAL, REAL.astype(np.float32)])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".pt", ".csv", ".txt"])
def test_weights_are_read_beside_the_rows(tmp_path, suffix, weights):
    path = tmp_path / f"rows{suffix}"
    array, found = open_weighted(str(path), None, write(path, ROWS, weights))
    np.testing.assert_array_equal(np.asarray(array[:]), ROWS)
    np.testing.assert_allclose(found, weights, rtol=1e-15)
    assert found.dtype == (np.int64 if (weights == COUNTS).all() else np.float64)


BAD = {
    "negative": (np.where(np.arange(50) == 7, -0.5, 1), "holds -0.5 in row 7 "),
    "missing": (np.where(np.arange(50) == 3, np.nan, 1), "holds nan in row 3 "),
    "infinite": (np.where(np.arange(50) == 9, np.inf, 1), "holds inf in row 9 "),
    "zero": (np.zeros(50), "holds only zeros: write"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_bad_weights_are_refused(tmp_path, suffix, name):
    path = tmp_path / f"rows{suffix}"
    with pytest.raises(ValueError, match=BAD[name][1]):
        open_weighted(str(path), None, write(path, ROWS, BAD[name][0]))


def test_other_lengths_and_names_are_refused(tmp_path):
    path = tmp_path / "rows.npz"
    for wrong in (REAL[:49], np.ones((50, 2)), np.ones(())):
        write(path, ROWS, wrong)
        with pytest.raises(ValueError, match=r"but there are 50 configurations: write one weight"):
            open_weighted(str(path), None, "w")
    with pytest.raises(ValueError, match="no array 'v': set weights to one of 'configurations', 'w'"):
        open_weighted(str(path), None, "v")
    write(tmp_path / "rows.csv", ROWS, REAL)
    for name in ("v", 5, -6):
        with pytest.raises(
            ValueError, match="set weights to one of 'a', 'b', 'w', 'c', 'd' or a number"
        ):
            open_weighted(str(tmp_path / "rows.csv"), None, name)
    write(tmp_path / "rows.npy", ROWS, REAL)
    with pytest.raises(ValueError, match="no names: set it to the path of a file of weights"):
        open_weighted(str(tmp_path / "rows.npy"), None, "w")


def test_every_observation_is_in_one_split():
    counts = torch.from_numpy(COUNTS)
    total = torch.zeros_like(counts)
    num = int(counts.sum())
    for (rows, part), fraction in zip(
        split_counts(counts, (0.5, 0.2, 0.3), 0), (0.5, 0.2, 0.3), strict=True
    ):
        assert len(rows.unique()) == len(rows)
        assert part.min() >= 1
        assert abs(int(part.sum()) - fraction * num) <= 1
        total[rows] += part
    assert torch.equal(total, counts)


def test_splits_of_counts_are_hypergeometric():
    counts = torch.tensor([1, 5, 40, 4])
    tests = np.zeros((2000, 4))
    for seed in range(2000):
        rows, part = split_counts(counts, (0.5, 0.2, 0.3), seed)[2]
        tests[seed, rows] = part
    share = counts.numpy() / 50
    mean, variance = 15 * share, 15 * share * (1 - share) * 35 / 49
    pulls = (tests.mean(0) - mean) / np.sqrt(variance / 2000)
    assert np.abs(pulls).max() < 4
    np.testing.assert_allclose(tests.var(0), variance, rtol=0.15)


def test_huge_counts_are_split_in_an_instant():
    counts = torch.tensor([10**12, 3 * 10**12])
    for (rows, part), fraction in zip(
        split_counts(counts, (0.6, 0.2, 0.2), 1), (0.6, 0.2, 0.2), strict=True
    ):
        assert part[rows.argsort()].numpy() == pytest.approx(fraction * counts.numpy(), rel=1e-4)


def test_too_few_observations_are_refused():
    with pytest.raises(ValueError, match=r"2 observations are too few for the splits 0.9, 0.05, 0.05"):
        split_counts(torch.tensor([1, 1]), (0.9, 0.05, 0.05), 0)
    weights = torch.cat([torch.zeros(95), torch.rand(5)]).double()
    with pytest.raises(ValueError, match=r"All weights in the (train|validation|test) split are 0"):
        split(torch.arange(100)[:, None], weights, 1.0, (0.9, 0.05, 0.05))


def test_an_epoch_draws_rows_in_proportion_to_their_weights():
    generator = torch.Generator().manual_seed(0)
    counts = torch.from_numpy(COUNTS)
    assert torch.equal(draw_rows(counts, generator).bincount(minlength=50), counts)
    weights = torch.from_numpy(REAL)
    expected = 50 * weights / weights.sum()
    totals = torch.zeros(50)
    for _ in range(1000):
        drawn = draw_rows(weights, generator).bincount(minlength=50)
        assert drawn.sum() == num_drawn(weights) == 50
        assert ((drawn - expected).abs() < 1 + 1e-9).all()
        totals += drawn
    assert ((totals / 1000 - expected).abs() < 4 * 0.5 / 1000**0.5).all()


def test_large_counts_draw_a_bounded_number(monkeypatch):
    monkeypatch.setattr("lightdan.data.weights.DRAWS_PER_EPOCH", 1000)
    counts = torch.tensor([2_000_000, 0, 6_000_000])
    drawn = draw_rows(counts, torch.Generator().manual_seed(0)).bincount(minlength=3)
    assert drawn.tolist() == [250, 0, 750]


@pytest.mark.parametrize("weights", [COUNTS, REAL])
def test_batches_in_order_have_weights_of_mean_one(weights):
    data = split(torch.from_numpy(ROWS), torch.from_numpy(weights), 2.0, (0.4, 0.3, 0.3))
    for name in SPLITS:
        batches = list(data.loader(name, 6))
        rows = torch.cat([batch.configurations for batch in batches])
        relative = torch.cat([batch.weight for batch in batches])
        assert relative.mean().item() == pytest.approx(1, abs=1e-6)
        assert torch.equal(rows, data.rows(name, 2.0))
        expected = data.weights(name, 2.0).double()
        torch.testing.assert_close(relative.double(), expected / expected.mean(), rtol=1e-6, atol=0)
        assert data.weights(name, 1.0).numel() == 0
    assert all(batch.weight is None for batch in data.loader("train", 6, seed=1))


def test_batches_repeat_rows_of_a_chunked_file(tmp_path):
    path = tmp_path / "rows.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("configurations", data=np.arange(50)[:, None], chunks=(7, 1))
        file["w"] = COUNTS
    rows, counts = open_weighted(str(path), None, "w")
    loader = BatchLoader(
        rows, torch.ones(50), torch.arange(50), 10, seed=0, weights=torch.from_numpy(counts)
    )
    served = torch.cat([batch.configurations for batch in loader]).flatten().long()
    assert len(served) == COUNTS.sum() // 10 * 10
    assert (served.bincount(minlength=50) <= torch.from_numpy(COUNTS)).all()


def test_moments_are_weighted():
    fields = torch.randn(50, 4, generator=torch.Generator().manual_seed(3))
    for weights in (COUNTS, REAL):
        data = split(fields, torch.from_numpy(weights), 1.0, (0.5, 0.25, 0.25))
        values, w = data.rows("train", 1.0).double().numpy(), data.weights("train", 1.0).numpy()
        mean = np.average(values.mean(1), weights=w)
        square = np.average((values**2).mean(1), weights=w)
        assert data.moments() == pytest.approx(
            (mean, np.sqrt(square - mean**2), values.min(), values.max()), rel=1e-5, abs=1e-6
        )


def test_equal_rows_become_one_with_a_count():
    rows = torch.tensor([[0.0, 1.0], [2.0, 3.0], [-0.0, 1.0], [2.0, 3.0], [2.0, 3.5]])
    for counts, expected in ((None, [2, 2, 1]), (torch.tensor([5, 1, 2, 0, 3]), [7, 1, 3])):
        found, number, ((*places,),) = collapse(rows, counts, [np.arange(5)])
        assert places == [0, 1, 2]
        table = {tuple(row): n for row, n in zip(found.tolist(), number.tolist(), strict=True)}
        assert table == dict(zip([(0.0, 1.0), (2.0, 3.0), (2.0, 3.5)], expected, strict=True))
