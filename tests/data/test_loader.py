import numpy as np
import pytest
import torch

from lightdan.data.loader import BatchLoader


def loader(**options):
    configurations = torch.arange(100).reshape(100, 1).to(torch.int8)
    return BatchLoader(configurations, torch.ones(100), torch.arange(100), 7, **options)


def values(batches):
    return [batch.configurations.flatten().tolist() for batch in batches]


def test_without_a_seed_all_rows_are_served_in_order():
    assert [row for batch in values(loader()) for row in batch] == list(range(100))


def test_every_epoch_has_its_own_order_and_serves_all_rows():
    epoch = [0]
    shuffled = loader(seed=3, epoch=lambda: epoch[0])
    first = values(shuffled)
    assert values(shuffled) == first
    epoch[0] = 1
    second = values(shuffled)
    assert first != second
    assert [len(batch) for batch in first] == [len(batch) for batch in second] == [7] * 14
    assert len({row for batch in first for row in batch}) == 98


def test_an_epoch_is_whole_if_nothing_is_requested_after_the_last_batch():
    shuffled = loader(seed=3)
    for _ in range(3):  # as Lightning does, which knows the length
        iterator = iter(shuffled)
        assert len([next(iterator) for _ in range(len(shuffled))]) == 14


def test_resumed_with_the_very_next_batch():
    whole = values(loader(seed=3))
    started = loader(seed=3)
    iterator = iter(started)
    for _ in range(5):
        next(iterator)
    resumed = loader(seed=3)
    resumed.load_state_dict(started.state_dict())
    assert values(resumed) == whole[5:]
    assert values(resumed) == whole


def test_processes_share_each_batch():
    whole = values(loader(seed=3))
    parts = [values(loader(seed=3, rank=rank, world_size=2)) for rank in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


def test_memory_map_gives_the_same_batches(tmp_path):
    array = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (100, 4))
    np.save(tmp_path / "x.npy", array)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    arguments = (torch.ones(100), torch.arange(100), 7)
    inside = values(BatchLoader(torch.from_numpy(array), *arguments, seed=1))
    assert values(BatchLoader(mapped, *arguments, seed=1)) == inside


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize(("num", "world_size"), [(71, 2), (71, 3), (8, 4)])
def test_no_process_is_left_without_a_part_of_a_batch(num, world_size, seed):
    """An empty part would have the mean NaN, and with it the validation loss."""
    configurations = torch.arange(num)[:, None]
    parts = [
        BatchLoader(
            configurations,
            torch.ones(num),
            torch.arange(num),
            7,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        for rank in range(world_size)
    ]
    sizes = [[len(batch.temperature) for batch in part] for part in parts]
    assert min(map(min, sizes)) > 0
    assert {len(part) for part in sizes} == {len(parts[0])}
    assert sum(map(sum, sizes)) == (num if seed is None else num // 7 * 7)


def test_order_of_an_epoch_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return values(loader(seed=seed, epoch=lambda: epoch))

    torch.manual_seed(1)
    first = order(3, 5)
    torch.manual_seed(2)
    assert order(3, 5) == first
    assert order(4, 5) != first
    assert order(5, 3) != first


def test_temperatures_stay_beside_their_configurations():
    rows = torch.arange(100)
    shuffled = BatchLoader(rows[:, None], 1.0 + rows, rows[10:90], 7, seed=3)
    for batch in shuffled:
        assert torch.equal(batch.temperature, 1 + batch.configurations[:, 0])
        assert batch.configurations.min() >= 10
        assert batch.configurations.max() < 90
