"""Domains of model samples against those of held-out configurations, side by side."""

import numpy as np
from matplotlib.figure import Figure

from lightdan.images import texture
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate, jackknife, mean

SHOWN = 8


class Domains(SampledMeasurement):
    """Domains, connected sites of one value, in model samples and in held-out configurations.

    Estimates of the model, with those of the data for reference: `domain_area`, sites over
    domains; `wall_length`, bonds between different values a site, half the perimeter of all domains; and
    `area_fraction` of the largest value. The figure has eight configurations of each.
    """

    name = "domains"

    def measure(self, ensemble: Ensemble) -> Result:
        """Areas and perimeters."""
        system = ensemble.system
        if system.site_kind not in ("spin", "level") or len(system.lattice_shape) != 2:
            raise NotMeasurable("domains are those of spins or levels on two axes")
        samples = ensemble.samples(self.num_samples, self.seed).configurations
        found = []
        rows = [x[: self.num_samples].cpu().numpy() for x in (samples, ensemble.configurations)]
        for configurations in rows:
            number, walls = texture.domains(configurations)
            top = configurations == max(system.levels)
            estimates: dict[str, Estimate] = {
                "domain_area": jackknife(lambda n: 1 / n, number),
                "wall_length": mean(walls),
                "area_fraction": mean(top.mean((1, 2))),
            }
            found.append(estimates)
        shown = {
            name: x[:: max(1, len(x) // SHOWN)][:SHOWN]
            for name, x in zip(("model", "data"), rows, strict=True)
        }
        return Result(found[0], shown, self.figure(shown, system.levels), found[1])

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], levels: tuple[int, ...]) -> Figure:
        """The data's configurations above those of the model."""
        figure = Figure(figsize=(7.0, 2.1), layout="constrained")
        panels = figure.subplots(2, SHOWN, squeeze=False)
        for row, name in zip(panels, ("data", "model"), strict=True):
            for axes in row:
                axes.set_axis_off()
            for axes, image in zip(row, arrays[name], strict=False):
                axes.imshow(
                    image, cmap="gray", vmin=min(levels), vmax=max(levels), interpolation="nearest"
                )
            row[0].set_title(name, loc="left", fontsize=9)
        return figure
