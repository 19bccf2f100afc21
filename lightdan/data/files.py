"""Files that appear whole or not at all, directories for them, and locks."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Rename a file written in the block to its final name, or remove it if the block fails.

    A reader sees the former content or the new one, never a part, even if the process is killed.

    Args:
        path: Final name of the file; its directory exists.

    Yields:
        Hidden name in the same directory that the block writes to. It ends in ``.tmp``, so pass the
        format to writers that would take it from the name.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text, in UTF-8, to a file that appears whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(text.encode())


@contextmanager
def locked(path: Path, seconds: float = -1) -> Iterator[None]:
    """Hold a lock in the block, and leave no file of it.

    The file is removed while the lock is held. A process that waits for it notices, and makes a new one.

    Args:
        path: File of the lock.
        seconds: Time to wait for another process, −1 without end.

    Raises:
        filelock.Timeout: Another process holds the lock.
    """
    with FileLock(path, timeout=seconds):
        try:
            yield
        finally:
            with suppress(OSError):  # some systems remove it at the release
                path.unlink()


def disk_is_full(error: OSError) -> bool:
    """Return whether a file cannot be written because a disk or a quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)  # of HDF5


def check_writable(directory: Path, option: str) -> None:
    """Make a directory for later output.

    Args:
        directory: Directory, which may exist.
        option: Name of the option that sets another one, for the message.

    Raises:
        ValueError: The directory cannot be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        writable = os.access(directory, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise ValueError(f"The directory {directory} cannot be written: set {option} to another one.")
