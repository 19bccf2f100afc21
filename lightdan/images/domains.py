"""Domains of whole films with masks."""

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (1, -2), (2, 1), (2, -1))
"""Displacements along which walls are crossed: two axes, two diagonals and four knight's moves."""
AXES = 2
"""Number of `DIRECTIONS` along the axes."""


def _angles() -> NDArray[np.float64]:
    """Return the range of angles that each direction stands for, as a fraction of all."""
    angle = np.mod([math.atan2(*d) for d in DIRECTIONS], math.pi)
    order = np.argsort(angle)
    wrapped = np.concatenate([[angle[order[-1]] - math.pi], angle[order], [angle[order[0]] + math.pi]])
    widths = np.empty(len(angle))
    widths[order] = (wrapped[2:] - wrapped[:-2]) / (2 * math.pi)
    return widths


SHARES = _angles()
"""Range of angles that each of `DIRECTIONS` stands for, as a fraction of all."""


def local_sums(
    bright: NDArray[np.bool_], valid: NDArray[np.bool_], labels: NDArray[np.intp], tiles: int
) -> NDArray[np.float64]:
    """Count sites, walls and corners of each tile of a film.

    Args:
        bright: Sites of the bright phase `(rows, columns)`.
        valid: Unmasked sites `(rows, columns)`.
        labels: Tile of each site, from 0 `(rows, columns)`.
        tiles: Number of tiles.

    Returns:
        Sites; bright sites; pairs along each of `DIRECTIONS`; unlike ones; squares of 2 × 2 sites; those
        with one bright site less those with three `(tiles, 20)`. A pair or a square belongs to the tile
        of its first site.
    """

    def count(at: Any, tile: NDArray[np.intp], weights: NDArray[Any] | None = None) -> NDArray[Any]:
        return np.bincount(tile[at], None if weights is None else weights[at], tiles)

    columns = [count(valid, labels), count(valid & bright, labels)]
    pairs, unlike = [], []
    for down, right in DIRECTIONS:
        first, second = _shifted(valid.shape, down, right)
        both = valid[first] & valid[second]
        pairs.append(count(both, labels[first]))
        different = bright[first] != bright[second]
        unlike.append(count(both & different, labels[first]))
    four = sliding_window_view(bright, (2, 2)).sum((2, 3), dtype=np.int8)
    whole = sliding_window_view(valid, (2, 2)).all((2, 3))
    corner = labels[:-1, :-1]
    ends = (four == 1).astype(np.float64) - (four == 3)
    columns += [*pairs, *unlike, count(whole, corner), count(whole, corner, ends)]
    return np.stack(columns, axis=1).astype(np.float64)


def _shifted(
    shape: tuple[int, ...], down: int, right: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the first and the second sites of all pairs at a displacement, with down ≥ 0."""
    rows, columns = shape
    left, skip = max(-right, 0), max(right, 0)
    first = slice(0, rows - down), slice(left, columns - skip)
    return first, (slice(down, rows), slice(left + right, columns - skip + right))


def domain_numbers(sums: NDArray[np.float64]) -> dict[str, float]:
    """Return area fraction, walls, widths, chords and Euler number from `local_sums`.

    Walls per area follow from the crossings of straight lines (Crofton). A width is the area of a phase
    over half the length of its walls. A chord is the mean length of a phase along rows and columns. The
    Euler number is that of the bright phase, the mean of both ways to connect diagonals.

    Args:
        sums: Sums over tiles `(20,)`.

    Returns:
        Numbers by name, lengths in sites.
    """
    num = len(DIRECTIONS)
    sites, light = sums[:2]
    pairs, unlike = sums[2 : 2 + num], sums[2 + num : 2 + 2 * num]
    steps = np.hypot(*np.transpose(DIRECTIONS))
    squares, ends = sums[2 + 2 * num :]
    with np.errstate(divide="ignore", invalid="ignore"):
        bright = light / sites
        walls = math.pi / 2 * (SHARES @ (unlike / pairs / steps))
        crossings = unlike[:AXES].sum() / pairs[:AXES].sum()
        numbers = {
            "area_fraction": bright,
            "wall_length": walls,
            "width_bright": 2 * bright / walls,
            "width_dark": 2 * (1 - bright) / walls,
            "chord_bright": 2 * bright / crossings,
            "chord_dark": 2 * (1 - bright) / crossings,
            "euler_number": ends / squares / 4,
        }
    return {name: float(number) for name, number in numbers.items()}
