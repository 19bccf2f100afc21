"""Width of the walls between two phases, as they look in an image."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import least_squares
from scipy.special import erf

FARTHEST = 12
"""Largest distance from a wall in pixels, at which its profile is averaged."""
FEWEST = 50
"""Number of pixels at a distance, below which the profile ends."""
STEEPEST = 0.3
"""Smallest σ of a wall in pixels that a profile can tell."""
RISE = 2.563
"""Distance from 10 to 90 % of an error function, in units of σ."""


def profile(
    image: NDArray[np.floating], bright: NDArray[np.bool_], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distance from the nearest wall and the mean grey value there.

    Args:
        image: Grey values `(rows, columns)`.
        bright: Pixels of the bright phase, where the distance is positive `(rows, columns)`.
        valid: Unmasked pixels `(rows, columns)`.
    """
    if bright.all() or not bright.any():
        return np.zeros(0), np.zeros(0)
    inward, outward = (ndimage.distance_transform_edt(phase) for phase in (bright, ~bright))
    distance = np.where(bright, inward, -outward)
    number = np.rint(distance).astype(int) + FARTHEST
    keep = valid & (number >= 0) & (number <= 2 * FARTHEST)
    sums = [np.bincount(number[keep], w, 2 * FARTHEST + 1) for w in (None, distance[keep], image[keep])]
    enough = sums[0] >= FEWEST
    at, grey = (x[enough] / sums[0][enough] for x in sums[1:])
    # A wall is half a pixel from the pixels that touch it.
    return at - 0.5 * np.sign(at), grey


def wall_width(distance: NDArray[np.float64], grey: NDArray[np.float64]) -> float:
    """Return the distance over which a wall rises from 10 to 90 % of the contrast, in pixels.

    It is that of an error function fitted to the profile, or NaN if there are too few points.

    Args:
        distance: Distance from the wall in pixels `(points,)`.
        grey: Mean grey value `(points,)`.
    """
    if len(distance) < 6 or np.ptp(grey) == 0:
        return math.nan

    def misfit(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        middle, half, at, s = parameters
        step: NDArray[np.float64] = middle + half * erf(
            (distance - at) / (math.sqrt(2) * (abs(s) + 1e-9))
        )
        return step - grey

    start = (grey.mean(), np.ptp(grey) / 2, 0.0, 1.0)
    found = least_squares(misfit, start, x_scale=(start[1], start[1], 1.0, 1.0))
    return RISE * max(STEEPEST, abs(float(found.x[3])))
