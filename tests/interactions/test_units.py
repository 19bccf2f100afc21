"""Fits of fields in any unit and far from zero."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lightdan import ExplicitHamiltonian
from lightdan.interactions import local_fields
from lightdan.interactions.catalogue import UniformLattice
from lightdan.interactions.fit import fit
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.score_matching import match_scores
from lightdan.interactions.screening import centres_of, find_pairs, graph_operators
from lightdan.simulation.heat_bath import slice_widths
from lightdan.simulation.terms import Terms, gather

UNITS = [(1e6, 0.0), (1e-6, 0.0), (1.0, 300.0), (1e3, -3e5), (2.5e-4, 1.0)]


@pytest.fixture(scope="module")
def ring():
    """Return rows of a ring of eight coupled fields in double wells, about 0."""
    lattice = UniformLattice((8,), ("translation",), 1.0, "real", (), -1.0, 1.0)
    model = ExplicitHamiltonian.from_couplings(
        (8,), lattice.operators(), np.array([0.2, 0.8, 0.0, -0.6, 0.4]), site_kind="real", levels=()
    )
    rows = torch.as_tensor(model.simulate(1.0, 1_500, 1).configurations).double()
    return rows - rows.mean()


def operators_of(rows):
    """Return the uniform operators of the ring."""
    low, high = rows.min().item(), rows.max().item()
    return UniformLattice((8,), ("translation",), 1.0, "real", (), low, high).operators()


@pytest.mark.parametrize(("scale", "shift"), UNITS)
@pytest.mark.parametrize("method", [fit, match_scores])
def test_couplings_follow_the_unit(ring, scale, shift, method):
    """Check that a φ + b has the couplings J/a^d of φ, about the centre that the operators choose."""
    moved = scale * ring + shift
    operators = operators_of(moved)
    degrees = np.array([sum(f.exponent for f in o.products[0].factors) for o in operators]) * 1.0
    centre = (operators[0].products[0].factors[0].centre - shift) / scale if shift else 0.0
    near = [
        replace(
            operator,
            products=tuple(
                product._replace(factors=tuple(replace(f, centre=centre) for f in product.factors))
                for product in operator.products
            ),
        )
        for operator in operators
    ]
    expected = method(LocalFields(near, 8, None, None, "real", ()), ring)
    found = method(LocalFields(operators, 8, None, None, "real", ()), moved)
    np.testing.assert_allclose(
        found.couplings * scale**degrees, expected.couplings, rtol=1e-4, atol=1e-5
    )
    errors = found.standard_errors * scale**degrees
    np.testing.assert_allclose(errors, expected.standard_errors, rtol=1e-3)


@pytest.mark.parametrize(("scale", "shift"), UNITS)
def test_pairs_and_simulations_in_any_unit(ring, scale, shift):
    """Check the graph, and that the fitted Hamiltonian has means and variances of its rows."""
    moved = scale * ring + shift
    pairs = find_pairs(moved, "real")
    assert pairs == find_pairs(ring, "real")
    assert {(0, 1), (3, 4), (0, 7)} <= {*pairs}
    operators = graph_operators("real", 8, pairs, centres_of(moved))
    couplings = match_scores(LocalFields(operators, 8, None, None, "real", ()), moved).couplings
    model = ExplicitHamiltonian.from_couplings((8,), operators, couplings, site_kind="real", levels=())
    rows = model.simulate(1.0, 400, 0).configurations.astype(float)
    deviation = moved.std().item()
    assert abs(rows.mean() - moved.mean().item()) < 0.15 * deviation
    assert rows.std() == pytest.approx(deviation, rel=0.15)


def test_a_centred_hamiltonian_survives_its_file(tmp_path):
    operators = graph_operators("real", 2, [(0, 1)], np.array([300.0, -20.0]))
    couplings = np.array([0.5, 0.1, -0.5, 0.0, -0.2, 0.0, -1.0, 0.1, -0.1])
    model = ExplicitHamiltonian.from_couplings((2,), operators, couplings, site_kind="real", levels=())
    (tmp_path / "h.json").write_text(model.to_json())
    loaded = ExplicitHamiltonian.load(tmp_path / "h.json")
    rows = np.array([[300.0, -20.0], [301.0, -18.0]])
    z = rows[1] - rows[0]
    powers = sum(
        c * z[i] ** p for i in (0, 1) for p, c in enumerate(couplings[1 + 4 * i : 5 + 4 * i], 1)
    )
    assert loaded.energy(rows) == pytest.approx([0, -0.5 * z[0] * z[1] - powers])
    np.testing.assert_array_equal(loaded.centres(), [300, -20])


@pytest.mark.parametrize("deviation", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("mean", [0.0, 300.0, -1e5])
def test_widths_of_free_sites_in_any_unit(deviation, mean):
    mean = mean * deviation
    terms = [
        Terms(np.array([[0]]), (1,), mean / deviation**2),
        Terms(np.array([[0]]), (2,), -0.5 / deviation**2),
    ]
    widths = slice_widths(gather("real", 1, terms), np.array([1.0, 4.0]))
    np.testing.assert_allclose(widths[:, 0], [deviation, 2 * deviation], rtol=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_named(ring, value):
    rows = ring.clone()
    rows[7, 3] = value
    fields = LocalFields(operators_of(ring), 8, None, None, "real", ())
    for work in (
        lambda: fit(fields, rows),
        lambda: match_scores(fields, rows),
        lambda: find_pairs(rows, "real"),
    ):
        with pytest.raises(ValueError, match=f"site 3 in configuration 7 .* is {value}: pass finite"):
            work()


def test_progress_within_a_pass(ring, monkeypatch):
    """Check that a bar advances with every part of the rows, by the right number of sites in all."""
    monkeypatch.setattr(local_fields, "ROWS", 8 * 100)
    fields = LocalFields(operators_of(ring), 8, None, None, "real", ())
    steps = []
    match_scores(fields, ring, progress=steps.append)
    assert sum(steps) == 16
    assert len(steps) == 16
    steps.clear()
    fit(fields, ring, progress=steps.append)
    assert sum(steps) % 8 == 0
    assert max(steps) == 1
