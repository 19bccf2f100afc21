"""Exact expectation values from the model's samples by reweighting."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lightdan.callbacks.base import SampledMeasurement
from lightdan.callbacks.ensemble import Ensemble
from lightdan.callbacks.figures import EXACT, MODEL, bin_edges, legends, panels
from lightdan.callbacks.observables import series
from lightdan.callbacks.report import Result
from lightdan.statistics import (
    Estimate,
    effective_sample_size,
    jackknife,
    log_mean_exp,
    mean,
    weighted_mean,
)


class ImportanceSampling(SampledMeasurement):
    """Samples of p_θ with weights w = exp(−H/T)/p_θ give the true ensemble, whatever the fit.

    Estimates: `ess`, the effective sample size as a fraction, (Σw)²/(M Σw²); a site,
    `free_energy`, −T ln⟨w⟩/N, and `variational_free_energy`, F_q = ⟨H + T ln p_θ⟩/N ≥ F;
    `specific_heat`; and the reweighted observables of the system, `energy` and others. The Metropolis
    chain that proposes the same samples independently and accepts with min(1, w'/w) is exact as well:
    `metropolis_<name>` and `acceptance`. (Nicoli et al., PRE 101, 023304.)
    """

    name = "importance_sampling"

    def measure(self, ensemble: Ensemble) -> Result:
        """Effective sample size, free energies and reweighted observables."""
        samples = ensemble.samples(self.num_samples, self.seed)
        temperature, sites = ensemble.temperature, ensemble.system.num_sites
        log_weights = samples.log_weights
        values = series(ensemble, samples.configurations)
        log_z = log_mean_exp(log_weights)
        variational = mean(-temperature * log_weights / sites)
        estimates = {
            "ess": effective_sample_size(log_weights),
            "ln_z": log_z,
            "free_energy": Estimate(
                -temperature * log_z.value / sites, temperature * log_z.error / sites
            ),
            "variational_free_energy": variational,
            "specific_heat": heat_capacity(samples.energy, log_weights, temperature, sites),
        }
        estimates |= {name: weighted_mean(column, log_weights) for name, column in values.items()}
        visited, acceptance = independence_chain(log_weights, self.seed)
        estimates["acceptance"] = acceptance
        estimates |= {f"metropolis_{name}": mean(column[visited]) for name, column in values.items()}
        reference = {}
        if exact := ensemble.exact:
            reference = {
                "ln_z": exact.log_partition,
                "free_energy": exact.free_energy / sites,
                "variational_free_energy": exact.free_energy / sites,
                "energy": exact.energy / sites,
                "metropolis_energy": exact.energy / sites,
                "specific_heat": exact.specific_heat / sites,
            }
        arrays = {"log_weights": log_weights, "energy": samples.energy}
        return Result(estimates, arrays, self.figure(arrays, estimates, sites), reference)

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], estimates: dict[str, Estimate], sites: int) -> Figure:
        """The weights' distribution, and the energy's before and after reweighting."""
        figure, (left, right) = panels(2)
        relative = arrays["log_weights"] - estimates["ln_z"].value
        left.hist(relative, 60, density=True, color=MODEL, alpha=0.7)
        left.axvline(0, lw=1, color=EXACT)
        left.text(0.04, 0.92, f"ESS {estimates['ess']}", fontsize=8, transform=left.transAxes)
        left.set(xlabel=r"$\ln w - \ln Z$", ylabel="density")
        energy = arrays["energy"] / sites
        edges = bin_edges(energy)
        weights = np.exp(relative - relative.max())
        style: dict[str, Any] = {"density": True, "histtype": "step"}
        right.hist(energy, edges, color=MODEL, label=r"$p_\theta$", **style)
        right.hist(energy, edges, weights=weights, color=EXACT, label="reweighted", **style)
        right.set(xlabel="$E/N$", ylabel="density")
        legends((right,))
        return figure


def heat_capacity(
    energy: np.ndarray, log_weights: np.ndarray, temperature: float, sites: int
) -> Estimate:
    """(⟨H²⟩ − ⟨H⟩²)/(N T²) of weighted samples."""
    shifted = energy - energy.mean()
    weights = np.exp(log_weights - log_weights.max())
    return jackknife(
        lambda w, we, wee: (wee / w - (we / w) ** 2) / (sites * temperature**2),
        weights,
        weights * shifted,
        weights * shifted**2,
    )


def independence_chain(log_weights: np.ndarray, seed: int) -> tuple[np.ndarray, Estimate]:
    """The chain that proposes sample t at step t: the sample it is at `(M,)`, and the acceptance."""
    thresholds = np.log(np.random.default_rng(seed).random(len(log_weights)))
    visited = np.zeros(len(log_weights), dtype=int)
    current = 0
    for step in range(1, len(log_weights)):
        if thresholds[step] < log_weights[step] - log_weights[current]:
            current = step
        visited[step] = current
    return visited, mean((np.diff(visited) > 0).astype(float))
