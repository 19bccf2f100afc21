"""Processing of a camera image into a texture, and checks of the images."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lightdan.images.files import extra

CONSTANT = 30
"""Smallest number of constant pixels that are considered a scale bar or a dead area."""
STACK = 10
"""Number of images from which on a pixel that is equal in all is considered constant."""
ROUNDS = 50
"""Largest number of iterations between phases and illumination."""
SEPARATION = 3.0
"""Smallest distance of two phases in units of their spread; one normal distribution has 2.65."""


@dataclass(frozen=True)
class Steps:
    """Processing steps of each image, in the order of the arguments.

    Args:
        crop: Top, bottom, left and right bounds of the part to use, in pixels, as in a Python slice.
        masks: Rectangles like `crop` within the whole image that are ignored.
        background: ``polynomial`` for the `illumination` of each image, ``stack`` for the mean of all
            images, or ``none``. The image is divided by a background that is positive everywhere;
            any other background is subtracted.
        denoise: Standard deviation of a Gaussian filter, in pixels.
        zoom: Number of pixels per site along each axis, not necessarily an integer.
    """

    crop: tuple[int, int, int, int] | None = None
    masks: tuple[tuple[int, int, int, int], ...] = ()
    background: str = "polynomial"
    denoise: float = 0.0
    zoom: float = 1.0

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Return the part of an image within `crop`."""
        if self.crop is None:
            return image
        top, bottom, left, right = self.crop
        return image[top:bottom, left:right]

    def valid(self, shape: tuple[int, int]) -> np.ndarray:
        """Return the unmasked pixels of a cropped image, given the shape of the whole image."""
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
        if self.denoise == 0:
            return flat
        filled = np.where(valid, flat, 0.0)
        weight = ndimage.gaussian_filter(valid.astype(np.float64), self.denoise, mode="nearest")
        smooth: np.ndarray = ndimage.gaussian_filter(filled, self.denoise, mode="nearest")
        return smooth / np.maximum(weight, 1e-12)

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


def averages(pixels: int, sites: int, zoom: float) -> np.ndarray:
    """Return the weights of the pixels in each site `(sites, pixels)`, of sum 1."""
    edges = np.arange(pixels + 1)
    start = zoom * np.arange(sites)[:, None]
    overlap = np.minimum(edges[1:], start + zoom) - np.maximum(edges[:-1], start)
    weights: np.ndarray = np.clip(overlap, 0, None) / zoom
    return weights


def basis(shape: tuple[int, int]) -> np.ndarray:
    """Return 1, y, x, y², xy and x² of the pixels, with y and x from −1 to 1 `(6, rows, columns)`."""
    y, x = ((2 * np.arange(side) + 1) / side - 1 for side in shape)
    y, x = np.broadcast_arrays(y[:, None], x)
    return np.stack([np.ones_like(x), y, x, y * y, y * x, x * x])


def illumination(image: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, bool]:
    """Fit a polynomial of second order to the brightness halfway between the two phases.

    The fit alternates between phases and polynomial. A polynomial fitted to the image alone would
    follow the domains and remove their long waves.

    Args:
        image: Grey values `(rows, columns)`.
        valid: Unmasked pixels `(rows, columns)`.

    Returns:
        The coefficients of `basis`, and whether there are two phases. For a single phase the polynomial
        is fitted to the image itself.
    """
    terms = basis(image.shape)[:, valid]
    inverse = np.linalg.inv(terms @ terms.T)
    values = image[valid]
    plain = coefficients = inverse @ (terms @ values)
    for _ in range(ROUNDS):
        light = coefficients @ terms
        positive = (light > 0).all()
        flat = values / light if positive else values - light
        if np.ptp(flat) <= 1e-9 * np.abs(flat).max():
            return plain, False
        bright = flat > thresholds(flat, 2)[0]
        low, high = flat[~bright].mean(), flat[bright].mean()
        within = np.sqrt(np.where(bright, (flat - high) ** 2, (flat - low) ** 2).mean())
        if high - low < SEPARATION * within:
            return plain, False
        phase = np.where(bright, high, low)
        middle = (high + low) / 2
        even = values * (middle / phase) if positive else values - phase + middle
        last, coefficients = coefficients, inverse @ (terms @ even)
        if np.allclose(last, coefficients, rtol=0, atol=1e-9 * np.abs(coefficients).max()):
            break
    return coefficients, True


def thresholds(values: np.ndarray, levels: int) -> np.ndarray:
    """Return the `levels` − 1 thresholds that best separate classes of grey values.

    References:
        N. Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979).
    """
    filters = extra("skimage.filters")
    if levels == 2:
        return np.array([filters.threshold_otsu(values, nbins=512)])
    several: np.ndarray = filters.threshold_multiotsu(values, classes=levels, nbins=128)
    return several


def local_threshold(image: np.ndarray, window: int) -> np.ndarray:
    """Return the Gaussian mean of the neighbourhood of each site, `window` sites wide."""
    threshold: np.ndarray = extra("skimage.filters").threshold_local(image, window)
    return threshold


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
