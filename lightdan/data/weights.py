"""Weights of rows: counts of independent observations, or real weights of single ones."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lightdan.data.rows import row_codes
from lightdan.data.splits import check_splits

DRAWS_PER_EPOCH = 10_000_000
"""Largest number of rows that an epoch draws from rows with counts."""


def checked_weights(raw: np.ndarray, num: int, where: str) -> np.ndarray:
    """Return weights `(M,)`, as int64 if all are whole numbers.

    Args:
        raw: Numbers as they are in the file.
        num: Number of configurations M.
        where: Place of the numbers, for messages.

    Raises:
        ValueError: There is another number of weights, one is negative or not finite, or all are zero.
    """
    if raw.size != num or raw.shape[:1] != (num,):
        raise ValueError(
            f"The {where} has the shape {raw.shape}, but there are {num} configurations: write one "
            "weight for each."
        )
    weights = raw.reshape(-1).astype(np.float64)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"The {where} holds {weights[row]:g} in row {row} (counted from 0): write weights that are "
            "positive or zero."
        )
    if not weights.any():
        raise ValueError(f"The {where} holds only zeros: write at least one positive weight.")
    whole = bool((weights == np.floor(weights)).all()) and weights.sum() < 2**53
    return weights.astype(np.int64) if whole else weights


def unless_equal(weights: np.ndarray) -> Tensor | None:
    """Return the weights `(M,)`, or None if all are the same real weight or a count of 1."""
    equal = weights[0] > 0 and bool((weights == weights[0]).all())
    if equal and (weights.dtype.kind == "f" or weights[0] == 1):
        return None
    return torch.from_numpy(weights)


def collapse(
    configurations: Tensor, counts: Tensor | None, parts: Sequence[np.ndarray]
) -> tuple[Tensor, Tensor, list[np.ndarray]]:
    """Return the different configurations of each part, and how often each occurs.

    Args:
        configurations: Configurations `(M, *lattice)`.
        counts: Count of each `(M,)`; by default 1.
        parts: Row numbers of each part.

    Returns:
        Configurations and counts, part after part, and their row numbers in each part.
    """
    kept, totals = [], []
    for part in parts:
        codes = row_codes(configurations[part].flatten(1).numpy())
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        total = np.zeros(len(first), np.int64)
        np.add.at(total, inverse, 1 if counts is None else counts.numpy()[part])
        kept.append(part[first])
        totals.append(total)
    ends = np.cumsum([len(total) for total in totals])
    numbers = np.split(np.arange(ends[-1]), ends[:-1])
    order = torch.from_numpy(np.concatenate(kept))
    return configurations[order], torch.from_numpy(np.concatenate(totals)), numbers


def split_counts(
    counts: Tensor, fractions: Sequence[float], seed: int, where: str = ""
) -> list[tuple[Tensor, Tensor]]:
    """Assign every single observation to training, validation or test at random.

    A row with a count of n is n observations, so it can be in several splits, with a part of its count
    in each.

    Args:
        counts: Count of each row `(M,)`.
        fractions: Fractions for training, validation and test, which sum to at most 1.
        seed: Random seed.
        where: Words after the number of observations, for messages.

    Returns:
        Row numbers in random order, and their counts, for training, validation and test.

    Raises:
        ValueError: The fractions are out of range, or a split would be empty.
    """
    check_splits(fractions)
    random = np.random.default_rng(seed)
    rest = counts.numpy().copy()
    num = int(rest.sum())
    edges = [round(edge * num) for edge in np.cumsum([0.0, *fractions])]
    parts = []
    for size in np.diff(edges):
        if size < 1:
            listed = ", ".join(f"{each:g}" for each in fractions)
            raise ValueError(
                f"{num} observations{where} are too few for the splits {listed}, because one would be "
                "empty: use more of them or larger fractions for validation and test."
            )
        part = _sample_counts(random, rest, int(size))
        rest -= part
        rows = random.permutation(np.flatnonzero(part))
        parts.append((torch.from_numpy(rows), torch.from_numpy(part[rows])))
    return parts


def _sample_counts(random: np.random.Generator, counts: np.ndarray, num: int) -> np.ndarray:
    """Draw observations without replacement; return how many of each row."""
    if counts.sum() < 10**9:
        return random.multivariate_hypergeometric(counts, num, method="marginals")
    # Beyond numpy's limit each observation is assigned on its own, so the total fluctuates a little.
    return random.binomial(counts, min(1.0, num / counts.sum()))


def draw_rows(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Draw rows for an epoch of training, each in proportion to its weight.

    A row with a count of n occurs n times. A row with a real weight w occurs M w/Σw times among the M
    rows, rounded up or down at random.

    Args:
        weights: Counts (integers) or real weights `(M,)`.
        generator: Random numbers.
    """
    num = num_drawn(weights)
    edges = weights.double().cumsum(0)
    if not weights.is_floating_point() and num == int(weights.sum()):
        return torch.repeat_interleave(torch.arange(len(weights)), weights)
    offset = torch.rand(1, generator=generator, dtype=torch.float64)
    places = (torch.arange(num) + offset) * (edges[-1] / num)
    return torch.searchsorted(edges, places, right=True).clamp(max=len(weights) - 1)


def num_drawn(weights: Tensor) -> int:
    """Return the number of rows that `draw_rows` draws."""
    if weights.is_floating_point():
        return len(weights)
    return min(int(weights.sum()), DRAWS_PER_EPOCH)
