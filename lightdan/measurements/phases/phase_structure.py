"""The phase structure at other temperatures, from the Hamiltonian learned at one."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.interactions.fit import Undetermined
from lightdan.interactions.hamiltonian import SpinHamiltonian
from lightdan.interactions.operators import Operator
from lightdan.measurements.base import Measurement
from lightdan.measurements.couplings.effective_hamiltonian import (
    EffectiveHamiltonian,
    uniform_hamiltonian,
)
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import EXACT, MODEL, legends, panels
from lightdan.measurements.phases import ladders
from lightdan.measurements.phases.ladders import Ladders, with_errors
from lightdan.measurements.phases.network_chains import NetworkChains
from lightdan.measurements.report import Result
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate, effective_sample_size, jackknife_each, log_mean_exp, mean
from lightdan.systems.checks import check_temperatures

SEEN = 0.5
"""Fraction of the visited configurations that must resemble data for the network to be trusted."""
REFUSED = 0.1
"""Acceptance below which the chains no longer use the surrogate."""
MAX_DISTANCE = 4.0
"""Largest distance of the pairs of the explicit Hamiltonian."""
SAMPLES = 3_000
"""Number of samples of the network."""
VARIATIONS = 16
"""Number of draws of the couplings from their errors."""


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
        seed: Random seed.
        every_n_epochs: Number of epochs between measurements during training; by default none.

    Raises:
        ValueError: A T' is not positive or given twice, or there are fewer than 2 ladders or 5 steps.

    References:
        N. Walker et al., arXiv:2007.01037.
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
        effective = self.explicit_hamiltonian(ensemble, result)
        explicit = effective is not None and self.is_explicit(result.estimates["nll_gain"])
        if effective is not None:
            name = "the Hamiltonian of Couplings" if explicit else "H_θ"
            result.notes.append(f"The chains sample {name}.")
        log_prob, acceptance, series = self.simulate(ensemble, temperatures, effective, explicit)
        chains = self.gather(ensemble, temperatures, log_prob, series, effective if explicit else None)
        columns = self.moments(ensemble, chains)
        columns["acceptance"] = jackknife_each(lambda a: a, acceptance.mean(axis=2).T)
        columns |= self.coverage(ensemble, temperatures, log_prob, effective if explicit else None)
        result.notes += extrapolation_notes(temperatures, columns["seen"])
        self.add_peak(result, chains)
        self.add_columns(result, ensemble, temperatures, columns)
        result.figure = self.figure(result.arrays, temperature, explicit)
        return result

    def explicit_hamiltonian(self, ensemble: Ensemble, result: Result) -> EffectiveHamiltonian | None:
        """Return the Hamiltonian of `Couplings` and add its `nll_gain`, or return None.

        Raises:
            NotMeasurable: There is none, and ``hamiltonian`` is ``couplings``.
            Undetermined: The data leave one of its couplings undetermined, likewise.
        """
        if ensemble.system.site_kind != "spin" and self.hamiltonian != "couplings":
            return None
        try:
            effective = uniform_hamiltonian(ensemble, MAX_DISTANCE, SAMPLES, self.seed)
            result.estimates["nll_gain"] = nll_gain(effective)
        except (NotMeasurable, Undetermined) as reason:
            if self.hamiltonian == "couplings":
                raise
            result.notes.append(f"The chains sample H_θ, without a Hamiltonian of Couplings: {reason}")
            return None
        return effective

    def is_explicit(self, gain: Estimate) -> bool:
        """Return whether the explicit Hamiltonian is to be simulated instead of H_θ."""
        better = gain.value > 2 * gain.error
        return self.hamiltonian == "couplings" or (self.hamiltonian == "best" and better)

    def simulate(
        self,
        ensemble: Ensemble,
        temperatures: Sequence[float],
        effective: EffectiveHamiltonian | None,
        explicit: bool,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Simulate the chains at all T'.

        Returns:
            ln p_θ `(K, ladders, steps)` (or −H/T of the explicit Hamiltonian), the acceptance and the
            observables `(observables, K, ladders, steps)` of `observables`.
        """
        operators = effective.operators if effective is not None and explicit else []
        observe = observables(ensemble, operators)

        def run(surrogate: SpinHamiltonian | None) -> np.ndarray:
            chains = NetworkChains(
                ensemble.model,
                ensemble.temperature,
                temperatures,
                self.num_ladders,
                observe,
                self.seed,
                surrogate,
                corrected=not explicit,
            )
            with progress_bar("Chains at other temperatures", self.num_steps) as advance:
                return chains.run(self.num_steps, advance)

        series = run(effective.hamiltonian if effective is not None else None)
        if effective is not None and series[1].mean() < REFUSED:
            series = run(None)
        return series[0], series[1], series[2:]

    def gather(
        self,
        ensemble: Ensemble,
        temperatures: Sequence[float],
        log_prob: np.ndarray,
        series: np.ndarray,
        explicit: EffectiveHamiltonian | None,
    ) -> Ladders:
        """Gather the series of the chains, with draws of the couplings if H is explicit."""
        system, temperature = ensemble.system, ensemble.temperature
        variations = np.empty(0)
        if explicit is not None:
            draws = np.random.default_rng(self.seed).multivariate_normal(
                np.zeros(len(explicit.operators)), explicit.covariance, VARIATIONS
            )
            variations = -temperature * np.tensordot(draws, series[-len(explicit.operators) :], 1)
        return Ladders(
            np.array(temperatures),
            system.num_sites,
            hamiltonian=-temperature * log_prob,
            abs_magnetization=series[0],
            energy=series[1] if system.has_energy else None,
            variations=list(variations),
        )

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

    def coverage(
        self,
        ensemble: Ensemble,
        temperatures: Sequence[float],
        log_prob: np.ndarray,
        explicit: EffectiveHamiltonian | None,
    ) -> dict[str, list[Estimate]]:
        """Estimate `seen` and `ess` at each T': how far the data reach."""
        held_out, samples = ensemble.log_prob, ensemble.samples(SAMPLES, self.seed).log_prob
        if explicit is not None:
            held_out, samples = (
                -explicit.hamiltonian.energy(s.cpu().numpy()) / ensemble.temperature
                for s in (ensemble.configurations, explicit.samples)
            )
        low, high = np.quantile(held_out, [0.001, 0.999])
        seen = (log_prob >= low) & (log_prob <= high)
        powers = [ensemble.temperature / temperature for temperature in temperatures]
        return {
            "seen": jackknife_each(lambda a: a, seen.mean(axis=2).T),
            "ess": [effective_sample_size((power - 1) * samples) for power in powers],
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
        for name in ("energy", "specific_heat"):
            if name in exact[0]:
                result.arrays[f"{name}_exact"] = np.array([values[name] for values in exact])
        for k, temperature in enumerate(temperatures):
            for name, column in columns.items():
                title = f"{name}@{temperature:g}"
                result.estimates[title] = column[k]
                if f"{name}_exact" in result.arrays:
                    reference[title] = exact[k][name]
                if name not in ("energy", "specific_heat"):
                    result.unlisted.add(title)
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


def observables(ensemble: Ensemble, operators: Sequence[Operator]) -> Callable[[Tensor], Tensor]:
    """Return a function from configurations `(B, *lattice)` to |m|, E if known, and the operators."""
    system = ensemble.system
    abs_magnetization = system.observables(ensemble.temperature)["abs_magnetization"]

    def observe(configurations: Tensor) -> Tensor:
        rows = [abs_magnetization(configurations).double()]
        if system.has_energy:
            rows.append(system.energy(configurations.double()))
        if operators:
            spins = configurations.cpu().numpy().astype(np.int8)
            rows += [torch.as_tensor(operator.value(spins)).to(rows[0]) for operator in operators]
        return torch.stack(rows)

    return observe


def extrapolation_notes(temperatures: Sequence[float], seen: Sequence[Estimate]) -> list[str]:
    """Return a warning for each T' at which most configurations lie outside the range of the data."""
    return [
        f"At T' = {temperature:g} only {100 * fraction.value:.0f} % of the configurations have an H "
        "within the range of the data; the model is extrapolating."
        for temperature, fraction in zip(temperatures, seen, strict=True)
        if fraction.value < SEEN
    ]


def nll_gain(effective: EffectiveHamiltonian) -> Estimate:
    """Estimate the gain of an explicit Hamiltonian over H_θ, in nats per held-out configuration.

    It is ⟨−ln p_θ⟩ − ⟨−ln p⟩ with p = e^{−H/T}/Z and Z = ⟨e^{−H/T}/p_θ⟩ over samples of the network.
    """
    ensemble, hamiltonian = effective.ensemble, effective.hamiltonian
    samples = ensemble.samples(effective.num_samples, effective.seed)

    def action(configurations: Tensor) -> np.ndarray:
        return hamiltonian.energy(configurations.cpu().numpy()) / ensemble.temperature

    log_z = log_mean_exp(-action(samples.configurations) - samples.log_prob)
    data = mean(-ensemble.log_prob - action(ensemble.configurations))
    return Estimate(data.value - log_z.value, math.hypot(data.error, log_z.error))
