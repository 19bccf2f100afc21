"""Single images of a stack: grey values at full resolution, phases, noise and walls."""

import math
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lightdan.images.files import Page
from lightdan.images.film import FilmNumbers
from lightdan.images.noise import noise
from lightdan.images.stack import ImageStack
from lightdan.images.thresholds import Phases, find_phases, local_threshold
from lightdan.images.walls import profile, wall_width


@dataclass(frozen=True)
class Frame:
    """One image of a stack, and its numbers.

    Args:
        number: Number of the image, from 1.
        page: Page of its file.
        phases: Classes of the grey values of its sites, at the thresholds of the stack.
        noise: Standard deviation of white noise in a pixel.
        wall: Distance from 10 to 90 % of a wall in pixels, or NaN.
        numbers: Numbers of its film, lengths in sites.
    """

    number: int
    page: Page
    phases: Phases
    noise: float
    wall: float
    numbers: FilmNumbers

    @property
    def ratio(self) -> float:
        """Contrast of the phases over the noise of a pixel, or NaN without noise or with one phase."""
        contrast = float(self.phases.means[-1] - self.phases.means[0])
        known = self.noise > 0 and self.phases.shares.min() > 0
        return contrast / self.noise if known else math.nan

    @classmethod
    def of(
        cls, stack: ImageStack, number: int, numbers: FilmNumbers, tiles: NDArray[np.intp]
    ) -> "Frame":
        """Measure phases, noise and walls of an image.

        Args:
            stack: Images, read.
            number: Number of the image, from 1.
            numbers: Numbers of its film.
            tiles: Tile of each site, from 0; each counts as independent `(rows, columns)`.
        """
        page = stack.usable[number - 1]
        flat, filtered = flat_images(stack, page)
        values = site_values(stack, filtered)[stack.sites]
        cuts = stack.thresholds
        phases = find_phases(values, len(stack.levels), cuts, tiles[stack.sites])
        above = above_threshold(stack, filtered)
        width = wall_width(*profile(filtered, above > 0, stack.valid))
        return cls(number, page, phases, noise(flat, stack.valid), width, numbers)


def flat_images(stack: ImageStack, page: Page) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return an image without its background, before and after the filter against noise."""
    unfiltered = copy(stack)
    unfiltered.steps = replace(stack.steps, denoise=0.0)
    flat = unfiltered.flat(page)
    return flat, stack.steps.smooth(flat, stack.valid)


def site_values(stack: ImageStack, filtered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values of the sites of a filtered image that are compared with the thresholds."""
    coarse = stack.steps.coarsen(filtered)
    return coarse - local_threshold(coarse, stack.window) if stack.threshold == "local" else coarse


def above_threshold(stack: ImageStack, filtered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the grey values of a filtered image, less the threshold of the bright phase."""
    cut = float(stack.thresholds[-1])
    if stack.threshold != "local":
        return filtered - cut
    window = 2 * round(stack.window * stack.steps.zoom / 2) + 1
    above: NDArray[np.float64] = filtered - local_threshold(filtered, window) - cut
    return above
