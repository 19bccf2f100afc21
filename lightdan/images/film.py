"""Numbers of a film from its whole images, with errors from tiles and frames."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightdan.images.bubbles import Window, bubble_numbers, bubble_sums
from lightdan.images.correlations import Box, Lags, correlation_length, pair_plane
from lightdan.images.domains import domain_numbers, local_sums
from lightdan.images.structure_factor import LagWindow
from lightdan.statistics import Blocks, Estimate, jackknife_each

PERIODS = 5
"""Distance up to which correlations are measured, in periods."""
LENGTHS = 10
"""Distance up to which correlations are measured without a period, in correlation lengths."""
LEAST = 16
"""Least distance up to which correlations are measured, in sites."""
SIGNIFICANT = 4.0
"""Standard errors by which a peak of S(k) must exceed S at smaller k."""
COMPACT = 0.5
"""Part of the rarer phase in domains that no edge cuts, from which on they are bubbles."""
FEW_BUBBLES = 10
"""Number of bubbles below which they have no density."""
LOCAL = 20
"""Number of sums of `local_sums`."""
POWERS = {
    "correlation_length": 1,
    "domain_period": 1,
    "width_bright": 1,
    "width_dark": 1,
    "chord_bright": 1,
    "chord_dark": 1,
    "diameter": 1,
    "wall_length": -1,
    "euler_number": -2,
    "density": -2,
}
"""Powers of a length in the units of the numbers; others have no unit."""


class FilmNumbers(NamedTuple):
    """Numbers and curves of a film, lengths in sites.

    Args:
        estimates: Numbers by name; those that the film does not have are left out.
        radii: Distances r `(R + 1,)`.
        correlation: C(r), its values and errors `(2, R + 1)`.
        down: C(r) down the columns, values and errors `(2, R + 1)`.
        right: C(r) along the rows, values and errors `(2, R + 1)`.
        k: Wave numbers in radians per site `(2R + 1,)`.
        structure_factor: S(k), values and errors `(2, 2R + 1)`.
        domains: Domains of the rarer phase, those cut by an edge included.
    """

    estimates: dict[str, Estimate]
    radii: NDArray[np.float64]
    correlation: NDArray[np.float64]
    down: NDArray[np.float64]
    right: NDArray[np.float64]
    k: NDArray[np.float64]
    structure_factor: NDArray[np.float64]
    domains: int

    def scaled(self, side: float) -> dict[str, Estimate]:
        """Return the estimates in units of which a site has `side`."""
        factors = {name: side ** POWERS.get(name, 0) for name in self.estimates}
        return {
            name: Estimate(value * factors[name], error * factors[name])
            for name, (value, error) in self.estimates.items()
        }


class Sums(NamedTuple):
    """Sums over the tiles of an image, from which all numbers of a film follow.

    Args:
        sites: Valid sites `(tiles,)`.
        excess: Σ (s − m), m being the mean of the image `(tiles,)`.
        products: Σ (s_x − m)(s_{x+d} − m), by class of displacement `(tiles, lags)`.
        offset: m less the mean of all images.
        local: Counts of walls and corners `(tiles, 20)`.
        bubbles: Counts of domains of the rarer phase `(tiles, 7)`.
    """

    sites: NDArray[np.float64]
    excess: NDArray[np.float64]
    products: NDArray[np.float64]
    offset: float
    local: NDArray[np.float64]
    bubbles: NDArray[np.float64]


@dataclass
class Film:
    """Film that is seen in images of one shape.

    C(r) = ⟨(s_x − ⟨s⟩)(s_{x+r} − ⟨s⟩)⟩ is the mean over all pairs of unmasked sites. All numbers are
    functions of sums over tiles, and their errors come from leaving out one block of tiles at a time.

    Args:
        valid: Unmasked sites `(rows, columns)`.
        tiles: Boxes that cover the images.
        lags: Distances of C(r).
        mean: Mean of all images.
        bright: Value of the bright phase.
        rare: Whether the bright phase is the rarer one.
    """

    valid: NDArray[np.bool_]
    tiles: Sequence[Box]
    lags: Lags
    mean: float
    bright: int = 1
    rare: bool = True

    def __post_init__(self) -> None:
        """Prepare what all images share."""
        self.labels = np.zeros(self.valid.shape, np.intp)
        for label, (top, bottom, left, right) in enumerate(self.tiles):
            self.labels[top:bottom, left:right] = label
        self.window, self.spectrum = Window(self.valid), LagWindow(self.lags)

    @cached_property
    def pairs(self) -> NDArray[np.float64]:
        """Number of valid pairs by tile and class of displacement `(tiles, lags)`."""
        return np.rint(self._by_tile(self.valid.astype(np.float64)))

    def _by_tile(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        planes = (pair_plane(values, box, self.lags.reach) for box in self.tiles)
        return np.stack([self.lags.gather(plane) for plane in planes])

    def sums(self, texture: NDArray[np.integer]) -> Sums:
        """Return the sums over the tiles of an image.

        Args:
            texture: Values of its sites `(rows, columns)`.
        """
        mean = float(texture[self.valid].mean(dtype=np.float64))
        s = np.where(self.valid, texture - mean, 0.0)
        tiles = len(self.tiles)
        bright = texture == self.bright
        return Sums(
            np.bincount(self.labels[self.valid], minlength=tiles).astype(np.float64),
            np.bincount(self.labels.ravel(), s.ravel(), tiles).astype(np.float64),
            self._by_tile(s),
            mean - self.mean,
            local_sums(bright, self.valid, self.labels, tiles),
            bubble_sums(bright == self.rare, self.window, self.labels, tiles),
        )

    def frame(self, sums: Sums) -> FilmNumbers:
        """Return the numbers of one image, about its own mean; each tile is a block."""
        rows = self.rows(sums, 0.0)
        return self.numbers(rows[rows[:, 0] > 0])

    def together(
        self, images: Iterable[tuple["Film", Sums]], blocks: Sequence[NDArray[np.intp]]
    ) -> FilmNumbers:
        """Return the numbers of several images, about the mean of all.

        Args:
            images: Geometry of each image, with the same distances, and sums over its tiles.
            blocks: Label of the block of each tile `(tiles,)`, from 0, for each image.
        """
        total: NDArray[np.float64] | None = None
        for (film, sums), labels in zip(images, blocks, strict=True):
            rows = film.rows(sums, sums.offset)
            if total is None:
                total = np.zeros((max(int(each.max()) for each in blocks) + 1, rows.shape[1]))
            np.add.at(total, labels, rows)
        if total is None:
            raise ValueError("Pass at least one image.")
        return self.numbers(total[total[:, 0] > 0])

    def rows(self, sums: Sums, offset: float) -> NDArray[np.float64]:
        """Join the sums of each tile `(tiles, columns)`; products are shifted to a mean at an offset."""
        sites = np.maximum(sums.sites, 1.0)
        shift = self.pairs * (offset * (2 * sums.excess / sites + offset))[:, None]
        return np.concatenate(
            [
                sums.sites[:, None],
                (sums.excess + offset * sums.sites)[:, None],
                sums.products,
                sums.products + shift,
                self.pairs,
                sums.local,
                sums.bubbles,
            ],
            axis=1,
        )

    def _parts(self, row: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        lags = self.pairs.shape[1]
        return np.split(row, np.cumsum([1, 1, lags, lags, lags, LOCAL]))

    def numbers(self, rows: NDArray[np.float64]) -> FilmNumbers:
        """Return all numbers from the sums of each block `(blocks, columns)`."""
        total = rows.sum(0)
        *_, bubbles = self._parts(total)
        compact = bubbles[2] >= COMPACT * bubbles[1] and bubbles[0] >= FEW_BUBBLES
        spectrum = self._curves(total)[1]
        near, _ = self.spectrum.peak(spectrum)

        def by_name(row: NDArray[np.float64]) -> dict[str, float]:
            sites, *_, local, bubbles = self._parts(row)
            (c, _, _), s = self._curves(row)
            k, height = self.spectrum.peak(s, near)
            found = domain_numbers(local) | {
                "correlation_length": correlation_length(c, self.lags.radii),
                "domain_period": 2 * math.pi / k,
                "height": height,
            }
            return found | (bubble_numbers(bubbles, float(sites[0])) if compact else {})

        names = list(by_name(total))

        def everything(row: NDArray[np.float64]) -> NDArray[np.float64]:
            lines, s = self._curves(row)
            return np.concatenate([[*by_name(row).values()], *lines, s])

        blocks = Blocks(np.arange(len(rows)), len(rows))
        with np.errstate(invalid="ignore"):  # without walls there is no width
            all_of_them = np.array(jackknife_each(everything, rows, blocks=blocks))
        estimates = {
            name: Estimate(*pair) for name, pair in zip(names, all_of_them.tolist(), strict=False)
        }
        height = estimates.pop("height")
        if not height.value > SIGNIFICANT * height.error:
            del estimates["domain_period"]
        side = self.lags.reach + 1
        curves = all_of_them[len(names) :].T
        c, down, right = np.split(curves[:, : 3 * side], 3, axis=1)
        return FilmNumbers(
            {name: estimate for name, estimate in estimates.items() if math.isfinite(estimate.value)},
            self.lags.radii,
            c,
            down,
            right,
            self.spectrum.k,
            curves[:, 3 * side :],
            int(bubbles[0]),
        )

    def _curves(self, row: NDArray[np.float64]) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
        """Return C(r) in rings, down columns and along rows, and S(k)."""
        sites, excess, within, products, pairs, *_ = self._parts(row)
        square = (excess / sites) ** 2
        some = np.maximum(pairs, 1e-9)
        all_products, down_products, right_products = self.lags.split(products)
        all_pairs, down_pairs, right_pairs = self.lags.split(some)
        lines = [
            self.lags.rings(all_products) / self.lags.rings(all_pairs) - square,
            down_products / down_pairs - square,
            right_products / right_pairs - square,
        ]
        classes = len(self.lags.distances)
        return lines, self.spectrum.radial((within / some)[:classes])


def reach_of(plane: NDArray[np.float64]) -> int:
    """Return the distance up to which correlations are worth measuring, from a first look at them.

    It is six periods if S(k) has a peak, ten correlation lengths if not, and at most what is known.

    Args:
        plane: C by displacement `(R + 1, 2R + 1)`.
    """
    lags = Lags(len(plane) - 1)
    sums, pairs = (lags.split(lags.gather(x))[0] for x in (plane, np.ones_like(plane)))
    window = LagWindow(lags)
    k, _ = window.peak(window.radial(sums / pairs))
    length = correlation_length(lags.rings(sums) / lags.rings(pairs), lags.radii)
    wanted = PERIODS * 2 * math.pi / k if math.isfinite(k) else LENGTHS * length
    if not math.isfinite(wanted):
        return lags.reach
    return min(lags.reach, max(LEAST, math.ceil(wanted)))
