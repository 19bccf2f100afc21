"""Blocks of correlated rows, each of which counts as one observation."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightdan.statistics.estimates import student_factor

TIMES_PER_BLOCK = 20
"""Largest number of autocorrelation times that a block lasts."""
MOST_BLOCKS = 512
"""Largest number of blocks, unless up to as many gaps separate more."""
INDEPENDENT = 0.55
"""Autocorrelation time below which each row is a block."""


def block_length(num: int, tau: float) -> int:
    """Return the number of consecutive rows that count as one observation.

    Blocks of b rows make errors too small by the fraction τ/(2b). With few rows, few blocks are worse,
    so b is the smaller of 20τ and √(Mτ).

    Args:
        num: Number of rows M.
        tau: Integrated autocorrelation time τ in rows.
    """
    return max(1, math.ceil(min(TIMES_PER_BLOCK * tau, math.sqrt(num * tau))))


@dataclass(frozen=True)
class Blocks:
    """Blocks of consecutive rows, and how far their scatter understates the error of a mean.

    Args:
        starts: First row of each block `(blocks,)`, from 0.
        num: Number of rows M.
        understatement: Standard deviation of a mean over M rows, divided by the one that the scatter of
            the blocks suggests on average.
    """

    starts: NDArray[np.intp]
    num: int
    understatement: float = 1.0

    @classmethod
    def of_rows(cls, rows: NDArray[np.integer], tau: float) -> "Blocks":
        """Divide rows of a file into blocks, which end at gaps much longer than τ.

        Rows n apart are taken to have the correlation ρⁿ with the time τ, ρ = (2τ − 1)/(2τ + 1).

        Args:
            rows: Ascending numbers of the rows in the file `(M,)`.
            tau: Integrated autocorrelation time τ in rows.
        """
        num, tau = len(rows), max(tau, 0.5)
        least = 1 if tau < INDEPENDENT else block_length(num, tau)
        length = max(least, math.ceil(num / MOST_BLOCKS))
        ends = np.flatnonzero(np.diff(rows) > 2 * tau) + 1
        few = len(ends) < min(MOST_BLOCKS, num / 2)
        runs = np.split(np.arange(num), ends if few else [])
        starts = np.array(
            [piece[0] for run in runs for piece in np.array_split(run, max(1, round(len(run) / length)))]
        )
        blocks = cls(starts, num)
        ratio = blocks._ratio_of_variances(rows, (2 * tau - 1) / (2 * tau + 1))
        return cls(starts, num, math.sqrt(max(1.0, ratio)))

    @classmethod
    def of_length(cls, num: int, length: int) -> "Blocks":
        """Divide M rows into independent blocks.

        Args:
            num: Number of rows M.
            length: Number of rows in a block.
        """
        return cls(np.arange(0, num, length), num)

    def first(self, num: int) -> "Blocks":
        """Return the blocks of the first rows.

        Args:
            num: Number of rows.
        """
        if num >= self.num:
            return self
        return Blocks(self.starts[self.starts < num], num, self.understatement)

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Number of rows of each block `(blocks,)`."""
        return np.diff(self.starts, append=self.num)

    @property
    def factor(self) -> float:
        """Factor on the scatter of the blocks with which ±1 error covers 68 %."""
        effective = self.num**2 / float((self.sizes**2).sum())
        return self.understatement * student_factor(effective - 1)

    def _ratio_of_variances(self, rows: NDArray[np.integer], rho: float) -> float:
        """Return the variance of a mean with autocorrelation ρⁿ over that from the scatter of blocks."""
        if rho <= 0 or len(self.starts) < 2:
            return 1.0
        sizes, decay = self.sizes, -math.log(rho)
        first, last = rows[self.starts], rows[self.starts + sizes - 1]
        block = np.repeat(np.arange(len(sizes)), sizes)
        to_end = np.add.reduceat(np.exp(decay * (rows - last[block])), self.starts)
        from_start = np.add.reduceat(np.exp(decay * (first[block] - rows)), self.starts)
        between = np.triu(np.exp(-decay * np.maximum(first - last[:, None], 0)), 1)
        covariance = to_end[:, None] * between * from_start
        within = sizes * (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**sizes) / (1 - rho) ** 2
        covariance = (covariance + covariance.T + np.diag(within)) / sizes[:, None] / sizes
        shares = sizes / self.num
        variance = shares @ covariance @ shares
        scatter = covariance.diagonal() - 2 * covariance @ shares + variance
        return float(variance / np.mean(shares / (1 - shares) * scatter))
