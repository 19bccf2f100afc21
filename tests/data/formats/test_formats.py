"""Every habit of writing configurations is read as it was meant, or refused with the remedy."""

import gzip

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch

from lightdan.data.formats.common import kind_of
from lightdan.data.formats.readers import open_array
from lightdan.data.recorded.temperatures import open_recorded
from lightdan.data.rows import LabelledRows

SPINS = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (40, 6))
LATTICES = np.random.default_rng(1).choice(np.array([-1, 1], np.int8), (30, 4, 4))


def text(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refused(path, *words, **kwargs):
    with pytest.raises(ValueError, match=path.name) as error:
        open_recorded(str(path), **kwargs)
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert error.value.__context__ is None
    for word in words:
        assert word in message, message


TOKENS = {
    "plus": ("+", "-", " "),
    "minus sign": ("+", "−", " "),
    "up": ("up", "down", ","),
    "UP": ("UP", "DN", "\t"),
    "u": ("u", "d", ";"),
    "arrows": ("↑", "↓", " "),
    "true": ("True", "False", ","),
    "TRUE": ("TRUE", "FALSE", " "),
    "T": ("T", "F", ","),
    "quoted": ('"1"', '"-1"', ","),
    "Fortran": ("1.0D+00", "-1.0D+00", " "),
    "fortran": ("0.1d1", "-.1d1", " "),
    "comma": ("1,0", "-1,0", ";"),
    "commas": ("1,0", "-1,0", "\t"),
    "exponents": ("1,0E+00", "-1,0E+00", " "),
    "joined": ("+", "-", ""),
    "ud": ("u", "d", ""),
}


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("name", TOKENS)
def test_tokens(tmp_path, name, header):
    up, down, mark = TOKENS[name]
    if header and not mark:
        return
    lines = [mark.join(up if s > 0 else down for s in row) for row in SPINS]
    lines = [mark.join(f"s{k}" for k in range(6)), *lines] if header else lines
    rows = open_array(text(tmp_path / "a.txt", lines))
    np.testing.assert_array_equal(rows[:], SPINS)
    if header:
        assert rows.columns == tuple(f"s{k}" for k in range(6))


@pytest.mark.parametrize("largest", [1, 2, 9])
def test_digits_without_separators(tmp_path, largest):
    values = np.random.default_rng(0).integers(0, largest + 1, (40, 20))
    lines = ["".join(map(str, row)) for row in values]
    np.testing.assert_array_equal(open_array(text(tmp_path / "a.dat", lines))[:], values)


def test_numbers_of_equal_length_are_no_digits(tmp_path):
    rows = open_array(text(tmp_path / "a.dat", ["1234", "5678", "4321"]))
    np.testing.assert_array_equal(rows[:], [[1234], [5678], [4321]])


ALIGNMENT = np.random.default_rng(0).choice(list("-ACDEFGHIKLMNPQRSTVWY"), (30, 50))


@pytest.mark.parametrize("style", ["fasta", "wrapped", "in text", "plain", "commas", "gz"])
def test_letters(tmp_path, style):
    sequences = ["".join(row) for row in ALIGNMENT]
    path = tmp_path / {"fasta": "a.fasta", "wrapped": "a.fa", "gz": "a.fasta.gz"}.get(style, "a.txt")
    if style == "plain":
        text(path, sequences)
    elif style == "commas":
        text(path, [",".join(row) for row in ALIGNMENT])
    elif style == "gz":
        with gzip.open(path, "wt") as file:
            file.writelines(f">{k}\n{line}\n" for k, line in enumerate(sequences))
    else:
        wrap = 20 if style == "wrapped" else 100
        text(
            path,
            [
                part
                for k, line in enumerate(sequences)
                for part in (f">s{k} # some title", *(line[i : i + wrap] for i in range(0, 50, wrap)))
            ],
        )
    rows = open_array(path)
    assert rows.names == tuple("-ACDEFGHIKLMNPQRSTVWY")
    np.testing.assert_array_equal(np.array(rows.names)[rows[:]], ALIGNMENT)


def test_sequences_that_are_not_aligned(tmp_path):
    refused(text(tmp_path / "a.fasta", [">1", "ACD", ">2", "AC"]), "2 characters in sequence 2", "align")
    refused(text(tmp_path / "b.fasta", ["ACD", "AC"]), "no sequence", ">1")


def test_words_that_are_no_sites(tmp_path):
    lines = [" ".join(map(str, row)) + (" cat" if row[0] > 0 else " dog") for row in SPINS]
    path = text(tmp_path / "a.txt", lines)
    refused(path, "column", "6 (it holds words)", "exclude to [6]")
    np.testing.assert_array_equal(open_recorded(str(path), exclude=[-1]).array[:], SPINS)


@pytest.mark.parametrize("name", ["a.npy.gz", "a.txt.gz", "a.CSV.gz"])
def test_compressed(tmp_path, name):
    path = tmp_path / name
    with gzip.open(path, "wb") as file:
        if kind_of(path) == ".npy":
            np.save(file, SPINS)
        else:
            np.savetxt(file, SPINS, delimiter="," if kind_of(path) == ".csv" else " ")
    np.testing.assert_array_equal(open_array(path)[:], SPINS)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions_of_npy(tmp_path, version):
    with gzip.open(tmp_path / "a.npy.gz", "wb") as file:
        np.lib.format.write_array(file, SPINS, version)
    np.testing.assert_array_equal(open_array(tmp_path / "a.npy.gz")[:], SPINS)


def test_names_of_fields_that_are_not_latin(tmp_path):
    records = np.zeros(len(SPINS), [("σ", SPINS.dtype, SPINS.shape[1:]), ("時刻", float)])
    records["σ"] = SPINS
    with pytest.warns(UserWarning, match="format 3.0"):
        np.savez(tmp_path / "a.npz", records)
    np.testing.assert_array_equal(open_array(tmp_path / "a.npz")[:], SPINS)


def test_compressed_files_that_are_unpacked_first(tmp_path):
    with gzip.open(tmp_path / "a.h5.gz", "wb") as file:
        file.write(b"1")
    refused(tmp_path / "a.h5.gz", "gunzip")


ROWS = [" ".join(map(str, row)) for row in SPINS]
STYLES = {
    "decimal commas": [";".join(f"{s},0" for s in row) for row in SPINS],
    "commas at the end": [",".join(map(str, row)) + "," for row in SPINS],
    "names and commas at the end": ["a,b,c,d,e,f,", *(",".join(map(str, row)) + "," for row in SPINS)],
    "brackets": [str(row.tolist()) for row in SPINS],
    "nested brackets": [f"[{row.tolist()}," for row in SPINS],
    "signs": ["".join(f"{s:+d}" for s in row) for row in SPINS],
    "fixed width": ["".join(f"{s:4d}" for s in row) for row in SPINS],
    "a comment of another kind": ["! spins", *ROWS],
    "blank lines": [*ROWS[:9], "", *ROWS[9:20], "", "", *ROWS[20:]],
    "% comments": ["% spins", *ROWS[:7], "% more", *ROWS[7:]],
}


@pytest.mark.parametrize("name", STYLES)
def test_tables_in_many_styles(tmp_path, name):
    rows = open_recorded(str(text(tmp_path / "a.txt", STYLES[name])))
    np.testing.assert_array_equal(rows.array[:], SPINS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_encodings(tmp_path, encoding):
    lines = ["# Größe der Kette: 6", *ROWS]
    (tmp_path / "a.txt").write_bytes("\r\n".join(lines).encode(encoding))
    np.testing.assert_array_equal(open_array(tmp_path / "a.txt")[:], SPINS)


def test_names_of_rows(tmp_path):
    """Check a table as R writes it, with names of rows that have no name themselves."""
    lines = ['"V1" "V2" "V3" "V4" "V5" "V6"', *(f'"{k}" {row}' for k, row in enumerate(ROWS))]
    path = text(tmp_path / "a.txt", lines)
    refused(path, "it has no name", "exclude to [0]")
    np.testing.assert_array_equal(open_recorded(str(path), exclude=[0]).array[:], SPINS)


@pytest.mark.parametrize("between", ["{}", "sweep {}", "t={}", "---"])
def test_lines_that_are_no_data(tmp_path, between):
    lines = [part for k, row in enumerate(ROWS) for part in (between.format(k), row)]
    refused(text(tmp_path / "a.txt", lines), "# before lines that are no data")


def test_arrays_of_words_and_of_records(tmp_path):
    for array in (np.where(SPINS > 0, "up", "down"), np.where(SPINS > 0, b"+", b"-")):
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(open_array(tmp_path / "a.npy")[:], SPINS)
    records = np.zeros(40, [("s", "i1", (6,)), ("old", "i1", (6,)), ("E", "f8")])
    records["s"] = SPINS
    np.save(tmp_path / "b.npy", records)
    refused(tmp_path / "b.npy", "set dataset to one of 's' (40, 6), 'old' (40, 6)")
    np.testing.assert_array_equal(open_array(tmp_path / "b.npy", "s")[:], SPINS)


def test_binary_numbers_in_a_text_file(tmp_path):
    SPINS.tofile(tmp_path / "a.dat")
    refused(tmp_path / "a.dat", "binary numbers, not text", "np.fromfile")
    np.zeros(99, np.int32).tofile(tmp_path / "b.dat")
    refused(tmp_path / "b.dat", "np.fromfile")


def matlab73(path, **arrays):
    """Write arrays as MATLAB does, with reversed axes and its attributes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            dataset = file.create_dataset(name, data=np.ascontiguousarray(array.T))
            dataset.attrs["MATLAB_class"] = np.bytes_("double")
        text_of_matlab = file.create_dataset("note", data=np.array([[104], [105]], np.uint16))
        text_of_matlab.attrs["MATLAB_class"] = np.bytes_("char")


def test_matlab(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"spins": SPINS, "T": 2.0, "E": np.ones((40, 1)), "note": "hi"})
    matlab73(tmp_path / "b.mat", spins=SPINS.astype(float), T=np.ones((1, 1)))
    for name in ("a.mat", "b.mat"):
        rows = open_array(tmp_path / name)
        np.testing.assert_array_equal(rows[:], SPINS)
        assert "array spins" in rows.notes[0]
        refused(tmp_path / name, "no array 'S'", "'spins' (40, 6)", dataset="S")


def test_fields_of_structs_of_matlab(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"run": {"spins": SPINS, "code": 3}, "cells": [SPINS, "x"]})
    np.testing.assert_array_equal(open_array(tmp_path / "a.mat")[:], SPINS)
    np.testing.assert_array_equal(open_array(tmp_path / "a.mat", "run.spins")[:], SPINS)


def test_lattices_of_matlab(tmp_path):
    stack = np.moveaxis(LATTICES, 0, -1)
    scipy.io.savemat(tmp_path / "a.mat", {"spins": stack})
    matlab73(tmp_path / "b.mat", spins=stack.astype(float))
    for name in ("a.mat", "b.mat"):
        refused(tmp_path / name, "(4, 4, 30)", "axis to -1")
        opened = open_recorded(str(tmp_path / name), axis=-1)
        np.testing.assert_array_equal(opened.array[:], LATTICES)


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrow", "stream.arrow"])
def test_tables(tmp_path, suffix):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import feather, parquet

    def save(table, path):
        if suffix == ".parquet":
            parquet.write_table(table, path)
        elif suffix == ".feather":
            feather.write_feather(table, path)
        else:
            new = pyarrow.ipc.new_stream if suffix.startswith("stream") else pyarrow.ipc.new_file
            with pyarrow.OSFile(str(path), "wb") as sink, new(sink, table.schema) as writer:
                writer.write_table(table)
        return path

    columns = {f"s{k}": SPINS[:, k] for k in range(6)}
    index = {"__index_level_0__": np.arange(40)}
    path = save(pyarrow.table(columns | index), tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(open_array(path)[:], SPINS)
    path = save(pyarrow.table(columns | {"T": np.full(40, 2.5)}), tmp_path / f"b{suffix}")
    refused(path, "'T'", "exclude to [T]")
    np.testing.assert_array_equal(open_recorded(str(path), exclude=["T"]).array[:], SPINS)
    lists = {"spins": SPINS.tolist(), "energy": np.arange(40.0)}
    path = save(pyarrow.table(lists), tmp_path / f"c{suffix}")
    np.testing.assert_array_equal(open_array(path)[:], SPINS)
    opened = open_recorded(str(path), dataset="spins")
    np.testing.assert_array_equal(opened.array[:], SPINS)
    path = save(pyarrow.table({"a": [1, None, 1], "b": [1, 1, 1]}), tmp_path / f"d{suffix}")
    refused(path, "no value in row 1 of the column 'a'")
    letters = {f"s{k}": np.where(SPINS[:, k] > 0, "up", "down") for k in range(6)}
    path = save(pyarrow.table(letters), tmp_path / f"e{suffix}")
    np.testing.assert_array_equal(open_array(path)[:], SPINS)


def test_zarr(tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.save_array(str(tmp_path / "a.zarr"), SPINS)
    group = zarr.open_group(str(tmp_path / "b.zarr"), mode="w")
    group.create_array("run/spins", data=SPINS)
    group.create_array("run/energy", data=np.arange(40.0))
    for name in ("a.zarr", "b.zarr"):
        rows = open_array(tmp_path / name)
        np.testing.assert_array_equal(rows[3:5], SPINS[3:5])
        np.testing.assert_array_equal(rows[np.array([1, 7])], SPINS[[1, 7]])
    refused(tmp_path / "b.zarr", "'run/spins' (40, 6)", dataset="spins")
    (tmp_path / "c.zarr").mkdir()
    refused(tmp_path / "c.zarr", "no zarr array")


def test_the_only_array_that_can_be_meant(tmp_path):
    arrays = {"spins": SPINS, "energy": np.arange(40.0), "T": np.array(2.0)}
    np.savez(tmp_path / "a.npz", **arrays)
    torch.save({name: torch.tensor(array) for name, array in arrays.items()}, tmp_path / "a.pt")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, array in arrays.items():
            file[f"run/{name}"] = array
        file["run/note"] = "some text"
    for suffix in (".npz", ".pt", ".h5"):
        rows = open_array(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(rows[:], SPINS)
        assert "energy" in rows.notes[0]


def test_tensors_in_dictionaries_and_lists(tmp_path):
    nested = {"epoch": 3, "state": {"spins": torch.tensor(SPINS), "energy": torch.ones(40)}}
    torch.save(nested, tmp_path / "a.pt")
    np.testing.assert_array_equal(open_array(tmp_path / "a.pt")[:], SPINS)
    np.testing.assert_array_equal(open_array(tmp_path / "a.pt", "state.spins")[:], SPINS)
    torch.save([torch.tensor(row) for row in LATTICES], tmp_path / "b.pt")
    np.testing.assert_array_equal(open_array(tmp_path / "b.pt")[:], LATTICES)
    torch.save({"spins": [torch.tensor(row) for row in LATTICES]}, tmp_path / "c.pt")
    np.testing.assert_array_equal(open_array(tmp_path / "c.pt")[:], LATTICES)
    torch.save([torch.tensor(SPINS), torch.tensor(LATTICES)], tmp_path / "d.pt")
    np.testing.assert_array_equal(open_array(tmp_path / "d.pt", "1")[:], LATTICES)
    torch.save(torch.tensor(SPINS).to_sparse(), tmp_path / "e.pt")
    refused(tmp_path / "e.pt", "to_dense()")


def test_objects_beside_arrays_are_not_read(tmp_path):
    np.savez(tmp_path / "a.npz", spins=SPINS, settings={"T": 2})
    np.testing.assert_array_equal(open_array(tmp_path / "a.npz")[:], SPINS)
    refused(tmp_path / "a.npz", "pickled", "np.savez(path, **arrays)", dataset="settings")
    np.savez(tmp_path / "b.npz", data={"spins": SPINS})
    refused(tmp_path / "b.npz", "pickled", "np.savez(path, **arrays)")
    scipy.sparse.save_npz(tmp_path / "c.npz", scipy.sparse.csr_matrix(SPINS))
    refused(tmp_path / "c.npz", "toarray()")


def test_labelled_rows_are_those_of_the_array():
    rows = LabelledRows(SPINS)
    assert (rows.shape, rows.dtype) == (SPINS.shape, SPINS.dtype)
    np.testing.assert_array_equal(rows[2:5], SPINS[2:5])


ENDS = {
    "commas": (["a,b,c,d,e,f"], "{},", ","),
    "commas everywhere": (["a,b,c,d,e,f,"], "{},", ","),
    "semicolons": ([], "{};", ";"),
    "Python": ([], "[{}],", ", "),
    "bars": ([], "{}", "|"),
    "bars with header": (["a|b|c|d|e|f"], "{}", " | "),
    "numpy": ([], " [ {}]", " "),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends_of_lines(tmp_path, name):
    header, line, mark = ENDS[name]
    lines = [line.format(mark.join(map(str, row))) for row in SPINS]
    path = text(tmp_path / "a.txt", [*header, *lines])
    np.testing.assert_array_equal(open_recorded(str(path)).array[:], SPINS)
    path = text(tmp_path / "b.txt", [*header, *lines[:-1], lines[-1].rstrip(",")])
    np.testing.assert_array_equal(open_recorded(str(path)).array[:], SPINS)


def test_printed_arrays(tmp_path):
    printed = np.array2string(LATTICES, threshold=10**6)
    for name, content in (("a", printed), ("b", str(LATTICES.tolist()).replace("], ", "],\n"))):
        path = text(tmp_path / f"{name}.txt", [content])
        rows = open_recorded(str(path), shape=(4, 4)).array
        np.testing.assert_array_equal(rows[:], LATTICES)


@pytest.mark.parametrize("pair", [".#", "#-", "%O", "#%"])
def test_sites_written_like_comments(tmp_path, pair):
    lines = ["".join(pair[int(s > 0)] for s in row) for row in SPINS]
    refused(text(tmp_path / "a.txt", lines), "begin comments: write letters or digits")
    plain = text(
        tmp_path / "b.txt", ["# " + lines[0], *("".join("ox"[int(s > 0)] for s in r) for r in SPINS)]
    )
    assert open_recorded(str(plain)).array.shape == SPINS.shape


def test_soft_masked_alignment(tmp_path):
    sequences = ["ACGT-", "acgt.", "AcG--", "TTTTT"]
    lines = [line for k, each in enumerate(sequences) for line in (f">{k}", each)]
    opened = open_recorded(str(text(tmp_path / "a.fasta", lines)), axis=0)
    assert opened.names == ("-", "A", "C", "G", "T")
    np.testing.assert_array_equal(opened.array[:][0], opened.array[:][1])
    assert opened.notes == ("small letters are read as capitals, and dots as gaps",)


def test_files_of_other_formats(tmp_path):
    (tmp_path / "a.npy").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    refused(tmp_path / "a.npy", "git lfs pull")
    np.save(tmp_path / "b.npy", SPINS)
    refused((tmp_path / "b.npy").rename(tmp_path / "b.csv"), "let its name end in .npy")
    (tmp_path / "c.txt").write_bytes(gzip.compress(b"1 1\n-1 1\n"))
    refused(tmp_path / "c.txt", "let its name end in .gz")
    np.save(tmp_path / "d.npy", np.float64(3))
    refused(tmp_path / "d.npy", "a single number: write one configuration per row")
