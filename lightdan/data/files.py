"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
