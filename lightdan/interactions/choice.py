"""Choice between a sparse graph and all pairs of spins."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from lightdan.interactions.all_pairs import choose_width, fit_all_pairs
from lightdan.interactions.observations import FEW, Observations
from lightdan.interactions.search import TermSearch
from lightdan.statistics import Estimate, mean


class Choice(NamedTuple):
    """The choice between a sparse graph and all pairs.

    Args:
        width: Width of the prior with which all pairs are most likely.
        gain: Advantage of all pairs in the held-out pseudo-likelihood, in nats per configuration.
    """

    width: float
    gain: Estimate

    @property
    def all_pairs(self) -> bool:
        """Whether all pairs are better by more than two errors."""
        return self.gain.value > 2 * self.gain.error

    def __str__(self) -> str:
        """Return the choice and its reason."""
        size = Estimate(abs(self.gain.value), self.gain.error)
        sign = "higher" if self.gain.value > 0 else "lower"
        chosen = "All pairs are chosen" if self.all_pairs else "A sparse graph is chosen"
        return (
            f"{chosen}: with a Gaussian prior of width {self.width:g}, all pairs have a held-out "
            f"pseudo-likelihood that is {sign} by {size} nats per configuration than the sparse graph's."
        )


def choose(
    search: TermSearch,
    rows: Tensor,
    weights: Tensor | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> Choice:
    """Compare all pairs with the terms of a search by the pseudo-likelihood of held-out configurations.

    If there are few configurations, the search is repeated without those held out.

    Args:
        search: Finished search.
        rows: Configurations s `(M, *lattice)`.
        weights: Counts (integers) or real weights of the configurations `(M,)`; 1 by default.
        progress: Function called after each fit.
    """
    width = choose_width(rows, weights, progress)
    observations = Observations(rows, weights)
    differences, held_out_weights = [], []
    for held_out, train in observations.folds():
        repeated = search if observations.num >= FEW else search.repeat(*train)
        sparse = repeated.fit(*train).log_likelihood(held_out.rows)
        dense = fit_all_pairs(train.rows, width, errors=False, weights=train.weights)
        differences.append(dense.log_likelihood(held_out.rows) - sparse)
        held_out_weights.append(held_out.weights)
        progress(1)
    if weights is None:
        return Choice(width, mean(np.concatenate(differences)))
    parts = [part.cpu().numpy() for part in held_out_weights if part is not None]
    return Choice(width, mean(np.concatenate(differences), np.concatenate(parts)))
