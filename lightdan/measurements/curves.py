"""Estimates against a temperature, a control or an option, beside data and exact values."""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightdan.measurements.figures import DATA, EXACT, MODEL, dress
from lightdan.measurements.report import Result
from lightdan.measurements.table import Reference
from lightdan.statistics import Bound, Estimate

MOST_PANELS = 24
"""Number of estimates in a figure; the arrays have all."""
MARKERS = "osD^v<>"
"""Markers of the curves of a panel, in their order."""


class Point(NamedTuple):
    """Estimates at one value of a quantity.

    Args:
        value: Value of the quantity; text if it is no number.
        estimates: Estimates by name, listed ones only.
        references: Exact values, or estimates from the data, by name.
    """

    value: float | str
    estimates: Mapping[str, Estimate]
    references: Mapping[str, Reference | None]


def listed(value: float, result: Result) -> Point:
    """Return the point of the listed estimates of a result."""
    names = [name for name in result.estimates if name not in result.unlisted]
    return Point(value, {name: result.estimates[name] for name in names}, result.reference)


def along_conditions(
    results: Sequence[tuple[Mapping[str, float], Result]],
) -> Iterator[tuple[str, Result]]:
    """Yield a figure and its numbers for each temperature or control that has several values.

    If others vary, too, there is one curve for each combination of these.

    Args:
        results: Results of one measurement with the conditions at which it was made.
    """
    varied = [name for name in results[0][0] if len({conditions[name] for conditions, _ in results}) > 1]
    for quantity in varied:
        groups: dict[str, list[Point]] = defaultdict(list)
        for conditions, result in results:
            rest = [f"{name} = {conditions[name]:g}" for name in varied if name != quantity]
            groups[", ".join(rest)].append(listed(conditions[quantity], result))
        curves = {label: points for label, points in groups.items() if len(points) > 1}
        if curves and any(point.estimates for points in curves.values() for point in points):
            yield quantity, Result({}, numbers(curves), figure(quantity, curves))


def numbers(curves: Mapping[str, Sequence[Point]]) -> dict[str, np.ndarray]:
    """Return the points of all curves as columns, one row each.

    ``value`` is the quantity and ``curve`` the label. Each estimate has its name, ``<name>_error``,
    and ``<name>_reference`` with ``<name>_reference_error``. NaN stands for what is missing.
    """
    rows = [(label, point) for label, points in curves.items() for point in points]
    columns = {
        "curve": np.array([label for label, _ in rows]),
        "value": np.array([point.value for _, point in rows]),
    }
    for name in names_of(curves):
        values = [point.estimates.get(name, MISSING) for _, point in rows]
        references = [of_reference(point.references.get(name)) for _, point in rows]
        for suffix, pairs in (("", values), ("_reference", references)):
            columns[f"{name}{suffix}"], columns[f"{name}{suffix}_error"] = np.array(pairs).T
    return columns


MISSING = Estimate(math.nan, math.nan)


def of_reference(reference: Reference | None) -> Estimate:
    """Return a reference with its error, which is 0 if it is exact; bounds are left out."""
    if reference is None or isinstance(reference, Bound):
        return MISSING
    return reference if isinstance(reference, Estimate) else Estimate(float(reference), 0.0)


def names_of(curves: Mapping[str, Sequence[Point]]) -> list[str]:
    """Return the names of all estimates, in the order in which they appear first."""
    every = itertools.chain.from_iterable(curves.values())
    return list(dict.fromkeys(itertools.chain.from_iterable(point.estimates for point in every)))


def figure(quantity: str, curves: Mapping[str, Sequence[Point]]) -> Figure:
    """Plot each estimate against a quantity in its own panel, with the data and exact values.

    Args:
        quantity: Name of the quantity.
        curves: Points by the label of their curve.
    """
    names = names_of(curves)[:MOST_PANELS]
    columns = max(1, min(3, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    chart = Figure(figsize=(3.2 * columns, 2.4 * rows), layout="constrained")
    panels = chart.subplots(rows, columns, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        for marker, (label, points) in zip(itertools.cycle(MARKERS), curves.items(), strict=False):
            draw(panel, name, points, marker, label)
        dress(panel, name.replace("_", " "))
        panel.set_xlabel(quantity)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    _, labels = panels[0].get_legend_handles_labels()
    if labels:
        panels[0].legend(frameon=False, fontsize=7)
    return chart


def draw(panel: Axes, name: str, points: Sequence[Point], marker: str, label: str = "") -> None:
    """Plot one estimate: the model, data with errors, and exact values as a line."""
    positions: list[float] = [
        place if isinstance(point.value, str) else point.value for place, point in enumerate(points)
    ]
    if any(isinstance(point.value, str) for point in points):
        panel.set_xticks(positions, [str(point.value) for point in points])
    style: dict[str, Any] = {"ms": 4, "mfc": "none", "capsize": 0, "ls": "none", "marker": marker}
    values = np.array([point.estimates.get(name, MISSING) for point in points])
    known = np.array([of_reference(point.references.get(name)) for point in points])
    order = np.argsort(positions)
    exact = order[known[order, 1] == 0]
    panel.plot(np.array(positions)[exact], known[exact, 0], "-", lw=1, color=EXACT)
    data = known[:, 1] > 0
    if data.any():
        panel.errorbar(
            np.array(positions)[data],
            known[data, 0],
            known[data, 1],
            color=DATA,
            label=f"data {label}",
            **style,
        )
    panel.errorbar(
        positions,
        values[:, 0],
        np.where(np.isfinite(values[:, 1]), values[:, 1], np.nan),
        color=MODEL,
        label=f"model {label}" if data.any() or label else None,
        **style,
    )
