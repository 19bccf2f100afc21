"""Structure factor S(k): of patches, and of whole films from their correlations."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import j0

from lightdan.images.correlations import Lags

SITES_PER_BATCH = 2_000_000
"""Number of sites whose Fourier transforms are in memory at a time."""
RIPPLE = 0.05
"""Part of the largest S(k) below which a maximum may be a ripple of a `LagWindow`; those have 0.022."""
SHIFT = 0.064
"""Relative shift of the peak of a wave by a `LagWindow`, times the squared number of periods."""


def structure_factor(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the structure factor of each patch.

        S(k) = |Σ_x w_x (s_x − ⟨s⟩) e^{ikx}|²/Σ w²

    w is the Hann window, which suppresses the edges of a patch. Zero padding doubles the number of k
    along each axis, so that a peak between the k of the window can be resolved.

    Args:
        patches: Windows of a texture `(M, rows, columns)`.

    Returns:
        k in radians per site, in bins of width π/L up to π `(bins,)`, and S averaged over directions
        `(M, bins)`.
    """
    rows, columns = patches.shape[1:]
    window = np.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (rows, columns)))
    ky, kx = np.fft.fftfreq(2 * rows)[:, None], np.fft.rfftfreq(2 * columns)[None]
    k, number = 2 * np.pi * np.hypot(ky, kx), max(rows, columns)
    index = np.rint(k * number / np.pi).astype(int) - 1
    keep = (index >= 0) & (index < number)
    # Each column of a real transform stands for two, except the first and the last.
    weight = np.broadcast_to(np.where((kx == 0) | (kx == 0.5), 1.0, 2.0), k.shape)[keep]
    bins = weight[:, None] * (index[keep][:, None] == np.arange(number))
    bins /= bins.sum(axis=0)
    mean, norm = patches.mean(dtype=np.float64), (window**2).sum()
    parts = []
    for start in range(0, len(patches), step := max(1, SITES_PER_BATCH // (rows * columns))):
        s = (patches[start : start + step] - mean) * window
        spectrum = np.abs(np.fft.rfft2(s, (2 * rows, 2 * columns))[:, keep]) ** 2 / norm
        parts.append(spectrum @ bins)
    return k[keep] @ bins, np.concatenate(parts)


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


@dataclass(frozen=True)
class LagWindow:
    """Structure factor of a film from its correlations up to a largest distance R.

        S(k) = Σ_r w(r) C(r) J₀(kr), w(r) = (1 − (r/R)⁴)²

    The sum is over all displacements; J₀ is the mean of e^{ikr} over all directions of k. Masks are no
    problem, because C(r) knows the pairs that were seen.

    Args:
        lags: Displacements up to R.

    References:
        R. Blackman and J. Tukey, Bell Syst. Tech. J. 37, 185 (1958).
    """

    lags: Lags

    @cached_property
    def k(self) -> NDArray[np.float64]:
        """Wave numbers from 0 to π, in radians per site `(2R + 1,)`."""
        return np.linspace(0, np.pi, 2 * self.lags.reach + 1)

    @cached_property
    def _kernel(self) -> NDArray[np.float64]:
        r = self.lags.distances
        weights = self.lags.numbers * (1 - (r / (self.lags.reach + 1)) ** 4) ** 2
        return j0(np.outer(self.k, r)) * weights

    def radial(self, correlation: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return S(k), averaged over directions, of C(r) by class `(classes,)`."""
        s: NDArray[np.float64] = self._kernel @ correlation
        return s

    def plane(self, correlation: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return S(k_y, k_x), with k from −π to π and 0 in the middle.

        Args:
            correlation: C by displacement `(R + 1, 2R + 1)`.
        """
        reach = self.lags.reach
        squares = self.lags.squares / (reach + 1) ** 2
        weighted = np.where(self.lags.near, correlation * (1 - squares**2) ** 2, 0.0)
        side = fft.next_fast_len(4 * reach + 1)
        padded = np.zeros((side, side))
        down, right = np.arange(reach + 1), np.arange(-reach, reach + 1)
        padded[np.ix_(down, right)] = weighted
        # The other half of the displacements has the conjugate transform.
        s: NDArray[np.float64] = fft.fftshift(2 * fft.fft2(padded).real - weighted[0, reach])
        return s

    def peak(self, s: NDArray[np.float64], near: float | None = None) -> tuple[float, float]:
        """Return the k of the peak of S(k), and by how much it exceeds the least S at smaller k.

        The window moves a wave of n = kR/2π periods to smaller k, by the fraction 0.064/n²; this is
        corrected. The result is NaN and 0 if S(k) has no maximum with at least one period within R.

        Args:
            s: S(k) `(2R + 1,)`.
            near: Position of the maximum; by default the highest one. The result is the maximum within
                a fifth of it.
        """
        inner = s[1:-1]
        tops = 1 + np.flatnonzero((inner > s[:-2]) & (inner >= s[2:]) & (inner > RIPPLE * s.max()))
        tops = tops[self.k[tops] * self.lags.reach >= 2 * np.pi]
        if near is not None:
            tops = tops[np.abs(self.k[tops] / near - 1) < 0.2]
        if not len(tops):
            return math.nan, 0.0
        top = int(tops[s[tops].argmax()])
        k, _ = peak(self.k[top - 1 : top + 2], s[top - 1 : top + 2])
        periods = k * self.lags.reach / (2 * np.pi)
        return k * (1 + SHIFT / periods**2), float(s[top] - s[:top].min())
