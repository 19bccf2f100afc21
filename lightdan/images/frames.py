"""Single images of a stack: grey values at full resolution, phases, noise and walls."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightdan.images.files import Page
from lightdan.images.film import Film, FilmNumbers
from lightdan.images.noise import noise
from lightdan.images.stack import ImageStack
from lightdan.images.thresholds import Phases, find_phases, local_threshold
from lightdan.images.walls import profile, wall_width
from lightdan.statistics import Estimate

GREYS = 100_000
"""Number of grey values from which the phases of an image are found."""
PART = 384
"""Side of the middle part of an image in which walls are measured, in pixels."""


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
        film: Geometry of its film.
        segmented: Whether it was segmented elsewhere, so that phases, noise and walls mean nothing.
    """

    number: int
    page: Page
    phases: Phases
    noise: float
    wall: float
    numbers: FilmNumbers
    film: Film
    segmented: bool = False

    @property
    def ratio(self) -> float:
        """Contrast of the phases over the noise of a pixel, or NaN without noise or with one phase."""
        contrast = float(self.phases.means[-1] - self.phases.means[0])
        known = self.noise > 0 and self.phases.shares.min() > 0
        return contrast / self.noise if known else math.nan

    @classmethod
    def of(cls, stack: ImageStack, number: int, numbers: FilmNumbers, film: Film) -> "Frame":
        """Measure phases, noise and walls of an image.

        Args:
            stack: Images, read.
            number: Number of the image, from 1.
            numbers: Numbers of its film.
            film: Geometry of its film; each tile counts as independent.
        """
        page = stack.usable[number - 1]
        flat = stack.unfiltered(page)
        valid = stack.masks.pixels(page)
        filtered = stack.steps.smooth(flat, valid)
        rows, columns = film.valid.shape
        values, tiles = stack.site_values(filtered)[:rows, :columns][film.valid], film.labels[film.valid]
        every = 1 + len(values) // GREYS
        phases = find_phases(values[::every], len(stack.levels), stack.thresholds, tiles[::every])
        if stack.segmentation is not None:
            return cls(number, page, phases, 0.0, math.nan, numbers, film, True)
        middle = tuple(slice(max(0, (n - PART) // 2), max(0, n - PART) // 2 + PART) for n in flat.shape)
        above = above_threshold(stack, filtered)[middle] > 0
        width = wall_width(*profile(filtered[middle], above, valid[middle]))
        return cls(number, page, phases, noise(flat, valid), width, numbers, film)

    @property
    def separation(self) -> Estimate:
        """Separation of the phases; NaN if it was segmented elsewhere."""
        if self.segmented:
            return Estimate(math.nan, math.nan)
        return Estimate(self.phases.separation, self.phases.separation_error)


def above_threshold(stack: ImageStack, filtered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the grey values of a filtered image, less the threshold of the bright phase."""
    cut = float(stack.thresholds[-1])
    if stack.threshold != "local":
        return filtered - cut
    window = 2 * round(stack.window * stack.steps.zoom / 2) + 1
    above: NDArray[np.float64] = filtered - local_threshold(filtered, window) - cut
    return above
