"""Thermodynamics of a network that sees the temperature, and the transition, found without labels."""

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
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate, jackknife

BOOTSTRAPS = 100
EXACT_NAMES = ("free_energy", "energy", "entropy", "specific_heat")


class FreeEnergy(SampledMeasurement):
    """F(T), E(T) = ∂(βF)/∂β, S(T) and C(T) of one network p_θ(s, T) for several temperatures.

    At each training temperature, a site, from samples of the network and the autograd derivative
    g = ∂ ln p_θ/∂β:

    - `entropy` S = −⟨ln p_θ⟩ and `specific_heat` C = −β ∂S/∂β = β Cov(ln p_θ, g), which need no energy;
    - `fisher_specific_heat` β² ⟨g²⟩: the Fisher information is Var(H) for an exact network; as the
      derivative of a network is less right than its value, it lags behind;
    - `free_energy` F = ⟨H + T ln p_θ⟩, never below the true one, and
      `energy` ∂(βF)/∂β = ⟨H⟩ + Cov(βH + ln p_θ, g), whose error is of second order in that of p_θ,
      unlike that of ⟨H⟩: where the Hamiltonian is known.

    And at `num_temperatures` between the lowest and the highest: the curves; `transition`, the T of the
    largest C, and `fisher_transition`, that of the largest Fisher specific heat, both from the network
    alone, without energy or labels; `specific_heat_peak`, that of C = ∂E/∂T; `free_energy_max_deviation`
    from the exact F. The curves are smoothing splines; the errors of the peaks are by bootstrap.

    Args:
        num_samples: Of the network at each temperature.
        num_temperatures: Of the curves.
        kwargs: Of `SampledMeasurement`: seed, every_n_epochs.

    Raises:
        ValueError: fewer than 6 temperatures for the curves.
    """

    name = "free_energy"

    def __init__(self, num_samples: int = 2_000, num_temperatures: int = 41, **kwargs: object) -> None:
        super().__init__(num_samples=num_samples, **kwargs)  # type: ignore[arg-type]
        if num_temperatures < 6:
            raise ValueError(f"num_temperatures must be at least 6, not {num_temperatures}.")
        self.num_temperatures = num_temperatures

    def measure(self, ensemble: Ensemble) -> Result:
        """F, E, S and C at one temperature."""
        estimates = self.at(ensemble, ensemble.temperature)
        exact = exact_values(ensemble, ensemble.temperature)
        return Result(estimates, reference={k: v for k, v in exact.items() if k in estimates})

    def survey(self, ensembles: Sequence[Ensemble]) -> Result:
        """The curves between the temperatures, and where C is largest."""
        ensemble = ensembles[0]
        own = [each.temperature for each in ensembles]
        temperatures = np.geomspace(min(own), max(own), self.num_temperatures)
        curves: dict[str, list[Estimate]] = {}
        exact: dict[str, list[float]] = {}
        with progress_bar("Between the temperatures", len(temperatures)) as advance:
            for temperature in temperatures.tolist():
                for name, estimate in self.at(ensemble, temperature).items():
                    curves.setdefault(name, []).append(estimate)
                for name, value in exact_values(ensemble, temperature).items():
                    exact.setdefault(name, []).append(value)
                advance(1)
        arrays = {"temperature": temperatures} | {k: np.array(v) for k, v in curves.items()}
        arrays |= {f"{name}_exact": np.array(values) for name, values in exact.items()}
        rng = np.random.default_rng(self.seed)
        estimates = {
            "transition": peak(temperatures, arrays["specific_heat"], 0, rng),
            "fisher_transition": peak(temperatures, arrays["fisher_specific_heat"], 0, rng),
        }
        reference: dict[str, float | Estimate] = {}
        if "energy" in arrays:
            estimates["specific_heat_peak"] = peak(temperatures, arrays["energy"], 1, rng)
        if exact:
            heat = np.stack([exact["specific_heat"], np.zeros(len(temperatures))], 1)
            reference = dict.fromkeys(estimates, peak(temperatures, heat, 0, rng).value)
            deviation = arrays["free_energy"][:, 0] - exact["free_energy"]
            worst = int(np.abs(deviation).argmax())
            estimates["free_energy_max_deviation"] = Estimate(
                float(deviation[worst]), float(arrays["free_energy"][worst, 1])
            )
            reference["free_energy_max_deviation"] = 0.0
        return Result(estimates, arrays, self.figure(arrays, own), reference)

    def at(self, ensemble: Ensemble, temperature: float) -> dict[str, Estimate]:
        """The estimates at any temperature.

        Raises:
            NotMeasurable: the network does not see the temperature.
        """
        model, system = ensemble.model, ensemble.system
        if not model.temperature_input:
            raise NotMeasurable("the network does not see the temperature (model.temperature_input)")
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
    def figure(arrays: dict[str, np.ndarray], own: Sequence[float]) -> Figure:
        """F, E and C, or S and C, against T."""
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
            axes.plot(own, np.full(len(own), axes.get_ylim()[0]), "|", ms=8, color=EXACT)
            axes.set(xlabel="$T$", ylabel=text)
        legends(row)
        return figure


def scores(ensemble: Ensemble, samples: Tensor, temperature: float) -> np.ndarray:
    """Ln p_θ and ∂ ln p_θ/∂β of configurations `(2, M)`."""
    # The trainer tests in inference mode, whose tensors autograd cannot use.
    with torch.inference_mode(False), torch.enable_grad():
        beta = torch.full((len(samples),), 1 / temperature, device=samples.device).requires_grad_()
        log_prob = ensemble.model.log_prob(samples.clone(), 1 / beta)
        (score,) = torch.autograd.grad(log_prob.sum(), beta)
        return torch.stack([log_prob.detach(), score]).double().cpu().numpy()


def exact_values(ensemble: Ensemble, temperature: float) -> dict[str, float]:
    """Exact F, E, S and C a site, where they are known."""
    exact = ensemble.system.exact_values(temperature)
    if "free_energy" not in exact:
        return {}
    entropy = (exact["energy"] - exact["free_energy"]) / temperature
    return {name: (exact | {"entropy": entropy})[name] for name in EXACT_NAMES}


def peak(temperatures: np.ndarray, curve: np.ndarray, order: int, rng: np.random.Generator) -> Estimate:
    """T of the largest value of a curve, or of its derivative, by a smoothing spline.

    Args:
        temperatures: T, ascending.
        curve: Values and errors `(T, 2)`.
        order: Of the derivative.
        rng: For the parametric bootstrap of the error, which is infinite at an end.
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
    drawn = [
        largest(
            make_smoothing_spline(
                temperatures, smooth + errors * rng.normal(size=len(errors)), weights / weights.mean()
            )
        )
        for _ in range(BOOTSTRAPS if errors.any() else 0)
    ]
    return Estimate(place, float(np.std(drawn)) if drawn else 0.0)
