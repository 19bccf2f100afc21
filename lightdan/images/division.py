"""Division of a film into training, validation and test, and of each into independent blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lightdan.images.independence import Independence, Pieces, different, tiles
from lightdan.images.patches import (
    TEST,
    TRAIN,
    VALIDATION,
    block_labels,
    guarded_film,
    guarded_images,
    hold_out,
    on_film,
    whole,
)
from lightdan.statistics import Blocks

KEPT = 0.5
"""Least part of the training patches that guard bands leave, if they are wider than they must be."""
MANY_TILES, FEW_TILES = 64, 16
"""Numbers of tiles, without and with too little room for wide guard bands."""
FEW_BLOCKS, FEWEST_BLOCKS = 16, 8
"""Numbers of blocks of a split below which tiles are divided, the second even into correlated parts."""


@dataclass(frozen=True)
class Division:
    """Patches of training, validation and test, and their division into independent blocks.

    Whole images are assigned at random, copies and consecutive correlated ones together; or tiles of
    the film, wherever the images show them. Guard bands between different splits are as wide as the
    correlations reach, or as narrow as it takes to keep half of the training patches.

    Args:
        patch: Rows and columns of a patch.
        film: Roles of the sites of the film `(H, W)`: 0 for training, 1 for validation, 2 for test, −1
            for guard bands.
        images: Roles of the images `(M,)`; all 0 if the film is divided.
        guard: Width of the guard bands, in images or in sites.
        pieces: Blocks of the film.
        places: Image, row and column of the first site of each patch `(patches, 3)`, for each split.
            Patches of the same block are consecutive, and the blocks are in random order.
        independence: Correlations of the film.
    """

    patch: tuple[int, int]
    film: NDArray[np.int8]
    images: NDArray[np.int8]
    guard: int
    pieces: Pieces
    places: list[NDArray[np.intp]]
    independence: Independence

    @classmethod
    def of(
        cls,
        independence: Independence,
        valid: NDArray[np.bool_],
        patch: tuple[int, int],
        stride: int,
        fractions: Sequence[float],
        by: Literal["image", "space"],
        seed: int,
    ) -> "Division":
        """Divide the images among training, validation and test.

        Args:
            independence: Correlations of the film.
            valid: Unmasked sites `(M, rows, columns)`, or of all images `(rows, columns)`.
            patch: Rows and columns of a patch.
            stride: Sites between patches.
            fractions: Fractions for training, validation and test.
            by: Whether to assign whole images, or tiles of the film.
            seed: Random seed.

        Raises:
            ValueError: There are too few different images, or they are too small.
        """
        every = np.broadcast_to(valid, (len(independence.repeats.copies), *valid.shape[-2:]))
        where = _Where(independence, every, patch, stride)
        divide = _by_image if by == "image" else _by_tile
        film, images, guard, pieces, places = divide(where, fractions, seed)
        division = cls(patch, film, images, guard, pieces, places, independence)
        rng = np.random.default_rng([seed, 1])
        for split, each in enumerate(places):
            labels = division.labels(split)
            order = rng.permutation(labels.max(initial=0) + 1)
            places[split] = each[np.argsort(order[labels], kind="stable")]
        return division

    def role_of_sites(self, image: int) -> NDArray[np.int8]:
        """Return the roles of the sites of an image `(rows, columns)`, as in `film`."""
        row, column = self.independence.repeats.places[image]
        rows, columns = np.array(self.film.shape) - self.independence.repeats.places.max(0)
        seen = self.film[row : row + rows, column : column + columns]
        return seen if self.images[image] == TRAIN else np.full_like(seen, self.images[image])

    def labels(self, split: int) -> NDArray[np.intp]:
        """Return the label of the block of each patch of a split `(patches,)`, by its middle."""
        film = on_film(self.independence.repeats.places, self.places[split])
        return block_labels(self.pieces, film, self.patch)

    def blocks(self, split: int) -> Blocks:
        """Return the blocks of the patches of a split, with the correlations of neighbouring ones."""
        repeats = self.independence.repeats
        places, copies = on_film(repeats.places, self.places[split]), repeats.copies
        kernel = np.pad(self.independence.covariance(self.patch), 1)
        lasting = np.append(repeats.lasting, 0.0)
        middle = np.array(kernel.shape) // 2

        def correlation(rows: NDArray[np.intp]) -> NDArray[np.float64]:
            image, row, column = places[rows].T
            lag = np.minimum(np.abs(image[:, None] - image), len(lasting) - 1)
            same = copies[image][:, None] == copies[image]
            down, right = (
                np.clip(x[:, None] - x + m, 0, 2 * m) for x, m in zip((row, column), middle, strict=True)
            )
            found: NDArray[np.float64] = np.where(same, 1.0, lasting[lag]) * kernel[down, right]
            return found

        return Blocks.of_labels(self.labels(split), correlation)


@dataclass(frozen=True)
class _Where:
    """Places where patches may begin."""

    independence: Independence
    valid: NDArray[np.bool_]
    patch: tuple[int, int]
    stride: int

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of the film that the images show."""
        rows, columns = np.array(self.valid.shape[1:]) + self.independence.repeats.places.max(0)
        return int(rows), int(columns)

    def places(self, begins: NDArray[np.bool_], images: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return image, row and column of the unmasked patches `(patches, 3)`.

        Args:
            begins: First sites of patches on the film.
            images: Images that are used `(M,)`.
        """
        masks, which = different(self.valid)
        unmasked = [whole(mask, self.patch) for mask in masks]
        rows, columns = unmasked[0].shape
        found = [np.zeros((0, 3), np.intp)]
        for image in np.flatnonzero(images):
            row, column = self.independence.repeats.places[image]
            here = begins[row : row + rows, column : column + columns]
            at = np.argwhere(here & unmasked[which[image]])
            found.append(np.insert(at, 0, image, axis=1))
        return np.concatenate(found)

    def grid(self, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return where patches begin if they lie on a grid and all their sites are allowed."""
        begins = whole(allowed, self.patch)
        on_grid = np.zeros_like(begins)
        on_grid[:: self.stride, :: self.stride] = begins[:: self.stride, :: self.stride]
        return on_grid


_Divided = tuple[NDArray[np.int8], NDArray[np.int8], int, Pieces, list[NDArray[np.intp]]]


def _by_image(where: _Where, fractions: Sequence[float], seed: int) -> _Divided:
    """Return roles of sites and images, guard, blocks and places, for splits of whole images."""
    repeats = where.independence.repeats
    sides = where.sides
    pieces = where.independence.pieces(sides, where.patch, fractions[2])
    num, lag = int(pieces.frames.max()) + 1, len(repeats.lasting) - 1
    if num < 3 or num <= sum(max(1, round(fraction * num)) for fraction in fractions[1:]):
        raise ValueError(
            f"{num} different textures are too few to split into training, validation and test "
            "by image: set split to space."
        )
    consecutive = np.abs(np.subtract.outer(np.arange(num), np.arange(num))) <= min(1, lag)
    roles = hold_out(num, fractions, consecutive, seed)[pieces.frames]
    begins = where.grid(np.ones(sides, bool))

    def divided(guard: int) -> tuple[NDArray[np.int8], list[NDArray[np.intp]]]:
        images = guarded_images(roles, guard)
        return images, [where.places(begins, images == role) for role in (TRAIN, VALIDATION, TEST)]

    every = len(where.places(begins, np.ones(len(roles), bool)))
    guard, images, places = _widest(divided, lag, 0, fractions[0] * every)
    return np.zeros(sides, np.int8), images, guard, pieces, places


def _by_tile(where: _Where, fractions: Sequence[float], seed: int) -> _Divided:
    """Return roles of sites and images, guard, blocks and places, for splits of the film into tiles."""
    sides, reach, patch = where.sides, where.independence.reach, where.patch
    edges = tiles(sides, [2 * p + 4 * reach for p in patch], MANY_TILES)
    for factor in (1.5, 1.0):
        if len(edges[0]) * len(edges[1]) < FEW_TILES:
            edges = tiles(sides, [int(factor * p) for p in patch], FEW_TILES)
    pieces = Pieces(where.independence.pieces(sides, patch).frames, *edges)
    row, column = np.indices((len(edges[0]), len(edges[1]))).reshape(2, -1)
    near = np.maximum(*(np.abs(np.subtract.outer(x, x)) for x in (row, column))) <= 1
    images = np.ones(len(where.independence.repeats.copies), bool)
    every = len(where.places(where.grid(np.ones(sides, bool)), images))

    roles = hold_out(len(row), fractions, near, seed)

    held_out = [(tile, role) for tile, role in zip(pieces.tiles, roles, strict=True) if role != TRAIN]

    def divided(guard: int) -> tuple[NDArray[np.int8], list[NDArray[np.intp]]]:
        film = guarded_film(roles, edges, sides, guard)
        begins = where.grid(film == TRAIN)
        at = [begins, np.zeros_like(begins), np.zeros_like(begins)]
        # A grid of its own, so that most patches fit into a tile.
        for tile, role in held_out:
            here = where.grid(film[tile] == role)
            at[role][tile][: len(here), : here.shape[1]] = here
        return film, [where.places(each, images) for each in at]

    guard, film, places = _widest(divided, max(1, reach), 1, fractions[0] * every)
    if every and not all(map(len, places)):
        raise ValueError(
            f"Images of {where.valid.shape[1]} × {where.valid.shape[2]} sites have no room for three "
            f"splits with patches of {patch[0]} × {patch[1]}: make patch or site_size "
            "smaller, or use more images."
        )
    pieces = _divided_tiles(where, pieces, places[TEST])
    return film, np.zeros(len(images), np.int8), guard, pieces, places


def _divided_tiles(where: _Where, pieces: Pieces, places: NDArray[np.intp]) -> Pieces:
    """Return blocks that divide tiles further, if the patches of a split are in too few of them.

    Args:
        where: Places where patches may begin.
        pieces: Tiles.
        places: Image, row and column of the patches `(patches, 3)`.
    """
    film = on_film(where.independence.repeats.places, places)
    firsts = pieces.rows, pieces.columns
    widths = [np.diff(first, append=side) for first, side in zip(firsts, where.sides, strict=True)]
    wide = min(
        w.min() // (p + where.independence.reach) for w, p in zip(widths, where.patch, strict=True)
    )
    most = min(w.min() // where.stride for w in widths)
    for times in range(1, most + 1):
        parts = np.arange(times)
        edges = [
            (first[:, None] + width[:, None] * parts // times).ravel()
            for first, width in zip(firsts, widths, strict=True)
        ]
        pieces = pieces._replace(rows=edges[0], columns=edges[1])
        number = len(np.unique(block_labels(pieces, film, where.patch)))
        if number >= (FEW_BLOCKS if times < wide else FEWEST_BLOCKS):
            break
    return pieces


def _widest(
    divided: Callable[[int], tuple[NDArray[np.int8], list[NDArray[np.intp]]]],
    widest: int,
    narrowest: int,
    wanted: float,
) -> tuple[int, NDArray[np.int8], list[NDArray[np.intp]]]:
    """Return the width of the widest guard that leaves enough patches, with the roles and the places.

    Args:
        divided: Function that returns roles and places, given the width.
        widest: Width that the correlations ask for.
        narrowest: Least width.
        wanted: Number of training patches without guards.
    """
    guard = widest
    while True:
        roles, places = divided(guard)
        enough = all(map(len, places)) and len(places[TRAIN]) >= KEPT * wanted
        if enough or guard == narrowest:
            return guard, roles, places
        guard = max(narrowest, guard // 2)
