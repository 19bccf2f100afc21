"""The critical temperature of the film from which the configurations are taken."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from lightdan.checks import check_integer, check_number, check_seed
from lightdan.measurements.base import Measurement
from lightdan.measurements.couplings.best import best
from lightdan.measurements.couplings.effective_hamiltonian import DISTANCE, uniform_hamiltonian
from lightdan.measurements.couplings.sources import require_spins
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import EXACT, legends, panels
from lightdan.measurements.phases.films import Film, modulated
from lightdan.measurements.phases.ladders import (
    Ladders,
    binder_cumulant,
    crossing,
    polynomial_peak,
    specific_heat,
    with_errors,
)
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate

VARIATIONS = 32
"""Number of draws of the couplings from their errors."""
COARSE = np.geomspace(0.4, 2.5, 24)
"""T'/T of the first search for the peak of the specific heat."""
FINER = np.linspace(0.88, 1.12, 13)
"""T' of the second search, relative to the peak of the first."""
FINEST = np.linspace(0.90, 1.05, 16)
"""T' at which the two lattices are compared, relative to the peak; they cross below it."""


class CriticalTemperature(Measurement):
    """T_C of the learned couplings, from the crossing of the Binder cumulants of two lattices.

    The Hamiltonian of `Couplings` is simulated on periodic lattices with sides L and 2L. They may be
    larger than a patch of the data. Replica exchange covers the T' around the peak of the specific
    heat. Terms of odd order are left out because a field has no critical point. Only spins are
    supported: larger lattices change the terms of angles, and the cumulants of a
    Kosterlitz–Thouless transition merge instead of crossing. `PhaseStructure` takes all kinds of sites.

    If −H of the pairs is largest for waves, the phase is modulated and no T_C is claimed:

        J(k) = Σ_d J_d cos k·d,  J(k*) > J(0) by more than `MODULATED` errors.

    `period` in sites, that of films of the couplings at T, and the array `j_of_k` are measured then.

    Estimates: `critical_temperature` in the units of T, where both lattices have the same

        U = 1 − ⟨m⁴⟩/(3⟨m²⟩²);

    `ratio` T_C/T; and `specific_heat_peak_<L>`, the T' of the peak on each lattice. Errors come from the
    jackknife over independent ladders and from the errors of the couplings, by reweighting.

    Args:
        max_distance: Largest distance of the pairs, in lattice spacings; by default that of `Couplings`.
        size: Side L of the smaller lattice, in sites; longer if the pairs reach around it.
        num_ladders: Number of independent ladders.
        num_steps: Number of steps of each chain; the first fifth is discarded.
        num_samples: Number of samples of the network for `Couplings`.
        seed: Random seed of the samples and the chains.
        every_n_epochs: Number of epochs between measurements on validation data; by default none.

    References:
        K. Binder, Z. Phys. B 43, 119 (1981).
    """

    name = "critical_temperature"

    def __init__(
        self,
        max_distance: float | None = None,
        size: int = 16,
        num_ladders: int = 16,
        num_steps: int = 250,
        num_samples: int = 3_000,
        seed: int = 0,
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(every_n_epochs)
        if max_distance is not None:
            check_number("max_distance", max_distance, 0)
        least = 2 * (DISTANCE if max_distance is None else max_distance) + 1
        if size < least or num_ladders < 4 or num_steps < 10:
            raise ValueError(
                f"CriticalTemperature needs size ≥ {least:g}, num_ladders ≥ 4 and num_steps ≥ 10, not "
                f"{size}, {num_ladders} and {num_steps}."
            )
        self.max_distance, self.size = max_distance, size
        self.num_ladders, self.num_steps = num_ladders, num_steps
        self.num_samples = check_integer("num_samples", num_samples, 2)
        self.seed = check_seed("seed", seed)

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure the crossing and the peaks."""
        name, lattice = type(ensemble.system).__name__, ensemble.system.lattice
        if len(lattice.cells) != 2:
            raise NotMeasurable(f"The lattice of {name} is not two-dimensional.")
        if not lattice.is_hypercubic:
            raise NotMeasurable(f"The lattice of {name} has no square cells.")
        film = self.film(ensemble)
        if (result := modulated(film)) is not None:
            return result
        # Pairs of half the side of a torus would be half as many.
        size = max(self.size, math.floor(2 * film.max_distance) + 1)
        temperatures = self.peak(film, size) * FINEST
        sides = [size, 2 * size]
        pair = [film.simulate(side, temperatures, self.num_ladders, self.num_steps) for side in sides]
        result = Result({}, {"temperature": temperatures})
        self.add_crossing(result, pair, ensemble.temperature)
        for side, chains in zip(sides, pair, strict=True):
            (peak,) = with_errors(polynomial_peak, chains, bias_corrected=False)
            result.estimates[f"specific_heat_peak_{side}"] = peak
            result.arrays[f"binder_{side}"] = binder_cumulant(chains)
            result.arrays[f"specific_heat_{side}"] = specific_heat(chains)
        critical = result.estimates.get("critical_temperature")
        result.figure = self.figure(result.arrays, sides, critical)
        return result

    def film(self, ensemble: Ensemble) -> "Film":
        """Return the terms of even order of the Hamiltonian of `Couplings`."""
        require_spins(ensemble)
        effective = uniform_hamiltonian(ensemble, self.max_distance, self.num_samples, self.seed)
        fit = best(effective, self.seed).fit
        even = [k for k, operator in enumerate(effective.operators) if operator.order % 2 == 0]
        draws = np.random.default_rng(self.seed).multivariate_normal(
            np.zeros(len(even)), fit.covariance[np.ix_(even, even)], VARIATIONS
        )
        # A rectangle has rotations by 180° only, which leave the couplings along its axes different.
        is_square = len(set(ensemble.system.lattice_shape)) == 1
        symmetries = [name for name in ensemble.system.symmetries if is_square or name != "rotation"]
        return Film(
            [replace(effective.operators[k], coupling=float(fit.couplings[k])) for k in even],
            draws,
            ensemble.temperature,
            symmetries,
            max(operator.distance for operator in effective.operators if operator.displacement),
            self.seed,
        )

    def peak(self, film: "Film", size: int) -> float:
        """Return the T' of the peak of the specific heat, in two searches with short chains.

        Args:
            film: Uniform Hamiltonian.
            size: Side of the lattice in sites.

        Raises:
            NotMeasurable: There is no peak.
        """
        few = max(10, self.num_steps // 4)
        temperatures = film.temperature * COARSE
        coarse = specific_heat(film.simulate(size, temperatures, self.num_ladders, few))
        best = int(coarse.argmax())
        if best in (0, len(COARSE) - 1):
            raise NotMeasurable(
                "The specific heat of the couplings has no peak between "
                f"{temperatures[0]:.3g} and {temperatures[-1]:.3g}."
            )
        finer = film.temperature * (COARSE[best] * FINER)
        return polynomial_peak(film.simulate(size, finer, self.num_ladders, few))

    @staticmethod
    def add_crossing(result: Result, pair: Sequence[Ladders], temperature: float) -> None:
        """Add T_C and T_C/T, or a note that there is no crossing or no error of it."""
        (critical,) = with_errors(crossing, *pair, bias_corrected=False)
        if math.isfinite(critical.error):
            ratio = Estimate(critical.value / temperature, critical.error / temperature)
            result.estimates |= {"critical_temperature": critical, "ratio": ratio}
        elif math.isfinite(critical.value):
            result.notes.append(
                f"The Binder cumulants of the two lattices cross at {critical.value:.3g}, but not for "
                "all couplings within their errors, so T_C has no error and is left out: use more data."
            )
        else:
            result.notes.append(
                "The Binder cumulants of the two lattices do not cross near the peak of the specific "
                "heat, so there is no T_C."
            )

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], sides: Sequence[int], critical: Estimate | None) -> Figure:
        """Draw the Binder cumulants and the specific heats."""
        figure, row = panels(2)
        for axes, name, text in zip(row, ("binder", "specific_heat"), ("$U$", "$C/N$"), strict=True):
            for side, style in zip(sides, ("o-", "s-"), strict=True):
                values = arrays[f"{name}_{side}"]
                axes.plot(
                    arrays["temperature"], values, style, ms=3, mfc="none", lw=1, label=f"$L = {side}$"
                )
            if critical is not None:
                low, high = critical.value - critical.error, critical.value + critical.error
                axes.axvspan(low, high, color=EXACT, alpha=0.2, lw=0, label="$T_C$")
            axes.set(xlabel="$T'$", ylabel=text)
        legends(row)
        return figure
