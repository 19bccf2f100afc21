"""Tables of fields that are no plain numbers are read as they are meant, or refused with the remedy."""

import h5py
import numpy as np
import pytest

import lightdan.data.formats.hdf5 as hdf5_files
from lightdan import Recorded
from lightdan.data.formats.cells import delimiter, fields
from lightdan.data.formats.readers import open_array
from lightdan.data.recorded.beside import find_sources, open_beside
from lightdan.data.recorded.reading import Reading


def opened(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return open_array(path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("00 5\n01 7\n10 9\n11 2\n", ()),
        ("state,count\n00,5\n01,7\n10,9\n11,2\n", ("state 0", "state 1", "count")),
        ('"00";"5"\n"01";"7"\n"10";"9"\n"11";"2"\n', ()),
        ("n\tbits\n5\t00\n7\t01\n9\t10\n2\t11\n", ("n", "bits 0", "bits 1")),
    ],
)
def test_bits_beside_counts(tmp_path, text, names):
    """0110 is one character per site, and no number."""
    rows = opened(tmp_path / "a.txt", text)
    bits = [[0, 0], [0, 1], [1, 0], [1, 1]]
    counts = np.array([[5], [7], [9], [2]])
    first = not names or names[0] != "n"
    np.testing.assert_array_equal(rows[:], np.hstack([bits, counts] if first else [counts, bits]))
    assert rows.columns == names


@pytest.mark.parametrize("text", ["01 00\n00 01\n", "10 11\n11 10\n", "007 1\n008 0\n", "0 1\n1 0\n"])
def test_numbers_that_are_no_bits(tmp_path, text):
    assert opened(tmp_path / "a.txt", text).shape == (2, 2)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("1 2 3\n4\n5 6 7\n8\n", 2),
        ("1,2\n3,4\n5\n6,7\n8,9\n10\n", 3),
        ("[1 -1 1\n -1]\n[1 1 1\n -1]\n", 2),
        (" 1.D0 2.D0\n 3.D0\n 4.D0 5.D0\n 6.D0\n", 2),
    ],
)
def test_rows_that_are_continued(tmp_path, text, lines):
    rows = opened(tmp_path / "a.txt", text)
    assert rows.notes == (f"{lines} consecutive lines make one configuration",)
    numbers = text.replace("[", " ").replace("]", " ").replace(",", " ").replace("D", "e").split()
    np.testing.assert_array_equal(rows[:].ravel(), [float(number) for number in numbers])
    assert len(rows[:]) == 2


@pytest.mark.parametrize("text", ["1 2\n3\n4 5\n6 7\n", "1 2 3\n4 5\n6\n7 8 9\n10\n11 12\n"])
def test_lines_of_irregular_lengths(tmp_path, text):
    with pytest.raises(ValueError, match="write the same number of sites"):
        opened(tmp_path / "a.txt", text)


def test_minus_signs_and_exponents_of_other_programs(tmp_path):
    expected = [[-1, 1], [1, -1]] * 30
    for number in range(8):  # wherever the first bytes are cut
        text = "#" + number * "x" + "\n" + "−1,1\n1,−1\n" * 30
        np.testing.assert_array_equal(opened(tmp_path / f"{number}.csv", text)[:], expected)
    rows = opened(tmp_path / "a.txt", "{{1.5*^-3, -2.*^2},\n{3.*^0, 4}}\n")
    np.testing.assert_array_equal(rows[:], [[1.5e-3, -200], [3, 4]])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("T (K);E [J];s1", ["T (K)", "E [J]", "s1"]),
        ('"Time (s)","Ch1 (µV)"', ["Time (s)", "Ch1 (µV)"]),
        ("(1, 2, 3)", ["1", "2", "3"]),
        ("[[ 1 -1]", ["1", "-1"]),
        ("1,5\t2,25\t\t3", ["1,5", "2,25", "", "3"]),
        ("strongly agree\tagree", ["strongly agree", "agree"]),
        ("1 2\t3 4", ["1", "2", "3", "4"]),
        ("1,\t2", ["1", "2"]),
    ],
)
def test_fields_of_a_line(line, found):
    assert fields(line) == found
    assert delimiter(line) in (None, ",", ";", "\t")


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npy"])
def test_a_column_of_other_words(tmp_path, ending):
    """Names beside answers are no levels of sites; the answers stay spins."""
    answers = np.array([["yes", "no", "no"], ["no", "no", "yes"]] * 20)
    table = np.column_stack([[f"person {k}" for k in range(40)], answers])
    path = tmp_path / f"a{ending}"
    if ending == ".csv":
        path.write_text("\n".join(map(",".join, table)))
    elif ending == ".npy":
        np.save(path, table)
    else:
        arrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(
            arrow.table({str(k): column.tolist() for k, column in enumerate(table.T)}), path
        )
    rows = open_array(path)
    assert rows.words == (0,)
    np.testing.assert_array_equal(rows[:][:, 1:], np.where(answers == "yes", 1, -1))


@pytest.mark.parametrize("ending", [".npy", ".h5", ".parquet"])
def test_sequences_as_words(tmp_path, ending):
    words, path = np.array(["ACCA", "CAAC", "AACC"]), tmp_path / f"a{ending}"
    if ending == ".npy":
        np.save(path, words)
    elif ending == ".h5":
        with h5py.File(path, "w") as file:
            file["fixed"] = words.astype("S4")
            file["free"] = words.astype(object)
        with pytest.raises(ValueError, match="several arrays"):
            open_array(path)
        np.testing.assert_array_equal(open_array(path, "fixed")[:], open_array(path, "free")[:])
    else:
        arrow = pytest.importorskip("pyarrow")
        table = arrow.table({"sequence": words.tolist()})
        pytest.importorskip("pyarrow.parquet").write_table(table, path)
    rows = open_array(path, "free" if ending == ".h5" else None)
    assert rows.shape == (3, 4)
    assert rows.names == ("A", "C")


def test_scaled_numbers_records_and_numbered_arrays(tmp_path):
    spins = np.random.default_rng(0).choice([-1, 1], (12, 3, 4))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = spins
        file["a"].attrs["scale_factor"] = 1.0
    np.testing.assert_array_equal(open_array(tmp_path / "a.h5")[:], spins)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["a"].attrs["add_offset"] = np.array([0.5])
    with pytest.raises(ValueError, match=r"attributes scale \(scale_factor 1 and add_offset 0.5\)"):
        open_array(tmp_path / "a.h5")
    np.savez(tmp_path / "a.npz", *spins)
    np.testing.assert_array_equal(open_array(tmp_path / "a.npz")[:], spins)
    np.testing.assert_array_equal(open_array(tmp_path / "a.npz", "arr_3")[:], spins[3])
    records = np.zeros(5, [("day", "M8[D]"), ("s", "i1", (4,)), ("E", float)])
    np.savez(tmp_path / "b.npz", table=records)
    assert open_array(tmp_path / "b.npz").shape == (5, 4)


def test_joined_numbers_are_no_number(tmp_path):
    (tmp_path / "a.txt").write_text("1_0 2 3\n1 2 3\n2 3 4\n")
    with pytest.raises(ValueError, match="has '1_0' in line 1, which is not a number"):
        open_array(tmp_path / "a.txt")


@pytest.mark.parametrize("attribute", ["_FillValue", "missing_value"])
@pytest.mark.parametrize("kind", ["i2", "f4"])
def test_declared_missing_values(tmp_path, monkeypatch, attribute, kind):
    monkeypatch.setattr(hdf5_files, "VALUES_READ", 24)
    field = np.random.default_rng(0).integers(-5, 5, (12, 3, 4)).astype(kind)
    missing = np.array(1e20 if kind == "f4" else -99, kind)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = field
        file["a"].attrs[attribute] = missing
    np.testing.assert_array_equal(open_array(tmp_path / "a.h5")[:], field)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["a"][7, 2, 1] = missing
    with pytest.raises(ValueError, match=rf"no value in row 7 of 'a' .* is its {attribute}: leave"):
        open_array(tmp_path / "a.h5")


@pytest.mark.parametrize("side", [6, 4, 19])
def test_a_lattice_in_each_of_many_datasets(tmp_path, side):
    spins = np.random.default_rng(0).choice([-1, 1], (20, side, 6))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, lattice in enumerate(spins):
            file[f"sweep_{number:02d}"] = lattice
    sources = find_sources(str(tmp_path / "a.h5"), "sweep_*")
    question = rf"set shape to \({side}, 6\) if each is one lattice, or to \(6,\)"
    with pytest.raises(ValueError, match=question):
        open_beside(sources, {}, Reading())
    rows, _, _ = open_beside(sources, {}, Reading(shape=(side, 6)))
    np.testing.assert_array_equal(rows[:], spins)
    assert rows.notes == (f"{side} consecutive rows of the file make one configuration",)
    assert open_beside(sources, {}, Reading(shape=(6,)))[0].shape == (20 * side, 6)


def test_a_few_datasets_of_many_rows_are_chains(tmp_path):
    spins = np.random.default_rng(0).choice([-1, 1], (12, 12 + 1, 6))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, chain in enumerate(spins):
            file[f"chain_{number:02d}"] = chain
    rows, _, _ = open_beside(find_sources(str(tmp_path / "a.h5"), "chain_*"), {}, Reading())
    np.testing.assert_array_equal(rows[:], spins.reshape(-1, 6))


def test_lines_of_one_configuration_between_empty_lines(tmp_path):
    """Three lines with four, four and two values are no lattice of three lines."""
    spins = np.random.default_rng(0).choice([-1, 1], (30, 10))
    blocks = [
        "\n".join(" ".join(map(str, row[start : start + 4])) for start in (0, 4, 8)) for row in spins
    ]
    (tmp_path / "a.txt").write_text("\n\n".join(blocks))
    system = Recorded(str(tmp_path / "a.txt"))
    assert system.lattice_shape == (10,)
    np.testing.assert_array_equal(system.data.configurations, spins)
