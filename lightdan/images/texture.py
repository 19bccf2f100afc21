"""Numbers of textures: correlations, structure factor, domains."""

import math

import numpy as np
from scipy import ndimage


def correlation(patches: np.ndarray) -> np.ndarray:
    """C(r) = ⟨s_x s_{x+r}⟩ − ⟨s⟩² of each patch along both axes, r from 0 to half the side `(M, R)`.

    ⟨s⟩ is that of all patches: that of each would take the long waves away.

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
    """R at which C(r)/C(0) first falls to 1/e, linear between integers; NaN if it does not."""
    ratio = correlation / correlation[0] if correlation[0] > 0 else np.zeros_like(correlation)
    below = np.flatnonzero(ratio < math.exp(-1))
    if not len(below):
        return math.nan
    last = int(below[0])
    if last == 0:
        return 0.0
    return float(last - (math.exp(-1) - ratio[last]) / (ratio[last - 1] - ratio[last]))


def power(patches: np.ndarray) -> np.ndarray:
    """|Σ_x w_x (s_x − ⟨s⟩) e^{ikx}|²/Σ w² of each patch, k in cycles a site by `numpy.fft` `(M, …)`.

    Twice as many k as sites along each axis, so that a peak can be seen between those of the window;
    w is Hann's window, without which the edges of a patch would look like structure.
    """
    rows, columns = patches.shape[1:]
    window = np.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (rows, columns)))
    s = (patches - patches.mean(dtype=np.float64)) * window
    spectrum = np.abs(np.fft.rfft2(s, (2 * rows, 2 * columns))) ** 2 / (window**2).sum()
    return spectrum


def wave_numbers(rows: int, columns: int) -> np.ndarray:
    """|k| of `power` in radians a site."""
    k: np.ndarray = (
        2 * np.pi * np.hypot(np.fft.fftfreq(2 * rows)[:, None], np.fft.rfftfreq(2 * columns)[None])
    )
    return k


def radial(spectrum: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """S(k) averaged over directions, in bins of the width 2π/(2 L) up to π: k and S `(…, bins)`."""
    k = wave_numbers(rows, columns)
    width = np.pi / max(rows, columns)
    number = max(rows, columns)
    index = np.rint(k / width).astype(int)
    # Columns but the first and the last of a real transform stand for two.
    weight = np.full(k.shape, 2.0)
    weight[:, 0] = weight[:, -1] = 1.0
    keep = (index > 0) & (index <= number)
    sums = np.zeros((*spectrum.shape[:-2], number))
    flat, chosen = spectrum[..., keep] * weight[keep], index[keep] - 1
    order = chosen.argsort(kind="stable")
    starts = np.searchsorted(chosen[order], np.arange(number))
    sums = np.add.reduceat(flat[..., order], starts, axis=-1)
    norm = np.add.reduceat(weight[keep][order], starts)
    wave = np.add.reduceat((k[keep] * weight[keep])[order], starts) / norm
    return wave, sums / norm


def mean_radial(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """K and S(k) of all patches together."""
    return radial(power(patches).mean(axis=0), *patches.shape[1:])


def peak(k: np.ndarray, s: np.ndarray) -> tuple[float, float]:
    """Position and width of the largest S(k): the parabola of ln S through it, and its half width.

    A peak at the smallest k is one of domains that are larger than the window.
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


def anisotropy(spectrum: np.ndarray) -> float:
    """|Σ S(k) e^{2iφ}|/Σ S(k) over 0 < |k| ≤ π: 0 where no direction is preferred, 1 for one wave."""
    rows, columns = spectrum.shape[0] // 2, spectrum.shape[1] - 1
    ky, kx = np.fft.fftfreq(2 * rows)[:, None], np.fft.rfftfreq(2 * columns)[None]
    k = np.hypot(ky, kx)
    keep = (k > 0) & (k <= 0.5)
    weight = np.broadcast_to(np.where((kx == 0) | (kx == 0.5), 1.0, 2.0), k.shape)[keep]
    angle = np.broadcast_to(np.arctan2(ky, kx), k.shape)[keep]
    s = spectrum[keep] * weight
    # k and −k are the same wave, so that 2φ is what can be told.
    return float(abs((s * np.exp(2j * angle)).sum()) / s.sum())


def domains(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of domains, connected sites of equal value, and length of the walls between, a site `(M,)`.

    The mean area of a domain is the inverse of the first.
    """
    count = np.zeros(len(patches))
    walls = (np.diff(patches, axis=1) != 0).sum((1, 2)) + (np.diff(patches, axis=2) != 0).sum((1, 2))
    for value in np.unique(patches):
        # Patches apart from each other, so that one call labels all.
        gap = np.zeros((len(patches), patches.shape[1] + 1, patches.shape[2]), bool)
        gap[:, :-1] = patches == value
        labels, number = ndimage.label(gap.reshape(-1, patches.shape[2]))
        first = ndimage.find_objects(labels, number)
        at = np.array([box[0].start for box in first], dtype=int) // (patches.shape[1] + 1)
        count += np.bincount(at, minlength=len(patches))
    sites = patches.shape[1] * patches.shape[2]
    return count / sites, walls / sites
