"""Every format is read as it was written, and every bad file is refused in one sentence."""

import pickle
import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from lightdan.data.formats.readers import Rows, open_array

ARRAY = np.random.default_rng(0).integers(-3, 4, (7, 5)).astype(np.int16)


class Bomb:
    """An object whose unpickling creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def write(path, array=ARRAY):
    """Write an array in the format that the name of the file implies."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez_compressed(path, array)
    elif path.suffix == ".pt":
        torch.save(torch.from_numpy(array), path)
    elif path.suffix in (".h5", ".hdf5"):
        with h5py.File(path, "w") as file:
            file["group/array"] = array
    else:
        np.savetxt(path, array, delimiter="," if path.suffix == ".csv" else " ")
    return path


def refused(path, *words, dataset=None):
    """Return the message with which a file is refused, which must name the file."""
    with pytest.raises(ValueError, match=path.name) as error:
        open_array(path, dataset)
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert error.value.__context__ is None  # else the command line shows a library's words
    for word in words:
        assert word in text
    return text


SUFFIXES = [".npy", ".npz", ".h5", ".hdf5", ".csv", ".txt", ".pt", ".NPY"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix.lower()}").rename(tmp_path / f"b{suffix}")
    rows = open_array(str(path))
    assert isinstance(rows, Rows)
    assert rows.shape == ARRAY.shape
    np.testing.assert_array_equal(rows[2:4], ARRAY[2:4])
    np.testing.assert_array_equal(rows[np.array([0, 3, 6])], ARRAY[[0, 3, 6]])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux' memory tables")
@pytest.mark.parametrize("suffix", [".npy", ".h5", ".pt"])
def test_stays_on_disk(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write(path, np.zeros((10, 1_000_000), np.int8))
    before = resident()
    assert open_array(path)[4:5].sum() == 0
    assert resident() - before < 5e6


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_hdf5_rows_can_be_pickled(tmp_path):
    rows = pickle.loads(pickle.dumps(open_array(write(tmp_path / "a.h5"))))
    np.testing.assert_array_equal(rows[:], ARRAY)


@pytest.mark.parametrize(
    "text",
    [
        "1,-1,1\n-1,1,1\n",
        "1;-1;1\r\n-1;1;1",
        "1\t-1\t1\n-1\t1\t1\n",
        "  1  -1 1\n\n-1 1.0 1e0\n",
        "# spins\n1, -1, 1 # first\n-1, 1, 1\n",
        "a,b,c\n1,-1,1\n-1,1,1\n",
        "\n# no\na b c\n1 -1 1\n-1 1 1\n",
        "0,1,2\n1,-1,1\n-1,1,1\n",
        "+1 -1 1\n-1 1 1 # last",
        "\ufeff1,-1,1\n-1,1,1\n",
    ],
)
def test_text(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8", newline="")
    np.testing.assert_array_equal(open_array(path)[:], [[1, -1, 1], [-1, 1, 1]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,1\n1,1,1\n", ["3 numbers in line 2", "2 in line 1"]),
        ("a,b\n\n1,1\n1\n", ["1 numbers in line 4", "2 in line 3"]),
        ("1 1\n1 x\n", ["'x' in line 2"]),
        ("1,1\n1,\n", ["no value ('') in line 2", "leave out the line or the column"]),
        ("a,b\n", ["no line of numbers"]),
        ("\n\n# nothing\n", ["no line of numbers"]),
        ("1,x\n1,1\n", ["'x' in line 1"]),
        ("1,1\n,1\n", ["no value ('') in line 2"]),
        ("Q1,Q2\n1,2\n3,NA\n", ["no value ('NA') in line 3, column 'Q2'"]),
        ("1.204,5;2\n1;2\n", ["'1.204,5' in line 1, with marks between the thousands: remove them"]),
        ("1,204.5\t2\n1\t2\n", ["marks between the thousands"]),
        ("12.5%,3%\n1%,2%\n", ["% after numbers", "remove these signs"]),
        ("5% 3% 1%\n1% 2% 4%\n", ["% after numbers"]),
    ],
)
def test_bad_text(tmp_path, text, words):
    path = tmp_path / "a.csv"
    path.write_text(text)
    refused(path, *words)


def test_text_of_another_encoding(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfe\x00\x81" * 9)
    refused(path, "binary numbers, not text", "np.fromfile")


def test_several_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", up=ARRAY, down=-ARRAY)
    torch.save({"up": torch.tensor(ARRAY), "down": -torch.tensor(ARRAY)}, tmp_path / "a.pt")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["up"], file["down"] = ARRAY, -ARRAY
    for suffix in (".npz", ".pt", ".h5"):
        path = tmp_path / f"a{suffix}"
        refused(path, "several", "'up'", "'down'", "dataset")
        refused(path, "'left'", "'up'", "'down'", dataset="left")
        np.testing.assert_array_equal(open_array(path, "down")[:], -ARRAY)


def test_a_name_where_there_is_none(tmp_path):
    for suffix in (".npy", ".csv", ".pt"):
        refused(write(tmp_path / f"a{suffix}"), "leave out", dataset="up")


def test_no_array_in_the_file(tmp_path):
    h5py.File(tmp_path / "a.h5", "w").close()
    np.savez(tmp_path / "a.npz")
    torch.save([1, 2], tmp_path / "a.pt")
    for suffix in (".npz", ".pt", ".h5"):
        refused(tmp_path / f"a{suffix}", "holds no array")


@pytest.mark.parametrize("suffix", SUFFIXES[:-1])
def test_empty_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.touch()
    refused(path, "empty")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".pt"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_truncated_file(tmp_path, suffix, part):
    path = write(tmp_path / f"a{suffix}", np.random.default_rng(1).normal(size=(100, 30)))
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    refused(path, "truncated")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".pt"])
def test_other_content(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text("these are not the bytes you are looking for\n" * 99)
    refused(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_pickle_is_never_run(tmp_path, suffix, wrapped):
    path, trace = tmp_path / f"a{suffix}", tmp_path / "trace"
    if not wrapped:
        path.write_bytes(pickle.dumps(Bomb(trace)))
    elif suffix == ".pt":
        torch.save({"x": torch.ones(2, 2), "y": Bomb(trace)}, path)
    else:
        write(path, np.array([[Bomb(trace)]], dtype=object))
    refused(path, "pickled", "refused")
    assert not trace.exists()


def test_missing_directory_and_unknown(tmp_path):
    refused(tmp_path / "none.npy", "does not exist")
    (tmp_path / "folder.npy").mkdir()
    refused(tmp_path / "folder.npy", "directory")
    for name, words in {
        "a.xlsx": ".csv",
        "a.pkl": "pickles can run code",
        "a": ".npy, .npz, .h5",
    }.items():
        (tmp_path / name).write_text("1")
        refused(tmp_path / name, words)


def test_no_permission(tmp_path, monkeypatch):
    path = write(tmp_path / "a.npy")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may read everything
    refused(path, "may not be read", "chmod")


def test_no_real_numbers(tmp_path):
    refused(write(tmp_path / "a.npy", np.zeros((2, 2), "M8[s]")), "integers or floats")


def test_unusual_tensors(tmp_path):
    path = tmp_path / "a.pt"
    torch.save(torch.nn.Parameter(torch.ones(3, 2, dtype=torch.bfloat16)), path)
    assert open_array(path).dtype == np.float32
    torch.save(torch.ones(3, 2), path, _use_new_zipfile_serialization=False)
    assert open_array(path).shape == (3, 2)
