"""Configurations with weights, counted as observations."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightdan.types import Configurations

FEW = 5_000
"""Number of observations above which one held-out part is enough."""
FOLDS = 4
"""Number of parts of the observations, each held out once if there are few."""


class Observations(NamedTuple):
    """Configurations and how often each counts.

    Args:
        rows: Configurations `(M, *lattice)`.
        weights: Counts (integers) or real weights `(M,)`; None if each row counts once.
    """

    rows: Configurations
    weights: Tensor | None = None

    @property
    def has_counts(self) -> bool:
        """Whether the weights are counts."""
        return self.weights is not None and not self.weights.is_floating_point()

    @property
    def num(self) -> int:
        """Number of observations: the sum of counts, or the number of rows."""
        if self.weights is not None and self.has_counts:
            return int(self.weights.sum())
        return len(self.rows)

    @property
    def effective_num(self) -> float:
        """Number of observations of equal weight that these are worth."""
        factors = self.factors
        return len(self.rows) if factors is None else float(factors.sum())

    @property
    def factors(self) -> Tensor | None:
        """Factor of each row in sums over observations `(M,)`.

        Real weights w are multiplied by Σw/Σw², so that their sum is the number of observations of equal
        weight that they are worth.
        """
        if self.weights is None:
            return None
        weights = self.weights.double()
        return weights if self.has_counts else weights * (weights.sum() / weights.square().sum())

    def sum(self, values: NDArray[np.float64]) -> float:
        """Return the sum of one value for each row `(M,)` over the observations."""
        factors = self.factors
        return float(values.sum() if factors is None else factors.cpu().numpy() @ values)

    def limit(self, num: int) -> "Observations":
        """Return at most so many observations: the first rows, or a random part of counts."""
        if self.weights is None or not self.has_counts:
            return Observations(self.rows[:num], None if self.weights is None else self.weights[:num])
        if self.num <= num:
            return self
        chosen = np.random.default_rng(0).multivariate_hypergeometric(self.weights.tolist(), num)
        return self._with_counts(chosen)

    def every(self, stride: int) -> "Observations":
        """Return one of so many rows."""
        return Observations(
            self.rows[::stride], None if self.weights is None else self.weights[::stride]
        )

    def join(self, other: "Observations") -> "Observations":
        """Return these observations and others after them."""
        rows = torch.cat([self.rows, other.rows])
        if self.weights is None or other.weights is None:
            return Observations(rows)
        return Observations(rows, torch.cat([self.weights, other.weights]))

    def folds(self) -> Iterator[tuple["Observations", "Observations"]]:
        """Yield held-out observations and the others; only one pair if there are many.

        Parts are consecutive rows. The observations of rows with counts are assigned at random, because
        equal configurations would otherwise be held out together.
        """
        parts = range(FOLDS) if self.num < FEW else [FOLDS - 1]
        if self.weights is not None and self.has_counts:
            counts = self.weights.cpu().numpy()
            shares = np.random.default_rng(0).multinomial(counts, [1 / FOLDS] * FOLDS)
            for part in parts:
                held_out = shares[:, part]
                yield self._with_counts(held_out), self._with_counts(counts - held_out)
            return
        edges = np.linspace(0, self.num, FOLDS + 1).astype(int).tolist()
        for part in parts:
            inside = torch.zeros(self.num, dtype=torch.bool)
            inside[edges[part] : edges[part + 1]] = True
            yield self._with_rows(inside), self._with_rows(~inside)

    def _with_rows(self, chosen: Tensor) -> "Observations":
        """Return the rows of a mask `(M,)`."""
        chosen = chosen.to(self.rows.device)
        return Observations(self.rows[chosen], None if self.weights is None else self.weights[chosen])

    def _with_counts(self, counts: NDArray[np.int64]) -> "Observations":
        """Return the rows with other counts `(M,)`."""
        weights = torch.as_tensor(counts, device=self.rows.device)
        return Observations(self.rows[weights > 0], weights[weights > 0])
