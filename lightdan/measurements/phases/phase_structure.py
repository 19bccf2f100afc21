"""The phase structure elsewhere, from the Hamiltonian learned at one point."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from lightdan.checks import check_number, check_seed, check_temperatures
from lightdan.interactions.fit import Undetermined
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.measurements.base import Measurement
from lightdan.measurements.couplings.effective_hamiltonian import uniform_hamiltonian
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import EXACT, MODEL, legends, panels
from lightdan.measurements.phases import ladders
from lightdan.measurements.phases.control import (
    TEMPERATURE,
    Control,
    find_control,
    temperature_control,
)
from lightdan.measurements.phases.ladders import Ladders, with_errors
from lightdan.measurements.phases.learned_hamiltonian import SAMPLES, LearnedHamiltonian, nll_gain
from lightdan.measurements.report import Result
from lightdan.simulation.heat_bath import slice_widths
from lightdan.statistics import (
    Blocks,
    Estimate,
    effective_sample_size,
    jackknife_each,
    weakness_of_size,
)

SEEN = 0.5
"""Fraction of the visited configurations that must resemble data for the network to be trusted."""
ROUNDING = 1e-4
"""Margin of the range of the data, relative to its width, because H is rounded to single precision."""
EXACT_NAMES = ("energy", "specific_heat")
"""Estimates with exact values, which are in the table."""
LABELS = {
    "energy": "$E/N$",
    "specific_heat": "$C/N$",
    "abs_magnetization": r"$\langle|m|\rangle$",
    "binder_cumulant": "$U$",
    "susceptibility": r"$\chi$",
    "helicity_modulus": r"$\Upsilon$",
}


class PhaseStructure(Measurement):
    """Observables of e^{−H/T'}/Z(T') at temperatures T' other than that of training.

    H is H_θ or the explicit Hamiltonian of `Couplings`, whichever has the higher held-out likelihood.
    `nll_gain` is the gain of the explicit Hamiltonian in nats per configuration; it is chosen where the
    gain exceeds twice its error.

    The control may be another one than T: a parameter of the system, or the βJ of an operator. It
    multiplies only its own terms of the explicit Hamiltonian, and all others stay. φ⁴ theory at one κ
    is thus continued to other κ' by ``control: hopping``.

    Replica exchange connects all values of the control. The explicit Hamiltonian is simulated by its
    own sweeps, without the network. Under H_θ `NetworkChains` move by the explicit Hamiltonian,
    corrected by H_θ. They move one site at a time if nearly all those moves are rejected, or if there is
    no explicit Hamiltonian.

    Estimates at each value, with names like `energy@2.5`:

    - `energy`: energy per site, of the system if its H is known, else of the learned H;
    - `specific_heat`: variance of the energy over N T'²;
    - `abs_magnetization`, `susceptibility` N (⟨m²⟩ − ⟨|m|⟩²)/T' and, except for angles,
      `binder_cumulant`;
    - `helicity_modulus` of angles: the stiffness ∂²F/∂φ²/N against a twist φ of a hypercubic torus.
      That of H_θ is measured only if the system is `XY`, with the system's own bonds;
    - `acceptance`: fraction of accepted proposals, for H_θ;
    - `seen`: fraction of the configurations with H in the range of 99.8 % of the held-out data. Below
      one half the model is extrapolating, and a note says so;
    - `ess`: effective sample size of reweighting samples from T to T', without an error where few
      samples decide.

    `specific_heat_peak` and `susceptibility_peak` are the T' of the largest C and χ,
    `specific_heat_maximum` and `susceptibility_maximum` their values. `helicity_crossing` is the T' of
    Υ = 2T'/π. They come from multiple-histogram reweighting of all chains. Errors come from the
    jackknife over independent ladders and from the errors of the couplings; they do not include the
    error of H_θ.

    With another control, `energy`, `specific_heat`, `seen` and `ess` are those of the scaled terms with
    T' = T λ/λ', χ is divided by T, and there is no helicity modulus.

    Args:
        values: Values of the control, for instance temperatures T'; by default 11 from 0.85 T to 1.35 T,
            or the same range of T λ/λ'.
        control: ``temperature``, a parameter of the system like ``hopping`` of `ScalarField`, or an
            operator like ``nearest_neighbour``, whose values are βJ.
        hamiltonian: Hamiltonian to simulate: ``network`` for H_θ, ``couplings`` for the explicit one,
            ``best`` for the one with the higher held-out likelihood.
        max_distance: Largest distance of the pairs of the explicit Hamiltonian, in lattice constants.
        operators: Names of the operators of the explicit Hamiltonian, as in `Couplings`.
        num_ladders: Number of independent ladders, each with one chain at every value.
        num_steps: Number of steps of each chain; the first fifth is discarded.
        seed: Random seed of the samples and the chains.
        every_n_epochs: Number of epochs between measurements on validation data; by default none.

    Raises:
        ValueError: A value is given twice, a T' is not positive, H_θ is to be simulated with another
            control, or there are fewer than 2 ladders or 5 steps.

    References:
        arXiv:2007.01037;
        D. Nelson and J. Kosterlitz, Phys. Rev. Lett. 39, 1201 (1977).
    """

    name = "phase_structure"

    def __init__(
        self,
        values: list[float] | None = None,
        control: str = TEMPERATURE,
        hamiltonian: Literal["best", "network", "couplings"] = "best",
        max_distance: float = 4.0,
        operators: list[str] | None = None,
        num_ladders: int = 32,
        num_steps: int = 100,
        seed: int = 0,
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(every_n_epochs)
        if control == TEMPERATURE and values is not None:
            check_temperatures(values)
        for value in values or ():
            check_number("values", value)
        if values is not None and (not values or len(set(values)) < len(values)):
            raise ValueError(f"values must name each value of {control} once, not {values}.")
        if num_ladders < 2 or num_steps < 5:
            raise ValueError(
                "PhaseStructure needs num_ladders ≥ 2 and num_steps ≥ 5, not "
                f"{num_ladders} and {num_steps}."
            )
        if hamiltonian not in ("best", "network", "couplings"):
            raise ValueError(
                f"hamiltonian must be 'best', 'network' or 'couplings', not {hamiltonian!r}."
            )
        if hamiltonian == "network" and control != TEMPERATURE:
            raise ValueError(
                f"H_θ has no separate terms for the control {control}: set hamiltonian to 'couplings'."
            )
        self.values = None if values is None else sorted(map(float, values))
        self.control, self.hamiltonian = control, hamiltonian
        self.max_distance = check_number("max_distance", max_distance, 0, math.inf)
        self.operators = operators
        self.num_ladders, self.num_steps = num_ladders, num_steps
        self.seed = check_seed("seed", seed)

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure the observables against the control, and the peaks."""
        system, temperature = ensemble.system, ensemble.temperature
        if "abs_magnetization" not in system.observables(temperature):
            raise NotMeasurable(f"{type(system).__name__} has no observable abs_magnetization.")
        result = Result({})
        learned = self.choose(ensemble, result)
        control = learned.control
        values = self.values or control.values()
        given = control.temperatures(values)
        order = np.argsort(given)
        temperatures = [given[k] for k in order]
        chains, acceptance = learned.simulate(temperatures, self.num_ladders, self.num_steps, self.seed)
        columns = self.moments(ensemble, chains)
        if acceptance is not None:
            columns["acceptance"] = _over_ladders(acceptance)
        columns |= self.coverage(learned, chains)
        back = np.argsort(order).tolist()
        columns = {name: [column[k] for k in back] for name, column in columns.items()}
        result.notes += extrapolation_notes(control.name, values, columns["seen"])
        self.add_peaks(result, chains, control)
        self.add_columns(result, ensemble, control, values, columns)
        result.figure = self.figure(result, control, learned.explicit)
        return result

    def choose(self, ensemble: Ensemble, result: Result) -> LearnedHamiltonian:
        """Choose the Hamiltonian to simulate; add its `nll_gain` and a note.

        Raises:
            NotMeasurable: The explicit Hamiltonian is needed, but there is none.
            Undetermined: The data leave one of the couplings undetermined, likewise.
        """
        needed = self.hamiltonian == "couplings" or self.control != TEMPERATURE
        try:
            effective = uniform_hamiltonian(
                ensemble, self.max_distance, SAMPLES, self.seed, self.operators
            )
            gain = nll_gain(effective)
            check_bounded(effective.hamiltonian)
        except (NotMeasurable, Undetermined) as reason:
            if needed:
                raise
            result.notes.append(f"The chains sample H_θ, without a Hamiltonian of Couplings: {reason}")
            return LearnedHamiltonian(ensemble, temperature_control(ensemble.temperature))
        result.estimates["nll_gain"] = gain
        better = gain.value > 2 * gain.error
        explicit = needed or (self.hamiltonian == "best" and better)
        name = "the Hamiltonian of Couplings" if explicit else "H_θ"
        result.notes.append(f"The chains sample {name}.")
        if self.hamiltonian == "best" and explicit and not better:
            result.notes.append(
                f"Only explicit terms can be scaled by {self.control}, but the held-out likelihood of "
                "H_θ is not lower."
            )
        control = find_control(self.control, ensemble.system, effective.hamiltonian)
        return LearnedHamiltonian(ensemble, control, effective, explicit)

    @staticmethod
    def moments(ensemble: Ensemble, chains: Ladders) -> dict[str, list[Estimate]]:
        """Estimate the means and fluctuations at each T'."""
        functions: list[Callable[[Ladders], np.ndarray]] = [
            ladders.energy,
            ladders.specific_heat,
            ladders.abs_magnetization,
            ladders.susceptibility,
        ]
        if "magnetization" in ensemble.system.observables(ensemble.temperature):
            functions.append(ladders.binder_cumulant)
        if chains.twist is not None:
            functions.append(ladders.helicity_modulus)
        return {function.__name__: with_errors(function, chains) for function in functions}

    def coverage(self, learned: LearnedHamiltonian, chains: Ladders) -> dict[str, list[Estimate]]:
        """Estimate `seen` and `ess` at each value, which show how far the data reach."""
        low, high = np.quantile(learned.held_out(), [0.001, 0.999])
        margin = ROUNDING * (high - low)
        seen = (chains.hamiltonian >= low - margin) & (chains.hamiltonian <= high + margin)
        sampled = learned.sampled(self.seed)
        betas = 1 / chains.temperatures - 1 / learned.ensemble.temperature
        return {
            "seen": _over_ladders(seen),
            "ess": [_effective_size(-beta * sampled) for beta in betas],
        }

    @staticmethod
    def add_peaks(result: Result, chains: Ladders, control: Control) -> None:
        """Add the peaks of C and χ and the crossing of Υ; the error of a place at an end is infinite."""

        def peaks(chains: Ladders) -> list[float]:
            heat, heat_maximum, chi, chi_maximum = ladders.peaks(chains)
            return [control.at(heat), heat_maximum, control.at(chi), chi_maximum]

        ends = [control.at(float(chains.temperatures[k])) for k in (0, -1)]
        found = with_errors(peaks, chains, bias_corrected=False)
        for name, peak, maximum in zip(
            ("specific_heat", "susceptibility"), found[::2], found[1::2], strict=True
        ):
            if peak.value in ends:
                peak = Estimate(peak.value, math.inf)
                title = name.replace("_", " ")
                result.notes.append(f"The {title} is largest at an end of the values of {control.name}.")
            result.estimates |= {f"{name}_peak": peak, f"{name}_maximum": maximum}
        if chains.twist is None:
            return
        (crossing,) = with_errors(ladders.helicity_crossing, chains, bias_corrected=False)
        if math.isfinite(crossing.error):
            result.estimates["helicity_crossing"] = crossing
        else:
            result.notes.append(
                "Υ does not fall below 2T'/π between the temperatures, or not in all ladders: use "
                "values on both sides of the crossing."
            )

    @staticmethod
    def add_columns(
        result: Result,
        ensemble: Ensemble,
        control: Control,
        values: Sequence[float],
        columns: dict[str, list[Estimate]],
    ) -> None:
        """Add the estimates at each value of the control, with exact values beside them."""
        system = ensemble.system
        result.arrays[control.name] = np.array(values)
        result.arrays |= {name: np.array(column) for name, column in columns.items()}
        known = system.has_energy and control.scaled is None
        exact = [system.exact_values(value) if known else {} for value in values]
        reference: dict[str, float | Estimate] = {}
        for name in EXACT_NAMES:
            if all(name in row for row in exact):
                result.arrays[f"{name}_exact"] = np.array([row[name] for row in exact])
        for k, value in enumerate(values):
            for name, column in columns.items():
                title = f"{name}@{value:g}"
                result.estimates[title] = column[k]
                if name not in EXACT_NAMES:
                    result.unlisted.add(title)
                elif name in exact[k]:
                    reference[title] = exact[k][name]
        result.reference = reference

    @staticmethod
    def figure(result: Result, control: Control, explicit: bool) -> Figure:
        """Draw three observables against the control, with the peak or the crossing of the last."""
        figure, row = panels(3)
        arrays, values = result.arrays, result.arrays[control.name]
        chains = "$H$ of the couplings" if explicit else r"$H_\theta$"
        shown = ["energy", "specific_heat", "abs_magnetization"]
        mark = None
        if "helicity_modulus" in arrays:
            shown[2], mark = "helicity_modulus", result.estimates.get("helicity_crossing")
        elif control.scaled is not None:
            shown = ["abs_magnetization", "binder_cumulant", "susceptibility"]
            shown = [name for name in shown if name in arrays]
            mark = result.estimates["susceptibility_peak"]
        for axes, name in zip(row, shown, strict=False):
            if f"{name}_exact" in arrays:
                axes.plot(values, arrays[f"{name}_exact"], "-", lw=1, color=EXACT, label="exact")
            estimate, errors = arrays[name].T
            style: dict[str, Any] = {"fmt": "o", "ms": 3, "mfc": "none", "color": MODEL}
            axes.errorbar(values, estimate, errors, label=chains if axes is row[0] else None, **style)
            axes.axvline(control.present, lw=0.7, ls=":", color=EXACT)
            if name == "helicity_modulus":
                axes.plot(values, 2 * values / np.pi, "-", lw=1, color=EXACT, label=r"$2T'/\pi$")
            if name == shown[-1] and mark is not None and math.isfinite(mark.error):
                axes.axvspan(mark.value - mark.error, mark.value + mark.error, color=MODEL, alpha=0.3)
            title = "$T'$" if control.scaled is None else control.name.replace("_", " ")
            axes.set(xlabel=title, ylabel=LABELS[name])
        legends(axes for axes in row if axes.get_legend_handles_labels()[0])
        return figure


def _over_ladders(values: np.ndarray) -> list[Estimate]:
    """Return the mean at each value of the control, of values `(K, ladders, steps)`."""
    rows = values.mean(axis=2).T
    return jackknife_each(lambda a: a, rows, blocks=Blocks(np.arange(len(rows)), len(rows)))


def _effective_size(log_weights: np.ndarray) -> Estimate:
    """Return the effective sample size, with an infinite error if it is not known."""
    size = effective_sample_size(log_weights)
    return Estimate(size.value, math.inf) if weakness_of_size(log_weights) else size


def check_bounded(hamiltonian: ExplicitHamiltonian) -> None:
    """Raise NotMeasurable if a field alone is not bounded."""
    try:
        slice_widths(hamiltonian.moves(), np.array([hamiltonian.temperature]))
    except ValueError as reason:
        raise NotMeasurable(str(reason)) from reason


def extrapolation_notes(name: str, values: Sequence[float], seen: Sequence[Estimate]) -> list[str]:
    """Return a warning for each value at which most configurations lie outside the range of the data."""
    title = "T'" if name == TEMPERATURE else name
    return [
        f"At {title} = {value:g} only {100 * fraction.value:.0f} % of the configurations have an H "
        "within the range of the data; the model is extrapolating."
        for value, fraction in zip(values, seen, strict=True)
        if fraction.value < SEEN
    ]
