"""Processing of a camera image into a texture, and checks of the images."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lightdan.images import noise
from lightdan.images.files import find_files, pages

CONSTANT = 30
"""Smallest number of constant pixels that are considered a scale bar or a dead area."""
STACK = 10
"""Number of images from which on a pixel that is equal in all is considered constant."""
BACKGROUNDS = ("polynomial", "stack", "lines", "none")
"""Backgrounds that need no reference image."""


@dataclass(frozen=True)
class Steps:
    """Processing steps of each image, in the order of the arguments.

    Args:
        crop: Top, bottom, left and right bounds of the part to use, in pixels, as in a Python slice.
        masks: Rectangles like `crop` within the whole image that are ignored, or the path of an image
            of the same shape, whose pixels are ignored unless they are 0.
        background: ``polynomial`` for the `illumination` of each image, ``stack`` for the mean of all
            images, ``lines`` for the `line_offsets` of each image, or ``none``. A path stands for an
            image of the same shape. The image is divided by a background that is positive everywhere;
            any other is subtracted.
        denoise: Standard deviation of a Gaussian filter in pixels, ``auto`` for the width that separates
            the phases best, or ``nlm`` for non-local means.
        zoom: Number of pixels per site along each axis, not necessarily an integer.
    """

    crop: tuple[int, int, int, int] | None = None
    masks: tuple[tuple[int, int, int, int], ...] | str = ()
    background: str = "polynomial"
    denoise: float | str = "auto"
    zoom: float = 1.0

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Return the part of an image within `crop`."""
        if self.crop is None:
            return image
        top, bottom, left, right = self.crop
        return image[top:bottom, left:right]

    def valid(self, shape: tuple[int, int]) -> np.ndarray:
        """Return the unmasked pixels of a cropped image, given the shape of the whole image.

        Raises:
            ValueError: The image of a mask has another shape.
        """
        if isinstance(self.masks, str):
            return self.cut(image_of_shape(self.masks, "masks", shape) == 0)
        valid = np.ones(shape, bool)
        for top, bottom, left, right in self.masks:
            valid[top:bottom, left:right] = False
        return self.cut(valid)

    def flatten(self, image: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Remove the background of a cropped image; the mean becomes 1, or 0 after a subtraction."""
        if (background > 0).all():
            return image / background
        flat: np.ndarray = image - background
        return flat

    def smooth(self, flat: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Smooth a flat image; masked pixels have no weight."""
        if self.denoise == "nlm":
            return noise.non_local(flat, valid)
        return noise.gaussian(flat, valid, float(self.denoise))

    def sites(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the numbers of rows and columns of sites of a cropped image."""
        return int(shape[0] / self.zoom + 1e-9), int(shape[1] / self.zoom + 1e-9)

    def coarsen(self, image: np.ndarray) -> np.ndarray:
        """Average the pixels of each site; pixels at its edge count by their overlap."""
        if self.zoom == 1:
            return image
        rows, columns = (
            averages(side, n, self.zoom)
            for side, n in zip(image.shape, self.sites(image.shape), strict=True)
        )
        coarse: np.ndarray = rows @ image @ columns.T
        return coarse


def image_of_shape(path: str, argument: str, shape: tuple[int, int]) -> np.ndarray:
    """Read the one image in a file.

    Raises:
        ValueError: There is no such image, it has another shape, or values that are not finite.
    """
    found = list(pages(find_files(path), skip=False))
    if len(found) != 1:
        raise ValueError(f"{argument} needs one image, but {path} has {len(found)}: pass a single one.")
    image = found[0].read()
    if not np.isfinite(image).all():
        raise ValueError(
            f"The image {found[0]} of {argument} has values that are not finite: use one without."
        )
    if image.shape != shape:
        raise ValueError(
            f"The image {found[0]} of {argument} is {image.shape[0]} × {image.shape[1]}, but the images "
            f"are {shape[0]} × {shape[1]}: pass one of the same shape."
        )
    return image


def averages(pixels: int, sites: int, zoom: float) -> np.ndarray:
    """Return the weights of the pixels in each site `(sites, pixels)`, of sum 1."""
    edges = np.arange(pixels + 1)
    start = zoom * np.arange(sites)[:, None]
    overlap = np.minimum(edges[1:], start + zoom) - np.maximum(edges[:-1], start)
    weights: np.ndarray = np.clip(overlap, 0, None) / zoom
    return weights


def constant_region(images: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return top, bottom, left and right of the largest constant region, or None.

    In ten images or more a constant pixel is equal in all of them. In fewer images it has the smallest
    or the largest value, and the region must be nearly rectangular.

    Args:
        images: Cropped images `(M, rows, columns)`.
    """
    if len(images) >= STACK:
        suspects = [(images == images[0]).all(axis=0)]
    else:
        suspects = [images[0] == extreme for extreme in (images.min(), images.max())]
    best, box = 0, None
    for suspect in suspects:
        labels, number = ndimage.label(suspect)
        if not number:
            continue
        sizes = np.bincount(labels.ravel())[1:]
        largest = int(sizes.argmax())
        rows, columns = ndimage.find_objects(labels)[largest]
        bounds = (rows.start, rows.stop, columns.start, columns.stop)
        area = (bounds[1] - bounds[0]) * (bounds[3] - bounds[2])
        filled = len(images) >= STACK or sizes[largest] > 0.9 * area
        if sizes[largest] >= max(CONSTANT, best + 1) and filled and area < suspect.size:
            best, box = int(sizes[largest]), bounds
    return box
