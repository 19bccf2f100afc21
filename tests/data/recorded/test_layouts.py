"""A file with two meanings is a question; ordinary files are none."""

import h5py
import numpy as np
import pytest

from lightdan.data.formats.readers import open_array
from lightdan.data.recorded.columns import odd_columns
from lightdan.data.recorded.layouts import ask_about_axes, ask_about_lines, refuse_positions
from lightdan.data.recorded.reading import Reading
from lightdan.data.recorded.temperatures import open_recorded


def ising(side=6, temperature=3.0, num=400, columns=None, sweeps=20, seed=0):
    """Draw independent configurations of a torus with the heat bath."""
    rng = np.random.default_rng(seed)
    shape = (num, side, columns or side)
    s = rng.choice(np.array([-1, 1], np.int8), shape)
    odd = np.indices(shape[1:]).sum(0) % 2
    for _ in range(sweeps):
        for parity in (0, 1):
            field = sum(np.roll(s, step, axis) for step in (1, -1) for axis in (1, 2))
            up = rng.random(shape) < 1 / (1 + np.exp(-2 * field / temperature))
            s = np.where(odd == parity, np.where(up, 1, -1), s).astype(np.int8)
    return s


LATTICES = ising()
FLAT = LATTICES.reshape(len(LATTICES), -1)
RNG = np.random.default_rng(1)


def chain(num, sites, stay, real=False):
    """Draw rows in time, each site on its own."""
    rows = RNG.normal(size=(num, sites)) if real else RNG.choice([-1.0, 1.0], (num, sites))
    for k in range(1, num):
        if real:
            rows[k] = stay * rows[k - 1] + np.sqrt(1 - stay**2) * rows[k]
        else:
            rows[k] = np.where(RNG.random(sites) < stay, rows[k - 1], rows[k])
    return rows


def alignment(num, sites):
    """Draw letters of which each site has some of its own."""
    letters = [RNG.choice(21, RNG.integers(1, 6), replace=False) for _ in range(sites)]
    return np.stack([RNG.choice(some, num) for some in letters], axis=1)


ORDINARY = {
    "spins": FLAT,
    "lattices": LATTICES,
    "rectangles": ising(4, columns=8, num=200),
    "few rows": FLAT[:8],
    "more sites than rows": ising(16, num=30).reshape(30, -1),
    "far more sites than rows": ising(24, num=10).reshape(10, -1),
    "sites in any order": ising(16, 2.3, 60).reshape(60, -1)[:, RNG.permutation(256)],
    "ordered, in any order": ising(12, 1.8, 30).reshape(30, -1)[:, RNG.permutation(144)],
    "a slow chain": chain(300, 20, 0.9),
    "a slow chain of many sites": chain(60, 400, 0.9),
    "a slow chain of reals": chain(60, 400, 0.98, real=True),
    "independent sites": (RNG.random((100, 800)) < RNG.uniform(0.01, 0.99, 800)).astype(np.int8),
    "rare events": (RNG.random((3000, 30)) < RNG.uniform(0, 0.05, 30)).astype(np.int8),
    "a frozen site": np.column_stack([FLAT, np.ones(400)]),
    "an alignment": alignment(300, 30),
    "a short alignment": alignment(300, 8),
    "fields": RNG.normal(size=(400, 64)),
    "sensors": RNG.normal(size=(400, 12)) * 10.0 ** RNG.uniform(-1, 1, 12) + RNG.normal(size=12),
    "random bits": RNG.integers(0, 2, (20, 30_000)),
    "rare events of few rows": (RNG.random((30, 5000)) < RNG.uniform(0.02, 0.3, (30, 1))).astype(
        np.int8
    ),
    "expression": np.exp(RNG.normal(size=(100, 500)) + 2 * RNG.normal(size=500)),
    "numbers of particles": RNG.poisson(RNG.uniform(0.1, 20, 40), (300, 40)),
    "grey values": RNG.integers(0, 256, (200, 64)),
    "angles": RNG.uniform(0, 6.28, (300, 36)),
    "paths": np.cumsum(RNG.normal(size=(300, 30)), axis=1),
    "two sites": RNG.choice([-1, 1], (400, 2)),
    "three levels": RNG.choice([0, 1, 2], (400, 3)),
    "every state": np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), -1).reshape(-1, 4),
    "every state of levels": np.stack(np.meshgrid(*[[0, 1, 2]] * 3, indexing="ij"), -1).reshape(-1, 3),
    "a rare third level": RNG.choice([-1, 0, 1], (400, 16), p=[0.49, 0.02, 0.49]),
    "wide lattices": RNG.choice([-1, 1], (200, 4, 1000)),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_files_raise_no_question(name):
    rows = ORDINARY[name]
    ask_about_axes("a.npy", rows)
    ask_about_lines("a.npy", rows)
    if rows.ndim == 2:
        refuse_positions("a.npy", rows)
        assert odd_columns(rows) == []


@pytest.mark.parametrize("num", [5, 7, 9, 12])
def test_few_rows_are_no_places(num):
    """No table of two values, however small, begins with all places of a square by chance."""
    for rows in np.random.default_rng(0).integers(2, size=(300, num, 5)):
        refuse_positions("a.npy", rows)


def test_places_of_one_lattice():
    places = np.indices((3, 4)).reshape(2, 12, order="F").T
    table = np.column_stack([places, RNG.choice([-1, 1], 12)])
    with pytest.raises(ValueError, match=r"exclude to \[0, 1\] and shape to \(3, 4\)"):
        refuse_positions("a.npy", table)
    refuse_positions("a.npy", np.vstack([table, table[5:8]]))


def channels(num, times):
    """Draw noise of neighbouring channels, which is also correlated in time."""
    mixing = np.exp(-np.abs(np.subtract.outer(range(num), range(num))) / 3)
    return mixing @ chain(times, num, 0.9, real=True).T


@pytest.mark.parametrize("shape", [(16, 5000), (8, 400), (4, 2000)])
def test_signals_with_a_row_per_channel(shape):
    with pytest.raises(ValueError, match=r"may be along the last axis .* rows depend on each other"):
        ask_about_axes("a.npy", channels(*shape))
    ask_about_axes("a.npy", channels(*shape).T)


@pytest.mark.parametrize(("side", "num"), [(4, 32), (6, 500), (12, 1764)])
def test_configurations_along_the_second_axis(side, num):
    rows = RNG.choice([-1, 1], (side, num, side))
    with pytest.raises(ValueError, match="may be along the second axis: set axis to 1 if they are"):
        ask_about_axes("a.npy", rows)


@pytest.mark.parametrize("num", [2, 64, 44_425])
def test_a_file_of_one_row(num):
    with pytest.raises(ValueError, match=f"holds one row of {num} values: set shape to that of a lat"):
        ask_about_axes("a.npy", RNG.choice([-1, 1], (1, num)))


@pytest.mark.parametrize("values", [RNG.integers(40, size=300), RNG.normal(size=300)])
@pytest.mark.parametrize("ties", [False, True])
def test_times_of_events(values, ties):
    times = np.cumsum(RNG.random(300))
    if ties:
        times[10:20] = times[10]
    found = odd_columns(np.column_stack([times, values]))
    assert [(column.number, "without turning" in column.reason) for column in found] == [(0, True)]
    assert odd_columns(np.column_stack([times, np.cumsum(RNG.random(300))])) == []


E = -(LATTICES * (np.roll(LATTICES, 1, 1) + np.roll(LATTICES, 1, 2))).sum((1, 2))
BESIDE = {
    "a temperature": np.full(400, 3.0),
    "temperatures": RNG.choice([2.0, 2.5, 3.0], 400),
    "an energy": E,
    "an energy per site": E / 36,
    "a magnetisation": FLAT.mean(1),
    "sweeps": 1000 + 100 * np.arange(400),
    "labels": RNG.integers(0, 3, 400),
    "counts": RNG.integers(1, 9, 400),
    "weights": RNG.random(400),
}
BESIDE_FIELDS = {
    "a temperature": np.full(400, 3.0),
    "temperatures": RNG.choice([2.0, 2.5, 3.0], 400),
    "an energy": 100 + 5 * RNG.normal(size=400),
    "sweeps": np.arange(400),
    "labels": RNG.integers(0, 2, 400),
    "counts": RNG.integers(1, 9, 400),
    "times": np.cumsum(RNG.random(400)),
}


@pytest.mark.parametrize("place", [0, 36])
@pytest.mark.parametrize("name", BESIDE)
def test_columns_beside_spins(name, place):
    found = odd_columns(np.insert(FLAT.astype(float), place, BESIDE[name], axis=1))
    assert [column.number for column in found] == [place]


@pytest.mark.parametrize("name", BESIDE_FIELDS)
@pytest.mark.parametrize("real", [True, False])
def test_columns_beside_fields(name, real):
    sites = RNG.normal(size=(400, 20)) if real else RNG.uniform(0, 6.28, (400, 20))
    found = odd_columns(np.insert(sites, 0, BESIDE_FIELDS[name], axis=1))
    assert [column.number for column in found] == [0]


@pytest.mark.parametrize(
    ("names", "odd"),
    [
        ([*(f"s{k}" for k in range(36)), "label"], "label"),
        (["T", *(f"site_{k}" for k in range(36))], "T"),
        ([*(f"s[{k}]" for k in range(36)), "count"], "count"),
        (["", *map(str, range(36))], 0),
        ([*(f"g{k * k}x" for k in range(36)), "energy"], "energy"),
        (["Unnamed: 0", *(f"gene{k}a" for k in range(36))], "Unnamed: 0"),
    ],
)
def test_names_of_columns(tmp_path, names, odd):
    """Check that the name alone tells, because the column has values of spins."""
    place = names.index(odd or "")
    table = np.insert(FLAT, place, RNG.choice([-1, 1], 400), axis=1)
    path = tmp_path / "a.csv"
    np.savetxt(path, table, "%d", ",", header=",".join(names), comments="")
    with pytest.raises(ValueError, match=rf"exclude to \[{odd}\]"):
        open_recorded(str(path))
    for exclude in ([odd], [place]):
        np.testing.assert_array_equal(open_recorded(str(path), exclude=exclude).array[:], FLAT)
    np.testing.assert_array_equal(open_recorded(str(path), exclude=[]).array[:], table)
    rows, taken = Reading().of(str(path), open_array(path), {"temperature": place})
    np.testing.assert_array_equal(rows[:], FLAT)
    np.testing.assert_array_equal(taken["temperature"], table[:, place])
    with pytest.raises(
        ValueError, match=r"no column 'U': set exclude to one of .* a number from 0 to 36"
    ):
        open_recorded(str(path), exclude=["U"])


def test_columns_of_arrays_on_disk(tmp_path):
    table = np.column_stack([FLAT, E])
    np.save(tmp_path / "a.npy", table)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=table, chunks=(7, 37))
    for name in ("a.npy", "a.h5"):
        with pytest.raises(ValueError, match=r"36 \(it holds .* exclude to \[36\]"):
            open_recorded(str(tmp_path / name))
        rows = open_recorded(str(tmp_path / name), exclude=[-1]).array
        np.testing.assert_array_equal(rows[np.array([3, 50])], FLAT[[3, 50]])
        np.testing.assert_array_equal(rows[2:9], FLAT[2:9])


def transposed(name):
    make = {
        "dstack": lambda: np.moveaxis(LATTICES, 0, -1),
        "rectangles": lambda: np.moveaxis(ising(4, columns=6, num=500), 0, -1),
        "sites by rows": lambda: ising(num=1500).reshape(1500, -1).T,
        "many samples": lambda: ising(4, num=1600).reshape(1600, -1).T[RNG.permutation(16)],
    }
    return make[name]()


@pytest.mark.parametrize("name", ["dstack", "rectangles", "sites by rows", "many samples"])
def test_configurations_along_the_last_axis(tmp_path, name):
    array = transposed(name)
    np.save(tmp_path / "a.npy", array)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=array, chunks=True)
    for file in ("a.npy", "a.h5"):
        path = str(tmp_path / file)
        with pytest.raises(ValueError, match=r"set axis to -1 if they are, or to 0"):
            open_recorded(path)
        rows = open_recorded(path, axis=-1).array
        np.testing.assert_array_equal(rows[5:8], np.moveaxis(array, -1, 0)[5:8])
        assert open_recorded(path, axis=0).array.shape == array.shape
    with pytest.raises(ValueError, match="axis is 7"):
        open_recorded(path, axis=7)


def lines_of(path, lattices, between="", end=""):
    with path.open("w") as file:
        for number, lattice in enumerate(lattices):
            file.write(between.format(number))
            np.savetxt(file, lattice, "%d")
            file.write(end)
    return str(path)


@pytest.mark.parametrize(
    ("between", "end"),
    [("\n", ""), ("# sweep {}\n", ""), ("", "\n\n"), ("% {}\n", ""), ("\n# T = {}\n\n", "")],
)
def test_blocks_of_lines(tmp_path, between, end):
    path = lines_of(tmp_path / "a.txt", LATTICES, between, end)
    for shape in (None, (6, 6)):
        opened = open_recorded(path, shape=shape)
        np.testing.assert_array_equal(opened.array[:], LATTICES)
        assert opened.notes == ("6 consecutive rows of the file make one configuration",)
    assert open_recorded(path, shape=(6,)).array.shape == (2400, 6)


def test_blocks_that_are_no_squares(tmp_path):
    lattices = ising(4, columns=6, num=100)
    path = lines_of(tmp_path / "a.txt", lattices, "\n")
    with pytest.raises(ValueError, match=r"set shape to \(4, 6\) if .*, or to \(6,\)"):
        open_recorded(path)
    np.testing.assert_array_equal(open_recorded(path, shape=(4, 6)).array[:], lattices)
    assert open_recorded(path, shape=(6,)).array.shape == (400, 6)


def test_lines_without_blocks(tmp_path):
    path = lines_of(tmp_path / "a.txt", LATTICES)
    with pytest.raises(ValueError, match=r"set shape to \(6, 6\) if it does, or to \(6,\)"):
        open_recorded(path)
    np.testing.assert_array_equal(open_recorded(path, shape=(6, 6)).array[:], LATTICES)
    assert open_recorded(path, shape=(6,)).array.shape == (2400, 6)


def test_an_incomplete_lattice(tmp_path):
    path = tmp_path / "a.txt"
    np.savetxt(path, LATTICES.reshape(-1, 6)[:-1], "%d")
    with pytest.raises(ValueError, match=r"2399 rows of 6 values.*6 × 6 sites: remove the incomplete"):
        open_recorded(str(path), shape=(6, 6))


@pytest.mark.parametrize("between", ["\n", "# {}\n"])
def test_an_incomplete_block(tmp_path, between):
    path = lines_of(tmp_path / "a.txt", [*LATTICES[:9], LATTICES[9][:4]], between)
    with pytest.raises(ValueError, match="58 rows of 6 values, which are no whole number"):
        open_recorded(path)


@pytest.mark.parametrize("axis", [1, 3])
def test_axes_of_length_one(tmp_path, axis):
    np.save(tmp_path / "a.npy", np.expand_dims(LATTICES, axis))
    rows = open_recorded(str(tmp_path / "a.npy")).array
    np.testing.assert_array_equal(rows[np.array([2, 9])], LATTICES[[2, 9]])


@pytest.mark.parametrize("states", [2, 3, 21])
@pytest.mark.parametrize("flat", [True, False])
def test_levels_in_one_hot_form(tmp_path, states, flat):
    levels = RNG.integers(0, states, (50, 10))
    array = np.eye(states, dtype=np.uint8)[levels]
    array = array.reshape(50, -1) if flat else array
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(
        ValueError, match=rf"axis=-1\), or set shape to .*{array.shape[-1]},?\) if"
    ) as error:
        open_recorded(str(tmp_path / "a.npy"))
    remedy = str(error.value).partition("save ")[2].partition(", or set")[0]
    np.testing.assert_array_equal(eval(remedy, {"np": np, "a": array}), levels)
    assert open_recorded(str(tmp_path / "a.npy"), shape=array.shape[1:]).array.shape == array.shape


def test_all_values_in_one_line(tmp_path):
    np.savetxt(tmp_path / "a.txt", LATTICES.reshape(1, -1), "%d")
    rows = open_recorded(str(tmp_path / "a.txt"), shape=(6, 6)).array
    np.testing.assert_array_equal(rows[:], LATTICES)


@pytest.mark.parametrize("where", [".npy", ".txt", ".h5", "column.npy"])
def test_one_value_after_the_other(tmp_path, where):
    path = tmp_path / f"a{where}"
    if where == ".txt":
        np.savetxt(path, LATTICES.ravel(), "%d")
    elif where == ".h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=LATTICES.ravel(), chunks=(100,))
    else:
        np.save(path, LATTICES.reshape(-1, 1) if "column" in where else LATTICES.ravel())
    rows = open_recorded(str(path), shape=(6, 6)).array
    np.testing.assert_array_equal(rows[3:9], LATTICES[3:9])
    np.testing.assert_array_equal(rows[np.array([0, 7])], LATTICES[[0, 7]])


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("frame", [False, True])
def test_places_with_values(tmp_path, start, order, frame):
    places = np.indices((4, 6)).reshape(2, 24, order=order).T + start
    lattices = ising(4, columns=6, num=60)
    parts = [np.column_stack([places, lattice.ravel(order=order)]) for lattice in lattices]
    if frame:
        parts = [np.column_stack([np.full(24, k), part]) for k, part in enumerate(parts)]
    np.savetxt(tmp_path / "a.txt", np.concatenate(parts), "%d")
    columns = [0, 1, 2] if frame else [0, 1]
    shape = r"\(4, 6\)"
    with pytest.raises(ValueError, match=rf"exclude to \[{', '.join(map(str, columns))}\].*{shape}"):
        open_recorded(str(tmp_path / "a.txt"))


def test_numbers_of_sites_with_values(tmp_path):
    table = np.column_stack([np.tile(np.arange(36), 400), LATTICES.ravel()])
    np.savetxt(tmp_path / "a.txt", table, "%d")
    with pytest.raises(ValueError, match=r"exclude to \[0\] and shape to \(36,\)"):
        open_recorded(str(tmp_path / "a.txt"))
    rows = open_recorded(str(tmp_path / "a.txt"), exclude=[0], shape=(6, 6)).array
    np.testing.assert_array_equal(rows[:], LATTICES)


@pytest.mark.parametrize("sites", [36, 33])
def test_packed_bits(tmp_path, sites):
    bits = FLAT[:, :sites] > 0
    np.save(tmp_path / "a.npy", np.packbits(bits, axis=1))
    opened = open_recorded(str(tmp_path / "a.npy"), shape=(sites,))
    np.testing.assert_array_equal(opened.array[:], bits)
    np.testing.assert_array_equal(opened.array[np.array([3, 9])], bits[[3, 9]])
    assert opened.notes == (f"bits: unpacked to {sites} sites per row",)


ANGLES = np.random.default_rng(2).uniform(0, 2 * np.pi, (50, 4, 5))


@pytest.mark.parametrize("kind", [np.complex64, np.complex128, "vectors", "single vectors"])
def test_phases_and_vectors(tmp_path, kind):
    if isinstance(kind, str):
        array = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=-1)
        array = array.astype(np.float32 if "single" in kind else float)
    else:
        array = np.exp(1j * ANGLES).astype(kind)
    np.save(tmp_path / "a.npy", array)
    opened = open_recorded(str(tmp_path / "a.npy"))
    np.testing.assert_allclose(opened.array[:], ANGLES, atol=1e-5)
    np.testing.assert_allclose(opened.array[np.array([3, 9])], ANGLES[[3, 9]], atol=1e-5)
    assert "read as angles" in opened.notes[0]
    wrong = array.copy()
    wrong[30] *= 1.5
    np.save(tmp_path / "a.npy", wrong)
    with pytest.raises(ValueError, match=r"1\.5 in row 30 .*divide by the lengths"):
        open_recorded(str(tmp_path / "a.npy")).array[20:40]


def test_no_angles(tmp_path):
    np.save(tmp_path / "a.npy", FLAT.astype(complex))
    with pytest.raises(ValueError, match=r"imaginary parts are 0.*array\.real"):
        open_recorded(str(tmp_path / "a.npy"))
    vectors = RNG.normal(size=(50, 4, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    np.save(tmp_path / "a.npy", vectors)
    with pytest.raises(ValueError, match="three components"):
        open_recorded(str(tmp_path / "a.npy"))
    ladder = RNG.normal(size=(50, 8, 2))
    np.save(tmp_path / "a.npy", ladder)
    np.testing.assert_array_equal(open_recorded(str(tmp_path / "a.npy")).array[:], ladder)


@pytest.mark.parametrize("low", [0, -1])
@pytest.mark.parametrize("sites", [(10,), (4, 5)])
def test_one_hot_levels_along_the_second_axis(tmp_path, low, sites):
    levels = RNG.integers(0, 3, (50, *sites))
    array = np.moveaxis(np.eye(3)[levels], -1, 1)
    np.save(tmp_path / "a.npy", np.where(array > 0, 1, low))
    with pytest.raises(ValueError, match=r"save np\.argmax\(a, axis=1\), or set shape to \(3, "):
        open_recorded(str(tmp_path / "a.npy"))
    np.save(tmp_path / "b.npy", np.where(RNG.random(array.shape) < 1 / 3, 1, low))
    assert open_recorded(str(tmp_path / "b.npy")).array.shape == array.shape


def test_few_lattices_along_the_last_axis(tmp_path):
    np.save(tmp_path / "a.npy", np.moveaxis(ising(12, num=8), 0, -1))
    with pytest.raises(ValueError, match="set axis to -1"):
        open_recorded(str(tmp_path / "a.npy"))


ANGLES = RNG.uniform(0, 6, (40, 6))
COMPONENTS = {
    "by turns": np.stack([np.cos(ANGLES), np.sin(ANGLES)], 2).reshape(40, 12),
    "halves": np.hstack([np.cos(ANGLES), np.sin(ANGLES)]),
    "second axis": np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1),
    "lattice": np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1).reshape(40, 2, 2, 3),
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_components_of_vectors(tmp_path, name):
    array = COMPONENTS[name]
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match="components of unit vectors: save the angles") as error:
        open_recorded(str(tmp_path / "a.npy"))
    remedy = str(error.value).partition("the angles ")[2].removesuffix(".")
    saved = np.mod(eval(remedy, {"np": np, "a": array}), 2 * np.pi)
    np.testing.assert_allclose(saved.reshape(40, 6), ANGLES)
