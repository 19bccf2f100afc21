"""Couplings that change along the rows are told from those that do not."""

import re
import warnings

import numpy as np
import pytest

from lightdan import Recorded
from lightdan.interactions.stationarity import drift_of_couplings
from lightdan.lattices.bravais import hypercubic


def drifts(rows, kind, levels):
    return drift_of_couplings(rows, kind, levels, hypercubic(rows.shape[1:], "open"))


def chains(couplings, num, rng):
    """Draw open chains of 16 Ising spins with independent products of neighbours, ⟨ss'⟩ = tanh J."""
    bonds = np.where(rng.random((num, 15)) < (1 + np.tanh(couplings)) / 2, 1, -1)
    first = rng.choice([-1, 1], (num, 1))
    return np.cumprod(np.concatenate([first, bonds], axis=1), axis=1).astype(np.int8)


def test_the_couplings_of_both_ends_are_right():
    rng = np.random.default_rng(0)
    rows = np.concatenate([chains(J, 700, rng) for J in (0.5, 0.4)])
    (drift,) = drifts(rows, "spin", (-1, 1))
    assert drift.name == "coupling nearest_neighbour"
    for estimate, exact in ((drift.before, 0.5), (drift.after, 0.4)):
        assert abs(estimate.value - exact) < 3 * estimate.error
    assert not drifts(chains(0.5, 1400, rng), "spin", (-1, 1))


def anisotropic(kind, num, rng):
    """Draw sites of 4 × 4 that are correlated along the first axis only."""
    x = rng.normal(size=(num, 4, 4)) + rng.normal(size=(num, 1, 4))
    if kind == "spin":
        return np.where(x > 0, 1, -1).astype(np.int8)
    if kind == "level":
        return np.digitize(x, [-1, 0.5]).astype(np.int8)
    return np.mod(x, 2 * np.pi) if kind == "angle" else x


@pytest.mark.parametrize("kind", ["spin", "level", "angle", "real"])
def test_couplings_that_change_their_axis_are_named(kind):
    """Means over the lattice are the same, because the second half has the axes exchanged."""
    rng = np.random.default_rng(1)
    rows, others = (anisotropic(kind, 500, rng) for _ in range(2))
    levels = {"spin": (-1, 1), "level": (0, 1, 2)}.get(kind, ())
    (drift,) = drifts(np.concatenate([rows, others.swapaxes(1, 2)]), kind, levels)
    assert abs(drift.before.value) > 2 * abs(drift.after.value) or abs(drift.after.value) > 2 * abs(
        drift.before.value
    )
    assert not drifts(np.concatenate([rows, others]), kind, levels)


@pytest.mark.parametrize("rows", [np.ones((100, 4), np.int8), np.eye(4)[[0, 1] * 10] * 2 - 1])
def test_rows_without_couplings(rows):
    assert not drifts(rows, "spin", (-1, 1))


def test_the_warning_names_the_coupling(tmp_path):
    rng = np.random.default_rng(2)
    rows = np.concatenate([chains(J, 700, rng) for J in (0.5, 0.3)])
    np.save(tmp_path / "rows.npy", rows)
    system = Recorded(str(tmp_path / "rows.npy"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        system.setup()
    drift = re.compile(r"not in equilibrium.*the coupling nearest_neighbour is 0\.")
    assert any(drift.search(str(warning.message)) for warning in caught)
    assert drift.search(system.data.doubts[0])
