"""Films with known correlations: thresholded Gaussian fields, and their correlation functions."""

import numpy as np


def spectrum(shape, period, width):
    """Return the power of waves `shape` around one period, or of exponential-like decay for period None.

    Args:
        shape: Rows and columns of a torus.
        period: Period of the domains in sites; None peaks at k = 0.
        width: Standard deviation of |k| in radians per site.
    """
    k = 2 * np.pi * np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
    centre = 0.0 if period is None else 2 * np.pi / period
    power = np.exp(-((k - centre) ** 2) / (2 * width**2))
    power[0, 0] = 0.0
    return power / power.mean()


def fields(power, num, rng, lasting=0.0):
    """Return Gaussian fields of variance 1 `(num, rows, columns)` with correlation `lasting`^t."""
    white = np.fft.fft2(rng.normal(size=(num, *power.shape)))
    waves = np.fft.ifft2(white * np.sqrt(power)).real
    for t in range(1, num):
        waves[t] = lasting * waves[t - 1] + np.sqrt(1 - lasting**2) * waves[t]
    return waves


def films(power, num, rng, threshold=0.0, lasting=0.0):
    """Return textures of spins, +1 where a field is above the threshold."""
    return np.where(fields(power, num, rng, lasting) > threshold, 1, -1).astype(np.int8)
