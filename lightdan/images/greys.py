"""Grey values of many images, from which thresholds are computed."""

from collections.abc import Iterable

import numpy as np

from lightdan.images.background import smooth_share

GREYS = 20_000
"""Largest number of grey values of each image from which the thresholds are computed."""
MOST_GREYS = 4_000_000
"""Largest number of grey values of all images from which the thresholds are computed."""
BLOCKS = 2_000
"""Largest number of blocks over which the errors of the thresholds are computed."""
RAMPS = 20
"""Number of images in which smooth changes of brightness are searched."""


def sampled(
    images: Iterable[np.ndarray], number: int, sites: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return grey values of random sites, the block of each, and the share of uneven light.

    A block is one of 16 tiles of an image, or a whole image if there are many.

    Args:
        images: Grey values of the sites of each image `(rows, columns)`.
        number: Number of images.
        sites: Sites to use `(rows, columns)`.
        seed: Random seed.
    """
    rng = np.random.default_rng(seed)
    most = max(1, min(GREYS, MOST_GREYS // number))
    tiles = 4 if 16 * number <= BLOCKS else 1
    rows, columns = np.indices(sites.shape)
    tile = (rows * tiles // sites.shape[0] * tiles + columns * tiles // sites.shape[1])[sites]
    greys, blocks, ramps = [], [], []
    for k, image in enumerate(images):
        values = image[sites]
        chosen = rng.choice(len(values), min(most, len(values)), replace=False)
        greys.append(values[chosen])
        blocks.append((k * tiles**2 + tile[chosen]) % BLOCKS)
        if k < RAMPS:
            ramps.append(smooth_share(image, sites))
    return np.concatenate(greys), np.concatenate(blocks), float(np.mean(ramps))
