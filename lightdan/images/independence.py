"""Correlation length and time of textures, and the pieces of a film that are independent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from lightdan.images.repeats import Repeats, runs

MEASURED = 20
"""Largest number of images from which the correlation function is computed."""
FAINT = 0.1
"""Correlation below which sites count as independent."""
NOTHING = 0.02
"""Correlation below which it is not added to sums."""
NOISE = 1.2
"""Ratio to the variance of the noise at which ρ² counts as noise; 4/π is that of a perfect lattice."""
ENOUGH_BLOCKS = 64
"""Number of blocks beyond which they are made larger instead of more."""
FEWEST_BLOCKS = 16
"""Number of blocks for which they may be smaller than the reach of correlations."""


class Pieces(NamedTuple):
    """Blocks of a film: a part of the images times a tile.

    Args:
        frames: Label of the part of the images `(M,)`, from 0.
        rows: First row of each tile, from 0.
        columns: First column of each tile, from 0.
    """

    frames: NDArray[np.intp]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]

    def of(
        self, frame: NDArray[np.intp], row: NDArray[np.intp], column: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """Return the labels of the blocks of sites, given image, row and column of each."""
        tile_row = np.searchsorted(self.rows, row, side="right") - 1
        tile_column = np.searchsorted(self.columns, column, side="right") - 1
        first: NDArray[np.intp] = self.frames[frame] * len(self.rows) * len(self.columns)
        return first + tile_row * len(self.columns) + tile_column

    @property
    def tiles(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each tile, in the order of the labels."""
        edges = [[*each.tolist(), None] for each in (self.rows, self.columns)]
        sides = [[slice(*pair) for pair in pairwise(each)] for each in edges]
        return [(down, right) for down in sides[0] for right in sides[1]]


@dataclass(frozen=True)
class Independence:
    """Correlations of a film in space and time.

    ρ(r) is C(r)/C(0) of whole images, about the mean of all images, as far as it exceeds its noise.

    A mean over an area A ≫ A_c has the variance C(0) A_c/A, with the correlation area

        A_c = max(Σ_r ρ(r), Σ_r ρ(r)²).

    The first sum is that of the brightness, the second that of products of two sites, such as energies,
    if their correlations are the squares of ρ. In a labyrinth the first almost vanishes.

    Args:
        rho: ρ(r) around the origin `(2R + 1, 2R + 1)`, zero where it is noise.
        reach: Distance in sites from which on the root mean square of ρ is below 0.1.
        repeats: Drift, copies and correlations along the images.

    References:
        C. Lantuéjoul, J. Microsc. 161, 387 (1991), for the integral range.
    """

    rho: NDArray[np.float64]
    reach: int
    repeats: Repeats

    @classmethod
    def of(cls, textures: np.ndarray, valid: NDArray[np.bool_], seed: int = 0) -> "Independence":
        """Measure the correlations of whole images.

        Args:
            textures: Textures `(M, rows, columns)`.
            valid: Unmasked sites `(M, rows, columns)`, or of all images `(rows, columns)`.
            seed: Random seed for choosing sites.
        """
        valid = np.broadcast_to(valid, textures.shape)
        repeats = Repeats.of(textures, valid, seed)
        some = np.unique(np.linspace(0, len(textures) - 1, min(len(textures), MEASURED)).astype(int))
        rho = correlation(textures[some], valid[some])
        sites = float(valid.sum()) / len(textures) * min(repeats.independent, len(some))
        window, reach = decay(rho, sites)
        return cls(np.where(distances(rho.shape) < window, rho, 0.0), reach, repeats)

    @property
    def contained(self) -> bool:
        """Whether ρ decays within half an image; if not, the image is one piece."""
        return self.reach < len(self.rho) // 2

    @property
    def area(self) -> float:
        """Correlation area A_c in sites, at least 1."""
        return max(1.0, _area(self.rho))

    @property
    def length(self) -> float:
        """Radius ℓ = √(A_c/π) of a circle with the correlation area, in sites."""
        return math.sqrt(self.area / math.pi)

    def patch_area(self, shape: tuple[int, int]) -> float:
        """Return the area in sites that a patch stands for in means over patches.

        It is the patch itself if A_c is small, and A_c if that is larger:

            p² Σ_r ρ(r) / Σ_r w(r) ρ(r),  w(r) = Π_i max(0, 1 − |r_i|/p_i),

        with ρ² instead of ρ if the sum of squares is larger.

        Args:
            shape: Rows and columns of a patch.
        """
        rho = self._kernel
        return shape[0] * shape[1] * float(rho.sum() / (_triangle(rho.shape, shape) * rho).sum())

    def independent_patches(self, sites: float, shape: tuple[int, int]) -> float:
        """Return the number of independent patches that all images hold.

        Args:
            sites: Mean number of unmasked sites of an image.
            shape: Rows and columns of a patch.
        """
        if not self.contained:
            return self.repeats.independent
        return self.repeats.independent * max(1.0, sites / self.patch_area(shape))

    def pieces(
        self, sides: tuple[int, int], patch: tuple[int, int] = (1, 1), share: float = 1.0
    ) -> Pieces:
        """Divide the images into blocks that are nearly independent.

        A block is as large as possible while there are 64. It exceeds a patch by the reach of the
        correlations, unless there are fewer than 16 then.

        Args:
            sides: Rows and columns of the film.
            patch: Rows and columns of a patch; 1 × 1 for single sites.
            share: Share of the images in which there should be so many blocks.
        """
        num = len(self.repeats.copies)
        frames = runs(num, max(len(self.repeats.lasting), num // ENOUGH_BLOCKS), self.repeats.copies)
        parts = share * (int(frames.max()) + 1)
        edges = tiles(sides, [p + self.reach for p in patch], ENOUGH_BLOCKS / parts)
        if parts * len(edges[0]) * len(edges[1]) < FEWEST_BLOCKS:
            edges = tiles(sides, patch, FEWEST_BLOCKS / parts)
        return Pieces(frames, *edges)

    @property
    def _kernel(self) -> NDArray[np.float64]:
        """ρ or ρ², whichever has the larger sum."""
        kernel: NDArray[np.float64] = self.rho if self.rho.sum() > (self.rho**2).sum() else self.rho**2
        return kernel

    def covariance(self, patch: tuple[int, int]) -> NDArray[np.float64]:
        """Return the correlation of means over two patches by their displacement `(2S + 1, 2S + 1)`.

        Args:
            patch: Rows and columns of a patch.
        """
        size = tuple(2 * p - 1 for p in patch)
        kernel = signal.fftconvolve(self._kernel, _triangle(size, patch))
        peak: NDArray[np.float64] = kernel / kernel[kernel.shape[0] // 2, kernel.shape[1] // 2]
        return peak


def correlation(textures: np.ndarray, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return ρ(r) = C(r)/C(0) of whole images `(2R + 1, 2R + 1)`, with the origin in the middle.

        C(r) = ⟨(s_x − ⟨s⟩)(s_{x+r} − ⟨s⟩)⟩

    The means are over all pairs of unmasked sites of all images. R is half the shorter side.

    Args:
        textures: Textures `(M, rows, columns)`.
        valid: Unmasked sites `(M, rows, columns)`, or of all images `(rows, columns)`.
    """
    valid = np.broadcast_to(valid, textures.shape)
    sides = textures.shape[1:]
    reach = min(sides) // 2
    padded = [fft.next_fast_len(side + reach, real=True) for side in sides]

    def lags(spectrum: np.ndarray) -> np.ndarray:
        around = np.roll(fft.irfft2(spectrum, padded), (reach, reach), (0, 1))
        return around[: 2 * reach + 1, : 2 * reach + 1]

    mean = textures[valid].mean(dtype=np.float64)
    power, known = np.zeros((2, padded[0], padded[1] // 2 + 1))
    for image, here in zip(textures, valid, strict=True):
        power += np.abs(fft.rfft2(np.where(here, image - mean, 0.0), padded)) ** 2
    masks, which = different(valid)
    for here, number in zip(masks, np.bincount(which), strict=True):
        known += number * np.abs(fft.rfft2(here.astype(float), padded)) ** 2
    pairs = np.rint(lags(known))
    products = lags(power) / np.maximum(pairs, 1.0) * (pairs > 0)
    rho: NDArray[np.float64] = products / max(products[reach, reach], 1e-300)
    return rho


def different(valid: NDArray[np.bool_]) -> tuple[list[NDArray[np.bool_]], NDArray[np.intp]]:
    """Return the different masks of images, and the number of that of each image `(M,)`, from 0.

    Args:
        valid: Unmasked sites `(M, rows, columns)`.
    """
    if valid.strides[0] == 0:
        return [valid[0]], np.zeros(len(valid), np.intp)
    keys = [np.packbits(mask).tobytes() for mask in valid]
    first = list(dict.fromkeys(keys))
    return [valid[keys.index(key)] for key in first], np.array([first.index(key) for key in keys])


def distances(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the distance of each site from the middle one, `shape` being odd."""
    rows, columns = (np.arange(side) - side // 2 for side in shape)
    radius: NDArray[np.float64] = np.hypot(rows[:, None], columns)
    return radius


def decay(rho: NDArray[np.float64], sites: float) -> tuple[int, int]:
    """Return the distances from which on ρ is noise, and from which on it is below 0.1.

    The first is the smallest r for which ρ² averaged from r to 2r, because ρ may oscillate, is below
    1.2 times the variance A_c/A of its noise. Where ρ does not decay, it is R.

    Args:
        rho: ρ(r) around the origin `(2R + 1, 2R + 1)`.
        sites: Number A of sites in independent images from which it was measured.
    """
    longest, index = len(rho) // 2, np.rint(distances(rho.shape)).astype(int).ravel()
    powers = (None, rho.ravel(), rho.ravel() ** 2)
    number, first, second = (np.bincount(index, power)[: longest + 1] for power in powers)
    areas = np.maximum(first.cumsum(), second.cumsum())
    window = longest
    for r in range(1, longest):
        around = slice(r, 2 * r + 1)
        noise = NOISE * areas[r - 1] / sites
        if second[around].sum() < max(NOTHING**2, noise) * number[around].sum():
            window = r
            break
    seen = np.flatnonzero(second[:window] >= FAINT**2 * number[:window])
    return window, int(seen[-1]) + 1


def _area(rho: NDArray[np.float64]) -> float:
    return float(max(rho.sum(), (rho**2).sum()))


def _triangle(shape: tuple[int, ...], patch: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the share of a patch that overlaps with a displaced one `shape`."""
    sides = [
        np.maximum(0.0, 1 - np.abs(np.arange(n) - n // 2) / p) for n, p in zip(shape, patch, strict=True)
    ]
    return np.multiply.outer(*sides)


def tiles(
    sides: Sequence[int], least: Sequence[int], wanted: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first rows and columns of nearly square tiles.

    Args:
        sides: Rows and columns of the film.
        least: Least rows and columns of a tile.
        wanted: Number of tiles, if there is room for so many.
    """
    across = max(1, min(round(math.sqrt(wanted * sides[0] / sides[1])), sides[0] // least[0]))
    along = max(1, min(math.ceil(wanted / across), sides[1] // least[1]))
    return np.arange(across) * sides[0] // across, np.arange(along) * sides[1] // along
