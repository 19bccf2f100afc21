"""Correlations C(r): of patches, and of whole films with masks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Box = tuple[int, int, int, int]
"""First and last row, first and last column of a rectangle, as in Python slices."""

FINE, COARSE = 8, 4
"""Distance from which on distances are grouped, and number of groups per site."""


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


def correlation_length(correlation: np.ndarray, distances: np.ndarray | None = None) -> float:
    """Return the r at which C(r)/C(0) first falls to 1/e, by linear interpolation, or NaN.

    Args:
        correlation: C(r) `(R,)`.
        distances: Distances r, by default 0, 1, 2, … `(R,)`.
    """
    if not correlation[0] > 0:
        return math.nan
    r = np.arange(len(correlation)) if distances is None else distances
    ratio = correlation / correlation[0]
    below = np.flatnonzero(ratio < math.exp(-1))
    if not len(below):
        return math.nan
    last = int(below[0])
    part = (ratio[last - 1] - math.exp(-1)) / (ratio[last - 1] - ratio[last])
    return float(r[last - 1] + part * (r[last] - r[last - 1]))


@dataclass(frozen=True)
class Lags:
    """Distances between two sites of a film, up to a largest one.

    Displacements of equal length are one class, from 8 sites on those that differ by up to a quarter.
    Classes are followed by the displacements down a column, 0 … R, and along a row, 0 … R. Of d and −d
    one is enough, the one downwards or to the right.

    Args:
        reach: Largest distance R in sites.
    """

    reach: int

    @cached_property
    def squares(self) -> NDArray[np.intp]:
        """Squared distance of each displacement `(R + 1, 2R + 1)`."""
        right = np.arange(-self.reach, self.reach + 1)
        return np.arange(self.reach + 1)[:, None] ** 2 + right**2

    @cached_property
    def near(self) -> NDArray[np.bool_]:
        """Displacements up to R, one of d and −d `(R + 1, 2R + 1)`."""
        near = self.squares <= self.reach**2
        near[0, : self.reach] = False
        return near

    @cached_property
    def _classes(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Class of each displacement up to R, and the number of displacements in each class."""
        squares = self.squares[self.near]
        coarse = FINE**2 + np.rint(COARSE * (np.sqrt(squares) - FINE) + 1)
        return np.unique(
            np.where(squares <= FINE**2, squares, coarse), return_inverse=True, return_counts=True
        )[1:]

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        """Mean distance of each class in sites `(classes,)`."""
        return np.bincount(self._classes[0], np.sqrt(self.squares[self.near])) / self._classes[1]

    @property
    def numbers(self) -> NDArray[np.intp]:
        """Number of displacements in each class, d and −d `(classes,)`."""
        numbers = 2 * self._classes[1]
        numbers[0] = 1
        return numbers

    def gather(self, plane: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over the displacements of each class `(R + 1, 2R + 1)` → `(classes + 2R + 2,)`."""
        centre = self.reach
        return np.concatenate(
            [np.bincount(self._classes[0], plane[self.near]), plane[:, centre], plane[0, centre:]]
        )

    @cached_property
    def radii(self) -> NDArray[np.float64]:
        """Mean distance in each ring of displacements that round to 0 … R `(R + 1,)`."""
        numbers = self.numbers.astype(np.float64)
        return self.rings(self.distances * numbers) / self.rings(numbers)

    def rings(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over the classes of each ring, `(classes,)` → `(R + 1,)`."""
        rings: NDArray[Any] = np.bincount(np.rint(self.distances).astype(int), sums)
        return rings

    def split(
        self, sums: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Separate sums by class from those down the columns and along the rows."""
        classes = len(self.distances)
        return sums[:classes], *np.split(sums[classes:], 2)  # type: ignore[return-value]


def pair_plane(values: NDArray[np.float64], box: Box, reach: int) -> NDArray[np.float64]:
    """Return Σ_x v_x v_{x+d} over the sites x in a box.

    Displacements d go down by 0 … R and to the right by −R … R. With those up as well every pair would
    count in two boxes, which would then not be independent.

    Args:
        values: Values of the sites, 0 where masked `(rows, columns)`.
        box: The box.
        reach: Largest component R of a displacement.

    Returns:
        Sums by displacement `(R + 1, 2R + 1)`.
    """
    top, bottom, left, right = box
    rows, columns = values.shape
    start = max(left - reach, 0)
    around = values[top : min(bottom + reach, rows), start : min(right + reach, columns)]
    own = np.zeros_like(around)
    inner = slice(0, bottom - top), slice(left - start, right - start)
    own[inner] = around[inner]
    # Zeros keep displacements over one edge from arriving at the other.
    sizes = [
        fft.next_fast_len(bottom - top + reach, True),
        fft.next_fast_len(right - start + reach + max(0, reach - left + start), True),
    ]
    product = np.conj(fft.rfft2(own, sizes)) * fft.rfft2(around, sizes)
    d = np.arange(-reach, reach + 1)
    plane: NDArray[np.float64] = fft.irfft2(product, sizes)[: reach + 1, d % sizes[1]]
    return plane


def boxes(shape: Sequence[int], side: float) -> list[Box]:
    """Cut a film into equal boxes with sides of at least `side` sites, if there is room."""
    edges = [np.linspace(0, n, max(1, int(n / side)) + 1).round().astype(int).tolist() for n in shape]
    rows, columns = ([*pairwise(e)] for e in edges)
    return [(top, bottom, left, right) for top, bottom in rows for left, right in columns]
