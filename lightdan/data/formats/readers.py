"""Readers of arrays in files of many formats; they never run code in a file."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lightdan.data.formats.arrays import npy, npz, npz_shapes, pt, pt_shapes
from lightdan.data.formats.common import kind_of
from lightdan.data.formats.hdf5 import hdf5, hdf5_shapes
from lightdan.data.formats.matlab import mat, mat_shapes
from lightdan.data.formats.tables import table
from lightdan.data.formats.text import fasta, text
from lightdan.data.formats.words import codes
from lightdan.data.formats.zarr_arrays import zarr, zarr_shapes
from lightdan.data.rows import Rows

MAPPED = (".npy", ".h5", ".hdf5", ".pt", ".zarr")
"""Formats whose rows are read from disk when they are needed."""

READERS: dict[str, Callable[[Path, str | None], Rows]] = {
    ".npy": npy,
    ".npz": npz,
    ".h5": hdf5,
    ".hdf5": hdf5,
    ".csv": text,
    ".txt": text,
    ".dat": text,
    ".tsv": text,
    ".pt": pt,
    ".mat": mat,
    ".parquet": table,
    ".arrow": table,
    ".feather": table,
    ".zarr": zarr,
    ".fasta": fasta,
    ".fa": fasta,
}

SHAPES: dict[str, Callable[[Path], dict[str, tuple[int, ...]]]] = {
    ".npz": npz_shapes,
    ".h5": hdf5_shapes,
    ".hdf5": hdf5_shapes,
    ".pt": pt_shapes,
    ".mat": mat_shapes,
    ".zarr": zarr_shapes,
}
"""Functions that return the shapes of the named arrays in a file."""

TABLES = (text, table)
"""Readers of tables, whose columns may have names."""
COMPRESSED = (npy, text, fasta)
"""Readers of files that may end in ``.gz``."""

POINTER = b"version https://git-lfs"
"""First bytes of a file whose data are elsewhere."""
STARTS = {b"\x93NUMPY": ".npy", b"\x89HDF": ".h5", b"PAR1": ".parquet", b"\x1f\x8b": ".gz"}
"""Formats by first bytes that no text has."""

REMEDIES = {
    ".pkl": "open it yourself and save the array with np.save, because pickles can run code",
    ".pickle": "open it yourself and save the array with np.save, because pickles can run code",
    ".joblib": "open it yourself and save the array with np.save, because pickles can run code",
    ".xlsx": "export the sheet as .csv",
    ".xls": "export the sheet as .csv",
    ".nc": "save the variable with np.save",
    ".root": "save the branch with np.save (uproot reads it)",
    ".bin": "read it with np.fromfile and save it with np.save",
    ".raw": "read it with np.fromfile and save it with np.save",
    ".json": "save the configurations with np.save",
    ".jsonl": "save the configurations with np.save",
    ".yaml": "save the configurations with np.save",
    ".ods": "export the sheet as .csv",
    ".sav": "export the table as .csv",
    ".dta": "export the table as .csv",
    ".db": "export the table as .csv",
    ".sqlite": "export the table as .csv",
    ".hdf": "let its name end in .h5 if it is HDF5 (version 4 is another format)",
    ".nwb": "let its name end in .h5, because it is HDF5",
    ".h5ad": "let its name end in .h5, because it is HDF5",
    ".fastq": "convert the sequences to .fasta",
    ".phy": "convert the alignment to .fasta",
    ".sto": "convert the alignment to .fasta",
    ".aln": "convert the alignment to .fasta",
    ".edf": "save the signals with np.save (mne reads them)",
    ".fits": "save the array with np.save (astropy reads it)",
    ".bz2": "unpack it",
    ".xz": "unpack it",
    ".zst": "unpack it",
    ".7z": "unpack it",
    ".zip": "unpack it",
    ".tar": "unpack it",
    ".rds": "write the matrix as .csv (write.csv with row.names = FALSE)",
    ".rdata": "write the matrix as .csv (write.csv with row.names = FALSE)",
    ".png": "use lightdan.KerrImages for images",
    ".tif": "use lightdan.KerrImages for images",
    ".tiff": "use lightdan.KerrImages for images",
}
"""Remedies for files of other formats."""


def open_array(path: str | Path, dataset: str | None = None) -> Rows:
    """Open the numeric array in a file; .npy, .h5, .pt and .zarr stay on disk until rows are read.

    Args:
        path: File whose name ends in one of `READERS`; text, .npy and .fasta may be compressed (.gz).
        dataset: Name of the array in a file with several.

    Raises:
        ValueError: The file does not exist or does not hold exactly one such array; the message names
            the file, the place and the remedy.
    """
    file, kind = checked_file(path)
    array = READERS[kind](file, dataset)
    if array.dtype.kind in "US" and array.shape:
        return codes(file, np.asarray(array[...]).astype(str))
    if array.dtype.kind not in "biufc":
        raise ValueError(
            f"The file {path} holds values of type {array.dtype}, not real numbers: save them as "
            "integers or floats."
        )
    return array


def arrays_in(path: str | Path) -> list[str]:
    """Return the names of the arrays of numbers in a file; files of one array have none.

    Raises:
        ValueError: The file cannot be read.
    """
    file, kind = checked_file(path)
    return list(SHAPES[kind](file)) if kind in SHAPES else []


def is_table(path: str | Path) -> bool:
    """Return whether the columns of a file may have names."""
    return READERS.get(kind_of(Path(path))) in TABLES


def checked_file(path: str | Path) -> tuple[Path, str]:
    """Return a file that can be opened, and the suffix that decides its format.

    Raises:
        ValueError: The file does not exist, is empty, may not be read, or has an unknown format.
    """
    file = Path(path).expanduser()
    kind = kind_of(file)
    if not file.exists() or (file.is_dir() and kind != ".zarr"):
        what = "is a directory" if file.is_dir() else "does not exist"
        raise ValueError(f"The file {path} {what} (seen from {Path.cwd()}): pass the path of a file.")
    compressed = file.suffix.lower() == ".gz"
    if kind not in READERS or (compressed and READERS[kind] not in COMPRESSED):
        formats = ", ".join(READERS)
        remedy = REMEDIES.get(
            kind, f"let its name end in .txt if it is text, or convert it to one of {formats}"
        )
        if compressed and kind in READERS:
            remedy = "unpack it with gunzip"
        ending = f"{kind}.gz" if compressed else kind
        raise ValueError(
            f"The file {path} ends in {ending or 'nothing'!r}, an unknown format: {remedy}."
        )
    if not os.access(file, os.R_OK):
        raise ValueError(f"The file {path} may not be read by this user: allow it (chmod u+r).")
    if file.is_file() and file.stat().st_size == 0:
        raise ValueError(f"The file {path} is empty (0 bytes): write the configurations again.")
    if file.is_file():
        with file.open("rb") as opened:
            start = opened.read(len(POINTER))
        if start == POINTER:
            raise ValueError(f"The file {path} only names data in Git LFS: fetch them (git lfs pull).")
        for mark, format in STARTS.items():
            if not compressed and READERS[kind] in (text, fasta) and start.startswith(mark):
                raise ValueError(
                    f"The file {path} begins like a {format} file: let its name end in {format}."
                )
    return file, kind
