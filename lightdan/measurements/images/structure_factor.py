"""The structure factor of a texture: its peak, and whether a direction is preferred."""

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.images import texture
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate, jackknife, mean


class StructureFactor(SampledMeasurement):
    """S(k) = |Σ_x w_x (s_x − ⟨s⟩) e^{ikx}|²/Σ w² of model samples against held-out configurations.

    w is Hann's window, without which the edges of an open lattice look like structure. Estimates of
    the model, with those of the data for reference: `structure_factor_peak`, the |k| in radians a
    site at which S(k), averaged over directions, is largest; `structure_factor_width`, its half width at
    half maximum, and `domain_period`, 2π/k of it, both left out where S falls from the smallest k on;
    `anisotropy`, |Σ S e^{2iφ}|/Σ S of the direction φ of k; and `structure_factor_max_deviation`, the
    largest difference of S(k) from the data's, over the largest S. Errors by the jackknife.
    """

    name = "structure_factor"

    def measure(self, ensemble: Ensemble) -> Result:
        """Peak, width and anisotropy."""
        system = ensemble.system
        if (
            len(system.lattice_shape) != 2
            or min(system.lattice_shape) < 4
            or system.site_kind == "angle"
        ):
            raise NotMeasurable("S(k) needs spins, levels or fields on two axes of at least 4 sites")
        samples = ensemble.samples(self.num_samples, self.seed).configurations
        arrays: dict[str, np.ndarray] = {}
        found = []
        for source, configurations in (("model", samples), ("data", ensemble.configurations)):
            k, s, numbers = self.numbers(configurations[: self.num_samples])
            values, errors = np.array([mean(column) for column in s.T]).T
            arrays |= {"k": k, source: values, f"{source}_error": errors}
            found.append(numbers)
        estimates, reference = found
        worst = int(np.abs(arrays["model"] - arrays["data"]).argmax())
        error = math.hypot(arrays["model_error"][worst], arrays["data_error"][worst])
        highest = arrays["data"].max()
        estimates["structure_factor_max_deviation"] = Estimate(
            float(abs(arrays["model"] - arrays["data"])[worst] / highest), float(error / highest)
        )
        return Result(estimates, arrays, self.figure(arrays), reference)

    @staticmethod
    def numbers(configurations: Tensor) -> tuple[np.ndarray, np.ndarray, dict[str, Estimate]]:
        """K, S(k) of each configuration, and the estimates."""
        k, s, quadrupole = texture.structure_factor(configurations.cpu().numpy())
        peak = jackknife(lambda s: texture.peak(k, s)[0], s)
        found = {"anisotropy": jackknife(texture.anisotropy, quadrupole)}
        if math.isnan(texture.peak(k, s.mean(axis=0))[1]):
            return k, s, {"structure_factor_peak": Estimate(peak.value, float(k[1] - k[0]) / 2)} | found
        found["structure_factor_width"] = jackknife(lambda s: texture.peak(k, s)[1], s)
        found["domain_period"] = jackknife(lambda s: 2 * math.pi / texture.peak(k, s)[0], s)
        return k, s, {"structure_factor_peak": peak} | found

    @staticmethod
    def figure(arrays: dict[str, np.ndarray]) -> Figure:
        """S(k), linear and logarithmic."""
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
            axes.set(xlabel="$k$ (radians a site)", ylabel="$S(k)$")
        row[1].set_yscale("log")
        legends(row)
        return figure
