"""Backgrounds of the images of a stack."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lightdan.images import noise
from lightdan.images.background import illumination, line_offsets, polynomial
from lightdan.images.files import Page
from lightdan.images.masks import Masks, filled
from lightdan.images.processing import BACKGROUNDS, Steps, image_of_shape


@dataclass
class Backgrounds:
    """Backgrounds of images, measured one by one and removed afterwards.

    Args:
        steps: Processing steps.
        masks: Unmasked pixels and sites.
        width: Width of the Gaussian filter that comes before the fit, in pixels.
    """

    steps: Steps
    masks: Masks
    width: float = 0.0
    _lights: dict[Page, tuple[NDArray[np.float64], bool]] = field(default_factory=dict)
    _offsets: dict[Page, NDArray[np.float64]] = field(default_factory=dict)
    _references: dict[tuple[int, int], NDArray[np.float64]] = field(default_factory=dict)
    _total: NDArray[np.float64] | None = None
    _number: int = 0

    def add(self, page: Page, image: NDArray[np.number]) -> None:
        """Measure the background of a cropped image, or what it adds to that of all images.

        Raises:
            ValueError: The background is the mean of images of several shapes.
        """
        kind, valid = self.steps.background, self.masks.pixels(page)
        if kind == "polynomial":
            smooth = noise.gaussian(filled(image, valid), valid, self.width)
            self._lights[page] = illumination(self.steps.coarsen(smooth), self.masks.sites(page))
        elif kind == "lines":
            self._offsets[page] = line_offsets(filled(image, valid), valid)
        elif kind == "stack":
            if self._total is not None and self._total.shape != image.shape:
                raise ValueError(
                    f"The image {page} is {image.shape[0]} × {image.shape[1]}, but others are "
                    f"{self._total.shape[0]} × {self._total.shape[1]}, so they have no mean: set "
                    "background to polynomial."
                )
            values = filled(image, valid)
            self._total = values if self._total is None else self._total + values
            self._number += 1

    def settle(self) -> None:
        """Give an image of a single phase, which does not tell dark from bright, the light of others."""
        certain = [light for light, two_phases in self._lights.values() if two_phases]
        if certain:
            mean = np.mean(certain, axis=0)
            for page, (light, two_phases) in self._lights.items():
                self._lights[page] = light if two_phases else mean, True

    def remove(self, page: Page, image: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a cropped image without its background."""
        kind = self.steps.background
        if kind == "polynomial":
            return self.steps.flatten(image, polynomial(self._lights[page][0], image.shape))
        if kind == "lines":
            return image - self._offsets[page][:, None]
        if kind == "stack":
            assert self._total is not None
            return self.steps.flatten(image, self._total / self._number)
        return self._without_reference(page, image)

    def rough(self, page: Page, image: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a cropped image without its background, before the noise and other images are known."""
        kind = self.steps.background
        if kind == "lines":
            return image - line_offsets(image, self.masks.pixels(page))[:, None]
        if kind in ("polynomial", "stack"):
            light, _ = illumination(self.steps.coarsen(image), self.masks.sites(page))
            return self.steps.flatten(image, polynomial(light, image.shape))
        return self._without_reference(page, image)

    def _without_reference(self, page: Page, image: NDArray[np.float64]) -> NDArray[np.float64]:
        kind, shape = self.steps.background, self.masks.shapes[page]
        if kind in BACKGROUNDS:
            return image
        if shape not in self._references:
            reference = image_of_shape(kind, "background", shape)
            self._references[shape] = self.steps.cut(reference.astype(np.float64))
        return self.steps.flatten(image, self._references[shape])
