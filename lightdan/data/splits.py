"""Splits by blocks of correlated rows, and seeds of independent random streams."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

SPLITS = ("train", "validation", "test")


def derive_seed(*parts: int) -> int:
    """Return a seed that is a function of several integers, for independent random streams."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def check_splits(fractions: Sequence[float]) -> None:
    """Raise ValueError unless there are three positive fractions that sum to at most 1."""
    if len(fractions) != 3 or not (min(fractions) > 0 and sum(fractions) <= 1 + 1e-9):
        raise ValueError(
            f"splits must be three positive fractions that sum to at most 1, not {fractions}."
        )


def split_rows(
    num: int, fractions: Sequence[float], *, block: int = 1, seed: int = 0, where: str = ""
) -> tuple[Tensor, Tensor, Tensor]:
    """Assign whole blocks of consecutive rows to training, validation and test at random.

    Args:
        num: Number of rows M.
        fractions: Fractions for training, validation and test, which sum to at most 1.
        block: Number of rows in a block, about 20 autocorrelation times; 1 for independent rows.
        seed: Random seed.
        where: Words after the number of rows, for messages.

    Returns:
        Ascending row numbers for training, validation and test.

    Raises:
        ValueError: The fractions are out of range, or a split would be empty.
    """
    check_splits(fractions)
    num_blocks = math.ceil(num / block)
    order = torch.randperm(num_blocks, generator=torch.Generator().manual_seed(seed))
    bounds = [0, *(round(edge * num_blocks) for edge in np.cumsum(fractions))]
    parts = [order[start:end].sort().values for start, end in itertools.pairwise(bounds)]
    if not all(map(len, parts)):
        blocks = f" in {num_blocks} uncorrelated blocks" if block > 1 else ""
        listed = ", ".join(f"{each:g}" for each in fractions)
        raise ValueError(
            f"{num} configurations{where}{blocks} are too few for the splits {listed}, because one "
            "would be empty: use more configurations or larger fractions for validation and test."
        )
    rows = [(block * part[:, None] + torch.arange(block)).flatten() for part in parts]
    train, validation, test = (part[part < num] for part in rows)
    return train, validation, test
