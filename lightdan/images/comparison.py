"""Numbers of several parts of films that are compared with each other, at the same distances."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightdan.images.correlations import Lags, boxes
from lightdan.images.film import Film, FilmNumbers

MOST_BLOCKS = 256
"""Number of blocks beyond which the tiles of an image are one block."""
TILES = 64
"""Number of tiles of an image."""


def compared(
    textures: Sequence[NDArray[np.integer]],
    valid: Sequence[NDArray[np.bool_]],
    lags: Lags,
    bright: int = 1,
    rare: bool = True,
    length: float = 1.0,
) -> FilmNumbers:
    """Measure images of one shape together, each in its own sites, at given distances.

    The blocks are tiles of single images, or images if there are many.

    Args:
        textures: Values of the sites of each image `(rows, columns)`.
        valid: Sites of each image that are measured `(rows, columns)`.
        lags: Distances of C(r).
        bright: Value of the bright phase.
        rare: Whether the bright phase is the rarer one.
        length: Least side of a tile in sites, beyond which the film does not correlate.
    """
    shape = valid[0].shape
    tiles = boxes(shape, max(length, (shape[0] * shape[1] / TILES) ** 0.5))
    sites = np.array([v.sum() for v in valid], dtype=np.float64)
    means = np.array([t[v].mean(dtype=np.float64) for t, v in zip(textures, valid, strict=True)])
    mean = float(sites @ means / sites.sum())
    films: dict[bytes, Film] = {}
    rows = []
    for texture, seen in zip(textures, valid, strict=True):
        key = np.packbits(seen).tobytes()
        if key not in films:
            films[key] = Film(seen, tiles, lags, mean, bright, rare)
        film = films[key]
        sums = film.sums(texture)
        part = film.rows(sums, sums.offset)
        rows.append(part if len(textures) * len(tiles) <= MOST_BLOCKS else part.sum(0, keepdims=True))
    together = np.concatenate(rows)
    return film.numbers(together[together[:, 0] > 0])
