"""Noise of images, and the width of the filter that separates the phases best."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage
from scipy.signal import argrelmax

from lightdan.images.extras import extra
from lightdan.images.thresholds import MINORITY, ONE_PHASE, OVERLAP, find_phases

WIDTHS = (0.0, *(0.5 * 2 ** (k / 2) for k in range(9)))
"""Standard deviations of Gaussian filters in pixels, from which the best is chosen."""
GREYS = 300_000
"""Number of grey values from which the filter is chosen."""
AVERAGES = 200
"""Smallest number of independent averages that a filtered image must have."""
NEARLY = 0.9
"""Fraction of the gain in separation over one phase, from which on a narrower filter is preferred."""


def noise(flat: np.ndarray, valid: np.ndarray) -> float:
    """Return the standard deviation of white noise in an image, whatever its domains and light.

    It is the median size of second differences in both directions; domain walls fill a minority of them.

    Args:
        flat: Grey values `(rows, columns)`.
        valid: Unmasked pixels `(rows, columns)`.

    References:
        J. Immerkær, Comput. Vis. Image Underst. 64, 300 (1996), with a median instead of the mean.
    """
    kernel = np.outer([1, -2, 1], [1, -2, 1]) / 6
    differences = ndimage.convolve(flat.astype(np.float64), kernel, mode="reflect")
    return float(np.median(np.abs(differences[valid])) / 0.6745)


def gaussian(flat: np.ndarray, valid: np.ndarray, width: float) -> np.ndarray:
    """Smooth a flat image by a Gaussian of this standard deviation; masked pixels have no weight."""
    if width == 0:
        return flat
    if valid.all():
        plain: np.ndarray = ndimage.gaussian_filter(flat, width, mode="reflect")
        return plain
    filled = np.where(valid, flat, 0.0)
    weight = ndimage.gaussian_filter(valid.astype(np.float64), width, mode="reflect")
    smooth: np.ndarray = ndimage.gaussian_filter(filled, width, mode="reflect")
    return smooth / np.maximum(weight, 1e-12)


def non_local(flat: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Average similar surroundings in an image; masked pixels are replaced by the median.

    References:
        A. Buades, B. Coll and J.-M. Morel, Image Process. On Line 1, 208 (2011).
    """
    sigma = noise(flat, valid)
    filled = np.where(valid, flat, np.median(flat[valid]))
    denoise = extra("skimage.restoration").denoise_nl_means
    smooth: np.ndarray = denoise(filled, patch_size=5, patch_distance=7, h=0.8 * sigma, sigma=sigma)
    return smooth


def best_width(
    images: Sequence[np.ndarray],
    valid: Sequence[np.ndarray],
    sites: Sequence[np.ndarray],
    coarsen: Callable[[np.ndarray], np.ndarray],
) -> float:
    """Return the width of the Gaussian filter that separates two phases best, in pixels.

    A narrow filter leaves noise, a wide one mixes domains, and both reduce the separation. The first
    maximum counts, because a filter that is wider than the domains may find waves of the background.

    Args:
        images: Flat images `(rows, columns)`.
        valid: Unmasked pixels of each.
        sites: Sites without masked pixels of each.
        coarsen: Function that averages the pixels of each site.
    """
    area = sum(int(each.sum()) for each in valid)
    step = 1 + sum(int(each.sum()) for each in sites) // GREYS
    every = list(zip(images, valid, sites, strict=True))
    widths = [width for width in WIDTHS if area >= AVERAGES * 4 * np.pi * width**2]
    apart = np.zeros(len(widths))
    for k, width in enumerate(widths):
        values = np.concatenate([coarsen(gaussian(f, v, width))[at][::step] for f, v, at in every])
        if np.ptp(values) <= 1e-9 * np.abs(values).max():
            return 0.0
        phases = find_phases(values)
        if phases.shares.min() >= MINORITY:
            apart[k] = phases.separation
    best = int(apart.argmax())
    for k in argrelmax(np.concatenate([[0.0], apart, [0.0]]))[0] - 1:
        if apart[k] > OVERLAP:
            best = int(k)
            break
    gain = apart - ONE_PHASE
    while best > 0 and gain[best] > 0 and gain[best - 1] >= NEARLY * gain[best]:
        best -= 1
    return float(widths[best])
