"""Tests of the symmetries of recorded configurations."""

import numpy as np

from lightdan.data.inspection.blocks import SiteBlocks, sign_flip_test
from lightdan.data.inspection.pairs import axis_pairs


def flip_tests(blocks: SiteBlocks) -> dict[str, float]:
    """Return p-values of p(s) = p(−s), for the mean of all sites and for the sites one by one.

    Under the hypothesis all means are zero. Angles are tested for a rotation by π.

    Args:
        blocks: Spins, fields or angles.
    """
    means = blocks.means + blocks.origin
    return {
        "mean": sign_flip_test(means.mean(2)),
        "sites": sign_flip_test(means.reshape(blocks.num, -1)),
    }


def site_test(blocks: SiteBlocks) -> float:
    """Return the p-value of equal means on all sites."""
    means = blocks.means
    return sign_flip_test((means - means.mean(2, keepdims=True)).reshape(blocks.num, -1))


def bond_test(blocks: SiteBlocks, shape: tuple[int, ...], *, wrap: bool) -> float:
    """Return the p-value of equal mean products of neighbours on all bonds of an axis.

    Args:
        blocks: Features of the sites.
        shape: Shape of the lattice.
        wrap: Whether the bonds that close a periodic lattice are among them.
    """
    columns = []
    for axis, side in enumerate(shape):
        if side > 1:
            pairs = axis_pairs(shape, axis)
            bonds = [pairs.inner, pairs.wrap] if wrap and side > 2 else [pairs.inner]
            products = blocks.products(np.concatenate(bonds))
            columns.append(products - products.mean(1, keepdims=True))
    return sign_flip_test(np.concatenate(columns, axis=1))
