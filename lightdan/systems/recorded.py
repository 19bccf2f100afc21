"""A user's own configurations, read from a file."""

import math
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lightdan.data.readers import MAPPED, Rows, open_array
from lightdan.data.values import RECOGNISE, Form, Seen
from lightdan.lattices import groups
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate, autocorrelation_time
from lightdan.systems.base import System

CHUNK = 4_000_000
"""Values read at a time."""


class Recorded(System):
    """p(s) as a file of configurations samples it; H = −T ln p is not known beforehand.

    Values are recognised: two are spins, the larger one up; up to 16 integers are levels; reals that
    fill [0, 2π) are angles. What was seen is printed when training begins, with the number of repeated
    rows and the autocorrelation along the file; rows that are correlated are split by blocks.

    Args:
        path: File that ends in .npy, .npz, .h5, .csv, .txt or .pt, of shape (M, sites) or
            (M, rows, columns). Never unpickled: no code in it can run.
        values: What they are, where they should not be recognised: ``spin`` (two values), ``level``
            (integers), ``angle`` (in [0, 2π)) or ``real``.
        boundary: Whether the lattice is ``open``, a ``window`` of a larger one, or ``periodic``; only
            this has translations.
        dataset: Name of the array in an .npz, .h5 or .pt file of several.
        shape: Numbers of sites, where a row is to be reshaped into a ring or a rectangle.
        num_configurations: The first so many rows; by default all.
        kwargs: Of `System`: temperature (one number), batch_size, splits, seed, max_memory_gb (.npz,
            .csv and .txt are read whole all the same).

    Raises:
        ValueError: the file cannot be read, or its values are no configurations of the kind; the
            sentence names the file, the first bad row and value, and the remedy.
    """

    def __init__(
        self,
        path: str,
        values: Literal["auto", "spin", "level", "angle", "real"] = "auto",
        boundary: Literal["open", "periodic", "window"] = "open",
        dataset: str | None = None,
        shape: tuple[int, ...] | None = None,
        num_configurations: int | None = None,
        **kwargs: Any,
    ) -> None:
        array = open_array(path, dataset)
        num = _num_rows(path, array, num_configurations)
        super().__init__(num_configurations=num, **kwargs)
        if len(self.temperatures) > 1:
            raise ValueError(
                f"temperature must be one number for the file {path}, not {self.temperatures}."
            )
        if boundary not in ("open", "periodic", "window"):
            raise ValueError(f"boundary must be 'open', 'periodic' or 'window', not {boundary!r}.")
        self.path = path
        self.boundary = boundary
        self.lattice_shape = _lattice_shape(path, array, shape)
        self._array: Rows | None = array
        self._form = self._recognise(values)
        self.site_kind, self.levels = self._form.site_kind, self._form.levels
        self.symmetries = groups.spatial_operations(self.lattice_shape, boundary)
        if self.site_kind == "angle":
            self.symmetries = (*groups.SPIN_OPERATIONS, *self.symmetries)
        elif self.levels and self.levels == tuple(-level for level in reversed(self.levels)):
            self.symmetries = ("z2", *self.symmetries)

    def prepare_data(self) -> None:
        """Nothing: the data are there."""

    def setup(self, stage: str | None = None) -> None:
        """Read the file, report what it holds, and split it; at the first call only.

        A `UserWarning` names the effective number of configurations where rows are correlated.
        """
        if self._array is None:
            return
        stored = Stored(self._array, self.lattice_shape, self._form)
        in_memory = self._bytes() <= self.max_memory_gb * 1e9
        configurations: Tensor | None = None
        if in_memory:
            dtype = torch.from_numpy(np.empty(0, self._form.dtype)).dtype
            configurations = torch.empty(stored.shape_of(self.num_configurations), dtype=dtype)
        hashes: list[np.ndarray] = []
        parts: list[dict[str, np.ndarray]] = []
        for start, chunk in self._chunks(stored, f"Reading {self.path}"):
            if configurations is not None:
                configurations[start : start + len(chunk)] = torch.from_numpy(chunk)
            hashes.append(np.fromiter((hash(row.tobytes()) for row in chunk), np.int64, len(chunk)))
            parts.append(collective(chunk, self.site_kind))
        times = {
            name: autocorrelation_time(np.concatenate([part[name] for part in parts]))
            for name in parts[0]
        }
        tau = max(times.values())
        self.tau_int = [tau.value]
        self._array = None
        self.load(stored if configurations is None else configurations, [self.num_configurations])
        duplicates = self.num_configurations - len(np.unique(np.concatenate(hashes)))
        self._report(duplicates, times, in_memory)

    def _bytes(self) -> int:
        return self.num_configurations * self.num_sites * self._form.dtype.itemsize

    @rank_zero_only
    def _report(self, duplicates: int, times: dict[str, Estimate], in_memory: bool) -> None:
        num, form = self.num_configurations, self._form
        slowest = max(times, key=lambda name: times[name].value)
        tau = times[slowest]
        effective = Estimate(num / (2 * tau.value), num * tau.error / (2 * tau.value**2))
        suffix = Path(self.path).suffix.lower()
        where = "in memory" if in_memory else "read from disk by batches"
        if not in_memory and suffix not in MAPPED:
            where = (
                f"if compact, but held as in the file, for {suffix} is read whole: convert it to .npy"
            )
        sites = " × ".join(map(str, self.lattice_shape))
        print(
            f"{self.path}: {num} configurations of {sites} sites, {self.boundary} boundary, "
            f"{self._bytes() / 1e6:.3g} MB {where}\n"
            f"  values: {form.description}\n"
            f"  rows that repeat an earlier one: {duplicates}\n"
            f"  autocorrelation along the file: {tau} rows ({slowest}; 0.5 is independent), "
            f"so {effective} effective configurations"
        )
        if tau.value - tau.error >= 1:
            near = share_within(tau.value, self._indices["test"], self._indices["train"])
            warnings.warn(
                f"The rows of {self.path} are correlated: the integrated autocorrelation time of the "
                f"{slowest} is {tau} rows, so that {num} configurations are worth {effective} "
                f"independent ones; they are split by contiguous blocks, and {100 * near:.0f} % of the "
                "test rows lie within that time of a training row.",
                stacklevel=4,
            )

    def _chunks(self, rows: "Rows | Stored", title: str) -> Iterator[tuple[int, np.ndarray]]:
        """First row and values of consecutive parts, under a progress bar if there are many."""
        num, step = self.num_configurations, max(1, CHUNK // self.num_sites)
        with progress_bar(title, num) if num > 10 * step else nullcontext(_ignore) as advance:
            for start in range(0, num, step):
                chunk = np.asarray(rows[start : min(start + step, num)])
                yield start, chunk
                advance(len(chunk))

    def _recognise(self, values: str) -> Form:
        if values not in RECOGNISE:
            known = ", ".join(RECOGNISE)
            raise ValueError(f"values must be one of {known}, not {values!r}.")
        assert self._array is not None
        seen = Seen(self.path, self.lattice_shape)
        for start, chunk in self._chunks(self._array, f"Scanning {self.path}"):
            seen.add(start, chunk.reshape(len(chunk), -1))
        if seen.minimum == seen.maximum:
            raise ValueError(
                f"The file {self.path} holds the value {seen.minimum:g} only, from which there is "
                "nothing to learn: give configurations that differ."
            )
        largest = max(-seen.minimum, seen.maximum)
        if largest > float(np.finfo(np.float32).max):
            raise ValueError(
                f"The file {self.path} holds values up to {largest:g} in size, beyond single precision: "
                "rescale them."
            )
        return RECOGNISE[values](seen)


@dataclass(frozen=True)
class Stored:
    """Configurations on disk, in the form of the sites when they are read.

    Args:
        array: As it is in the file.
        lattice_shape: Of a configuration.
        form: Of the values.
    """

    array: Rows
    lattice_shape: tuple[int, ...]
    form: Form

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows of the file, *lattice)."""
        return self.shape_of(self.array.shape[0])

    @property
    def dtype(self) -> np.dtype:
        """Of what is read."""
        return self.form.dtype

    def shape_of(self, num: int) -> tuple[int, ...]:
        """Of ``num`` configurations."""
        return (num, *self.lattice_shape)

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        raw = np.asarray(self.array[rows])
        return self.form.convert(raw.reshape(-1, *self.lattice_shape)).astype(self.dtype)


def collective(configurations: np.ndarray, site_kind: str) -> dict[str, np.ndarray]:
    """Series that show slow modes: the mean m of a row, |m| and the mean product of neighbours.

    Of angles the mean of e^{iφ} along each axis, its modulus and the cosine between neighbours.
    """
    axes = tuple(range(1, configurations.ndim))
    s = configurations.astype(np.float64)
    angles = site_kind == "angle"
    if angles:
        x, y = np.cos(s).mean(axes), np.sin(s).mean(axes)
        series = {"mean cosine": x, "mean sine": y, "modulus of the mean": np.hypot(x, y)}
    else:
        mean = s.mean(axes)
        series = {"mean": mean, "modulus of the mean": np.abs(mean)}
    products = []
    for axis in axes:
        left, right = (np.delete(s, end, axis) for end in (-1, 0))
        if left.size:
            products.append((np.cos(left - right) if angles else left * right).mean(axes))
    if products:
        series["product of neighbours"] = np.mean(products, axis=0)
    return series


def share_within(distance: float, rows: Tensor, others: Tensor) -> float:
    """Fraction of `rows` at most `distance` from the nearest of `others`, which ascend."""
    after = torch.searchsorted(others, rows)
    beside = others[torch.stack([after - 1, after]).clamp(0, len(others) - 1)]
    return ((beside - rows).abs().amin(0) <= distance).double().mean().item()


def _ignore(steps: int) -> None:
    pass


def _num_rows(path: str, array: Rows, wanted: int | None) -> int:
    """The number of rows to take.

    Raises:
        ValueError: the array has no rows, or fewer than wanted.
    """
    if len(array.shape) < 2:
        raise ValueError(
            f"The file {path} has the shape {tuple(array.shape)}: give one row a configuration, "
            "(M, sites) or (M, rows, columns)."
        )
    if 0 in array.shape:
        raise ValueError(
            f"The file {path} has the shape {tuple(array.shape)} and so no values: write the "
            "configurations again."
        )
    if wanted is not None and not 1 <= wanted <= array.shape[0]:
        raise ValueError(
            f"num_configurations is {wanted}, but the file {path} has {array.shape[0]} rows: give a "
            "number up to that, or leave it out."
        )
    return array.shape[0] if wanted is None else wanted


def _lattice_shape(path: str, array: Rows, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    """The lattice of a row.

    Raises:
        ValueError: it is not of one or two dimensions, or has not as many sites as wanted.
    """
    given = tuple(int(side) for side in array.shape[1:])
    if math.prod(given) == 1:
        raise ValueError(
            f"The file {path} has the shape {tuple(array.shape)}, one value a row: give all sites of a "
            "configuration in one row, each a number of its own."
        )
    shape = given if wanted is None else tuple(wanted)
    if len(shape) not in (1, 2) or min(shape) < 1:
        culprit = f"The file {path} has the shape {tuple(array.shape)}" if wanted is None else "shape"
        raise ValueError(
            f"{culprit}{'' if wanted is None else f' is {shape}'}: give (M, sites) or (M, rows, "
            "columns), or set shape to one or two numbers of sites."
        )
    if math.prod(shape) != math.prod(given):
        raise ValueError(
            f"shape {shape} has {math.prod(shape)} sites, but a row of the file {path} has "
            f"{math.prod(given)} values: set shape to numbers with that product."
        )
    return shape
