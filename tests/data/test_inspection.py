"""Inspection of configurations of known symmetry, lattice and boundary."""

import numpy as np
import pytest
from scipy.stats import kstest

from lightdan.data.inspection.blocks import SiteBlocks, sign_flip_test
from lightdan.data.inspection.copies import share_of_copies
from lightdan.data.inspection.inspection import Sites, brief, inspect_rows
from lightdan.data.inspection.pairs import correlated_pairs, recognise_lattice, some_pairs
from lightdan.data.inspection.symmetries import bond_test, flip_tests, site_test

KEPT = 9 / 11
"""Probability to repeat the row before that gives an autocorrelation time of 5 rows."""


def fields(random, num, shape=(6, 6), length=1.0):
    """Return Gaussian fields on a torus, independent and invariant under translation and φ → −φ."""
    waves = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(side) for side in shape), indexing="ij")
    stiffness = sum(2 - 2 * np.cos(wave) for wave in waves) + length**-2
    noise = random.normal(size=(num, *shape))
    axes = tuple(range(1, len(shape) + 1))
    return np.fft.ifftn(np.fft.fftn(noise, axes=axes) / np.sqrt(stiffness), axes=axes).real


def spins(random, num, shape=(6, 6), length=1.0, field=0.0):
    values = fields(random, num, shape, length)
    return np.where(values > -field * values.std(), 1, -1).astype(np.int8)


def repeated(random, rows, kept=KEPT):
    """Return a chain that repeats its row with probability `kept`, with τ = (1+kept)/2(1−kept)."""
    new = random.random(len(rows)) >= kept
    new[0] = True
    return rows[np.flatnonzero(new)[np.cumsum(new) - 1]]


def ising(random, num, shape, temperature, *, periodic, sweeps=50):
    """Return independent configurations by the heat bath."""
    s = random.choice([-1.0, 1.0], (num, *shape))
    odd = np.indices(shape).sum(0) % 2
    for parity in np.arange(2 * sweeps) % 2:
        around = np.zeros_like(s)
        for axis in (1, 2):
            for shift in (1, -1):
                moved = np.roll(s, shift, axis)
                if not periodic:
                    np.moveaxis(moved, axis, 0)[0 if shift == 1 else -1] = 0
                around += moved
        up = random.random(s.shape) < 1 / (1 + np.exp(-2 * around / temperature))
        s = np.where(odd == parity, np.where(up, 1.0, -1.0), s)
    return s.astype(np.int8)


def graph(random, num, sites=15):
    """Return spins with random correlations between all pairs."""
    mixing = random.normal(size=(sites, sites)) * (random.random((sites, sites)) < 0.4)
    return np.where(random.normal(size=(num, sites)) @ (mixing + np.eye(sites)) > 0, 1, -1)


def blocks_of(rows, kind="spin", levels=(-1, 1), tau=0.5):
    return SiteBlocks.of(rows, kind, levels, tau, 10_000_000)


def p_values(random, tau, kind="spin"):
    rows = (spins if kind == "spin" else fields)(random, 1000)
    blocks = blocks_of(rows if tau == 0.5 else repeated(random, rows), kind, tau=tau)
    return *flip_tests(blocks).values(), site_test(blocks), bond_test(blocks, (6, 6), wrap=True)


@pytest.mark.parametrize("tau", [0.5, 5.0])
@pytest.mark.parametrize(
    ("kind", "sets"), [("spin", 20), pytest.param("real", 100, marks=pytest.mark.slow)]
)
def test_p_values_are_uniform_if_the_symmetry_holds(tau, kind, sets):
    random = np.random.default_rng(1)
    table = np.array([p_values(random, tau, kind) for _ in range(sets)])
    for column in table.T:
        assert kstest(column, "uniform").pvalue > 0.01


def test_sign_flips_agree_with_all_of_them():
    """Compare with the enumeration of all 2^10 signs."""
    blocks = np.random.default_rng(0).normal(0.3, 1.0, (10, 3))
    signs = 1 - 2 * (np.arange(1024)[:, None] >> np.arange(10) & 1)
    totals = ((signs @ blocks) ** 2).sum(1)
    exact = (totals >= totals[0] * (1 - 1e-9)).mean()
    assert sign_flip_test(blocks) == pytest.approx(exact, abs=4 * np.sqrt(exact / 20_000))


def test_field_breaks_the_flip_but_not_the_translation():
    blocks = blocks_of(spins(np.random.default_rng(2), 1000, field=0.15))
    assert min(flip_tests(blocks).values()) < 1e-3
    assert min(site_test(blocks), bond_test(blocks, (6, 6), wrap=True)) > 0.01


def test_staggered_field_breaks_the_flip_of_single_sites():
    rows = spins(np.random.default_rng(2), 1000, length=0.3)
    staggered = 1 - 2 * (np.indices((6, 6)).sum(0) % 2)
    rows = np.where(np.random.default_rng(3).random(rows.shape) < 0.1, staggered, rows)
    tests = flip_tests(blocks_of(rows))
    assert tests["sites"] < 1e-3 < 0.01 < tests["mean"]


def test_glass_has_unequal_bonds_but_equal_sites():
    random = np.random.default_rng(4)
    rows = spins(random, 2000, length=1.5) * random.choice([-1, 1], (6, 6))
    blocks = blocks_of(rows)
    assert bond_test(blocks, (6, 6), wrap=True) < 1e-3
    assert site_test(blocks) > 0.01
    lattice = recognise_lattice(blocks, (6, 6))
    assert lattice.ordered == [True, True]
    assert lattice.boundary == "periodic"


def test_one_different_site_is_seen():
    rows = spins(np.random.default_rng(5), 2000)
    rows[:, 2, 3] = np.where(np.random.default_rng(0).random(2000) < 0.3, 1, rows[:, 2, 3])
    assert site_test(blocks_of(rows)) < 1e-3


@pytest.mark.parametrize(("shape", "temperature"), [((8, 8), 2.4), ((6, 10), 2.6), ((8, 4), 2.8)])
@pytest.mark.parametrize("periodic", [True, False])
def test_lattice_of_an_ising_model(shape, temperature, periodic):
    rows = ising(np.random.default_rng(6), 1000, shape, temperature, periodic=periodic)
    for form in (rows, rows.reshape(1000, -1)):
        lattice = recognise_lattice(blocks_of(form), form.shape[1:])
        assert lattice.shape == shape
        assert lattice.ordered == [True, True]
        assert lattice.boundary == ("periodic" if periodic else "open")


@pytest.mark.parametrize("kind", ["real", "angle", "level"])
def test_lattice_of_other_sites(kind):
    values = fields(np.random.default_rng(7), 1500, (6, 6), 2.0)
    rows = {
        "real": 300 + 0.1 * values,
        "angle": values % (2 * np.pi),
        "level": np.digitize(values, [-0.5, 0.5]),
    }
    blocks = blocks_of(rows[kind].reshape(1500, 36), kind, (0, 1, 2) if kind == "level" else ())
    lattice = recognise_lattice(blocks, (36,))
    assert (lattice.shape, lattice.boundary) == ((6, 6), "periodic")


@pytest.mark.parametrize("periodic", [True, False])
def test_chain(periodic):
    rows = spins(np.random.default_rng(8), 1500, (32,), 3.0)
    rows = rows if periodic else rows[:, :24]
    lattice = recognise_lattice(blocks_of(rows), rows.shape[1:])
    assert lattice.shape == rows.shape[1:]
    assert lattice.ordered == [True]
    assert lattice.boundary == ("periodic" if periodic else "open")


@pytest.mark.parametrize(
    ("period", "boundary"), [(16 / 5, "periodic"), (16 / 7, "periodic"), (5, "open")]
)
def test_stripes(period, boundary):
    """Distant sites of stripes are correlated more than neighbours."""
    random = np.random.default_rng(21)
    phase = 2 * np.pi * (random.random((3000, 1)) + np.arange(16) / period)
    rows = np.where(3 * np.cos(phase) + random.normal(size=(3000, 16)) > 0, 1, -1)
    lattice = recognise_lattice(blocks_of(rows), (16,))
    assert (lattice.ordered, lattice.boundary) == ([True], boundary)


@pytest.mark.parametrize("length", [1.0, 4.0, 30.0])
def test_long_chains_are_no_rectangles(length):
    rows = fields(np.random.default_rng(23), 2000, (64,), length)
    lattice = recognise_lattice(blocks_of(rows, "real"), (64,))
    assert (lattice.shape, lattice.ordered) == ((64,), [True])
    assert lattice.boundary in ("periodic", "unknown")


def test_stripes_on_a_line_are_no_rectangle():
    random = np.random.default_rng(24)
    phase = 2 * np.pi * (random.random((2000, 1)) + np.arange(40) / 5)
    rows = np.where(np.cos(phase) + 0.5 * random.normal(size=(2000, 40)) > 0, 1, -1)
    assert recognise_lattice(blocks_of(rows), (40,)).shape == (40,)


def test_short_ring_with_weak_bonds():
    rows = fields(np.random.default_rng(25), 10_000, (10,), 0.6)
    lattice = recognise_lattice(blocks_of(rows, "real"), (10,))
    assert (lattice.ordered, lattice.boundary) == ([True], "periodic")


def test_axes_together_tell_what_single_ones_do_not():
    rows = ising(np.random.default_rng(0), 300, (6, 6), 3.0, periodic=True)
    assert findings(rows, boundary="periodic")["boundary"].sentence.startswith("periodic")


def test_cylinder_has_no_single_boundary():
    rows = spins(np.random.default_rng(8), 1500, (8, 16))[:, :, :8]
    assert recognise_lattice(blocks_of(rows), (8, 8)).boundary == "unknown"
    found = findings(rows)["boundary"]
    assert found.sentence.startswith("not clear")
    assert not found.option


def test_independent_sites_tell_nothing():
    rows = np.random.default_rng(20).choice([-1, 1], (2000, 8, 8))
    blocks = blocks_of(rows)
    assert correlated_pairs(blocks) == (0, 2016)
    for shape in ((8, 8), (64,)):
        lattice = recognise_lattice(blocks, shape)
        assert (lattice.shape, lattice.boundary) == (shape, "unknown")
        assert not any(lattice.ordered)


@pytest.mark.parametrize("sets", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_random_graph_is_no_lattice(sets):
    random = np.random.default_rng(10)
    for _ in range(sets):
        rows = graph(random, 1000, random.choice([9, 15, 16, 36]))
        blocks = blocks_of(rows)
        lattice = recognise_lattice(blocks, rows.shape[1:])
        assert correlated_pairs(blocks)[0] > 0
        assert (lattice.shape, lattice.boundary) == (rows.shape[1:], "unknown")
        assert not any(lattice.ordered)


def test_correlations_are_those_of_numpy():
    rows = graph(np.random.default_rng(11), 640, 12)
    pairs = np.stack(np.triu_indices(12, 1), axis=1)
    expected = np.corrcoef(rows.T)[pairs[:, 0], pairs[:, 1]]
    np.testing.assert_allclose(blocks_of(rows).correlations(pairs).mean(0), expected, atol=1e-5)


def test_products_of_many_sites_agree_with_those_of_few(monkeypatch):
    blocks = blocks_of(spins(np.random.default_rng(12), 640))
    pairs = np.array([[0, 1], [5, 30], [35, 0]])
    expected = blocks.products(pairs)
    monkeypatch.setattr("lightdan.data.inspection.blocks.MAX_GRAM_SITES", 10)
    np.testing.assert_allclose(blocks.products(pairs), expected, atol=1e-6)


def findings(rows, kind="spin", levels=(-1, 1), tau=0.5, boundary="open", **more):
    sites = Sites(kind, levels, rows.shape[1:], boundary)
    return {finding.name: finding for finding in inspect_rows(rows, sites, tau, **more)}


def test_options_are_what_is_set_differently():
    rows = spins(np.random.default_rng(13), 1000, (8, 8))
    found = findings(rows.reshape(1000, 64))
    assert found["shape"].option == "--data.init_args.shape '[8, 8]'"
    assert found["boundary"].option == "--data.init_args.boundary periodic"
    assert found["bonds"].p_value > 0.01
    assert not findings(rows, boundary="periodic")["boundary"].option
    window = rows[:, :6, :6]
    assert findings(window, boundary="periodic")["boundary"].option.endswith(" open")
    for boundary in ("open", "window"):
        assert not findings(window, boundary=boundary)["boundary"].option


def test_conserved_means_have_no_error():
    """The sum of each row is fixed, so that its mean is known and not ± 0."""
    rng = np.random.default_rng(15)
    half = rng.permuted(np.tile([1, 1, 1, -1, -1, -1], (500, 1)), axis=1).astype(np.int8)
    assert findings(half)["up"].sentence == "50 % of the spins, the same in all rows"
    shares = findings(half, "level")["levels"].sentence
    assert shares == "-1: 50 %, 1: 50 %, the same in all rows"
    fields = rng.normal(size=(500, 6)).astype(np.float32)
    fields += 2 - fields.mean(1, keepdims=True)
    mean = findings(fields, "real", ())["mean"].sentence
    assert mean.startswith("2, the same in all rows, with a standard deviation of 0.9")
    assert "same" not in findings(spins(rng, 500))["up"].sentence


def test_short_chains_are_not_tested():
    found = findings(spins(np.random.default_rng(14), 500), tau=5.0)
    assert found.keys() == {"tests"}
    assert "from 800 rows on" in found["tests"].sentence
    assert "up" in findings(spins(np.random.default_rng(14), 800), tau=5.0)


@pytest.mark.parametrize("num", [1, 2, 7, 79])
def test_few_rows(num):
    assert findings(spins(np.random.default_rng(15), num))["tests"].sentence.startswith("none")


def test_long_files_are_sampled_along_their_length():
    rows = spins(np.random.default_rng(16), 4000)
    rows[:2000] = 1
    rows[2000:] = -1
    rows[::5, 0, 0] *= -1
    found = findings(rows, max_values=64 * 10 * 36)
    assert found["looked at"].sentence.startswith("640 of 4000 rows, in 64 blocks")
    assert float(found["up"].sentence.partition("(")[0]) == pytest.approx(50, abs=0.1)


def test_means_in_the_units_of_the_file():
    values = 300 + 0.5 * np.random.default_rng(17).normal(size=(1600, 20))
    mean, deviation = findings(values, "real", ())["mean"].sentence.split(
        ", with a standard deviation of "
    )
    assert float(mean.partition("(")[0]) == pytest.approx(300, abs=0.02)
    assert float(deviation) == pytest.approx(0.5, abs=0.01)
    assert findings(values, "real", ())["flip"].p_value < 1e-3
    assert findings(values - 300, "real", ())["flip"].p_value > 0.01


def test_flip_of_levels():
    random = np.random.default_rng(18)
    even = random.choice([-1, 0, 1], (1000, 12))
    odd = random.choice([-1, 0, 1], (1000, 12), p=[0.3, 0.3, 0.4])
    assert findings(even, "level", (-1, 0, 1))["flip"].p_value > 0.01
    assert findings(odd, "level", (-1, 0, 1))["flip"].p_value < 1e-3
    assert "flip" not in findings(even + 1, "level", (0, 1, 2))


@pytest.mark.parametrize(
    "copy",
    [
        lambda random, rows: np.concatenate([rows, rows]),
        lambda random, rows: rows[random.integers(0, 500, 20_000)],
        lambda random, rows: np.concatenate([rows, rows[:40]]),
    ],
)
def test_copies_are_told_from_frequent_states(copy):
    random = np.random.default_rng(22)
    copies = copy(random, spins(random, 500))
    expected = 1 - len(np.unique(copies.reshape(-1, 36), axis=0)) / len(copies)
    assert share_of_copies(copies, 0.5, (-1, 1)) == pytest.approx(expected)
    found = findings(copies)
    assert f"{100 * expected:.2g} %" in found["copies"].sentence
    assert "copies" not in findings(copies, counted=True)
    assert min(found[name].p_value for name in ("flip", "sites", "bonds")) > 0.001
    for temperature in (2.0, 3.0, 5.0):
        rows = ising(random, 1000, (4, 4), temperature, periodic=True, sweeps=30)
        assert share_of_copies(rows, 0.5, (-1, 1)) == 0
    assert share_of_copies(repeated(random, spins(random, 2000)), 5.0, (-1, 1)) == 0


def test_constant_sites_are_named():
    rows = spins(np.random.default_rng(19), 400)
    rows[:, 1, 2] = 1
    found = findings(rows)
    assert found["constant sites"].sentence.startswith("(1, 2): ")
    assert any("(1, 2)" in line for line in brief([*found.values()]))


@pytest.mark.parametrize("num", [1, 2, 3, 141, 142, 5_000_000])
def test_pairs_of_many_sites_are_drawn_without_a_list_of_all(num):
    pairs = some_pairs(num, 0)
    assert len(np.unique(pairs, axis=0)) == min(10_000, num * (num - 1) // 2)
    assert ((pairs[:, 0] >= 0) & (pairs[:, 0] < pairs[:, 1]) & (pairs[:, 1] < num)).all()
