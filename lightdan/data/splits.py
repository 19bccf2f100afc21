"""Splits that respect correlation between rows, and seeds of independent streams."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

SPLITS = ("train", "validation", "test")


def derive_seed(*parts: int) -> int:
    """A seed that is a function of several integers, for streams that must not overlap."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def check_splits(fractions: Sequence[float]) -> None:
    """Refuse fractions of training, validation and test that are none.

    Raises:
        ValueError: one is not positive, they are not three, or add up to more than 1.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
        raise ValueError(
            f"splits must be three positive fractions that add up to at most 1, not {fractions}."
        )


def split_rows(
    num: int, fractions: Sequence[float], *, block: int = 1, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows for training, validation and test: whole blocks of neighbouring rows, dealt at random.

    Args:
        num: Number of rows M.
        fractions: Of training, validation and test, adding up to at most 1.
        block: Rows in a block, of the order of 20 autocorrelation times; 1 deals single rows.
        seed: Of the deal.

    Raises:
        ValueError: fractions that are no fractions, or a part that would stay empty.
    """
    check_splits(fractions)
    num_blocks = math.ceil(num / block)
    order = torch.randperm(num_blocks, generator=torch.Generator().manual_seed(seed))
    bounds = [0, *(round(edge * num_blocks) for edge in np.cumsum(fractions))]
    dealt = [order[start:end].sort().values for start, end in itertools.pairwise(bounds)]
    if not all(map(len, dealt)):
        raise ValueError(
            f"{num} configurations in {num_blocks} uncorrelated blocks cannot be split into "
            f"{fractions}: give more configurations or other fractions."
        )
    rows = [(block * part[:, None] + torch.arange(block)).flatten() for part in dealt]
    train, validation, test = (part[part < num] for part in rows)
    return train, validation, test
