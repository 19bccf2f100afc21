import pytest
import torch

from lightdan.data.splits import derive_seed, split_rows


@pytest.mark.parametrize("block", [1, 10])
def test_split_is_disjoint_complete_and_blocked(block):
    parts = split_rows(1000, (0.8, 0.1, 0.1), block=block, seed=2)
    assert sorted(torch.cat(parts).tolist()) == list(range(1000))
    assert [len(part) for part in parts] == [800, 100, 100]
    owners = [{row // block for row in part.tolist()} for part in parts]
    if block > 1:
        assert not owners[0] & owners[1]
        assert not owners[0] & owners[2]
    assert torch.equal(split_rows(1000, (0.8, 0.1, 0.1), block=block, seed=2)[2], parts[2])


@pytest.mark.parametrize(
    ("num", "fractions"),
    [(100, (0.5, 0.5)), (100, (0.9, 0.2, 0.1)), (100, (1.0, 0.0, 0.0)), (3, (0.9, 0.05, 0.05))],
)
def test_impossible_splits_are_refused(num, fractions):
    with pytest.raises(ValueError, match="split"):
        split_rows(num, fractions)


def test_a_derived_seed_depends_on_every_part_and_its_place():
    seeds = [derive_seed(*parts) for parts in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, 2) == derive_seed(1, 2)
