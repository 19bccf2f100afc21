"""The two-point function in imaginary time, and the energy gap that it decays with."""

import math
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.optimize import brentq
from torch import Tensor

from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.simulation.transfer_matrix import TransferMatrix
from lightdan.statistics import Estimate, jackknife
from lightdan.systems.path import Path


class Correlator(SampledMeasurement):
    """C(t) = ⟨x_0 x_t⟩ and the gap E_1 − E_0 by which it decays, of samples, reweighted ones and data.

    Two levels give C(t) ∝ cosh((E_1 − E_0)(t − N/2) a). The gap is the solution of
    C(t_1)/C(t_2) = cosh(…)/cosh(…) with t_1 a = `start`, where the higher levels have died out, and
    t_2 = 3 t_1, before the noise takes over. Estimates: `gap`, `gap_reweighted`, `gap_data`, at the
    lattice spacing a; and `gap_continuum`, that of the samples times the exact ratio of the gaps at
    a → 0 and at a.

    Args:
        start: Imaginary time t_1 a, by default that by which the second excitation lost e^−5.
        kwargs: Of `SampledMeasurement`: num_samples, seed, every_n_epochs.
    """

    name = "correlator"

    def __init__(self, start: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start

    def measure(self, ensemble: Ensemble) -> Result:
        """C(t) and the gaps."""
        system = ensemble.system
        if not isinstance(system, Path):
            raise NotMeasurable(f"{type(system).__name__} is no path")
        solved = system.solution(ensemble.temperature)
        energies, continuum = solved.energies, solved.continuum_energies()
        exact_gap = float(energies[1] - energies[0])
        spacing = solved.spacing
        first = two_levels_from(solved, self.start)
        samples = ensemble.samples(self.num_samples, self.seed)
        sets = {
            "gap": (samples.configurations, None),
            "gap_reweighted": (samples.configurations, samples.log_weights),
            "gap_data": (ensemble.configurations, None),
        }
        estimates, arrays = {}, {}
        notes = []
        for name, (paths, log_weights) in sets.items():
            products = correlations(paths)
            weights = np.ones(len(products))
            if log_weights is not None:
                weights = np.exp(log_weights - log_weights.max())
            curve = [jackknife(lambda wc, w: wc / w, weights * column, weights) for column in products.T]
            arrays[name.replace("gap", "correlator")] = np.array(curve)
            estimates[name] = gap(products, weights, first, system.num_sites, spacing)
            if not math.isfinite(estimates[name].value):
                notes.append(f"{name}: C(t) does not decay as a cosh from {first} slices on.")
        ratio = float(continuum[1] - continuum[0]) / exact_gap
        estimates["gap_continuum"] = Estimate(
            ratio * estimates["gap"].value, ratio * estimates["gap"].error
        )
        arrays["exact"] = solved.correlator()[: len(curve)]
        reference = dict.fromkeys(sets, exact_gap) | {"gap_continuum": ratio * exact_gap}
        figure = self.figure(arrays, spacing)
        return Result(estimates, arrays, figure, reference, {"gap_data"}, notes)

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], spacing: float) -> Figure:
        """C(τ), and its deviation from the exact one."""
        figure, (left, right) = panels(2)
        exact = arrays["exact"]
        times = spacing * np.arange(len(exact))
        left.plot(times, exact, "-", lw=1, color=EXACT, label="exact")
        for name, label, colour, marker in (
            ("correlator", r"$S_\theta$", MODEL, "o"),
            ("correlator_data", "data", DATA, "s"),
        ):
            values, errors = arrays[name].T
            style: dict[str, Any] = {"fmt": marker, "ms": 3, "color": colour, "mfc": "none", "lw": 0.7}
            left.errorbar(times, values, errors, label=label, **style)
            right.errorbar(times, values - exact, errors, label=label, **style)
        right.axhline(0, lw=1, color=EXACT)
        left.set(xlabel=r"$\tau$", ylabel=r"$C(\tau)$")
        right.set(xlabel=r"$\tau$", ylabel=r"$C-C_\mathrm{exact}$")
        legends((left, right))
        return figure


def two_levels_from(solved: TransferMatrix, start: float | None = None) -> int:
    """Slices after which the lowest two levels are left, by default where e^−5 of the third is."""
    if start is None:
        start = 5.0 / float(solved.energies[2] - solved.energies[0])
    return min(max(1, round(start / solved.spacing)), solved.num_slices // 2 - 1)


def correlations(paths: Tensor) -> np.ndarray:
    """Mean of x_i x_{i+t} over i, of each path, for t = 0, …, N/2 `(M, N/2 + 1)`."""
    power = torch.fft.rfft(paths.double(), dim=1).abs().square()
    products = torch.fft.irfft(power, n=paths.shape[1], dim=1) / paths.shape[1]
    return products[:, : paths.shape[1] // 2 + 1].cpu().numpy()


def gap(products: np.ndarray, weights: np.ndarray, first: int, sites: int, spacing: float) -> Estimate:
    """The gap from C at `first` slices and at three times that; not a number where there is none."""
    last = min(3 * first, products.shape[1] - 1)

    def solve(ratio: float) -> float:
        """ΔE from C(first)/C(last)."""

        def excess(energy: float) -> float:
            arguments = [energy * spacing * (sites / 2 - t) for t in (first, last)]
            # ln cosh without overflow
            logs = [abs(x) + math.log1p(math.exp(-2 * abs(x))) for x in arguments]
            return logs[0] - logs[1] - math.log(ratio)

        top = 50.0 / spacing
        if not (ratio > 1 and excess(top) > 0):
            return math.nan
        return float(brentq(excess, 0.0, top))

    early, late = weights * products[:, first], weights * products[:, last]
    return jackknife(lambda a, b: solve(a / b) if b > 0 else math.nan, early, late)
