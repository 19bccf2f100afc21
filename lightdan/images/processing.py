"""From a camera's image to the texture, and what is wrong with it."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse.csgraph import connected_components

from lightdan.images.files import extra

CONSTANT = 30
"""Pixels of a region that never changes which are taken for a scale bar or a dead area."""
STACK = 10
"""Images from which on a pixel that is the same in all is remarkable."""
THUMBNAIL = 32
"""Blocks along an axis of a thumbnail, whose means it has."""
COPIES = 0.8
"""Correlation of two thumbnails that are taken for images of the same texture."""
MOVED = 0.5
"""Largest correlation of images that are taken for the same, moved; others have 0.3 at T_c."""
ROUNDS = 50
"""Of phases and light by turns, at most."""
SEPARATION = 3.0
"""Distance of two phases over the spread within them; a normal distribution cut in two has 2.65."""


@dataclass(frozen=True)
class Steps:
    """What is done to each image, in this order.

    Args:
        crop: First and last row, first and last column, in pixels, after the Python slice.
        masks: Rectangles like `crop`, within the whole image, that do not count.
        background: ``polynomial``, the `illumination` of each image; ``stack``, the mean of all images;
            or ``none``. The image is divided by it where that is positive everywhere, else it is
            subtracted.
        denoise: Standard deviation of a Gaussian filter, in pixels.
        zoom: Pixels of a site along each axis, not necessarily an integer: a site has their mean.
    """

    crop: tuple[int, int, int, int] | None = None
    masks: tuple[tuple[int, int, int, int], ...] = ()
    background: str = "polynomial"
    denoise: float = 0.0
    zoom: float = 1.0

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The part within `crop`."""
        if self.crop is None:
            return image
        top, bottom, left, right = self.crop
        return image[top:bottom, left:right]

    def valid(self, shape: tuple[int, int]) -> np.ndarray:
        """Where a cropped image of a camera of this shape counts."""
        valid = np.ones(shape, bool)
        for top, bottom, left, right in self.masks:
            valid[top:bottom, left:right] = False
        return self.cut(valid)

    def flatten(self, image: np.ndarray, background: np.ndarray) -> np.ndarray:
        """A cropped image without its background, 1 (or 0 where that was subtracted) on the average."""
        if (background > 0).all():
            return image / background
        flat: np.ndarray = image - background
        return flat

    def smooth(self, flat: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """A flat image without noise; what does not count has no weight."""
        if self.denoise == 0:
            return flat
        filled = np.where(valid, flat, 0.0)
        weight = ndimage.gaussian_filter(valid.astype(np.float64), self.denoise, mode="nearest")
        smooth: np.ndarray = ndimage.gaussian_filter(filled, self.denoise, mode="nearest")
        return smooth / np.maximum(weight, 1e-12)

    def sites(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of sites of a cropped image."""
        return int(shape[0] / self.zoom + 1e-9), int(shape[1] / self.zoom + 1e-9)

    def coarsen(self, image: np.ndarray) -> np.ndarray:
        """Means over the pixels of each site, those at its edge by their part."""
        if self.zoom == 1:
            return image
        rows, columns = (
            averages(side, n, self.zoom)
            for side, n in zip(image.shape, self.sites(image.shape), strict=True)
        )
        coarse: np.ndarray = rows @ image @ columns.T
        return coarse


def averages(pixels: int, sites: int, zoom: float) -> np.ndarray:
    """Weights of the pixels in each site `(sites, pixels)`, of sum 1."""
    edges = np.arange(pixels + 1)
    start = zoom * np.arange(sites)[:, None]
    overlap = np.minimum(edges[1:], start + zoom) - np.maximum(edges[:-1], start)
    weights: np.ndarray = np.clip(overlap, 0, None) / zoom
    return weights


def basis(shape: tuple[int, int]) -> np.ndarray:
    """1, y, x, y², xy and x² of pixels, y and x from −1 to 1 `(6, rows, columns)`."""
    y, x = ((2 * np.arange(side) + 1) / side - 1 for side in shape)
    y, x = np.broadcast_arrays(y[:, None], x)
    return np.stack([np.ones_like(x), y, x, y * y, y * x, x * x])


def illumination(image: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, bool]:
    """The polynomial of second order that is the light half way between the two phases.

    The phases and the polynomial are found by turns, for one of the mere image would follow the domains
    and take their long waves away.

    Args:
        image: Grey values.
        valid: Where they count.

    Returns:
        Its coefficients of `basis`, and whether there are two phases; if not, it is the image's own.
    """
    terms = basis(image.shape)[:, valid]
    inverse = np.linalg.inv(terms @ terms.T)
    values = image[valid]
    own = coefficients = inverse @ (terms @ values)
    for _ in range(ROUNDS):
        light = coefficients @ terms
        positive = (light > 0).all()
        flat = values / light if positive else values - light
        if np.ptp(flat) <= 1e-9 * np.abs(flat).max():
            return own, False
        bright = flat > thresholds(flat, 2)[0]
        low, high = flat[~bright].mean(), flat[bright].mean()
        within = np.sqrt(np.where(bright, (flat - high) ** 2, (flat - low) ** 2).mean())
        if high - low < SEPARATION * within:
            return own, False
        phase = np.where(bright, high, low)
        middle = (high + low) / 2
        even = values * (middle / phase) if positive else values - phase + middle
        last, coefficients = coefficients, inverse @ (terms @ even)
        if np.allclose(last, coefficients, rtol=0, atol=1e-9 * np.abs(coefficients).max()):
            break
    return coefficients, True


def thresholds(values: np.ndarray, levels: int) -> np.ndarray:
    """The `levels` − 1 thresholds that separate classes of grey values best (Otsu).

    Source: N. Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979).
    """
    filters = extra("skimage.filters")
    if levels == 2:
        return np.array([filters.threshold_otsu(values, nbins=512)])
    found: np.ndarray = filters.threshold_multiotsu(values, classes=levels, nbins=128)
    return found


def local_threshold(image: np.ndarray, window: int) -> np.ndarray:
    """The Gaussian mean of the surroundings, of `window` sites across."""
    found: np.ndarray = extra("skimage.filters").threshold_local(image, window)
    return found


def constant_region(images: np.ndarray) -> tuple[int, int, int, int] | None:
    """Top, bottom, left and right of the largest rectangle-like region that never changes, if any.

    Of ten images or more it is where all are the same; of fewer, where one is as dark or as bright as
    it can be.

    Args:
        images: Some cropped images `(M, rows, columns)`.
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
        found = (rows.start, rows.stop, columns.start, columns.stop)
        area = (found[1] - found[0]) * (found[3] - found[2])
        filled = len(images) >= STACK or sizes[largest] > 0.9 * area
        if sizes[largest] >= max(CONSTANT, best + 1) and filled and area < suspect.size:
            best, box = int(sizes[largest]), found
    return box


def thumbnail(texture: np.ndarray) -> np.ndarray:
    """Block means of a texture, without their mean and of norm 1."""
    rows, columns = (
        averages(side, min(THUMBNAIL, side), side / min(THUMBNAIL, side)) for side in texture.shape
    )
    small = (rows @ texture @ columns.T).ravel()
    small = small - small.mean()
    norm = np.linalg.norm(small)
    return small / norm if norm > 0 else small


def drifts(textures: np.ndarray) -> np.ndarray:
    """Rows and columns by which each texture moved to the next `(M − 1, 2)`, NaN where that is another.

    It is the place of the largest circular cross-correlation, if that is above one half.
    """
    shape = textures.shape[1:]
    found = np.full((len(textures) - 1, 2), np.nan)
    before: tuple[np.ndarray, float] | None = None
    for index, image in enumerate(textures):
        s = image - image.mean(dtype=np.float64)
        now = np.fft.rfft2(s), float(np.linalg.norm(s))
        if before is not None and now[1] * before[1] > 0:
            correlation = np.fft.irfft2(before[0].conj() * now[0], shape) / (now[1] * before[1])
            if correlation.max() > MOVED:
                place = np.array(np.unravel_index(correlation.argmax(), shape))
                found[index - 1] = (place + np.array(shape) // 2) % shape - np.array(shape) // 2
        before = now
    return found


def same_texture(thumbnails: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """A number for each image `(M,)`, the same for those that show the same texture.

    Args:
        thumbnails: Of all images `(M, …)`.
        moved: Which image shows that of the one before `(M − 1,)`.
    """
    same = thumbnails @ thumbnails.T > COPIES
    after = np.flatnonzero(moved) + 1
    same[after, after - 1] = True
    groups: np.ndarray = connected_components(same, directed=False)[1]
    return groups
