"""Inspection of rows under several conditions, each by itself."""

import itertools

import numpy as np
import pytest
import torch

from lightdan.data.inspection.conditions import conditions, inspect_samples, merged
from lightdan.data.inspection.inspection import Finding, Sites, symmetry_finding
from lightdan.data.recorded.groups import Group, split_groups

STATES = np.array(list(itertools.product([-1, 1], repeat=8)), np.int8)
CHAIN = Sites("spin", (-1, 1), (8,), "open")


def draw(temperature, field, num, seed):
    """Draw configurations of an open chain of spins in a field."""
    log_p = ((STATES[:, 1:] * STATES[:, :-1]).sum(1) + field * STATES.sum(1)) / temperature
    p = np.exp(log_p - log_p.max())
    return STATES[np.random.default_rng(seed).choice(len(STATES), num, p=p / p.sum())]


def chain(sizes, weights=None):
    """Return rows of a chain with a number of rows for each temperature and field, in random order."""
    places = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), [*sizes.values()]))
    rows, controls, groups = np.empty((len(places), 8), np.int8), np.empty(len(places)), []
    for number, ((temperature, field), num) in enumerate(sizes.items()):
        own = np.flatnonzero(places == number)
        rows[own], controls[own] = draw(temperature, field, num, number), field
        groups.append(Group(temperature, (field,), own))
    controls = torch.from_numpy(controls)[:, None]
    given = torch.from_numpy(rows), groups, [0.5] * len(groups), (0.5, 0.25, 0.25), 0, weights
    return split_groups(*given, controls, None)


SIZES = {(1.5, -0.5): 1500, (1.5, 0.5): 2500, (3.0, -0.5): 1600, (3.0, 0.5): 1700}


def test_each_condition_is_inspected_by_itself():
    """Opposite fields break the flip, and correlate no distant sites of an open chain."""
    found = {
        finding.name: finding for finding in inspect_samples(chain(SIZES), CHAIN, control_names=["h"])
    }
    assert "at each of 4 conditions" in found["tests"].sentence
    assert found["tests"].sentence.endswith("at T = 1.5, h = 0.5")
    assert found["boundary"].sentence.startswith("open: first and last sites are not correlated")
    assert found["boundary"].option == ""
    assert found["flip"].sentence.startswith("s → −s: broken at T = ")
    assert found["flip"].p_value < 1e-3


def test_p_values_are_those_of_all_conditions():
    """The smallest of n p-values is below p/n with a probability of at most p."""
    copies, still = Finding("copies", "20 % of the rows"), Finding("constant sites", "3")
    found = {
        "T = 1": [
            still,
            symmetry_finding("flip", 0.3, "s → −s"),
            symmetry_finding("sites", 0.5, "means"),
            Finding("up", "50 %"),
        ],
        "T = 2": [
            symmetry_finding("flip", 1e-4, "s → −s"),
            symmetry_finding("sites", 0.4, "means"),
            Finding("up", "40 %"),
        ],
        "T = 3": [copies, symmetry_finding("flip", 0.2, "s → −s"), Finding("tests", "none")],
    }
    assert merged(found) == [
        Finding("copies", "at T = 3, 20 % of the rows"),
        Finding("flip", "s → −s: broken at T = 2", "", pytest.approx(3e-4)),
        Finding("sites", "means: not ruled out", "", pytest.approx(0.8)),
        Finding("up", "50 %"),
    ]
    assert merged({"T = 1": found["T = 1"]}) == found["T = 1"]


def test_controls_of_many_values_are_not_taken_for_a_lattice():
    """A field that differs from row to row correlates the ends of an open chain."""
    fields = np.random.default_rng(0).uniform(-1, 1, 3000)
    rows = np.concatenate([draw(3.0, field, 1, k) for k, field in enumerate(fields)])
    groups = [Group(3.0, None, np.arange(3000))]
    controls = torch.from_numpy(fields)[:, None]
    data = split_groups(
        torch.from_numpy(rows), groups, [0.5], (0.5, 0.25, 0.25), 0, None, controls, None
    )
    found = {finding.name: finding for finding in inspect_samples(data, CHAIN, control_names=["h"])}
    assert [*found] == ["tests", "up", "sites", "bonds"]
    assert found["tests"].sentence.startswith("of means only")


@pytest.mark.parametrize("weights", ["counts", "reals"])
def test_conditions_have_their_own_weights(weights):
    num = sum(SIZES.values())
    w = torch.randint(1, 4, (num,), generator=torch.Generator().manual_seed(0))
    data = chain(SIZES, w if weights == "counts" else w.double())
    every = conditions(data, ["h"])
    assert next(iter(every)) == "T = 1.5, h = 0.5"
    assert sum(part.observations_in(split) for part in every.values() for split in part.indices) == (
        pytest.approx(w.sum().item() if weights == "counts" else num, rel=0.2)
    )
    findings = inspect_samples(data, CHAIN, control_names=["h"])
    assert (findings[0].sentence == "none, because rows have different weights") == (weights == "reals")
