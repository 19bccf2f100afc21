"""Memory that is left, and files that would need more of it than there is."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

GROUPS = {
    "": ("", "memory.max", "memory.current", "inactive_file"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Folder and files of the control groups of Linux, versions 2 and 1, by the name of the controller."""
OWN_GROUPS, ALL_GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
"""File with the control groups of this process, and folder of all of them."""
DENSEST = 500
"""Largest number of bytes that one byte of a compressed file of configurations stands for."""
LONG = 10**9
"""Number of bytes that take long to read."""


class RefusedError(ValueError):
    """A file is refused before it is read."""


def available_memory() -> int:
    """Return the number of bytes that this process can still take.

    It is what the machine has left, or less if a control group, as of a batch system or a container, or
    a limit of the process allows less.
    """
    return max(0, min([sys.maxsize, *_left()]))


def check_memory(what: str, num_bytes: int, remedy: str) -> None:
    """Raise RefusedError if there is less memory left than something needs.

    Args:
        what: Beginning of the sentence, like "The array 'x' in spins.npz".
        num_bytes: Number of bytes.
        remedy: End of the sentence.
    """
    if num_bytes > (left := available_memory()):
        raise RefusedError(
            f"{what} needs {in_words(num_bytes)} of memory, but {in_words(left)} are left: {remedy}."
        )


def check_unpacked(what: str, num_bytes: int, stored: int, remedy: str) -> None:
    """Raise RefusedError if a long array is so uniform, or so empty, that it holds no configurations.

    Args:
        what: Beginning of the sentence, like "The array 'x' in spins.h5".
        num_bytes: Number of bytes of the array.
        stored: Number of bytes that it takes on disk.
        remedy: End of the sentence.
    """
    if num_bytes > LONG and num_bytes >= DENSEST * stored:
        raise RefusedError(
            f"{what} is {in_words(num_bytes)} long but takes {in_words(stored)} on disk, less than "
            f"configurations do: {remedy}."
        )


def most_unpacked(stored: int) -> int:
    """Return the size beyond which `check_unpacked` or `check_memory` refuses a file in any case."""
    return min(available_memory(), max(LONG, DENSEST * stored))


def stored_bytes(path: Path) -> int:
    """Return the number of bytes that a file takes on disk, without its holes."""
    status = path.stat()
    blocks = getattr(status, "st_blocks", None)
    if blocks is None or DENSEST * 512 * blocks > status.st_size:
        return status.st_size if blocks is None else blocks * 512
    # Some file systems count blocks late, or never.
    size = place = 0
    with path.open("rb") as file:
        while place < status.st_size:
            try:
                start = os.lseek(file.fileno(), place, os.SEEK_DATA)
            except OSError:  # only holes are left
                break
            place = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            size += place - start
    return size


def in_words(num_bytes: int) -> str:
    """Return a number of bytes in kB, MB, GB or TB."""
    size, units = float(num_bytes), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"


def _left() -> Iterator[int]:
    """Yield the number of bytes that each limit leaves."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        yield int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        if hasattr(os, "sysconf"):
            yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield from _left_in_groups()
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError):
        return
    if limit != resource.RLIM_INFINITY:
        yield limit - used


def _left_in_groups() -> Iterator[int]:
    """Yield the number of bytes that each control group of this process leaves."""
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for name in set(controllers.split(",")) & GROUPS.keys():
            folder, limit, usage, cached = GROUPS[name]
            root = ALL_GROUPS / folder
            group = root / path.lstrip("/")
            for place in (group, *group.parents):
                if place != root and root not in place.parents:
                    break
                try:
                    total = int((place / limit).read_text())  # the word max where there is none
                    used = int((place / usage).read_text())
                    statistics = dict(map(str.split, (place / "memory.stat").read_text().splitlines()))
                    used -= int(statistics.get(cached, 0))  # which the system gives back
                except (OSError, ValueError):
                    continue
                yield total - used
