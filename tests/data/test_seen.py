"""Rows of a training, recognised in other data."""

from functools import cache

import numpy as np
import pytest
import torch

from lightdan import BlockSpin, Ising, KerrImages, Recorded
from lightdan.data.samples import Samples
from lightdan.data.seen import SeenRows, identity, window_hashes

SPLITS = (0.6, 0.2, 0.2)


def spins(num, sites=25, seed=0, up=0.5):
    draws = np.random.default_rng(seed).random((num, sites))
    return np.where(draws < up, 1, -1).astype(np.int8)


def chain(num, sites=9, seed=0):
    """Rows of which each differs from the one before by at most one flip."""
    rng = np.random.default_rng(seed)
    flips = np.ones((num, sites), np.int8)
    flips[np.arange(num), rng.integers(sites, size=num)] = rng.choice([-1, 1], num)
    return np.cumprod(flips, axis=0, dtype=np.int8)


def samples(rows, seed=0, splits=SPLITS, tau=0.5, name=True):
    data = Samples.split(torch.from_numpy(rows), [len(rows)], [1.0], [tau], splits, seed)
    data.sources = [[identity(rows)]] if name else []
    return data


def text(rows):
    """The rows as `np.loadtxt` reads them from a file with six digits."""
    return np.array([[float(f"{value:.6g}") for value in row] for row in rows], np.float32)


ROWS = spins(1000)
FIELDS = np.random.default_rng(1).normal(size=(1000, 16)).astype(np.float32)
COPIES = {
    "first rows": (ROWS, ROWS[:700]),
    "last rows": (ROWS, ROWS[300:]),
    "longer": (ROWS, np.concatenate([ROWS, spins(200, seed=1)])),
    "much longer": (ROWS, np.concatenate([spins(3000, seed=1), ROWS])),
    "inserted": (ROWS, np.concatenate([ROWS[:500], spins(100, seed=1), ROWS[500:]])),
    "reversed": (ROWS, ROWS[::-1].copy()),
    "shuffled": (ROWS, np.random.default_rng(0).permutation(ROWS)),
    "every second row": (ROWS, ROWS[::2].copy()),
    "integers": (ROWS, ROWS.astype(np.int32)),
    "fields": (FIELDS, FIELDS[100:]),
    "fields from text": (FIELDS, text(FIELDS)),
    "2 % of many": (spins(4000), np.concatenate([spins(3920, seed=1), spins(4000)[:80]])),
    "few states, shuffled": (spins(3000, 3), np.random.default_rng(0).permutation(spins(3000, 3))),
    "9 sites, shuffled": (spins(3000, 9), np.random.default_rng(0).permutation(spins(3000, 9))),
    "9 sites, shuffled half": (
        spins(3000, 9),
        np.random.default_rng(0).permutation(spins(3000, 9)[:1500]),
    ),
    "9 sites, longer, shuffled": (
        spins(3000, 9),
        np.random.default_rng(0).permutation(np.concatenate([spins(3000, 9), spins(1000, 9, seed=1)])),
    ),
    "few states, longer": (spins(3000, 3), np.concatenate([spins(3000, 3), spins(500, 3, seed=1)])),
    "few states, later rows": (spins(3000, 3), spins(3000, 3)[501:]),
    "a slow chain, longer": (chain(3000), np.concatenate([chain(3000), chain(500, seed=1)])),
}


@pytest.mark.parametrize(("old", "new"), COPIES.values(), ids=COPIES)
def test_copies_are_recognised(old, new):
    assert SeenRows.of(samples(old)).compare(samples(new, seed=1), "test")[0] == "overlap"


@pytest.mark.parametrize("name", ["first rows", "longer", "inserted", "reversed", "fields"])
def test_the_share_of_known_rows_is_exact_if_all_are_kept(name):
    old, new = COPIES[name]
    first, second = samples(old), samples(new, seed=1)
    known = {row.tobytes() for split in ("train", "validation") for row in old[first.indices[split]]}
    test = [row.tobytes() for row in new[second.indices["test"]]]
    expected = np.mean([row in known for row in test])
    assert SeenRows.of(first).compare(second, "test")[1] == pytest.approx(expected, abs=1e-9)


def test_new_data_have_the_fraction_that_would_not_be_told():
    """Of 2,000 new rows among 10,000, a fraction below two per cent would pass; twice as many do not."""
    seen, new = SeenRows.of(samples(spins(10_000))), spins(10_000, seed=1)
    kind, fraction = seen.compare(samples(new), "test")
    assert kind == "new"
    assert 0.001 < fraction < 0.03
    num = int(2 * fraction * 10_000)
    mixed = np.random.default_rng(0).permutation(np.concatenate([new[num:], spins(10_000)[:num]]))
    assert seen.compare(samples(mixed), "test")[0] == "overlap"


def test_a_copy_in_the_same_split_is_no_leak():
    for copy in (ROWS.astype(np.int32), ROWS.astype(np.float32).astype(np.int8)):
        assert SeenRows.of(samples(ROWS)).compare(samples(copy), "test")[0] in ("same", "new")


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: spins(600, seed=seed),
        lambda seed: spins(2000, 3, seed),
        lambda seed: spins(1000, 9, seed),
        lambda seed: spins(1000, 12, seed, up=0.9),
        lambda seed: chain(1500, seed=seed),
        lambda seed: np.random.default_rng(seed).normal(size=(500, 4)).astype(np.float32),
    ],
    ids=["spins", "few states", "9 sites", "magnetised", "chain", "fields"],
)
def test_new_data_are_not_refused(make):
    seen = SeenRows.of(samples(make(0)))
    kinds = [seen.compare(samples(make(seed)), "test")[0] for seed in range(1, 21)]
    assert set(kinds) <= {"new", "unknown"}
    assert kinds.count("new") >= 19


def test_data_in_another_phase_are_new():
    """Trained rows that are disordered contain few of the states that fill an ordered file."""
    seen = SeenRows.of(samples(spins(4000, 9, up=0.6)))
    assert seen.compare(samples(spins(4000, 9, seed=1, up=0.99)), "test")[0] in ("new", "unknown")


def test_ordered_data_repeat_their_own_states():
    """States of a few turned spins are in both files, and even more often in the ordered one twice."""
    seen = SeenRows.of(samples(spins(4000, 25, up=0.85)))
    kinds = [
        seen.compare(samples(spins(4000, 25, seed, up)), "test")[0]
        for seed, up in enumerate((0.7, 0.8, 0.87, 0.9, 0.95, 0.97), 1)
    ]
    assert kinds == 6 * ["new"]


def test_the_same_data_in_another_split_are_seen():
    seen = SeenRows.of(samples(ROWS))
    assert seen.compare(samples(ROWS.copy()), "test") == ("same", 0.0)
    kind, fraction = seen.compare(samples(ROWS, seed=1), "test")
    assert kind == "resplit"
    assert fraction == pytest.approx(0.8, abs=0.1)
    for options in ({"splits": (0.5, 0.2, 0.2)}, {"tau": 3.0}):
        assert seen.compare(samples(ROWS, **options), "validation")[0] == "resplit"
    constant = np.ones((100, 4), np.int8)
    constant[::2] = -1
    kind, fraction = SeenRows.of(samples(constant)).compare(samples(constant, seed=1), "test")
    assert kind == "resplit"
    assert np.isnan(fraction)


def test_data_without_a_name_are_known_by_their_rows():
    seen = SeenRows.of(samples(ROWS, name=False))
    assert seen.compare(samples(ROWS.copy(), name=False), "test")[0] == "same"
    assert seen.compare(samples(ROWS, seed=1, name=False), "test")[0] == "resplit"
    assert seen.compare(samples(spins(1000, seed=5), name=False), "test")[0] == "new"


def test_hashes_differ_for_different_windows_and_agree_in_every_type():
    rows = torch.from_numpy(ROWS)
    starts = np.arange(900)
    one = window_hashes(rows, starts, 1)
    assert len(np.unique(one)) == 900
    np.testing.assert_array_equal(one, window_hashes(rows.int(), starts, 1))
    np.testing.assert_array_equal(one, window_hashes(ROWS, starts, 1))
    swapped = ROWS[[1, 0, *range(2, 1000)]]
    eight = window_hashes(rows, starts, 8)
    assert np.flatnonzero(window_hashes(swapped, starts, 8) != eight).tolist() == [0, 1]
    zeros = np.zeros((2, 3), np.float32)
    np.testing.assert_array_equal(
        window_hashes(zeros, [0] * np.arange(2), 1), window_hashes(-zeros, np.arange(2) * 0, 1)
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A function that reads rows of a file once, in a folder with several files of them."""
    folder = tmp_path_factory.mktemp("rows")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_files()
        yield cache(lambda **options: Recorded(**{"path": "rows.npy", "splits": SPLITS, **options}).data)


def write_files():
    np.save("rows.npy", ROWS)
    np.savez("rows.npz", s=(ROWS + 1) // 2, w=np.random.default_rng(0).integers(1, 4, 1000))
    np.savetxt("rows.csv", ROWS, fmt="%d", delimiter=",")
    np.save("new.npy", spins(1000, seed=3))
    np.save("few.npy", spins(900, 3))


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ({}, {}, "same"),
        ({}, {"max_memory_gb": 0.0}, "same"),
        ({"max_memory_gb": 0.0}, {}, "same"),
        ({}, {"temperature": 2.0}, "same"),
        ({}, {"num_configurations": 999}, "resplit"),
        ({}, {"seed": 1}, "resplit"),
        ({}, {"path": "rows.csv"}, "new"),
        ({}, {"path": "rows.csv", "seed": 1}, "overlap"),
        ({}, {"path": "rows.npz", "dataset": "s", "seed": 1}, "overlap"),
        ({}, {"path": "rows.npz", "dataset": "s", "weights": "w"}, "overlap"),
        (
            {"path": "rows.npz", "dataset": "s", "weights": "w"},
            {"path": "rows.npz", "dataset": "s"},
            "resplit",
        ),
        ({"max_memory_gb": 0.0}, {"path": "new.npy", "max_memory_gb": 0.0}, "new"),
        ({"path": "few.npy"}, {"path": "few.npy", "num_configurations": 800}, "resplit"),
        ({"path": "few.npy"}, {"path": "few.npy", "collapse": True}, "resplit"),
        ({"path": "few.npy", "collapse": True}, {"path": "few.npy", "collapse": True}, "same"),
        ({"path": "few.npy", "collapse": True}, {"path": "few.npy"}, "resplit"),
    ],
)
def test_files(files, first, second, kind):
    assert SeenRows.of(files(**first)).compare(files(**second), "test")[0] == kind


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ({}, {}, "same"),
        ({}, {"temperature": 3.0}, "new"),
        ({}, {"seed": 1}, "new"),
        ({}, {"shape": 4, "seed": 1}, "new"),
        ({}, {"splits": SPLITS}, "resplit"),
        ({}, {"num_configurations": 150}, "resplit"),
        ({"temperature": [2.0, 3.0]}, {"temperature": 2.0}, "same"),
        ({"temperature": [2.0, 3.0]}, {"temperature": 3.0}, "new"),
        ({"temperature": [2.0, 3.0]}, {"temperature": [2.0, 3.5]}, "new"),
        ({}, {"block": True}, "same"),
    ],
)
def test_simulations(tmp_path, first, second, kind):
    systems = []
    for options in (first, second):
        options = {"shape": 2, "temperature": 2.0, "num_configurations": 200, **options}
        block = options.pop("block", False)
        system = Ising(**options, cache_dir=str(tmp_path))
        systems.append(BlockSpin(system) if block else system)
    seen = SeenRows.of(systems[0].data)
    assert seen.compare(systems[1].data, "test")[0] == kind


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*not the same")  # squares of 8 × 8 pixels are a lattice
def test_images(tmp_path, monkeypatch, capsys):
    """Patches of the same images are seen, however they are cut."""
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    films = np.where(rng.random((20, 6, 6)) < 0.5, 160, 90).repeat(8, 1).repeat(8, 2)
    films = (films + rng.integers(-5, 6, films.shape)).astype(np.uint8)
    for name, part in (("a", films[:10]), ("longer", films[:12]), ("new", films[10:])):
        tifffile.imwrite(f"{name}.tif", part)

    def data(**options):
        return KerrImages(**{"path": "a.tif", "patch": 8, "splits": SPLITS, **options}).data

    seen = SeenRows.of(data())
    assert seen.compare(data(), "test")[0] == "same"
    assert seen.compare(data(path="new.tif"), "test")[0] == "new"
    for options in ({"seed": 1}, {"num_images": 9}, {"path": "longer.tif"}, {"stride": 4}):
        assert seen.compare(data(**options), "test")[0] == "resplit"
