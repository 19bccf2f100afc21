"""Images of a two-phase texture, such as magnetic domains under a Kerr microscope."""

import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from lightdan.checks import SMALLEST, check_integer, check_number
from lightdan.data.recorded.groups import FEWEST_HELD_OUT, MOST_COMBINATIONS
from lightdan.data.recorded.temperatures import check_names
from lightdan.data.samples import Samples
from lightdan.data.splits import SPLITS, derive_seed
from lightdan.images.conditions import conditions, controls_of
from lightdan.images.film import FilmNumbers
from lightdan.images.formats import Choice
from lightdan.images.processing import BACKGROUNDS, Steps
from lightdan.images.scale import site_scale
from lightdan.images.series import Cutting, Series
from lightdan.images.stack import ImageStack
from lightdan.images.summary import in_lines, in_one_line
from lightdan.lattices import groups
from lightdan.lattices.shapes import check_shape
from lightdan.progress import progress_bar
from lightdan.statistics import Blocks, Estimate
from lightdan.systems.base import System

WIDEST = 1000.0
"""Largest standard deviation of a Gaussian filter in pixels."""


class KerrImages(System):
    """Patches of microscope images as configurations, whose Hamiltonian H = −T ln p is learned.

    Each image is cropped, corrected for its background, denoised, averaged over the pixels of a site
    and cut at a threshold into spins (bright is up) or more levels. `ImageSteps` shows these steps.

    Images at different values of `controls` are films of their own: the network sees the controls, and
    all that is measured is measured for each film.

    Training, validation and test are apart by as much as the film correlates, if it is large enough.
    Whole images are assigned to them, copies and consecutive correlated images together. With fewer than
    ten independent images, tiles of the film are assigned instead, with guard bands between them.
    A summary of the images is printed when training begins. Warnings, which the report repeats, say if
    the film is not the same everywhere or in all directions, or holds few independent patches.

    Args:
        path: Folder, pattern like ``images/*.tif``, or file. The format is .tif (with any number of
            pages), .png, .jpg, .bmp, .npy, .gwy, .sxm, .dm3 or .dm4, of any type of numbers, grey or
            colour. Images may differ in size.
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
        controls: Conditions that differ from image to image, like a field, by name. Each is a list with
            a number for each image or file; a text like ``B*mT`` for the number between B and mT in the
            names of the files; or the path of a file with a number for each image, or of a table with
            the names of files in a column ``file`` and one named like the control. An empty dictionary
            says that numbers in the names are none.
        num_configurations: Largest number of patches of a film, chosen at random; all by default.
        kwargs: Further arguments of `System`: temperature (T₀, one number), batch_size, splits, seed.

    Raises:
        ValueError: There are no images, they cannot be read, differ in kind, show no separate phases, or
            no patch is left; or their names seem to hold values of a control, and `controls` is not set.
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
        controls: dict[str, list[float] | str] | None = None,
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
        check_names(controls or ())
        if num_levels > 2 and threshold not in ("mixture", "otsu"):
            raise ValueError(
                "More than two levels need one threshold: set threshold to otsu, or num_levels to 2."
            )
        self.given_controls, self.control_names = controls, tuple(controls or ())
        self.choice = Choice(channel, axis)
        self.path, self.bad_files, self.num_images, self.split = path, bad_files, num_images, split
        self.lattice_shape = shape
        self.stride = min(shape) if stride is None else stride
        self.threshold, self.window = threshold, window
        self.pixel_size, self.site_size = pixel_size, site_size
        self.crop, self.masks = crop, masks if isinstance(masks, str) else tuple(masks or ())
        self.background, self.denoise = background, denoise
        self.symmetries = groups.spatial_operations(self.lattice)
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
        controls_of(self.stack.pages, self.given_controls)  # before they are read
        with progress_bar(f"Reading {self.path}", 3 * len(self.stack.pages)) as advance:
            self.textures = self.stack.read(advance)
        self.films = self._divided(controls_of(self.stack.usable, self.given_controls))
        self._blocks: dict[str, Blocks] = {}
        self.num_configurations = sum(film.num_patches for film in self.films)
        sentences = []
        for film in self.films:
            film.measure(max(self.levels))
            refused, doubts = film.doubts(self.stack.steps)
            self.symmetries = tuple(name for name in self.symmetries if name not in refused)
            where = f"At {self._where(film)}: " if len(self.films) > 1 else ""
            sentences += [where + doubt for doubt in doubts]
        self._report(sentences)
        return self._samples(sentences)

    def _divided(self, controls: np.ndarray | None) -> list[Series]:
        """Return the images at equal controls."""
        rows, columns = self.lattice_shape
        cutting = Cutting(
            (rows, columns), self.stride, self.splits, self.split, self.max_patches, self.seed
        )
        if controls is None:
            images = np.arange(len(self.textures))
            return [Series(images, self.textures, self.stack.sites, cutting)]
        return [
            Series(
                images, self.textures[images], self.stack.only(images.tolist()).sites, cutting, values
            )
            for values, images in conditions(controls)
        ]

    def _samples(self, sentences: Sequence[str]) -> Samples:
        """Return the patches of all films, one film after the other, in their splits."""
        patches = [film.patches() for film in self.films]
        rows = torch.from_numpy(np.concatenate([part for parts in patches for part in parts]))
        end, parts = 0, []
        for each in patches:
            indices, start = {}, end
            for name, part in zip(SPLITS, each, strict=True):
                indices[name] = torch.arange(end, end + len(part))
                end += len(part)
            temperature = torch.full((len(rows),), math.nan)
            temperature[start:end] = self.temperatures[0]
            parts.append(Samples(rows, temperature, indices, self.temperatures, [0.5]))
        samples = parts[0]
        if self.control_names:
            values = torch.tensor([film.controls for film in self.films])
            numbers = torch.tensor([film.num_patches for film in self.films])
            samples = Samples.join(
                {film.controls: part for film, part in zip(self.films, parts, strict=True)},
                values.repeat_interleave(numbers, 0).to(torch.get_default_dtype()),
            )
            held_out = min(part.num_in("test") for part in parts)
            if len(parts) > MOST_COMBINATIONS or held_out < FEWEST_HELD_OUT:
                samples.parts = {}
        samples.doubts, samples.sources = sentences, [self.stack.names]
        return samples

    def at(self, controls: Mapping[str, float]) -> "KerrImages":
        """Return the film at one of the combinations of controls that are told apart.

        Args:
            controls: Value of each control by name.
        """
        values = tuple(controls[name] for name in self.control_names)
        (film,) = (each for each in self.films if each.controls == values)
        system = self.only(film)
        at: Any = super().at(controls)
        system.data, system.temperatures = at.data, at.temperatures
        system.control_names, system.fixed_controls = at.control_names, at.fixed_controls
        return system

    def only(self, film: Series) -> "KerrImages":
        """Return the images of one of the `films`; its configurations are still those of all."""
        system = copy.copy(self)
        system.films, system._blocks = [film], {}
        system.stack, system.textures = self.stack.only(film.images.tolist()), film.textures
        system.num_configurations = film.num_patches
        return system

    @property
    def series(self) -> Series:
        """The only one of the `films`.

        Raises:
            ValueError: There are several films, at different controls.
        """
        if len(self.films) > 1:
            raise ValueError(
                f"There are {len(self.films)} films, at different values of "
                f"{' and '.join(self.control_names)}: use `films`."
            )
        return self.films[0]

    @property
    def summary(self) -> dict[str, Estimate]:
        """Numbers of the film by name, lengths in `unit`; none if there are several films."""
        return self.numbers(self.series.survey.together) if len(self.films) == 1 else {}

    def numbers(self, film: FilmNumbers) -> dict[str, Estimate]:
        """Return the numbers of a film, lengths in `unit`.

        The error of the area fraction includes that of the threshold.
        """
        numbers = film.scaled(self.site)
        area, threshold = numbers["area_fraction"], float(self.stack.phases.share_errors[-1])
        return numbers | {"area_fraction": Estimate(area.value, math.hypot(area.error, threshold))}

    def film_squares(self, num: int, side: int, seed: int) -> torch.Tensor | None:
        """Return squares of the training part, None without room for them or with several films.

        Args:
            num: Number of squares.
            side: Rows and columns.
            seed: Random seed.
        """
        if len(self.films) > 1:
            return None
        squares = self.films[0].squares(side, num, seed)
        return None if squares is None else torch.from_numpy(squares)

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
            number = SPLITS.index(split)
            self._blocks[split] = Blocks.join([film.division.blocks(number) for film in self.films])
        return self._blocks[split]

    # Report

    def _where(self, film: Series) -> str:
        """Return the controls of a film in words."""
        values = zip(self.control_names, film.controls, strict=True)
        return ", ".join(f"{name} = {value:g}" for name, value in values)

    @rank_zero_only
    def _report(self, sentences: Sequence[str]) -> None:
        rows, columns = self.textures.shape[1:]
        largest = "at most " if len(set(self.stack.masks.shapes.values())) > 1 else ""
        print(
            f"{self.path}: {self.stack.shapes} ({self.stack.dtype}), or {largest}{rows} × {columns} "
            f"sites of {self.site:g} {self.unit}\n"
            f"  {self.stack.description}"
        )
        for place, name in enumerate(self.control_names):
            values = sorted({film.controls[place] for film in self.films})
            print(f"  control {name}: {len(values)} values from {values[0]:g} to {values[-1]:g}")
        for film in self.films:
            numbers = self.numbers(film.survey.together)
            if len(self.films) == 1:
                print(in_lines(film, numbers, self.site, self.unit))
            else:
                print(f"  at {self._where(film)}: {in_one_line(film, numbers, self.unit)}")
        for sentence in sentences:
            warnings.warn(f"{self.path}: {sentence}", stacklevel=4)
        copies = sum(film.copies for film in self.films)
        if copies:
            number = len(self.textures)
            warnings.warn(
                f"{copies} of the {number} images in {self.path} are copies of others, or "
                f"nearly so: the number of different textures is {number - copies}. Copies stay in one "
                "split.",
                stacklevel=4,
            )
