"""A user's own configurations, read from a file."""

import math
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_only

from lightdan.data.inspection.inspection import (
    BRIEF_VALUES,
    Finding,
    Sites,
    brief,
    inspect_samples,
)
from lightdan.data.readers import MAPPED, open_array
from lightdan.data.recording import Correlation, Recording, recognise, share_within
from lightdan.data.rows import Rows
from lightdan.data.samples import Samples
from lightdan.data.splits import SPLITS
from lightdan.data.weights import collapse as collapse_rows
from lightdan.data.weights import open_weighted, unless_equal
from lightdan.lattices import groups
from lightdan.lattices.shapes import check_shape
from lightdan.systems.base import System


class Recorded(System):
    """Configurations in a file, whose Hamiltonian H = −T ln p is learned.

    The kind of values is recognised. Two values are spins, the larger one up; up to 16 integers are
    levels; reals that fill [0, 2π) are angles.

    A report is printed when training begins: kind of values, number of repeated rows and
    autocorrelation along the file. Correlated rows are split by blocks.

    Args:
        path: File that ends in .npy, .npz, .h5, .csv, .txt or .pt, of shape (M, sites) or
            (M, rows, columns). It is never unpickled, so no code in it can run.
        values: Kind of values, if it should not be recognised: ``spin`` (two values), ``level``
            (integers), ``angle`` (in [0, 2π)) or ``real``.
        boundary: Boundary of the lattice: ``open``, ``window`` (cut out of a larger one), or
            ``periodic``, the only one with translations.
        dataset: Name of the array in an .npz, .h5 or .pt file with several.
        shape: Numbers of sites, to reshape each row into a ring or a rectangle.
        num_configurations: Number of rows, from the first; all by default.
        weights: Weight of each row: name of an array in the same file, name or number of a column of a
            text file (−1 is the last), or path of another file. Whole numbers are counts: a count of n
            is n independent rows. Otherwise each row is one observation, and errors follow (Σw)²/Σw².
        collapse: Whether equal rows become one with a count. Rows are then taken as independent.
        kwargs: Further arguments of `System`: temperature (one number), batch_size, splits, seed,
            max_memory_gb (.npz, .csv and .txt files are read whole in any case).

    Raises:
        ValueError: The file cannot be read, or its values are not configurations of the kind; the
            message names the file, the first bad row and value, and the remedy.
    """

    def __init__(
        self,
        path: str,
        values: Literal["auto", "spin", "level", "angle", "real"] = "auto",
        boundary: Literal["open", "periodic", "window"] = "open",
        dataset: str | None = None,
        shape: tuple[int, ...] | None = None,
        num_configurations: int | None = None,
        weights: int | str | None = None,
        collapse: bool = False,
        **kwargs: Any,
    ) -> None:
        if weights is None:
            array, row_weights = open_array(path, dataset), None
        else:
            array, row_weights = open_weighted(path, dataset, weights)
        num = _num_rows(path, array, num_configurations)
        self._weights = None if row_weights is None else unless_equal(row_weights[:num])
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
        self.collapse = collapse
        if collapse and self._weights is not None and self._weights.is_floating_point():
            raise ValueError(
                f"collapse needs counts, but the weights of {path} are not whole numbers: set it to "
                "false."
            )
        form = recognise(path, array, self.lattice_shape, num, values)
        self._recording: Recording | None = Recording(array, self.lattice_shape, form)
        self._form = form
        self.findings: list[Finding] = []
        self.site_kind, self.levels = form.site_kind, form.levels
        self.symmetries = groups.spatial_operations(self.lattice_shape, boundary)
        if self.site_kind == "angle":
            self.symmetries = (*groups.SPIN_OPERATIONS, *self.symmetries)
        elif self.levels and self.levels == tuple(-level for level in reversed(self.levels)):
            self.symmetries = ("z2", *self.symmetries)
        if collapse and not self.in_memory:
            raise ValueError(
                f"collapse needs all configurations of {path} in memory: raise max_memory_gb."
            )

    @property
    def bytes_per_value(self) -> int:
        """Bytes of a value in memory."""
        return self._form.dtype.itemsize

    @property
    def sites(self) -> Sites:
        """Kind and place of the sites."""
        return Sites(self.site_kind, self.levels, self.lattice_shape, self.boundary)

    def prepare_data(self) -> None:
        """Do nothing, because the data exist."""

    def load(self) -> Samples:
        """Read the file, split its rows and print a report.

        A `UserWarning` names the effective number of configurations if rows are correlated.
        """
        # The array of a text file is in memory, and should not stay there beside its conversion.
        recording, self._recording = self._recording, None
        assert recording is not None
        configurations, correlation = recording.read(
            self.num_configurations, f"Reading {self.path}", in_memory=self.in_memory
        )
        weights, options = self._weights, (self.splits, self.seed)
        if self.collapse:
            assert isinstance(configurations, torch.Tensor)
            configurations, weights = collapse_rows(configurations, weights)
        (temperature,), tau = self.temperatures, correlation.reach
        if weights is None:
            num = self.num_configurations
            samples = Samples.split(configurations, [num], [temperature], [tau], *options)
        else:
            samples = Samples.weighted(configurations, weights, temperature, tau, *options)
        if not samples.has_counts:
            samples.doubts = correlation.equilibrium.sentences
        self._report(samples, correlation)
        self._inspect(samples)
        return samples

    @rank_zero_only
    def _inspect(self, samples: Samples) -> None:
        self.findings = inspect_samples(samples, self.sites, BRIEF_VALUES)
        print("\n".join(brief(self.findings)), end="\n" if self.findings else "")

    @rank_zero_only
    def _report(self, samples: Samples, correlation: Correlation) -> None:
        num, tau, effective = self.num_configurations, correlation.tau, correlation.effective_num
        suffix = Path(self.path).suffix.lower()
        size = f"{num * self.num_sites * self.bytes_per_value / 1e6:.3g} MB"
        if self.in_memory:
            size += " in memory"
        elif suffix in MAPPED:
            size += ", read from disk batch by batch"
        else:
            size += (
                f" once converted; {suffix} files cannot be memory-mapped, so the whole file is loaded. "
                "Convert it to .npy to read batches from disk."
            )
        sites = " × ".join(map(str, self.lattice_shape))
        print(
            f"{self.path}: {num} configurations of {sites} sites, {self.boundary} boundary, {size}\n"
            f"  values: {self._form.description}\n"
            f"  rows that repeat an earlier one: {correlation.duplicates}"
        )
        if samples.row_weights is not None:
            worth = sum(map(samples.observations_in, SPLITS))
            if samples.has_counts:
                different = samples.configurations.shape[0]
                print(f"  counts: {different} rows are {worth:.0f} configurations, taken as independent")
                return
            print(f"  weights: worth {worth:.0f} configurations of equal weight")
        period = correlation.equilibrium.period
        steps = "rows" if period is None else f"steps of {period} rows"
        series = f"{tau} {steps} ({correlation.slowest}; 0.5 is independent)"
        if samples.row_weights is None:
            series += f", so {effective} effective configurations"
        print(f"  autocorrelation along the file: {series}")
        for doubt in samples.doubts:
            warnings.warn(f"{self.path}: {doubt}", stacklevel=6)
        if tau.value - tau.error >= 1:
            near = share_within(correlation.reach, samples.indices["test"], samples.indices["train"])
            warnings.warn(
                f"The rows of {self.path} are correlated: the integrated autocorrelation time of the "
                f"{correlation.slowest} is {tau} {steps}, so {num} configurations are equivalent to "
                f"{effective} independent ones. They are split by contiguous blocks; {100 * near:.0f} % "
                "of the test rows lie within that time of a training row.",
                stacklevel=6,
            )


def _num_rows(path: str, array: Rows, num: int | None) -> int:
    """Return the number of rows to take; None takes all.

    Raises:
        ValueError: The array has no rows, or fewer than `num`.
    """
    if len(array.shape) < 2:
        raise ValueError(
            f"The file {path} has the shape {tuple(array.shape)}: write one configuration per row, "
            "(M, sites) or (M, rows, columns)."
        )
    if 0 in array.shape:
        raise ValueError(
            f"The file {path} has the shape {tuple(array.shape)} and so no values: write the "
            "configurations again."
        )
    if num is not None and not 1 <= num <= array.shape[0]:
        raise ValueError(
            f"num_configurations is {num}, but the file {path} has {array.shape[0]} rows: pass at most "
            "that number, or leave it out."
        )
    return array.shape[0] if num is None else num


def _lattice_shape(path: str, array: Rows, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of a configuration, by default that of a row.

    Raises:
        ValueError: The lattice has more than two axes, or the numbers of sites and values differ.
    """
    row = tuple(int(side) for side in array.shape[1:])
    if math.prod(row) == 1:
        raise ValueError(
            f"The file {path} has the shape {tuple(array.shape)}, one value per row: write all sites of "
            "a configuration in one row."
        )
    if shape is None:
        return check_shape(row, f"The shape of a row of the file {path} (set shape to change it)")
    if math.prod(shape) != math.prod(row):
        raise ValueError(
            f"shape {shape} has {math.prod(shape)} sites, but a row of the file {path} has "
            f"{math.prod(row)} values: set shape to numbers with that product."
        )
    return check_shape(shape)
