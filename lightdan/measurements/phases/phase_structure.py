"""The phase structure at other temperatures, from the Hamiltonian learned at one."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from lightdan.interactions.fit import Undetermined
from lightdan.measurements.base import Measurement
from lightdan.measurements.couplings.effective_hamiltonian import require_spins, uniform_hamiltonian
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import EXACT, MODEL, legends, panels
from lightdan.measurements.phases import ladders
from lightdan.measurements.phases.ladders import Ladders, with_errors
from lightdan.measurements.phases.learned_hamiltonian import SAMPLES, LearnedHamiltonian, nll_gain
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate, effective_sample_size, jackknife_each
from lightdan.systems.checks import check_temperatures

SEEN = 0.5
"""Fraction of the visited configurations that must resemble data for the network to be trusted."""
ROUNDING = 1e-4
"""Margin of the range of the data, relative to its width, because H is rounded to single precision."""
MAX_DISTANCE = 4.0
"""Largest distance of the pairs of the explicit Hamiltonian."""
EXACT_NAMES = ("energy", "specific_heat")
"""Estimates with exact values, which are in the table."""


class PhaseStructure(Measurement):
    """Observables of e^{−H/T'}/Z(T') at temperatures T' other than that of training.

    H is H_θ or, for uniform spins, the explicit Hamiltonian of `Couplings`, whichever has the higher
    held-out likelihood. `nll_gain` is the gain of the explicit Hamiltonian in nats per configuration; it
    is chosen where the gain exceeds twice its error.

    `NetworkChains` simulate all T' with replica exchange. Under H_θ spins move by the explicit
    Hamiltonian, corrected by H_θ. They move one at a time if nearly all those moves are rejected, or
    if there is no explicit Hamiltonian. Other kinds of sites always move one at a time.

    Estimates at each T', with names like `energy@2.5`:

    - `energy`: energy per site, of the system if its H is known, else of the learned H;
    - `specific_heat`: variance of the energy over N T'²;
    - `abs_magnetization`, `susceptibility` N (⟨m²⟩ − ⟨|m|⟩²)/T' and, except for angles,
      `binder_cumulant`;
    - `acceptance`: fraction of accepted proposals;
    - `seen`: fraction of the configurations with H in the range of 99.8 % of the held-out data. Below
      one half the model is extrapolating, and a note says so;
    - `ess`: effective sample size of reweighting samples from T to T'.

    `specific_heat_peak` is the T' of the largest C between the temperatures, `specific_heat_maximum` its
    value, by multiple-histogram reweighting of all chains. Errors come from the jackknife over
    independent ladders and from the errors of the couplings; they do not include the error of H_θ.

    Args:
        temperatures: Temperatures T'; by default 11 from 0.85 T to 1.35 T.
        hamiltonian: Hamiltonian to simulate: ``network`` for H_θ, ``couplings`` for the explicit one,
            ``best`` for the one with the higher held-out likelihood.
        num_ladders: Number of independent ladders, each with one chain at every T'.
        num_steps: Number of steps of each chain; the first fifth is discarded.
        seed: Random seed of the samples and the chains.
        every_n_epochs: Number of epochs between measurements on validation data; by default none.

    Raises:
        ValueError: A T' is not positive or given twice, or there are fewer than 2 ladders or 5 steps.

    References:
        arXiv:2007.01037.
    """

    name = "phase_structure"

    def __init__(
        self,
        temperatures: list[float] | None = None,
        hamiltonian: Literal["best", "network", "couplings"] = "best",
        num_ladders: int = 32,
        num_steps: int = 100,
        seed: int = 0,
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(every_n_epochs)
        self.temperatures = None if temperatures is None else sorted(check_temperatures(temperatures))
        if num_ladders < 2 or num_steps < 5:
            raise ValueError(
                "PhaseStructure needs num_ladders ≥ 2 and num_steps ≥ 5, not "
                f"{num_ladders} and {num_steps}."
            )
        if hamiltonian not in ("best", "network", "couplings"):
            raise ValueError(
                f"hamiltonian must be 'best', 'network' or 'couplings', not {hamiltonian!r}."
            )
        self.hamiltonian = hamiltonian
        self.num_ladders, self.num_steps, self.seed = num_ladders, num_steps, seed

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure the observables against T', and the peak of the specific heat."""
        system, temperature = ensemble.system, ensemble.temperature
        if "abs_magnetization" not in system.observables(temperature):
            raise NotMeasurable(f"{type(system).__name__} has no observable abs_magnetization.")
        temperatures = self.temperatures or (temperature * np.linspace(0.85, 1.35, 11)).tolist()
        result = Result({})
        learned = self.choose(ensemble, result)
        chains, acceptance = learned.simulate(temperatures, self.num_ladders, self.num_steps, self.seed)
        columns = self.moments(ensemble, chains)
        columns["acceptance"] = jackknife_each(lambda a: a, acceptance.mean(axis=2).T)
        columns |= self.coverage(learned, chains)
        result.notes += extrapolation_notes(temperatures, columns["seen"])
        self.add_peak(result, chains)
        self.add_columns(result, ensemble, temperatures, columns)
        result.figure = self.figure(result.arrays, temperature, learned.explicit)
        return result

    def choose(self, ensemble: Ensemble, result: Result) -> LearnedHamiltonian:
        """Choose the Hamiltonian to simulate; add its `nll_gain` and a note.

        Raises:
            NotMeasurable: ``hamiltonian`` is ``couplings``, but there is no explicit Hamiltonian.
            Undetermined: The data leave one of the couplings undetermined, likewise.
        """
        if ensemble.system.site_kind != "spin" and self.hamiltonian != "couplings":
            return LearnedHamiltonian(ensemble)
        try:
            require_spins(ensemble)
            effective = uniform_hamiltonian(ensemble, MAX_DISTANCE, SAMPLES, self.seed)
            gain = nll_gain(effective)
        except (NotMeasurable, Undetermined) as reason:
            if self.hamiltonian == "couplings":
                raise
            result.notes.append(f"The chains sample H_θ, without a Hamiltonian of Couplings: {reason}")
            return LearnedHamiltonian(ensemble)
        result.estimates["nll_gain"] = gain
        better = self.hamiltonian == "best" and gain.value > 2 * gain.error
        explicit = self.hamiltonian == "couplings" or better
        name = "the Hamiltonian of Couplings" if explicit else "H_θ"
        result.notes.append(f"The chains sample {name}.")
        return LearnedHamiltonian(ensemble, effective, explicit)

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
        return {function.__name__: with_errors(function, chains) for function in functions}

    def coverage(self, learned: LearnedHamiltonian, chains: Ladders) -> dict[str, list[Estimate]]:
        """Estimate `seen` and `ess` at each T', which show how far the data reach."""
        low, high = np.quantile(learned.held_out(), [0.001, 0.999])
        margin = ROUNDING * (high - low)
        seen = (chains.hamiltonian >= low - margin) & (chains.hamiltonian <= high + margin)
        sampled = learned.sampled(self.seed)
        betas = 1 / chains.temperatures - 1 / learned.ensemble.temperature
        return {
            "seen": jackknife_each(lambda a: a, seen.mean(axis=2).T),
            "ess": [effective_sample_size(-beta * sampled) for beta in betas],
        }

    @staticmethod
    def add_peak(result: Result, chains: Ladders) -> None:
        """Add the peak of the specific heat; the error of its T' is infinite at an end."""
        peak, maximum = with_errors(ladders.specific_heat_maximum, chains, bias_corrected=False)
        if peak.value in (chains.temperatures[0], chains.temperatures[-1]):
            peak = Estimate(peak.value, math.inf)
            result.notes.append("The specific heat is largest at an end of the temperatures.")
        result.estimates |= {"specific_heat_peak": peak, "specific_heat_maximum": maximum}

    @staticmethod
    def add_columns(
        result: Result,
        ensemble: Ensemble,
        temperatures: Sequence[float],
        columns: dict[str, list[Estimate]],
    ) -> None:
        """Add the estimates at each T' with exact values beside them."""
        system = ensemble.system
        result.arrays["temperature"] = np.array(temperatures)
        result.arrays |= {name: np.array(column) for name, column in columns.items()}
        exact = [system.exact_values(t) if system.has_energy else {} for t in temperatures]
        reference: dict[str, float | Estimate] = {}
        for name in EXACT_NAMES:
            if all(name in values for values in exact):
                result.arrays[f"{name}_exact"] = np.array([values[name] for values in exact])
        for k, temperature in enumerate(temperatures):
            for name, column in columns.items():
                title = f"{name}@{temperature:g}"
                result.estimates[title] = column[k]
                if name not in EXACT_NAMES:
                    result.unlisted.add(title)
                elif name in exact[k]:
                    reference[title] = exact[k][name]
        result.reference = reference

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], temperature: float, explicit: bool) -> Figure:
        """Draw the energy, the specific heat and the magnetisation against T'."""
        figure, row = panels(3)
        chains = "$H$ of the couplings" if explicit else r"$H_\theta$"
        temperatures = arrays["temperature"]
        for axes, name, text in zip(
            row,
            ("energy", "specific_heat", "abs_magnetization"),
            ("$E/N$", "$C/N$", r"$\langle|m|\rangle$"),
            strict=True,
        ):
            if f"{name}_exact" in arrays:
                axes.plot(temperatures, arrays[f"{name}_exact"], "-", lw=1, color=EXACT, label="exact")
            values, errors = arrays[name].T
            axes.errorbar(
                temperatures,
                values,
                errors,
                fmt="o",
                ms=3,
                mfc="none",
                color=MODEL,
                label=chains,
            )
            axes.axvline(temperature, lw=0.7, ls=":", color=EXACT)
            axes.set(xlabel="$T'$", ylabel=text)
        legends(row)
        return figure


def extrapolation_notes(temperatures: Sequence[float], seen: Sequence[Estimate]) -> list[str]:
    """Return a warning for each T' at which most configurations lie outside the range of the data."""
    return [
        f"At T' = {temperature:g} only {100 * fraction.value:.0f} % of the configurations have an H "
        "within the range of the data; the model is extrapolating."
        for temperature, fraction in zip(temperatures, seen, strict=True)
        if fraction.value < SEEN
    ]
