"""Structure factor of a texture: peak, width and preferred direction."""

import math
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.images import structure_factor
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.measurements.table import Reference
from lightdan.statistics import Blocks, Bound, Estimate, jackknife, mean


class StructureFactor(SampledMeasurement):
    """Structure factor of model samples and held-out data: peak, width and anisotropy.

        S(k) = |Σ_x w_x (s_x − ⟨s⟩) e^{ikx}|²/Σ_x w_x²

    w is a Hann window, because the edges of an open lattice would otherwise look like structure.
    Estimates from model samples, with jackknife errors; the references are the same quantities of
    held-out data:

    - `structure_factor_peak`: |k|, in radians per site, of the largest S(k) averaged over directions.
    - `structure_factor_width`: half width at half maximum of the peak, in radians per site.
    - `domain_period`: 2π/|k| of the peak, in sites. Width and period are left out if S falls from the
      smallest k on.
    - `anisotropy`: |Σ S e^{2iφ}|/Σ S, with φ the direction of k.
    - `structure_factor_max_deviation`: largest difference of S(k) from the data over the largest S(k).
    """

    name = "structure_factor"

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure peak, width and anisotropy."""
        system = ensemble.system
        if (
            len(system.lattice_shape) != 2
            or min(system.lattice_shape) < 4
            or system.site_kind == "angle"
        ):
            raise NotMeasurable(
                "S(k) needs spins, levels or fields on a two-dimensional lattice of at least 4 × 4."
            )
        samples = ensemble.samples(self.num_samples, self.seed).configurations
        arrays: dict[str, np.ndarray] = {}
        by_source = []
        of_data = ensemble.blocks.first(self.num_samples)
        sources = (("model", samples, None), ("data", ensemble.configurations, of_data))
        for source, configurations, blocks in sources:
            k, s, numbers = self.numbers(configurations[: self.num_samples], blocks)
            values, errors = np.array([mean(column, blocks=blocks) for column in s.T]).T
            arrays |= {"k": k, source: values, f"{source}_error": errors}
            by_source.append(numbers)
        estimates = by_source[0]
        reference: dict[str, Reference] = {**by_source[1]}
        worst = int(np.abs(arrays["model"] - arrays["data"]).argmax())
        error = math.hypot(arrays["model_error"][worst], arrays["data_error"][worst])
        highest = arrays["data"].max()
        estimates["structure_factor_max_deviation"] = Estimate(
            float(abs(arrays["model"] - arrays["data"])[worst] / highest), float(error / highest)
        )
        reference["structure_factor_max_deviation"] = Bound(0.0, "≥")
        return Result(estimates, arrays, self.figure(arrays), reference)

    @staticmethod
    def numbers(
        configurations: Tensor, blocks: Blocks | None = None
    ) -> tuple[np.ndarray, np.ndarray, dict[str, Estimate]]:
        """Return k, S(k) of each configuration, and the estimates."""
        of = partial(jackknife, blocks=blocks)
        k, s, quadrupole = structure_factor.structure_factor(configurations.cpu().numpy())
        peak = of(lambda s: structure_factor.peak(k, s)[0], s)
        others = {"anisotropy": of(structure_factor.anisotropy, quadrupole)}
        if math.isnan(structure_factor.peak(k, s.mean(axis=0))[1]):
            return k, s, {"structure_factor_peak": Estimate(peak.value, float(k[1] - k[0]) / 2)} | others
        others["structure_factor_width"] = of(lambda s: structure_factor.peak(k, s)[1], s)
        others["domain_period"] = of(lambda s: 2 * math.pi / structure_factor.peak(k, s)[0], s)
        return k, s, {"structure_factor_peak": peak} | others

    @staticmethod
    def figure(arrays: dict[str, np.ndarray]) -> Figure:
        """Plot S(k) on a linear and on a logarithmic scale."""
        figure, row = panels(2)
        for axes in row:
            for source, colour, marker in (("model", MODEL, "o"), ("data", DATA, "s")):
                values, errors = arrays[source], arrays[f"{source}_error"]
                style: dict[str, Any] = {
                    "fmt": marker,
                    "ms": 3,
                    "mfc": "none",
                    "color": colour,
                    "label": source,
                }
                axes.errorbar(arrays["k"], values, errors, **style)
            axes.set(xlabel="$k$ (radians per site)", ylabel="$S(k)$")
        row[1].set_yscale("log")
        legends(row)
        return figure
