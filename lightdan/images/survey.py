"""Survey of a stack of images: the numbers of each, of all together, and what to set."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightdan.images.correlations import Lags, boxes
from lightdan.images.film import Film, FilmNumbers, Sums, reach_of
from lightdan.images.independence import Independence

MANY_TILES, FEW_TILES = 64, 16
"""Numbers of tiles of an image, with room for the reach of correlations in each and without."""
MOST_BLOCKS = 256
"""Number of blocks beyond which the tiles of an image are one block."""
FEWEST_SITES, MOST_SITES = 6, 12
"""Sites per period that resolve a domain, and that keep two periods within a patch of 24."""
PATCHES = (8, 24)
"""Smallest and largest patch that is suggested, in sites."""
LENGTHS = 5
"""Side of a patch in correlation lengths, for a film without a period."""


@dataclass(frozen=True)
class Survey:
    """Numbers of a stack of images.

    Args:
        film: Geometry and distances that all images share.
        images: Images that are measured, from 0.
        frames: Numbers of each of them.
        together: Numbers of all of them.
        blocks: Number of independent blocks behind the errors of all images.
    """

    film: Film
    images: NDArray[np.intp]
    frames: list[FilmNumbers]
    together: FilmNumbers
    blocks: int

    def typical(self) -> int:
        """Return the place in `images` of the one nearest to the median area fraction and period."""
        names = ("area_fraction", "domain_period")
        known = [name for name in names if all(name in frame.estimates for frame in self.frames)]
        estimates = np.array([[frame.estimates[name] for name in known] for frame in self.frames])
        values, errors = estimates[..., 0], estimates[..., 1].mean(axis=0)
        spread = np.ptp(values, axis=0) + errors
        return int(np.abs((values - np.median(values, axis=0)) / spread).sum(axis=1).argmin())


def survey(
    textures: np.ndarray,
    valid: NDArray[np.bool_],
    independence: Independence,
    bright: int,
    most: int | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> Survey:
    """Measure each image of a stack, and all together.

    Args:
        textures: Textures `(M, rows, columns)`.
        valid: Unmasked sites `(rows, columns)`.
        independence: Correlations of the film.
        bright: Value of the bright phase.
        most: Largest number of images to measure, evenly spaced; by default all.
        progress: Callback that receives the number of images measured since its last call.
    """
    shape = (valid.shape[0], valid.shape[1])
    area = math.sqrt(shape[0] * shape[1])
    tiles = boxes(shape, max(independence.reach + 1, area / math.sqrt(MANY_TILES)))
    if len(tiles) < FEW_TILES:
        tiles = boxes(shape, area / math.sqrt(FEW_TILES))
    rho = independence.rho
    lags = Lags(reach_of(rho[len(rho) // 2 :]))
    mean = float(textures[:, valid].mean(dtype=np.float64))
    rare = bool((textures[:, valid] == bright).mean() < 0.5)
    film = Film(valid, tiles, lags, mean, bright, rare)
    frames: list[FilmNumbers] = []

    def measured(texture: np.ndarray) -> Sums:
        sums = film.sums(texture)
        frames.append(film.frame(sums))
        progress(1)
        return sums

    runs = independence.pieces(shape).frames
    each = (
        np.arange(len(tiles)) if (runs.max() + 1) * len(tiles) <= MOST_BLOCKS else np.zeros(len(tiles))
    )
    num = len(textures)
    images = np.unique(np.linspace(0, num - 1, num if most is None else min(num, most)).astype(np.intp))
    blocks = runs[images, None] * (int(each[-1]) + 1) + each.astype(np.intp)
    together = film.together((measured(textures[image]) for image in images), blocks)
    return Survey(film, images, frames, together, len(np.unique(blocks)))


def suggest(together: FilmNumbers, pixels: float, wall: float) -> tuple[float, int]:
    """Return the side of a site in pixels and that of a patch in sites, for a network.

    A site is as wide as a wall, if a period still has six sites, and a patch has two periods. It is
    wider if such a patch had more than 24 sites. A film without a period gets patches of five
    correlation lengths.

    Args:
        together: Numbers of the film, lengths in sites.
        pixels: Number of pixels per site that they were measured with.
        wall: Width of a wall in pixels, or NaN.
    """
    numbers = together.estimates
    wall = max(1.0, wall) if math.isfinite(wall) else 1.0
    if "domain_period" in numbers:
        period = numbers["domain_period"].value * pixels
        site = max(1.0, min(wall, period / FEWEST_SITES), period / MOST_SITES)
        side = 2 * period / site
    else:
        site = wall
        length = numbers["correlation_length"].value if "correlation_length" in numbers else math.inf
        side = LENGTHS * length * pixels / site
    return site, int(np.clip(round(min(side, PATCHES[1])), *PATCHES))
