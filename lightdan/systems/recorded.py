"""A user's own configurations, read from a file."""

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from lightdan.data.formats.readers import MAPPED
from lightdan.data.inspection.conditions import inspect_samples
from lightdan.data.inspection.inspection import BRIEF_VALUES, Finding, Sites, brief
from lightdan.data.recorded.consecutive import check_consecutive
from lightdan.data.recorded.drifts import Drift
from lightdan.data.recorded.groups import (
    MOST_COMBINATIONS,
    Group,
    groups_of,
    in_words,
    series_at,
    split_groups,
)
from lightdan.data.recorded.recording import Correlation, Recording, recognise, share_within
from lightdan.data.recorded.temperatures import open_recorded
from lightdan.data.rows import Rows
from lightdan.data.samples import Samples
from lightdan.data.seen import identity, spread
from lightdan.data.splits import SPLITS
from lightdan.data.weights import collapse as collapse_rows
from lightdan.data.weights import unless_equal
from lightdan.interactions.stationarity import MOST_ROWS, MOST_SITES, drift_of_couplings
from lightdan.lattices import groups
from lightdan.lattices.bravais import lattice_of_array
from lightdan.lattices.shapes import check_shape
from lightdan.statistics import is_correlated
from lightdan.systems.base import System


class Recorded(System):
    """Configurations in a file, whose Hamiltonian H = −T ln p is learned.

    The kind of values is recognised. Two values are spins, the larger one up; up to 16 integers, or 256
    values that repeat, are levels; reals that fill [0, 2π) are angles.

    A report is printed when training begins: kind of values, number of repeated rows and
    autocorrelation along the file. Correlated rows are split by blocks.

    Args:
        path: File of shape (M, sites) or (M, rows, columns): .npy, .npz, .h5, .mat, .pt, .zarr, .csv,
            .txt, .dat, .parquet, .arrow or .fasta. It is never unpickled, so no code in it can run.
            Several files, in a list or by a pattern with ``*``, are joined.
        values: Kind of values, if it should not be recognised: ``spin`` (two values), ``level`` (few
            values), ``angle`` (radians, taken modulo 2π), ``degrees`` or ``real``.
        boundary: Boundary of the lattice: ``open``, ``window`` (cut out of a larger one), or
            ``periodic``, the only one with translations.
        dataset: Name of the array in an .npz, .h5, .mat, .pt or .zarr file with several; a pattern with
            ``*`` joins arrays.
        temperature: Temperature T in units of J (k_B = 1), by default 1. A list has one number for each
            file, array, index of the first axis, or row, or for equal consecutive parts. A name stands
            for one number for each row, like that of weights (``column 0`` is the first one of a
            table). ``*`` stands for the number at the ``*`` of a pattern, and ``T=*`` for that after
            ``T=`` in the names of files and arrays.
        controls: Other conditions that differ from row to row, like a field or a rate, by name. Each is
            given like a temperature. The network sees them all. An empty dictionary says that numbers
            named like a field are none.
        shape: Numbers of sites, to reshape each row into a ring or a rectangle. Rows that are lines of
            a lattice, single values or packed bits are put together.
        num_configurations: Number of rows at each temperature, from the first; all by default.
        weights: Weight of each row: name of an array in the same file, name or number of a column of a
            table (−1 is the last), or path of another file. Whole numbers are counts: a count of n is n
            independent rows. Otherwise each row is one observation, and errors follow (Σw)²/Σw².
        collapse: Whether equal rows become one with a count. Rows are then taken as independent.
        exclude: Names or numbers of columns that are no sites, like an energy. An empty list says that
            all columns are sites.
        axis: Axis of the configurations, −1 for the last; by default the first, unless that is in doubt.
        lattice: Lattice of the sites; by default a line or a rectangle. ``hypercubic`` has three axes or
            more. The last axis of ``honeycomb`` and ``kagome`` is the sites of a cell; the other name is
            ``triangular``. A graph is the path of a list of bonds (.txt, .csv, .npy) with two sites in
            each line, counted from 0.
        kwargs: Further arguments of `System`: batch_size, splits, seed, max_memory_gb (only .npy, .h5,
            .pt and .zarr files are not read whole in any case).

    Raises:
        ValueError: The file cannot be read, or its values are not configurations of the kind; the
            message names the file, the first bad row and value, and the remedy.
    """

    def __init__(
        self,
        path: list[str] | str,
        values: Literal["auto", "spin", "level", "angle", "degrees", "real"] = "auto",
        boundary: Literal["open", "periodic", "window"] = "open",
        dataset: str | None = None,
        temperature: float | list[float] | str | None = None,
        controls: dict[str, list[float] | str] | None = None,
        shape: tuple[int, ...] | None = None,
        num_configurations: int | None = None,
        weights: int | str | None = None,
        collapse: bool = False,
        exclude: list[int | str] | None = None,
        axis: int | None = None,
        lattice: str | None = None,
        **kwargs: Any,
    ) -> None:
        if lattice is not None and shape is not None:
            shape = lattice_of_array(lattice, shape, boundary, cells=True).shape
        opened = open_recorded(path, dataset, weights, temperature, shape, exclude, axis, controls)
        array, name = opened.array, opened.name
        _check_rows(name, array)
        super().__init__(**kwargs)
        self._groups = groups_of(opened, num_configurations, self.splits[2])
        sizes = Counter[float]()
        for group in self._groups:
            sizes[group.temperature] += len(group.rows)
        self.temperatures, self.num_configurations = [*sizes], max(sizes.values())
        end = 1 + max(int(group.rows[-1]) for group in self._groups)
        self._weights = None if opened.weights is None else unless_equal(opened.weights[:end])
        self._origin, self._consecutive = opened.origin, opened.consecutive
        self._suffix = opened.suffix
        self.control_names = tuple(controls or ())
        self._controls = None if opened.controls is None else torch.from_numpy(opened.controls[:end])
        if boundary not in ("open", "periodic", "window"):
            raise ValueError(f"boundary must be 'open', 'periodic' or 'window', not {boundary!r}.")
        self.path = name
        self.boundary = boundary
        if lattice is None:
            self.lattice_shape = _lattice_shape(name, array, shape)
        else:
            row = tuple(int(side) for side in array.shape[1:]) if shape is None else shape
            told = f"The shape of a row of the file {name}" if shape is None else "shape"
            self.lattice = lattice_of_array(lattice, row, boundary, told)
            self.lattice_shape, self.boundary = self.lattice.shape, self.lattice.boundary
            _check_sites(name, array, self.lattice_shape)
        self.collapse = collapse
        if collapse and self._weights is not None and self._weights.is_floating_point():
            raise ValueError(
                f"collapse needs counts, but the weights of {name} are not whole numbers: set it to "
                "false."
            )
        if collapse and self.control_names:
            raise ValueError("collapse would join rows with different controls: set it to false.")
        form = recognise(name, array, self.lattice_shape, end, values, opened.names)
        self._notes = opened.notes
        self.level_names = tuple(opened.names[level] for level in form.levels) if opened.names else ()
        self._recording: Recording | None = Recording(array, self.lattice_shape, form)
        self._form = form
        self.findings: list[Finding] = []
        self.site_kind, self.levels = form.site_kind, form.levels
        self.level_values, self.clock = form.level_values, form.clock
        self.symmetries = groups.spatial_operations(self.lattice)
        if self.site_kind == "angle":
            self.symmetries = (*groups.SPIN_OPERATIONS, *self.symmetries)
        elif self.levels and self.levels == tuple(-level for level in reversed(self.levels)):
            self.symmetries = ("z2", *self.symmetries)
        if collapse and not self.in_memory:
            raise ValueError(
                f"collapse needs all configurations of {name} in memory: raise max_memory_gb."
            )

    @property
    def bytes_per_value(self) -> int:
        """Bytes of a value in memory."""
        return self._form.dtype.itemsize

    @property
    def sites(self) -> Sites:
        """Kind and place of the sites."""
        plain = self.lattice.is_hypercubic and len(self.lattice_shape) <= 2
        lattice = self.lattice_shape, self.boundary, plain
        return Sites(self.site_kind, self.levels, *lattice, self.level_names)

    def prepare_data(self) -> None:
        """Do nothing, because the data exist."""

    def load(self) -> Samples:
        """Read the file, split its rows and print a report.

        A `UserWarning` names the effective number of configurations if rows are correlated.
        """
        # The array of a text file is in memory, and should not stay there beside its conversion.
        recording, self._recording = self._recording, None
        assert recording is not None
        rows = [group.rows for group in self._groups]
        configurations, correlations = recording.read(
            rows, f"Reading {self.path}", in_memory=self.in_memory
        )
        if len(correlations) == 1 and correlations[0].duplicates == correlations[0].num - 1 > 0:
            raise ValueError(
                f"All {correlations[0].num} rows of the file {self.path} are the same, from which "
                "nothing can be learned: use configurations that differ."
            )
        if self._consecutive:
            series = series_at(self._groups, [each.observables for each in correlations])
            check_consecutive(series, self.path)
        if self._controls is not None and self._groups[0].controls is None:
            controls = self._controls.numpy()
            correlations = [
                each.given(controls[part], self.control_names)
                for part, each in zip(rows, correlations, strict=True)
            ]
        elif self._weights is None or self._weights.is_floating_point():
            correlations = [
                each.drifting(self._drift_of_couplings(configurations, part, each))
                for part, each in zip(rows, correlations, strict=True)
            ]
        weights = self._weights
        if self.collapse:
            assert isinstance(configurations, torch.Tensor)
            configurations, weights, rows = collapse_rows(configurations, weights, rows)
        names = [in_words(group, self.control_names) for group in self._groups]
        samples = split_groups(
            configurations,
            [group._replace(rows=part) for group, part in zip(self._groups, rows, strict=True)],
            [each.reach for each in correlations],
            self.splits,
            self.seed,
            weights,
            None if self._controls is None else self._controls.to(torch.get_default_dtype()),
            names if len(names) > 1 else None,
        )
        if not samples.has_counts:
            samples.doubts = [
                f"At {name}: {doubt}" if len(names) > 1 else doubt
                for name, each in zip(names, correlations, strict=True)
                for doubt in each.doubts
            ]
        samples.sources = [[identity(recording.array)]]
        self._report(samples, correlations)
        self._inspect(samples)
        return samples

    def _drift_of_couplings(
        self, configurations: Rows | torch.Tensor, rows: np.ndarray, correlation: Correlation
    ) -> list[Drift]:
        """Return the drift of couplings along some rows, unless they are interleaved chains.

        Many groups share the sites that it is told from.
        """
        if correlation.equilibrium.period is not None:
            return []
        some = np.asarray(configurations[spread(rows, MOST_ROWS)])
        num = max(8, MOST_SITES // len(self._groups))
        return drift_of_couplings(some, self.site_kind, self.levels, self.lattice, num)

    @rank_zero_only
    def _inspect(self, samples: Samples) -> None:
        self.findings = inspect_samples(samples, self.sites, BRIEF_VALUES, self.control_names)
        print("\n".join(brief(self.findings)), end="\n" if self.findings else "")

    @rank_zero_only
    def _report(self, samples: Samples, correlations: Sequence[Correlation]) -> None:
        num = sum(each.num for each in correlations)
        size = f"{num * self.num_sites * self.bytes_per_value / 1e6:.3g} MB"
        if self.in_memory:
            size += " in memory"
        elif self._suffix in MAPPED:
            size += ", read from disk batch by batch"
        else:
            size += (
                f" once converted; {self._suffix} files cannot be memory-mapped, so the whole file is "
                "loaded. Convert it to .npy to read batches from disk."
            )
        sites = " × ".join(map(str, self.lattice_shape))
        print(
            f"{self.path}: {num} configurations of {sites} sites, {self.boundary} boundary, {size}\n"
            + "".join(f"  {note}\n" for note in self._notes)
            + f"  values: {self._form.description}\n"
            f"  rows that repeat an earlier one: {sum(each.duplicates for each in correlations)}"
        )
        if len(self.temperatures) > 1:
            parts = "equal consecutive parts of the rows" if self._consecutive else self._origin
            print(f"  temperatures: {len(self.temperatures)}, from the {parts}")
        columns = samples.train_controls().T if self.control_names else ()
        found = {
            name: column.unique().tolist()
            for name, column in zip(self.control_names, columns, strict=True)
        }
        few = {name for name, values in found.items() if len(values) <= MOST_COMBINATIONS}
        for name, values in found.items():
            told = f"from {values[0]:g} to {values[-1]:g} in the training rows, measured together"
            if samples.parts:
                told = f"{len(values)} values from {values[0]:g} to {values[-1]:g}, measured one by one"
            elif name in few and len(few) < len(found):
                told = (
                    f"{len(values)} values {told}, because other controls have many: for measurements "
                    "at each value, write a file for each"
                )
            print(f"  control {name}: {told}")
        if samples.row_weights is not None:
            worth = sum(map(samples.observations_in, SPLITS))
            if samples.has_counts:
                different = samples.configurations.shape[0]
                print(f"  counts: {different} rows are {worth:.0f} configurations, taken as independent")
                return
            print(f"  weights: worth {worth:.0f} configurations of equal weight")
        for group, correlation in zip(self._groups, correlations, strict=True):
            self._report_correlation(samples, group, correlation)

    def _report_correlation(self, samples: Samples, group: Group, correlation: Correlation) -> None:
        where = f" at {in_words(group, self.control_names)}" if len(self._groups) > 1 else ""
        varying = self.control_names and group.controls is None
        told = correlation.in_words(" beside the controls" if varying else "")
        effective = correlation.effective_num
        series = told
        if samples.row_weights is None:
            num = f"{correlation.num} are " if where else ""
            series += f", so {num}{effective} effective configurations"
        print(f"  autocorrelation along the file{where}: {series}")
        print("".join(f"  {sentence}\n" for sentence in correlation.confounded), end="")
        for evidence in correlation.equilibrium.sentences:
            warnings.warn(f"{self.path}{where}: {evidence}", stacklevel=7)
        if is_correlated(correlation.tau):
            rows = torch.from_numpy(group.rows)
            part = samples if group.controls is None else samples.at(group.controls)
            train, test = (
                torch.searchsorted(rows, part.rows_of(split, group.temperature))
                for split in ("train", "test")
            )
            near = share_within(correlation.reach, test, train)
            warnings.warn(
                f"The rows of {self.path} are correlated{where}: the integrated autocorrelation time is "
                f"{told}, so {correlation.num} configurations are equivalent to "
                f"{effective} independent ones. They are split by contiguous blocks; "
                f"{100 * near:.0f} % of the test rows lie within that time of a training row.",
                stacklevel=7,
            )


def _check_rows(path: str, array: Rows) -> None:
    """Raise ValueError if the array has no rows of values."""
    if len(array.shape) < 2:
        raise ValueError(
            f"The file {path} has the shape {tuple(array.shape)}: write one configuration per row, "
            "(M, sites) or (M, rows, columns), or set shape to that of a lattice."
        )
    if 0 in array.shape:
        raise ValueError(
            f"The file {path} has the shape {tuple(array.shape)} and so no values: write the "
            "configurations again."
        )


def _lattice_shape(path: str, array: Rows, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of a configuration, by default that of a row.

    Raises:
        ValueError: The lattice has more than two axes, or the numbers of sites and values differ.
    """
    row = tuple(int(side) for side in array.shape[1:])
    if math.prod(row) == 1:
        raise ValueError(
            f"The file {path} has the shape {tuple(array.shape)}, one value per row: set shape to that "
            "of a lattice, so that its sites are taken from consecutive rows."
        )
    if shape is None and len(row) == 3 and array.shape[0] < row[0]:
        raise ValueError(
            f"The file {path} has the shape {tuple(array.shape)}, one axis more than rectangles "
            f"have: set temperature to a list of {array.shape[0]} numbers if the first axis counts "
            "temperatures, or shape to that of a lattice."
        )
    if shape is None and len(row) > 2:
        raise ValueError(
            f"The file {path} has the shape {tuple(array.shape)}, but lattices have one or two axes: "
            f"set shape to ({math.prod(row)},) if all values are sites, lattice to hypercubic if these "
            "are its axes, or save those that are sites, like array[..., 0]."
        )
    if shape is None:
        return check_shape(row, f"The shape of a row of the file {path} (set shape to change it)")
    _check_sites(path, array, shape)
    return check_shape(shape)


def _check_sites(path: str, array: Rows, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless a row has as many values as a lattice has sites."""
    num = math.prod(int(side) for side in array.shape[1:])
    if math.prod(shape) != num:
        raise ValueError(
            f"shape {shape} has {math.prod(shape)} sites, but a row of the file {path} has "
            f"{num} values: set shape to numbers with that product."
        )
