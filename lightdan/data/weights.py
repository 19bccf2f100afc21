"""Weights of rows: counts of independent observations, or real weights of single ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightdan.data.readers import READERS, column_of, open_array
from lightdan.data.rows import Rows
from lightdan.data.splits import check_splits

DRAWS_PER_EPOCH = 10_000_000
"""Largest number of rows that an epoch draws from rows with counts."""


def open_weighted(path: str, dataset: str | None, weights: int | str) -> tuple[Rows, np.ndarray]:
    """Open the configurations in a file together with one weight for each row.

    Args:
        path: File of the configurations, as in `open_array`.
        dataset: Name of the array of configurations in a file with several.
        weights: Name of an array in the same file, name or number of a column of a text file, or path of
            another file.

    Returns:
        Configurations and weights; whole numbers are int64, all others float64.

    Raises:
        ValueError: There are no such weights, or they are not one positive number or zero for each row.
    """
    suffix = Path(path).suffix.lower()
    if isinstance(weights, str) and Path(weights).suffix.lower() in READERS:
        array, raw, where = open_array(path, dataset), open_array(weights), f"file {weights}"
    elif suffix in (".csv", ".txt"):
        table = np.asarray(open_array(path, dataset))
        column = column_of(Path(path).expanduser(), weights, table.shape[1])
        array, raw = np.delete(table, column, axis=1), table[:, column]
        where = f"column {weights!r} of the file {path}"
    elif suffix == ".npy":
        raise ValueError(
            f"weights is {weights!r}, but the file {path} has no columns or names: set it to the path "
            "of a file of weights."
        )
    else:
        raw, where = open_array(path, str(weights)), f"array {weights!r} of the file {path}"
        array = open_array(path, dataset, besides=str(weights))
    return array, _checked(np.asarray(raw[...]), array.shape[0], where)


def _checked(raw: np.ndarray, num: int, where: str) -> np.ndarray:
    """Return weights `(M,)`, as int64 if all are whole numbers.

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


def collapse(configurations: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the different configurations and how often each occurs.

    Args:
        configurations: Configurations `(M, *lattice)`.
        counts: Count of each `(M,)`; by default 1.
    """
    rows = np.ascontiguousarray(configurations.flatten(1).numpy() + 0)  # −0 becomes 0
    codes = rows.view(f"V{rows.dtype.itemsize * rows.shape[1]}").ravel()
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    total = np.zeros(len(first), np.int64)
    np.add.at(total, inverse, 1 if counts is None else counts.numpy())
    return configurations[torch.from_numpy(first)], torch.from_numpy(total)


def split_counts(counts: Tensor, fractions: Sequence[float], seed: int) -> list[tuple[Tensor, Tensor]]:
    """Assign every single observation to training, validation or test at random.

    A row with a count of n is n observations, so it can be in several splits, with a part of its count
    in each.

    Args:
        counts: Count of each row `(M,)`.
        fractions: Fractions for training, validation and test, which sum to at most 1.
        seed: Random seed.

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
            raise ValueError(
                f"{num} observations cannot be split into {fractions}: use more or other fractions."
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
