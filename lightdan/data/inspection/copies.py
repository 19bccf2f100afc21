"""Rows that are copies of others, as opposed to states that occur often."""

import math
from collections.abc import Sequence

import numpy as np

from lightdan.data.rows import Rows, row_codes

ROWS = 20_000
"""Number of rows that are compared."""
LEAST = 0.01
"""Share of repeated rows below which nothing is said."""
FEWEST_STATES = 50
EXCESS = 10.0
"""Number of equal pairs over that of independent sites, above which rows may be copies."""


def share_of_copies(rows: Rows, tau: float, levels: Sequence[int]) -> float:
    """Return the share of rows that repeat another one, or 0 if states that occur often explain it.

    States of a system in equilibrium occur with very different frequencies, copies equally often. Rows
    that follow each other are not compared, because correlated ones may be equal.

    Args:
        rows: Configurations `(M, *lattice)`.
        tau: Integrated autocorrelation time in rows.
        levels: Values of a discrete site; empty for a continuous one.
    """
    step = math.ceil(10 * tau) if tau >= 1 else 1
    chosen = np.arange(0, rows.shape[0], step)[:ROWS]
    table = np.asarray(rows[chosen]).reshape(len(chosen), -1)
    num = len(table)
    _, counts = np.unique(row_codes(table), return_counts=True)
    share = 1 - len(counts) / num
    if share < LEAST or len(counts) < FEWEST_STATES:
        return 0.0
    occupied = [(table == level).mean(0) for level in levels]
    collision = float(np.prod(sum(p**2 for p in occupied))) if levels else 0.0
    equal = (counts * (counts - 1)).sum() / 2
    natural = equal < EXCESS * collision * num * (num - 1) / 2
    # Each of n copies of a row repeats it n/2 times on average; frequent states do so far more often.
    uneven = equal > (1 + counts.mean() / 2) * (num - len(counts))
    return 0.0 if natural or uneven else share


def without_copies(rows: Rows, max_values: int) -> np.ndarray:
    """Return different rows in the order of the file.

    Args:
        rows: Configurations `(M, *lattice)`.
        max_values: Largest number of values to be read, from the first row on.
    """
    table = np.asarray(rows[: max(1, max_values // math.prod(rows.shape[1:]))])
    _, first = np.unique(row_codes(table.reshape(len(table), -1)), return_index=True)
    return table[np.sort(first)]
