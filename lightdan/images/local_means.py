"""Means of local quantities of a film, cell by cell."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from lightdan.images.independence import Independence, different

SMALLEST = 4
"""Least side of a cell in sites."""
CELLS = 16, 64
"""Least and largest number of cells along the shorter side of a film, if they are not too small."""
KNOWN = 0.7
"""Least part of the pairs of a cell that are known."""
BLOCKS = 6
"""Least number of blocks along a side of the film."""
DIRECTIONS = {"down": (1, 0), "right": (0, 1), "diagonal": (1, 1), "antidiagonal": (1, -1)}
"""Steps in rows and columns by direction."""


EVERY = slice(None)
"""All images, rows or columns."""


class Part(NamedTuple):
    """Rectangle of a film, or part of the images.

    Args:
        rows: Rows of cells or sites.
        columns: Columns of cells or sites.
        images: Parts of the images.
    """

    rows: slice = EVERY
    columns: slice = EVERY
    images: slice = EVERY


@dataclass(frozen=True)
class LocalMeans:
    """Means of local quantities over the blocks of a film.

    The quantities are the area fraction of the brightest phase, walls per site, and products of sites

        c_r = (s_x − ⟨s⟩)(s_{x+r} − ⟨s⟩)

    in four directions at the distances 1, 2, 4, … up to the reach of the correlations.

    Args:
        means: Means over the sites of each cell and the images of each part, by name `(parts, rows,
            columns)`; NaN where less than 0.7 of a cell is known.
        edges: First rows and first columns of the cells, with the ends.
        parts: Label of the part of each image `(M,)`.
        independence: Correlations of the film.
    """

    means: dict[str, NDArray[np.float64]]
    edges: tuple[NDArray[np.intp], NDArray[np.intp]]
    parts: NDArray[np.intp]
    independence: Independence

    @classmethod
    def of(
        cls, textures: np.ndarray, valid: NDArray[np.bool_], independence: Independence
    ) -> "LocalMeans":
        """Average the quantities.

        A cell is as wide as the correlations reach, if the film then has neither few nor very many.

        Args:
            textures: Textures `(M, rows, columns)`.
            valid: Unmasked sites `(M, rows, columns)`, or of all images `(rows, columns)`.
            independence: Correlations of the film.
        """
        valid = np.broadcast_to(valid, textures.shape)
        reach, sides = independence.reach, textures.shape[1:]
        few, many = CELLS
        side = max(SMALLEST, min(reach, min(sides) // few), min(sides) // many)
        edges = tuple(np.linspace(0, n, max(1, n // side) + 1).round().astype(np.intp) for n in sides)
        parts = independence.pieces((sides[0], sides[1])).frames
        centre, bright = textures[valid].mean(dtype=np.float64), textures.max()
        steps = [2**k for k in range(1 + int(math.log2(max(1, reach))))]
        members = [_members(each) for each in edges]
        shape = int(parts.max()) + 1, *(len(each) for each in members)
        sums: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(shape))
        pairs: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(shape))
        for part, texture, here in zip(parts, textures, valid, strict=True):
            for name, values in _local(texture, here, centre, bright, steps):
                sums[name][part] += _by_cell(values, members)
        masks, which = different(valid)
        for k, mask in enumerate(masks):
            number = np.bincount(parts[which == k], minlength=shape[0])[:, None, None]
            for name, values in _local(mask, mask, 0.0, True, steps):
                pairs[name] += number * _by_cell(values, members)
        for direction in ("down", "right"):
            pairs[f"walls {direction}"] = pairs[f"{direction} 1"]
        images = np.bincount(parts)[:, None, None]
        least = KNOWN * images * np.outer(*(np.diff(each) for each in edges))
        means = {
            name: np.where(pairs[name] > least, total / np.maximum(1, pairs[name]), np.nan)
            for name, total in sums.items()
        }
        return cls(means, (edges[0], edges[1]), parts, independence)

    @property
    def shape(self) -> tuple[int, ...]:
        """Parts of the images, and rows and columns of cells."""
        return next(iter(self.means.values())).shape

    @cached_property
    def blocks(self) -> "LocalMeans":
        """Local means of blocks with twice the reach as a side, at most a sixth of the film."""
        cell = self.edges[0][1]
        shape = self.shape[1:]
        times = max(1, min(round(2 * self.independence.reach / cell), min(shape) // BLOCKS))
        first = [np.arange(0, max(1, side // times) * times, times) for side in shape]
        merged = {}
        for name, each in self.means.items():
            known = np.isfinite(each)
            total, number = (
                np.add.reduceat(np.add.reduceat(x, first[0], 1), first[1], 2)
                for x in (np.where(known, each, 0.0), known.astype(float))
            )
            enough = number > number.max() / 2
            merged[name] = np.where(enough, total / np.maximum(number, 1), np.nan)
        rows, columns = (np.append(e[f], e[-1]) for e, f in zip(self.edges, first, strict=True))
        return LocalMeans(merged, (rows, columns), self.parts, self.independence)

    @cached_property
    def in_space(self) -> NDArray[np.float64]:
        """Correlations of two cells by their displacement in cells, with 0 in the middle."""
        side = int(self.edges[0][1])
        kernel = self.independence.covariance((side, side))
        return kernel[tuple(slice((n // 2) % side, None, side) for n in kernel.shape)]

    @cached_property
    def in_time(self) -> NDArray[np.float64]:
        """Correlations of two parts `(parts, parts)`."""
        repeats, parts = self.independence.repeats, self.parts
        lasting = np.append(repeats.lasting, 0.0)
        lags = np.abs(np.subtract.outer(np.arange(len(parts)), np.arange(len(parts))))
        same = repeats.copies[:, None] == repeats.copies
        single = np.where(same, 1.0, lasting[np.minimum(lags, len(lasting) - 1)])
        member = (parts == np.arange(parts.max() + 1)[:, None]) / np.bincount(parts)[:, None]
        between = member @ single @ member.T
        spread = np.sqrt(between.diagonal())
        correlations: NDArray[np.float64] = between / spread / spread[:, None]
        return correlations

    @cached_property
    def quantities(self) -> dict[str, NDArray[np.float64]]:
        """Area fraction, walls per site and C(r) from r = 2 on, as in `means`."""
        found = {
            "area fraction": self.means["area fraction"],
            "number of walls per site": self.means["walls down"] + self.means["walls right"],
        }
        for name, down in self.means.items():
            if name.startswith("down ") and name != "down 1":
                r = name.split()[1]
                found[f"C({r})"] = (down + self.means[f"right {r}"]) / 2
        return found

    def shared(self, rows: int, columns: int) -> float:
        """Return the variance of a mean over blocks `rows × columns` in units of that of one block."""
        middle, sides = np.array(self.in_space.shape) // 2, np.array([rows, columns])
        near = np.minimum(middle, sides - 1)
        low, high = middle - near, middle + near + 1
        kernel = self.in_space[low[0] : high[0], low[1] : high[1]]
        down, right = (side - np.abs(np.arange(-n, n + 1)) for side, n in zip(sides, near, strict=True))
        return float(down @ kernel @ right) / (rows * columns) ** 2

    def share(self, values: NDArray[np.float64]) -> float:
        """Return the variance of the mean of values in units of that of one value.

        Args:
            values: Values of all cells `(parts, rows, columns)`; unknown ones are NaN.
        """
        known = np.isfinite(values).mean(0)
        near = signal.fftconvolve(known, self.in_space, mode="full")
        start = np.array(self.in_space.shape) // 2
        near = near[start[0] :, start[1] :][: known.shape[0], : known.shape[1]]
        in_space = float((known * near).sum()) / max(1e-12, float(known.sum()) ** 2)
        return in_space * float(self.in_time.mean()) if known.any() else 1.0

    def error(self, values: NDArray[np.float64]) -> float:
        """Return the standard error of the mean of values of all cells `(parts, rows, columns)`."""
        share, known = self.share(values), values[np.isfinite(values)]
        if not len(known):
            return math.inf
        return math.sqrt(float(known.var()) * share / max(1e-12, 1 - share))

    def freedom(self, values: NDArray[np.float64]) -> float:
        """Return the degrees of freedom of `error`: independent cells less one."""
        return 1 / self.share(values) - 1

    def in_sites(self, part: Part) -> Part:
        """Return a part whose rows and columns are sites instead of cells."""
        rows, columns = (
            each if each == EVERY else slice(int(edges[each.start]), int(edges[each.stop]))
            for each, edges in zip(part[:2], self.edges, strict=True)
        )
        return Part(rows, columns, part.images)


def _local(
    texture: np.ndarray, valid: NDArray[np.bool_], centre: float, bright: float, steps: list[int]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and values of each local quantity of a texture `(rows, columns)`, 0 if unknown."""
    yield "area fraction", (texture == bright) & valid
    s = np.where(valid, texture - centre, 0).astype(np.float32)
    for direction, step in DIRECTIONS.items():
        for r in steps:
            first, second = _pair(np.array(step) * r)
            yield f"{direction} {r}", s[first] * s[second]
            if r == 1 and direction in ("down", "right"):
                yield f"walls {direction}", (s[first] != s[second]) & valid[first] & valid[second]


def _pair(step: NDArray[np.intp]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the slices of two equal arrays of sites that are a step apart."""
    first = tuple(slice(max(0, -n), -n if n > 0 else None) for n in step.tolist())
    second = tuple(slice(max(0, n), n if n < 0 else None) for n in step.tolist())
    return (first[0], first[1]), (second[0], second[1])


def _members(edges: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return whether a row or column is in a cell `(cells, sites)`, given the first ones and the end."""
    cells = np.arange(len(edges) - 1)[:, None]
    return (np.repeat(cells.T, np.diff(edges), 1) == cells).astype(np.float32)


def _by_cell(values: np.ndarray, members: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Return the sums over cells `(rows, columns)` of values of pairs, which lie in their middle."""
    down, right = (
        each[:, (each.shape[1] - side) // 2 :][:, :side]
        for each, side in zip(members, values.shape, strict=True)
    )
    sums: NDArray[np.float32] = down @ values.astype(np.float32) @ right.T
    return sums.astype(np.float64)
