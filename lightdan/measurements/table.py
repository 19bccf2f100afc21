"""Table that ends a run: the headline numbers, then the estimates beside their references."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lightdan.statistics import Bound, Estimate

Reference = float | Estimate | Bound
"""Exact value, or estimate from the data, about which an estimate scatters; or a bound."""

HEADLINES = {"kl": "KL (nats)", "nll": "NLL (nats)", "ess": "ESS", "slope": "slope", "ln_z": "ln Z"}
"""Estimates that head the report and their titles; `nll` only if there is no `kl`."""


class Row(NamedTuple):
    """One estimate and its reference; the label names the temperature if there are several.

    The remark says why the estimate has no error.
    """

    measurement: str
    label: str
    name: str
    estimate: Estimate
    reference: Reference | None
    remark: str = ""

    @property
    def deviation(self) -> float | None:
        """Difference from the reference in standard errors; None for a bound or without an error."""
        if self.reference is None or isinstance(self.reference, Bound):
            return None
        if not isinstance(self.reference, Estimate):
            value, error = self.reference, 0.0
        else:
            value, error = self.reference
        total = math.hypot(self.estimate.error, error)
        return (self.estimate.value - value) / total if 0 < total < math.inf else None

    @property
    def distance(self) -> float:
        """Distance from the reference: in standard errors, or from a bound in units of the estimate."""
        if isinstance(self.reference, Bound):
            return abs(self.estimate.value - self.reference.value)
        return abs(self.deviation or 0.0)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 68 % interval if it is cut by the bound, which the true value cannot pass; else None.

        An estimate further than one error beyond its bound keeps its error.
        """
        if not isinstance(self.reference, Bound):
            return None
        value, error, bound = *self.estimate, self.reference.value
        low, high = value - error, value + error
        if not (math.isfinite(error) and low < bound < high):
            return None
        return (bound, high) if self.reference.side == "≥" else (low, bound)

    def cells(self) -> tuple[str, str, str]:
        """Return value, reference and deviation as text."""
        # Adding zero turns −0.0 into 0.0.
        deviation = "" if self.deviation is None else f"{round(self.deviation, 1) + 0.0:+.1f} σ"
        return self._shown_value(), self._shown_reference(), deviation

    def _shown_reference(self) -> str:
        reference = self.reference
        if isinstance(reference, int | float):
            return f"{reference:.6g}"
        if isinstance(reference, Estimate) and reference.error == math.inf:
            return f"{reference.value:.4g}, no error"
        return str(reference or "")

    def _shown_value(self) -> str:
        if self.remark:
            return f"{self.estimate.value:.4g}"
        if self.interval is None:
            return str(self.estimate)
        digits = max(2 - math.ceil(math.log10(self.estimate.error)), 0)
        low, high = (f"{end:.{min(digits, 9)}f}" for end in self.interval)
        return f"{low} to {high}"


def headlines(rows: Iterable[Row]) -> Table | None:
    """Return the table of the headline numbers, a row for each temperature, if there are any.

    If two measurements have the same number, the first counts.
    """
    by_label: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.name in HEADLINES:
            by_label.setdefault(row.label, {}).setdefault(row.name, row)
    names = {name for numbers in by_label.values() for name in numbers}
    names -= {"nll"} if "kl" in names else set()
    if not names:
        return None
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    columns = [name for name in HEADLINES if name in names]
    for title in ("", *(HEADLINES[name] for name in columns)):
        table.add_column(title, no_wrap=True)
    for label, numbers in by_label.items():
        table.add_row(label, *(_value_and_deviation(numbers.get(name)) for name in columns))
    return table


def _value_and_deviation(row: Row | None) -> str:
    if row is None:
        return ""
    value, _, deviation = row.cells()
    return ", ".join(filter(None, (value, deviation, "no error" if row.remark else "")))


def worst(rows: Iterable[Row]) -> list[Row]:
    """Return one row for each estimate: at several temperatures the one furthest from its reference.

    An estimate at several temperatures without a reference is left out.
    """
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        groups.setdefault(row.measurement, {}).setdefault(row.name, []).append(row)
    chosen: list[Row] = []
    for group in (group for by_name in groups.values() for group in by_name.values()):
        known = group if len(group) == 1 else [row for row in group if row.reference is not None]
        chosen += [max(known, key=lambda row: row.distance)] if known else []
    return chosen


def estimates(rows: Sequence[Row], heading: str) -> Table:
    """Return the table of estimates, a section for each measurement.

    On a narrow terminal the names are folded, so that numbers are never cut off.
    """
    table = Table(title=heading, title_justify="left")
    labelled = any(row.label for row in rows)
    for column in ("measurement", "estimate"):
        table.add_column(column, overflow="fold", min_width=len(column))
    if labelled:
        table.add_column("worst at", no_wrap=True)
    for column in ("value", "reference", "deviation"):
        table.add_column(column, justify="right", no_wrap=True)
    remarked = any(row.remark for row in rows)
    if remarked:
        table.add_column("no error because of", overflow="fold")
    last = above = ""
    for row in rows:
        if last and row.measurement != last:
            table.add_section()
        title = row.measurement if row.measurement != last else ""
        words = "as above" if row.remark and row.remark == above else row.remark
        remark, above = [words] if remarked else [], row.remark
        table.add_row(title, row.name, *([row.label] if labelled else []), *row.cells(), *remark)
        last = row.measurement
    return table


def pairs(facts: Mapping[str, str]) -> Table:
    """Return a table of titles and texts without lines."""
    table = Table.grid(padding=(0, 2))
    for title, text in facts.items():
        table.add_row(title, text)
    return table


def terminal() -> Console:
    """Return a console, 110 columns wide if the output is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=110)
