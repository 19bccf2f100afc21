"""Images of a two-phase texture, like the domains that a Kerr microscope shows."""

import math
import warnings
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from numpy.lib.stride_tricks import sliding_window_view

from lightdan.data.splits import check_splits, derive_seed
from lightdan.images import processing, texture
from lightdan.images.processing import Steps
from lightdan.images.stack import ImageStack, site_scale
from lightdan.lattices import groups
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate, jackknife, mean
from lightdan.systems.base import SPLITS, System

MOST = 5_000_000
"""Sites of the patches by which the lengths are found."""
BY_IMAGE = 10
"""Different textures from which on whole images are dealt to the splits."""


class KerrImages(System):
    """Patches of images as configurations; H = −T ln p is not known beforehand.

    Each image is cropped, freed of its background, denoised, averaged over the pixels of a site and
    cut at a threshold into spins, bright is up, or into more levels; `ImageSteps` shows it. Patches
    are windows of all images. Training, validation and test share no pixel: whole images are dealt to
    them, copies of each other together, or of fewer than ten textures strips of every image. What was
    found is printed when training begins.

    Args:
        path: A folder, a glob like ``images/*.tif``, or one file, of .tif (of any number of pages),
            .png, .jpg or .bmp; 8, 16 bits or float, grey or RGB.
        patch: Sites of a patch along an axis, or (rows, columns).
        stride: Sites between patches; by default that of `patch`, without overlap.
        crop: First and last row, first and last column, in pixels as in a Python slice.
        masks: Such rectangles that are no film, like a scale bar.
        background: ``polynomial`` of second order of each image, ``stack``, the mean of all images,
            for textures that differ from image to image, or ``none``.
        denoise: Standard deviation of a Gaussian filter in pixels; 0 is none.
        pixel_size: Side of a pixel in µm; by default as the files tell it.
        site_size: Side of a site in µm, or in pixels where their size is not known; by default a pixel.
        threshold: ``otsu`` for all images alike, ``local`` for what surrounds a site, or a grey value
            relative to the background.
        num_levels: Classes of grey; more than two are levels, not spins.
        window: Sites across that a local threshold sees, an odd number.
        split: ``image``, ``space`` or, by the number of images, ``auto``.
        bad_files: ``stop`` at an image that cannot be used, or ``skip`` it.
        num_images: The first so many; by default all.
        num_configurations: Patches that are taken at most, at random; by default all.
        kwargs: Of `System`: temperature (T₀, one number), batch_size, splits, seed.

    Raises:
        ValueError: there are no images, they cannot be read, differ in size or kind, or no patch is
            left; the sentence names the file and the remedy.
    """

    boundary = "window"

    def __init__(
        self,
        path: str,
        patch: int | tuple[int, int] = 16,
        stride: int | None = None,
        crop: tuple[int, int, int, int] | None = None,
        masks: list[tuple[int, int, int, int]] | None = None,
        background: Literal["polynomial", "stack", "none"] = "polynomial",
        denoise: float = 0.0,
        pixel_size: float | None = None,
        site_size: float | None = None,
        threshold: Literal["otsu", "local"] | float = "otsu",
        num_levels: int = 2,
        window: int = 51,
        split: Literal["auto", "image", "space"] = "auto",
        bad_files: Literal["stop", "skip"] = "stop",
        num_images: int | None = None,
        num_configurations: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_configurations=num_configurations or 1, **kwargs)
        self.most = num_configurations
        if len(self.temperatures) > 1:
            raise ValueError(f"temperature must be one number for images, not {self.temperatures}.")
        shape = (patch, patch) if isinstance(patch, int) else tuple(patch)
        for name, positive in {
            "patch": min(shape) - 1,
            "stride": 1 if stride is None else stride,
            "num_levels": num_levels - 1,
            "num_images": 1 if num_images is None else num_images,
            "num_configurations": 1 if num_configurations is None else num_configurations,
            "pixel_size": 1 if pixel_size is None else pixel_size,
            "site_size": 1 if site_size is None else site_size,
            "window": window % 2,
        }.items():
            if not 0 < positive < math.inf:
                raise ValueError(f"{name} cannot be {locals()[name]}.")
        check_splits(self.splits)
        if not 0 <= denoise < math.inf:
            raise ValueError(f"denoise cannot be {denoise}.")
        if num_levels > 2 and threshold != "otsu":
            raise ValueError("More than two levels need the threshold otsu.")
        self.path, self.bad_files, self.num_images, self.split = path, bad_files, num_images, split
        self.lattice_shape = shape
        self.stride = min(shape) if stride is None else stride
        self.threshold, self.window = threshold, window
        self.pixel_size, self.site_size = pixel_size, site_size
        self.crop, self.masks = crop, tuple(masks or ())
        self.background, self.denoise = background, denoise
        self.symmetries = groups.spatial_operations(shape, self.boundary)
        if num_levels == 2:
            self.symmetries = ("z2", *self.symmetries)
        else:
            self.site_kind, self.levels = "level", tuple(range(num_levels))

    def prepare_data(self) -> None:
        """Nothing: the images are there."""

    def setup(self, stage: str | None = None) -> None:
        """Read the images, report what they are, cut and split the patches; at the first call only."""
        if self._configurations is not None:
            return
        zoom, self.site, self.unit = site_scale(self.path, self.pixel_size, self.site_size)
        self.stack = ImageStack(
            self.path,
            Steps(self.crop, self.masks, self.background, self.denoise, zoom),
            self.levels,
            self.threshold,
            self.window,
            self.bad_files == "skip",
            self.num_images,
            derive_seed(self.seed, 5),
        )
        passes = 2 if self.threshold != "otsu" else 3
        with progress_bar(f"Reading {self.path}", passes * len(self.stack.pages)) as advance:
            self.textures = self.stack.read(advance)
        # What is masked must not make images alike.
        shown = np.where(self.stack.sites, self.textures, np.int8(0))
        self.drifts = processing.drifts(shown)
        self.groups = processing.same_texture(
            np.stack([processing.thumbnail(image) for image in shown]), np.isfinite(self.drifts[:, 0])
        )
        self._cut()
        self.summary = self._summarise()
        self.rows_together = self._rows_together()
        self._report()

    # Patches

    def _cut(self) -> None:
        """Cut the patches of each split, and take them."""
        rows, columns = self.lattice_shape
        height, width = self.textures.shape[1:]
        if height < rows or width < columns:
            raise ValueError(
                f"A patch of {rows} × {columns} sites is larger than an image of {height} × {width} "
                "sites: make patch or site_size smaller."
            )
        number = len(np.unique(self.groups))
        by_image = self.split == "image" or (self.split == "auto" and number >= BY_IMAGE)
        self.split_by = "image" if by_image else "space"
        areas = self._whole_images() if by_image else self._strips()
        parts, step = [], self.stride
        for name, (textures, sites) in zip(SPLITS, areas, strict=True):
            windows = sliding_window_view(textures, (rows, columns), (1, 2))[:, ::step, ::step]
            counts = sliding_window_view(sites, (rows, columns))[::step, ::step].all((2, 3))
            parts.append(windows[:, counts].reshape(-1, rows, columns))
            if not len(parts[-1]):
                raise ValueError(
                    f"No patch of {rows} × {columns} sites without masked pixels is left for the {name} "
                    "split: give a smaller patch, fewer masks or other splits."
                )
        if self.most is not None and self.most < (total := sum(map(len, parts))):
            rng = np.random.default_rng(derive_seed(self.seed, 7))
            for k, part in enumerate(parts):
                number = max(1, round(self.most * len(part) / total))
                parts[k] = part[np.sort(rng.permutation(len(part))[:number])]
        self._configurations = torch.from_numpy(np.concatenate(parts))
        self.num_configurations = len(self._configurations)
        self.tau_int = [0.5]
        self._temperature = torch.full((self.num_configurations,), self.temperatures[0])
        bounds = np.cumsum([0, *map(len, parts)])
        self._indices = {
            name: torch.arange(int(bounds[k]), int(bounds[k + 1])) for k, name in enumerate(SPLITS)
        }

    def _whole_images(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Images of each split, those of one texture together, and which sites count."""
        names = np.unique(self.groups)
        held = [max(1, round(fraction * len(names))) for fraction in self.splits[1:]]
        if len(names) <= sum(held):
            raise ValueError(
                f"{len(names)} different textures cannot be dealt to training, validation and test: set "
                "split to space."
            )
        order = np.random.default_rng(derive_seed(self.seed, 6)).permutation(names)
        dealt = np.split(order, [len(names) - sum(held), len(names) - held[1]])
        return [(self.textures[np.isin(self.groups, part)], self.stack.sites) for part in dealt]

    def _strips(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """A strip of every image across the longer side for each split, and which of its sites count."""
        sides = self.textures.shape[1:]
        axis = int(sides[1] >= sides[0])
        least = self.lattice_shape[axis]
        held = [max(least, round(fraction * sides[axis])) for fraction in self.splits[1:]]
        edges = [0, sides[axis] - sum(held), sides[axis] - held[1], sides[axis]]
        if edges[1] < least:
            raise ValueError(
                f"Images of {sides[0]} × {sides[1]} sites have no room for three strips of patches of "
                f"{self.lattice_shape[0]} × {self.lattice_shape[1]}: make patch or site_size smaller, "
                "or give more images."
            )
        strips = list(pairwise(edges))
        if axis == 0:
            return [(self.textures[:, i:j], self.stack.sites[i:j]) for i, j in strips]
        return [(self.textures[:, :, i:j], self.stack.sites[:, i:j]) for i, j in strips]

    # What the images are

    def _summarise(self) -> dict[str, Estimate]:
        """Numbers of the textures, lengths in `unit`; errors over images, or patches of a few."""
        patches = self._configurations.numpy()
        few = len(self.textures) < BY_IMAGE
        values = patches.reshape(len(patches), -1) if few else self.textures[:, self.stack.sites]
        bright = (values == max(self.levels)).mean(axis=1)
        some = patches[: max(100, MOST // self.num_sites)]
        length = jackknife(texture.correlation_length, texture.correlation(some))
        summary = {"area_fraction": mean(bright)}
        if math.isfinite(length.value):
            summary["correlation_length"] = Estimate(length.value * self.site, length.error * self.site)
        k, s, _ = texture.structure_factor(some)
        if math.isfinite(texture.peak(k, s.mean(axis=0))[1]):
            period = jackknife(lambda s: 2 * math.pi / texture.peak(k, s)[0], s)
            summary["domain_period"] = Estimate(period.value * self.site, period.error * self.site)
        return summary

    @property
    def reach(self) -> float:
        """Two correlation lengths in sites, as far as a patch shows them."""
        length = self.summary.get("correlation_length")
        return float(max(self.lattice_shape)) if length is None else 2 * length.value / self.site

    @property
    def independent_patches(self) -> float:
        """About how many patches there are that are as far apart as two correlation lengths."""
        area = len(np.unique(self.groups)) * float(self.stack.sites.sum())
        return min(self.num_configurations, area / max(self.reach**2, math.prod(self.lattice_shape)))

    def _rows_together(self) -> int:
        """Patches, row by row, that reach over a patch and two correlation lengths, or an image."""
        reach = self.lattice_shape[0] + self.reach
        across = self.textures.shape[2] // self.stride
        down = min(math.ceil(reach / self.stride), self.textures.shape[1] // self.stride)
        return max(1, across * down)

    @rank_zero_only
    def _report(self) -> None:
        found, unit = self.summary, self.unit
        number, different = len(self.textures), len(np.unique(self.groups))
        lengths = "; ".join(
            f"{words}: {found[name]} {unit}" if name in found else f"{words}: none within a patch"
            for name, words in (
                ("correlation_length", "correlation length"),
                ("domain_period", "domain period"),
            )
        )
        patches = ", ".join(f"{self.num_in(name)} {name}" for name in SPLITS)
        print(
            f"{self.path}: {number} images of {' × '.join(map(str, self.stack.full_shape))} pixels of "
            f"{self.stack.dtype}, in sites of {self.site:g} {unit} {self.textures.shape[1]} × "
            f"{self.textures.shape[2]}\n"
            f"  area fraction of the bright phase: {found['area_fraction']}\n"
            f"  {lengths}\n"
            f"  drift between images: {self._drift()}\n"
            f"  patches of {self.lattice_shape[0]} × {self.lattice_shape[1]} sites: {patches}, split by "
            f"{self.split_by}, worth some {self.independent_patches:.0f} independent ones"
        )
        if different < number:
            warnings.warn(
                f"{number - different} of the {number} images of {self.path} are copies of others, or "
                f"nearly so: only {different} textures differ. Copies are kept in one split.",
                stacklevel=4,
            )

    def _drift(self) -> str:
        moved = np.hypot(*self.drifts.T)
        if np.isnan(moved).all():
            return "not seen, for no image shows the texture of that before it"
        return f"{np.nanmean(moved) * self.site:.3g} {self.unit} from one to the next, on the average"
