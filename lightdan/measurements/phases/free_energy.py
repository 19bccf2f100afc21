"""Thermodynamics of a network with temperature as input, and the transition without labels."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.interpolate import make_smoothing_spline
from torch import Tensor

from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import EXACT, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.measurements.table import Reference
from lightdan.progress import progress_bar
from lightdan.statistics import Bound, Estimate, jackknife

BOOTSTRAPS = 100
"""Number of bootstrap repetitions for the error of a peak."""
EXACT_NAMES = ("free_energy", "energy", "entropy", "specific_heat")


class FreeEnergy(SampledMeasurement):
    """F, E, S and C per site as functions of T, from one network p_θ(s, T).

    Estimates at each training temperature come from samples of the network and the derivative
    g = ∂ ln p_θ/∂β by autograd:

    - `entropy`: S = −⟨ln p_θ⟩;
    - `specific_heat`: C = −β ∂S/∂β = β Cov(ln p_θ, g);
    - `fisher_specific_heat`: β² ⟨g²⟩. For an exact network the Fisher information ⟨g²⟩ is Var(H), but
      the derivative of a network is less accurate than its value.

    Two more need a known Hamiltonian:

    - `free_energy`: F = ⟨H + T ln p_θ⟩, an upper bound;
    - `energy`: ∂(βF)/∂β = ⟨H⟩ + Cov(βH + ln p_θ, g). Its error is of second order in the error of p_θ,
      whereas the error of ⟨H⟩ is of first order.

    Curves at `num_temperatures` between the lowest and the highest T yield the peaks, by smoothing
    splines with bootstrap errors. `transition` and `fisher_transition` are the T of the largest C and
    Fisher specific heat; neither needs the energy or labels. `specific_heat_peak` is the T of the
    largest C = ∂E/∂T, and `free_energy_max_deviation` the largest deviation from the exact F.

    Args:
        num_samples: Number of samples of the network at each temperature.
        num_temperatures: Number of points of the curves, at least 6.
        kwargs: Arguments of `SampledMeasurement`: seed and every_n_epochs.

    Raises:
        ValueError: ``num_temperatures`` is below 6.
    """

    name = "free_energy"

    def __init__(self, num_samples: int = 2_000, num_temperatures: int = 41, **kwargs: object) -> None:
        super().__init__(num_samples=num_samples, **kwargs)  # type: ignore[arg-type]
        if num_temperatures < 6:
            raise ValueError(f"num_temperatures must be at least 6, not {num_temperatures}.")
        self.num_temperatures = num_temperatures

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure F, E, S and C at one temperature."""
        estimates = self.at(ensemble, ensemble.temperature)
        exact = exact_values(ensemble, ensemble.temperature)
        reference: dict[str, Reference] = {k: v for k, v in exact.items() if k in estimates}
        if "free_energy" in reference:
            reference["free_energy"] = Bound(exact["free_energy"], "≥")
        return Result(estimates, reference=reference)

    def survey(self, ensembles: Sequence[Ensemble]) -> Result:
        """Measure the curves between the temperatures and the peaks of C."""
        ensemble = ensembles[0]
        trained = [each.temperature for each in ensembles]
        temperatures = np.geomspace(min(trained), max(trained), self.num_temperatures)
        curves: dict[str, list[Estimate]] = {}
        exact: dict[str, list[float]] = {}
        with progress_bar("Between the temperatures", len(temperatures)) as advance:
            for temperature in temperatures.tolist():
                for name, estimate in self.at(ensemble, temperature).items():
                    curves.setdefault(name, []).append(estimate)
                for name, value in exact_values(ensemble, temperature).items():
                    exact.setdefault(name, []).append(value)
                advance(1)
        exact = {k: values for k, values in exact.items() if len(values) == len(temperatures)}
        arrays = {"temperature": temperatures} | {k: np.array(v) for k, v in curves.items()}
        arrays |= {f"{name}_exact": np.array(values) for name, values in exact.items()}
        rng = np.random.default_rng(self.seed)
        estimates = {
            "transition": peak(temperatures, arrays["specific_heat"], 0, rng),
            "fisher_transition": peak(temperatures, arrays["fisher_specific_heat"], 0, rng),
        }
        reference: dict[str, Reference] = {}
        if "energy" in arrays:
            estimates["specific_heat_peak"] = peak(temperatures, arrays["energy"], 1, rng)
        at_end = [name for name, estimate in estimates.items() if math.isinf(estimate.error)]
        notes = []
        if at_end:
            notes.append(
                f"The curves of {', '.join(at_end)} are largest at an end of the temperatures, so "
                "they show no peak: train at more temperatures."
            )
        if exact:
            heat = np.stack([exact["specific_heat"], np.zeros(len(temperatures))], 1)
            reference |= dict.fromkeys(estimates, peak(temperatures, heat, 0, rng).value)
            deviation = arrays["free_energy"][:, 0] - exact["free_energy"]
            worst = int(np.abs(deviation).argmax())
            estimates["free_energy_max_deviation"] = Estimate(
                float(deviation[worst]), float(arrays["free_energy"][worst, 1])
            )
            reference["free_energy_max_deviation"] = Bound(0.0, "≥")
        return Result(estimates, arrays, self.figure(arrays, trained), reference, notes=notes)

    def at(self, ensemble: Ensemble, temperature: float) -> dict[str, Estimate]:
        """Estimate F, E, S and C at any temperature.

        Raises:
            NotMeasurable: The temperature is not an input of the network.
        """
        model, system = ensemble.model, ensemble.system
        if not model.temperature_input:
            raise NotMeasurable(
                "The network needs the temperature as input: set model.temperature_input."
            )
        samples = model.sample(self.num_samples, self.seed, temperature)
        parts = [scores(ensemble, part, temperature) for part in samples.split(500)]
        log_prob, score = np.concatenate(parts, axis=1)
        beta, sites = 1 / temperature, system.num_sites
        centred = score - score.mean()

        def derivative(x: np.ndarray) -> tuple[np.ndarray, ...]:
            return x, centred, x * centred

        estimates = {
            "entropy": jackknife(lambda x: -x / sites, log_prob),
            "specific_heat": jackknife(
                lambda x, g, xg: beta * (xg - x * g) / sites, *derivative(log_prob)
            ),
            "fisher_specific_heat": jackknife(
                lambda g, gg: beta**2 * (gg - g * g) / sites, centred, centred**2
            ),
        }
        if system.has_energy:
            energy = system.energy(samples.double()).cpu().numpy()
            reduced = beta * energy + log_prob
            estimates["free_energy"] = jackknife(lambda x: temperature * x / sites, reduced)
            estimates["energy"] = jackknife(
                lambda e, x, g, xg: (e + xg - x * g) / sites, energy, *derivative(reduced)
            )
        return estimates

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], trained: Sequence[float]) -> Figure:
        """Draw F, E and C, or S and C, against T, with marks at the training temperatures."""
        shown = {
            name: text
            for name, text in {
                "free_energy": "$F/N$",
                "energy": "$E/N$",
                "entropy": "$S/N$",
                "specific_heat": "$C/N$",
            }.items()
            if name in arrays and (name != "entropy" or "energy" not in arrays)
        }
        figure, row = panels(len(shown))
        temperatures = arrays["temperature"]
        for axes, (name, text) in zip(row, shown.items(), strict=True):
            if f"{name}_exact" in arrays:
                axes.plot(temperatures, arrays[f"{name}_exact"], "-", lw=1, color=EXACT, label="exact")
            values, errors = arrays[name].T
            axes.errorbar(
                temperatures,
                values,
                errors,
                fmt="o",
                ms=2.5,
                mfc="none",
                lw=0.8,
                color=MODEL,
                label=r"$p_\theta$",
            )
            axes.plot(trained, np.full(len(trained), axes.get_ylim()[0]), "|", ms=8, color=EXACT)
            axes.set(xlabel="$T$", ylabel=text)
        legends(row)
        return figure


def scores(ensemble: Ensemble, samples: Tensor, temperature: float) -> np.ndarray:
    """Return ln p_θ and ∂ ln p_θ/∂β of configurations `(2, M)`."""
    # The trainer tests in inference mode, and autograd cannot use the tensors of that mode.
    with torch.inference_mode(False), torch.enable_grad():
        beta = torch.full((len(samples),), 1 / temperature, device=samples.device).requires_grad_()
        log_prob = ensemble.model.log_prob(samples.clone(), 1 / beta)
        (score,) = torch.autograd.grad(log_prob.sum(), beta)
        return torch.stack([log_prob.detach(), score]).double().cpu().numpy()


def exact_values(ensemble: Ensemble, temperature: float) -> dict[str, float]:
    """Return the exact F, E, S and C per site, or an empty dictionary if they are unknown."""
    exact = ensemble.system.exact_values(temperature)
    if "free_energy" not in exact:
        return {}
    entropy = (exact["energy"] - exact["free_energy"]) / temperature
    return {name: (exact | {"entropy": entropy})[name] for name in EXACT_NAMES}


def peak(temperatures: np.ndarray, curve: np.ndarray, order: int, rng: np.random.Generator) -> Estimate:
    """Return the T of the largest value of a curve or of its derivative, by a smoothing spline.

    The error comes from a parametric bootstrap; it is infinite at an end of the curve.

    Args:
        temperatures: Temperatures T `(K,)`, ascending.
        curve: Values and standard errors `(K, 2)`.
        order: Order of the derivative; 0 for the curve itself.
        rng: Generator of the bootstrap.
    """
    values, errors = curve.T
    fine = np.linspace(temperatures[0], temperatures[-1], 1001)
    weights = 1 / np.maximum(errors, 1e-9 * np.abs(values).max() + 1e-300) ** 2
    spline = make_smoothing_spline(temperatures, values, weights / weights.mean())

    def largest(spline: object) -> float:
        return float(fine[np.argmax(spline(fine, nu=order))])  # type: ignore[operator]

    place = largest(spline)
    if place in (fine[0], fine[-1]):
        return Estimate(place, np.inf)
    smooth = spline(temperatures)
    repetitions = [
        largest(
            make_smoothing_spline(
                temperatures, smooth + errors * rng.normal(size=len(errors)), weights / weights.mean()
            )
        )
        for _ in range(BOOTSTRAPS if errors.any() else 0)
    ]
    return Estimate(place, float(np.std(repetitions)) if repetitions else 0.0)
