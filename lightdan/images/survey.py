"""Survey of a stack of images: the numbers of each, of all together, and what to set."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightdan.images.correlations import Box, Lags, boxes
from lightdan.images.film import Film, FilmNumbers, Sums, reach_of
from lightdan.images.independence import Independence, different

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
        films: Geometry and distances of each image; images of one mask share them.
        images: Images that are measured, from 0.
        frames: Numbers of each of them.
        together: Numbers of all of them.
        blocks: Number of independent blocks behind the errors of all images.
    """

    films: list[Film]
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
        valid: Unmasked sites `(M, rows, columns)`, or of all images `(rows, columns)`. A smaller image
            is masked below and to the right of its sites.
        independence: Correlations of the film.
        bright: Value of the bright phase.
        most: Largest number of images to measure, evenly spaced; by default all.
        progress: Callback that receives the number of images measured since its last call.
    """
    valid = np.broadcast_to(valid, textures.shape)
    rho = independence.rho
    mean = float(textures[valid].mean(dtype=np.float64))
    rare = bool((textures[valid] == bright).mean() < 0.5)
    masks, which = different(valid)
    own = [mask[: rows + 1, : columns + 1] for mask in masks for rows, columns in [_last(mask)]]
    lags = Lags(min(reach_of(rho[len(rho) // 2 :]), min(min(mask.shape) for mask in own) - 1))
    kinds = [
        Film(mask, _tiles((mask.shape[0], mask.shape[1]), independence.reach), lags, mean, bright, rare)
        for mask in own
    ]
    films = [kinds[k] for k in which]
    num = len(textures)
    images = np.unique(np.linspace(0, num - 1, num if most is None else min(num, most)).astype(np.intp))
    frames: list[FilmNumbers] = []

    def measured() -> Iterator[tuple[Film, Sums]]:
        for image in images:
            film = films[image]
            rows, columns = film.valid.shape
            sums = film.sums(textures[image, :rows, :columns])
            frames.append(film.frame(sums))
            progress(1)
            yield film, sums

    runs = independence.pieces((textures.shape[1], textures.shape[2])).frames
    most_tiles = max(len(film.tiles) for film in kinds)
    split = (runs.max() + 1) * most_tiles <= MOST_BLOCKS
    blocks = [
        runs[image] * most_tiles + (np.arange(n) if split else np.zeros(n, np.intp))
        for image in images
        for n in [len(films[image].tiles)]
    ]
    together = kinds[0].together(measured(), blocks)
    return Survey(films, images, frames, together, len(np.unique(np.concatenate(blocks))))


def _last(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the last row and the last column with unmasked sites."""
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    return int(rows[-1]), int(columns[-1])


def _tiles(shape: tuple[int, int], reach: int) -> list[Box]:
    """Return tiles of an image with room for the reach of correlations, unless these are few."""
    area = math.sqrt(shape[0] * shape[1])
    tiles = boxes(shape, max(reach + 1, area / math.sqrt(MANY_TILES)))
    return tiles if len(tiles) >= FEW_TILES else boxes(shape, area / math.sqrt(FEW_TILES))


def suggest(
    together: FilmNumbers, pixels: float, wall: float, site: float | None = None
) -> tuple[float, int, int]:
    """Return the side of a site in pixels, and those of a patch and of a reach in sites, for a network.

    A site is as wide as a wall, if a period still has six sites, and a patch has two periods. It is
    wider if such a patch had more than 24 sites. The reach is one and a half periods. A film without a
    period gets patches of five correlation lengths, and three quarters of them as reach.

    Args:
        together: Numbers of the film, lengths in sites.
        pixels: Number of pixels per site that they were measured with.
        wall: Width of a wall in pixels, or NaN.
        site: Side of a site in pixels that has been chosen, by default none.
    """
    numbers = together.estimates
    period = numbers["domain_period"].value * pixels if "domain_period" in numbers else None
    wall = max(1.0, wall) if math.isfinite(wall) else 1.0
    if site is None:
        site = max(1.0, min(wall, period / FEWEST_SITES), period / MOST_SITES) if period else wall
    length = numbers["correlation_length"].value if "correlation_length" in numbers else math.inf
    side = (2 * period if period else LENGTHS * length * pixels) / site
    patch = int(np.clip(round(min(side, PATCHES[1])), *PATCHES))
    return site, patch, max(1, round(1.5 * period / site if period else 0.75 * patch))
