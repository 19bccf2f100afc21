"""Formats of image files: how many images a file has, and the values of each."""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightdan.data.memory import check_memory, check_unpacked
from lightdan.images.extras import extra

GREY = np.array([0.2125, 0.7154, 0.0721])
"""Luminance of red, green and blue (ITU-R BT.709)."""
PER_PIXEL = 16
"""Bytes that the analysis of an image takes per pixel, at least."""
MICROMETRES = {"micron": 1.0, "um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00B5m": 1.0, "nm": 1e-3, "mm": 1e3}
"""Units of length in metadata, in µm."""


class Choice(NamedTuple):
    """Images to take from a file that has several kinds of them.

    Args:
        channel: Number or name of the channel.
        axis: Axis along which the images lie: a number for arrays, ``z`` for focal planes, ``c`` for
            planes that look like channels.
    """

    channel: int | str | None = None
    axis: int | str | None = None


UNCHOSEN = Choice()
"""No choice, for files with one kind of images."""


class AmbiguousError(ValueError):
    """A file has several kinds of images, and an option chooses one."""


@dataclass(frozen=True)
class Format:
    """Reader of a file format.

    Args:
        count: Function that returns the number of images in a file.
        read: Function that returns an image, given its number.
        pixel: Function that returns the side of a pixel in µm, NaN if it is no length; or None.
    """

    count: Callable[[Path, Choice], int]
    read: Callable[[Path, int, Choice], np.ndarray]
    pixel: Callable[[Path, Choice], float] | None = None


def to_grey(image: np.ndarray, channel: int | str | None = None) -> np.ndarray | None:
    """Return one channel or the luminance of a grey or colour image; None if it is neither."""
    image = image.squeeze()
    if image.dtype == bool:
        image = image.astype(np.uint8)
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[-1] > 4 and image.shape[0] <= 4:
        image = np.moveaxis(image, 0, -1)  # one plane per colour
    if image.ndim != 3 or image.shape[-1] not in (2, 3, 4):
        return None
    if isinstance(channel, int) and 0 <= channel < image.shape[-1]:
        single: np.ndarray = image[..., channel]
        return single
    if image.shape[-1] == 2:  # grey with opacity
        grey: np.ndarray = image[..., 0]
        return grey
    mixed: np.ndarray = (image[..., :3] @ GREY).astype(np.float32)
    return mixed


def from_cmyk(inks: np.ndarray) -> np.ndarray:
    """Return red, green and blue of cyan, magenta, yellow and black."""
    largest = np.iinfo(inks.dtype).max
    light: np.ndarray = (largest - inks[..., :3].astype(np.float64)) * (1 - inks[..., 3:4] / largest)
    return light.astype(np.float32)


def picked(file: Path, names: list[str], channel: int | str | None, also: str = "") -> int:
    """Return the number of a channel.

    Raises:
        AmbiguousError: There are several channels and none, or an unknown one, was chosen.
    """
    if len(names) == 1 and channel is None:
        return 0
    if isinstance(channel, int) and 0 <= channel < len(names):
        return channel
    if channel in names:
        return names.index(str(channel))
    listed = ", ".join(f"{k} ({name})" if name else f"{k}" for k, name in enumerate(names))
    raise AmbiguousError(
        f"The file {file} has {len(names)} channels: set channel to one of {listed}{also}."
    )


def tiff_planes(file: Path, tiff: Any, choice: Choice) -> np.ndarray | None:
    """Return the numbers of the planes in a TIFF file that are images, or None for all of its pages.

    Channels beyond four, and slices of ImageJ without a spacing, are a series of images.

    Raises:
        AmbiguousError: The planes are channels or focal planes, and none were chosen.
    """
    if len(tiff.series) != 1:
        return None
    series, axis = tiff.series[0], str(choice.axis).lower()
    if series.axes == "SYX" and tiff.is_shaped:  # tifffile stores three or four images so, too
        axes, shape = "C", series.shape[:1]
    else:
        inner = sum(series.axes.endswith(last) * len(last) for last in ("YX", "YXS", "SYX"))
        axes, shape = series.axes[: series.ndim - inner], series.shape[: series.ndim - inner]
        if inner == 0 or prod(shape) not in (len(series.pages), len(tiff.pages)):
            return None
    planes = np.arange(prod(shape)).reshape(shape)
    lengths = dict(zip(axes, shape, strict=True))
    only = "spacing" in tiff.imagej_metadata if tiff.imagej_metadata else True
    if lengths.get("Z", 1) > 1 and only and axis != "z":
        raise AmbiguousError(
            f"The file {file} has {lengths['Z']} planes along z: set axis to z to take each as an "
            "image, or save the plane in focus as a file of its own."
        )
    if 1 < lengths.get("C", 1) <= 4 and axis != "c":
        channel = picked(
            file, [""] * lengths["C"], choice.channel, ", or axis to c for images of their own"
        )
        planes = planes.take(channel, axes.index("C"))
    return planes.ravel()


def count_tiff(file: Path, choice: Choice) -> int:
    """Return the number of images in a TIFF file."""
    with extra("tifffile").TiffFile(file) as tiff:
        planes = tiff_planes(file, tiff, choice)
        number = len(tiff.pages) if planes is None else len(planes)
        if not number:
            raise ValueError("no pages")
        return number


def read_tiff(file: Path, number: int, choice: Choice) -> np.ndarray:
    """Return an image in a TIFF file as its photometric interpretation shows it: large is bright."""
    with extra("tifffile").TiffFile(file) as tiff:
        planes = tiff_planes(file, tiff, choice)
        plane = number if planes is None else int(planes[number])
        if plane >= len(tiff.pages):  # several planes in one page, as ImageJ writes beyond 4 GB
            images = tiff.series[0].asarray(out="memmap")
            return np.array(images.reshape(-1, *images.shape[-2:])[plane])
        page = tiff.pages[plane]
        remedy = "crop it, or save it with fewer pixels"
        check_unpacked(f"The image {file}", page.nbytes, file.stat().st_size, remedy)
        check_memory(f"The image {file}", PER_PIXEL * page.size, remedy)
        image: np.ndarray = page.asarray()
        if planes is not None and tiff.series[0].axes == "SYX" and tiff.is_shaped:
            return image[plane]
        tags = page.keyframe  # pages like the first one have no tags of their own
        kind = tags.photometric.name if tags.photometric is not None else ""
        # tifffile calls all masks so, although their True is what is marked.
        marked = image.dtype == bool and tags.software.startswith("tifffile")
        if kind == "MINISWHITE" and not marked:
            return ~image if image.dtype.kind in "bu" else -image
        if kind == "PALETTE" and tags.colormap is not None:
            return np.moveaxis(tags.colormap[:, image], 0, -1)
        if kind == "SEPARATED" and image.dtype.kind == "u" and image.shape[-1] == 4:
            return from_cmyk(image)
        return image


def read_picture(file: Path, number: int, choice: Choice) -> np.ndarray:
    """Return the image in a PNG, JPEG or BMP file."""
    content = file.read_bytes()  # decoders do not close a file that they cannot read
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn about metadata
        with extra("PIL.Image").open(BytesIO(content)) as picture:
            if picture.format == "JPEG":  # a camera may have noted that it was turned
                upright = extra("PIL.ImageOps").exif_transpose(picture)
                return np.asarray(upright.convert("RGB") if picture.mode == "CMYK" else upright)
        image: np.ndarray = extra("skimage.io").imread(BytesIO(content))
        return image


def _array(file: Path, choice: Choice) -> np.ndarray:
    """Return the images of a .npy file along axis 0, still on disk."""
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if array.ndim == 2:
        return np.asarray(array[None])
    sides = " × ".join(map(str, array.shape))
    if array.ndim != 3:
        raise AmbiguousError(
            f"The array in {file} has the shape {sides}: save an array of (images, rows, columns)."
        )
    rows, columns, last = array.shape
    if choice.axis is None and last < min(rows, columns) / 2 and rows >= columns / 2:
        raise AmbiguousError(
            f"The array in {file} has the shape {sides}: set axis to 0, 1 or 2, along which images lie."
        )
    axis = 0 if choice.axis is None else choice.axis
    if axis not in (0, 1, 2):
        raise AmbiguousError(
            f"axis is {axis}, but {file} is an array of {sides}: set axis to 0, 1 or 2."
        )
    moved: np.ndarray = np.moveaxis(array, int(axis), 0)
    return moved


def _fields(file: Path, choice: Choice) -> tuple[np.ndarray, float]:
    """Return the image of a Gwyddion or Nanonis file, and the side of a pixel in metres."""
    if file.suffix.lower() == ".gwy":
        container = extra("gwyfile", "scanning").load(str(file))
        matches = [re.fullmatch(r"/(\d+)/data", key) for key in container]
        numbers = sorted(int(match[1]) for match in matches if match)
        titles = [str(container.get(f"/{k}/data/title", "")) for k in numbers]
        field = container[f"/{numbers[picked(file, titles, choice.channel)]}/data"]
        unit = field.si_unit_xy.unitstr if field.si_unit_xy is not None else ""
        return field.data, field.xreal / field.data.shape[1] if unit == "m" else np.nan
    scan = extra("nanonispy2.read", "scanning").Scan(str(file))
    names = list(scan.signals)
    image = scan.signals[names[picked(file, names, choice.channel)]]["forward"]
    width, pixels = float(scan.header["scan_range"][0]), image.shape[1]
    return image.astype(np.float32), width / pixels


def _micrographs(file: Path, choice: Choice) -> tuple[Any, float]:
    """Return the images of a Gatan file along axis 0, still on disk, and the side of a pixel in µm."""
    parts = extra("rsciio.digitalmicrograph", "scanning").file_reader(str(file), lazy=True)
    parts = [part for part in parts if part["data"].ndim in (2, 3) and part["data"].dtype.kind in "uif"]
    if not parts:
        raise ValueError("no images")
    titles = [str(part["metadata"].get("General", {}).get("title", "")) for part in parts]
    part = parts[picked(file, titles, choice.channel)]
    data, axis = part["data"], part["axes"][-1]
    side = float(axis["scale"]) * MICROMETRES.get(str(axis["units"]), np.nan)
    return data if data.ndim == 3 else data[None], side


PICTURE = Format(lambda file, choice: 1, read_picture)
TIFF = Format(count_tiff, read_tiff)
ARRAY = Format(
    lambda file, choice: len(_array(file, choice)),
    lambda file, number, choice: np.array(_array(file, choice)[number]),
)
SCAN = Format(
    lambda file, choice: int(_fields(file, choice)[0].ndim > 0),
    lambda file, number, choice: _fields(file, choice)[0],
    lambda file, choice: 1e6 * _fields(file, choice)[1],
)
MICROGRAPH = Format(
    lambda file, choice: len(_micrographs(file, choice)[0]),
    lambda file, number, choice: np.array(_micrographs(file, choice)[0][number]),
    lambda file, choice: _micrographs(file, choice)[1],
)
FORMATS = {
    ".tif": TIFF,
    ".tiff": TIFF,
    ".png": PICTURE,
    ".jpg": PICTURE,
    ".jpeg": PICTURE,
    ".bmp": PICTURE,
    ".npy": ARRAY,
    ".gwy": SCAN,
    ".sxm": SCAN,
    ".dm3": MICROGRAPH,
    ".dm4": MICROGRAPH,
}
"""Formats by the ends of file names."""
