"""Rows told apart by temperature and controls, and their splits."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lightdan.data.recorded.groups import MOST_COMBINATIONS, groups_of, split_groups
from lightdan.data.splits import SPLITS

NUM = 800
RANDOM = np.random.default_rng(0)


def opened(*columns, temperature=None, weights=None):
    """Return what is opened of a file with these controls."""
    controls = np.stack(columns, 1).astype(float)
    t = np.ones(len(controls)) if temperature is None else temperature
    names = tuple("hkm"[: controls.shape[1]])
    return SimpleNamespace(
        name="a.npz",
        origin="array",
        temperature=t,
        controls=controls,
        control_names=names,
        weights=weights,
    )


def test_few_combinations_are_told_apart():
    h, k = RANDOM.choice([-0.5, 0.0, 0.1], NUM), RANDOM.choice([1.0, 2.0], NUM)
    t = RANDOM.choice([1.5, 3.0], NUM)
    h[h == 0] = RANDOM.choice([0.0, -0.0], (h == 0).sum())  # both are 0
    groups = groups_of(opened(np.float32(h), k, temperature=t), share=0.5)
    assert [(g.temperature, *map(np.float32, g.controls)) for g in groups] == [
        (a, np.float32(b), c) for a in (1.5, 3.0) for b in (-0.5, 0.0, 0.1) for c in (1.0, 2.0)
    ]
    for group in groups:
        same = (t == group.temperature) & (np.float32(h) == np.float32(group.controls[0]))
        np.testing.assert_array_equal(group.rows, np.flatnonzero(same & (k == group.controls[1])))
    assert all(len(group.rows) == 30 for group in groups_of(opened(h, k, temperature=t), 30, 0.5))
    with pytest.raises(ValueError, match=r"rows at T = 1.5, h = -0.5, k = 1: pass at most"):
        groups_of(opened(h, k, temperature=t), 200)


@pytest.mark.parametrize(
    ("values", "apart"), [(MOST_COMBINATIONS, True), (MOST_COMBINATIONS + 1, False)]
)
def test_many_combinations_are_measured_together(values, apart):
    groups = groups_of(opened(np.arange(66 * values) % values), share=0.2)
    assert (len(groups) == values) == apart
    assert (groups[0].controls is None) != apart


def test_each_combination_needs_held_out_rows():
    h = (np.arange(1000) < 100).astype(float)  # 100 rows at 1
    assert len(groups_of(opened(h), share=0.1)) == 2
    assert len(groups_of(opened(h), share=0.09)) == 1
    assert len(groups_of(opened(h), 99, 0.1)) == 1
    counts = np.ones(1000, np.int64)
    counts[:100] = 2
    assert len(groups_of(opened(h, weights=counts), share=0.05)) == 2


def test_numbers_in_both_precisions_are_one_combination():
    h, t = RANDOM.choice([0.1, 0.3], NUM), np.repeat([1.0, 2.0], NUM // 2)
    h[t == 2] = np.float32(h[t == 2])
    assert {group.controls for group in groups_of(opened(h, temperature=t), share=0.5)} == {
        (0.1,),
        (0.3,),
    }


def test_rows_of_no_weight_do_not_count():
    h = np.repeat([0.0, 1.0], NUM // 2)
    weights = RANDOM.uniform(0.5, 2, NUM)
    assert len(groups_of(opened(h, weights=weights), share=0.1)) == 2
    weights[NUM // 2 + 50 :] = 0
    assert len(groups_of(opened(h, weights=weights), share=0.1)) == 1


@pytest.mark.parametrize("weighted", [False, True])
def test_splits_are_those_of_each_combination(weighted):
    """Each group has its own blocks and shares; together they are all rows."""
    h, t = RANDOM.choice([0.0, 1.0], NUM), RANDOM.choice([1.0, 2.0], NUM)
    groups, rows = groups_of(opened(h, temperature=t), share=0.25), torch.arange(NUM)[:, None]
    weights = torch.from_numpy(RANDOM.uniform(0.5, 2, NUM)) if weighted else None
    controls = torch.from_numpy(h)[:, None]
    reach = [0.5, 3.0, 0.5, 0.5]
    data = split_groups(rows, groups, reach, (0.5, 0.25, 0.25), 0, weights, controls, None)
    assert torch.cat([data.indices[name] for name in SPLITS]).sort().values.tolist() == [*range(NUM)]
    assert [*data.parts] == [(0.0,), (1.0,)]
    assert [*data.tau_int] == [3.0, 0.5]
    for place, group in enumerate(groups):
        part, temperature = data.at(group.controls), group.temperature
        own = torch.cat([part.rows_of(name, temperature) for name in SPLITS])
        np.testing.assert_array_equal(own.sort().values, group.rows)
        assert len(part.rows_of("test", temperature)) == pytest.approx(0.25 * len(own), abs=10)
        assert (part.block_size(temperature) > 1) == (reach[place] > 1)
        chosen = part.rows("test", temperature)[:, 0]
        np.testing.assert_array_equal(h[chosen.long()], group.controls[0])
        if weighted:
            np.testing.assert_array_equal(part.weights("test", temperature), weights[chosen.long()])
    for batch in data.loader("train", 100, seed=1):
        numbers = batch.configurations[:, 0].long()
        np.testing.assert_array_equal(batch.controls[:, 0], h[numbers])
        np.testing.assert_array_equal(batch.temperature, np.float32(t[numbers]))
