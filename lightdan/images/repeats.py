"""Images that show the same film again: drift, copies, and correlation from frame to frame."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.sparse.csgraph import connected_components

FAINT = 0.1
"""Correlation below which images count as independent."""
COPIES = 0.8
"""Correlation from which on two images show the same texture."""
SAMPLED = 20_000
"""Number of sites from which the correlations of all pairs of images are computed."""
LEAST = 0.2
"""Correlation below which the best shift is no drift, because few sites moved together."""
CHANCE = 1e-3
"""Probability that the best of all shifts of two independent images is taken for a drift."""


@dataclass(frozen=True)
class Repeats:
    """Relations between the images of a stack.

    Args:
        drifts: Shift in rows and columns from each image to the next `(M − 1, 2)`; NaN if the next one
            does not show the same texture.
        places: Position of each image's first site on the film `(M, 2)`, in rows and columns. Images
            are only placed relative to those that follow them without a gap in `drifts`.
        copies: Label of each image `(M,)`, equal for copies of one texture.
        along: Mean correlation of images t frames apart, t = 0 … M − 1, after the drift `(M,)`.
    """

    drifts: NDArray[np.float64]
    places: NDArray[np.intp]
    copies: NDArray[np.intp]
    along: NDArray[np.float64]

    @cached_property
    def lasting(self) -> NDArray[np.float64]:
        """Correlation of images t apart for t = 0, 1, …, up to the first below 0.1 `(times,)`."""
        faint = np.flatnonzero(self.along < FAINT)
        return self.along[: faint[0]] if len(faint) else self.along

    @property
    def duration(self) -> float:
        """Images per independent one, 1 + 2 Σ_t ρ(t)."""
        return float(1 + 2 * self.lasting[1:].sum())

    @property
    def independent(self) -> float:
        """Number of independent images: without copies, and by the correlation time."""
        num = len(self.copies)
        return max(1.0, min(num / self.duration, float(self.copies.max() + 1)))

    @classmethod
    def of(cls, textures: np.ndarray, valid: NDArray[np.bool_], seed: int = 0) -> "Repeats":
        """Find the images that show the same film.

        Args:
            textures: Textures `(M, rows, columns)`.
            valid: Unmasked sites `(M, rows, columns)`, or of all images `(rows, columns)`.
            seed: Random seed for choosing sites.
        """
        valid = np.broadcast_to(valid, textures.shape)
        shifts = drifts(textures, valid)
        places = positions(shifts)
        some = np.random.default_rng(seed).permutation(np.argwhere(valid.any(0)))[:SAMPLED]
        here = correlations(textures, valid, some, places)
        again = np.maximum(here, correlations(textures, valid, some)) if places.any() else here
        num = len(textures)
        along = np.array([np.diagonal(here, t).mean() for t in range(num)])
        return cls(shifts, places, leaders(again > COPIES), along)


def drifts(textures: np.ndarray, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the shift in rows and columns from each texture to the next `(M − 1, 2)`.

    The shift maximises the circular cross-correlation c. Let σ² be the mean of c² over all shifts. At
    about 1/σ² different shifts independent textures have c = ± σ. The shift is NaN if the maximum of c
    is below 0.2, or may be the largest of those.

    Args:
        textures: Textures `(M, rows, columns)`.
        valid: Unmasked sites `(M, rows, columns)`, or of all images; masked ones count as the mean.
    """
    shape = np.array(textures.shape[1:])
    shifts = np.full((len(textures) - 1, 2), np.nan)
    before: tuple[np.ndarray, float] | None = None
    for index, image in enumerate(textures):
        here = valid if valid.ndim == 2 else valid[index]
        s = np.where(here, image - image[here].mean(dtype=np.float64), 0.0).astype(np.float32)
        now = fft.rfft2(s), float(np.linalg.norm(s))
        if before is not None and now[1] * before[1] > 0:
            correlation = fft.irfft2(before[0].conj() * now[0], shape) / (now[1] * before[1])
            noise = float(np.mean(correlation**2))
            chance = math.sqrt(2 * noise * math.log(1 / (noise * CHANCE)))
            if correlation.max() > max(LEAST, chance):
                place = np.array(np.unravel_index(correlation.argmax(), correlation.shape))
                shifts[index - 1] = (place + shape // 2) % shape - shape // 2
        before = now
    return shifts


def positions(shifts: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the position on the film of the first site of each image `(M, 2)`, none negative.

    Args:
        shifts: Shift from each image to the next `(M − 1, 2)`; NaN begins a new film at 0.
    """
    places = np.zeros((len(shifts) + 1, 2))
    begin = 0
    for index, shift in enumerate(shifts, 1):
        if np.isnan(shift).any():
            begin = index
        else:
            # The film moves by the shift in the image, so the image moves back on the film.
            places[index] = places[index - 1] - shift
        if index == len(shifts) or np.isnan(shifts[index]).any():
            places[begin : index + 1] -= places[begin : index + 1].min(axis=0)
    return places.astype(np.intp)


def correlations(
    textures: np.ndarray,
    valid: NDArray[np.bool_],
    sites: NDArray[np.intp],
    places: NDArray[np.intp] | None = None,
) -> NDArray[np.float64]:
    """Return the correlation of each pair of images at the same sites of the film `(M, M)`.

    The mean of each image is subtracted. Pairs without a common site have 0.

    Args:
        textures: Textures `(M, rows, columns)`.
        valid: Unmasked sites `(M, rows, columns)`, or of all images `(rows, columns)`.
        sites: Sites that are compared `(sites, 2)`, on the film.
        places: Position of each image on the film `(M, 2)`; by default all are the same.
    """
    s = np.zeros((len(textures), len(sites)), np.float32)
    known = np.zeros_like(s)
    shape = np.array(textures.shape[1:])
    offset = np.zeros(2, np.intp) if places is None else np.median(places, axis=0).astype(np.intp)
    for index, image in enumerate(textures):
        at = sites if places is None else sites + offset - places[index]
        inside = np.flatnonzero(((at >= 0) & (at < shape)).all(1))
        unmasked = valid if valid.ndim == 2 else valid[index]
        inside = inside[unmasked[tuple(at[inside].T)]]
        s[index, inside] = image[tuple(at[inside].T)] - image[unmasked].mean(dtype=np.float64)
        known[index, inside] = 1
    squares = (s * s) @ known.T
    norm = np.sqrt((squares * squares.T).astype(np.float64))
    products = (s @ s.T).astype(np.float64)
    return np.divide(products, norm, out=np.zeros_like(products), where=norm > 0)


def leaders(alike: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return a label for each image `(M,)`: that of the first image like it, if any.

    A chain of images that change slowly is thus cut into pieces, each of images like its first one.

    Args:
        alike: Whether two images are alike `(M, M)`.
    """
    labels = np.full(len(alike), -1)
    for index in range(len(alike)):
        if labels[index] < 0:
            labels[(labels < 0) & alike[index]] = labels[index] = labels.max() + 1
    return labels


def runs(num: int, length: int, copies: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the run of each image `(M,)`, numbered from 0; runs with copies of one texture are one.

    Args:
        num: Number of images M.
        length: Least number of consecutive images in a run.
        copies: Label of each image `(M,)`, equal for copies of one texture.
    """
    run = np.arange(num) * max(1, num // length) // num
    joined = np.zeros((num, num), bool)
    joined[np.arange(num - 1), np.arange(1, num)] = run[1:] == run[:-1]
    joined |= copies == copies[:, None]
    labels: NDArray[np.intp] = connected_components(joined, directed=False)[1].astype(np.intp)
    return labels
