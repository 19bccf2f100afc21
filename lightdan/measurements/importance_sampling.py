"""Exact expectation values from samples of the model by reweighting."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.figures import EXACT, MODEL, bin_edges, legends, panels
from lightdan.measurements.observables import series, summary
from lightdan.measurements.report import Result
from lightdan.measurements.table import Reference
from lightdan.statistics import Bound, Estimate, effective_sample_size, log_mean_exp, mean

FEW = 100
"""Effective sample size below which a note warns of the reweighted estimates."""


class ImportanceSampling(SampledMeasurement):
    """Exact expectation values from samples of the model, whatever its quality, by reweighting.

    Samples of p_θ with weights

        w = e^{−S}/p_θ

    represent the true ensemble, S being H/T or the action of a field. Estimates:

    - `ess`: effective sample size (Σw)²/(M Σw²), as a fraction.
    - `ln_z`: ln⟨w⟩.
    - `free_energy`: −T ln⟨w⟩/N per site, and `variational_free_energy`: F_q = ⟨H + T ln p_θ⟩/N, an upper
      bound on F; both only for a system with an energy.
    - The reweighted observables and fluctuations of `Observables`.
    - `metropolis_<name>` and `acceptance`: observables of the Markov chain that proposes the same
      samples and accepts them with min(1, w'/w), which is exact too.

    References:
        K. A. Nicoli et al., Phys. Rev. E 101, 023304 (2020).
    """

    name = "importance_sampling"
    takes_weights = True  # because it uses samples of the model only

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure the effective sample size, free energies and reweighted observables."""
        samples = ensemble.samples(self.num_samples, self.seed)
        temperature, sites = ensemble.temperature, ensemble.system.num_sites
        log_weights = samples.log_weights
        values = series(ensemble, samples.configurations)
        log_z = log_mean_exp(log_weights)
        estimates = {"ess": effective_sample_size(log_weights), "ln_z": log_z}
        if ensemble.system.has_energy:
            scale = temperature / sites
            estimates |= {
                "free_energy": Estimate(-scale * log_z.value, scale * log_z.error),
                "variational_free_energy": mean(-scale * log_weights),
            }
        estimates |= summary(ensemble, values, log_weights)
        visited, acceptance = independence_chain(log_weights, self.seed)
        estimates["acceptance"] = acceptance
        estimates |= {f"metropolis_{name}": mean(column[visited]) for name, column in values.items()}
        exact = ensemble.exact
        reference: dict[str, Reference] = dict.fromkeys(("ess", "acceptance"), Bound(1.0, "≤"))
        reference |= {name: exact[name] for name in estimates if name in exact}
        reference |= {f"metropolis_{name}": exact[name] for name in values if name in exact}
        if "free_energy" in exact and ensemble.system.has_energy:
            reference["variational_free_energy"] = Bound(exact["free_energy"], "≥")
        name = next(iter(values))
        arrays = {"log_weights": log_weights, name: values[name]}
        size = estimates["ess"].value * self.num_samples
        notes = []
        if size < FEW:
            notes.append(
                f"{self.num_samples:,} samples have an effective size of {size:.3g}, so neither the "
                "reweighted estimates nor their errors are reliable."
            )
        return Result(estimates, arrays, self.figure(arrays, estimates), reference, notes=notes)

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], estimates: dict[str, Estimate]) -> Figure:
        """Plot the distributions of the weights and of the first observable, plain and reweighted."""
        figure, (left, right) = panels(2)
        relative = arrays["log_weights"] - estimates["ln_z"].value
        left.hist(relative, 60, density=True, color=MODEL, alpha=0.7)
        left.axvline(0, lw=1, color=EXACT)
        left.text(0.04, 0.92, f"ESS {estimates['ess']}", fontsize=8, transform=left.transAxes)
        left.set(xlabel=r"$\ln w - \ln Z$", ylabel="density")
        name, values = list(arrays.items())[1]
        edges = bin_edges(values)
        weights = np.exp(relative - relative.max())
        style: dict[str, Any] = {"density": True, "histtype": "step"}
        right.hist(values, edges, color=MODEL, label=r"$p_\theta$", **style)
        right.hist(values, edges, weights=weights, color=EXACT, label="reweighted", **style)
        right.set(xlabel=name.replace("_", " "), ylabel="density")
        legends((right,))
        return figure


def independence_chain(log_weights: np.ndarray, seed: int) -> tuple[np.ndarray, Estimate]:
    """Run the Markov chain that proposes sample t at step t.

    Returns:
        Number of the sample after each step `(M,)`, and the acceptance.
    """
    thresholds = np.log(np.random.default_rng(seed).random(len(log_weights)))
    visited = np.zeros(len(log_weights), dtype=int)
    current = 0
    for step in range(1, len(log_weights)):
        if thresholds[step] < log_weights[step] - log_weights[current]:
            current = step
        visited[step] = current
    return visited, mean((np.diff(visited) > 0).astype(float))
