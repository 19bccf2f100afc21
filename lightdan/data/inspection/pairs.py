"""Classes of pairs of sites on a chain or a rectangle, and what their correlations tell."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import kruskal, mannwhitneyu
from scipy.stats import t as student

from lightdan.data.inspection.blocks import SiteBlocks, Strength

SURE = 1e-4
"""Largest p-value of the statement that neighbours stand out."""
SURE_OF_BOUNDARY = 1e-3
"""Largest p-value of the statement that a lattice on which they do is periodic, or open."""
SURE_OF_ENDS = 0.05
"""Largest p-value of the statement that a line has ends of rows, once its correlations recur."""
MAX_PAIRS = 10_000
MAX_DISTANCE = 32
SMALLEST_SIDE = 4
"""Shortest side on which neighbours and distant sites differ."""


class AxisPairs(NamedTuple):
    """Pairs of sites along an axis, each `(pairs, 2)`.

    Args:
        inner: Neighbours within the lattice.
        wrap: First and last sites, which are neighbours on a periodic lattice.
        far: Sites half the length of the axis apart.
    """

    inner: np.ndarray
    wrap: np.ndarray
    far: np.ndarray


def axis_pairs(shape: tuple[int, ...], axis: int) -> AxisPairs:
    """Return the pairs of sites along an axis of a lattice."""
    side = shape[axis]
    wrap = pairs_apart(shape, axis, side - 1)[:, ::-1]
    return AxisPairs(pairs_apart(shape, axis, 1), wrap, pairs_apart(shape, axis, max(1, side // 2)))


def pairs_apart(shape: tuple[int, ...], axis: int, distance: int) -> np.ndarray:
    """Return the pairs of sites at a distance along an axis, without those around a boundary."""
    sites = np.moveaxis(np.arange(math.prod(shape)).reshape(shape), axis, 0)
    first, second = sites[:-distance], sites[distance:]
    return np.stack([first.ravel(), second.ravel()], axis=1)


def some_pairs(num_sites: int, seed: int) -> np.ndarray:
    """Return all pairs of sites `(pairs, 2)`, or 10,000 different ones drawn at random.

    Pair k = j (j − 1)/2 + i has the sites i < j, so that no list of all pairs is needed.

    Args:
        num_sites: Number of sites.
        seed: Random seed.
    """
    number = num_sites * (num_sites - 1) // 2
    k = np.random.default_rng(seed).choice(number, min(number, MAX_PAIRS), replace=False)
    second = ((1 + np.sqrt(1 + 8 * k)) / 2).astype(np.int64)
    return np.stack([k - second * (second - 1) // 2, second], axis=1)


def correlated_pairs(blocks: SiteBlocks, seed: int = 0) -> tuple[int, int]:
    """Count the pairs of sites that are correlated beyond doubt.

    The threshold is that of one false pair in a hundred files of independent sites.

    Args:
        blocks: Features of the sites.
        seed: Random seed for the choice of pairs, if there are more than 10,000.

    Returns:
        Number of correlated pairs, and of all that were looked at.
    """
    pairs = some_pairs(blocks.num_sites, seed)
    values = blocks.correlations(pairs)
    spread = values.std(0, ddof=1) / math.sqrt(blocks.num)
    ratio = np.abs(values.mean(0)) / np.where(spread > 0, spread, np.inf)
    threshold = student.isf(0.005 / len(pairs), blocks.num - 1)
    return int((ratio > threshold).sum()), len(pairs)


def stand_out(near: np.ndarray, far: np.ndarray) -> bool:
    """Return whether the correlations of near pairs exceed those of far ones.

    Their mean squares must differ by more than their fluctuation in these rows. Pair by pair they must
    differ by more than the couplings of a random graph.

    Args:
        near: Correlations in blocks `(blocks, pairs)`.
        far: Correlations of distant pairs `(blocks, pairs)`.
    """
    if Strength.of(near).minus(Strength.of(far)).significance > SURE:
        return False
    sizes = [np.abs(values.mean(0)) for values in (near, far)]
    return bool(mannwhitneyu(*sizes, alternative="greater").pvalue < SURE)


class RecognisedLattice(NamedTuple):
    """Lattice in the correlations of the sites.

    Args:
        shape: Shape of a configuration, or of the rectangle that its line of sites is.
        ordered: For each axis whether correlations depend on the distance along it; None for fewer than
            four sites.
        boundary: ``periodic`` or ``open`` if all axes are, otherwise ``unknown``.
    """

    shape: tuple[int, ...]
    ordered: list[bool | None]
    boundary: str


def recognise_lattice(blocks: SiteBlocks, shape: tuple[int, ...]) -> RecognisedLattice:
    """Recognise the lattice of configurations of a shape; a line of sites may be a rectangle."""
    if len(shape) == 1:
        shape = recognised_rectangle(blocks) or shape
    ordered: list[bool | None] = [
        distance_matters(blocks, shape, axis) if side >= SMALLEST_SIDE else None
        for axis, side in enumerate(shape)
    ]
    boundary = "unknown"
    if all(ordered):
        axes = range(len(shape))
        boundaries = {recognised_boundary(blocks, shape, [axis]) for axis in axes}
        if boundaries != {"periodic", "open"}:
            boundary = recognised_boundary(blocks, shape, axes)
    return RecognisedLattice(shape, ordered, boundary)


def distance_matters(blocks: SiteBlocks, shape: tuple[int, ...], axis: int) -> bool:
    """Return whether correlations depend on the distance along an axis more than in a random graph."""
    sizes = []
    for distance in range(1, min(shape[axis] // 2, MAX_DISTANCE) + 1):
        values = blocks.correlations(pairs_apart(shape, axis, distance))
        sizes.append(np.abs(values.mean(0)))
    # Equal values, as of sites that never change, have no ranks.
    if np.ptp(np.concatenate(sizes)) == 0:
        return False
    nearest = mannwhitneyu(sizes[0], np.concatenate(sizes[1:]), alternative="greater").pvalue
    return bool(min(nearest, kruskal(*sizes).pvalue) < SURE / 2)


def recognised_boundary(blocks: SiteBlocks, shape: tuple[int, ...], axes: Sequence[int]) -> str:
    """Return whether axes together are ``periodic`` or ``open``, or ``unknown``.

    On a periodic axis the first and the last site are as correlated as neighbours, on an open one hardly
    more than sites half the axis apart. The limit is in the middle, and as far above. If distant sites
    are correlated more than neighbours, as those of stripes, the middle to zero is taken.

    Args:
        blocks: Features of the sites.
        shape: Shape of the lattice.
        axes: Numbers of the axes.
    """
    classes = zip(*(axis_pairs(shape, axis) for axis in axes), strict=True)
    inner, wrap, far = (Strength.of(blocks.correlations(np.concatenate(each))) for each in classes)
    nearer = inner.minus(far).significance
    if nearer > 1 - SURE:
        far = Strength(0.0, np.zeros_like(far.without))
        nearer = inner.significance
    if nearer > SURE:
        return "unknown"
    of_ring, of_wrap = inner.minus(far), wrap.minus(far)
    above, beyond = (of_wrap.minus(of_ring, factor).significance for factor in (0.5, 1.5))
    if min(1 - above, beyond) < SURE_OF_BOUNDARY:
        return "open"
    return "periodic" if above < SURE_OF_BOUNDARY else "unknown"


def recognised_rectangle(blocks: SiteBlocks) -> tuple[int, int] | None:
    """Return the sides of the lattice that was written as one line of sites, or None for none.

    On a lattice of rows of b sites, sites that are b places apart in the line are neighbours. Those b/2
    places apart are distant, and so are the last site of a row and the first of the next.

    Args:
        blocks: Features of the sites.
    """
    num = blocks.num_sites
    best: tuple[float, int] | None = None
    for width in range(SMALLEST_SIDE, num // SMALLEST_SIDE + 1):
        if num % width == 0:
            strength = Strength.of(blocks.correlations(pairs_apart((num,), 0, width))).value
            best = max(best or (-math.inf, 0), (strength, width))
    if best is None:
        return None
    width = best[1]
    above, distant = (
        blocks.correlations(pairs_apart((num,), 0, distance)) for distance in (width, width // 2)
    )
    beside = Strength.of(blocks.correlations(pairs_apart((num // width, width), 1, 1)))
    ends = np.arange(width, num, width)
    across = Strength.of(blocks.correlations(np.stack([ends - 1, ends], axis=1)))
    if stand_out(above, distant) and beside.minus(across).significance < SURE_OF_ENDS:
        return (num // width, width)
    return None
