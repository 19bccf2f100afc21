"""The learned Hamiltonian against the true one."""

import numpy as np
from matplotlib.figure import Figure

from lightdan.callbacks.base import Measurement
from lightdan.callbacks.ensemble import Ensemble
from lightdan.callbacks.figures import DATA, EXACT, MODEL, legends, two_panels
from lightdan.callbacks.report import Result
from lightdan.statistics import Estimate, jackknife, log_mean_exp, mean


class Hamiltonian(Measurement):
    """Is −ln p_θ(s) = H(s)/T + ln Z on held-out configurations?

    Estimates, in nats a configuration:

    - `nll`: ⟨−ln p_θ⟩, never below the entropy but for the noise of the test set;
    - `slope`, `intercept`, `r2`: of the straight line of −ln p_θ over H/T, ideally 1, ln Z and 1;
    - `ln_z`: −ln⟨exp(ln p_θ + H/T)⟩, unbiased by the fit, unlike the intercept, which extrapolates;
    - `kl`: KL(data‖model) by the paired estimator ⟨ln p − ln p_θ⟩ with ln p = −H/T − ln Z, exact where
      ln Z is known, else with `ln_z`; most of the test set's sampling noise cancels in it;
    - `nll_bare`, `kl_bare`: of the network before symmetrisation, where there is one.

    A system of unknown Hamiltonian has `nll` only.
    """

    name = "hamiltonian"

    def measure(self, ensemble: Ensemble) -> Result:
        """Slope, intercept, R², ln Z, KL and NLL with errors."""
        nll = -ensemble.log_prob
        if not ensemble.system.has_energy:
            note = f"the Hamiltonian of {type(ensemble.system).__name__} is not known: NLL only."
            return Result({"nll": mean(nll)}, {"nll": nll}, notes=[note])
        reduced = ensemble.energy / ensemble.temperature
        exact = ensemble.system.exact(ensemble.temperature)
        log_z = log_mean_exp(reduced - nll)
        estimates = {
            **line(reduced, nll),
            "ln_z": Estimate(-log_z.value, log_z.error),
            "nll": mean(nll),
        }
        reference = {"slope": 1.0, "r2": 1.0}
        if exact is not None:
            estimates["kl"] = mean(nll - reduced - exact.log_partition)
            reference |= {"ln_z": exact.log_partition, "intercept": exact.log_partition}
            notes = []
        else:
            difference = nll - reduced
            weight = np.exp(difference.min() - difference)
            estimates["kl"] = jackknife(
                lambda d, w: d + np.log(w) - difference.min(), difference, weight
            )
            notes = ["ln Z is not known exactly; kl uses the estimate ln_z."]
        if ensemble.model.symmetrize:
            bare = -ensemble.evaluate(ensemble.model.bare_log_prob, ensemble.configurations)
            estimates["nll_bare"] = mean(bare)
            if exact is not None:
                estimates["kl_bare"] = mean(bare - reduced - exact.log_partition)
        constant = exact.log_partition if exact else estimates["ln_z"].value
        return Result(
            estimates,
            {"reduced_energy": reduced, "nll": nll},
            self.figure(reduced, nll - constant, estimates),
            reference,
            notes=notes,
        )

    @staticmethod
    def figure(reduced: np.ndarray, learned: np.ndarray, estimates: dict[str, Estimate]) -> Figure:
        """H_θ/T over H/T, and the difference."""
        figure, left, right = two_panels()
        ends = np.array([reduced.min(), reduced.max()])
        left.plot(reduced, learned, ".", ms=2, color=DATA, alpha=0.4, label="held-out", rasterized=True)
        left.plot(ends, ends, "-", lw=1, color=EXACT, label="exact")
        text = f"slope {estimates['slope']}\n$R^2$ {estimates['r2']}\nKL {estimates['kl']} nats"
        left.text(0.97, 0.04, text, ha="right", va="bottom", fontsize=8, transform=left.transAxes)
        left.set(xlabel="$H/T$", ylabel=r"$-\ln p_\theta - \ln Z$")
        right.plot(reduced, learned - reduced, ".", ms=2, color=DATA, alpha=0.4, rasterized=True)
        right.axhline(0, lw=1, color=EXACT, label="exact")
        right.axhline(estimates["kl"].value, lw=1, color=MODEL, ls="--", label="mean = KL")
        right.set(xlabel="$H/T$", ylabel=r"$\ln p - \ln p_\theta$")
        legends((left, right))
        return figure


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
