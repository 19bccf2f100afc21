"""Rows in equilibrium pass, correlated or not; drifts, first rows and interleaved chains are named."""

import math
import re
import warnings

import numpy as np
import pytest

from lightdan import Recorded
from lightdan.data.recorded.drifts import truncation, unlike_first
from lightdan.data.recorded.equilibrium import Examination, examine
from lightdan.data.recorded.recording import Correlation, is_one_way

SHAPE = (4, 4)
KINDS = ("spin", "level", "angle", "real")


def fields(num, tau, rng, chains=1):
    """Draw AR(1) chains of Gaussian fields with a common part, `(chains, num, 4, 4)`."""
    phi = (2 * tau - 1) / (2 * tau + 1)
    noise = rng.normal(size=(num, chains, *SHAPE)) + rng.normal(size=(num, chains, 1, 1))
    noise[1:] *= math.sqrt(1 - phi**2)
    for step in range(1, num):
        noise[step] += phi * noise[step - 1]
    return noise.swapaxes(0, 1)


def configurations(kind, x):
    """Return sites of a kind that follow fields."""
    if kind == "spin":
        return np.where(x > 0, 1, -1).astype(np.int8)
    if kind == "level":
        return np.digitize(x, [-1, 0.5]).astype(np.int8)
    return np.mod(x, 2 * np.pi) if kind == "angle" else x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tau", [0.5, 5.0, 20.0])
def test_rows_in_equilibrium_pass(kind, tau):
    rng = np.random.default_rng(1)
    sets = configurations(kind, fields(1000, tau, rng, 4))
    assert [examine(rows, kind).sentences for rows in sets] == 4 * [[]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tau", [0.5, 5.0])
def test_half_old_half_new_is_named(kind, tau):
    """The sites of the second half have the same distribution one by one, but no common part."""
    rng = np.random.default_rng(2)
    x = fields(1000, tau, rng, 2)
    x[:, 500:] = math.sqrt(2) * rng.normal(size=(2, 500, *SHAPE))
    for rows in configurations(kind, x):
        found = examine(rows, kind)
        assert not found
        assert "not in equilibrium" in found.sentences[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_a_quench_is_named(kind, share):
    """The order of the first row decays over a share of the rows."""
    rng = np.random.default_rng(4)
    decay = np.exp(-np.arange(1000) / (share * 1000))[:, None, None]
    for x in fields(1000, 1.0, rng, 2):
        rows = configurations(kind, (1 - decay) * x + decay * np.array([[4.0]]))
        assert not examine(rows, kind)


def examined(rows, kind):
    """Return the correlation of rows."""
    examination = Examination(len(rows), kind)
    examination.add(0, rows)
    return Correlation.of(examination, np.arange(len(rows)))


def states(kind, number):
    """Return ordered sites in one of two states that a symmetry turns into each other."""
    sites = {"spin": (1, -1), "level": (0, 2), "angle": (0.5, 2.5), "real": (1.5, -1.5)}[kind]
    return np.full(SHAPE, sites[number])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [1, 2, 3])
def test_rare_changes_between_symmetric_states_are_no_drift(kind, changes):
    """A tenth of the sites of each row, or noise, differ from the state of that part of the file."""
    rng = np.random.default_rng(changes)
    state = (np.arange(1000) * (changes + 1) // 1000) % 2
    rows = np.stack([states(kind, number) for number in state]).astype(float)
    turned = {"spin": -rows, "level": np.ones_like(rows)}.get(kind, rows)
    rows = np.where(rng.random(rows.shape) < 0.1, turned, rows)
    if kind in ("angle", "real"):
        rows = rows + rng.normal(0, 0.3, rows.shape)
    found = examined(rows, kind)
    assert not found.equilibrium.drifts
    assert any("too few to tell how far" in doubt for doubt in found.doubts)
    if changes == 1:
        (sentence,) = found.equilibrium.sentences
        assert "change between states too seldom" in sentence
        assert "They do so once" in sentence


def test_rare_changes_of_a_pattern_are_no_drift():
    """The staggered magnetisation changes its sign; the mean of a row is zero."""
    rng = np.random.default_rng(0)
    pattern = (
        np.where(np.indices(SHAPE).sum(0) % 2, 1, -1)
        * np.where(np.arange(1000) < 500, 1, -1)[:, None, None]
    )
    found = examine(np.where(rng.random(pattern.shape) < 0.1, -pattern, pattern), "spin")
    assert not found.drifts
    (change,) = found.seldom
    assert (change.name, change.changes) == ("means of the sites", 1)


@pytest.mark.parametrize("scale", [5, 20, 100])
def test_truncation_leaves_out_what_has_not_decayed(scale):
    """Noise of a tenth hides what is left of the first row after 2.3 times the decay time."""
    rng = np.random.default_rng(scale)
    series = np.exp(-np.arange(2000) / scale) + rng.normal(0, 0.1, 2000)
    assert 1.5 * scale < truncation(series) < 5 * scale
    assert truncation(rng.normal(size=2000)) < 1000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("tau", "num"), [(20, 60), (20, 400), (5, 100)])
def test_files_shorter_than_fifty_times_say_so(kind, tau, num):
    rng = np.random.default_rng(3)
    for rows in configurations(kind, fields(num, tau, rng, 3)):
        doubts = examined(rows, kind).doubts
        assert any("too few to tell how far they are correlated" in doubt for doubt in doubts)


def test_a_drift_of_single_sites_is_named():
    """Neither the mean nor the products of neighbours change on average."""
    rng = np.random.default_rng(5)
    sites = np.where(np.indices(SHAPE).sum(0) % 2, 0.4, -0.4) * rng.choice([-1, 1], SHAPE)
    x = rng.normal(size=(1000, *SHAPE)) + np.linspace(-1, 1, 1000)[:, None, None] * sites
    (sentence,) = examine(configurations("spin", x), "spin").sentences
    assert "sites" in sentence or "neighbours" in sentence


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("period", [2, 7, 50])
def test_interleaved_chains_are_named(kind, period):
    x = fields(2000 // period, 3.0, np.random.default_rng(6), period)
    rows = configurations(kind, x.swapaxes(0, 1).reshape(-1, *SHAPE))
    found = examine(rows, kind)
    assert found.period == period
    assert f"Rows {period} apart are alike" in " ".join(found.sentences)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_written_twice_are_named(kind):
    rows = configurations(kind, fields(500, 0.5, np.random.default_rng(7))[0])
    found = examine(np.concatenate([rows, rows]), kind)
    assert (found.period, found.overlap) == (500, pytest.approx(1.0, abs=0.02))


@pytest.mark.parametrize("rows", [np.ones((1, 4)), np.ones((100, 4)), np.eye(4)[[0, 1] * 30]])
def test_rows_that_say_nothing(rows):
    assert examine(rows, "real").drifts == ()


def test_warning_names_the_drift_and_the_report_keeps_it(tmp_path):
    x = fields(1000, 0.5, np.random.default_rng(8))[0]
    x[500:] *= 1.5
    np.save(tmp_path / "rows.npy", x)
    system = Recorded(str(tmp_path / "rows.npy"), values="real")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        system.setup()
    drift = re.compile(r"rows.npy: .*not in equilibrium.*squared difference of neighbours is")
    assert any(drift.search(str(warning.message)) for warning in caught)
    assert "leave out the rows" in system.data.doubts[0]


def test_interleaved_chains_are_worth_less_than_their_rows(tmp_path, capsys):
    x = fields(100, 5.0, np.random.default_rng(9), 40)
    np.save(tmp_path / "rows.npy", x.swapaxes(0, 1).reshape(-1, *SHAPE))
    system = Recorded(str(tmp_path / "rows.npy"), values="real")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        system.setup()
    assert any("Rows 40 apart are alike" in str(warning.message) for warning in caught)
    assert "steps of 40 rows" in capsys.readouterr().out
    assert system.data.tau_int[0] == pytest.approx(40 * 5.0, rel=0.3)


@pytest.mark.parametrize("period", [2, 3, 4, 5])
def test_chains_that_stay_apart_are_named(period):
    rng = np.random.default_rng(period)
    centres = rng.normal(0, 2, (period, *SHAPE))
    rows = np.tile(centres, (120, 1, 1)) + rng.normal(size=(120 * period, *SHAPE))
    assert examine(rows, "real").period == period
    assert examine(rng.permutation(rows), "real").period is None


def test_first_rows_differ_by_more_than_later_ones_do():
    """Nine first values at six standard errors are unlike the others, unless these differ as much."""
    series = np.random.default_rng(0).normal(size=3000)
    series[:9] = 2.0
    assert unlike_first(series) == 9
    series[1800:1809] = 2.1
    assert unlike_first(series) == 0


@pytest.mark.parametrize("share", [0.01, 0.03])
def test_rows_that_seldom_change_are_not_alike(share):
    """A few sites leave a frozen state for a few rows; two such rows are no period."""
    rng = np.random.default_rng(1)
    rows = np.ones((1000, 16))
    places = rng.choice(1000, round(share * 1000), replace=False)
    rows[places, rng.integers(4, size=len(places))] = -1
    assert examine(rows, "spin").period is None


def test_controls_that_change_in_one_direction():
    """A control that is switched once changes in one direction, one that is switched back does not."""
    once, twice = np.arange(1000) // 700, np.arange(1000) // 350 % 2
    assert [is_one_way(control) for control in (once, 1 - once, twice, 0 * once)] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("sweep", ["once", "to and fro", "at random"])
@pytest.mark.parametrize("drifts", [False, True])
def test_rows_at_different_controls_drift_if_controls_do_not_explain_it(sweep, drifts):
    """The spread of the sites depends on a control, and in one file on time, too."""
    rng = np.random.default_rng(4)
    time = np.linspace(0, 1, 1200)
    controls = {
        "once": time,
        "to and fro": np.abs(6 * time % 2 - 1),
        "at random": rng.random(1200),
    }[sweep]
    spread = 1 + np.tanh(8 * controls - 4) + drifts * (time > 0.5)
    rows = rng.normal(size=(1200, *SHAPE)) * spread[:, None, None]
    correlation = examined(rows, "real").given(controls[:, None], ["h"])
    if sweep == "once":
        # A control that grows with time explains whatever changes smoothly.
        (sentence,) = correlation.confounded
        assert "cannot be told from the effect of h, which changes along the file" in sentence
        return
    assert not correlation.confounded
    found = correlation.equilibrium
    assert bool(found) != drifts
    if not found:
        assert "apart from what the controls explain, is" in found.sentences[0]
