"""The phase structure at other temperatures, from the Hamiltonian learned at one."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor

from lightdan.interactions.fit import Undetermined
from lightdan.interactions.hamiltonian import SpinHamiltonian
from lightdan.measurements.base import Measurement
from lightdan.measurements.couplings.couplings import uniform_hamiltonian
from lightdan.measurements.couplings.effective_hamiltonian import EffectiveHamiltonian
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import EXACT, MODEL, legends, panels
from lightdan.measurements.phases.replica_exchange import ReplicaExchange
from lightdan.measurements.report import Result
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate, effective_sample_size, jackknife, log_mean_exp, mean
from lightdan.systems.base import check_temperatures

SEEN = 0.5
"""Share of the configurations visited that must look like data for the network to be trusted."""
REFUSED = 0.1
"""Acceptance below which the surrogate is given up."""
SAMPLES = 3_000
"""Of the network."""
VARIATIONS = 16
"""Draws of the couplings from their errors."""


class PhaseStructure(Measurement):
    """Observables of e^{−H/T'}/Z(T') at other T' than the one of training, by `ReplicaExchange`.

    H is H_θ; of uniform spins the Hamiltonian of `Couplings` instead, where `nll_gain`, the nats a
    configuration by which it explains held-out configurations better than H_θ does, is above twice its
    error: it is then nearer to the truth, and simulated natively. Under H_θ spins are moved by that
    Hamiltonian, corrected by H_θ, or one at a time where that is refused nearly always or there is no
    such Hamiltonian; other sites one at a time.

    Estimates at each T', named like `energy@2.5`: `energy`, that of the system where its H is known,
    else the learned one, a site; `specific_heat`, its variance over N T'²; `abs_magnetization`;
    `susceptibility`, N (⟨m²⟩ − ⟨|m|⟩²)/T'; `binder_cumulant`, but of angles; `acceptance`; `seen`, the
    share of the configurations whose H lies in the range of 99.8 % of the held-out data; and `ess`, the
    effective sample size by which samples at T could be reweighted to T'. Where `seen` is below one
    half, the model is asked about what it never saw, and a note says so. `specific_heat_peak` is the T'
    of the largest C between the temperatures, `specific_heat_maximum` its value, by multiple-histogram
    reweighting of all chains. Errors are by the jackknife over the ladders, which are independent, and
    those of the couplings propagated by reweighting; what H_θ itself errs is not in them.

    Args:
        temperatures: T', by default 11 from 0.85 T to 1.35 T.
        hamiltonian: ``network`` is H_θ, ``couplings`` that of `Couplings`, ``best`` that which explains
            held-out configurations better.
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
        """Observables against T', and the peak of the specific heat."""
        system, own = ensemble.system, ensemble.temperature
        observables = system.observables(own)
        if "abs_magnetization" not in observables:
            raise NotMeasurable(f"{type(system).__name__} has no observable abs_magnetization")
        temperatures = self.temperatures or [float(x) for x in own * np.linspace(0.85, 1.35, 11)]
        names = ["abs_magnetization"] + [name for name in ("magnetization",) if name in observables]
        notes: list[str] = []
        summary: dict[str, Estimate] = {}
        effective: EffectiveHamiltonian | None = None
        explicit = False
        if system.site_kind == "spin" or self.hamiltonian == "couplings":
            try:
                effective = uniform_hamiltonian(ensemble, 4.0, SAMPLES, self.seed)
                summary["nll_gain"] = gain = nll_gain(effective)
                better = gain.value > 2 * gain.error
                explicit = self.hamiltonian == "couplings" or (self.hamiltonian == "best" and better)
            except (NotMeasurable, Undetermined) as reason:
                if self.hamiltonian == "couplings":
                    raise
                effective = None
                notes.append(f"there is no Hamiltonian of Couplings, for {reason}")
            chosen = "the Hamiltonian of Couplings" if explicit else "H_θ"
            notes.append(f"the chains are those of {chosen}")
        operators = effective.operators if effective is not None and explicit else []

        def observe(configurations: Tensor) -> Tensor:
            columns = [observables[name](configurations).double() for name in names]
            if system.has_energy:
                columns.append(system.energy(configurations.double()))
            spins = configurations.cpu().numpy().astype(np.int8)
            columns += [torch.as_tensor(o.value(spins)).to(columns[0]) for o in operators]
            return torch.stack(columns)

        def run(surrogate: SpinHamiltonian | None) -> list[np.ndarray]:
            chains = ReplicaExchange(
                ensemble.model,
                own,
                temperatures,
                self.num_ladders,
                self.seed,
                surrogate,
                corrected=not explicit,
            )
            with progress_bar("Chains at other temperatures", self.num_steps) as advance:
                return [x.cpu().numpy() for x in chains.run(self.num_steps, observe, advance)]

        log_prob, values, acceptance = run(effective.hamiltonian if effective is not None else None)
        if effective is not None and acceptance.mean() < REFUSED:
            log_prob, values, acceptance = run(None)
        energy = values[len(names)] if system.has_energy else -own * log_prob
        held_out, trained = ensemble.log_prob, ensemble.samples(SAMPLES, self.seed).log_prob
        variations = np.zeros((0, *log_prob.shape))
        if effective is not None and explicit:
            hamiltonian = effective.hamiltonian
            held_out, trained = (
                -hamiltonian.energy(s.cpu().numpy()) / own
                for s in (ensemble.configurations, effective.samples)
            )
            drawn = np.random.default_rng(self.seed).multivariate_normal(
                np.zeros(len(operators)), effective.covariance, VARIATIONS
            )
            variations = np.tensordot(drawn, values[-len(operators) :], 1)
        estimates: dict[str, Estimate] = {}
        reference: dict[str, float | Estimate] = {}
        low, high = np.quantile(held_out, [0.001, 0.999])
        for k, temperature in enumerate(temperatures):
            logs = own / temperature * variations[:, k]
            found = moments(energy[k], values[:, k], names, temperature, system.num_sites, logs)
            found["acceptance"] = over_ladders(lambda a: a, acceptance[k])
            seen = over_ladders(lambda a: a, (log_prob[k] >= low) & (log_prob[k] <= high))
            found["seen"] = seen
            found["ess"] = effective_sample_size((own / temperature - 1) * trained)
            if seen.value < SEEN:
                notes.append(
                    f"T' = {temperature:g}: only {100 * seen.value:.0f} % of the configurations have "
                    "an H that the data reach; the model was hardly trained on such."
                )
            estimates |= {f"{name}@{temperature:g}": estimate for name, estimate in found.items()}
            exact = system.exact_values(temperature)
            reference |= {
                f"{name}@{temperature:g}": exact[name]
                for name in ("energy", "specific_heat")
                if name in exact and system.has_energy
            }
        hidden = {name for name in estimates if not name.startswith(("energy", "specific_heat"))}
        peak = specific_heat_peak(
            energy, -own * log_prob, np.array(temperatures), system.num_sites, own * variations
        )
        if not math.isfinite(peak[0].error):
            notes.append("The specific heat has its largest value at an end of the temperatures.")
        summary |= {"specific_heat_peak": peak[0], "specific_heat_maximum": peak[1]}
        arrays = {"temperature": np.array(temperatures)}
        for name in sorted({name.partition("@")[0] for name in estimates}):
            arrays[name] = np.array([estimates[f"{name}@{t:g}"] for t in temperatures])
        for name in ("energy", "specific_heat"):
            if f"{name}@{temperatures[0]:g}" in reference:
                arrays[f"{name}_exact"] = np.array([reference[f"{name}@{t:g}"] for t in temperatures])
        return Result(
            summary | estimates, arrays, self.figure(arrays, own, explicit), reference, hidden, notes
        )

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], own: float, explicit: bool) -> Figure:
        """Energy, specific heat and magnetisation against T'."""
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
            axes.axvline(own, lw=0.7, ls=":", color=EXACT)
            axes.set(xlabel="$T'$", ylabel=text)
        legends(row)
        return figure


def nll_gain(effective: EffectiveHamiltonian) -> Estimate:
    """⟨−ln p_θ⟩ − ⟨−ln p⟩ of held-out configurations, p = e^{−H/T}/Z of the explicit Hamiltonian.

    Z = ⟨e^{−H/T}/p_θ⟩ over samples of the network.
    """
    ensemble, hamiltonian = effective.ensemble, effective.hamiltonian
    samples = ensemble.samples(effective.num_samples, effective.seed)

    def action(configurations: Tensor) -> np.ndarray:
        return hamiltonian.energy(configurations.cpu().numpy()) / ensemble.temperature

    log_z = log_mean_exp(-action(samples.configurations) - samples.log_prob)
    data = mean(-ensemble.log_prob - action(ensemble.configurations))
    return Estimate(data.value - log_z.value, math.hypot(data.error, log_z.error))


def over_ladders(function: Callable[..., float], *series: np.ndarray) -> Estimate:
    """A function of means of series `(ladders, steps)`, with the jackknife error over ladders."""
    return jackknife(function, *(x.mean(axis=1) for x in series))


def moments(
    energy: np.ndarray,
    values: np.ndarray,
    names: Sequence[str],
    temperature: float,
    sites: int,
    variations: np.ndarray,
) -> dict[str, Estimate]:
    """Means and fluctuations at one T' of series `(ladders, steps)`.

    Args:
        energy: E.
        values: |m|, and m where it is named.
        names: Of the values.
        temperature: T'.
        sites: N.
        variations: Ln of weights `(draws, ladders, steps)` that the errors of the couplings make.
    """
    shifted, centre = energy - energy.mean(), energy.mean()
    size = values[0]
    wanted: dict[str, tuple[Callable[..., float], tuple[np.ndarray, ...]]] = {
        "energy": (lambda e: (centre + e) / sites, (shifted,)),
        "specific_heat": (
            lambda e, ee: (ee - e * e) / (sites * temperature**2),
            (shifted, shifted**2),
        ),
        "abs_magnetization": (lambda m: m, (size,)),
        "susceptibility": (lambda m, mm: sites * (mm - m * m) / temperature, (size, size**2)),
    }
    if "magnetization" in names:
        wanted["binder_cumulant"] = (lambda m2, m4: 1 - m4 / (3 * m2 * m2), (size**2, size**4))
    weights = [np.exp(logs - logs.max()) for logs in variations]
    found = {}
    for name, (function, series) in wanted.items():
        estimate = over_ladders(function, *series)
        varied = [function(*(np.average(x, weights=w) for x in series)) for w in weights]
        found[name] = Estimate(estimate.value, math.hypot(estimate.error, spread(varied)))
    return found


def spread(varied: Sequence[float]) -> float:
    """Standard deviation, 0 of none."""
    return float(np.std(varied, ddof=1)) if len(varied) else 0.0


def specific_heat_peak(
    energy: np.ndarray,
    hamiltonian: np.ndarray,
    temperatures: np.ndarray,
    sites: int,
    variations: np.ndarray,
) -> tuple[Estimate, Estimate]:
    """T' and value of the largest C between the temperatures, by multiple-histogram reweighting.

    Args:
        energy: E `(T', ladders, steps)`.
        hamiltonian: H of the same, by which the chains are weighted.
        temperatures: T'.
        sites: N.
        variations: What the errors of the couplings make of −H `(draws, T', ladders, steps)`.

    Returns:
        Both with the jackknife error over ladders and that of the couplings; the error of T' is infinite
        at an end.
    """
    start = np.zeros(len(temperatures))

    def peak(ladders: np.ndarray, change: np.ndarray | None = None) -> tuple[float, float]:
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

        wanted = h if change is None else h - change.ravel()

        def heat(temperature: float) -> float:
            log_weights = -wanted / temperature - mixture
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
    varied = np.array([peak(everything, change) for change in variations]).reshape(-1, 2)
    errors = np.hypot(errors, [spread(column) for column in varied.T.tolist()])
    inside = temperatures[0] < full[0] < temperatures[-1]
    return (
        Estimate(float(full[0]), float(errors[0]) if inside else math.inf),
        Estimate(float(full[1]), float(errors[1])),
    )
