"""Images of a film under equal conditions: correlations, splits, patches and numbers."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightdan.data.splits import SPLITS, derive_seed
from lightdan.images.division import Division
from lightdan.images.doubts import few_patches, not_uniform, refused_symmetries, split_differs
from lightdan.images.independence import Independence
from lightdan.images.local_means import LocalMeans
from lightdan.images.patches import TRAIN, cut, whole
from lightdan.images.processing import Steps
from lightdan.images.survey import Survey, survey
from lightdan.images.uniformity import anisotropy, imbalance

SURVEYED = 50
"""Largest number of images from which the numbers of the film are measured."""
ENOUGH_TEXTURES = 10
"""Number of independent images from which on the split assigns whole images."""


class Cutting(NamedTuple):
    """Options that say how images are cut into patches.

    Args:
        patch: Rows and columns of a patch.
        stride: Sites between patches.
        splits: Fractions for training, validation and test.
        split: Whether to assign whole images or tiles of the film, or to decide by their number.
        most: Largest number of patches, or None for all.
        seed: Random seed.
    """

    patch: tuple[int, int]
    stride: int
    splits: tuple[float, float, float]
    split: Literal["auto", "image", "space"]
    most: int | None
    seed: int


@dataclass
class Series:
    """Images of a film under equal conditions.

    Args:
        images: Numbers of the images `(M,)`, from 0, among those of the stack.
        textures: Textures `(M, rows, columns)`.
        sites: Sites without masked pixels `(M, rows, columns)`.
        cutting: Options that say how they are cut into patches.
        controls: Value of each control, none if there are no controls.
    """

    images: NDArray[np.intp]
    textures: np.ndarray
    sites: NDArray[np.bool_]
    cutting: Cutting
    controls: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Measure correlations, divide the images, and choose the patches.

        Raises:
            ValueError: The images are too small or too few, or no patch is free of masked sites.
        """
        patch, stride, splits, split, _, seed = self.cutting
        height, width = self.textures.shape[1:]
        if height < patch[0] or width < patch[1]:
            raise ValueError(
                f"A patch of {patch[0]} × {patch[1]} sites is larger than an image of {height} × "
                f"{width} sites: make patch or site_size smaller."
            )
        self.independence = Independence.of(self.textures, self.sites, derive_seed(seed, 8))
        self.split_by: Literal["image", "space"] = "space"
        if split == "image" or (
            split == "auto" and self.independence.repeats.independent >= ENOUGH_TEXTURES
        ):
            self.split_by = "image"
        self.division = Division.of(
            self.independence, self.sites, patch, stride, splits, self.split_by, derive_seed(seed, 6)
        )
        places = self.division.places
        for name, part in zip(SPLITS, places, strict=True):
            if not len(part):
                raise ValueError(
                    f"No patch of {patch[0]} × {patch[1]} sites without masked pixels is left for the "
                    f"{name} split: use a smaller patch, fewer masks or other splits."
                )
        self._limit(places)
        self._first_sites: dict[int, tuple[NDArray[np.intp], tuple[int, ...]]] = {}

    def _limit(self, places: list[NDArray[np.intp]]) -> None:
        """Leave out patches at random beyond the largest number."""
        total, most = sum(map(len, places)), self.cutting.most
        if most is None or most >= total:
            return
        rng = np.random.default_rng(derive_seed(self.cutting.seed, 7))
        for k, part in enumerate(places):
            number = max(1, round(most * len(part) / total))
            places[k] = part[np.sort(rng.permutation(len(part))[:number])]

    def patches(self) -> list[np.ndarray]:
        """Return the patches of each split `(patches, rows, columns)`."""
        return [cut(self.textures, part, self.cutting.patch) for part in self.division.places]

    def squares(self, side: int, num: int, seed: int) -> np.ndarray | None:
        """Return squares of the training part at random places `(num, side, side)`, if it has room.

        Args:
            side: Rows and columns.
            num: Number of squares.
            seed: Random seed.
        """
        if side not in self._first_sites:
            shape, seen = (side, side), zip(range(len(self.sites)), self.sites, strict=True)
            begins = [whole(here & (self.division.role_of_sites(k) == TRAIN), shape) for k, here in seen]
            self._first_sites[side] = np.flatnonzero(begins), np.shape(begins)
        places, among = self._first_sites[side]
        if not len(places):
            return None
        chosen = np.random.default_rng(seed).choice(places, num)
        return cut(self.textures, np.stack(np.unravel_index(chosen, among), 1), shape=(side, side))

    @property
    def num_patches(self) -> int:
        """Number of patches of all splits."""
        return sum(map(len, self.division.places))

    @property
    def independent_patches(self) -> float:
        """Number of independent patches that all images hold, at most that of the patches."""
        sites = float(self.sites.sum()) / len(self.textures)
        return min(self.num_patches, self.independence.independent_patches(sites, self.cutting.patch))

    def measure(self, bright: int) -> None:
        """Measure the numbers of the film in up to 50 images, and whether it is the same everywhere.

        Args:
            bright: Value of the bright phase.
        """
        self.survey: Survey = survey(self.textures, self.sites, self.independence, bright, SURVEYED)
        self.local = LocalMeans.of(self.textures, self.sites, self.independence)
        self.directions, self.phases = anisotropy(self.local), imbalance(self.local)

    def doubts(self, steps: Steps) -> tuple[tuple[str, ...], list[str]]:
        """Return the symmetries that the film refuses, and sentences on what it cannot tell.

        Args:
            steps: Steps from an image to sites, for places in pixels.
        """
        reach = self.independence.reach
        refused, sentences = refused_symmetries(self.directions, self.cutting.patch)
        if self.phases.significant:
            refused = "z2", *refused
        return refused, [
            *few_patches(self.independent_patches, reach),
            *not_uniform(self.local, steps),
            *split_differs(self.division, self.patches(), reach),
            *sentences,
        ]

    @property
    def copies(self) -> int:
        """Number of images that are copies of others, or nearly so."""
        return len(self.textures) - len(np.unique(self.independence.repeats.copies))

    @property
    def division_in_words(self) -> str:
        """Way in which the patches are split, in words."""
        guard, repeats = self.division.guard, self.independence.repeats
        if self.split_by == "image":
            words = f"split by image (about {repeats.independent:.0f} independent)"
            return f"{words}, with {guard} left out between splits" if guard else words
        return f"split by tiles with guard bands of {guard} site{'s' * (guard != 1)}"
