"""Steps from a microscope image to spins, in one figure."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lightdan.measurements.base import Measurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import MODEL, panels
from lightdan.measurements.report import Result
from lightdan.systems.kerr_images import KerrImages


class ImageSteps(Measurement):
    """Steps from the first image to spins: raw, without background, averaged over sites, and spins.

    Estimates are the numbers of the film, from whole images: `film_area_fraction`,
    `film_correlation_length`, `film_domain_period`, widths and more, lengths in the unit of `site_size`.
    The figure marks one patch.
    """

    name = "image_steps"

    def measure(self, ensemble: Ensemble) -> Result:
        """Return the estimates of the images, and the figure."""
        system = ensemble.system
        if not isinstance(system, KerrImages):
            raise NotMeasurable(f"{type(system).__name__} has no images.")
        stack = system.stack
        page = stack.usable[0]
        arrays = {
            "image": stack.image(page),
            "flat": stack.flat(page),
            "sites": stack.coarse(page),
            "texture": system.textures[0],
        }
        figure = self.figure(arrays, system.lattice_shape, stack.thresholds)
        estimates = {f"film_{name}": estimate for name, estimate in system.summary.items()}
        note = f"Lengths of the film are in {system.unit}, a site being {system.site:.4g} {system.unit}."
        return Result(estimates, arrays, figure, notes=[note])

    @staticmethod
    def figure(
        arrays: dict[str, np.ndarray], patch: tuple[int, ...], thresholds: np.ndarray | None
    ) -> Figure:
        """Plot the four images, and the histogram of the grey values of the sites."""
        figure, row = panels(5)
        labels = ("image", "without background", "mean per site", "spins")
        for axes, label, image in zip(row, labels, arrays.values(), strict=False):
            low, high = np.nanquantile(image, [0.005, 0.995])
            axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(label)
        row[3].add_patch(Rectangle((-0.5, -0.5), patch[1], patch[0], fill=False, ec=MODEL))
        row[4].hist(arrays["sites"].ravel(), 80, color="0.5")
        for threshold in () if thresholds is None else thresholds:
            row[4].axvline(threshold, color=MODEL, lw=1)
        row[4].set(xlabel="grey value per site", yticks=[])
        return figure
