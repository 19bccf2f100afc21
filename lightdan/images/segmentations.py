"""Images that are segmented already: masks, labels and maps of probability."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CLASSES = 16
"""Largest number of labels."""
ENDS = 0.1
"""Probabilities at most so far from 0 or 1 are at an end."""
DECIDED = 0.5
"""Smallest share of the pixels at the ends of a map of probability."""
ALIKE = 0.5
"""Smallest share of neighbouring pixels with the same label; counts of photons have less."""


@dataclass(frozen=True)
class Segmentation:
    """Meaning of the pixels of segmented images.

    Args:
        labels: Values of the pixels, ascending; empty for a map of the probability of the bright phase.
    """

    labels: tuple[float, ...]

    def __str__(self) -> str:
        if not self.labels:
            return "maps of a probability, cut at 0.5"
        *most, last = (f"{value:g}" for value in self.labels)
        return f"segmented already, with the values {', '.join(most)} and {last}"

    def classes(self, image: np.ndarray) -> np.ndarray:
        """Return the number of each pixel's class, from 0, or its probability.

        Raises:
            ValueError: The image has other values.
        """
        if not self.labels:
            if image.min() < 0 or image.max() > 1:
                raise ValueError(
                    f"has values from {image.min():g} to {image.max():g} beside probabilities"
                )
            return image.astype(np.float64)
        labels = np.array(self.labels)
        index = np.minimum(np.searchsorted(labels, image), len(labels) - 1)
        other = image[labels[index] != image]
        if len(other):
            raise ValueError(f"has the value {other[0]:g} beside {', '.join(f'{x:g}' for x in labels)}")
        return index.astype(np.float64)


def recognise(images: Sequence[np.ndarray]) -> Segmentation | None:
    """Return the meaning of images with two values, with labels 0 to k, or with probabilities.

    Returns:
        None for images of grey values.
    """
    values = np.unique(np.concatenate([np.unique(image)[: CLASSES + 1] for image in images]))
    if len(values) == 2:
        return Segmentation(tuple(values.tolist()))
    if len(values) <= CLASSES and np.array_equal(values, np.arange(len(values))) and len(values) > 2:
        alike = np.mean([(image[:, 1:] == image[:, :-1]).mean() for image in images])
        if alike >= ALIKE:
            return Segmentation(tuple(values.tolist()))
    if images[0].dtype.kind == "f" and all(image.min() >= 0 and image.max() <= 1 for image in images):
        pixels = np.concatenate([image.ravel() for image in images])
        ends = np.array([(pixels <= ENDS).mean(), (pixels >= 1 - ENDS).mean()])
        if ends.min() > 0 and ends.sum() >= DECIDED:
            return Segmentation(())
    return None
