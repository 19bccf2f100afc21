"""Two-point function in imaginary time, and the energy gap from its decay."""

import math
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.optimize import brentq
from torch import Tensor

from lightdan.checks import check_number
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.simulation.transfer_matrix import TransferMatrix
from lightdan.statistics import Blocks, Estimate, jackknife, weakness
from lightdan.systems.path import Path


class Correlator(SampledMeasurement):
    """Two-point function C(t) = ⟨x_0 x_t⟩ of paths, and the energy gap E_1 − E_0.

    The lowest two levels alone have

        C(t) ∝ cosh((E_1 − E_0)(t − N/2) a).

    The gap solves this for C(t_1)/C(t_2). At t_1 the higher levels have died out, and t_2 = 3 t_1 is
    short enough for the noise. Estimates, at the lattice spacing a:

    - `gap`, `gap_reweighted`, `gap_data`: gap of samples, reweighted samples and held-out data.
    - `gap_continuum`: `gap` times the exact ratio of the gaps at a → 0 and at a.

    Args:
        start: Imaginary time t_1 a; by default the second excitation has decayed to e^−5 there.
        kwargs: Arguments of `SampledMeasurement`: num_samples, seed, every_n_epochs.
    """

    name = "correlator"

    def __init__(self, start: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = None if start is None else check_number("start", start, 0)

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure C(t) and the gaps."""
        system = ensemble.system
        if not isinstance(system, Path):
            raise NotMeasurable(f"{type(system).__name__} is not a system of paths.")
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
            blocks = ensemble.blocks if name == "gap_data" else None
            curve = [
                jackknife(lambda wc, w: wc / w, weights * column, weights, blocks=blocks)
                for column in products.T
            ]
            arrays[name.replace("gap", "correlator")] = np.array(curve)
            estimates[name] = gap(products, weights, first, system.num_sites, spacing, blocks)
            if not math.isfinite(estimates[name].value):
                notes.append(f"{name} is undefined because C(t) is not a cosh from {first} slices on.")
        ratio = float(continuum[1] - continuum[0]) / exact_gap
        estimates["gap_continuum"] = Estimate(
            ratio * estimates["gap"].value, ratio * estimates["gap"].error
        )
        arrays["exact"] = solved.correlator()[: len(curve)]
        reference = dict.fromkeys(sets, exact_gap) | {"gap_continuum": ratio * exact_gap}
        figure = self.figure(arrays, spacing)
        result = Result(estimates, arrays, figure, reference, {"gap_data"}, notes)
        result.withhold(["gap_reweighted"], weakness(samples.log_weights))
        return result

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], spacing: float) -> Figure:
        """Plot C(τ), and its deviation from the exact one."""
        figure, (left, right) = panels(2)
        exact = arrays["exact"]
        times = spacing * np.arange(len(exact))
        left.plot(times, exact, "-", lw=1, color=EXACT, label="exact")
        for name, label, colour, marker in (
            ("correlator", "model", MODEL, "o"),
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
    """Return the number of slices after which two levels are left; by default e^−5 of the third."""
    if start is None:
        start = 5.0 / float(solved.energies[2] - solved.energies[0])
    return min(max(1, round(start / solved.spacing)), solved.num_slices // 2 - 1)


def correlations(paths: Tensor) -> np.ndarray:
    """Return the mean of x_i x_{i+t} over i for each path and t = 0, …, N/2 `(M, N/2 + 1)`."""
    power = torch.fft.rfft(paths.double(), dim=1).abs().square()
    products = torch.fft.irfft(power, n=paths.shape[1], dim=1) / paths.shape[1]
    return products[:, : paths.shape[1] // 2 + 1].cpu().numpy()


def gap(
    products: np.ndarray,
    weights: np.ndarray,
    first: int,
    sites: int,
    spacing: float,
    blocks: Blocks | None = None,
) -> Estimate:
    """Return the gap from C at `first` and 3 × `first` slices; NaN if there is no solution."""
    last = min(3 * first, products.shape[1] - 1)

    def solve(ratio: float) -> float:
        """Return ΔE from C(first)/C(last)."""

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
    return jackknife(lambda a, b: solve(a / b) if b > 0 else math.nan, early, late, blocks=blocks)
