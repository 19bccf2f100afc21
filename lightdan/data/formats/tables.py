"""Tables of parquet, arrow and feather files."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lightdan.data.formats.common import choose, chosen, read_safely
from lightdan.data.formats.words import codes
from lightdan.data.memory import check_memory, check_unpacked
from lightdan.data.rows import LabelledRows, Rows

FEATHER_1 = b"FEA1"
"""First bytes of the first version of feather, which is not arrow."""


def table(path: Path, dataset: str | None) -> Rows:
    """Read a table with a column per site, or the one column that holds lists.

    Raises:
        ValueError: pyarrow is missing, or a value is missing in the table.
    """
    if find_spec("pyarrow") is None:
        raise ValueError(
            f"The package pyarrow is needed to read {path}: pip install 'lightdan[formats]'."
        )
    import pyarrow
    from pyarrow import feather, parquet

    def load() -> Any:
        if path.suffix.lower() == ".parquet":
            with parquet.ParquetFile(path) as file:
                groups = [file.metadata.row_group(k) for k in range(file.metadata.num_row_groups)]
                num = sum(g.column(k).num_values for g in groups for k in range(g.num_columns))
                _check_size(path, 8 * num)
            return parquet.read_table(path)
        with path.open("rb") as file:
            if file.read(len(FEATHER_1)) == FEATHER_1:
                return feather.read_table(path)
        with pyarrow.memory_map(str(path)) as source:
            try:
                reader = pyarrow.ipc.open_file(source)
                parts = map(reader.get_batch, range(reader.num_record_batches))
            except pyarrow.ArrowInvalid:
                source.seek(0)
                reader = parts = pyarrow.ipc.open_stream(source)
            batches, size = [], 0
            for batch in parts:  # the file does not declare how long the unpacked ones are
                batches.append(batch)
                size += batch.nbytes
                _check_size(path, size)
            return pyarrow.Table.from_batches(batches, reader.schema)

    content = read_safely(path, load)
    names = [name for name in content.column_names if not name.startswith("__index_level_")]
    for name in names:
        if content[name].null_count:
            row = content[name].is_null().to_pylist().index(True)
            raise ValueError(
                f"The file {path} has no value in row {row} of the column {name!r} (counted from 0): "
                "fill it or remove the row."
            )
    for name in names:
        if "binary" in str(content.schema.field(name).type):
            raise ValueError(
                f"The file {path} holds bytes in the column {name!r}: save lists of numbers instead."
            )
    lists = [name for name in names if _is_list(content.schema.field(name).type)]
    if lists:
        shapes = {name: (len(content), *_first_shape(content[name])) for name in lists}
        shapes |= {name: (len(content),) for name in names if name not in lists}
        name = choose(path, shapes, dataset)
        if name not in lists:
            return _column(content[name])
        return chosen(_listed(path, name, content[name].to_pylist()), name, shapes)
    if dataset is not None:
        choose(path, {name: (len(content),) for name in names}, dataset)
        return _column(content[dataset])
    columns = [_column(content[name]) for name in names]
    if not columns:
        raise ValueError(f"The file {path} has no column: save the configurations, a column per site.")
    words = [array.dtype.kind not in "biuf" for array in columns]
    if all(words):
        return codes(path, np.stack([array.astype(str) for array in columns], axis=1), tuple(names))
    numbers = [
        np.unique(array.astype(str), return_inverse=True)[1] if is_word else array
        for array, is_word in zip(columns, words, strict=True)
    ]
    of_words = tuple(column for column, is_word in enumerate(words) if is_word)
    return LabelledRows(np.stack(numbers, axis=1), columns=tuple(names), words=of_words)


def _check_size(path: Path, num_bytes: int) -> None:
    """Raise ValueError if the columns and the array of all of them do not fit into memory."""
    check_unpacked(f"The table in {path}", num_bytes, path.stat().st_size, "save it with np.save")
    check_memory(f"The table in {path}", 2 * num_bytes, "save it with np.save, so that it stays on disk")


def _column(column: Any) -> np.ndarray:
    return np.asarray(column.to_numpy())


def _is_list(kind: Any) -> bool:
    return "list" in str(kind).split("<")[0] or "tensor" in str(kind)


def _first_shape(column: Any) -> tuple[int, ...]:
    return np.shape(column[0].as_py()) if len(column) else ()


def _listed(path: Path, name: str, rows: list[Any]) -> np.ndarray:
    """Return lists of equal length as an array.

    Raises:
        ValueError: Two lists have different lengths.
    """
    shapes = [np.shape(row) for row in rows]
    for number, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(
                f"The file {path} has {shape} values in row {number} of {name!r} but {shapes[0]} in row "
                "0: write the same number of sites for every configuration."
            )
    return np.array(rows)
