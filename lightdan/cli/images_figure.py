"""The pages of ``lightdan images``: an image, its phases, and the numbers of its film."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from lightdan.images.correlations import pair_plane
from lightdan.images.film import Film
from lightdan.images.frames import Frame, above_threshold
from lightdan.images.stack import ImageStack
from lightdan.measurements.figures import DATA, EXACT, MODEL, dress

ROLES = {1: ("validation", "#e0a030"), 2: ("test", MODEL), -1: ("between them", "#8a8a8a")}
"""Names and colours of the parts of a film that are not for training."""
HATCH = "#3fa34d"
"""Colour of masked pixels."""
WIDTH, MARGIN, GAP = 11.0, 0.3, 0.22
"""Width of a page, its margin, and the gap between pictures, in inches."""
TITLE, LEGEND, PLOT, FOOTER = 0.7, 0.65, 2.3, 0.8
"""Heights of title, legend, plots and footer of a page, in inches."""
SHOWN = 4
"""Range of k that is shown, relative to the peak of S(k)."""
FAINT, EDGE = 0.1, 8
"""Part of the largest S(k), and the range of k relative to where S(k) falls to it, without a peak."""
SEEN = 1_200
"""Largest side of the part of an image with the contour, in pixels."""
LENGTHS = (1, 2, 5)
"""First digits of the length of a scale bar."""


@dataclass(frozen=True)
class Page:
    """All that a page shows.

    Args:
        stack: Images.
        frame: The image.
        texture: Its texture `(rows, columns)`.
        roles: Roles of its sites: 0 for training, 1 for validation, 2 for test, −1 for none.
        site: Side of a site in `unit`.
        unit: Unit of length.
        facts: Names and values of the numbers that are written on the page.
        footer: Last line of the page.
    """

    stack: ImageStack
    frame: Frame
    texture: NDArray[np.integer]
    roles: NDArray[np.int8]
    site: float
    unit: str
    facts: Mapping[str, str]
    footer: str

    @property
    def pixel(self) -> float:
        """Side of a pixel in `unit`."""
        return self.site / self.stack.steps.zoom

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Unmasked pixels `(rows, columns)`."""
        return self.stack.masks.pixels(self.frame.page)

    @property
    def sites(self) -> NDArray[np.bool_]:
        """Unmasked sites `(rows, columns)`."""
        return self.stack.masks.sites(self.frame.page)


def draw(page: Page) -> Figure:
    """Draw the page of an image."""
    rows, columns = page.valid.shape
    wide = (WIDTH - 2 * MARGIN - 2 * GAP) / 3
    high = min(wide * rows / columns, 1.5 * wide)
    height = MARGIN + TITLE + high + LEGEND + PLOT + FOOTER
    figure = Figure(figsize=(WIDTH, height))

    def add(left: float, bottom: float, width: float, tall: float) -> Axes:
        inches = (left / WIDTH, bottom / height, width / WIDTH, tall / height)
        return figure.add_axes(inches)

    pictures = [add(MARGIN + k * (wide + GAP), height - TITLE - high, wide, high) for k in range(3)]
    narrow = (WIDTH - 2 * MARGIN - 3 * 2 * GAP) / 4
    plots = [add(MARGIN + k * (narrow + 2 * GAP), FOOTER, narrow, PLOT) for k in range(4)]
    figure.text(MARGIN / WIDTH, 1 - 0.25 / height, str(page.frame.page), fontsize=11, weight="bold")
    figure.text(MARGIN / WIDTH, 0.15 / height, page.footer, fontsize=8, color="0.35")
    flat = page.stack.unfiltered(page.frame.page)
    filtered = page.stack.steps.smooth(flat, page.valid)
    _raw(pictures[0], page)
    _contour(pictures[1], page, flat, filtered)
    _texture(pictures[2], page)
    _histogram(plots[0], page, filtered)
    _correlation(plots[1], page)
    _structure_factor(plots[2], page)
    _facts(plots[3], page)
    return figure


def _picture(axes: Axes, image: NDArray[np.floating], title: str, valid: NDArray[np.bool_]) -> None:
    dress(axes, title)
    low, high = np.quantile(image[valid], [0.005, 0.995])
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="antialiased")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _raw(axes: Axes, page: Page) -> None:
    image = page.stack.image(page.frame.page)
    _picture(axes, image, "(a) image", page.valid)
    scale_bar(axes, image.shape[1], page.pixel, page.unit)


def scale_bar(axes: Axes, pixels: int, pixel: float, unit: str) -> None:
    """Draw a scale bar of a round length, at most a quarter of the image, below it.

    Args:
        axes: Axes with the image.
        pixels: Width of the image in pixels.
        pixel: Side of a pixel in `unit`.
        unit: Unit of length.
    """
    most = pixels * pixel / 4
    decade = 10.0 ** math.floor(math.log10(most))
    length = max(digit * decade for digit in LENGTHS if digit * decade <= most)
    part = length / pixel / pixels
    below: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    axes.plot([0, part], [-0.04, -0.04], color=EXACT, lw=3, solid_capstyle="butt", **below)
    axes.text(part + 0.02, -0.04, f"{length:g} {unit}", fontsize=8, va="center", **below)


def _contour(axes: Axes, page: Page, flat: NDArray[np.float64], filtered: NDArray[np.float64]) -> None:
    """Draw the flat image with the contour of the threshold at full resolution.

    A large image is reduced to its middle part, because contours finer than a dot cannot be seen.
    """
    middle = tuple(slice(max(0, (n - SEEN) // 2), max(0, (n - SEEN) // 2) + SEEN) for n in flat.shape)
    valid = page.valid[middle]
    if not valid.any():
        middle, valid = (slice(None), slice(None)), page.valid
    part = "" if valid.shape == flat.shape else ", middle"
    words = "border of the phases" if page.frame.segmented else "without background, and the threshold"
    _picture(axes, flat[middle], f"(b) {words}{part}", valid)
    above = np.where(valid, above_threshold(page.stack, filtered)[middle], np.nan)
    axes.contour(above, [0.0], colors=[MODEL], linewidths=0.55)


def _texture(axes: Axes, page: Page) -> None:
    """Draw the texture, with masks and the parts that training does not see."""
    dress(axes, "(c) texture, and its parts")
    axes.imshow(page.texture, cmap="gray", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    sites = page.sites
    handles = []
    for role, (name, colour) in ROLES.items():
        here = (page.roles == role) & sites
        if here.any():
            _tint(axes, here, colour)
            handles.append(Patch(color=colour, alpha=0.5, lw=0, label=name))
    if not sites.all():
        _tint(axes, ~sites, HATCH)
        handles.append(Patch(color=HATCH, alpha=0.5, lw=0, label="masked"))
    if (page.roles == 0).any():
        handles.insert(0, Patch(facecolor="white", edgecolor="0.5", lw=0.5, label="training"))
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.005),
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        handlelength=1,
        columnspacing=1.2,
    )


def _tint(axes: Axes, where: NDArray[np.bool_], colour: str) -> None:
    shown = np.ma.masked_where(~where, np.ones(where.shape))
    axes.imshow(shown, cmap=ListedColormap([colour]), alpha=0.45, interpolation="nearest")


def _histogram(axes: Axes, page: Page, filtered: NDArray[np.float64]) -> None:
    """Draw the histogram of the sites with the thresholds and their errors."""
    phases, stack = page.frame.phases, page.stack
    values = stack.site_values(filtered)[page.sites]
    low, high = np.quantile(values, [0.001, 0.999])
    axes.stairs(*np.histogram(values, np.linspace(low, high, 100)), color="0.75", fill=True)
    if page.frame.segmented:
        dress(axes, "(d) values of the sites")
        axes.set(xlabel="value of a site", yticks=[], xlim=(low, high))
        return
    dress(axes, f"(d) separation of phases: {page.frame.separation}")
    for mean in phases.means:
        axes.axvline(mean, color=DATA, lw=1, ls=":")
    for cut, error in zip(stack.thresholds, stack.phases.threshold_errors, strict=True):
        axes.axvline(cut, color=MODEL, lw=1)
        axes.axvspan(cut - error, cut + error, color=MODEL, alpha=0.25, lw=0)
    axes.set(xlabel="grey value of a site", yticks=[], xlim=(low, high))


def _correlation(axes: Axes, page: Page) -> None:
    """Draw C(r) in all directions, down the columns and along the rows."""
    dress(axes, "(e) $C(r)$ of the whole image")
    numbers = page.frame.numbers
    r = np.arange(page.frame.film.lags.reach + 1) * page.site
    for curve, label, style in (
        (numbers.right, "along rows", "--"),
        (numbers.down, "down columns", ":"),
    ):
        axes.plot(r, curve[0], style, lw=1, color="0.55", label=label)
    value, error = numbers.correlation
    radii = numbers.radii * page.site
    axes.fill_between(radii, value - error, value + error, color=DATA, alpha=0.3, lw=0)
    axes.plot(radii, value, color=DATA, lw=1.3, label="all directions")
    axes.axhline(0, lw=0.6, color="0.6")
    if (period := numbers.estimates.get("domain_period")) is not None:
        axes.axvline(period.value * page.site, color=MODEL, lw=1)
    axes.set(xlabel=f"$r$ ({page.unit})", xlim=(0, r[-1]))
    axes.legend(frameon=False, fontsize=7)


def _structure_factor(axes: Axes, page: Page) -> None:
    """Draw S(k) with its error, and S(kx, ky) in an inset."""
    dress(axes, "(f) $S(k)$ of the whole image")
    numbers = page.frame.numbers
    k, (value, error) = numbers.k / page.site, numbers.structure_factor
    axes.fill_between(k, value - error, value + error, color=DATA, alpha=0.3, lw=0)
    axes.plot(k, value, color=DATA, lw=1.3)
    faint = k[np.argmax(value < FAINT * value.max())] or k[-1]
    last, around = min(k[-1], EDGE * faint), SHOWN / 2 * faint
    if (period := numbers.estimates.get("domain_period")) is not None:
        at = 2 * math.pi / (period.value * page.site)
        axes.axvline(at, color=MODEL, lw=1)
        last, around = min(SHOWN * at, k[-1]), SHOWN / 2 * at
    axes.set(xlabel=f"$k$ (rad/{page.unit})", xlim=(0, last), ylim=(min(0, value.min()), None))
    inset = axes.inset_axes((0.55, 0.45, 0.45, 0.5))
    rows, columns = page.frame.film.valid.shape
    plane = plane_of(page.frame.film, page.texture[:rows, :columns])
    half = math.pi / page.site
    inset.imshow(
        plane, cmap="magma", extent=(-half, half, half, -half), vmin=0, vmax=np.quantile(plane, 0.9995)
    )
    side = min(half, around)
    inset.set(xlim=(-side, side), ylim=(side, -side), xticks=[], yticks=[])
    inset.set_xlabel("$k_x$", fontsize=7, labelpad=1)
    inset.set_ylabel("$k_y$", fontsize=7, labelpad=1)


def plane_of(film: Film, texture: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return S(k_y, k_x) of an image, with k = 0 in the middle."""
    rows, columns = film.valid.shape
    reach, whole = film.lags.reach, (0, rows, 0, columns)
    mean = texture[film.valid].mean(dtype=np.float64)
    products = pair_plane(np.where(film.valid, texture - mean, 0.0), whole, reach)
    pairs = pair_plane(film.valid.astype(np.float64), whole, reach)
    return film.spectrum.plane(products / np.maximum(np.rint(pairs), 1))


def _facts(axes: Axes, page: Page) -> None:
    """Write the numbers of the image."""
    axes.axis("off")
    step = 1.12 / max(len(page.facts), 12)
    for number, (name, value) in enumerate(page.facts.items()):
        at = 1.06 - number * step
        axes.text(0, at, name, transform=axes.transAxes, fontsize=8, color="0.35", va="top")
        axes.text(1, at, value, transform=axes.transAxes, fontsize=8, ha="right", va="top")
