"""The learned Hamiltonian, or action, against the true one."""

import math

import numpy as np
from matplotlib.figure import Figure

from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate, bennett, jackknife, mean


class Hamiltonian(SampledMeasurement):
    """Is −ln p_θ(s) = S(s) + ln Z on held-out configurations, S being H/T or the action of a field?

    Estimates, in nats a configuration:

    - `nll`: ⟨−ln p_θ⟩, never below the entropy but for the noise of the test set;
    - `slope`, `intercept`, `r2`: of the straight line of −ln p_θ over S, ideally 1, ln Z and 1;
    - `ln_z`: by Bennett's acceptance ratio between the configurations and samples of the model, right
      whatever the fit, unlike the intercept, which extrapolates; angles in the measure dθ/2π, paths
      in dx/√(2πa);
    - `kl`: KL(data‖model) by the paired estimator ⟨ln p − ln p_θ⟩ with ln p = −S − ln Z, exact where
      ln Z is known, else with `ln_z`; most of the test set's sampling noise cancels in it;
    - `nll_bare`, `kl_bare`: of the network before symmetrisation, where there is one.

    A system of unknown Hamiltonian has `nll` only.
    """

    name = "hamiltonian"

    def measure(self, ensemble: Ensemble) -> Result:
        """Slope, intercept, R², ln Z, KL and NLL with errors."""
        nll = -ensemble.log_prob
        if not ensemble.system.has_action:
            note = f"the Hamiltonian of {type(ensemble.system).__name__} is not known: NLL only."
            return Result({"nll": mean(nll)}, {"nll": nll}, notes=[note])
        action = ensemble.action
        samples = ensemble.samples(self.num_samples, self.seed)
        log_z = bennett(nll - action, samples.log_weights)
        exact = ensemble.exact.get("ln_z")
        constant = log_z if exact is None else Estimate(exact, 0.0)
        estimates = {
            **line(action, nll),
            "ln_z": log_z,
            "nll": mean(nll),
            "kl": minus(mean(nll - action), constant),
        }
        reference, notes = {"slope": 1.0, "r2": 1.0}, []
        if exact is not None:
            reference |= {"ln_z": exact, "intercept": exact}
        else:
            notes.append("ln Z is not known exactly; kl uses the estimate ln_z.")
        if "nll" in ensemble.exact:
            reference["nll"] = ensemble.exact["nll"]
        if ensemble.model.symmetrize:
            bare = -ensemble.evaluate(ensemble.model.bare_log_prob, ensemble.configurations)
            estimates["nll_bare"] = mean(bare)
            estimates["kl_bare"] = minus(mean(bare - action), constant)
        return Result(
            estimates,
            {"action": action, "nll": nll},
            self.figure(action, nll - constant.value, estimates),
            reference,
            notes=notes,
        )

    @staticmethod
    def figure(action: np.ndarray, learned: np.ndarray, estimates: dict[str, Estimate]) -> Figure:
        """S_θ over S, and the difference."""
        figure, (left, right) = panels(2)
        ends = np.array([action.min(), action.max()])
        left.plot(action, learned, ".", ms=2, color=DATA, alpha=0.4, label="held-out", rasterized=True)
        left.plot(ends, ends, "-", lw=1, color=EXACT, label="exact")
        text = f"slope {estimates['slope']}\n$R^2$ {estimates['r2']}\nKL {estimates['kl']} nats"
        left.text(0.97, 0.04, text, ha="right", va="bottom", fontsize=8, transform=left.transAxes)
        left.set(xlabel="$S$", ylabel=r"$-\ln p_\theta - \ln Z$")
        right.plot(action, learned - action, ".", ms=2, color=DATA, alpha=0.4, rasterized=True)
        right.axhline(0, lw=1, color=EXACT, label="exact")
        right.axhline(estimates["kl"].value, lw=1, color=MODEL, ls="--", label="mean = KL")
        right.set(xlabel="$S$", ylabel=r"$\ln p - \ln p_\theta$")
        legends((left, right))
        return figure


def minus(first: Estimate, second: Estimate) -> Estimate:
    """The difference of two independent estimates."""
    return Estimate(first.value - second.value, math.hypot(first.error, second.error))


def line(x: np.ndarray, y: np.ndarray) -> dict[str, Estimate]:
    """Slope, intercept and R² of the least-squares line of y over x, with jackknife errors."""
    x0, y0 = x.mean(), y.mean()
    u, v = x - x0, y - y0
    moments = (u, v, u * u, u * v, v * v)

    def slope(u: float, v: float, uu: float, uv: float, vv: float) -> float:
        return (uv - u * v) / (uu - u * u)

    def intercept(u: float, v: float, uu: float, uv: float, vv: float) -> float:
        return v + y0 - slope(u, v, uu, uv, vv) * (u + x0)

    def r2(u: float, v: float, uu: float, uv: float, vv: float) -> float:
        return (uv - u * v) ** 2 / ((uu - u * u) * (vv - v * v))

    return {f.__name__: jackknife(f, *moments) for f in (slope, intercept, r2)}
