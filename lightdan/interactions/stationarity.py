"""Test whether the couplings of recorded rows change along the file."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lightdan.data.recorded.drifts import PARTS, Drift, drift_of_ends
from lightdan.interactions.catalogue import UniformLattice
from lightdan.interactions.fit import Undetermined, fit
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.score_matching import match_scores
from lightdan.lattices.lattice import Lattice

MOST_ROWS, MOST_SITES = 2000, 64
"""Numbers of rows, and of sites given all others, to which couplings are fitted."""
DISTANCE = 2.0
"""Largest distance of a pair, in lattice constants."""
STATES = 32
"""Number of levels up to which each has a field of its own."""
OPERATORS = {
    "spin": ("field", "pairs"),
    "level": ("fields", "potts"),
    "angle": ("fields", "pairs"),
    "real": ("powers", "pairs"),
}
"""Entries of the catalogue by kind of site."""


def drift_of_couplings(
    configurations: NDArray[np.generic],
    site_kind: str,
    levels: Sequence[int],
    lattice: Lattice,
    num_sites: int = MOST_SITES,
) -> list[Drift]:
    """Return the clearest drift of a coupling along the rows, if there is one.

    Fields and uniform couplings of pairs up to a distance of 2 are fitted to all rows, by
    pseudo-likelihood or by score matching. Couplings plus the influence of each row on them are series,
    whose means over parts of the rows are the couplings of these parts to first order.

    Args:
        configurations: Configurations in the order of their creation `(M, *lattice)`.
        site_kind: Kind of site, as in `System`.
        levels: Values of a discrete site.
        lattice: Lattice.
        num_sites: Number of sites to whose conditionals they are fitted.

    Returns:
        One drift; none if couplings are stationary, undetermined or not defined.
    """
    num, sites = len(configurations), lattice.num_sites
    if num < 2 * PARTS or sites < 2:
        return []
    entries = OPERATORS[site_kind]
    if len(levels) > STATES:
        entries = ("powers", "pairs")
    low, high = float(configurations.min()), float(configurations.max())
    uniform = UniformLattice(lattice, ("translation",), DISTANCE, site_kind, tuple(levels), low, high)
    operators = uniform.operators(entries)
    some = np.unique(np.linspace(0, sites - 1, min(sites, num_sites)).astype(int)).tolist()
    fields = LocalFields(operators, sites, sites=some, site_kind=site_kind, levels=tuple(levels))
    try:
        fitted = (fit if levels else match_scores)(fields, torch.as_tensor(configurations))
    except Undetermined:
        return []
    found = [
        drift
        for operator, coupling, influence in zip(
            operators, fitted.couplings, fitted.influence.T, strict=True
        )
        if operator.order == 2
        and (drift := drift_of_ends(f"coupling {operator.name}", coupling + influence)) is not None
    ]
    return sorted(found, key=lambda drift: -drift.significance)[:1]
