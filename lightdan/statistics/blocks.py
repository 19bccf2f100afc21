"""Blocks of correlated rows, each of which counts as one observation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightdan.statistics.estimates import freedom_left, student_factor

TIMES_PER_BLOCK = 20
"""Largest number of autocorrelation times that a block lasts."""
MOST_BLOCKS = 512
"""Largest number of blocks, unless up to as many gaps separate more."""
SAMPLED_ROWS = 1_000
"""Number of rows whose correlations say how far labelled blocks are independent."""
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
        observations: Number of independent rows that the rows are worth; by default that of the blocks.
    """

    starts: NDArray[np.intp]
    num: int
    understatement: float = 1.0
    observations: float = math.nan

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
        rho = (2 * tau - 1) / (2 * tau + 1)
        if rho <= 0 or len(starts) < 2:
            return cls(starts, num, observations=num / (2 * tau))
        return cls(starts, num, *_compared(cls(starts, num)._covariance(rows, rho), starts, num))

    @classmethod
    def single(cls, num: int) -> "Blocks":
        """Return one block of all rows, which tells no error.

        Args:
            num: Number of rows.
        """
        return cls(np.zeros(1, dtype=np.intp), num)

    @classmethod
    def of_labels(
        cls, labels: NDArray[np.intp], correlation: Callable[[NDArray[np.intp]], NDArray[np.float64]]
    ) -> "Blocks":
        """Take rows with the same label, which are consecutive, as a block.

        The correlations of a sample of rows say how far the scatter of the blocks understates errors,
        because neighbouring blocks are not quite independent.

        Args:
            labels: Label of each row `(M,)`.
            correlation: Function that returns the correlations of rows `(n, n)`, given their numbers.
        """
        starts = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1))
        sizes = np.diff(starts, append=len(labels))
        most = max(2, SAMPLED_ROWS // len(starts))
        rng = np.random.default_rng(0)
        chosen = [
            start + rng.permutation(size)[:most] for start, size in zip(starts, sizes, strict=True)
        ]
        taken = np.array([len(each) for each in chosen])
        sample = correlation(np.concatenate(chosen))
        first = np.cumsum(taken) - taken
        sums = np.add.reduceat(np.add.reduceat(sample, first, 0), first, 1)
        covariance = sums / taken[:, None] / taken
        pairs = (sums.diagonal() - taken) / np.maximum(taken * (taken - 1), 1)
        np.fill_diagonal(covariance, (1 + (sizes - 1) * pairs) / sizes)
        return cls(starts, len(labels), *_compared(covariance, starts, len(labels)))

    @classmethod
    def join(cls, parts: Sequence["Blocks"]) -> "Blocks":
        """Return the blocks of rows that follow each other, with the largest understatement.

        Args:
            parts: Blocks of each part of the rows.
        """
        first = np.cumsum([0, *(part.num for part in parts)])
        starts = [part.starts + start for part, start in zip(parts, first[:-1], strict=True)]
        largest = max(part.understatement for part in parts)
        observations = sum(part.worth for part in parts)
        return cls(np.concatenate(starts), int(first[-1]), largest, observations)

    def first(self, num: int) -> "Blocks":
        """Return the blocks of the first rows.

        Args:
            num: Number of rows.
        """
        if num >= self.num:
            return self
        share = num / self.num
        return Blocks(
            self.starts[self.starts < num], num, self.understatement, share * self.observations
        )

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Number of rows of each block `(blocks,)`."""
        return np.diff(self.starts, append=self.num)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the scatter of the blocks, by their number and sizes."""
        return self.num**2 / float((self.sizes**2).sum()) - 1

    @property
    def worth(self) -> float:
        """Number of independent rows that the rows are worth."""
        return float(len(self.starts)) if math.isnan(self.observations) else self.observations

    def factor(self, deviations: NDArray[np.float64]) -> float:
        """Return the factor on the scatter of the blocks with which ±1 error covers 68 %.

        Args:
            deviations: Deviation of each row, or of each block, from the mean.
        """
        freedom = freedom_left(self.freedom, deviations, self.worth)
        return self.understatement * student_factor(freedom)

    def _covariance(self, rows: NDArray[np.integer], rho: float) -> NDArray[np.float64]:
        """Return the covariance of the means of the blocks, of rows with correlations ρⁿ."""
        sizes, decay = self.sizes, -math.log(rho)
        first, last = rows[self.starts], rows[self.starts + sizes - 1]
        block = np.repeat(np.arange(len(sizes)), sizes)
        to_end = np.add.reduceat(np.exp(decay * (rows - last[block])), self.starts)
        from_start = np.add.reduceat(np.exp(decay * (first[block] - rows)), self.starts)
        between = np.triu(np.exp(-decay * np.maximum(first - last[:, None], 0)), 1)
        covariance = to_end[:, None] * between * from_start
        within = sizes * (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**sizes) / (1 - rho) ** 2
        covariance = covariance + covariance.T + np.diag(within)
        normalised: NDArray[np.float64] = covariance / sizes[:, None] / sizes
        return normalised


def _compared(
    covariance: NDArray[np.float64], starts: NDArray[np.intp], num: int
) -> tuple[float, float]:
    """Return the understatement of blocks, at least 1, and the number of independent rows.

    Args:
        covariance: Covariance of the means of the blocks, of rows with variance 1.
        starts: First row of each block.
        num: Number of rows.
    """
    shares = np.diff(starts, append=num) / num
    variance = float(shares @ covariance @ shares)
    if len(shares) < 2:
        return 1.0, 1 / variance
    scatter = covariance.diagonal() - 2 * covariance @ shares + variance
    ratio = variance / float(np.mean(shares / (1 - shares) * scatter))
    return math.sqrt(max(1.0, ratio)), 1 / variance
