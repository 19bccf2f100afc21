"""Recognition of a file, refusal of bad ones, and batches that are the same in memory and on disk."""

import json
import re
import warnings

import h5py
import numpy as np
import pytest
import torch

from lightdan.cli.main import main
from lightdan.data.recorded.recording import share_within
from lightdan.statistics import autocorrelation_time
from lightdan.systems.recorded import Recorded

M = 400


def random(values=(-1, 1), shape=(4, 4), num=M, dtype=np.int8, seed=0):
    """Draw independent values."""
    return np.random.default_rng(seed).choice(np.array(values, dtype), (num, *shape))


def copied(probability, num, seed=0):
    """Draw rows of spins that repeat the row before with probability p: τ = (1+p)/(2(1−p))."""
    rng = np.random.default_rng(seed)
    fresh = rng.random(num) >= probability
    fresh[0] = True
    return random(num=num, seed=seed)[np.flatnonzero(fresh)][np.cumsum(fresh) - 1]


def write(path, array):
    """Write an array in the format that the name of the file implies."""
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["configurations"] = array
    elif path.suffix == ".pt":
        torch.save(torch.from_numpy(array), path)
    else:
        (np.save if path.suffix == ".npy" else np.savez)(path, array)
    return path


@pytest.fixture(autouse=True)
def stationary(monkeypatch):
    """Leave out the fit that finds drifting couplings, because it takes longer than all the rest."""
    monkeypatch.setattr(Recorded, "_drift_of_couplings", lambda *args: [])


@pytest.fixture
def recorded(tmp_path):
    """Return a function that makes a system from an array."""

    def make(array, name="a.npy", **kwargs):
        np.save(tmp_path / name, array)
        return Recorded(str(tmp_path / name), **kwargs)

    return make


@pytest.fixture
def refused(recorded):
    """Return a function that checks the message with which an array is refused."""

    def make(array, *words, **kwargs):
        with pytest.raises(ValueError) as error:  # noqa: PT011 - the words are checked here
            recorded(array, **kwargs)
        text = str(error.value)
        assert text.endswith(".")
        assert "\n" not in text
        for word in words:
            assert word in text, text

    return make


def angles():
    return np.random.default_rng(0).uniform(0, 2 * np.pi, (M, 4, 4))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((-1, 1), np.int8),
        ((-1, 1), np.float64),
        ((0, 1), np.uint8),
        ((0, 255), np.uint8),
        ((False, True), bool),
        ((0, 1), ">i4"),
        ((-0.5, 0.5), np.float32),
        ((0, 1), np.float16),
    ],
)
def test_spins(recorded, capsys, values, dtype):
    array = random(values, dtype=dtype)
    system = recorded(array)
    assert (system.site_kind, system.levels) == ("spin", (-1, 1))
    assert system.symmetries == ("z2", "rotation", "reflection")
    assert not system.has_energy
    system.setup()
    expected = np.where(array == array.max(), 1, -1)[system.data.indices["test"]]
    np.testing.assert_array_equal(system.data.rows("test", 1.0), expected)
    assert ("is +1" in capsys.readouterr().out) == (values != (-1, 1))


@pytest.mark.parametrize(
    ("levels", "dtype"),
    [
        ((-4, -2, 0, 2, 4), np.int8),
        ((0, 1, 2), np.float64),
        ((-1, 0, 1), np.int64),
        ((0, 300, 70_000), np.int32),
        (tuple(range(16)), np.uint8),
    ],
)
def test_levels(recorded, levels, dtype):
    array = random(levels, dtype=dtype)
    system = recorded(array, boundary="periodic")
    assert (system.site_kind, system.levels) == ("level", levels)
    assert ("z2" in system.symmetries) == (levels[0] < 0)
    assert system.symmetries[-3:] == ("translation", "rotation", "reflection")
    system.setup()
    np.testing.assert_array_equal(system.data.rows("test", 1.0), array[system.data.indices["test"]])


def test_many_levels_by_hand(recorded):
    array = random(range(-100, 101), dtype=np.int16)
    assert recorded(array).site_kind == "real"
    assert recorded(array, values="level").levels == tuple(range(-100, 101))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_angles(recorded, dtype):
    array = angles().astype(dtype)
    array[0, 0, 0] = np.float32(2 * np.pi)  # as np.mod of single precision gives it
    system = recorded(array)
    assert (system.site_kind, system.levels) == ("angle", ())
    system.setup()
    values = system.data.configurations
    assert 0 <= values[0, 0, 0] < 1e-6
    assert values.max() < 2 * np.pi


@pytest.mark.parametrize("values", ["auto", "angle"])
def test_angles_about_zero_are_wrapped_with_a_note(recorded, values, capsys):
    system = recorded(angles() - np.pi, values=values)
    system.setup()
    assert system.site_kind == "angle"
    assert system.symmetries[:2] == ("spin_rotation", "spin_reflection")
    assert "taken modulo 2π" in capsys.readouterr().out
    expected = np.mod(angles() - np.pi, 2 * np.pi)[system.data.indices["test"]]
    wrapped = system.data.rows("test", 1.0)
    np.testing.assert_allclose(np.cos(wrapped.numpy()), np.cos(expected), atol=1e-5)
    assert ((wrapped >= 0) & (wrapped < 2 * np.pi)).all()


@pytest.mark.parametrize("scale", [0.4, -1.0, 1.7])
def test_reals(recorded, scale):
    system = recorded(scale * angles())
    assert (system.site_kind, system.levels) == ("real", ())
    assert "z2" not in system.symmetries


def test_shapes(recorded):
    array = random()
    assert recorded(array).lattice_shape == (4, 4)
    assert recorded(array.reshape(M, 16)).lattice_shape == (16,)
    assert recorded(array.reshape(M, 16)).symmetries == ("z2", "reflection")
    assert recorded(array.reshape(M, 16), shape=(2, 8)).lattice_shape == (2, 8)
    assert recorded(array.reshape(M, 1, 4, 4), shape=(4, 4)).lattice_shape == (4, 4)
    assert recorded(array, num_configurations=100).num_configurations == 100


@pytest.mark.parametrize("values", ["auto", "spin"])
@pytest.mark.parametrize("odd", [2, 7, np.nan, np.inf, -np.inf, 0.5, 0])
def test_odd_values_among_spins(refused, values, odd):
    array = random(dtype=np.float64)
    array[37, 2, 1] = array[50, 0, 0] = odd
    refused(array, "a.npy", "row 37", "site (2, 1)", f"{odd:g}", values=values)
    refused(array.reshape(M, 16), "row 37", "site 9", values=values)


def test_odd_values_in_later_chunks(refused, monkeypatch):
    monkeypatch.setattr("lightdan.data.recorded.recording.CHUNK", 160)
    array = random((0, 1))
    array[123, 3, 3] = 2
    refused(array, "holds 2 in row 123, site (3, 3)")
    refused(array, "holds 2 in row 123, site (3, 3)", values="spin")


@pytest.mark.parametrize(
    ("array", "kwargs", "words"),
    [
        (random((1,)), {}, ["only the value 1"]),
        (random(shape=()), {}, ["shape (400,)"]),
        (random(shape=(2, 2, 2)), {}, ["one or two axes", "set shape to (8,)"]),
        (random(num=0), {}, ["shape (0, 4, 4)", "no values"]),
        (random(shape=(1,)), {}, ["shape (400, 1)", "one value per row"]),
        (random(shape=(1, 1)), {"shape": (1,)}, ["one value per row"]),
        (random(), {"shape": (4, 5)}, ["shape (4, 5) has 20 sites", "16 values"]),
        (random(), {"shape": (2, 2, 2, 2)}, ["shape must be", "not (2, 2, 2, 2)"]),
        (random(), {"num_configurations": 401}, ["401", "400 rows"]),
        (random(), {"num_configurations": 0}, ["num_configurations is 0"]),
        (random(), {"temperature": [1.0, 2.0, 3.0]}, ["3 temperatures, but", "400 rows: set temp"]),
        (random(), {"boundary": "closed"}, ["'closed'"]),
        (random(), {"values": "spins"}, ["'spins'"]),
        (random(), {"max_memory_gb": -1.0}, ["max_memory_gb"]),
        (angles(), {"values": "spin"}, ["too many for spins"]),
        (angles(), {"values": "level"}, ["256 different values", "too many for levels", "bin them"]),
        (random(range(400), dtype=int), {"values": "level"}, ["too many for levels"]),
        (np.rad2deg(angles()), {"values": "angle"}, ["degrees", "set values to 'degrees'"]),
        (1e300 * angles(), {}, ["single precision"]),
        (1e8 + angles(), {}, ["near 1e+08", "differ by less than 6.28", "subtract a constant"]),
        (np.uint64(2**63) + (angles() < 3).astype(np.uint64), {}, ["9.22337e+18", "subtract"]),
    ],
)
def test_refused(refused, array, kwargs, words):
    refused(array, *words, **kwargs)


@pytest.mark.parametrize("array", [random((0, 1)), random((-2, 0, 2)), angles(), angles() - 9])
@pytest.mark.parametrize("suffix", [".npy", ".h5", ".pt", ".npz"])
def test_batches_do_not_depend_on_where_the_data_lie(tmp_path, array, suffix):
    path = write(tmp_path / f"a{suffix}", array.reshape(M, 16))
    systems = [
        Recorded(str(path), shape=(4, 4), max_memory_gb=size, batch_size=32) for size in (4.0, 0.0)
    ]
    for system in systems:
        system.setup()
    memory, disk = systems
    assert isinstance(memory.data.configurations, torch.Tensor)
    assert not isinstance(disk.data.configurations, torch.Tensor)
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        pairs = list(zip(getattr(memory, name)(), getattr(disk, name)(), strict=True))
        for one, other in pairs:
            assert one.configurations.dtype == other.configurations.dtype
            assert torch.equal(one.configurations, other.configurations)
            assert torch.equal(one.temperature, other.temperature)
    assert torch.equal(memory.data.rows("train", 1.0), disk.data.rows("train", 1.0))


def test_reals_whose_squares_overflow_single_precision(recorded):
    array = np.random.default_rng(0).normal(size=(M, 4, 4))
    times = []
    for scale in (1.0, 2.0**100):
        system = recorded(scale * array)
        system.setup()
        times.append(system.data.tau_int[0])
    assert times[0] == times[1]


@pytest.mark.parametrize(
    ("suffix", "size", "words"),
    [
        (".npy", 4.0, "MB in memory\n"),
        (".npz", 4.0, "MB in memory\n"),
        (".npy", 0.0, "MB, read from disk batch by batch\n"),
        (".npz", 0.0, "the whole file is loaded. Convert it to .npy"),
    ],
)
def test_report_where_the_data_lie(tmp_path, capsys, suffix, size, words):
    Recorded(str(write(tmp_path / f"a{suffix}", random())), max_memory_gb=size).setup()
    assert words in capsys.readouterr().out


def test_share_within():
    others = torch.tensor([2, 3, 10, 11])
    rows = torch.tensor([0, 5, 6, 13, 19])  # 2, 2, 3, 2 and 8 from the nearest
    assert [share_within(d, rows, others) for d in (1.9, 2.0, 3.5, 8.0)] == [0, 0.6, 0.8, 1]


def test_too_short_blocks_are_told(recorded):
    """Runs of equal rows are longer than a block, so the split cannot separate them."""
    with pytest.warns(UserWarning, match=r" \d+ % of the test rows") as caught:
        recorded(copied(0.98, 2000)).setup()
    text = str(caught[0].message)
    assert float(text.rpartition(" % ")[0].rpartition(" ")[2]) > 90


def test_correlated_rows(recorded):
    probability, num = 0.8, 20_000
    system = recorded(copied(probability, num), splits=(0.5, 0.25, 0.25))
    with pytest.warns(UserWarning, match=r"correlated.*contiguous blocks"):
        system.setup()
    tau = (1 + probability) / (2 * (1 - probability))
    assert system.data.tau_int[0] == pytest.approx(tau, rel=0.15)
    block = int(np.ceil(20 * system.data.tau_int[0]))
    owners = [set((rows // block).tolist()) for rows in system.data.indices.values()]
    assert sum(map(len, owners)) == len(set.union(*owners)) == -(-num // block)


def test_independent_rows(recorded, capsys):
    array = random(shape=(6, 6))
    array[100:103] = array[0]
    system = recorded(array)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        system.setup()
        system.setup("test")
    out = capsys.readouterr().out
    assert out.count("a.npy") == 1
    assert "400 configurations of 6 × 6 sites, open boundary" in out
    assert "repeat an earlier one: 3\n" in out
    assert system.data.tau_int[0] < 1


def test_slow_neighbours_are_seen(recorded):
    """The magnetisation of all rows is zero; two patterns follow each other in long runs."""
    stripes = np.indices((4, 4))
    patterns = np.array([1 - 2 * (stripes[0] % 2), 1 - 2 * (stripes.sum(0) % 2)])
    system = recorded(np.repeat(patterns[np.arange(20) % 2], 50, axis=0))
    with pytest.warns(UserWarning, match="product of neighbours"):
        system.setup()


def test_angles_slow_in_the_mean(recorded):
    rng = np.random.default_rng(0)
    drift = np.cumsum(rng.normal(0, 0.2, 2000))[:, None, None]
    system = recorded(np.mod(drift + 0.1 * rng.normal(size=(2000, 3, 3)), 2 * np.pi))
    with pytest.warns(UserWarning, match="mean"):
        system.setup()
    expected = autocorrelation_time(np.cos(drift.ravel())).value
    assert system.data.tau_int[0] > 0.5 * expected


def run(path, folder, *more):
    config = "configs/recorded/made.yaml"
    return main(
        [
            *("fit", "--config", config, "--data.init_args.path", str(path)),
            *("--trainer.max_epochs=1", "--trainer.accelerator=cpu"),
            *("--trainer.logger.init_args.save_dir", str(folder)),
            *more,
        ]
    )


def test_command_line(tmp_path):
    np.save(tmp_path / "spins.npy", random((0, 1), num=1000))
    assert run(tmp_path / "spins.npy", tmp_path, "--data.init_args.max_memory_gb=0") == 0
    results = {path.stem: json.loads(path.read_text()) for path in tmp_path.rglob("measurements/*.json")}
    assert set(results) == {"hamiltonian", "symmetry", "observables", "baselines"}
    assert "nll" in json.dumps(results["hamiltonian"])


def test_command_line_names_the_culprit(tmp_path, capsys):
    array = random(dtype=float)
    array[5] = np.nan
    np.save(tmp_path / "spins.npy", array)
    assert run(tmp_path / "spins.npy", tmp_path) == 2
    assert "row 5, site (0, 0)" in capsys.readouterr().err
    (tmp_path / "spins.npy").write_bytes(b"\x93NUMPY")
    assert run(tmp_path / "spins.npy", tmp_path) == 2
    error = capsys.readouterr().err
    assert "spins.npy is truncated" in error
    assert error.count("\n") == 1


HALVES = (-1.5, -0.5, 0.5, 1.5)
CLOCK = 2 * np.pi * np.arange(6) / 6
FEW = {
    "half integers": (HALVES, (-3, -1, 1, 3)),
    "integer multiples": ((0.1, 0.3, 0.7), (1, 3, 7)),
    "quarters": ((0, 0.25, 0.75, 1.0), (0, 1, 3, 4)),
    "many multiples": (tuple(np.arange(40) / 8), tuple(range(40))),
    "irrational": ((-np.sqrt(2), -1, 1, np.sqrt(2)), (-2, -1, 1, 2)),
    "without an order": ((0.1234, 1.999, 7.77), (0, 1, 2)),
}


@pytest.mark.parametrize(("dtype", "values"), [(np.float32, "auto"), (np.float64, "level")])
@pytest.mark.parametrize("name", FEW)
def test_few_values_are_levels_with_physical_values(recorded, name, dtype, values):
    physical, levels = FEW[name]
    array = random(physical, num=M, dtype=dtype)
    noisy = array * (1 + 3e-7 * random((-1, 0, 1), dtype=float, seed=1))  # as computed in two ways
    system = recorded(noisy, values=values)
    assert (system.site_kind, system.levels) == ("level", levels)
    assert system.level_values == pytest.approx(physical, rel=1e-6)
    assert ("z2" in system.symmetries) == (physical[0] == -physical[-1])
    system.setup()
    rows = system.data.rows("test", 1.0)
    expected = array[system.data.indices["test"]]
    np.testing.assert_allclose(system.physical(rows.double()), expected, rtol=1e-6)
    observables = system.observables(1.0)
    np.testing.assert_allclose(
        observables["magnetization"](rows), expected.mean((1, 2)), rtol=1e-6, atol=1e-6
    )
    assert system.checked(rows).shape == rows.shape


@pytest.mark.parametrize(
    ("states", "turn"), [(3, -np.pi), (4, np.pi / 6), (6, 0.0), (12, -np.pi), (64, np.pi / 6), (64, 0.0)]
)
def test_angles_of_a_clock_are_levels(recorded, states, turn):
    levels = random(range(states), shape=(4, 4))
    angles = 2 * np.pi * levels / states + turn
    angles = np.mod(angles, 2 * np.pi) if turn >= 0 else angles
    angles += 1e-9 * random((-1, 1), shape=(4, 4))  # some are just below 0
    system = recorded(angles)
    assert (system.site_kind, system.clock) == ("level", True)
    assert system.levels == tuple(range(states))
    system.setup()
    rows = system.data.rows("test", 1.0).double()
    expected = np.exp(1j * angles[system.data.indices["test"]])
    np.testing.assert_allclose(np.exp(1j * system.physical(rows).numpy()), expected, atol=1e-6)
    magnetization = system.observables(1.0)["abs_magnetization"](rows)
    np.testing.assert_allclose(magnetization, np.abs(expected.mean((1, 2))), atol=1e-6)
    assert recorded(angles, values="angle").site_kind == "angle"


def test_a_clock_from_phases_and_from_text(recorded, tmp_path):
    states = random(range(6), shape=(10,))
    assert recorded(np.exp(2j * np.pi * states / 6).astype(np.complex64)).levels == tuple(range(6))
    np.savetxt(tmp_path / "a.txt", 2 * np.pi * states / 6, "%.2f")
    system = Recorded(str(tmp_path / "a.txt"))
    assert (system.levels, system.clock) == (tuple(range(6)), True)


def test_values_that_repeat_are_told(recorded, capsys):
    for kind, array in {"real": random(HALVES, dtype=float), "angle": CLOCK[random(range(6))]}.items():
        recorded(array, values=kind).setup()
        assert "set values to 'level'" in capsys.readouterr().out


@pytest.mark.parametrize("array", [angles(), angles().round(2), random(HALVES, num=1, dtype=float)])
def test_values_that_do_not_repeat_are_no_levels(recorded, array):
    assert recorded(array).site_kind != "level" or array.size < 50


def one(value, array=None):
    array = angles() if array is None else array.copy()
    array[37, 1, 2] = value
    return array


NEARLY = {
    "below 0": one(-1e-6),
    "above 2π": one(2 * np.pi + 1e-3),
    "rounded": one(-1e-3, angles().round(3)),
    "below −π": one(-np.pi - 1e-6, angles() - np.pi),
    "single precision": one(-1e-6).astype(np.float32),
}


@pytest.mark.parametrize("name", NEARLY)
def test_angles_that_leave_the_circle_by_round_off(recorded, capsys, name):
    system = recorded(NEARLY[name])
    system.setup()
    assert system.site_kind == "angle"
    assert "taken modulo 2π (the first outside [0, 2π) is" in capsys.readouterr().out
    expected = NEARLY[name][system.data.indices["test"]]
    np.testing.assert_allclose(system.data.rows("test", 1.0).cos().numpy(), np.cos(expected), atol=1e-5)


@pytest.mark.parametrize("value", [-0.5, 7.0, 999.0, -99.0])
@pytest.mark.parametrize("middle", [0, np.pi])
def test_a_few_values_outside_the_circle(refused, recorded, value, middle):
    value = value - middle * (abs(value) < 9)
    array = one(value, np.random.default_rng(0).uniform(-middle, 2 * np.pi - middle, (2000, 4, 4)))
    refused(array, "row 37, site (1, 2)", f"{value:g}", "1 values in all", "set values to 'angle'")
    assert recorded(array, values="angle").site_kind == "angle"
    assert recorded(array, values="real").site_kind == "real"


def test_unwrapped_angles(recorded, capsys):
    array = np.unwrap(angles().reshape(M, 16), axis=1) + 40
    recorded(array).setup()
    assert "angles need values: angle" in capsys.readouterr().out
    system = recorded(array, values="angle")
    system.setup()
    expected = np.cos(angles().reshape(M, 16) + 40)[system.data.indices["test"]]
    np.testing.assert_allclose(system.data.rows("test", 1.0).cos().numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("low", [0.0, -180.0])
@pytest.mark.parametrize("digits", [9, 1, 0])
def test_degrees(recorded, refused, low, digits):
    degrees = (np.mod(np.rad2deg(angles()) - low, 360) + low).round(digits)
    refused(degrees, "degrees", "set values to 'degrees'")
    system = recorded(degrees, values="degrees")
    system.setup()
    assert system.site_kind == "angle"
    expected = np.cos(np.deg2rad(degrees))[system.data.indices["test"]]
    np.testing.assert_allclose(system.data.rows("test", 1.0).cos().numpy(), expected, atol=1e-5)


ORDINARY = {
    "normal": (np.random.default_rng(0).normal(size=(M, 4, 4)), "real"),
    "narrow": (np.random.default_rng(0).normal(0, 0.8, (M, 4, 4)), "real"),
    "exponential": (np.random.default_rng(0).exponential(1.0, (M, 4, 4)), "real"),
    "gamma": (np.random.default_rng(0).gamma(4, 0.5, (M, 4, 4)), "real"),
    "percent": (np.random.default_rng(0).uniform(0, 100, (M, 4, 4)), "real"),
    "counts": (np.random.default_rng(0).poisson(3, (M, 4, 4)), "level"),
    "unit interval": (np.random.default_rng(0).random((M, 4, 4)), "real"),
    "ordered angles": (np.mod(np.random.default_rng(0).normal(0, 0.3, (M, 4, 4)), 2 * np.pi), "angle"),
    "angles to 3 digits": (angles().round(3), "angle"),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_values_raise_no_question(recorded, name):
    array, kind = ORDINARY[name]
    assert recorded(array).site_kind == kind


def test_equal_rows_are_refused(recorded):
    """Nothing can be learned from one configuration, whatever its sites."""
    system = recorded(np.tile(np.array([1, -1, 1, 1], np.int8), (500, 1)))
    with pytest.raises(ValueError, match=r"All 500 rows of the file .* are the same"):
        system.setup()


def test_letters_are_named(tmp_path, capsys):
    letters = random(range(4), shape=(12,))
    path = tmp_path / "a.fasta"
    lines = (f">{k}\n{''.join('-ACD'[x] for x in row)}\n" for k, row in enumerate(letters))
    path.write_text("".join(lines))
    system = Recorded(str(path))
    system.setup()
    assert (system.levels, system.level_names) == ((0, 1, 2, 3), ("-", "A", "C", "D"))
    assert "4 levels, named -, A, C, D" in capsys.readouterr().out
    (shares,) = [finding.sentence for finding in system.findings if finding.name == "levels"]
    assert re.fullmatch("-: .* %, A: .* %, C: .* %, D: .* %", shares)
    path.with_suffix(".txt").write_text("\n".join("".join("ab"[x % 2] for x in row) for row in letters))
    system = Recorded(str(path.with_suffix(".txt")))
    system.setup()
    assert system.site_kind == "spin"
    assert "b is +1, a is −1" in capsys.readouterr().out


@pytest.mark.parametrize("num", [50, 400, 1000])
def test_rows_too_few_to_tell_their_correlation(recorded, capsys, num):
    """Rows last 1 to 25 autocorrelation times of 40 rows."""
    system = recorded(copied(79 / 81, num), splits=(0.4, 0.3, 0.3))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        system.setup()
    words = re.compile(r"correlated.*≥ .* rows .*too few rows to tell")
    assert any(words.search(str(warning.message)) for warning in caught)
    assert "effective configurations" in capsys.readouterr().out
    told = len(system.blocks("test", 1.0).starts) > 1
    assert ("errors are lower bounds" in system.data.doubts[-1]) is told
    assert ("averages have no error" in system.data.doubts[-1]) is not told


def test_ten_rows_are_no_doubt(recorded, capsys):
    """Independent rows that are few show no correlation, but do not prove that there is none."""
    system = recorded(random(num=10), splits=(0.4, 0.3, 0.3))
    system.setup()
    assert "too few rows to tell" in capsys.readouterr().out
    assert not system.data.doubts


@pytest.mark.parametrize(("low", "states"), [(0, 3), (0, 6), (-180, 4), (-120, 3), (-135, 4), (0, 36)])
def test_clocks_in_degrees(recorded, low, states):
    steps = np.random.default_rng(0).integers(0, states, (M, 4, 4))
    system = recorded(low + 360 // states * steps)
    assert system.clock
    assert system.levels == tuple(range(states))
    expected = np.deg2rad(low + 360 / states * np.arange(states))
    np.testing.assert_allclose(system.level_values, expected)
    system.setup()
    np.testing.assert_array_equal(
        system.data.rows("test", 1.0).numpy(), steps[system.data.indices["test"]]
    )
    kept = recorded(low + 360 // states * steps, values="level")
    assert kept.levels[0] == low


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(0, 1, "angle"), (-0.5, 0.5, "angle"), (-2, 2, "angle"), (0, 4, "angle"), (0, 180, "degrees")],
)
def test_half_a_turn_and_two(recorded, refused, low, high, kind):
    unit = np.pi if kind == "angle" else 1.0
    array = np.random.default_rng(0).uniform(low, high, (2000, 4, 4)) * unit
    refused(array, f"set values to '{kind}'", "'real' if they are no angles")
    assert recorded(array, values="real").site_kind == "real"
    assert recorded(0.95 * array).site_kind == "real"


@pytest.mark.parametrize(("kind", "signed"), [("u1", "i1"), ("u2", "i2")])
@pytest.mark.parametrize("values", [(-1, 1), (-1, 0, 1), (-2, -1, 1, 2)])
def test_integers_without_a_sign(recorded, refused, kind, signed, values):
    array = random(values, dtype=signed)
    refused(array.astype(kind), "like −1 without a sign", "write signed integers")
    assert recorded(array).levels == values
    assert recorded(random((0, 255), dtype="u1")).site_kind == "spin"


@pytest.mark.parametrize("mark", [-999, 9999])
def test_marks_of_missing_values(recorded, refused, mark):
    array = np.random.default_rng(0).normal(size=(M, 4, 4))
    array[7, 1, 2] = mark
    refused(array, f"{mark} in row 7, site (1, 2)", "the mark of a missing value")
    assert recorded(array, values="real").site_kind == "real"
    assert recorded(1000 * array.clip(-1, 1) - 1).site_kind == "real"


def test_three_axes_and_bytes(recorded, refused, capsys):
    lattice = random(shape=(3, 3, 3))
    refused(lattice, "lattices have one or two axes", "set shape to (27,)")
    packed = np.packbits(random((0, 1), (64,)), axis=1)
    recorded(packed).setup()
    assert "shape to that of the lattice if each byte holds eight sites" in capsys.readouterr().out
