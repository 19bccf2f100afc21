"""A stack of images, converted to textures of spins or levels."""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lightdan.images import noise, processing
from lightdan.images.background import illumination, line_offsets, polynomial
from lightdan.images.extras import MissingExtraError, extra
from lightdan.images.files import SKIP, Page, find_files, pages
from lightdan.images.formats import UNCHOSEN, Choice
from lightdan.images.greys import sampled
from lightdan.images.processing import BACKGROUNDS, Steps
from lightdan.images.segmentations import Segmentation, recognise
from lightdan.images.thresholds import Phases, check_phases, find_phases, local_threshold
from lightdan.statistics import Estimate

SOME = 20
"""Number of images in which constant regions are searched."""
SAMPLE = 6
"""Number of images from which the filter is chosen, and segmentations are recognised."""


@dataclass
class ImageStack:
    """Images of a folder, a glob or a file, and their processing.

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
        self.usable: list[Page] = []
        self.names: list[str] = []
        self.backgrounds: dict[Page, np.ndarray] = {}
        self._prepare()
        illuminations: dict[Page, tuple[np.ndarray, bool]] = {}
        total = np.zeros(0)
        some: list[np.ndarray] = []
        for page, image in self._checked(progress):
            self.usable.append(page)
            total = image.astype(np.float64) if len(self.usable) == 1 else total + image
            if self.steps.background == "polynomial":
                smooth = noise.gaussian(image.astype(np.float64), self.valid, self.width)
                illuminations[page] = illumination(self.steps.coarsen(smooth), self.sites)
            elif self.steps.background == "lines":
                self.backgrounds[page] = line_offsets(image.astype(np.float64), self.valid)
            if len(some) < SOME:
                some.append(image)
        if not self.usable:
            raise ValueError(f"No image of {self.path} can be used: see the warnings for the reasons.")
        self.mean = total / len(self.usable)
        # A single-phase image does not reveal which phase it shows: use the illumination of the others.
        certain = [light for light, two_phases in illuminations.values() if two_phases]
        for page, (light, two_phases) in illuminations.items():
            self.backgrounds[page] = light if two_phases or not certain else np.mean(certain, axis=0)
        bar = None if self.segmentation is not None else self._constant_region(np.stack(some))
        self.phases = self._phases(progress, bar)
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
    def thresholds(self) -> np.ndarray:
        """Thresholds between the classes `(levels − 1,)`."""
        return self.phases.thresholds

    def _prepare(self) -> None:
        """Recognise segmentations, and choose the filter, from some of the images."""
        self.segmentation: Segmentation | None = None
        self.width, self.noise = 0.0, 0.0
        images: list[np.ndarray] = []
        places = np.unique(np.linspace(0, len(self.pages) - 1, SAMPLE).astype(int))
        for page in [self.pages[place] for place in places]:
            try:
                image = page.read()
            except MissingExtraError:
                raise
            except ValueError:
                continue  # reported when all images are read
            if not images:
                self.full_shape, first = (image.shape[0], image.shape[1]), image.dtype
            cut = self.steps.cut(image)
            if (image.shape, image.dtype) == (self.full_shape, first) and cut.size:
                images.append(cut)
        if not images:
            return
        self.segmentation = recognise([np.where(self.valid, x, x[self.valid][0]) for x in images])
        if self.segmentation is not None:
            self.steps = replace(self.steps, background="none", denoise=0.0)
            labels = len(self.segmentation.labels) or 2
            if labels != len(self.levels) and isinstance(self.threshold, str):
                raise ValueError(
                    f"The images of {self.path} are {self.segmentation}, but num_levels is "
                    f"{len(self.levels)}: set num_levels to {labels}, or threshold to a number between "
                    "two of the values."
                )
            return
        # Images of a single grey value are reported when all are read.
        varied = [image for image in images if image.min() < image.max()]
        if not varied:
            return
        flat = [self._rough(image.astype(np.float64)) for image in varied]
        self.noise = float(np.median([noise.noise(image, self.valid) for image in flat]))
        if isinstance(self.steps.denoise, str):
            self.width = noise.best_width(flat, self.valid, self.sites, self.steps.coarsen)
            if self.steps.denoise == "auto":
                self.steps = replace(self.steps, denoise=self.width)
        else:
            self.width = self.steps.denoise

    def _rough(self, image: np.ndarray) -> np.ndarray:
        """Remove the background of an image before the noise is known."""
        if self.steps.background == "lines":
            return image - line_offsets(image, self.valid)[:, None]
        if self.steps.background in ("polynomial", "stack"):
            light, _ = illumination(self.steps.coarsen(image), self.sites)
            return self.steps.flatten(image, polynomial(light, image.shape))
        return self._without_background(image)

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
                self.full_shape, self.dtype = (image.shape[0], image.shape[1]), image.dtype
                cut = self.steps.cut(image)
                if self.segmentation is not None:
                    self._classes(page, cut)
                elif cut.size and cut.min() == cut.max():
                    raise ValueError(
                        f"The image {page} has a single grey value, {cut.flat[0]:g}"
                        f"{', all black' if cut.flat[0] == 0 else ''}: {SKIP}."
                    )
            except ValueError as error:
                if not self.skip or isinstance(error, MissingExtraError):
                    raise
                warnings.warn(f"{str(error).rpartition(': ')[0]}; it is skipped.", stacklevel=2)
                continue
            if cut.size == 0:
                raise ValueError(
                    f"crop {list(self.steps.crop or ())} leaves nothing of an image of "
                    f"{image.shape[0]} × {image.shape[1]} pixels: set another crop."
                )
            progress(1)
            self.names.append(f"image-{hashlib.sha256(image.tobytes()).hexdigest()[:16]}")
            yield page, cut

    def _classes(self, page: Page, image: np.ndarray) -> np.ndarray:
        if self.segmentation is None or not isinstance(self.threshold, str):
            return image
        try:
            return self.segmentation.classes(np.where(self.valid, image, image[self.valid][0]))
        except ValueError as error:
            raise ValueError(
                f"The image {page} {error}: {SKIP}, or pass images that are all segmented, or none."
            ) from None

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

    @cached_property
    def reference(self) -> np.ndarray:
        """Reference image of the background, cropped."""
        image = processing.image_of_shape(self.steps.background, "background", self.full_shape)
        return self.steps.cut(image.astype(np.float64))

    def image(self, page: Page) -> np.ndarray:
        """Read an image and crop it."""
        return self.steps.cut(page.read())

    def flat(self, page: Page) -> np.ndarray:
        """Read an image, crop it, and remove background and noise."""
        image = self._classes(page, self.image(page)).astype(np.float64)
        if self.steps.background == "polynomial":
            light = polynomial(self.backgrounds[page], image.shape)
            image = self.steps.flatten(image, light)
        elif self.steps.background == "stack":
            image = self.steps.flatten(image, self.mean)
        elif self.steps.background == "lines":
            image = image - self.backgrounds[page][:, None]
        else:
            image = self._without_background(image)
        return self.steps.smooth(image, self.valid)

    def _without_background(self, image: np.ndarray) -> np.ndarray:
        if self.steps.background in BACKGROUNDS:
            return image
        return self.steps.flatten(image, self.reference)

    def coarse(self, page: Page) -> np.ndarray:
        """Return the grey values of the sites of an image, less a local threshold if there is one.

        Sites of segmented images have the number of the class of most of their pixels.
        """
        flat = self.flat(page)
        if self.segmentation is not None:
            number = len(self.levels)
            if number == 2:
                return self.steps.coarsen(flat)
            shares = [self.steps.coarsen((flat == k).astype(np.float64)) for k in range(number)]
            return np.argmax(shares, axis=0).astype(np.float64)
        coarse = self.steps.coarsen(flat)
        return coarse - local_threshold(coarse, self.window) if self.threshold == "local" else coarse

    def classify(self, coarse: np.ndarray) -> np.ndarray:
        """Return the values of sites with these grey values."""
        if self.threshold == "hysteresis" and self.segmentation is None:
            low = self.thresholds[0]
            high = self.phases.means @ [0.25, 0.75]
            above = extra("skimage.filters").apply_hysteresis_threshold(coarse, low, high).astype(int)
        else:
            above = np.digitize(coarse, self.thresholds)
        return np.asarray(self.levels, np.int8)[above]

    def _phases(self, progress: Callable[[int], None], bar: str | None) -> Phases:
        def coarse() -> Iterator[np.ndarray]:
            for page in self.usable:
                yield self.coarse(page)
                progress(1)

        values, blocks, ramp = sampled(coarse(), len(self.usable), self.sites, self.seed)
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
        box = processing.constant_region(np.where(self.valid, some, some[:, self.valid][:, :1, None]))
        if box is None or (~self.valid[box[0] : box[1], box[2] : box[3]]).mean() > 0.5:
            return None
        top, left = (self.steps.crop[0], self.steps.crop[2]) if self.steps.crop else (0, 0)
        at = [box[0] + top, box[1] + top, box[2] + left, box[3] + left]
        warnings.warn(
            f"The images of {self.path} have a constant region, rows {at[0]} to {at[1]}, "
            f"columns {at[2]} to {at[3]}: if it is a scale bar, set masks to [{at}].",
            stacklevel=2,
        )
        return f"masks to [{at}] if this constant region is a scale bar"
