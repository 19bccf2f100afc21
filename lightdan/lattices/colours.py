"""Colours of sites, such that neighbours differ."""

import itertools

import numpy as np
from numpy.typing import NDArray

from lightdan.lattices.lattice import Lattice

MOST_PATTERNS = 100_000
"""Largest number of periodic patterns that are tried."""


def colours(lattice: Lattice) -> NDArray[np.intp]:
    """Return a colour 0, 1, … of each site `(N,)`, such that no two neighbours share one.

    Two, three or four colours that repeat along the axes are taken if they fit around the torus,

        colour(n, s) = Σ_k u_k n_k + c_s  modulo 2, 3 or 4,

    and otherwise the fewest that a greedy search finds.

    References:
        D. Brélaz, Commun. ACM 22, 251 (1979).
    """
    for num in (2, 3, 4):
        pattern = _pattern(lattice, num)
        if pattern is not None:
            slope, offsets = pattern
            basis = np.arange(lattice.num_sites) % lattice.num_basis
            return (lattice.places @ slope + offsets[basis]) % num
    import networkx  # a third of a second

    network = networkx.Graph(lattice.bonds.tolist())
    network.add_nodes_from(range(lattice.num_sites))
    greedy = networkx.greedy_color(network, strategy="DSATUR")
    return np.array([greedy[site] for site in range(lattice.num_sites)], np.intp)


def _pattern(lattice: Lattice, num: int) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Return u `(d,)` and c `(b,)` of a pattern with a number of colours, if there is one."""
    d, b = len(lattice.cells), lattice.num_basis
    steps = [lattice.parts(step) for step in lattice.bond_classes]
    if num ** (d + b - 1) > MOST_PATTERNS or lattice.is_graph:
        return None
    for numbers in itertools.product(range(num), repeat=d + b - 1):
        slope, offsets = np.array(numbers[:d]), np.array([0, *numbers[d:]])
        around = not lattice.periodic or not (slope * np.array(lattice.cells) % num).any()
        if around and all((slope @ n + offsets[j] - offsets[i]) % num for n, i, j in steps):
            return slope, offsets
    return None
