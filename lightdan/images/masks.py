"""Unmasked pixels and sites of images of one shape or several."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lightdan.images.files import Page
from lightdan.images.processing import Steps


@dataclass
class Masks:
    """Unmasked pixels and sites of the images of a stack.

    Masked are the pixels in `steps.masks`, and those without a finite value, like the borders of images
    that were turned or moved.

    Args:
        path: Path of the images, for messages.
        steps: Processing steps, of which crop, masks and zoom count.
    """

    path: str
    steps: Steps
    shapes: dict[Page, tuple[int, int]] = field(default_factory=dict)
    _holes: dict[Page, NDArray[np.bool_]] = field(default_factory=dict)
    _shared: dict[tuple[int, int], NDArray[np.bool_]] = field(default_factory=dict)
    _sites: dict[Page | tuple[int, int], NDArray[np.bool_]] = field(default_factory=dict)

    def add(self, page: Page, image: NDArray[np.number]) -> None:
        """Take note of the shape of an image, not yet cropped, and of its pixels without a value.

        Raises:
            ValueError: No pixel is left.
        """
        self.shapes[page] = image.shape[0], image.shape[1]
        cut = self.steps.cut(image)
        if cut.size == 0:
            raise ValueError(
                f"crop {list(self.steps.crop or ())} leaves nothing of an image of "
                f"{image.shape[0]} × {image.shape[1]} pixels: set another crop."
            )
        if cut.dtype.kind == "f" and not np.isfinite(cut).all():
            self._holes[page] = ~np.isfinite(cut)
        if not self.pixels(page).any():
            raise ValueError(f"masks leave nothing of the images of {self.path}: set smaller masks.")

    def pixels(self, page: Page) -> NDArray[np.bool_]:
        """Return the unmasked pixels of a cropped image `(rows, columns)`."""
        shape = self.shapes[page]
        if shape not in self._shared:
            self._shared[shape] = self.steps.valid(shape)
        valid = self._shared[shape]
        return valid & ~self._holes[page] if page in self._holes else valid

    def sites(self, page: Page) -> NDArray[np.bool_]:
        """Return the sites of an image without masked pixels `(rows, columns)`."""
        key = page if page in self._holes else self.shapes[page]
        if key not in self._sites:
            self._sites[key] = self.steps.coarsen(self.pixels(page).astype(np.float64)) > 1 - 1e-9
        return self._sites[key]

    def of_all(self, pages: list[Page]) -> NDArray[np.bool_]:
        """Return the unmasked sites of images that are padded to one shape `(M, rows, columns)`.

        If all have the same mask, it is in memory once.
        """
        first = self.sites(pages[0])
        if all(self.sites(page) is first for page in pages):
            return np.broadcast_to(first, (len(pages), *first.shape))
        return padded([self.sites(page) for page in pages], False)


def padded(images: list[NDArray], fill: int) -> NDArray:
    """Return images with rows below and columns to the right, so that all have one shape."""
    rows, columns = np.max([image.shape for image in images], axis=0)
    whole = np.full((len(images), rows, columns), fill, images[0].dtype)
    for index, image in enumerate(images):
        whole[index, : image.shape[0], : image.shape[1]] = image
    return whole


def filled(image: NDArray[np.number], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return an image with the median of the unmasked pixels where there is no finite value."""
    values = image.astype(np.float64)
    if image.dtype.kind != "f":
        return values
    missing = ~np.isfinite(values)
    if missing.any():
        values[missing] = np.median(values[valid])
    return values
