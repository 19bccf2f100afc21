"""Monte-Carlo simulations and exact solutions on plain numpy arrays."""

import os
import tempfile
import warnings
from pathlib import Path

from platformdirs import user_cache_path


def can_write(directory: Path) -> bool:
    """Return whether files can be written to a directory, which is made if it is missing."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(4096))
    except OSError:
        return False
    return True


# numba refuses to compile if it finds no place for compiled code.
if "NUMBA_CACHE_DIR" not in os.environ:
    kept = (Path(__file__).parent / "__pycache__", user_cache_path("numba"))
    if not any(map(can_write, kept)):
        temporary = tempfile.TemporaryDirectory()
        os.environ["NUMBA_CACHE_DIR"] = temporary.name
        warnings.warn(
            f"Neither {kept[0]} nor {kept[1]} can be written, so that compiled code is not kept: set "
            "the environment variable NUMBA_CACHE_DIR to a directory.",
            stacklevel=1,
        )
