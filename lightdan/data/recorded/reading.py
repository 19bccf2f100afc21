"""Configurations of a file as they are meant: columns left out, axes and lines put in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightdan.data.recorded.columns import column_of, refuse_odd, without_columns
from lightdan.data.recorded.layouts import (
    ask_about_axes,
    ask_about_lines,
    is_packed,
    move_axis,
    refuse_one_hot,
    refuse_positions,
    regroup,
    without_single_axes,
)
from lightdan.data.rows import LabelledRows, Rows
from lightdan.data.values.phases import angles_of


@dataclass(frozen=True)
class Reading:
    """Options that say how a file is meant.

    Args:
        exclude: Names or numbers of columns that are no sites. An empty list says that all others are.
        axis: Axis of the configurations; if it is not given, it is the first unless that is in doubt.
        shape: Numbers of sites along the axes, if rows have another shape.
        grouped: Whether the first axis may count temperatures.
    """

    exclude: Sequence[int | str] | None = None
    axis: int | None = None
    shape: Sequence[int] | None = None
    grouped: bool = False

    def of(
        self, path: str, rows: Rows, columns: Mapping[str, int | str]
    ) -> tuple[LabelledRows, dict[str, np.ndarray]]:
        """Return configurations `(M, ...)`, and the columns that options name.

        Args:
            path: File, for messages.
            rows: Array in the file.
            columns: Name or number of a column for each option.

        Raises:
            ValueError: Two readings of the file are possible; the message has the options that choose
                between them. Or an option does not fit the file.
        """
        shape = self.shape
        if not rows.shape:
            raise ValueError(
                f"The file {path} holds a single number: write one configuration per row, (M, sites)."
            )
        if self.axis is not None:
            rows = move_axis(path, rows, self.axis)
        rows = without_single_axes(rows) if len(rows.shape) > 3 and not self.grouped else rows
        rows, of_angles = angles_of(path, rows, ask=shape is None or len(rows.shape) > 1 + len(shape))
        rows, taken = self._take_columns(path, rows, columns)
        labelled = rows if isinstance(rows, LabelledRows) else LabelledRows(rows)
        notes = [*labelled.notes, *([of_angles] if of_angles else [])]
        if labelled.block and shape is None and labelled.block == labelled.shape[-1]:
            shape = (labelled.block,) * 2
        if shape is not None:
            rows, note = regroup(path, rows, shape, grouped=self.grouped)
            notes += [note] if note else []
        else:
            refuse_one_hot(path, rows)
            ask_about_lines(path, rows)
            if self.axis is None and not self.grouped:
                ask_about_axes(path, rows)
        array = rows.array if isinstance(rows, LabelledRows) else rows
        return LabelledRows(array, names=labelled.names, notes=tuple(notes)), taken

    def _take_columns(
        self, path: str, rows: Rows, columns: Mapping[str, int | str]
    ) -> tuple[Rows, dict[str, np.ndarray]]:
        """Return the table without the columns that are no sites, and the columns that options name.

        Raises:
            ValueError: A column does not exist, seems to be no site, or holds words.
        """
        numbers = {option: column_of(path, rows, name, option) for option, name in columns.items()}
        left_out = [column_of(path, rows, name, "exclude") for name in self.exclude or ()]
        taken = {option: np.asarray(rows[:])[:, number] for option, number in numbers.items()}
        if len(rows.shape) != 2:
            return rows, taken
        rows = without_columns(rows, sorted({*numbers.values(), *left_out}))
        if not rows.shape[1]:
            raise ValueError(f"All columns of the file {path} are left out: exclude fewer of them.")
        if self.exclude is None and not numbers:
            refuse_positions(path, rows)
        words = rows.words if isinstance(rows, LabelledRows) else ()
        # Bytes of packed bits may differ from column to column.
        packed = self.shape is not None and is_packed(rows, self.shape)
        if words or (self.exclude is None and not packed):
            refuse_odd(path, rows)
        return rows, taken
