"""Configurations in a user's file: their kind, their conversion, and the correlation of rows."""

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from lightdan.data.recorded.drifts import PARTS, Drift, drift_of_ends
from lightdan.data.recorded.equilibrium import ODD, Equilibrium, Examination
from lightdan.data.rows import Rows
from lightdan.data.values.forms import RECOGNISE, Form
from lightdan.data.values.summary import ValueSummary
from lightdan.progress import progress_bar
from lightdan.statistics import (
    FEWEST_TIMES,
    LEAST_TIMES,
    Bound,
    Estimate,
    autocorrelation_time,
    is_correlated,
    is_too_short,
)

KNOTS = 11
"""Number of knots of the splines that describe how observables depend on a control."""
ONE_WAY = 0.9
"""Rank correlation with the row number, as a part of that of the sorted control, of one direction."""
CHUNK = 4_000_000
"""Number of values read at a time."""
MOST_OFFSET = 5e4
"""Largest size of reals in units of their range; single precision rounds them by 1 % of it."""


@dataclass(frozen=True)
class Recording:
    """Configurations in a file, converted to the form of the sites when they are read.

    Args:
        array: Array in the file.
        lattice_shape: Shape of a configuration.
        form: Form of the values.
    """

    array: Rows
    lattice_shape: tuple[int, ...]
    form: Form

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all configurations in the file `(M, *lattice)`."""
        return (self.array.shape[0], *self.lattice_shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the converted values."""
        return self.form.dtype

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        values = np.asarray(self.array[rows])
        return self.form.convert(values.reshape(-1, *self.lattice_shape)).astype(self.dtype)

    def read(
        self, parts: Sequence[np.ndarray], title: str, *, in_memory: bool
    ) -> "tuple[Tensor | Recording, list[Correlation]]":
        """Read the rows once.

        Args:
            parts: Ascending numbers of the rows of each temperature.
            title: Title of the progress bar.
            in_memory: Whether to return a tensor; otherwise the rows stay on disk.

        Returns:
            Rows up to the last one of the parts, and the correlation of each part.
        """
        num = 1 + max(int(part[-1]) for part in parts)
        whole = np.empty((num if in_memory else 0, *self.lattice_shape), self.dtype)
        hashes: list[np.ndarray] = []
        examinations = [Examination(len(part), self.form.site_kind) for part in parts]
        for start, chunk in chunks(self, num, title):
            if in_memory:
                whole[start : start + len(chunk)] = chunk
            hashes.append(np.fromiter((hash(row.tobytes()) for row in chunk), np.int64, len(chunk)))
            for part, examination in zip(parts, examinations, strict=True):
                first, last = np.searchsorted(part, [start, start + len(chunk)])
                if first < last:
                    examination.add(int(first), chunk[part[first:last] - start])
        hashed = np.concatenate(hashes)
        correlations = [
            Correlation.of(examination, hashed[part])
            for part, examination in zip(parts, examinations, strict=True)
        ]
        return torch.from_numpy(whole) if in_memory else self, correlations


@dataclass(frozen=True)
class Correlation:
    """Correlation of the rows of a file.

    Args:
        num: Number of rows.
        times: Integrated autocorrelation time of each slow observable by name, in rows; if rows a
            distance apart are alike, in steps of that distance.
        duplicates: Number of rows that repeat an earlier one.
        equilibrium: Evidence against rows in equilibrium.
        observables: Slow observables of the rows by name `(M,)`.
        one_way: Names of controls that grow or fall along the rows.
    """

    num: int
    times: dict[str, Estimate]
    duplicates: int
    equilibrium: Equilibrium
    observables: dict[str, np.ndarray]
    one_way: tuple[str, ...] = ()

    @classmethod
    def of(cls, examination: Examination, hashes: np.ndarray) -> "Correlation":
        """Return the correlation of rows that were examined.

        Args:
            examination: Examination of the rows.
            hashes: Hash of each row `(M,)`.
        """
        equilibrium, observables = examination.result(), examination.observables
        times = {
            name: autocorrelation_time(in_chains(series, equilibrium.period or 1))
            for name, series in observables.items()
        }
        duplicates = len(hashes) - len(np.unique(hashes))
        return cls(len(hashes), times, duplicates, equilibrium, observables)

    def drifting(self, drifts: Sequence[Drift]) -> "Correlation":
        """Return the correlation with further drifts along the rows."""
        found = replace(self.equilibrium, drifts=(*self.equilibrium.drifts, *drifts))
        return replace(self, equilibrium=found)

    def given(self, controls: np.ndarray, names: Sequence[str]) -> "Correlation":
        """Return the correlation of what the observables are besides smooth functions of controls.

        Rows recorded while a field is swept drift with it, and only the rest tells whether they repeat
        each other, or drift between one sweep and the next.

        Args:
            controls: Controls of the rows `(M, controls)`.
            names: Names of the controls.
        """
        columns = smooth_functions(controls)
        one_way = tuple(
            name for name, control in zip(names, controls.T, strict=True) if is_one_way(control)
        )
        observables = {
            name: series - columns @ np.linalg.lstsq(columns, series, rcond=None)[0]
            for name, series in self.observables.items()
        }
        times = {name: autocorrelation_time(series) for name, series in observables.items()}
        drifts: tuple[Drift, ...] = ()
        if self.num >= 2 * PARTS:
            drifts = tuple(
                drift
                for name, series in observables.items()
                if name not in ODD
                if (drift := drift_of_ends(f"{name}, apart from what the controls explain,", series))
            )
        return replace(
            self,
            times=times,
            equilibrium=Equilibrium(drifts),
            observables=observables,
            one_way=one_way,
        )

    @property
    def slowest(self) -> str:
        """Name of the observable with the longest autocorrelation time."""
        return max(self.times, key=lambda name: self.times[name].value)

    @property
    def tau(self) -> Estimate:
        """The longest autocorrelation time in rows; 0.5 is independent."""
        return self.times[self.slowest]

    @property
    def reach(self) -> float:
        """Number of rows over which rows are correlated."""
        return self.tau.value * (self.equilibrium.period or 1)

    @property
    def effective_num(self) -> Estimate | Bound:
        """Number of independent rows with the same statistical errors, at most so if τ is a bound."""
        tau = self.tau
        num = self.num / (2 * tau.value)
        return (
            Estimate(num, num * tau.error / tau.value)
            if self.is_told
            else Bound(float(f"{num:.2g}"), "≤")
        )

    @property
    def is_told(self) -> bool:
        """Whether the rows are enough to tell the autocorrelation time."""
        return math.isfinite(self.tau.error)

    def in_words(self, beside: str = "") -> str:
        """Return the autocorrelation time in words.

        Args:
            beside: Words after the name of the slowest observable.
        """
        period = self.equilibrium.period
        steps = "rows" if period is None else f"steps of {period} rows"
        tau = self.tau if self.is_told else Bound(float(f"{self.tau.value:.2g}"), "≥")
        text = f"{tau} {steps} ({self.slowest}{beside}; 0.5 is independent)"
        return text if self.is_told else f"{text}, too few rows to tell: below {LEAST_TIMES} times"

    @property
    def confounded(self) -> list[str]:
        """Sentence on controls that change along the file in one direction, if there are some."""
        if not self.one_way:
            return []
        return [
            f"A drift of the rows cannot be told from the effect of {' and '.join(self.one_way)}, which"
            " changes along the file in one direction: record it to and fro, or in random order."
        ]

    @property
    def doubts(self) -> list[str]:
        """Sentences on what the rows cannot tell."""
        found = [*self.equilibrium.sentences, *self.confounded]
        if not self.is_told and is_correlated(self.tau):
            none = is_too_short(self.num, self.reach)
            times = FEWEST_TIMES if none else LEAST_TIMES
            errors = "Held-out averages have no error" if none else "All errors are lower bounds"
            found.append(
                f"The rows are too few to tell how far they are correlated: they last less than "
                f"{times} autocorrelation times of the {self.slowest}. {errors}: use more rows."
            )
        return found


def chunks(rows: Rows, num: int, title: str) -> Iterator[tuple[int, np.ndarray]]:
    """Read the first rows in consecutive parts, with a progress bar if there are many.

    Args:
        rows: Array or configurations.
        num: Number of rows.
        title: Title of the progress bar.

    Yields:
        Number of the first row, and the rows.
    """
    step = max(1, CHUNK // math.prod(rows.shape[1:]))
    with progress_bar(title, num) if num > 10 * step else nullcontext(_ignore) as advance:
        for start in range(0, num, step):
            chunk = np.asarray(rows[start : min(start + step, num)])
            yield start, chunk
            advance(len(chunk))


def recognise(
    path: str,
    array: Rows,
    lattice_shape: tuple[int, ...],
    num: int,
    values: str,
    names: Sequence[str] = (),
) -> Form:
    """Return the form of the values in the first rows of a file.

    Args:
        path: Path of the file, for messages.
        array: Array in the file.
        lattice_shape: Shape of a configuration.
        num: Number of rows.
        values: ``auto``, ``spin``, ``level``, ``angle``, ``degrees`` or ``real``.
        names: Names of the levels 0, 1, …, where the file has letters or words.

    Raises:
        ValueError: values is none of these, or the file does not hold such values.
    """
    if values not in RECOGNISE:
        raise ValueError(f"values must be one of {', '.join(RECOGNISE)}, not {values!r}.")
    summary = ValueSummary(path, lattice_shape, names)
    for start, chunk in chunks(array, num, f"Scanning {path}"):
        summary.add(start, chunk.reshape(len(chunk), -1))
    summary.merge()
    largest = max(-summary.minimum, summary.maximum)
    if summary.fraction is None and summary.counts is not None and largest > 2**53:
        raise ValueError(
            f"The file {path} holds integers up to {largest:g} in size, too large to tell neighbours "
            "apart: subtract the smallest one."
        )
    if summary.minimum == summary.maximum:
        raise ValueError(
            f"The file {path} holds only the value {summary.minimum:g}, from which nothing can be "
            "learned: use configurations that differ."
        )
    if largest > float(np.finfo(np.float32).max):
        raise ValueError(
            f"The file {path} holds values up to {largest:g} in size, beyond single precision: "
            "rescale them."
        )
    form = RECOGNISE[values](summary)
    if form.site_kind == "real" and largest > MOST_OFFSET * (summary.maximum - summary.minimum):
        raise ValueError(
            f"The file {path} holds reals near {largest:g} that differ by less than "
            f"{summary.maximum - summary.minimum:.3g}, which single precision does not keep: subtract "
            "a constant near their mean."
        )
    return form


def smooth_functions(controls: np.ndarray) -> np.ndarray:
    """Return powers up to three, products of pairs, and linear splines of controls `(M, functions)`.

    Args:
        controls: Controls of the rows `(M, controls)`.
    """
    z = (controls - controls.mean(0)) / np.maximum(controls.std(0), 1e-300)
    pairs = [z[:, i] * z[:, j] for i in range(z.shape[1]) for j in range(i)]
    knots = np.quantile(z, np.arange(1, KNOTS + 1) / (KNOTS + 1), axis=0)
    splines = [np.maximum(z - knot, 0) for knot in knots]
    return np.column_stack([np.ones(len(z)), z, z**2, z**3, *pairs, *splines])


def is_one_way(control: np.ndarray) -> bool:
    """Return whether a control grows or falls along the rows, also in a few large steps."""
    place = np.arange(len(control))
    if np.ptp(control) == 0:
        return False
    most = spearmanr(place, np.sort(control)).statistic
    return bool(abs(spearmanr(place, control).statistic) > ONE_WAY * most)


def in_chains(series: np.ndarray, period: int) -> np.ndarray:
    """Return interleaved chains one by one, `(M,)` -> `(period, M // period)`."""
    steps = len(series) // period
    return series[: steps * period].reshape(steps, period).T


def share_within(distance: float, rows: Tensor, others: Tensor) -> float:
    """Return the fraction of rows at most `distance` from the nearest other row.

    Args:
        distance: Largest distance.
        rows: Row numbers.
        others: Ascending row numbers.
    """
    after = torch.searchsorted(others, rows)
    beside = others[torch.stack([after - 1, after]).clamp(0, len(others) - 1)]
    return ((beside - rows).abs().amin(0) <= distance).double().mean().item()


def _ignore(steps: int) -> None:
    pass
