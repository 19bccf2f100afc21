"""Temperatures of recorded rows: every way to write them, questions, and refusals."""

import importlib
import re

import h5py
import numpy as np
import pytest
import torch

from lightdan.data.recorded.consecutive import check_consecutive
from lightdan.data.recorded.groups import groups_of
from lightdan.data.recorded.temperatures import open_recorded
from lightdan.data.rows import JoinedRows

T = [2.5, 3.0, 10.0]
M = 40
RNG = np.random.default_rng(0)
ROWS = RNG.integers(-9, 9, (3 * M, 4, 5)).astype(np.int8)
LABELS = np.repeat(T, M)
MIXED = RNG.permutation(3 * M)


def write_npy(folder, axes=()):
    np.save(folder / "rows.npy", ROWS[MIXED])
    np.save(folder / "T.npy", LABELS[MIXED])
    return {"path": folder / "rows.npy", "temperature": str(folder / "T.npy")}


def write_text_beside(folder):
    np.save(folder / "rows.npy", ROWS[MIXED])
    np.savetxt(folder / "T.txt", LABELS[MIXED])
    return {"path": folder / "rows.npy", "temperature": str(folder / "T.txt")}


def write_npz(folder):
    np.savez(folder / "a.npz", s=ROWS[MIXED], T=LABELS[MIXED][:, None])
    return {"path": folder / "a.npz", "temperature": "T"}


def write_pt(folder):
    torch.save({"s": torch.tensor(ROWS[MIXED]), "temp": torch.tensor(LABELS[MIXED])}, folder / "a.pt")
    return {"path": folder / "a.pt", "temperature": "temp"}


def write_h5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["run/s"], file["run/kT"], file["run/energy"] = ROWS[MIXED], LABELS[MIXED], LABELS
    return {"path": folder / "a.h5", "dataset": "run/s", "temperature": "kT"}


def write_csv(folder, name="kT"):
    table = np.c_[LABELS, ROWS.reshape(-1, 20)][MIXED]
    header = ",".join(["kT", *(f"s{i}" for i in range(20))])
    np.savetxt(folder / "a.csv", table, fmt="%g", delimiter=",", header=header, comments="")
    return {"path": folder / "a.csv", "temperature": name, "shape": (4, 5)}


def write_txt(folder, name="column -1"):
    np.savetxt(folder / "a.txt", np.c_[ROWS.reshape(-1, 20), LABELS][MIXED], fmt="%g")
    return {"path": folder / "a.txt", "temperature": name, "shape": (4, 5)}


def write_list_of_numbers(folder):
    np.save(folder / "rows.npy", ROWS[MIXED])
    return {"path": folder / "rows.npy", "temperature": LABELS[MIXED].tolist()}


def write_labels_and_list(folder):
    return write_h5(folder) | {"temperature": [10.0, 3.0, 2.5]}


@pytest.mark.parametrize(
    "write",
    [
        write_npy,
        write_text_beside,
        write_npz,
        write_pt,
        write_h5,
        write_csv,
        lambda folder: write_csv(folder, "column 0"),
        write_txt,
        lambda folder: write_txt(folder, "column 20"),
        write_list_of_numbers,
        write_labels_and_list,
    ],
)
def test_a_temperature_for_each_row_in_any_order(tmp_path, write):
    given = write(tmp_path)
    if given.get("temperature") == [10.0, 3.0, 2.5]:
        with h5py.File(tmp_path / "a.h5", "a") as file:
            del file["run/energy"]
    opened = open_recorded(**given | {"path": str(given["path"])})
    np.testing.assert_array_equal(np.asarray(opened.array[:]).reshape(ROWS.shape), ROWS[MIXED])
    np.testing.assert_array_equal(opened.temperature, LABELS[MIXED])
    assert not opened.consecutive
    rows = {group.temperature: group.rows for group in groups_of(opened, 7)}
    assert list(rows) == T
    for temperature, part in rows.items():
        np.testing.assert_array_equal(part, np.flatnonzero(LABELS[MIXED] == temperature)[:7])


def groups(folder, name="T={}/spins", **beside):
    """Write a group for each temperature, in an order that is not that of the temperatures."""
    with h5py.File(folder / "g.h5", "w") as file:
        for number in (2, 0, 1):
            dataset = name.format(f"{T[number]:g}")
            file[dataset] = ROWS[M * number : M * (number + 1)]
            parent = file[dataset].parent
            if "scalar" in beside:
                parent["kT"] = T[number]
            if "rows" in beside:
                parent["kT"] = np.full(M, T[number])
            if "attribute" in beside:
                parent.attrs["kT"] = T[number]
            if "own" in beside:
                file[dataset].attrs["kT"] = np.array([T[number]])
    return str(folder / "g.h5")


@pytest.mark.parametrize(
    ("beside", "given"),
    [
        ((), {"dataset": "*/spins", "temperature": "*"}),
        ((), {"dataset": "T=*/spins", "temperature": "*"}),
        ((), {"dataset": "*/spins", "temperature": T}),
        ((), {"temperature": T}),
        ((), {"temperature": T[::-1]}),
        (("scalar",), {"dataset": "*/spins", "temperature": "kT"}),
        (("rows",), {"dataset": "*/spins", "temperature": "kT"}),
        (("attribute",), {"dataset": "*/spins", "temperature": "kT"}),
        (("own",), {"dataset": "*/spins", "temperature": "kT"}),
        ((), {"dataset": "*/spins", "temperature": LABELS.tolist()}),
    ],
)
def test_a_group_for_each_temperature(tmp_path, beside, given):
    opened = open_recorded(groups(tmp_path, **dict.fromkeys(beside)), **given)
    rows = {group.temperature: group.rows for group in groups_of(opened)}
    for number, temperature in enumerate(T):
        found = np.asarray(opened.array[rows[temperature]])
        np.testing.assert_array_equal(found, ROWS[M * number : M * (number + 1)])


@pytest.mark.parametrize("pattern", ["T=*.npy", "*.npy"])
def test_a_file_for_each_temperature(tmp_path, pattern):
    paths = [tmp_path / f"T={temperature:g}.npy" for temperature in T]
    for number, path in enumerate(paths):
        np.save(path, ROWS[M * number : M * (number + 1)])
    for given in (
        {"path": str(tmp_path / pattern), "temperature": "*"},
        {"path": [*map(str, paths)], "temperature": T},
        {"path": [*map(str, paths)], "temperature": LABELS.tolist()},
    ):
        opened = open_recorded(**given)
        np.testing.assert_array_equal(opened.temperature, LABELS)
        np.testing.assert_array_equal(opened.array[20:100], ROWS[20:100])
        np.testing.assert_array_equal(opened.array[np.array([0, 39, 40, 119])], ROWS[[0, 39, 40, 119]])
    assert set(open_recorded([*map(str, paths)], temperature=1.0).temperature) == {1.0}
    for path in ([*map(str, paths)], str(tmp_path / pattern)):
        with pytest.raises(ValueError, match=r"seem to hold temperatures: set .* \[2\.5, 3, 10\]"):
            open_recorded(path)


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".npz"])
@pytest.mark.parametrize(
    ("sides", "given", "left"),
    [
        ((3, M, 4, 5), {}, (4, 5)),
        ((3, M, 20), {}, (20,)),
        ((3, 40, 40), {"shape": (5, 8)}, (40,)),
    ],
)
def test_an_axis_of_temperatures(tmp_path, suffix, sides, given, left):
    array = np.random.default_rng(1).integers(0, 2, sides)
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, array)
        given = given | {"temperature": T}
    elif suffix == ".npz":
        np.savez(path, s=array, T=T)
        given = given | {"temperature": "T"}
    else:
        with h5py.File(path, "w") as file:
            file["s"], file["T"] = array, np.repeat(T, sides[1]).reshape(sides[:2])
        given = given | {"temperature": "T"}
    opened = open_recorded(str(path), **given)
    assert opened.array.shape == (3 * sides[1], *left)
    np.testing.assert_array_equal(opened.temperature, np.repeat(T, sides[1]))
    np.testing.assert_array_equal(opened.array[:], array.reshape(-1, *left))
    some = np.array([1, 5, 41, 119])
    np.testing.assert_array_equal(opened.array[some], array.reshape(-1, *left)[some])


def test_rows_of_different_types_are_joined():
    parts = JoinedRows([np.zeros((2, 3), bool), np.ones((4, 3), np.int16), np.full((1, 3), 0.5)])
    assert parts.shape == (7, 3)
    assert parts.dtype == np.float64
    for chosen in (slice(None), slice(1, 3), slice(2, 6), slice(6, 99), slice(3, 3)):
        expected = np.repeat([0, 1, 0.5], (2, 4, 1))[chosen]
        np.testing.assert_array_equal(parts[chosen], np.repeat(expected[:, None], 3, 1))


def refused(words, **given):
    with pytest.raises(ValueError, match=words) as error:
        groups_of(open_recorded(**given))
    assert str(error.value).endswith(".")


def test_bad_temperatures_are_refused(tmp_path):
    path = str(tmp_path / "a.npz")
    bad = LABELS.copy()
    for value in (0.0, -1.0, np.nan, np.inf):
        bad[7] = value
        np.savez(path, s=ROWS, T=bad)
        refused(rf"array 'T' .* holds {value:g} in place 7 \(counted", path=path, temperature="T")
        refused("must be positive and finite", path=path, dataset="s", temperature=value)
        refused("must be positive and finite", path=path, dataset="s", temperature=[1.0, value])
    np.savez(path, s=ROWS, T=LABELS[:-1], other=LABELS)
    refused("119 temperatures, but the file .* has 120 rows", path=path, dataset="s", temperature="T")
    refused(
        "no array 'kT': set temperature to one of 'T', 'other'", path=path, dataset="s", temperature="kT"
    )
    refused("has 7 temperatures", path=path, dataset="s", temperature=[1.0, 2, 3, 4, 5, 6, 7])
    refused("holds several temperatures in the array 'T'", path=path, dataset="s")
    np.savez(path, s=ROWS, T=np.linspace(1, 2, 120))
    refused("120 different temperatures for 120 rows.*round", path=path, temperature="T", shape=(4, 5))
    np.save(tmp_path / "a.npy", ROWS)
    refused("no names: set it to the path", path=str(tmp_path / "a.npy"), temperature="T")
    refused("some of them equal", path=str(tmp_path / "a.npy"), temperature=[1.0, 2.0, 1.0])
    np.save(tmp_path / "b.npy", np.zeros((M, 3, 4, 5)))
    refused(r"second axis: move it to the front", path=str(tmp_path / "b.npy"), temperature=T)
    np.save(tmp_path / "c.npy", np.zeros((20, 20, 20)))
    refused(r"set shape to \(20,\) if", path=str(tmp_path / "c.npy"), temperature=[*range(1, 21)])
    csv = write_csv(tmp_path, "kelvin")
    refused("set temperature to one of 'kT', 's0'.*'column n'", **csv | {"path": str(csv["path"])})


def test_bad_groups_and_files_are_refused(tmp_path):
    path = groups(tmp_path, "run1_T={}/spins")
    refused(
        "'run1_T=2.5' in the name .* is not one number", path=path, dataset="*/spins", temperature="*"
    )
    refused(
        "no array like '\\*/angles': set dataset to a pattern of 'run1", path=path, dataset="*/angles"
    )
    refused("2 numbers, but there are 3 arrays", path=path, dataset="*/spins", temperature=[1.0, 2.0])
    refused("no array 'kT': set temperature", path=path, dataset="*/spins", temperature="kT")
    refused(r"set dataset to '\*/spins' to join them \(with temperature '\*'", path=path)
    refused(r"set dataset to '\*/spins' to join them", path=path, temperature=[1.0, 2.0])
    with h5py.File(path, "a") as file:
        file["run1_T=99/spins"] = ROWS[:, :3]
    refused(r"have the shape \(3, 5\), but those of", path=path, dataset="*/spins", temperature=1.0)
    refused("No file matches", path=str(tmp_path / "none*.npy"))
    refused("path names no file", path=[])
    refused("does not exist", path=[str(tmp_path / "none.npy")], temperature=1.0)


def test_too_few_rows_at_a_temperature(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    labels = np.where(np.arange(120) < 7, 1.0, 2.0).tolist()
    opened = open_recorded(str(tmp_path / "a.npy"), temperature=labels)
    with pytest.raises(ValueError, match=re.escape("has 7 rows at T = 1: pass at most")):
        groups_of(opened, 8)
    assert [len(group.rows) for group in groups_of(opened, 7)] == [7, 7]


def series(*means, length=300, seed=0):
    """Draw independent values of parts with different means."""
    rng = np.random.default_rng(seed)
    return {
        "a": np.concatenate([m + rng.normal(size=length) for m in means]),
        "b": rng.normal(size=length * len(means)),
    }


def thirds(series):
    """Cut series into three parts at the temperatures."""
    parts = {name: np.split(values, 3) for name, values in series.items()}
    return {t: {name: each[k] for name, each in parts.items()} for k, t in enumerate(T)}


def test_consecutive_parts_must_show_in_the_rows():
    for seed in range(30):
        check_consecutive(thirds(series(0, 0.6, 1.2, seed=seed)), "x")
    check_consecutive(thirds({"a": np.repeat([1.0, 2.0, 3.0], 300)}), "x")  # frozen
    interleaved = series(0, 1, 2)["a"].reshape(3, 300).T.ravel()
    for values, why in (
        (np.zeros(900), "do not differ"),
        (series(0, 0, 0)["a"], "do not differ"),
        (interleaved, "do not differ"),
        (series(0, 1, 1, 1, 2, 2, 2, 2, 2, length=100)["a"], "change within a part"),
        (np.linspace(0, 10, 900) + series(0, 0, 0)["a"], "change within a part"),
    ):
        with pytest.raises(ValueError, match=rf"{why}: set .*repeat\(\[2\.5, 3, 10\], 300\)"):
            check_consecutive(thirds({"a": values}), "x")


def test_correlated_rows_of_one_temperature_are_no_parts():
    """The means of slow parts differ by chance, which their autocorrelation times tell."""
    accepted = 0
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(size=900)
        x = np.zeros(900)
        for k in range(1, 900):
            x[k] = 0.9 * x[k - 1] + noise[k]
        try:
            check_consecutive(thirds({"a": x}), "x")
        except ValueError:
            continue
        accepted += 1
    assert accepted <= 2


@pytest.mark.parametrize("names", [("T2p0", "T2p5"), ("beta0.5", "beta0.4")])
def test_temperatures_in_the_names_of_files(tmp_path, names):
    for name in names:
        np.save(tmp_path / f"s_{name}.npy", ROWS)
    with pytest.raises(ValueError, match=r"set temperature to .* if they do") as error:
        open_recorded(str(tmp_path / "s_*.npy"))
    listed = str(error.value).partition("[")[2].partition("]")[0]
    assert sorted(map(float, listed.split(","))) == [2.0, 2.5]
    assert ("inverse" in str(error.value)) == ("beta" in names[0])


def test_points_in_the_names_of_files(tmp_path):
    for name in ("2p5", "2p0"):
        np.save(tmp_path / f"s_{name}.npy", ROWS)
    opened = open_recorded(str(tmp_path / "s_*.npy"), temperature="*")
    assert np.unique(opened.temperature).tolist() == [2.0, 2.5]


def test_inverse_temperatures(tmp_path):
    path = str(tmp_path / "a.npz")
    np.savez(path, s=ROWS, beta=1 / LABELS)
    for given in (None, "beta"):
        with pytest.raises(ValueError, match=r"inverse temperatures.*save 1/β as T"):
            open_recorded(path, temperature=given)
    assert open_recorded(path, temperature=2.0).temperature[0] == 2.0


def test_an_attribute_of_the_only_dataset(tmp_path):
    path = str(tmp_path / "a.h5")
    with h5py.File(path, "w") as file:
        file["s"] = ROWS
        file["s"].attrs["T"] = 2.5
    assert open_recorded(path, temperature="T").temperature[0] == 2.5


def test_a_column_beside_lists(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"s": ROWS.reshape(len(ROWS), -1).tolist(), "T": LABELS})
    importlib.import_module("pyarrow.parquet").write_table(table, tmp_path / "a.parquet")
    opened = open_recorded(str(tmp_path / "a.parquet"), temperature="T")
    np.testing.assert_array_equal(opened.temperature, LABELS)
    np.testing.assert_array_equal(opened.array[:], ROWS.reshape(len(ROWS), -1))
