"""Images of a two-phase texture, such as magnetic domains under a Kerr microscope."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from lightdan.checks import SMALLEST, check_integer, check_number
from lightdan.data.samples import Samples
from lightdan.data.splits import SPLITS, derive_seed
from lightdan.images import doubts
from lightdan.images.division import Division
from lightdan.images.film import FilmNumbers
from lightdan.images.formats import Choice
from lightdan.images.independence import Independence
from lightdan.images.local_means import LocalMeans
from lightdan.images.patches import cut
from lightdan.images.processing import BACKGROUNDS, Steps
from lightdan.images.scale import site_scale
from lightdan.images.stack import ImageStack
from lightdan.images.survey import survey
from lightdan.images.uniformity import anisotropy
from lightdan.lattices import groups
from lightdan.lattices.shapes import check_shape
from lightdan.progress import progress_bar
from lightdan.statistics import Blocks, Estimate
from lightdan.systems.base import System

SURVEYED = 50
"""Largest number of images from which the numbers of the film are measured."""
WIDEST = 1000.0
"""Largest standard deviation of a Gaussian filter in pixels."""
ENOUGH_TEXTURES = 10
"""Number of independent images from which on the split assigns whole images."""


class KerrImages(System):
    """Patches of microscope images as configurations, whose Hamiltonian H = −T ln p is learned.

    Each image is cropped, corrected for its background, denoised, averaged over the pixels of a site
    and cut at a threshold into spins (bright is up) or more levels. `ImageSteps` shows these steps.

    Training, validation and test are apart by as much as the film correlates, if it is large enough.
    Whole images are assigned to them, copies and consecutive correlated images together. With fewer than
    ten independent images, tiles of the film are assigned instead, with guard bands between them.
    A summary of the images is printed when training begins. Warnings, which the report repeats, say if
    the film is not the same everywhere or in all directions, or holds few independent patches.

    Args:
        path: Folder, pattern like ``images/*.tif``, or file. The format is .tif (with any number of
            pages), .png, .jpg, .bmp, .npy, .gwy or .sxm, of any type of numbers, grey or colour.
        patch: Sites of a patch along each axis, or (rows, columns).
        stride: Sites between patches; by default the shorter side of a patch, without overlap.
        crop: First and last row, first and last column, in pixels as in a Python slice.
        masks: Rectangles in the form of `crop` to leave out, like a scale bar; or an image file of the
            same shape, in which pixels other than 0 are left out.
        background: ``polynomial`` of second order for each image, ``stack`` (the mean of all images, if
            their textures differ), ``lines`` (an offset of each scan line), or ``none``. The name of a
            file stands for a reference image.
        denoise: Standard deviation of a Gaussian filter in pixels; 0 is none, ``auto`` separates the
            phases best, and ``nlm`` is non-local means.
        pixel_size: Side of a pixel in µm; read from the files by default.
        site_size: Side of a site in µm, or in pixels if their size is not known; a pixel by default.
        threshold: ``mixture`` (of two normal distributions), ``otsu`` (halfway between two phases),
            ``local`` (from the surroundings of a site), or a grey value relative to the background.
            ``hysteresis`` is a mixture without domains that stay below three quarters of the contrast.
            With more levels it is Otsu for several classes.
        num_levels: Number of grey classes; more than two are levels instead of spins.
        window: Side of the surroundings for a local threshold in sites, an odd number.
        split: Way to split the data, by ``image`` or in ``space``; ``auto`` decides by the number of
            independent images.
        bad_files: Whether to ``stop`` at an image that cannot be used, or to ``skip`` it.
        num_images: Number of images, from the first; all by default.
        channel: Number from 0, or name, of the channel of files that have several, like colours.
        axis: Axis along which the images of an array lie. ``z`` takes each of several focal planes as an
            image, and ``c`` each channel.
        num_configurations: Largest number of patches, chosen at random; all by default.
        kwargs: Further arguments of `System`: temperature (T₀, one number), batch_size, splits, seed.

    Raises:
        ValueError: There are no images, they cannot be read, differ in size or kind, show no separate
            phases, or no patch is left.
    """

    boundary = "window"

    def __init__(
        self,
        path: str,
        patch: int | tuple[int, int] = 16,
        stride: int | None = None,
        crop: tuple[int, int, int, int] | None = None,
        masks: list[tuple[int, int, int, int]] | str | None = None,
        background: str = "polynomial",
        denoise: Literal["auto", "nlm"] | float = "auto",
        pixel_size: float | None = None,
        site_size: float | None = None,
        threshold: Literal["mixture", "otsu", "hysteresis", "local"] | float = "mixture",
        num_levels: int = 2,
        window: int = 51,
        split: Literal["auto", "image", "space"] = "auto",
        bad_files: Literal["stop", "skip"] = "stop",
        num_images: int | None = None,
        channel: int | str | None = None,
        axis: int | Literal["c", "z"] | None = None,
        num_configurations: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_configurations=num_configurations or 1, **kwargs)
        self.max_patches = num_configurations
        if len(self.temperatures) > 1:
            raise ValueError(f"temperature must be one number for images, not {self.temperatures}.")
        shape = check_shape(patch, "patch")
        for name, valid, requirement in (
            ("patch", len(shape) == 2 and min(shape) > 1, "two sides of at least 2 sites"),
            ("window", window > 0 and window % 2, "a positive odd number"),
        ):
            if not valid:
                raise ValueError(f"{name} must be {requirement}, not {locals()[name]}.")
        check_integer("num_levels", num_levels, 2)
        for name in ("stride", "num_images", "num_configurations"):
            if (number := locals()[name]) is not None:
                check_integer(name, number)
        for name in ("pixel_size", "site_size"):
            if (size := locals()[name]) is not None:
                check_number(name, size, SMALLEST)
        if not isinstance(denoise, str):
            check_number("denoise", denoise, 0, WIDEST)
        if not isinstance(threshold, str):
            check_number("threshold", threshold)
        if background not in BACKGROUNDS and not Path(background).expanduser().is_file():
            raise ValueError(
                f"background must be {', '.join(BACKGROUNDS)} or the path of a reference image, not "
                f"{background}."
            )
        if num_levels > 2 and threshold not in ("mixture", "otsu"):
            raise ValueError(
                "More than two levels need one threshold: set threshold to otsu, or num_levels to 2."
            )
        self.choice = Choice(channel, axis)
        self.path, self.bad_files, self.num_images, self.split = path, bad_files, num_images, split
        self.lattice_shape = shape
        self.stride = min(shape) if stride is None else stride
        self.threshold, self.window = threshold, window
        self.pixel_size, self.site_size = pixel_size, site_size
        self.crop, self.masks = crop, masks if isinstance(masks, str) else tuple(masks or ())
        self.background, self.denoise = background, denoise
        self.symmetries = groups.spatial_operations(shape, self.boundary)
        if num_levels == 2:
            self.symmetries = ("z2", *self.symmetries)
        else:
            self.site_kind, self.levels = "level", tuple(range(num_levels))

    def prepare_data(self) -> None:
        """Do nothing, because the images exist."""

    def load(self) -> Samples:
        """Return the patches of the images in their split, and print what the images are."""
        zoom, self.site, self.unit = site_scale(self.path, self.pixel_size, self.site_size, self.choice)
        self.stack = ImageStack(
            self.path,
            Steps(self.crop, self.masks, self.background, self.denoise, zoom),
            self.levels,
            self.threshold,
            self.window,
            self.bad_files == "skip",
            self.num_images,
            derive_seed(self.seed, 5),
            self.choice,
        )
        with progress_bar(f"Reading {self.path}", 3 * len(self.stack.pages)) as advance:
            self.textures = self.stack.read(advance)
        self.independence = Independence.of(self.textures, self.stack.sites, derive_seed(self.seed, 8))
        self.drifts, self.groups = self.independence.repeats.drifts, self.independence.repeats.copies
        parts = self.patches()
        self._blocks: dict[str, Blocks] = {}
        patches = np.concatenate(parts)
        self.num_configurations = len(patches)
        bright = max(self.levels)
        self.survey = survey(self.textures, self.stack.sites, self.independence, bright, SURVEYED)
        self.summary = self.numbers(self.survey.together)
        self.local = LocalMeans.of(self.textures, self.stack.sites, self.independence)
        sentences = self._doubts(parts)
        self._report([len(part) for part in parts], sentences)
        ends = np.cumsum([len(part) for part in parts])
        return Samples(
            torch.from_numpy(patches),
            torch.full((len(patches),), self.temperatures[0]),
            {
                name: torch.arange(end - len(part), end)
                for name, part, end in zip(SPLITS, parts, ends.tolist(), strict=True)
            },
            self.temperatures,
            [0.5],
            doubts=sentences,
            sources=[self.stack.names],
        )

    def patches(self) -> list[np.ndarray]:
        """Return the patches of each split `(patches, rows, columns)`, cut from `textures`.

        Raises:
            ValueError: The images are too small or too few, or no patch is free of masked sites.
        """
        rows, columns = self.lattice_shape
        height, width = self.textures.shape[1:]
        if height < rows or width < columns:
            raise ValueError(
                f"A patch of {rows} × {columns} sites is larger than an image of {height} × {width} "
                "sites: make patch or site_size smaller."
            )
        self.division = Division.of(
            self.independence,
            self.stack.sites,
            (rows, columns),
            self.stride,
            self.splits,
            self.split_by,
            derive_seed(self.seed, 6),
        )
        places = self.division.places
        for name, part in zip(SPLITS, places, strict=True):
            if not len(part):
                raise ValueError(
                    f"No patch of {rows} × {columns} sites without masked pixels is left for the {name} "
                    "split: use a smaller patch, fewer masks or other splits."
                )
        total = sum(map(len, places))
        if self.max_patches is not None and self.max_patches < total:
            rng = np.random.default_rng(derive_seed(self.seed, 7))
            for k, part in enumerate(places):
                number = max(1, round(self.max_patches * len(part) / total))
                places[k] = part[np.sort(rng.permutation(len(part))[:number])]
        return [cut(self.textures, part, (rows, columns)) for part in places]

    @property
    def split_by(self) -> Literal["image", "space"]:
        """Way in which the images are split: ``image`` or ``space``."""
        if self.split != "auto":
            return self.split
        return "image" if self.independence.repeats.independent >= ENOUGH_TEXTURES else "space"

    # Summary of the images

    def numbers(self, film: FilmNumbers) -> dict[str, Estimate]:
        """Return the numbers of a film, lengths in `unit`.

        The error of the area fraction includes that of the threshold.
        """
        numbers = film.scaled(self.site)
        area, threshold = numbers["area_fraction"], float(self.stack.phases.share_errors[-1])
        return numbers | {"area_fraction": Estimate(area.value, math.hypot(area.error, threshold))}

    @property
    def independent_patches(self) -> float:
        """Number of independent patches that all images hold, at most that of the patches."""
        sites = float(self.stack.sites.sum())
        rows, columns = self.lattice_shape
        return min(
            self.num_configurations, self.independence.independent_patches(sites, (rows, columns))
        )

    def block_size(self, temperature: float) -> int:
        """Return twice the number of patches in the largest block of a split.

        Pieces of so many consecutive patches are nearly independent, wherever they begin.
        """
        return 2 * max(int(self.blocks(split, temperature).sizes.max()) for split in SPLITS)

    def blocks(self, split: str, temperature: float) -> Blocks:
        """Return the blocks of configurations that count as one observation in errors.

        A block is a tile of the film in a part of the images, as large as a patch and the reach of the
        correlations. In a small film neighbouring blocks correlate, which is in their understatement.
        """
        _ = self.data
        if split not in self._blocks:
            self._blocks[split] = self.division.blocks(SPLITS.index(split))
        return self._blocks[split]

    def _doubts(self, parts: Sequence[np.ndarray]) -> list[str]:
        """Return what the film cannot tell, and withdraw the symmetries that it refuses."""
        rows, columns = self.lattice_shape
        reach = self.independence.reach
        refused, sentences = doubts.refused_symmetries(self.local, (rows, columns))
        self.symmetries = tuple(name for name in self.symmetries if name not in refused)
        return [
            *doubts.few_patches(self.independent_patches, reach),
            *doubts.not_uniform(self.local, self.stack.steps),
            *doubts.split_differs(self.division, parts, reach),
            *sentences,
        ]

    @rank_zero_only
    def _report(self, sizes: Sequence[int], sentences: Sequence[str]) -> None:
        summary, unit = self.summary, self.unit
        number, different = len(self.textures), len(np.unique(self.groups))
        lengths = "; ".join(
            f"{words}: {summary[name]} {unit}" if name in summary else f"{words}: none"
            for name, words in (
                ("correlation_length", "correlation length"),
                ("domain_period", "domain period"),
            )
        )
        pixels = " × ".join(map(str, self.stack.full_shape))
        patches = ", ".join(f"{size} {name}" for size, name in zip(sizes, SPLITS, strict=True))
        print(
            f"{self.path}: {number} image{'s' * (number > 1)} of {pixels} pixels "
            f"({self.stack.dtype}), or {self.textures.shape[1]} × {self.textures.shape[2]} sites of "
            f"{self.site:g} {unit}\n"
            f"  {self.stack.description}\n"
            f"  area fraction of the bright phase: {summary['area_fraction']}\n"
            f"  {lengths}\n"
            f"{self._drift()}"
            f"  directions: {'; '.join(map(str, anisotropy(self.local)))}\n"
            f"  patches of {self.lattice_shape[0]} × {self.lattice_shape[1]} sites: {patches}, "
            f"{self._split()}, equivalent to about {self.independent_patches:.0f} independent ones"
        )
        for sentence in sentences:
            warnings.warn(f"{self.path}: {sentence}", stacklevel=4)
        if different < number:
            warnings.warn(
                f"{number - different} of the {number} images in {self.path} are copies of others, or "
                f"nearly so: the number of different textures is {different}. Copies stay in one split.",
                stacklevel=4,
            )

    def _split(self) -> str:
        guard, repeats = self.division.guard, self.independence.repeats
        if self.split_by == "image":
            words = f"split by image, about {repeats.independent:.0f} of which are independent"
            return f"{words}, with {guard} left out between splits" if guard else words
        return f"split by tiles with guard bands of {guard} site{'s' * (guard != 1)}"

    def _drift(self) -> str:
        if not len(self.drifts):
            return ""
        moved = np.hypot(*self.drifts.T)
        if np.isnan(moved).all():
            words = "not seen, because no image shows the texture of the image before it"
        else:
            words = f"{np.nanmean(moved) * self.site:.3g} {self.unit} from one to the next on average"
        return f"  drift between images: {words}\n"
