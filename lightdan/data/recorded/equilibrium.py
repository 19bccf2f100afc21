"""Test whether rows are in equilibrium."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightdan.data.recorded.drifts import (
    ENDS,
    PARTS,
    Drift,
    along_change,
    averages,
    drift_of,
    drift_of_ends,
    ends_differ,
    means_of_ends,
    num_changes,
    period_of,
)

FEW = 20
"""Number of changes between two states below which the rows are too few to tell their shares."""
FEATURES = 256
"""Largest number of sites, and of pairs of neighbours, whose means are compared."""
SITES, ROWS = 32, 65_536
"""Numbers of sites and rows whose overlap is computed at all distances."""
ODD = ("mean", "mean cosine", "mean sine")
"""Observables that a symmetry of the sites may turn into others."""


@dataclass(frozen=True)
class Equilibrium:
    """Evidence against rows in equilibrium; false if there is some.

    Args:
        drifts: Differences between parts of the rows.
        seldom: Differences that few changes between symmetric states would explain.
        period: Distance at which rows are alike though those between are less so; None if there is none.
        overlap: Correlation of the sites of rows at that distance.
    """

    drifts: tuple[Drift, ...] = ()
    seldom: tuple[Drift, ...] = ()
    period: int | None = None
    overlap: float = 0.0

    def __bool__(self) -> bool:
        """Return whether there is no evidence."""
        return not self.sentences

    @property
    def sentences(self) -> list[str]:
        """Evidence and remedy, a few sentences for each kind."""
        found = []
        if self.drifts:
            drifts = "; ".join(map(str, self.drifts))
            rows = max(drift.leave_out for drift in self.drifts)
            remedy = (
                f"leave out the first {rows} rows" if rows else "leave out the rows before equilibrium"
            )
            found.append(
                f"The rows are not in equilibrium, or too few to tell: {drifts}."
                f" All numbers average over this drift, and it is not in their errors: {remedy},"
                " or use parts of the file one by one."
            )
        if self.seldom:
            drifts = "; ".join(map(str, self.seldom))
            changes = max(drift.changes for drift in self.seldom)
            found.append(
                f"The rows change between states too seldom to tell how often each occurs: {drifts}."
                f" They do so {'once' if changes == 1 else f'{changes} times'}, while sums that"
                " symmetries leave unchanged do not drift. Sums that differ between the states have no"
                " reliable error: use more rows."
            )
        if self.period is not None:
            found.append(
                f"Rows {self.period} apart are alike: the correlation of their sites is"
                f" {self.overlap:.2f}, more than of rows between. Chains may be interleaved or rows"
                " copied: write chain after chain, or each row once."
            )
        return found


class Examination:
    """Rows that are examined in consecutive chunks, for `examine`.

    Args:
        num: Number of rows M.
        site_kind: Kind of site, as in `System`.
    """

    def __init__(self, num: int, site_kind: str) -> None:
        self.num, self.site_kind, self.angles = num, site_kind, site_kind == "angle"
        self.series: list[dict[str, NDArray[np.float64]]] = []
        self.part_of = np.arange(num) * PARTS // max(num, 1)
        self.sums: dict[str, NDArray[np.float64]] = {}
        self.sample: list[NDArray[np.float64]] = []

    def add(self, start: int, chunk: NDArray[np.generic]) -> None:
        """Take the next rows.

        Args:
            start: Number of the first of them.
            chunk: Configurations `(rows, *lattice)`.
        """
        self.series.append(slow_observables(chunk, self.site_kind))
        features = dict(self._features(chunk))
        parts = self.part_of[start : start + len(chunk)]
        places = np.flatnonzero(np.diff(parts, prepend=-1))
        for name, values in features.items():
            sums = self.sums.setdefault(name, np.zeros((PARTS, values.shape[1])))
            sums[parts[places]] += np.add.reduceat(values, places, axis=0)
        if start < ROWS:
            values = features["means of the sites"][: ROWS - start]
            self.sample.append(values[:, :: math.ceil(values.shape[1] / SITES)])

    def _features(self, chunk: NDArray[np.generic]) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Yield the values of sites and of pairs of neighbours by name, `(rows, features)`."""
        s = chunk.astype(np.float64)
        sites = s.reshape(len(s), -1)
        sites = sites[:, :: math.ceil(sites.shape[1] / FEATURES)]
        yield (
            "means of the sites",
            np.concatenate([np.cos(sites), np.sin(sites)], 1) if self.angles else sites,
        )
        pairs = []
        for axis in range(1, s.ndim):
            left, right = (np.delete(s, end, axis).reshape(len(s), -1) for end in (-1, 0))
            every = math.ceil(max(left.shape[1], 1) / FEATURES)
            left, right = left[:, ::every], right[:, ::every]
            pairs.append(_bonds(left, right, self.site_kind))
        yield f"{BONDS[self.site_kind][1]}, one by one,", np.concatenate(pairs, axis=1)

    @property
    def observables(self) -> dict[str, NDArray[np.float64]]:
        """Series of the slow observables by name `(M,)`."""
        return {name: np.concatenate([part[name] for part in self.series]) for name in self.series[0]}

    def result(self) -> Equilibrium:
        """Compare parts of the rows, and rows at all distances.

        A quantity that a symmetry turns into others may differ between the parts because the state
        changed few times. It counts as a drift if the state changes often. Series are those of the mean
        over interleaved chains, unless these are too many.
        """
        if self.num < 2 * PARTS:
            return Equilibrium()
        sample = np.concatenate(self.sample)
        period, overlap = period_of(sample)
        step = period or 1
        if self.num < 2 * PARTS * step:
            step = 1
        observables = {name: averages(series, step) for name, series in self.observables.items()}
        sites, bonds = self.sums
        even = {name: series for name, series in observables.items() if name not in ODD}
        drifts = [drift for name, series in even.items() if (drift := drift_of(name, series, step))]
        if not drifts and self._ends_differ(bonds):
            drifts = [Drift(bonds, ENDS)]
        means = np.stack([series for name, series in observables.items() if name in ODD], axis=1)
        change = drift_of_ends("mean", along_change(means))
        if not drifts and not change and self._ends_differ(sites):
            pattern = along_change(sample)
            change = Drift(sites, ENDS, changes=num_changes(pattern, *means_of_ends(pattern)))
        seldom: tuple[Drift, ...] = ()
        if change and change.changes >= FEW:
            drifts.append(change)
        elif change and not drifts:
            seldom = (change,)
        return Equilibrium(tuple(drifts), seldom, period, overlap)

    def _ends_differ(self, name: str) -> bool:
        """Return whether the means of features differ between the ends of the rows."""
        sizes = np.bincount(self.part_of, minlength=PARTS)[:, None]
        return ends_differ(self.sums[name] / sizes)


def examine(configurations: NDArray[np.generic], site_kind: str) -> Equilibrium:
    """Test whether configurations in the order of their creation are in equilibrium.

    Args:
        configurations: Configurations `(M, *lattice)`.
        site_kind: Kind of site, as in `System`.
    """
    examination = Examination(len(configurations), site_kind)
    step = max(1, 4_000_000 // max(1, math.prod(configurations.shape[1:])))
    for start in range(0, len(configurations), step):
        examination.add(start, configurations[start : start + step])
    return examination.result()


def slow_observables(
    configurations: NDArray[np.generic], site_kind: str
) -> dict[str, NDArray[np.float64]]:
    """Return series that reveal slow modes.

    They are the mean m, |m| and the mean product of neighbours. For angles they are the mean of e^{iφ}
    along each axis, its modulus, and the mean cosine between neighbours; for levels the mean, the sum
    of the squared shares of the levels, and the share of equal neighbours. Fields have the squared
    difference of neighbours in place of their product.

    Args:
        configurations: Configurations `(M, *lattice)`.
        site_kind: Kind of site, as in `System`.
    """
    axes = tuple(range(1, configurations.ndim))
    s = configurations.astype(np.float64)
    if site_kind == "angle":
        x, y = np.cos(s).mean(axes), np.sin(s).mean(axes)
        series = {"mean cosine": x, "mean sine": y, "modulus of the mean": np.hypot(x, y)}
    elif site_kind == "level":
        series = {
            "mean": s.mean(axes),
            "sum of squared shares of levels": _concentration(configurations),
        }
    else:
        average = s.mean(axes)
        series = {"mean": average, "modulus of the mean": np.abs(average)}
    products = []
    for axis in axes:
        left, right = (np.delete(s, end, axis) for end in (-1, 0))
        if left.size:
            products.append(_bonds(left, right, site_kind).mean(axes))
    if products:
        series[BONDS[site_kind][0]] = np.mean(products, axis=0)
    return series


BONDS = {
    "spin": ("product of neighbours", "products of neighbours"),
    "level": ("share of equal neighbours", "shares of equal neighbours"),
    "angle": ("cosine between neighbours", "cosines between neighbours"),
    "real": ("squared difference of neighbours", "squared differences of neighbours"),
}
"""Function of two neighbours that symmetries of the sites leave unchanged, and its plural."""


def _bonds(left: NDArray[np.float64], right: NDArray[np.float64], site_kind: str) -> NDArray[np.float64]:
    """Return that function of the two sites of bonds."""
    if site_kind == "angle":
        return np.cos(left - right)
    if site_kind == "level":
        return (left == right).astype(np.float64)
    return left * right if site_kind == "spin" else (left - right) ** 2


def _concentration(levels: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return Σ_l f_l² of the shares f of the levels in each row `(M,)`."""
    values, flat = np.unique(levels.reshape(len(levels), -1), return_inverse=True)
    flat, num = flat.reshape(len(levels), -1), len(values)
    places = flat + num * np.arange(len(flat))[:, None]
    counts = np.bincount(places.ravel(), minlength=num * len(flat)).reshape(len(flat), num)
    shares: NDArray[np.float64] = ((counts / flat.shape[1]) ** 2).sum(axis=1)
    return shares
