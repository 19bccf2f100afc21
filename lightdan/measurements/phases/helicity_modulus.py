"""The helicity modulus of a system of angles, and the temperature of its universal jump."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate, mean, weakness, weighted_mean

NEIGHBOURS = 6
"""Number of temperatures about the crossing to which the parabola is fitted."""


class HelicityModulus(SampledMeasurement):
    """Helicity modulus Υ(T) and its crossing with 2T/π.

    The crossing locates the Kosterlitz–Thouless transition of the finite lattice. Estimates at each
    temperature are `helicity_modulus` of the model's samples, `helicity_modulus_data` of the held-out
    configurations, and `helicity_modulus_reweighted` of the samples with weights e^{−H/T}/p_θ.

    With several temperatures, `crossing`, `crossing_data` and `crossing_reweighted` are the T at which
    Υ = 2T/π, from a parabola through the six nearest temperatures. Their errors propagate the errors
    of Υ.

    References:
        D. Nelson and J. Kosterlitz, Phys. Rev. Lett. 39, 1201 (1977).
    """

    name = "helicity_modulus"

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure Υ of the model, the data and the reweighted samples."""
        function = ensemble.system.observables(ensemble.temperature).get("helicity_modulus")
        if function is None:
            name = type(ensemble.system).__name__
            raise NotMeasurable(
                f"{name} has no helicity modulus here: it is that of XY on hypercubic lattices."
            )
        samples = ensemble.samples(self.num_samples, self.seed)
        sampled, held_out = (
            function(configurations).double().cpu().numpy()
            for configurations in (samples.configurations, ensemble.configurations)
        )
        estimates = {
            "helicity_modulus": mean(sampled),
            "helicity_modulus_data": mean(held_out, blocks=ensemble.blocks),
            "helicity_modulus_reweighted": weighted_mean(sampled, samples.log_weights),
        }
        data = estimates["helicity_modulus_data"]
        reference = {name: data for name in estimates if name != "helicity_modulus_data"}
        result = Result(estimates, reference=reference, unlisted={"helicity_modulus_data"})
        result.withhold(["helicity_modulus_reweighted"], weakness(samples.log_weights))
        return result

    def compare(
        self, temperatures: Sequence[float], estimates: Sequence[Mapping[str, Estimate]]
    ) -> Result:
        """Compare the crossings of the model, the data and the reweighted samples."""
        arrays = {"temperature": np.array(temperatures)}
        crossings: dict[str, Estimate] = {}
        notes = []
        for name in estimates[0]:
            arrays[name] = np.array([point[name] for point in estimates])
            title = name.replace("helicity_modulus", "crossing")
            try:
                crossings[title] = crossing(arrays["temperature"], arrays[name], self.seed)
            except ValueError as error:
                notes.append(f"{title}: {error}")
        reference = {}
        if "crossing_data" in crossings:
            reference = {n: crossings["crossing_data"] for n in crossings if n != "crossing_data"}
        return Result(crossings, arrays, self.figure(arrays, crossings), reference, notes=notes)

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], estimates: dict[str, Estimate]) -> Figure:
        """Draw Υ(T) with 2T/π, and the deviation of the model from the data."""
        figure, (left, right) = panels(2)
        t = arrays["temperature"]
        for name, label, colour, marker in (
            ("helicity_modulus", r"$p_\theta$", MODEL, "o"),
            ("helicity_modulus_reweighted", "reweighted", EXACT, "^"),
            ("helicity_modulus_data", "data", DATA, "s"),
        ):
            values, errors = arrays[name].T
            style: dict[str, Any] = {"fmt": marker, "color": colour, "mfc": "none", "label": label}
            left.errorbar(t, values, errors, ms=4, **style)
            if name != "helicity_modulus_data":
                data, data_errors = arrays["helicity_modulus_data"].T
                right.errorbar(t, values - data, np.hypot(errors, data_errors), ms=4, **style)
        left.plot(t, 2 * t / np.pi, "-", lw=1, color=EXACT, label=r"$2T/\pi$")
        if "crossing" in estimates:
            value, error = estimates["crossing"]
            left.axvspan(value - error, value + error, color=MODEL, alpha=0.3, lw=0)
        left.set(xlabel="$T/J$", ylabel=r"$\Upsilon/J$")
        right.axhline(0, lw=1, color=DATA)
        right.set(xlabel="$T/J$", ylabel=r"$\Upsilon-\Upsilon_\mathrm{data}$")
        legends((left, right))
        return figure


def crossing(temperatures: np.ndarray, values: np.ndarray, seed: int = 0) -> Estimate:
    """Return the T at which Υ(T) − 2T/π changes sign.

    The error is the standard deviation over 200 repetitions with noise of the size of the errors.

    Args:
        temperatures: Temperatures `(K,)`, ascending.
        values: Υ and its standard errors `(K, 2)`.
        seed: Random seed of the noise.

    Raises:
        ValueError: The sign does not change, or an error is infinite.
    """
    if not np.isfinite(values).all():
        raise ValueError("Υ has no error at some of the temperatures.")
    excess, errors = values[:, 0] - 2 * temperatures / np.pi, values[:, 1]
    above = np.flatnonzero(excess > 0)
    if not len(above) or above[-1] + 1 == len(excess):
        raise ValueError("Υ and 2T/π do not cross between the lowest and the highest temperature.")
    last = above[-1]
    rough = np.interp(0, excess[[last + 1, last]], temperatures[[last + 1, last]])
    near = np.argsort(np.abs(temperatures - rough))[:NEIGHBOURS]
    x, y, weights = temperatures[near] - rough, excess[near], 1 / np.maximum(errors[near], 1e-12)

    def root(y: np.ndarray) -> float:
        roots = np.roots(np.polyfit(x, y, min(2, len(x) - 1), w=weights))
        return float(roots[np.abs(roots).argmin()].real)

    noise = np.random.default_rng(seed).normal(size=(200, len(y))) * errors[near]
    spread = np.std([root(y + row) for row in noise], ddof=1)
    return Estimate(rough + root(y), float(spread) if math.isfinite(spread) else math.inf)
