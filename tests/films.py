"""Drawn films of two phases, whose every pixel is known."""

import numpy as np


def waves(shape, period, width, angle, rng):
    """Return a Gaussian field of waves with about this period, in all directions or at an angle."""
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    if angle is None:
        power = np.exp(-((np.hypot(ky, kx) - 1 / period) ** 2) / (2 * (width / period) ** 2))
    else:
        along, across = (
            kx * np.cos(angle) + ky * np.sin(angle),
            kx * np.sin(angle) - ky * np.cos(angle),
        )
        power = np.exp(-((np.abs(along) - 1 / period) ** 2 + across**2) / (2 * (width / period) ** 2))
    return np.fft.irfft2(np.sqrt(power) * np.fft.rfft2(rng.normal(size=shape)), shape)


def labyrinth(shape, period, rng, share=0.5):
    """Return a labyrinth of this period in pixels, with this share of the bright phase."""
    field = waves(shape, period, 0.15, None, rng)
    return np.where(field > np.quantile(field, 1 - share), 1, -1).astype(np.int8)


def stripes(shape, period, rng, share=0.5):
    """Return curved stripes about a random direction."""
    field = waves(shape, period, 0.1, rng.uniform(0, np.pi), rng)
    return np.where(field > np.quantile(field, 1 - share), 1, -1).astype(np.int8)


def discs(shape, centres, radii):
    """Return bright discs on a torus."""
    y, x = np.indices(shape)
    film = np.full(shape, -1, np.int8)
    for centre, radius in zip(centres, radii, strict=True):
        dy, dx = (
            np.abs((grid - place + side / 2) % side - side / 2)
            for grid, place, side in zip((y, x), centre, shape, strict=True)
        )
        film[dy**2 + dx**2 < radius**2] = 1
    return film


def bubbles(shape, diameter, rng, share=0.08):
    """Return bubbles of different sizes that do not touch, up to this share of the film."""
    centres, radii, covered = [], [], 0.0
    while covered < share * shape[0] * shape[1]:
        centre, radius = rng.uniform(size=2) * shape, diameter / 2 * rng.uniform(0.8, 1.2)
        gaps = [
            np.hypot(*((centre - other + np.array(shape) / 2) % shape - np.array(shape) / 2)) - r
            for other, r in zip(centres, radii, strict=True)
        ]
        if min(gaps, default=np.inf) > radius + 0.3 * diameter:
            centres.append(centre)
            radii.append(radius)
            covered += np.pi * radius**2
    return discs(shape, centres, radii)


def skyrmions(shape, period, rng, share=0.25):
    """Return a slightly disordered triangular lattice of discs with this distance between rows."""
    rows = 2 * max(1, round(shape[0] / period / 2))
    columns = max(1, round(shape[1] / (period * 2 / np.sqrt(3))))
    row, column = (grid.ravel() for grid in np.indices((rows, columns)))
    centres = np.stack(
        [row * shape[0] / rows, (column + row % 2 / 2) * shape[1] / columns], axis=1
    ) + 0.05 * period * rng.normal(size=(rows * columns, 2))
    radius = np.sqrt(share * shape[0] * shape[1] / (np.pi * rows * columns))
    return discs(shape, centres, np.full(len(centres), radius))
