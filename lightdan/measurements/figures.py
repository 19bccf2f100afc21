"""Common style of all figures: panels across a page."""

import math
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MODEL, DATA, EXACT = "#c03a2b", "#2c5f8a", "#222222"


def panels(num: int) -> tuple[Figure, list[Axes]]:
    """Return a figure as wide as a page with `num` panels side by side, labelled from (a) on."""
    figure = Figure(figsize=(7.0, 1.2 + 3.6 / num), layout="constrained")
    row = list(figure.subplots(1, num, squeeze=False)[0])
    for label, axes in zip("abcdef", row, strict=False):
        dress(axes, f"({label})")
    return figure, row


def dress(axes: Axes, title: str) -> None:
    """Set the title and the common text sizes of a panel."""
    axes.set_title(title, loc="left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", labelsize=8)
    axes.xaxis.label.set_size(9)
    axes.yaxis.label.set_size(9)


def bin_edges(values: np.ndarray, bins: int = 40) -> list[float]:
    """Return edges of about `bins` equal bins.

    The values of a discrete system lie in the middle of the bins, equally many in each.
    """
    unique = np.unique(values.round(9))
    low, span = unique[0], max(np.ptp(unique), 1e-9)
    step = np.diff(unique).min() if len(unique) > 1 else span
    if span / step > 1000:  # continuous
        return np.linspace(low, low + span, bins + 1).tolist()
    width = step * math.ceil(span / step / bins)
    return np.arange(low - step / 2, low + span + width, width).tolist()


def legends(axes: Iterable[Axes]) -> None:
    """Draw a small legend without a frame in each panel."""
    for panel in axes:
        panel.legend(frameon=False, fontsize=8)
