"""Patches of images, and roles of images and tiles: training, validation, test, or none."""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage

from lightdan.images.independence import Pieces

TRAIN, VALIDATION, TEST, GUARD = 0, 1, 2, -1
"""Roles of images and of sites of the film."""
TRIES = 100
"""Number of random choices of tiles among which one without neighbours is searched."""


def cut(textures: np.ndarray, places: NDArray[np.intp], shape: tuple[int, int]) -> np.ndarray:
    """Return the patches `(patches, *shape)` at the places (image, row, column) of their first sites."""
    patches: np.ndarray = sliding_window_view(textures, shape, (1, 2))[tuple(places.T)]
    return patches


def whole(allowed: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return where a patch may begin `(rows + 1 − p, columns + 1 − q)`: all its sites are allowed."""
    sums = np.pad(allowed.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    p, q = shape
    inside = sums[p:, q:] - sums[:-p, q:] - sums[p:, :-q] + sums[:-p, :-q]
    full: NDArray[np.bool_] = inside == p * q
    return full


def hold_out(
    num: int, fractions: Sequence[float], near: NDArray[np.bool_], seed: int
) -> NDArray[np.int8]:
    """Assign units of the film to training, validation and test at random `(units,)`.

    Held-out units are no neighbours of each other if that is possible.

    Args:
        num: Number of units.
        fractions: Fractions of the units for training, validation and test.
        near: Whether two units are neighbours `(units, units)`.
        seed: Random seed.
    """
    wanted = [max(1, round(fraction * num)) for fraction in fractions[1:]]
    rng, most = np.random.default_rng(seed), -1
    for _ in range(TRIES):
        apart: list[int] = []
        order = rng.permutation(num)
        for unit in order:
            if not near[unit, apart].any():
                apart.append(int(unit))
        if len(apart) > most:
            most, chosen = len(apart), [*apart, *(unit for unit in order if unit not in apart)]
        if most >= sum(wanted):
            break
    roles = np.full(num, TRAIN, np.int8)
    roles[chosen[: wanted[1]]] = TEST
    roles[chosen[wanted[1] : sum(wanted)]] = VALIDATION
    return roles


def guarded_images(roles: NDArray[np.int8], guard: int) -> NDArray[np.int8]:
    """Return the roles of images `(M,)`, none within `guard` images of one with another role.

    Test images keep their role, and validation images keep it against training images.
    """
    result = roles.copy()
    for role in (TEST, VALIDATION):
        near = ndimage.binary_dilation(result == role, np.ones(2 * guard + 1))
        result[near & (result < role)] = GUARD
    return result


def guarded_film(
    roles: NDArray[np.int8], edges: Sequence[NDArray[np.intp]], sides: tuple[int, int], guard: int
) -> NDArray[np.int8]:
    """Return the roles of the sites of the film, with bands of `guard` sites between different ones.

    Args:
        roles: Roles of the tiles `(tiles,)`, row by row.
        edges: First rows and first columns of the tiles.
        sides: Rows and columns of the film.
        guard: Width of the bands in sites.
    """
    film = roles.reshape([len(each) for each in edges])
    for axis, (first, side) in enumerate(zip(edges, sides, strict=True)):
        film = np.repeat(film, np.diff(first, append=side), axis)
    for role in (TEST, VALIDATION):
        near = ndimage.maximum_filter(film == role, 2 * guard + 1, mode="constant")
        film = np.where(near & (film < role), np.int8(GUARD), film)
    return film


def on_film(images: NDArray[np.intp], places: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return image, and row and column on the film, of the first sites of patches `(patches, 3)`.

    Args:
        images: Row and column of each image on the film `(M, 2)`.
        places: Image, and row and column in it, of the first sites `(patches, 3)`.
    """
    film = places.copy()
    film[:, 1:] += images[places[:, 0]]
    return film


def block_labels(pieces: Pieces, film: NDArray[np.intp], patch: tuple[int, int]) -> NDArray[np.intp]:
    """Return the label of the block in which the middle of each patch lies `(patches,)`.

    Args:
        pieces: Blocks of the film.
        film: Image, and row and column on the film, of the first sites `(patches, 3)`.
        patch: Rows and columns of a patch.
    """
    image, row, column = film.T
    return pieces.of(image, row + patch[0] // 2, column + patch[1] // 2)
