"""Masks of synthetic images by the default steps, beside the best of all Gaussian filters with Otsu.

Each film is known in every pixel. The table has the intersection over union (IoU) of the bright phase,
of the default and of the filter that is best for this image, and the separation of the phases.
"""

import argparse
import math
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage
from skimage.filters import threshold_otsu

from lightdan.images.microscope import Microscope
from lightdan.images.processing import Steps
from lightdan.images.stack import ImageStack

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import films

WIDTHS = (0.0, *np.geomspace(0.4, 8, 18))


def make_films(side):
    """Return the functions that draw the films, by name."""
    shape = (side, side)
    drawn = {}
    for period in (6, 10, 20, 40):
        drawn[f"labyrinth, period {period}"] = lambda rng, p=period: films.labyrinth(shape, p, rng)
        drawn[f"stripes, period {period}"] = lambda rng, p=period: films.stripes(shape, p, rng)
    drawn["labyrinth, period 20, 30 % bright"] = lambda rng: films.labyrinth(shape, 20, rng, 0.3)
    for period in (8, 12, 24):
        drawn[f"skyrmion lattice, period {period}"] = lambda rng, p=period: films.skyrmions(
            shape, p, rng
        )
    for diameter, share in ((8, 0.1), (16, 0.05), (16, 0.1), (30, 0.1)):
        name = f"bubbles, diameter {diameter}, {share:.0%}"
        drawn[name] = lambda rng, d=diameter, s=share: films.bubbles(shape, d, rng, s)
    return drawn


def iou(mask, truth):
    """Return the intersection over union of two masks."""
    return (mask & truth).sum() / max(1, (mask | truth).sum())


def best_recipe(image, truth):
    """Return the largest IoU of a Gaussian filter and Otsu after the division by the known light."""
    masks = []
    for width in WIDTHS:
        smooth = ndimage.gaussian_filter(image, width) if width else image
        masks.append(smooth > threshold_otsu(smooth, nbins=512))
    return max(iou(mask, truth) for mask in masks)


def default(image, folder):
    """Return the mask of the default steps, the separation and the filter; no mask if it is refused."""
    path = folder / "image.tif"
    tifffile.imwrite(path, image)
    stack = ImageStack(str(path), Steps())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mask = stack.read()[0] > 0
    except ValueError:
        return None, math.nan, math.nan
    return mask, stack.phases.separation, stack.steps.denoise


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--films", type=int, default=1, help="films of each kind")
    parser.add_argument("--snr", type=float, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    optics = {"pixels_per_site": 1, "contrast": 0.1, "blur": 1.0, "wall": 1.0, "dirt": 3}
    print("| film | SNR | best fixed | default | ratio | separation | filter |")
    print("|---|---|---|---|---|---|---|")
    ratios, refused = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for name, draw in make_films(arguments.side).items():
            for snr in arguments.snr:
                for seed in range(arguments.films):
                    film = draw(np.random.default_rng(seed))
                    microscope = Microscope(photons=(snr / optics["contrast"]) ** 2, **optics)
                    image = next(microscope.images(film[None], seed))
                    flat = Microscope(photons=0, **(optics | {"contrast": 0.0, "dirt": 0}))
                    light = next(flat.images(film[None]))
                    best = best_recipe(image / light, film > 0)
                    mask, apart, width = default(image, Path(folder))
                    if mask is None:
                        refused += 1
                        print(f"| {name} | {snr:g} | {best:.3f} | refused | | | |")
                        continue
                    found = iou(mask, film > 0)
                    ratio = found / best
                    ratios.append(ratio)
                    print(
                        f"| {name} | {snr:g} | {best:.3f} | {found:.3f} | {ratio:.3f} | {apart:.2f} "
                        f"| {width:.2g} |",
                        flush=True,
                    )
    print(
        f"\n{len(ratios)} images: ratio {np.mean(ratios):.3f} on average, {min(ratios):.3f} at least, "
        f"{np.mean(np.array(ratios) >= 0.95):.0%} at least 0.95; {refused} refused"
    )


if __name__ == "__main__":
    main()
