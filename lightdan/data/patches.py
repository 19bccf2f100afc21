"""Patches of images, and the areas of the images that training, validation and test use."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


class Area(NamedTuple):
    """Part of the images that belongs to one split.

    Args:
        images: Sites of the images `(images, rows, columns)`.
        valid: Whether a site is unmasked `(rows, columns)`.
    """

    images: np.ndarray
    valid: np.ndarray

    def patches(self, shape: tuple[int, ...], stride: int) -> np.ndarray:
        """Return all windows without masked sites `(patches, *shape)`, image by image and row by row."""
        windows = sliding_window_view(self.images, shape, (1, 2))[:, ::stride, ::stride]
        whole = sliding_window_view(self.valid, shape)[::stride, ::stride].all((2, 3))
        return windows[:, whole].reshape(-1, *shape)


def split_by_image(
    area: Area, textures: np.ndarray, fractions: Sequence[float], seed: int
) -> list[Area]:
    """Assign whole images to training, validation and test at random, copies of each other together.

    Args:
        area: All images.
        textures: Number of the texture that each image shows `(images,)`; copies have the same.
        fractions: Fractions of the textures for training, validation and test.
        seed: Random seed.

    Raises:
        ValueError: There are too few textures.
    """
    names = np.unique(textures)
    counts = [max(1, round(fraction * len(names))) for fraction in fractions[1:]]
    if len(names) <= sum(counts):
        raise ValueError(
            f"{len(names)} different textures are too few to split into training, validation and test "
            "by image: set split to space."
        )
    order = np.random.default_rng(seed).permutation(names)
    groups = np.split(order, [len(names) - sum(counts), len(names) - counts[1]])
    return [Area(area.images[np.isin(textures, group)], area.valid) for group in groups]


def split_by_space(area: Area, fractions: Sequence[float], patch: tuple[int, ...]) -> list[Area]:
    """Cut every image across its longer side into strips for training, validation and test.

    Args:
        area: All images.
        fractions: Fractions of the sites for training, validation and test.
        patch: Shape of a patch, which every strip must hold.

    Raises:
        ValueError: The images are too small.
    """
    sides = area.valid.shape
    axis = int(sides[1] >= sides[0])
    widths = [max(patch[axis], round(fraction * sides[axis])) for fraction in fractions[1:]]
    edges = [0, sides[axis] - sum(widths), sides[axis] - widths[1], sides[axis]]
    if edges[1] < patch[axis]:
        raise ValueError(
            f"Images of {sides[0]} × {sides[1]} sites have no room for three strips of patches of "
            f"{patch[0]} × {patch[1]}: make patch or site_size smaller, or use more images."
        )
    if axis == 0:
        return [Area(area.images[:, i:j], area.valid[i:j]) for i, j in pairwise(edges)]
    return [Area(area.images[:, :, i:j], area.valid[:, i:j]) for i, j in pairwise(edges)]
