"""Means and products of sites over independent blocks of rows, and tests with them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from scipy.stats import t as student

from lightdan.data.rows import Rows
from lightdan.statistics import TIMES_PER_BLOCK

MAX_BLOCKS = 64
MIN_BLOCKS = 8
"""Number of blocks below which nothing is tested."""
TIMES_BETWEEN = 3
"""Rows left out between correlated blocks, in autocorrelation times."""
NUM_FLIPS = 20_000
MAX_GRAM_SITES = 1024
"""Largest number of sites whose products are all computed."""
MAX_INDICATORS = 32
"""Largest number of levels that are told apart; more are taken as numbers."""


@dataclass(frozen=True)
class SiteBlocks:
    """Features of the sites in blocks of consecutive rows, far enough apart to be independent.

    A site has one feature (its spin or field), two (cosine and sine of its angle), or one for each level
    (1 if it is taken, else 0).

    Args:
        features: Features `(blocks, sites, features, rows)`.
        independent: Whether every block lasts 20 autocorrelation times.
        unit: Change of a field when its feature changes by 1.
        origin: Field whose feature is 0, over `unit`.
    """

    features: np.ndarray
    independent: bool
    unit: float = 1.0
    origin: float = 0.0

    @classmethod
    def of(
        cls, rows: Rows, site_kind: str, levels: Sequence[int], tau: float, max_values: int
    ) -> "SiteBlocks":
        """Read blocks of rows that are spread over the whole file.

        Args:
            rows: Configurations `(M, *lattice)`.
            site_kind: Kind of site, as in `System`.
            levels: Values of a discrete site, as in `System`.
            tau: Integrated autocorrelation time in rows.
            max_values: Largest number of features to be read.
        """
        num, sites = rows.shape[0], math.prod(rows.shape[1:])
        longest = int(num / (TIMES_PER_BLOCK * tau))
        most = MAX_BLOCKS if sites <= 512 else MAX_BLOCKS // 4
        blocks = max(min(most, longest), min(MIN_BLOCKS, num))
        gap = round(TIMES_BETWEEN * tau) if tau >= 1 and longest >= MIN_BLOCKS else 0
        features = _num_features(site_kind, levels)
        room = max(1, max_values // (blocks * sites * features))
        length = min(max(1, num // blocks - gap), room)
        starts = np.arange(blocks) * num // blocks
        independent = longest >= MIN_BLOCKS
        raw = np.stack(
            [np.asarray(rows[start : start + length]).reshape(length, sites).T for start in starts]
        )[:, :, None]
        if site_kind == "angle":
            angles = raw.astype(np.float32)
            return cls(np.concatenate([np.cos(angles), np.sin(angles)], axis=2), independent)
        if features > 1:
            return cls((raw == np.array(levels)[:, None]).astype(np.float32), independent)
        if site_kind == "spin":
            return cls(raw.astype(np.float32), independent)
        # Single precision holds small changes of large fields only about their mean.
        mean, unit = float(raw.mean(dtype=np.float64)), float(raw.std(dtype=np.float64)) or 1.0
        return cls(((raw - mean) / unit).astype(np.float32), independent, unit, mean / unit)

    @property
    def num(self) -> int:
        """Number of blocks."""
        return self.features.shape[0]

    @property
    def num_sites(self) -> int:
        """Number of sites."""
        return self.features.shape[1]

    @property
    def num_rows(self) -> int:
        """Number of rows in all blocks."""
        return self.features.shape[0] * self.features.shape[3]

    @cached_property
    def means(self) -> np.ndarray:
        """Mean features of each block `(blocks, features, sites)`."""
        return self.features.mean(3, dtype=np.float64).transpose(0, 2, 1)

    @cached_property
    def variances(self) -> np.ndarray:
        """Variance of each site, summed over its features `(sites,)`."""
        squares = sum(np.einsum("sfr,sfr->s", part, part) for part in self.features)
        return squares / self.num_rows - (self.means.mean(0) ** 2).sum(0)

    @cached_property
    def gram(self) -> np.ndarray:
        """Mean products of all pairs of sites in each block `(blocks, sites, sites)`."""
        joined = self.features.reshape(self.num, self.num_sites, -1)
        return joined @ joined.transpose(0, 2, 1) / self.features.shape[3]

    def products(self, pairs: np.ndarray) -> np.ndarray:
        """Return mean products of the features of two sites in each block `(blocks, pairs)`.

        Args:
            pairs: Numbers of two sites `(pairs, 2)`.
        """
        left, right = pairs.T
        if self.num_sites <= MAX_GRAM_SITES:
            return self.gram[:, left, right].astype(np.float64)
        sums = [np.einsum("kfr,kfr->k", part[left], part[right]) for part in self.features]
        return np.stack(sums).astype(np.float64) / self.features.shape[3]

    def correlations(self, pairs: np.ndarray) -> np.ndarray:
        """Return connected correlations over the standard deviations in each block `(blocks, pairs)`.

        Sites that never change have none.
        """
        left, right = pairs.T
        mean = self.means.mean(0)
        around = (
            (mean[:, left] * self.means[..., right]).sum(1)
            + (self.means[..., left] * mean[:, right]).sum(1)
            - (mean[:, left] * mean[:, right]).sum(0)
        )
        # A site that never changes has a variance of the size of rounding errors.
        scale = np.sqrt(np.maximum(self.variances[left] * self.variances[right], 0))
        changes = scale > 1e-6 * self.variances.max(initial=0)
        return np.where(changes, (self.products(pairs) - around) / np.where(changes, scale, 1), 0)


@dataclass(frozen=True)
class Strength:
    """Mean square correlation of a class of pairs, without the part that is noise.

    Differences and multiples keep the replicas, and so the error of the difference.

    Args:
        value: The mean square.
        without: Mean square without each block `(blocks,)`.
    """

    value: float
    without: np.ndarray

    @classmethod
    def of(cls, correlations: np.ndarray) -> "Strength":
        """Return the strength of pairs from their correlations in blocks `(blocks, pairs)`."""
        total, squares = correlations.sum(0), (correlations**2).sum(0)
        num = len(correlations)
        value = np.mean((total**2 - squares) / (num * (num - 1)))
        rest, others = total - correlations, squares - correlations**2
        without = np.mean((rest**2 - others) / ((num - 1) * (num - 2)), axis=1)
        return cls(float(value), without)

    def minus(self, other: "Strength", factor: float = 1.0) -> "Strength":
        """Return this strength minus a multiple of another one."""
        return Strength(self.value - factor * other.value, self.without - factor * other.without)

    @property
    def significance(self) -> float:
        """Probability of a value at least so far above zero, if it is zero."""
        num = len(self.without)
        spread = math.sqrt((num - 1) / num * ((self.without - self.without.mean()) ** 2).sum())
        if spread == 0:
            return 0.5
        return float(student.sf(self.value / spread, num - 1))


def sign_flip_test(blocks: np.ndarray, seed: int = 0) -> float:
    """Return the p-value of the hypothesis that all means are zero.

    The statistic is Σ_k (Σ_b x_bk)². Its distribution is that of blocks with random signs, so it holds
    for any correlation between the columns k, and exactly if x and −x are equally likely.

    Args:
        blocks: Values of independent blocks `(blocks, columns)`.
        seed: Random seed of the signs.

    References:
        J. P. Romano, J. Amer. Statist. Assoc. 85, 686 (1990).
    """
    gram = blocks @ blocks.T
    signs = _signs(len(blocks), seed)
    flipped = ((signs @ gram) * signs).sum(1)
    # Rounding must not decide between equal values.
    reached = int((flipped >= gram.sum() * (1 - 1e-9)).sum())
    return (1 + reached) / (1 + NUM_FLIPS)


def _num_features(site_kind: str, levels: Sequence[int]) -> int:
    if site_kind == "level" and len(levels) <= MAX_INDICATORS:
        return len(levels)
    return 2 if site_kind == "angle" else 1


@cache
def _signs(num: int, seed: int) -> np.ndarray:
    """Return random signs `(flips, num)`."""
    return np.random.default_rng(seed).integers(0, 2, (NUM_FLIPS, num)) * 2.0 - 1.0
