"""A stack of images, read and turned into textures of spins or levels."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lightdan.images import processing
from lightdan.images.files import MissingExtraError, Page, find_files, pages, pixel_size
from lightdan.images.processing import Steps

GREYS = 20_000
"""Values of each image by which the thresholds are found."""
SOME = 20
"""Images that are looked at for regions that never change."""


@dataclass
class ImageStack:
    """The images of a folder, a glob or a file, and what is to be done to them.

    Args:
        path: Where they are.
        steps: From an image to the grey values of its sites.
        levels: Values of the sites, from dark to bright.
        threshold: ``otsu``, ``local`` or a grey value relative to the background.
        window: Sites across that a local threshold sees.
        skip: Whether to leave out what cannot be used, with a warning.
        num_images: The first so many; by default all.
        seed: Of the choice of the grey values by which the thresholds are found.
    """

    path: str
    steps: Steps
    levels: Sequence[int] = (-1, 1)
    threshold: str | float = "otsu"
    window: int = 51
    skip: bool = False
    num_images: int | None = None
    seed: int = 0

    @cached_property
    def pages(self) -> list[Page]:
        """All there are, before any is looked at."""
        return list(pages(find_files(self.path), self.skip))[: self.num_images]

    def read(self, progress: Callable[[int], None] = lambda n: None) -> np.ndarray:
        """The textures `(M, rows, columns)` of the images that can be used, which are then `usable`.

        Only a few images are held at a time: each is read two or three times.

        Args:
            progress: Told how many more images are read.

        Raises:
            ValueError: none can be used, or one cannot and is not to be skipped, they are of one grey,
                or the threshold leaves one phase.
        """
        self.usable: list[Page] = []
        self.backgrounds: dict[Page, np.ndarray] = {}
        found: dict[Page, tuple[np.ndarray, bool]] = {}
        total = np.zeros(0)
        some: list[np.ndarray] = []
        for page, image in self._checked(progress):
            self.usable.append(page)
            total = image.astype(np.float64) if len(self.usable) == 1 else total + image
            if self.steps.background == "polynomial":
                found[page] = processing.illumination(self.steps.coarsen(image), self.sites)
            if len(some) < SOME:
                some.append(image)
        if not self.usable:
            raise ValueError(f"None of the images of {self.path} can be used.")
        self.mean = total / len(self.usable)
        # An image of one phase does not tell which: its light is that of the others.
        seen = [light for light, two_phases in found.values() if two_phases]
        for page, (light, two_phases) in found.items():
            self.backgrounds[page] = light if two_phases or not seen else np.mean(seen, axis=0)
        self._warn_of_constant_regions(np.stack(some))
        self.thresholds = self._thresholds(progress)
        textures = []
        for page in self.usable:
            textures.append(self.classify(self.coarse(page)))
            progress(1)
        stacked = np.stack(textures)
        if len(np.unique(stacked[:, self.sites])) < 2:
            raise ValueError(
                f"The threshold leaves one phase in all images of {self.path}: give another threshold "
                "or background."
            )
        return stacked

    def _checked(self, progress: Callable[[int], None]) -> Iterator[tuple[Page, np.ndarray]]:
        first: tuple[Page, np.ndarray] | None = None
        for page in self.pages:
            try:
                image = page.read()
                first = first or (page, image)
                if (image.shape, image.dtype) != (first[1].shape, first[1].dtype):
                    ours, theirs = (
                        f"{x.shape[0]} × {x.shape[1]} of {x.dtype}" for x in (image, first[1])
                    )
                    raise ValueError(
                        f"The image {page} is {ours}, but {first[0]} is {theirs}: give images of one "
                        "kind, or set bad_files to skip."
                    )
            except ValueError as error:
                if not self.skip or isinstance(error, MissingExtraError):
                    raise
                warnings.warn(f"{str(error).rpartition(': ')[0]}; it is left out.", stacklevel=2)
                continue
            self.full_shape, self.dtype = (image.shape[0], image.shape[1]), image.dtype
            cut = self.steps.cut(image)
            if cut.size == 0:
                raise ValueError(
                    f"crop {list(self.steps.crop or ())} leaves nothing of an image of "
                    f"{image.shape[0]} × {image.shape[1]} pixels."
                )
            progress(1)
            yield page, cut

    @cached_property
    def valid(self) -> np.ndarray:
        """Which pixels of a cropped image count."""
        valid = self.steps.valid(self.full_shape)
        if not valid.any():
            raise ValueError(f"masks leave nothing of the images of {self.path}.")
        return valid

    @cached_property
    def sites(self) -> np.ndarray:
        """Which sites count: those of whose pixels none is masked."""
        return self.steps.coarsen(self.valid.astype(np.float64)) > 1 - 1e-9

    def image(self, page: Page) -> np.ndarray:
        """A cropped image."""
        return self.steps.cut(page.read())

    def flat(self, page: Page) -> np.ndarray:
        """A cropped image without background and noise."""
        image = self.image(page).astype(np.float64)
        if self.steps.background == "polynomial":
            light = np.tensordot(self.backgrounds[page], processing.basis(image.shape), 1)
            image = self.steps.flatten(image, light)
        elif self.steps.background == "stack":
            image = self.steps.flatten(image, self.mean)
        return self.steps.smooth(image, self.valid)

    def coarse(self, page: Page) -> np.ndarray:
        """The grey values of the sites of an image."""
        return self.steps.coarsen(self.flat(page))

    def classify(self, coarse: np.ndarray) -> np.ndarray:
        """The values of sites of these greys."""
        if self.thresholds is None:
            above = (coarse > processing.local_threshold(coarse, self.window)).astype(int)
        else:
            above = np.digitize(coarse, self.thresholds)
        return np.asarray(self.levels, np.int8)[above]

    def _thresholds(self, progress: Callable[[int], None]) -> np.ndarray | None:
        if self.threshold == "local":
            return None
        if not isinstance(self.threshold, str):
            return np.array([float(self.threshold)])
        rng = np.random.default_rng(self.seed)
        greys = []
        for page in self.usable:
            values = self.coarse(page)[self.sites]
            greys.append(rng.choice(values, min(GREYS, len(values)), replace=False))
            progress(1)
        together = np.concatenate(greys)
        if np.ptp(together) <= 1e-9 * np.abs(together).max():
            raise ValueError(f"The images of {self.path} are of one grey: there is nothing to learn.")
        return processing.thresholds(together, len(self.levels))

    def _warn_of_constant_regions(self, some: np.ndarray) -> None:
        box = processing.constant_region(np.where(self.valid, some, some[:, self.valid][:, :1, None]))
        if box is None or (~self.valid[box[0] : box[1], box[2] : box[3]]).mean() > 0.5:
            return
        top, left = (self.steps.crop[0], self.steps.crop[2]) if self.steps.crop else (0, 0)
        at = [box[0] + top, box[1] + top, box[2] + left, box[3] + left]
        warnings.warn(
            f"The images of {self.path} have a region that never changes, rows {at[0]} to {at[1]}, "
            f"columns {at[2]} to {at[3]}: if it is a scale bar, set masks to [{at}].",
            stacklevel=2,
        )


def site_scale(path: str, pixel: float | None, site: float | None) -> tuple[float, float, str]:
    """Pixels of a site along an axis, its side, and the unit of that.

    Args:
        path: Of the images, which may tell the size of a pixel.
        pixel: Side of a pixel in µm where it is given.
        site: That of a site in µm, or in pixels where the size of one is not known.

    Raises:
        ValueError: a site is smaller than a pixel.
    """
    known = pixel or pixel_size(find_files(path)[0])
    if known is None or not (known > 0 and math.isfinite(known)):
        known = None
    size, unit = (1.0, "px") if known is None else (known, "µm")
    side = site or size
    if side < size * (1 - 1e-9):
        raise ValueError(
            f"site_size {side:g} {unit} is smaller than a pixel, {size:g} {unit}: make it larger."
        )
    return max(1.0, side / size), side, unit
