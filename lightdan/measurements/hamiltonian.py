"""Comparison of the learned Hamiltonian, or action, with the true one."""

import math

import numpy as np
from matplotlib.figure import Figure

from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.measurements.table import Reference
from lightdan.statistics import Blocks, Bound, Estimate, bennett, jackknife, mean

LEAST_SLOPE = 2.0
"""Slope in standard errors below which R², which is quadratic in it, has no error."""
ROUNDING = 1e-6
"""Difference of actions, relative to the largest, below which they are equal."""


class Hamiltonian(SampledMeasurement):
    """Learned against true Hamiltonian on held-out configurations: slope, KL, ln Z and NLL.

    A perfect network has

        −ln p_θ(s) = S(s) + ln Z,

    S being H/T or the action of a field. Estimates, in nats per configuration:

    - `slope`, `intercept`, `r2`: straight line of −ln p_θ against S, ideally 1, ln Z and 1. R² has no
      error if the slope is less than two errors from zero. There is no line if all S are equal, as in
      ground states.
    - `ln_z`: ln Z by Bennett's acceptance ratio between the data and samples of the model. It is
      unbiased by the fit, unlike the intercept, which extrapolates. The measure is dθ/2π for angles
      and dx/√(2πa) for paths.
    - `nll`: ⟨−ln p_θ⟩, at least the entropy, apart from the noise of the test set.
    - `kl`: KL(data‖model) = ⟨ln p − ln p_θ⟩ with ln p = −S − ln Z and the exact ln Z, or `ln_z` if it
      is not known. Most sampling noise of the test set cancels in the difference.
    - `nll_bare`, `kl_bare`: the same before symmetrisation, if the model is symmetrised.

    If the Hamiltonian is not known, `nll` is the only estimate.
    """

    name = "hamiltonian"
    takes_weights = True
    takes_controls = True

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure slope, intercept, R², ln Z, KL and NLL."""
        nll, weights, blocks = -ensemble.log_prob, ensemble.weights, ensemble.blocks
        arrays = {"nll": nll} if weights is None else {"nll": nll, "weights": weights}
        if not ensemble.system.has_action:
            name = type(ensemble.system).__name__
            note = f"The Hamiltonian of {name} is not known, so NLL is the only estimate."
            return Result({"nll": mean(nll, weights, blocks)}, arrays, notes=[note])
        action = ensemble.action
        samples = ensemble.samples(self.num_samples, self.seed)
        log_z = bennett(nll - action, samples.log_weights, weights, blocks)
        exact = ensemble.exact.get("ln_z")
        constant = log_z if exact is None else Estimate(exact, 0.0)
        sloped = varies(action, blocks)
        estimates = {
            **(line(action, nll, weights, blocks) if sloped else {}),
            "ln_z": log_z,
            "nll": mean(nll, weights, blocks),
            "kl": minus(mean(nll - action, weights, blocks), constant),
        }
        reference: dict[str, Reference] = {"slope": 1.0, "r2": Bound(1.0, "≤"), "kl": Bound(0.0, "≥")}
        notes = []
        if exact is not None:
            reference |= {"ln_z": exact, "intercept": exact}
        else:
            notes.append("The exact ln Z is not known, so kl uses the estimate ln_z.")
        if not sloped:
            notes.append("Nearly all held-out configurations have the same energy, so H_θ has no slope.")
        if "nll" in ensemble.exact:
            reference["nll"] = Bound(ensemble.exact["nll"], "≥")
        if ensemble.model.symmetrize:
            bare = -ensemble.evaluate(
                ensemble.bare_log_prob, ensemble.configurations, controls=ensemble.controls
            )
            estimates["nll_bare"] = mean(bare, weights, blocks)
            estimates["kl_bare"] = minus(mean(bare - action, weights, blocks), constant)
            reference |= {f"{name}_bare": reference[name] for name in ("nll", "kl") if name in reference}
        result = Result(
            estimates,
            {"action": action, **arrays},
            self.figure(action, nll - constant.value, estimates),
            {name: value for name, value in reference.items() if name in estimates},
            notes=notes,
        )
        if sloped and abs(estimates["slope"].value) < LEAST_SLOPE * estimates["slope"].error:
            result.withhold(["r2"], "a slope that may be zero")
        return result

    @staticmethod
    def figure(action: np.ndarray, learned: np.ndarray, estimates: dict[str, Estimate]) -> Figure:
        """Plot S_θ against S, and their difference."""
        figure, (left, right) = panels(2)
        ends = np.array([action.min(), action.max()])
        left.plot(
            action, learned, ".", ms=2, color=DATA, alpha=0.4, label="held-out data", rasterized=True
        )
        left.plot(ends, ends, "-", lw=1, color=EXACT, label="exact")
        text = f"KL {estimates['kl']} nats"
        if "slope" in estimates:
            text = f"slope {estimates['slope']}\n$R^2$ {estimates['r2']}\n{text}"
        left.text(0.97, 0.04, text, ha="right", va="bottom", fontsize=8, transform=left.transAxes)
        left.set(xlabel="$S$", ylabel=r"$-\ln p_\theta - \ln Z$")
        right.plot(action, learned - action, ".", ms=2, color=DATA, alpha=0.4, rasterized=True)
        right.axhline(0, lw=1, color=EXACT, label="exact")
        right.axhline(estimates["kl"].value, lw=1, color=MODEL, ls="--", label="mean = KL")
        right.set(xlabel="$S$", ylabel=r"$\ln p - \ln p_\theta$")
        legends((left, right))
        return figure


def minus(first: Estimate, second: Estimate) -> Estimate:
    """Return the difference of two independent estimates."""
    return Estimate(first.value - second.value, math.hypot(first.error, second.error))


def varies(x: np.ndarray, blocks: Blocks | None = None) -> bool:
    """Return whether x takes several values, also where any one block of rows is left out."""
    starts = np.arange(len(x)) if blocks is None or len(blocks.starts) < 2 else blocks.starts
    ends = np.append(starts, len(x))
    least = ROUNDING * np.abs(x).max()
    for row in (x.argmin(), x.argmax()):
        block = np.searchsorted(starts, row, "right")
        rest = np.delete(x, slice(ends[block - 1], ends[block]))
        if not rest.size or np.ptp(rest) <= least:
            return False
    return True


def line(
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None = None,
    blocks: Blocks | None = None,
) -> dict[str, Estimate]:
    """Fit y against x by least squares; return slope, intercept and R² with jackknife errors."""
    x0, y0 = x.mean(), y.mean()
    u, v = x - x0, y - y0
    moments = (u, v, u * u, u * v, v * v)

    def slope(u: float, v: float, uu: float, uv: float, vv: float) -> float:
        return (uv - u * v) / (uu - u * u)

    def intercept(u: float, v: float, uu: float, uv: float, vv: float) -> float:
        return v + y0 - slope(u, v, uu, uv, vv) * (u + x0)

    def r2(u: float, v: float, uu: float, uv: float, vv: float) -> float:
        return (uv - u * v) ** 2 / ((uu - u * u) * (vv - v * v))

    return {
        f.__name__: jackknife(f, *moments, weights=weights, blocks=blocks)
        for f in (slope, intercept, r2)
    }
