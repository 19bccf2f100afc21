"""A stack of images, converted to textures of spins or levels."""

import copy
import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lightdan.images import processing
from lightdan.images.backgrounds import Backgrounds
from lightdan.images.extras import MissingExtraError, extra
from lightdan.images.files import SKIP, Page, find_files, pages
from lightdan.images.formats import UNCHOSEN, Choice
from lightdan.images.greys import sampled
from lightdan.images.masks import Masks, filled, padded
from lightdan.images.preparation import Preparation
from lightdan.images.processing import Steps
from lightdan.images.thresholds import Phases, check_phases, find_phases, local_threshold
from lightdan.statistics import Estimate

SOME = 20
"""Number of images in which constant regions are searched."""


@dataclass
class ImageStack:
    """Images of a folder, a glob or a file, and their processing.

    The images may have different shapes; their textures are then padded.

    Args:
        path: Folder, glob or file of the images.
        steps: Processing steps from an image to the grey values of its sites.
        levels: Values of the sites, from dark to bright.
        threshold: ``mixture``, ``otsu``, ``hysteresis``, ``local`` or a grey value relative to the
            background.
        window: Width of the neighbourhood of a local threshold, in sites.
        skip: Whether to skip images that cannot be used, with a warning.
        num_images: Number of images to use, from the first; by default all.
        seed: Random seed for choosing the grey values from which the thresholds are computed.
        choice: Channel and axis of files that have several.
    """

    path: str
    steps: Steps
    levels: Sequence[int] = (-1, 1)
    threshold: str | float = "mixture"
    window: int = 51
    skip: bool = False
    num_images: int | None = None
    seed: int = 0
    choice: Choice = UNCHOSEN

    @cached_property
    def pages(self) -> list[Page]:
        """All images, not yet checked."""
        return list(pages(find_files(self.path), self.skip, self.choice))[: self.num_images]

    def read(self, progress: Callable[[int], None] = lambda n: None) -> np.ndarray:
        """Return the textures `(M, rows, columns)` and set `usable` to the images that they come from.

        Hashes of these images are the attribute `names`. The attribute `phases` has the thresholds with
        their errors, `segmentation` the meaning of images that are segmented already, or None.

        Each image is read three times, because only a few are in memory at a time.

        Args:
            progress: Callback that receives the number of images that were read since its last call.

        Raises:
            ValueError: No image can be used, one cannot be used and ``skip`` is false, the images do not
                show separate phases, or the threshold leaves one phase.
        """
        self.masks = Masks(self.path, self.steps)
        found = Preparation.of(self.pages, self.steps, self.masks)
        self.steps, self.segmentation, self.noise = found.steps, found.segmentation, found.noise
        self._check_labels()
        self.backgrounds = Backgrounds(self.steps, self.masks, found.width)
        self.usable: list[Page] = []
        self.names: list[str] = []
        some: list[np.ndarray] = []
        for page, image in self._checked(progress):
            self.usable.append(page)
            self.backgrounds.add(page, image)
            if len(some) < SOME and (not some or image.shape == some[0].shape):
                valid = self.masks.pixels(page)
                some.append(np.where(valid, image, image[valid][0]))
        if not self.usable:
            raise ValueError(f"No image of {self.path} can be used: see the warnings for the reasons.")
        self.backgrounds.settle()
        bar = None if self.segmentation is not None else self._constant_region(np.stack(some))
        self.phases = self._phases(progress, bar)
        textures = []
        for page in self.usable:
            textures.append(self.classify(self.coarse(page)))
            progress(1)
        stacked = padded(textures, self.levels[0])
        if len(np.unique(stacked[self.sites])) < 2:
            raise ValueError(
                f"The threshold leaves one phase in all images of {self.path}: set another threshold "
                "or background."
            )
        return stacked

    def only(self, images: Sequence[int]) -> "ImageStack":
        """Return the stack with some of its usable images, which have been read.

        Args:
            images: Numbers of the images, from 0.
        """
        part = copy.copy(self)
        part.usable = [self.usable[image] for image in images]
        part.names = [self.names[image] for image in images]
        part.__dict__.pop("sites", None)
        return part

    @property
    def description(self) -> str:
        """Steps from the images to their textures, in words."""
        if self.segmentation is not None:
            return f"{self.segmentation}; no background, filter or threshold"
        contrast = self.phases.means[-1] - self.phases.means[0]
        parts = [f"signal to noise of a pixel: {contrast / self.noise:.2g}"] if self.noise > 0 else []
        width = self.steps.denoise
        parts.append("non-local means" if width == "nlm" else f"Gaussian filter: {width:.2g} px")
        if self.threshold != "local":
            pairs = zip(self.thresholds, self.phases.threshold_errors, strict=True)
            parts.append(f"threshold: {', '.join(str(Estimate(*pair)) for pair in pairs)}")
        parts.append(f"separation of the phases: {self.phases.separation:.2f}")
        return "; ".join(parts)

    @property
    def shapes(self) -> str:
        """Number of images, and their rows and columns of pixels, in words."""
        kinds: dict[tuple[int, int], int] = {}
        for page in self.usable:
            shape = self.masks.shapes[page]
            kinds[shape] = kinds.get(shape, 0) + 1
        parts = [f"{number} of {rows} × {columns}" for (rows, columns), number in kinds.items()]
        if len(parts) == 1:
            parts[0] = parts[0].replace(" of", f" image{'s' * (len(self.usable) > 1)} of", 1)
            return f"{parts[0]} pixels"
        return f"{len(self.usable)} images, {', '.join(parts[:-1])} and {parts[-1]} pixels"

    @property
    def thresholds(self) -> np.ndarray:
        """Thresholds between the classes `(levels − 1,)`."""
        return self.phases.thresholds

    @cached_property
    def sites(self) -> np.ndarray:
        """Sites of the padded textures without masked pixels `(M, rows, columns)`."""
        return self.masks.of_all(self.usable)

    def image(self, page: Page) -> np.ndarray:
        """Read an image and crop it."""
        return self.steps.cut(page.read())

    def flat(self, page: Page) -> np.ndarray:
        """Read an image, crop it, and remove background and noise."""
        return self.steps.smooth(self.unfiltered(page), self.masks.pixels(page))

    def unfiltered(self, page: Page) -> np.ndarray:
        """Read an image, crop it, and remove the background."""
        image = filled(self._classes(page, self.image(page)), self.masks.pixels(page))
        return self.backgrounds.remove(page, image)

    def coarse(self, page: Page) -> np.ndarray:
        """Return the grey values of the sites of an image, less a local threshold if there is one.

        Sites of segmented images have the number of the class of most of their pixels.
        """
        flat, number = self.flat(page), len(self.levels)
        if self.segmentation is not None and number > 2:
            shares = [self.steps.coarsen((flat == k).astype(np.float64)) for k in range(number)]
            return np.argmax(shares, axis=0).astype(np.float64)
        return self.site_values(flat)

    def site_values(self, flat: np.ndarray) -> np.ndarray:
        """Return the values of the sites of a filtered image that are compared with the thresholds."""
        coarse = self.steps.coarsen(flat)
        local = self.threshold == "local" and self.segmentation is None
        return coarse - local_threshold(coarse, self.window) if local else coarse

    def classify(self, coarse: np.ndarray) -> np.ndarray:
        """Return the values of sites with these grey values."""
        if self.threshold == "hysteresis" and self.segmentation is None:
            low = self.thresholds[0]
            high = self.phases.means @ [0.25, 0.75]
            above = extra("skimage.filters").apply_hysteresis_threshold(coarse, low, high).astype(int)
        else:
            above = np.digitize(coarse, self.thresholds)
        return np.asarray(self.levels, np.int8)[above]

    def _checked(self, progress: Callable[[int], None]) -> Iterator[tuple[Page, np.ndarray]]:
        """Yield the images that can be used, cropped."""
        first: Page | None = None
        for page in self.pages:
            try:
                image = page.read()
                first = first or page
                if page is first:
                    self.dtype = image.dtype
                elif image.dtype != self.dtype:
                    raise ValueError(
                        f"The image {page} has values of {image.dtype}, but {first} of {self.dtype}: "
                        "use images of one type, or set bad_files to skip."
                    )
                self.masks.add(page, image)
                cut = self.steps.cut(image)
                self._check_values(page, cut)
            except ValueError as error:
                if not self.skip or isinstance(error, MissingExtraError):
                    raise
                warnings.warn(f"{str(error).rpartition(': ')[0]}; it is skipped.", stacklevel=2)
                continue
            progress(1)
            self.names.append(f"image-{hashlib.sha256(image.tobytes()).hexdigest()[:16]}")
            yield page, cut

    def _check_values(self, page: Page, image: np.ndarray) -> None:
        """Raise ValueError if an image has one grey value, or others than those of a segmentation."""
        if self.segmentation is not None:
            self._classes(page, image)
            return
        low, high = np.nanmin(image), np.nanmax(image)
        if low == high:
            black = ", all black" if low == 0 else ""
            raise ValueError(f"The image {page} has a single grey value, {low:g}{black}: {SKIP}.")

    def _check_labels(self) -> None:
        """Raise ValueError if segmented images have another number of labels than there are levels."""
        if self.segmentation is None or not isinstance(self.threshold, str):
            return
        labels = len(self.segmentation.labels) or 2
        if labels != len(self.levels):
            raise ValueError(
                f"The images of {self.path} are {self.segmentation}, but num_levels is "
                f"{len(self.levels)}: set num_levels to {labels}, or threshold to a number between "
                "two of the values."
            )

    def _classes(self, page: Page, image: np.ndarray) -> np.ndarray:
        if self.segmentation is None or not isinstance(self.threshold, str):
            return image
        valid = self.masks.pixels(page)
        try:
            return self.segmentation.classes(np.where(valid, image, image[valid][0]))
        except ValueError as error:
            raise ValueError(
                f"The image {page} {error}: {SKIP}, or pass images that are all segmented, or none."
            ) from None

    def _phases(self, progress: Callable[[int], None], bar: str | None) -> Phases:
        def coarse() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for page in self.usable:
                yield self.coarse(page), self.masks.sites(page)
                progress(1)

        values, blocks, ramp = sampled(coarse(), len(self.usable), self.seed)
        if np.ptp(values) <= 1e-9 * np.abs(values).max():
            raise ValueError(
                f"The images of {self.path} have a single grey value: use images with contrast."
            )
        mixture = self.threshold in ("mixture", "hysteresis")
        phases = find_phases(values, len(self.levels), self._cuts(), blocks, self.seed, mixture)
        if isinstance(self.threshold, str):
            one = len(self.usable) == 1
            name = f"The image {self.usable[0]} does" if one else f"The images of {self.path} do"
            check_phases(phases, name, ramp, bar)
        return phases

    def _cuts(self) -> np.ndarray | None:
        if not isinstance(self.threshold, str):
            return np.array([float(self.threshold)])
        if self.segmentation is not None:
            return np.arange(len(self.levels) - 1) + 0.5
        return np.zeros(1) if self.threshold == "local" else None

    def _constant_region(self, some: np.ndarray) -> str | None:
        """Return the option that leaves out a constant region of the images, and warn of it."""
        box, valid = processing.constant_region(some), self.masks.pixels(self.usable[0])
        if box is None or (~valid[box[0] : box[1], box[2] : box[3]]).mean() > 0.5:
            return None
        top, left = (self.steps.crop[0], self.steps.crop[2]) if self.steps.crop else (0, 0)
        at = [box[0] + top, box[1] + top, box[2] + left, box[3] + left]
        warnings.warn(
            f"The images of {self.path} have a constant region, rows {at[0]} to {at[1]}, "
            f"columns {at[2]} to {at[3]}: if it is a scale bar, set masks to [{at}].",
            stacklevel=2,
        )
        return f"masks to [{at}] if this constant region is a scale bar"
