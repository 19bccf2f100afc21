"""Monte-Carlo simulations and exact solutions on plain numpy arrays."""

import atexit
import os
import shutil
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


def place_compiled_code(*kept: Path) -> None:
    """Set a temporary directory for compiled code if none of those where numba keeps it can be written.

    numba refuses to compile without one. A `UserWarning` says so.
    """
    if "NUMBA_CACHE_DIR" in os.environ or any(map(can_write, kept)):
        return
    directory = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = directory
    warnings.warn(
        f"Neither {' nor '.join(map(str, kept))} can be written, so that compiled code is not kept: set "
        "the environment variable NUMBA_CACHE_DIR to a directory.",
        stacklevel=2,
    )


place_compiled_code(Path(__file__).parent / "__pycache__", user_cache_path("numba"))
