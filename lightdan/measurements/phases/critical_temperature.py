"""The critical temperature of the film of which the configurations are a part."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from matplotlib.figure import Figure

from lightdan.interactions.hamiltonian import SpinHamiltonian
from lightdan.interactions.operators import uniform_operators
from lightdan.measurements.base import Measurement
from lightdan.measurements.couplings.couplings import uniform_hamiltonian
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import EXACT, legends, panels
from lightdan.measurements.report import Result
from lightdan.progress import progress_bar
from lightdan.simulation.tempering import temper
from lightdan.statistics import Estimate

VARIATIONS = 32
"""Draws of the couplings from their errors."""
COARSE = np.geomspace(0.4, 2.5, 24)
"""T'/T at which the specific heat is looked at first."""
FINER = np.linspace(0.88, 1.12, 13)
"""T' over that of the largest specific heat then found, at which it is looked at again."""
FINEST = np.linspace(0.90, 1.05, 16)
"""T' over that of the peak, at which the two sizes are compared; they cross below it."""

NEAR = 0.035
"""Distance from the crossing over T' of the points that it is read from."""


class CriticalTemperature(Measurement):
    """T_C of the learned couplings, by the crossing of the Binder cumulants of two lattices.

    The Hamiltonian of `Couplings` is put on periodic lattices of L and 2 L sites a side, larger than a
    patch needs to be, and simulated by replica exchange around the T' of the largest specific heat. The
    field of the fit is left out: in a field there is no critical point. Estimates:
    `critical_temperature`, where U = 1 − ⟨m⁴⟩/3⟨m²⟩² is the same for both, in the units of T; `ratio`,
    T_C/T; and `specific_heat_peak_<L>`. Errors are those of the simulation, by the jackknife over
    independent chains, and of the couplings, by reweighting. Of a modulated phase, whose m vanishes at
    all temperatures, there is no crossing, and a note says so.

    Args:
        max_distance: Of the pairs.
        size: L.
        num_ladders: Independent sets of chains.
        num_steps: Of each chain.
        num_samples: Of the network, for `Couplings`.
        seed: Of all random numbers.
        every_n_epochs: Measure during training too.

    Source: K. Binder, Z. Phys. B 43, 119 (1981).
    """

    name = "critical_temperature"

    def __init__(
        self,
        max_distance: float = 2.0,
        size: int = 16,
        num_ladders: int = 16,
        num_steps: int = 250,
        num_samples: int = 3_000,
        seed: int = 0,
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(every_n_epochs)
        if size < 2 * max_distance + 1 or num_ladders < 4 or num_steps < 10:
            raise ValueError(
                "CriticalTemperature needs size > 2 max_distance, num_ladders ≥ 4 and num_steps ≥ 10, "
                f"not {size}, {max_distance}, {num_ladders} and {num_steps}."
            )
        self.max_distance, self.size = max_distance, size
        self.num_ladders, self.num_steps = num_ladders, num_steps
        self.num_samples, self.seed = num_samples, seed

    def measure(self, ensemble: Ensemble) -> Result:
        """The crossing and the peaks."""
        system, own = ensemble.system, ensemble.temperature
        if len(system.lattice_shape) != 2:
            raise NotMeasurable(f"{type(system).__name__} is not two-dimensional")
        found = uniform_hamiltonian(ensemble, self.max_distance, self.num_samples, self.seed)
        keep = [k for k, operator in enumerate(found.operators) if operator.order % 2 == 0]
        couplings = {found.operators[k].name: float(found.couplings[k]) for k in keep}
        drawn = np.random.default_rng(self.seed).multivariate_normal(
            np.zeros(len(keep)), found.covariance[np.ix_(keep, keep)], VARIATIONS
        )

        def run(side: int, temperatures: np.ndarray, num_steps: int) -> Series:
            by_name = {
                operator.name: operator
                for operator in uniform_operators(
                    (side, side), "periodic", system.symmetries, self.max_distance
                )
            }
            operators = [replace(by_name[name], coupling=j) for name, j in couplings.items()]
            title = f"Couplings on {side} × {side}"
            with progress_bar(title, num_steps) as advance:
                hamiltonian = SpinHamiltonian((side, side), operators, 1.0)
                observed = temper(
                    hamiltonian.moves(),
                    [float(t) for t in temperatures / own],
                    self.num_ladders,
                    num_steps,
                    lambda spins: np.stack([spins.mean(1) ** 2, *(o.value(spins) for o in operators)]),
                    self.seed,
                    progress=advance,
                )
            return Series(temperatures / own, np.array(list(couplings.values())), observed)

        few = max(10, self.num_steps // 4)
        coarse = run(self.size, own * COARSE, few)
        best = int(coarse.specific_heat().argmax())
        if best in (0, len(COARSE) - 1):
            low, high = own * COARSE[[0, -1]]
            raise NotMeasurable(
                f"the specific heat of the couplings has no peak between {low:.3g} and {high:.3g}"
            )
        near = own * peak_of(run(self.size, own * COARSE[best] * FINER, few))
        temperatures = near * FINEST
        series = [run(side, temperatures, self.num_steps) for side in (self.size, 2 * self.size)]
        sides = [f"{self.size}", f"{2 * self.size}"]
        estimates = {}
        crossing = with_errors(lambda small, large: own * crossing_of(small, large), series, drawn)
        notes = []
        if math.isfinite(crossing.error):
            estimates["critical_temperature"] = crossing
            estimates["ratio"] = Estimate(crossing.value / own, crossing.error / own)
        else:
            notes.append(
                "the Binder cumulants of the two lattices do not cross near the largest C: no T_C"
            )
        for side, part in zip(sides, series, strict=True):
            peak = with_errors(lambda only: own * peak_of(only), [part], drawn)
            estimates[f"specific_heat_peak_{side}"] = peak
        arrays = {"temperature": temperatures}
        for side, part in zip(sides, series, strict=True):
            arrays[f"binder_{side}"] = part.binder()
            arrays[f"specific_heat_{side}"] = part.specific_heat() / int(side) ** 2
        return Result(estimates, arrays, self.figure(arrays, sides, crossing), notes=notes)

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], sides: list[str], crossing: Estimate) -> Figure:
        """The Binder cumulants and the specific heats."""
        figure, row = panels(2)
        for axes, name, text in zip(row, ("binder", "specific_heat"), ("$U$", "$C/N$"), strict=True):
            for side, style in zip(sides, ("o-", "s-"), strict=True):
                values = arrays[f"{name}_{side}"]
                axes.plot(
                    arrays["temperature"], values, style, ms=3, mfc="none", lw=1, label=f"$L = {side}$"
                )
            if math.isfinite(crossing.error):
                low, high = crossing.value - crossing.error, crossing.value + crossing.error
                axes.axvspan(low, high, color=EXACT, alpha=0.2, lw=0, label="$T_C$")
            axes.set(xlabel="$T'$", ylabel=text)
        legends(row)
        return figure


@dataclass(frozen=True, eq=False)
class Series:
    """What chains at several T'/T have seen.

    Args:
        ratios: T'/T.
        couplings: βJ_a.
        observed: m² and the O_a `(1 + operators, T', ladders, steps)`.
        change: Of the βJ_a, by which the chains are reweighted.
    """

    ratios: np.ndarray
    couplings: np.ndarray
    observed: np.ndarray
    change: np.ndarray | None = None

    def without(self, ladders: np.ndarray) -> "Series":
        """The same of the other ladders."""
        return replace(self, observed=np.delete(self.observed, ladders, axis=2))

    @cached_property
    def weights(self) -> np.ndarray:
        """Of the configurations, of sum 1 at each T' `(T', ladders, steps)`."""
        if self.change is None:
            return np.full(self.observed.shape[1:], 1 / math.prod(self.observed.shape[2:]))
        logs = np.tensordot(self.change, self.observed[1:], 1) / self.ratios[:, None, None]
        weights = np.exp(logs - logs.max((1, 2), keepdims=True))
        normalised: np.ndarray = weights / weights.sum((1, 2), keepdims=True)
        return normalised

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Of values `(T', ladders, steps)` at each T'."""
        means: np.ndarray = (values * self.weights).sum((1, 2))
        return means

    def binder(self) -> np.ndarray:
        """U at each T'."""
        square = self.observed[0]
        return 1 - self.mean(square**2) / (3 * self.mean(square) ** 2)

    def specific_heat(self) -> np.ndarray:
        """Var(H)/T'² at each T'."""
        couplings = self.couplings if self.change is None else self.couplings + self.change
        energy = -np.tensordot(couplings, self.observed[1:], 1)
        energy -= energy.mean((1, 2), keepdims=True)
        variance = self.mean(energy**2) - self.mean(energy) ** 2
        heat: np.ndarray = variance / self.ratios**2
        return heat


def crossing_of(small: Series, large: Series) -> float:
    """T'/T where the cumulants are the same, and that of the larger lattice falls below; or NaN."""
    difference = large.binder() - small.binder()
    found = falling_root(small.ratios, difference, 3, (small.ratios[0] + small.ratios[-1]) / 2)
    # Over all of the range a polynomial of low order is not good enough.
    near = np.abs(small.ratios - found) < NEAR * found
    if near.sum() < 4:
        return found
    return falling_root(small.ratios[near], difference[near], 2, found)


def falling_root(x: np.ndarray, y: np.ndarray, degree: int, expected: float) -> float:
    """Where a polynomial through the points falls through 0, the nearest to what is expected; or NaN."""
    curve = np.polynomial.Polynomial.fit(x, y, degree)
    roots = curve.roots()
    real = roots[np.abs(roots.imag) < 1e-9].real
    falling = [root for root in real if x[0] < root < x[-1] and curve.deriv()(root) < 0]
    return min(falling, key=lambda root: abs(root - expected)) if falling else math.nan


def peak_of(series: Series) -> float:
    """T'/T of the largest C, by a polynomial of fourth order."""
    quartic = np.polynomial.Polynomial.fit(series.ratios, series.specific_heat(), 4)
    grid = np.linspace(series.ratios[0], series.ratios[-1], 1001)
    return float(grid[quartic(grid).argmax()])


def with_errors(function: Callable[..., float], series: Sequence[Series], drawn: np.ndarray) -> Estimate:
    """A function of series; errors by the jackknife over ladders and by those of the couplings."""
    value = function(*series)
    number = series[0].observed.shape[2]
    blocks = np.array_split(np.arange(number), min(number, 16))
    left_out = np.array([function(*(part.without(block) for part in series)) for block in blocks])
    n = len(blocks)
    variance = (n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()
    varied = np.array([function(*(replace(part, change=change) for part in series)) for change in drawn])
    error = math.sqrt(variance + varied.var(ddof=1))
    return Estimate(value, error if math.isfinite(value + error) else math.inf)
