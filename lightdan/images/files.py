"""Image files, and the images in them."""

import glob
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightdan.data.memory import RefusedError
from lightdan.images.extras import MissingExtraError
from lightdan.images.formats import FORMATS, UNCHOSEN, AmbiguousError, Choice, to_grey

SKIP = "remove it, or set bad_files to skip"
CONVERT = "to .tif, with the program that wrote it, or with Gwyddion or ImageJ"


def find_files(path: str) -> list[Path]:
    """Return the image files of a folder or a glob, sorted by the numbers in their names, or one file.

    Raises:
        ValueError: There are no images.
    """
    place = Path(path).expanduser()
    if place.is_file():
        if place.suffix.lower() not in FORMATS:
            raise ValueError(
                f"The file {path} ends in {place.suffix!r}, which is not a supported image format: "
                f"convert it {CONVERT}."
            )
        return [place]
    # Some systems leave a hidden file beside each file.
    found = place.iterdir() if place.is_dir() else map(Path, glob.glob(str(place), recursive=True))
    files = [file for file in found if not file.name.startswith(".")]
    images = [file for file in files if file.suffix.lower() in FORMATS]
    if images:
        return sorted(images, key=natural)
    others = Counter(file.suffix for file in files if file.suffix).most_common(1)
    if others:
        ends, number = others[0]
        raise ValueError(
            f"{path} has no images, but {number} files that end in {ends}: convert them {CONVERT}."
        )
    if place.is_dir():
        kinds = ", ".join(FORMATS)
        raise ValueError(f"The folder {path} has no images: pass one with files that end in {kinds}.")
    raise ValueError(
        f"There is no image at {path} (seen from {Path.cwd()}): pass a file, a folder or a glob like "
        "'images/*.tif'."
    )


def natural(path: Path) -> list[tuple[int, str | int]]:
    """Return a sort key that puts image10 after image9."""
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(part)) if part.isdigit() else (0, part) for part in parts]


@dataclass(frozen=True)
class Page:
    """One image in a file.

    Args:
        file: Image file.
        number: Number of the image in the file, from 0.
        choice: Kind of images to take from the file.
    """

    file: Path
    number: int
    choice: Choice = UNCHOSEN

    def __str__(self) -> str:
        return f"{self.file}" + (f", page {self.number + 1}" if self.number else "")

    def read(self) -> np.ndarray:
        """Read the grey image `(rows, columns)` in the type of the file; colours become luminance.

        Raises:
            ValueError: The page cannot be read, is not an image, or has no finite values.
        """
        try:
            image = FORMATS[self.file.suffix.lower()].read(self.file, self.number, self.choice)
        except (MemoryError, MissingExtraError, AmbiguousError, RefusedError):
            raise
        except Exception as error:  # decoders raise all kinds of exceptions on damaged files
            raise ValueError(f"{unreadable(self, error)}: {SKIP}.") from None
        grey = to_grey(image, self.choice.channel)
        if grey is None and min(image.shape) == 1:
            raise ValueError(f"The image {self} is a line of {image.size} pixels: {SKIP}.")
        if grey is None:
            raise ValueError(
                f"The image {self} has the shape {image.shape}, neither grey nor RGB: convert it."
            )
        if grey.dtype.kind not in "uif":
            raise ValueError(f"The image {self} has values of {grey.dtype}, not real numbers: {SKIP}.")
        if not np.isfinite(grey).any():
            raise ValueError(f"The image {self} has no values that are finite numbers: {SKIP}.")
        return grey


def unreadable(image: object, error: Exception) -> str:
    """Return the beginning of a message about an image that a decoder rejected."""
    words = re.sub(r" `<[^>]*>`*", "", " ".join(str(error).split())) or type(error).__name__
    return f"The image {image} cannot be read ({words[:100]})"


def pages(files: list[Path], skip: bool, choice: Choice = UNCHOSEN) -> Iterator[Page]:
    """Yield all images of the files in order.

    Args:
        files: Image files.
        skip: Whether to skip a file that cannot be opened, with a warning.
        choice: Kind of images to take from the files.

    Raises:
        ValueError: A file cannot be opened, and ``skip`` is false.
    """
    for file in files:
        try:
            number = FORMATS[file.suffix.lower()].count(file, choice)
        except (MissingExtraError, AmbiguousError):
            raise
        except Exception as error:
            if not skip:
                raise ValueError(f"{unreadable(file, error)}: {SKIP}.") from None
            warnings.warn(f"{unreadable(file, error)}; it is skipped.", stacklevel=2)
            continue
        yield from (Page(file, page, choice) for page in range(number))
