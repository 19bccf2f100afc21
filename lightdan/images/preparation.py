"""Segmentation, noise and filter of a stack, from some of its images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightdan.images import noise
from lightdan.images.backgrounds import Backgrounds
from lightdan.images.extras import MissingExtraError
from lightdan.images.files import Page
from lightdan.images.masks import Masks, filled
from lightdan.images.processing import Steps
from lightdan.images.segmentations import Segmentation, recognise

SAMPLE = 6
"""Number of images from which the filter is chosen, and segmentations are recognised."""


@dataclass(frozen=True)
class Preparation:
    """Meaning of the images, and how to process them.

    Args:
        steps: Processing steps, with the chosen filter.
        segmentation: Meaning of images that are segmented already, or None.
        width: Width of the filter that separates the phases best, in pixels.
        noise: Standard deviation of white noise in a pixel without background.
    """

    steps: Steps
    segmentation: Segmentation | None = None
    width: float = 0.0
    noise: float = 0.0

    @classmethod
    def of(cls, pages: Sequence[Page], steps: Steps, masks: Masks) -> "Preparation":
        """Look at some of the images; those that cannot be used are reported when all are read."""
        images: dict[Page, np.ndarray] = {}
        places = np.unique(np.linspace(0, len(pages) - 1, SAMPLE).astype(int))
        for page in [pages[place] for place in places]:
            try:
                image = page.read()
                masks.add(page, image)
            except MissingExtraError:
                raise
            except ValueError:
                continue
            if not images or image.dtype == next(iter(images.values())).dtype:
                images[page] = steps.cut(image)
        if not images:
            return cls(steps)
        inside = {page: image[masks.pixels(page)] for page, image in images.items()}
        segmentation = recognise(
            [np.where(masks.pixels(p), image, inside[p][0]) for p, image in images.items()]
        )
        if segmentation is not None:
            return cls(replace(steps, background="none", denoise=0.0), segmentation)
        varied = [page for page, part in inside.items() if part.min() < part.max()]
        if not varied:
            return cls(steps)
        backgrounds = Backgrounds(steps, masks)
        flat = [backgrounds.rough(p, filled(images[p], masks.pixels(p))) for p in varied]
        valid = [masks.pixels(page) for page in varied]
        white = float(np.median([noise.noise(*each) for each in zip(flat, valid, strict=True)]))
        if not isinstance(steps.denoise, str):
            return cls(steps, None, steps.denoise, white)
        width = noise.best_width(flat, valid, [masks.sites(page) for page in varied], steps.coarsen)
        return cls(
            replace(steps, denoise=width) if steps.denoise == "auto" else steps, None, width, white
        )
