"""The phase structure at other temperatures, from the Hamiltonian learned at one."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from lightdan.callbacks.base import Measurement
from lightdan.callbacks.couplings import uniform_hamiltonian
from lightdan.callbacks.effective_hamiltonian import hamiltonian_of
from lightdan.callbacks.ensemble import Ensemble, NotMeasurable
from lightdan.callbacks.figures import EXACT, MODEL, legends, panels
from lightdan.callbacks.report import Result
from lightdan.progress import progress_bar
from lightdan.replica_exchange import ReplicaExchange
from lightdan.spin_hamiltonian import SpinHamiltonian
from lightdan.statistics import Estimate, effective_sample_size, jackknife
from lightdan.systems.base import check_temperatures

SEEN = 0.5
"""Share of the configurations visited that must look like data for the network to be trusted."""
REFUSED = 0.1
"""Acceptance below which the surrogate is given up."""
SPINS = 1_000
"""Samples on which H_θ of spins is projected for the surrogate."""


class PhaseStructure(Measurement):
    """Observables of e^{−H_θ/T'}/Z(T') at other T' than the one of training, by `ReplicaExchange`.

    Spins are moved by the projection of H_θ on pairs and plaquettes (`Couplings`), corrected by H_θ
    itself, or one at a time where that is refused nearly always; other sites one at a time. Estimates
    at each T', named like `energy@2.5`: `energy`, that of the system where its H is known, else H_θ, a
    site; `specific_heat`, its variance over N T'²; `abs_magnetization`; `susceptibility`,
    N (⟨m²⟩ − ⟨|m|⟩²)/T'; `binder_cumulant`, but of angles; `acceptance`; `seen`, the share of the
    configurations whose ln p_θ lies in the range of 99.8 % of the held-out data; and `ess`, the
    effective sample size by which samples of the network could be reweighted to T'. Where `seen` is
    below one half, the network is asked about what it never saw, and a note says so.
    `specific_heat_peak` is the T' of the largest C between the temperatures, `specific_heat_maximum`
    its value, by multiple-histogram reweighting of all chains. Errors are by the jackknife over the
    ladders, which are independent: those of the chains, not what H_θ itself errs.

    Args:
        temperatures: T', by default 11 from 0.85 T to 1.35 T.
        num_ladders: Independent ladders, each with one chain at every T'.
        num_steps: Of each chain; the first fifth does not count.
        seed: Of all random numbers.
        every_n_epochs: Measure during training too.

    Raises:
        ValueError: a T' that is not positive, one given twice, fewer than two ladders, or five steps.

    Source: arXiv:2007.01037; A. Ferrenberg and R. Swendsen, Phys. Rev. Lett. 63, 1195 (1989).
    """

    name = "phase_structure"

    def __init__(
        self,
        temperatures: list[float] | None = None,
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
        self.num_ladders, self.num_steps, self.seed = num_ladders, num_steps, seed

    def measure(self, ensemble: Ensemble) -> Result:
        """Observables against T', and the peak of the specific heat."""
        system, own = ensemble.system, ensemble.temperature
        observables = system.observables(own)
        if "abs_magnetization" not in observables:
            raise NotMeasurable(f"{type(system).__name__} has no observable abs_magnetization")
        temperatures = self.temperatures or [float(x) for x in own * np.linspace(0.85, 1.35, 11)]
        surrogate = None
        if system.site_kind == "spin":
            effective = uniform_hamiltonian(ensemble, 4.0, SPINS, self.seed)
            surrogate = hamiltonian_of(ensemble, effective.operators, effective.network.couplings)
        names = ["abs_magnetization"] + [name for name in ("magnetization",) if name in observables]

        def observe(configurations: torch.Tensor) -> torch.Tensor:
            columns = [observables[name](configurations).double() for name in names]
            if system.has_energy:
                columns.append(system.energy(configurations.double()))
            return torch.stack(columns)

        def run(surrogate: SpinHamiltonian | None) -> list[np.ndarray]:
            chains = ReplicaExchange(
                ensemble.model, own, temperatures, self.num_ladders, self.seed, surrogate
            )
            with progress_bar("Chains at other temperatures", self.num_steps) as advance:
                return [x.cpu().numpy() for x in chains.run(self.num_steps, observe, advance)]

        log_prob, values, acceptance = run(surrogate)
        if surrogate is not None and acceptance.mean() < REFUSED:
            log_prob, values, acceptance = run(None)
        energy = values[-1] if system.has_energy else -own * log_prob
        estimates: dict[str, Estimate] = {}
        reference: dict[str, float | Estimate] = {}
        notes = []
        low, high = np.quantile(ensemble.log_prob, [0.001, 0.999])
        trained = ensemble.samples(SPINS, self.seed).log_prob
        for k, temperature in enumerate(temperatures):
            found = moments(energy[k], values[:, k], names, temperature, system.num_sites)
            found["acceptance"] = over_ladders(lambda a: a, acceptance[k])
            seen = over_ladders(lambda a: a, (log_prob[k] >= low) & (log_prob[k] <= high))
            found["seen"] = seen
            found["ess"] = effective_sample_size((own / temperature - 1) * trained)
            if seen.value < SEEN:
                notes.append(
                    f"T' = {temperature:g}: only {100 * seen.value:.0f} % of the configurations have "
                    "an H_θ that the data reach; the network was hardly trained on such."
                )
            estimates |= {f"{name}@{temperature:g}": estimate for name, estimate in found.items()}
            exact = system.exact_values(temperature)
            reference |= {
                f"{name}@{temperature:g}": exact[name]
                for name in ("energy", "specific_heat")
                if name in exact and system.has_energy
            }
        hidden = {name for name in estimates if not name.startswith(("energy", "specific_heat"))}
        peak = specific_heat_peak(energy, -own * log_prob, np.array(temperatures), system.num_sites)
        if not math.isfinite(peak[0].error):
            notes.append("The specific heat has its largest value at an end of the temperatures.")
        summary = {"specific_heat_peak": peak[0], "specific_heat_maximum": peak[1]}
        arrays = {"temperature": np.array(temperatures)}
        for name in sorted({name.partition("@")[0] for name in estimates}):
            arrays[name] = np.array([estimates[f"{name}@{t:g}"] for t in temperatures])
        for name in ("energy", "specific_heat"):
            if f"{name}@{temperatures[0]:g}" in reference:
                arrays[f"{name}_exact"] = np.array([reference[f"{name}@{t:g}"] for t in temperatures])
        return Result(summary | estimates, arrays, self.figure(arrays, own), reference, hidden, notes)

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], own: float) -> Figure:
        """Energy, specific heat and magnetisation against T'."""
        figure, row = panels(3)
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
                temperatures, values, errors, fmt="o", ms=3, mfc="none", color=MODEL, label=r"$H_\theta$"
            )
            axes.axvline(own, lw=0.7, ls=":", color=EXACT)
            axes.set(xlabel="$T'$", ylabel=text)
        legends(row)
        return figure


def over_ladders(function: Callable[..., float], *series: np.ndarray) -> Estimate:
    """A function of means of series `(ladders, steps)`, with the jackknife error over ladders."""
    return jackknife(function, *(x.mean(axis=1) for x in series))


def moments(
    energy: np.ndarray, values: np.ndarray, names: Sequence[str], temperature: float, sites: int
) -> dict[str, Estimate]:
    """Means and fluctuations at one T' of series `(ladders, steps)`."""
    shifted = energy - energy.mean()
    size = values[0]
    found = {
        "energy": over_ladders(lambda e: e / sites, energy),
        "specific_heat": over_ladders(
            lambda e, ee: (ee - e * e) / (sites * temperature**2), shifted, shifted**2
        ),
        "abs_magnetization": over_ladders(lambda m: m, size),
        "susceptibility": over_ladders(lambda m, mm: sites * (mm - m * m) / temperature, size, size**2),
    }
    if "magnetization" in names:
        found["binder_cumulant"] = over_ladders(lambda m2, m4: 1 - m4 / (3 * m2 * m2), size**2, size**4)
    return found


def specific_heat_peak(
    energy: np.ndarray, hamiltonian: np.ndarray, temperatures: np.ndarray, sites: int
) -> tuple[Estimate, Estimate]:
    """T' and value of the largest C between the temperatures, by multiple-histogram reweighting.

    Args:
        energy: E `(T', ladders, steps)`.
        hamiltonian: H_θ of the same, by which the chains are weighted.
        temperatures: T'.
        sites: N.

    Returns:
        Both with the jackknife error over ladders; the error of T' is infinite at an end.
    """
    start = np.zeros(len(temperatures))

    def peak(ladders: np.ndarray) -> tuple[float, float]:
        nonlocal start
        e, h = energy[:, ladders].ravel(), hamiltonian[:, ladders].ravel()
        reduced = h[None] / temperatures[:, None]
        log_number = math.log(len(h) / len(temperatures))
        free = start
        for _ in range(2000):
            mixture = logsumexp(log_number + free[:, None] - reduced, axis=0)
            new = -logsumexp(-reduced - mixture, axis=1)
            new -= new[0]
            done = np.abs(new - free).max() < 1e-6
            free = new
            if done:
                break
        start = free
        mixture = logsumexp(log_number + free[:, None] - reduced, axis=0)

        def heat(temperature: float) -> float:
            log_weights = -h / temperature - mixture
            weights = np.exp(log_weights - log_weights.max())
            weights /= weights.sum()
            centre = weights @ e
            return float(weights @ (e - centre) ** 2) / (sites * temperature**2)

        grid = np.linspace(temperatures[0], temperatures[-1], 101)
        best = int(np.argmax([heat(t) for t in grid]))
        if best in (0, len(grid) - 1):
            return float(grid[best]), heat(grid[best])
        bounds = (grid[best - 1], grid[best + 1])
        found = minimize_scalar(lambda t: -heat(t), bounds=bounds, method="bounded")
        return float(found.x), float(-found.fun)

    number = energy.shape[1]
    everything = np.arange(number)
    full = np.array(peak(everything))
    blocks = np.array_split(everything, min(number, 16))
    left_out = np.array([peak(np.setdiff1d(everything, block)) for block in blocks])
    n = len(blocks)
    errors = np.sqrt((n - 1) / n * ((left_out - left_out.mean(0)) ** 2).sum(0))
    inside = temperatures[0] < full[0] < temperatures[-1]
    return (
        Estimate(float(full[0]), float(errors[0]) if inside else math.inf),
        Estimate(float(full[1]), float(errors[1])),
    )
