import numpy as np
import pytest
import torch

from lightdan.interactions.observations import Observations

ROWS = torch.arange(10)[:, None]


def test_each_row_is_held_out_once():
    folds = [*Observations(ROWS).folds()]
    assert [tuple(held_out.rows.ravel().tolist()) for held_out, _ in folds] == [
        (0, 1),
        (2, 3, 4),
        (5, 6),
        (7, 8, 9),
    ]
    assert all(len(held_out.rows) + len(train.rows) == 10 for held_out, train in folds)


def test_counts_are_divided_at_random():
    counts = torch.tensor([3, 1, 0, 7, 2, 1, 1, 9, 400, 4_000])
    counted = Observations(ROWS, counts)
    repeated = ROWS.repeat_interleave(counts, 0)
    assert counted.num == len(repeated)
    assert counted.sum(np.arange(10.0)) == repeated.sum()
    shares = []
    for held_out, train in counted.folds():
        both = held_out.join(train)
        total = torch.zeros(10, dtype=torch.long).index_add(0, both.rows.ravel(), both.weights)
        assert total.tolist() == counts.tolist()
        shares.append(held_out.weights[-2:].tolist())
    assert len(shares) == 4
    np.testing.assert_allclose(shares, [[100, 1_000]] * 4, rtol=0.3)
    limited = counted.limit(500)
    assert limited.num == 500
    assert 400 < limited.weights[-1] < 500
    assert counted.limit(10_000) is counted


def test_real_weights_are_worth_their_effective_number():
    weights = torch.tensor([1.0, 3.0, 0.0, 2.0])
    observations = Observations(ROWS[:4], weights)
    assert observations.effective_num == pytest.approx(36 / 14)
    assert observations.factors / observations.factors[0] == pytest.approx(weights)
    assert [len(held_out.rows) for held_out, _ in observations.folds()] == [1, 1, 1, 1]
    assert observations.limit(2).weights.tolist() == [1, 3]
