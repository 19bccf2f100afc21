"""Uneven light and offsets of scan lines, found together with the two phases of a texture."""

import numpy as np

from lightdan.images.thresholds import MINORITY, SEPARATION, find_phases

FITTED = 60_000
"""Largest number of pixels to which a polynomial is fitted."""
ROUNDS = 50
"""Largest number of iterations between phases and background."""


def basis(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return 1, y, x, y², xy and x² `(6, ...)` of coordinates."""
    return np.stack([np.ones_like(x), y, x, y * y, y * x, x * x])


def coordinates(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions y `(rows,)` and x `(columns,)` of pixels, from −1 to 1."""
    y, x = ((2 * np.arange(side) + 1) / side - 1 for side in shape)
    return y, x


def polynomial(coefficients: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the polynomial with these coefficients of `basis` at all pixels `(rows, columns)`."""
    y, x = coordinates(shape)
    y = y[:, None]
    one, by_y, by_x, by_yy, by_yx, by_xx = coefficients
    values: np.ndarray = (one + (by_y + by_yy * y) * y) + (by_x + by_xx * x) * x + by_yx * y * x
    return values


def chosen_pixels(image: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of unmasked pixels `(P,)`, and their `basis` `(6, P)`, a part of many."""
    pixels = np.flatnonzero(valid)
    if len(pixels) > FITTED:
        pixels = np.random.default_rng(0).choice(pixels, FITTED, replace=False)
    y, x = coordinates(image.shape)
    row, column = np.divmod(pixels, image.shape[1])
    return image.ravel()[pixels], basis(y[row], x[column])


def two_phases(flat: np.ndarray) -> np.ndarray | None:
    """Return the mean grey value of the phase that each value belongs to, or None for one phase."""
    if np.ptp(flat) <= 1e-9 * np.abs(flat).max():
        return None
    phases = find_phases(flat)
    if phases.separation < SEPARATION or phases.minority < MINORITY:
        return None
    bright = flat > phases.thresholds[0]
    return np.where(bright, flat[bright].mean(), flat[~bright].mean())


def illumination(image: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, bool]:
    """Fit a polynomial of second order to the brightness halfway between the two phases.

    The fit alternates between phases and polynomial. A polynomial fitted to the image alone would
    follow the domains and remove their long waves. It takes a random part of a large image.

    Args:
        image: Grey values `(rows, columns)`.
        valid: Unmasked pixels `(rows, columns)`.

    Returns:
        The coefficients of `basis`, and whether there are two phases. For a single phase the polynomial
        is fitted to the image itself.
    """
    values, terms = chosen_pixels(image, valid)
    inverse = np.linalg.inv(terms @ terms.T)
    plain = coefficients = inverse @ (terms @ values)
    for _ in range(ROUNDS):
        light = coefficients @ terms
        positive = (light > 0).all()
        flat = values / light if positive else values - light
        phase = two_phases(flat)
        if phase is None:
            return plain, False
        middle = (phase.max() + phase.min()) / 2
        if not positive:
            even = values - phase + middle
        elif (phase > 0).all():
            even = values * (middle / phase)
        else:
            even = values + (middle - phase) * light
        last, coefficients = coefficients, inverse @ (terms @ even)
        if np.allclose(last, coefficients, rtol=0, atol=1e-9 * np.abs(coefficients).max()):
            break
    return coefficients, True


def line_offsets(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the offset of each scan line (row) of an image `(rows,)`, of mean 0.

    The first estimate sums the medians of the differences of neighbouring lines, which domains hardly
    change. The fit then alternates between phases and offsets, as in `illumination`.

    Args:
        image: Grey values `(rows, columns)`.
        valid: Unmasked pixels `(rows, columns)`.
    """
    masked = np.ma.MaskedArray(image, ~valid)
    steps = np.ma.median(np.ma.diff(masked, axis=0), axis=1).filled(0.0)
    offsets = np.concatenate([[0.0], np.cumsum(steps)])
    for _ in range(ROUNDS):
        offsets = offsets - offsets.mean()
        phase = two_phases((image - offsets[:, None])[valid])
        if phase is None:
            break
        rest = np.zeros_like(image)
        rest[valid] = image[valid] - phase
        number = valid.sum(axis=1)
        last, offsets = offsets, np.where(number > 0, rest.sum(axis=1) / np.maximum(number, 1), offsets)
        if np.allclose(last, offsets - offsets.mean(), rtol=0, atol=1e-9 * np.ptp(image[valid])):
            break
    return offsets - offsets.mean()


def smooth_share(image: np.ndarray, valid: np.ndarray) -> float:
    """Return the share of the variance of an image that a polynomial of second order explains.

    It takes a random part of a large image.
    """
    values, terms = chosen_pixels(image, valid)
    rest = values - np.linalg.lstsq(terms.T, values, rcond=None)[0] @ terms
    return float(1 - rest.var() / max(values.var(), 1e-300))
