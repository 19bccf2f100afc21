"""The figure of ``lightdan inspect``: first rows, means, correlations and autocorrelation."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lightdan.data.inspection.blocks import MAX_GRAM_SITES, SiteBlocks
from lightdan.data.inspection.conditions import equal_rows
from lightdan.data.inspection.inspection import MAX_VALUES, Sites
from lightdan.data.inspection.pairs import pairs_apart
from lightdan.data.recorded.equilibrium import slow_observables
from lightdan.data.rows import Rows
from lightdan.data.samples import Samples
from lightdan.measurements.figures import DATA, EXACT, MODEL, dress

PICTURES = (2, 4)
"""Rows and columns of first configurations."""
LINES = 100
"""Number of first configurations of a line of sites."""
SERIES = 200_000
"""Largest number of rows whose autocorrelation is drawn."""
COLOURS = (DATA, MODEL, EXACT, "#8a8a2c")


def draw(samples: Samples, sites: Sites, name: str) -> Figure:
    """Draw first rows, mean of each site, correlations, and autocorrelation along the file.

    Args:
        samples: Configurations.
        sites: Kind and place of the sites.
        name: Name of the file.
    """
    figure = Figure(figsize=(7.0, 5.6), layout="constrained")
    figure.suptitle(name, fontsize=10)
    panels = figure.subplots(2, 2).ravel()
    rows, tau = equal_rows(samples)
    if rows is None:
        rows = samples.configurations
    blocks = SiteBlocks.of(rows, sites.kind, sites.levels, tau, MAX_VALUES)
    _first_rows(panels[0], rows, sites)
    _means(panels[1], blocks, sites)
    _correlations(panels[2], blocks, sites)
    in_order = rows if samples.row_weights is None else samples.configurations
    _autocorrelation(panels[3], in_order, sites.kind)
    for axes in panels:
        if axes.axison:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _first_rows(axes: Axes, rows: Rows, sites: Sites) -> None:
    """Draw the first configurations: rectangles side by side, lines of sites below each other."""
    dress(axes, "first configurations")
    colours = "twilight" if sites.kind == "angle" else "viridis"
    if len(sites.shape) == 1:
        lines = np.asarray(rows[: min(LINES, rows.shape[0])])
        axes.imshow(lines, aspect="auto", cmap=colours, interpolation="nearest")
        axes.set(xlabel="site", ylabel="row of the file")
        return
    num = min(math.prod(PICTURES), rows.shape[0])
    height, width = sites.shape
    gap = max(1, max(sites.shape) // 12)
    canvas = np.full((PICTURES[0] * (height + gap), PICTURES[1] * (width + gap)), np.nan)
    for number, picture in enumerate(np.asarray(rows[:num])):
        down, across = divmod(number, PICTURES[1])
        top, left = down * (height + gap), across * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    axes.imshow(canvas[:-gap, :-gap], cmap=colours, interpolation="nearest")
    axes.set_axis_off()


def _means(axes: Axes, blocks: SiteBlocks, sites: Sites) -> None:
    """Draw the mean of each site."""
    weights = np.ones(1)
    label = "mean of each site"
    if sites.kind == "angle":
        weights, label = np.array([1.0, 0.0]), "mean cosine of each site"
    elif blocks.means.shape[1] > 1:
        weights = np.array(sites.levels, dtype=np.float64)
    means = blocks.unit * (np.einsum("f,bfs->bs", weights, blocks.means) + blocks.origin)
    values, errors = means.mean(0), means.std(0, ddof=1) / math.sqrt(blocks.num)
    dress(axes, f"{label}, ± {np.median(errors):.2g}")
    if len(sites.shape) == 2:
        image = axes.imshow(values.reshape(sites.shape), cmap="viridis", interpolation="nearest")
        axes.figure.colorbar(image, ax=axes, shrink=0.8).ax.tick_params(labelsize=8)
        return
    axes.errorbar(np.arange(len(values)), values, errors, fmt="o", ms=2.5, lw=0.8, color=DATA)
    axes.set_xlabel("site")


def _correlations(axes: Axes, blocks: SiteBlocks, sites: Sites) -> None:
    """Draw the correlation matrix of a line of sites, or C(r) along the axes of a rectangle."""
    num = blocks.num_sites
    if len(sites.shape) == 1 and num <= MAX_GRAM_SITES:
        dress(axes, "correlation of two sites")
        pairs = np.stack(np.triu_indices(num, 1), axis=1)
        matrix = np.full((num, num), np.nan)
        values = blocks.correlations(pairs).mean(0)
        matrix[pairs[:, 0], pairs[:, 1]] = matrix[pairs[:, 1], pairs[:, 0]] = values
        largest = np.abs(values).max() or 1.0
        image = axes.imshow(matrix, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
        axes.figure.colorbar(image, ax=axes, shrink=0.8).ax.tick_params(labelsize=8)
        axes.set(xlabel="site", ylabel="site")
        return
    dress(axes, "correlation $C(r)$")
    for axis, side in enumerate(sites.shape):
        distances = np.arange(1, min(side, 65))
        table = [
            blocks.correlations(pairs_apart(sites.shape, axis, int(distance))).mean(1)
            for distance in distances
        ]
        values = np.array(table)
        errors = values.std(1, ddof=1) / math.sqrt(blocks.num)
        axes.errorbar(
            distances + 0.06 * axis,
            values.mean(1),
            errors,
            fmt="o-",
            ms=3,
            lw=0.8,
            color=COLOURS[axis],
            label=("first axis", "second axis")[axis],
        )
    axes.axhline(0, lw=0.6, color="#888888")
    axes.set_xlabel("$r$ (sites)")
    axes.legend(frameon=False, fontsize=8)


def _autocorrelation(axes: Axes, rows: Rows, site_kind: str) -> None:
    """Draw the autocorrelation of slow observables along the file."""
    dress(axes, "autocorrelation along the file")
    num = min(rows.shape[0], SERIES, MAX_VALUES // math.prod(rows.shape[1:]))
    axes.set_xlabel("rows between")
    lags = 10
    first = np.asarray(rows[:num])
    observables = slow_observables(first, site_kind)
    for colour, (name, series) in zip(COLOURS, observables.items(), strict=False):
        centred = series - series.mean()
        if not centred.any():
            continue
        spectrum = np.fft.rfft(centred, n=2 * num)
        covariance = np.fft.irfft(np.abs(spectrum) ** 2, n=2 * num)[: num // 2 + 1]
        rho = covariance / covariance[0] * (num / (num - np.arange(len(covariance))))
        below = np.flatnonzero(rho < 0.05)
        lags = max(lags, 4 * int(below[0]) if len(below) else len(rho) - 1)
        axes.plot(rho, lw=1, color=colour, label=name)
    axes.set_xlim(0, max(1, min(lags, num // 2)))
    axes.axhspan(-2 / math.sqrt(num), 2 / math.sqrt(num), color="#cccccc", lw=0, zorder=0)
    axes.legend(frameon=False, fontsize=8)
