"""Grey images from files."""

import glob
import importlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")
TIFF = SUFFIXES[:2]
SKIP = "remove it, or set bad_files to skip"
GREY = np.array([0.2125, 0.7154, 0.0721])
"""Luminance of red, green and blue (ITU-R BT.709)."""


def find_files(path: str) -> list[Path]:
    """Return the image files of a folder or a glob, sorted by the numbers in their names, or one file.

    Raises:
        ValueError: There are no images.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        # Some systems leave a hidden file beside each file.
        images = [file for file in place.iterdir() if not file.name.startswith(".")]
        images = [file for file in images if file.suffix.lower() in SUFFIXES]
        kinds = ", ".join(SUFFIXES)
        missing = f"The folder {path} has no images: pass one with files that end in {kinds}."
    elif place.is_file():
        images = [place]
        if place.suffix.lower() not in SUFFIXES:
            raise ValueError(
                f"The file {path} ends in {place.suffix!r}, which is not a supported image format: "
                "convert it to .tif or .png."
            )
    else:
        images = [Path(name) for name in glob.glob(str(place), recursive=True)]
        images = [file for file in images if file.suffix.lower() in SUFFIXES]
        missing = (
            f"There is no image at {path} (seen from {Path.cwd()}): pass a file, a folder or a glob "
            "like 'images/*.tif'."
        )
    if not images:
        raise ValueError(missing)
    return sorted(images, key=natural)


def natural(path: Path) -> list[tuple[int, str | int]]:
    """Return a sort key that puts image10 after image9."""
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(part)) if part.isdigit() else (0, part) for part in parts]


@dataclass(frozen=True)
class Page:
    """One image in a file.

    Args:
        file: Image file.
        number: Number of the page in the file, from 0.
    """

    file: Path
    number: int

    def __str__(self) -> str:
        return f"{self.file}" + (f", page {self.number + 1}" if self.number else "")

    def read(self) -> np.ndarray:
        """Read the grey image `(rows, columns)` in the type of the file; colours become luminance.

        Raises:
            ValueError: The page cannot be read, is not an image, or has values that are not finite.
        """
        try:
            image = self._decode()
        except (MemoryError, MissingExtraError):
            raise
        except Exception as error:  # decoders raise all kinds of exceptions on damaged files
            raise ValueError(f"{unreadable(self, error)}: {SKIP}.") from None
        grey = to_grey(image)
        if grey is None:
            raise ValueError(
                f"The image {self} has the shape {image.shape}, neither grey nor RGB: convert it."
            )
        if grey.dtype.kind not in "uif" or not np.isfinite(grey).all():
            raise ValueError(f"The image {self} has values that are not finite numbers: {SKIP}.")
        return grey

    def _decode(self) -> np.ndarray:
        if self.file.suffix.lower() in TIFF:
            tifffile = extra("tifffile")
            with tifffile.TiffFile(self.file) as tiff:
                image: np.ndarray = tiff.pages[self.number].asarray()
                return image
        content = BytesIO(self.file.read_bytes())  # decoders do not close a file that they cannot read
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn about metadata
            decoded: np.ndarray = extra("skimage.io").imread(content)
            return decoded


class MissingExtraError(ValueError):
    """A package of the extra ``images`` is not installed."""


def unreadable(image: object, error: Exception) -> str:
    """Return the beginning of a message about an image that a decoder rejected."""
    words = re.sub(r" `<[^>]*>`*", "", " ".join(str(error).split())) or type(error).__name__
    return f"The image {image} cannot be read ({words[:100]})"


def extra(name: str):  # type: ignore[no-untyped-def]  # a module
    """Import a module of the extra ``images``.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Images need the package {name.partition('.')[0]}, which is not installed: "
            "pip install 'lightdan[images]'."
        ) from error


def to_grey(image: np.ndarray) -> np.ndarray | None:
    """Return the luminance of a grey or colour image, with or without alpha; None if it is neither."""
    image = image.squeeze()
    if image.dtype == bool:
        image = image.astype(np.uint8)
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[-1] > 4 and image.shape[0] <= 4:
        image = np.moveaxis(image, 0, -1)  # one plane per colour
    if image.ndim == 3 and image.shape[-1] == 2:
        grey: np.ndarray = image[..., 0]
        return grey
    if image.ndim == 3 and image.shape[-1] in (3, 4):
        mixed: np.ndarray = (image[..., :3] @ GREY).astype(np.float32)
        return mixed
    return None


def pages(files: list[Path], skip: bool) -> Iterator[Page]:
    """Yield all pages of the files in order.

    Args:
        files: Image files.
        skip: Whether to skip a file that cannot be opened, with a warning.

    Raises:
        ValueError: A file cannot be opened, and ``skip`` is false.
    """
    for file in files:
        number = 1
        if file.suffix.lower() in TIFF:
            try:
                with extra("tifffile").TiffFile(file) as tiff:
                    number = len(tiff.pages)
                if not number:
                    raise ValueError("no pages")
            except MissingExtraError:
                raise
            except Exception as error:
                if not skip:
                    raise ValueError(f"{unreadable(file, error)}: {SKIP}.") from None
                warnings.warn(f"{unreadable(file, error)}; it is skipped.", stacklevel=2)
                continue
        yield from (Page(file, page) for page in range(number))
