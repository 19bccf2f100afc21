"""Statistics of textures: correlations, structure factor and domains."""

import math

import numpy as np
from scipy import ndimage

SITES_PER_BATCH = 2_000_000
"""Number of sites whose Fourier transforms are in memory at a time."""


def correlation(patches: np.ndarray) -> np.ndarray:
    """Return C(r) = ⟨s_x s_{x+r}⟩ − ⟨s⟩² of each patch along both axes `(M, R)`.

    r runs from 0 to half the side. ⟨s⟩ is the mean over all patches, because the mean of each patch
    would remove the long waves.

    Args:
        patches: Windows of a texture `(M, rows, columns)`.
    """
    s = patches.astype(np.float64) - patches.mean(dtype=np.float64)
    columns = []
    for r in range(min(s.shape[1:]) // 2 + 1):
        down = (s[:, r:] * s[:, : s.shape[1] - r]).mean((1, 2))
        right = (s[:, :, r:] * s[:, :, : s.shape[2] - r]).mean((1, 2))
        columns.append((down + right) / 2)
    return np.stack(columns, axis=1)


def correlation_length(correlation: np.ndarray) -> float:
    """Return the r at which C(r)/C(0) first falls to 1/e, by linear interpolation, or NaN."""
    ratio = correlation / correlation[0] if correlation[0] > 0 else np.zeros_like(correlation)
    below = np.flatnonzero(ratio < math.exp(-1))
    if not len(below):
        return math.nan
    last = int(below[0])
    if last == 0:
        return 0.0
    return float(last - (math.exp(-1) - ratio[last]) / (ratio[last - 1] - ratio[last]))


def structure_factor(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the structure factor of each patch and its quadrupole moment in the direction of k.

        S(k) = |Σ_x w_x (s_x − ⟨s⟩) e^{ikx}|²/Σ w²

    w is the Hann window, which suppresses the edges of a patch. Zero padding doubles the number of k
    along each axis, so that a peak between the k of the window can be resolved.

    Args:
        patches: Windows of a texture `(M, rows, columns)`.

    Returns:
        k in radians per site, in bins of width π/L up to π `(bins,)`; S averaged over directions
        `(M, bins)`; and Σ S, Σ S cos 2φ and Σ S sin 2φ over all k with direction φ `(M, 3)`.
    """
    rows, columns = patches.shape[1:]
    window = np.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (rows, columns)))
    ky, kx = np.fft.fftfreq(2 * rows)[:, None], np.fft.rfftfreq(2 * columns)[None]
    k, number = 2 * np.pi * np.hypot(ky, kx), max(rows, columns)
    index = np.rint(k * number / np.pi).astype(int) - 1
    keep = (index >= 0) & (index < number)
    # Each column of a real transform stands for two, except the first and the last.
    weight = np.broadcast_to(np.where((kx == 0) | (kx == 0.5), 1.0, 2.0), k.shape)[keep]
    angle = np.broadcast_to(np.arctan2(ky, kx), k.shape)[keep]
    # k and −k are the same wave, so only 2φ is defined.
    poles = weight[:, None] * np.stack([np.ones_like(angle), np.cos(2 * angle), np.sin(2 * angle)], 1)
    bins = weight[:, None] * (index[keep][:, None] == np.arange(number))
    bins /= bins.sum(axis=0)
    mean, norm = patches.mean(dtype=np.float64), (window**2).sum()
    parts = []
    for start in range(0, len(patches), step := max(1, SITES_PER_BATCH // (rows * columns))):
        s = (patches[start : start + step] - mean) * window
        spectrum = np.abs(np.fft.rfft2(s, (2 * rows, 2 * columns))[:, keep]) ** 2 / norm
        parts.append(spectrum @ np.concatenate([bins, poles], axis=1))
    factors = np.concatenate(parts)
    return k[keep] @ bins, factors[:, :number], factors[:, number:]


def peak(k: np.ndarray, s: np.ndarray) -> tuple[float, float]:
    """Return the position and the half width at half maximum of the peak of S(k).

    Both come from the parabola of ln S through the three highest points. A peak at the smallest k means
    that the domains are larger than the window; its width is NaN.
    """
    top = int(s.argmax())
    if top in (0, len(s) - 1):
        return float(k[top]), math.nan
    parabola = np.polyfit(
        k[top - 1 : top + 2] - k[top], np.log(np.maximum(s[top - 1 : top + 2], 1e-300)), 2
    )
    if parabola[0] >= 0:
        return float(k[top]), math.nan
    return float(k[top] - parabola[1] / (2 * parabola[0])), float(math.sqrt(-math.log(2) / parabola[0]))


def anisotropy(quadrupole: np.ndarray) -> float:
    """Return |Σ S e^{2iφ}|/Σ S: 0 if no direction is preferred, near 1 for a single wave."""
    return float(np.hypot(*quadrupole[1:]) / quadrupole[0])


def domains(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of domains and the length of the walls between them, per site `(M,)`.

    A domain consists of connected sites of equal value. Its mean area is the inverse of the first
    result.
    """
    count = np.zeros(len(patches))
    walls = (np.diff(patches, axis=1) != 0).sum((1, 2)) + (np.diff(patches, axis=2) != 0).sum((1, 2))
    for value in np.unique(patches):
        # An empty row between patches, so that one call labels all of them.
        gap = np.zeros((len(patches), patches.shape[1] + 1, patches.shape[2]), bool)
        gap[:, :-1] = patches == value
        labels, number = ndimage.label(gap.reshape(-1, patches.shape[2]))
        first = ndimage.find_objects(labels, number)
        at = np.array([box[0].start for box in first], dtype=int) // (patches.shape[1] + 1)
        count += np.bincount(at, minlength=len(patches))
    sites = patches.shape[1] * patches.shape[2]
    return count / sites, walls / sites
