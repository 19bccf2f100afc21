"""Exact expectation values from samples of the model by reweighting."""

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.figures import EXACT, MODEL, bin_edges, legends, panels
from lightdan.measurements.observables import FEW_FOR_BINDER, series, summary, without_error
from lightdan.measurements.report import Result
from lightdan.measurements.table import Reference
from lightdan.statistics import (
    Bound,
    Estimate,
    acceptance,
    autocorrelation_time,
    effective_sample_size,
    log_mean_exp,
    mean,
    weakness,
    weakness_of_size,
)

CHAINS = 10
"""Number of Markov chains."""
LEAST_STEPS = 500
"""Number of steps of a chain at least, if there are several; many short ones cut long stays."""
LARGEST_REDUCTION = 1.05
"""R̂ above which the chains disagree."""
LARGEST_UNSEEN = 0.05
"""Fraction of the data that may have larger weights than any sample."""


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
    - `acceptance`, ⟨min(w, w')⟩/⟨w⟩, of Markov chains that propose the same samples and accept them
      with min(1, w'/w); `metropolis_<name>`, observables of ten such chains, which are exact too; and
      `metropolis_tau`, the autocorrelation time of the first observable in steps, which has no error
      because rare long stays decide it.

    Rare samples of large weight make errors too small. Estimates then have no error, and the table says
    why:

    - there are fewer than 100 effective samples (500 for `ess`);
    - the tail of the weights is heavy;
    - 5 % of the held-out configurations have larger weights than any sample;
    - the Markov chains disagree.

    References:
        K. A. Nicoli et al., Phys. Rev. E 101, 023304 (2020);
        A. Vehtari et al., J. Mach. Learn. Res. 25, 72 (2024), arXiv:1507.02646.
    """

    name = "importance_sampling"
    takes_weights = True

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
        reweighted = [*estimates]
        estimates["acceptance"] = acceptance(log_weights)
        visited = independence_chains(log_weights, self.seed)
        chains = {name: column[visited] for name, column in values.items()}
        estimates |= {f"metropolis_{name}": mean(series) for name, series in chains.items()}
        estimates["metropolis_tau"] = autocorrelation_time(next(iter(chains.values())))
        exact = ensemble.exact
        reference: dict[str, Reference] = dict.fromkeys(("ess", "acceptance"), Bound(1.0, "≤"))
        reference |= {name: exact[name] for name in estimates if name in exact}
        reference |= {f"metropolis_{name}": exact[name] for name in values if name in exact}
        if "free_energy" in exact and ensemble.system.has_energy:
            reference["variational_free_energy"] = Bound(exact["free_energy"], "≥")
        name = next(iter(values))
        arrays = {"log_weights": log_weights, name: values[name]}
        result = Result(estimates, arrays, self.figure(arrays, estimates), reference)
        result.withhold(without_error(estimates), FEW_FOR_BINDER)
        unseen = self.unseen(ensemble, log_weights)
        weak = weakness(log_weights) or unseen
        result.withhold(["ess"], unseen or weakness_of_size(log_weights))
        uncertain = (name for name in reweighted if name not in ("ess", "variational_free_energy"))
        result.withhold(uncertain, weak)
        disagreement = max(map(reduction, chains.values()))
        sticking = (
            f"chains disagree, R̂ = {disagreement:.2f}" if disagreement > LARGEST_REDUCTION else None
        )
        result.withhold(["acceptance"], weak)
        moving = [name for name in estimates if name.startswith("metropolis_")]
        result.withhold(moving, weak or sticking)
        result.withhold(["metropolis_tau"], weak or sticking or "rare long stays decide it")
        return result

    @staticmethod
    def unseen(ensemble: Ensemble, log_weights: np.ndarray) -> str | None:
        """Return in words that samples miss a part of the true ensemble, or None."""
        above = -ensemble.action - ensemble.log_prob > log_weights.max()
        share = float(np.average(above, weights=ensemble.weights))
        if share > LARGEST_UNSEEN and above.sum() >= 3:
            return f"{100 * share:.0f} % of the data have larger weights than any sample"
        return None

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


def independence_chains(log_weights: np.ndarray, seed: int) -> np.ndarray:
    """Run Markov chains that propose the samples one after the other.

    Chains start from samples drawn by their weights, and so in equilibrium.

    Args:
        log_weights: Logarithm of the weights of the samples `(M,)`.
        seed: Random seed of the starts and acceptances.

    Returns:
        Number of the sample after each step `(chains, steps)`.
    """
    rng = np.random.default_rng(seed)
    num_chains = max(1, min(CHAINS, len(log_weights) // LEAST_STEPS))
    proposed = np.arange(len(log_weights) // num_chains * num_chains).reshape(num_chains, -1)
    thresholds = np.log(rng.random(proposed.shape))
    weights = np.exp(log_weights - log_weights.max())
    current = rng.choice(len(weights), num_chains, p=weights / weights.sum())
    visited = np.empty_like(proposed)
    for step, candidate in enumerate(proposed.T):
        accepted = thresholds[:, step] < log_weights[candidate] - log_weights[current]
        visited[:, step] = current = np.where(accepted, candidate, current)
    return visited


def reduction(series: np.ndarray) -> float:
    """Return R̂, by which longer chains could reduce a standard deviation; 1 for equal chains.

        R̂² = 1 − 1/n + (variance of the means of the chains)/(mean variance within chains)

    Args:
        series: Chains of n steps `(chains, n)`.

    References:
        A. Gelman and D. Rubin, Stat. Sci. 7, 457 (1992).
    """
    within = float(series.var(axis=1, ddof=1).mean())
    if len(series) < 2 or np.ptp(series) == 0.0:
        return 1.0
    between = float(series.mean(axis=1).var(ddof=1))
    return math.inf if within == 0.0 else math.sqrt(1 - 1 / series.shape[1] + between / within)
