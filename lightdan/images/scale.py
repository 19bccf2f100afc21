"""Sizes of pixels and sites."""

import math
import re
from pathlib import Path
from typing import Any

from lightdan.images.extras import MissingExtraError, extra
from lightdan.images.files import find_files
from lightdan.images.formats import FORMATS, MICROMETRES, TIFF, UNCHOSEN, Choice

SAME = 1e-2
"""Relative difference up to which pixels have the same size."""


def pixel_size(file: Path, choice: Choice = UNCHOSEN) -> float | None:
    """Return the side of a pixel in µm from the metadata of TIFF files and scans.

    The result is None if the file has no pixel size, or cannot be read; reading the image then fails
    with a message.
    """
    kind = FORMATS[file.suffix.lower()]
    try:
        if kind.pixel is not None:
            return kind.pixel(file, choice)
        if kind is not TIFF:
            return None
        with extra("tifffile").TiffFile(file) as tiff:
            return _pixel_size(tiff)
    except MissingExtraError:
        raise
    except Exception:  # decoders raise all kinds of exceptions on damaged files
        return None


def _pixel_size(tiff: Any) -> float | None:
    if tiff.ome_metadata:
        size = re.search(r'PhysicalSizeX="([\d.eE+-]+)"', tiff.ome_metadata)
        unit = re.search(r'PhysicalSizeXUnit="([^"]+)"', tiff.ome_metadata)
        if size:
            return float(size[1]) * MICROMETRES.get(unit[1] if unit else "µm", math.nan)
    tags = tiff.pages[0].tags
    if "XResolution" not in tags:
        return None
    pixels, length = tags["XResolution"].value
    side: float = length / pixels
    unit_name = (tiff.imagej_metadata or {}).get("unit")
    if unit_name in MICROMETRES:
        return side * MICROMETRES[unit_name]
    # 72 or 300 per inch belong to a screen or a printer, not to the object.
    if int(tags["ResolutionUnit"].value) == 3 and side * 1e4 < 100:
        return side * 1e4
    return None


def _common(files: list[Path], choice: Choice) -> float | None:
    """Return the side of a pixel that all files tell, or None if the first one does not tell it.

    Raises:
        ValueError: Other files tell another one.
    """
    first = pixel_size(files[0], choice)
    for file in files[1:] if first is not None and math.isfinite(first) else ():
        other = pixel_size(file, choice)
        if other is not None and not math.isclose(other, first or 0.0, rel_tol=SAME):
            raise ValueError(
                f"A pixel is {first:.4g} µm wide in {files[0]}, but {other:.4g} µm in {file}: use "
                "images of one magnification, or set pixel_size."
            )
    return first


def site_scale(
    path: str, pixel: float | None, site: float | None, choice: Choice = UNCHOSEN
) -> tuple[float, float, str]:
    """Return the number of pixels per site along an axis, the side of a site, and its unit.

    Args:
        path: Path of the images; their metadata may contain the size of a pixel.
        pixel: Side of a pixel in µm; by default from the metadata.
        site: Side of a site in µm, or in pixels if the size of a pixel is unknown.
        choice: Kind of images to take from the files.

    Raises:
        ValueError: A site is smaller than a pixel, or the files have pixels of different sizes.
    """
    known = pixel or _common(find_files(path), choice)
    if known is None or not (known > 0 and math.isfinite(known)):
        known = None
    size, unit = (1.0, "px") if known is None else (known, "µm")
    side = site or size
    if side < size * (1 - 1e-9):
        raise ValueError(
            f"site_size {side:g} {unit} is smaller than a pixel, {size:g} {unit}: set it larger."
        )
    return max(1.0, side / size), side, unit
