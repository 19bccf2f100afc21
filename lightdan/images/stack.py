"""A stack of images, converted to textures of spins or levels."""

import hashlib
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
"""Number of grey values of each image from which the thresholds are computed."""
SOME = 20
"""Number of images in which constant regions are searched."""


@dataclass
class ImageStack:
    """Images of a folder, a glob or a file, and their processing.

    Args:
        path: Folder, glob or file of the images.
        steps: Processing steps from an image to the grey values of its sites.
        levels: Values of the sites, from dark to bright.
        threshold: ``otsu``, ``local`` or a grey value relative to the background.
        window: Width of the neighbourhood of a local threshold, in sites.
        skip: Whether to skip images that cannot be used, with a warning.
        num_images: Number of images to use, from the first; by default all.
        seed: Random seed for choosing the grey values from which the thresholds are computed.
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
        """All images, not yet checked."""
        return list(pages(find_files(self.path), self.skip))[: self.num_images]

    def read(self, progress: Callable[[int], None] = lambda n: None) -> np.ndarray:
        """Return the textures `(M, rows, columns)` and set `usable` to the images that they come from.

        Hashes of these images are the attribute `names`.

        Each image is read two or three times, because only a few are in memory at a time.

        Args:
            progress: Callback that receives the number of images that were read since its last call.

        Raises:
            ValueError: No image can be used, one cannot be used and ``skip`` is false, all have a single
                grey value, or the threshold leaves one phase.
        """
        self.usable: list[Page] = []
        self.names: list[str] = []
        self.backgrounds: dict[Page, np.ndarray] = {}
        illuminations: dict[Page, tuple[np.ndarray, bool]] = {}
        total = np.zeros(0)
        some: list[np.ndarray] = []
        for page, image in self._checked(progress):
            self.usable.append(page)
            total = image.astype(np.float64) if len(self.usable) == 1 else total + image
            if self.steps.background == "polynomial":
                illuminations[page] = processing.illumination(self.steps.coarsen(image), self.sites)
            if len(some) < SOME:
                some.append(image)
        if not self.usable:
            raise ValueError(f"No image of {self.path} can be used: see the warnings for the reasons.")
        self.mean = total / len(self.usable)
        # A single-phase image does not reveal which phase it shows: use the illumination of the others.
        certain = [light for light, two_phases in illuminations.values() if two_phases]
        for page, (light, two_phases) in illuminations.items():
            self.backgrounds[page] = light if two_phases or not certain else np.mean(certain, axis=0)
        self._warn_of_constant_regions(np.stack(some))
        self.thresholds = self._thresholds(progress)
        textures = []
        for page in self.usable:
            textures.append(self.classify(self.coarse(page)))
            progress(1)
        stacked = np.stack(textures)
        if len(np.unique(stacked[:, self.sites])) < 2:
            raise ValueError(
                f"The threshold leaves one phase in all images of {self.path}: set another threshold "
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
                    this_kind, first_kind = (
                        f"{x.shape[0]} × {x.shape[1]} of {x.dtype}" for x in (image, first[1])
                    )
                    raise ValueError(
                        f"The image {page} is {this_kind}, but {first[0]} is {first_kind}: use images "
                        "of one shape and type, or set bad_files to skip."
                    )
            except ValueError as error:
                if not self.skip or isinstance(error, MissingExtraError):
                    raise
                warnings.warn(f"{str(error).rpartition(': ')[0]}; it is skipped.", stacklevel=2)
                continue
            self.full_shape, self.dtype = (image.shape[0], image.shape[1]), image.dtype
            cut = self.steps.cut(image)
            if cut.size == 0:
                raise ValueError(
                    f"crop {list(self.steps.crop or ())} leaves nothing of an image of "
                    f"{image.shape[0]} × {image.shape[1]} pixels: set another crop."
                )
            progress(1)
            self.names.append(f"image-{hashlib.sha256(image.tobytes()).hexdigest()[:16]}")
            yield page, cut

    @cached_property
    def valid(self) -> np.ndarray:
        """Unmasked pixels of a cropped image `(rows, columns)`."""
        valid = self.steps.valid(self.full_shape)
        if not valid.any():
            raise ValueError(f"masks leave nothing of the images of {self.path}: set smaller masks.")
        return valid

    @cached_property
    def sites(self) -> np.ndarray:
        """Sites without masked pixels `(rows, columns)`."""
        return self.steps.coarsen(self.valid.astype(np.float64)) > 1 - 1e-9

    def image(self, page: Page) -> np.ndarray:
        """Read an image and crop it."""
        return self.steps.cut(page.read())

    def flat(self, page: Page) -> np.ndarray:
        """Read an image, crop it, and remove background and noise."""
        image = self.image(page).astype(np.float64)
        if self.steps.background == "polynomial":
            light = np.tensordot(self.backgrounds[page], processing.basis(image.shape), 1)
            image = self.steps.flatten(image, light)
        elif self.steps.background == "stack":
            image = self.steps.flatten(image, self.mean)
        return self.steps.smooth(image, self.valid)

    def coarse(self, page: Page) -> np.ndarray:
        """Return the grey values of the sites of an image."""
        return self.steps.coarsen(self.flat(page))

    def classify(self, coarse: np.ndarray) -> np.ndarray:
        """Return the values of sites with these grey values."""
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
        pooled = np.concatenate(greys)
        if np.ptp(pooled) <= 1e-9 * np.abs(pooled).max():
            raise ValueError(
                f"The images of {self.path} have a single grey value: use images with contrast."
            )
        return processing.thresholds(pooled, len(self.levels))

    def _warn_of_constant_regions(self, some: np.ndarray) -> None:
        box = processing.constant_region(np.where(self.valid, some, some[:, self.valid][:, :1, None]))
        if box is None or (~self.valid[box[0] : box[1], box[2] : box[3]]).mean() > 0.5:
            return
        top, left = (self.steps.crop[0], self.steps.crop[2]) if self.steps.crop else (0, 0)
        at = [box[0] + top, box[1] + top, box[2] + left, box[3] + left]
        warnings.warn(
            f"The images of {self.path} have a constant region, rows {at[0]} to {at[1]}, "
            f"columns {at[2]} to {at[3]}: if it is a scale bar, set masks to [{at}].",
            stacklevel=2,
        )


def site_scale(path: str, pixel: float | None, site: float | None) -> tuple[float, float, str]:
    """Return the number of pixels per site along an axis, the side of a site, and its unit.

    Args:
        path: Path of the images; their metadata may contain the size of a pixel.
        pixel: Side of a pixel in µm; by default from the metadata.
        site: Side of a site in µm, or in pixels if the size of a pixel is unknown.

    Raises:
        ValueError: A site is smaller than a pixel.
    """
    known = pixel or pixel_size(find_files(path)[0])
    if known is None or not (known > 0 and math.isfinite(known)):
        known = None
    size, unit = (1.0, "px") if known is None else (known, "µm")
    side = site or size
    if side < size * (1 - 1e-9):
        raise ValueError(
            f"site_size {side:g} {unit} is smaller than a pixel, {size:g} {unit}: set it larger."
        )
    return max(1.0, side / size), side, unit
