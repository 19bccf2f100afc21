"""Sentences on what a film cannot tell a network, before it is trained."""

from collections.abc import Sequence

import numpy as np

from lightdan.images.division import Division
from lightdan.images.local_means import EVERY, LocalMeans, Part
from lightdan.images.patches import TEST, TRAIN
from lightdan.images.processing import Steps
from lightdan.images.uniformity import Difference, inhomogeneity, split_difference

FEW_PATCHES = 50
"""Number of independent patches below which they are few."""


def few_patches(number: float, reach: int) -> list[str]:
    """Return a sentence if there are few independent patches.

    Args:
        number: Number of independent patches.
        reach: Distance over which the film correlates, in sites.
    """
    if number >= FEW_PATCHES:
        return []
    return [
        f"The images are worth {about(number, 'independent patch')} only, because the film correlates "
        f"over {reach} sites: a network may learn them by heart, so use more or larger images."
    ]


def about(number: float, noun: str) -> str:
    """Return a rounded number of things in words, like ``about 2 independent patches``."""
    ending = "" if round(number) == 1 else "es" if noun.endswith("ch") else "s"
    return f"about {number:.0f} {noun}{ending}"


def not_uniform(local: LocalMeans, steps: Steps) -> list[str]:
    """Return a sentence if a part of the film differs from the rest.

    Args:
        local: Local means of the film.
        steps: Steps from an image to sites, for the place in pixels.
    """
    found = inhomogeneity(local)
    if found is None or not found[0].significant:
        return []
    difference, part = found
    where = in_words(local, part, steps)
    return [
        f"The film is not the same everywhere: {difference._replace(where=(where, 'elsewhere'))}. "
        "Crop or mask what does not belong to the film."
    ]


def in_words(local: LocalMeans, part: Part, steps: Steps) -> str:
    """Return the part in words, in pixels of the whole image."""
    if part.images != EVERY:
        images = np.flatnonzero(np.isin(local.parts, np.arange(local.shape[0])[part.images]))
        first, last = int(images[0]) + 1, int(images[-1]) + 1
        return f"in image {first}" if first == last else f"in images {first} to {last}"
    corner = (0, 0) if steps.crop is None else (steps.crop[0], steps.crop[2])
    words = []
    for name, sites, start in zip(("rows", "columns"), part[:2], corner, strict=True):
        if sites != EVERY:
            first, last = (round(start + steps.zoom * end) for end in (sites.start, sites.stop))
            words.append(f"{name} {first} to {last}")
    return f"in the pixels of {' and '.join(words)}"


def split_differs(division: Division, parts: Sequence[np.ndarray], reach: int) -> list[str]:
    """Return a sentence if training and test patches differ.

    Args:
        division: Division of the film.
        parts: Patches of training, validation and test.
        reach: Largest distance of C(r) in sites.
    """
    blocks = division.blocks(TRAIN), division.blocks(TEST)
    if min(each.freedom for each in blocks) < 1:
        return []
    difference = split_difference(parts[TRAIN], parts[TEST], blocks, reach)
    if not difference.significant:
        return []
    return [
        f"Training and test do not show the same film: {difference}. Use images or a crop that are the "
        "same everywhere, or more of them."
    ]


def refused_symmetries(
    directions: Sequence[Difference], patch: tuple[int, int]
) -> tuple[tuple[str, ...], list[str]]:
    """Return the symmetries that the film refuses, and sentences on its correlations by direction.

    Args:
        directions: Differences between straight and between diagonal directions, by `anisotropy`.
        patch: Rows and columns of a patch; only a square one can be turned by 90°.
    """
    straight, diagonal = directions
    square = patch[0] == patch[1]
    refused = []
    if square and (straight.significant or diagonal.significant):
        refused.append("rotation")
    if diagonal.significant:
        refused.append("reflection")
    if not refused:
        return (), []
    strongest = max(straight, diagonal, key=lambda each: each.sigma)
    names = " and ".join(refused)
    return tuple(refused), [
        f"The film is not the same in all directions: {strongest}. It refuses {names}, so Auto does not "
        f"use {'it' if len(refused) == 1 else 'them'}, and augment and symmetrize must not either."
    ]
