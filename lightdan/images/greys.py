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
    images: Iterable[tuple[np.ndarray, np.ndarray]], number: int, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return grey values of random sites, the block of each, and the share of uneven light.

    A block is one of 16 tiles of an image, or a whole image if there are many.

    Args:
        images: Grey values of the sites of each image, and sites to use `(rows, columns)`.
        number: Number of images.
        seed: Random seed.
    """
    rng = np.random.default_rng(seed)
    most = max(1, min(GREYS, MOST_GREYS // number))
    tiles = 4 if 16 * number <= BLOCKS else 1
    greys, blocks, ramps = [], [], []
    for k, (image, sites) in enumerate(images):
        pixels = np.flatnonzero(sites)
        chosen = pixels[rng.choice(len(pixels), min(most, len(pixels)), replace=False)]
        row, column = np.divmod(chosen, sites.shape[1])
        tile = row * tiles // sites.shape[0] * tiles + column * tiles // sites.shape[1]
        greys.append(image.ravel()[chosen])
        blocks.append((k * tiles**2 + tile) % BLOCKS)
        if k < RAMPS:
            ramps.append(smooth_share(image, sites))
    return np.concatenate(greys), np.concatenate(blocks), float(np.mean(ramps))
