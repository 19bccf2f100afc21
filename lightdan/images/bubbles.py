"""Domains as objects: their number, size and arrangement, as of skyrmions or bubbles."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import Voronoi

FEWEST = 4
"""Smallest number of points that have Voronoi cells."""


@dataclass
class Window:
    """Part of a film that is seen, in which domains are whole or cut.

    Args:
        valid: Unmasked sites `(rows, columns)`.
    """

    valid: NDArray[np.bool_]
    _placements: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find the sites that have only valid neighbours."""
        self.inside = ndimage.binary_erosion(self.valid, np.ones((3, 3)))
        self._below = np.pad(self.inside.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def holds(self, box: tuple[slice, slice]) -> bool:
        """Return whether a box has inner sites only."""
        return bool(self.inside[box].all())

    def placements(self, height: int, width: int) -> int:
        """Return the number of places for a box of this size with inner sites only."""
        if self.inside[1:-1, 1:-1].all():
            rows, columns = self.inside.shape
            return (rows - 1 - height) * (columns - 1 - width)
        if (height, width) not in self._placements:
            s = self._below
            area = s[height:, width:] - s[:-height, width:] - s[height:, :-width] + s[:-height, :-width]
            self._placements[height, width] = int((area == height * width).sum())
        return self._placements[height, width]


def bubble_sums(
    phase: NDArray[np.bool_], window: Window, labels: NDArray[np.intp], tiles: int
) -> NDArray[np.float64]:
    """Count the domains of a phase in each tile; a domain belongs to the tile of its centre.

    A domain that a window cuts has no size. The others stand for those that are cut, by one over the
    number of places at which they would be seen whole (Miles and Lantuéjoul).

    Args:
        phase: Sites of the phase `(rows, columns)`.
        window: Window of the film.
        labels: Tile of each site, from 0 `(rows, columns)`.
        tiles: Number of tiles.

    Returns:
        Domains, cut ones included; their area; area of those not cut; weights, and weighted diameters of
        those not cut; |ψ₆| and number of centres that have it `(tiles, 7)`. The weights sum to the
        density of the domains times the number of valid sites.
    """
    seen, number = ndimage.label(phase & window.valid)
    sums = np.zeros((tiles, 7))
    if not number:
        return sums
    places = np.argwhere(seen)
    which = seen[seen > 0] - 1
    areas = np.bincount(which, minlength=number)
    centres = np.stack([np.bincount(which, x, number) / areas for x in places.T], axis=1)
    found = ndimage.find_objects(seen)
    whole = np.array([window.holds(box) for box in found])
    sides = [tuple(part.stop - part.start for part in box) for box in found]
    weights = np.array(
        [
            1 / window.placements(*side) if is_whole else 0.0
            for side, is_whole in zip(sides, whole, strict=True)
        ]
    ) * int(window.valid.sum())
    diameters = 2 * np.sqrt(areas / math.pi)
    order = hexatic_order(centres, window.valid)
    known = np.isfinite(order)
    rounded = np.rint(centres).astype(int)
    tile = labels[rounded[:, 0], rounded[:, 1]]
    columns = (
        np.ones(number),
        areas,
        np.where(whole, areas, 0),
        weights,
        weights * diameters,
        np.where(known, order, 0.0),
        known.astype(np.float64),
    )
    return np.stack([np.bincount(tile, column, tiles) for column in columns], axis=1)


def hexatic_order(points: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return |ψ₆| of each point `(points,)`, or NaN where its Voronoi cell leaves the film.

        ψ₆ = Σ_n l_n e^{6iθ_n}/Σ_n l_n

    The sum is over the edges of the cell, of length l, and θ is the direction to the neighbour behind.
    The order is 1 in a triangular lattice.

    Args:
        points: Row and column of each point `(points, 2)`.
        valid: Unmasked sites `(rows, columns)`.

    References:
        W. Mickel et al., J. Chem. Phys. 138, 044501 (2013).
    """
    order = np.full(len(points), np.nan)
    if len(points) < FEWEST or np.linalg.matrix_rank(points - points.mean(0)) < 2:
        return order
    cells = Voronoi(points)
    corners = np.rint(cells.vertices)
    inside = ((corners >= 0) & (corners < valid.shape)).all(1)
    inside[inside] = valid[tuple(corners[inside].astype(int).T)]
    open_cells = np.zeros(len(points), bool)
    total, lengths = np.zeros(len(points), complex), np.zeros(len(points))
    ends = np.array(cells.ridge_vertices)
    first, second = cells.ridge_points.T
    bad = (ends < 0).any(1) | ~inside[ends].all(1)
    open_cells[cells.ridge_points[bad].ravel()] = True
    length = np.where(bad, 0.0, np.hypot(*(cells.vertices[ends[:, 0]] - cells.vertices[ends[:, 1]]).T))
    angle = np.arctan2(*(points[second] - points[first]).T)
    for point, direction in ((first, angle), (second, angle + math.pi)):
        np.add.at(total, point, length * np.exp(6j * direction))
        np.add.at(lengths, point, length)
    closed = ~open_cells & (lengths > 0)
    order[closed] = np.abs(total[closed]) / lengths[closed]
    return order


def bubble_numbers(sums: NDArray[np.float64], sites: float) -> dict[str, float]:
    """Return density, diameter and hexatic order from `bubble_sums`.

    Args:
        sums: Sums over tiles `(7,)`.
        sites: Number of valid sites of these tiles.

    Returns:
        Numbers by name, lengths in sites. The diameter is that of a circle of equal area.
    """
    _, _, _, weights, diameters, order, ordered = sums
    return {
        "density": float(weights / sites),
        "diameter": float(diameters / weights) if weights else math.nan,
        "psi6": float(order / ordered) if ordered else math.nan,
    }
