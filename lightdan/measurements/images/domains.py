"""Domains in model samples and in held-out configurations."""

import numpy as np
from matplotlib.figure import Figure

from lightdan.images import domains
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate, jackknife, mean

SHOWN = 8
"""Number of configurations of each in the figure."""


class Domains(SampledMeasurement):
    """Area and perimeter of domains, which are connected sites of one value.

    Estimates from model samples; the references are the same quantities of held-out data:

    - `domain_area`: number of sites over number of domains.
    - `wall_length`: bonds between different values per site, half the perimeter of all domains.
    - `area_fraction`: fraction of sites with the largest value.

    The figure shows eight configurations of each.
    """

    name = "domains"

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure areas and perimeters."""
        system = ensemble.system
        if system.site_kind not in ("spin", "level") or len(system.lattice_shape) != 2:
            raise NotMeasurable("Domains need spins or levels on a two-dimensional lattice.")
        samples = ensemble.samples(self.num_samples, self.seed).configurations
        by_source = []
        rows = [x[: self.num_samples].cpu().numpy() for x in (samples, ensemble.configurations)]
        for configurations, blocks in zip(
            rows, (None, ensemble.blocks.first(self.num_samples)), strict=True
        ):
            number, walls = domains.domains(configurations)
            top = configurations == max(system.levels)
            estimates: dict[str, Estimate] = {
                "domain_area": jackknife(lambda n: 1 / n, number, blocks=blocks),
                "wall_length": mean(walls, blocks=blocks),
                "area_fraction": mean(top.mean((1, 2)), blocks=blocks),
            }
            by_source.append(estimates)
        shown = {
            name: x[:: max(1, len(x) // SHOWN)][:SHOWN]
            for name, x in zip(("model", "data"), rows, strict=True)
        }
        return Result(by_source[0], shown, self.figure(shown, system.levels), by_source[1])

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], levels: tuple[int, ...]) -> Figure:
        """Plot configurations of the data above those of the model."""
        figure = Figure(figsize=(7.0, 2.1), layout="constrained")
        panels = figure.subplots(2, SHOWN, squeeze=False)
        for row, name in zip(panels, ("data", "model"), strict=True):
            for axes in row:
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set(color="0.7", linewidth=0.5)
            for axes, image in zip(row, arrays[name], strict=False):
                axes.imshow(
                    image, cmap="gray", vmin=min(levels), vmax=max(levels), interpolation="nearest"
                )
            row[0].set_title(name, loc="left", fontsize=9)
        return figure
