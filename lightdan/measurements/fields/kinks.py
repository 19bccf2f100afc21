"""Kinks of the double well: number, profile and action."""

import math

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, EXACT, MODEL, bin_edges, legends, panels
from lightdan.measurements.report import Result
from lightdan.measurements.table import Reference
from lightdan.statistics import (
    Blocks,
    Bound,
    Estimate,
    jackknife,
    jackknife_each,
    mean,
    weakness,
    weighted_mean,
)
from lightdan.systems.path import DoubleWell, count_kinks

HALF_WIDTH = 3.0
"""Imaginary time on either side of a kink in its profile, in units of √2/μ."""
FEWEST_KINKS = 10
"""Number of kinks that make a profile."""
SOURCES = {"model": "model samples", "data": "held-out data"}


class Kinks(SampledMeasurement):
    """Tunnelling events x = ±v tanh(μ(τ − τ_0)/√2) of paths: number, mean profile and action.

    Estimates:

    - `kinks`, `kinks_reweighted`, `kinks_data`: kinks per path in samples, in samples with weights
      e^{−S}/p_θ, and in held-out data, counted as sign changes with hysteresis ±v/2.
    - `profile_rms`: root mean square difference between the mean profiles in samples and data, both
      centred at the crossing of zero.
    - `kink_action`: increase [S_θ(x t) − S_θ(x)]/2 per kink, when a factor t = tanh tanh puts a kink and
      an antikink, half a period apart, into held-out paths without kinks. The reference is the same
      increase of the true S. A single kink on the classical path costs √(8/9) μ³/λ.
    """

    name = "kinks"

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure numbers, profiles and the action of a kink."""
        system = ensemble.system
        if not isinstance(system, DoubleWell):
            raise NotMeasurable(f"{type(system).__name__} has no kinks.")
        samples = ensemble.samples(self.num_samples, self.seed)
        data = ensemble.configurations
        model, held_out = (
            count_kinks(paths, system.minimum / 2).double().cpu().numpy()
            for paths in (samples.configurations, data)
        )
        estimates = {
            "kinks": mean(model),
            "kinks_reweighted": weighted_mean(model, samples.log_weights),
            "kinks_data": mean(held_out, blocks=ensemble.blocks),
        }
        reference: dict[str, Reference] = dict.fromkeys(estimates, ensemble.exact["kinks"])
        notes = []
        beta, sites = 1 / ensemble.temperature, system.num_sites
        rate = system.minimum * math.sqrt(system.strength / 2)
        width = min(sites // 4, round(HALF_WIDTH / rate * sites / beta) + 1)
        # The zero lies between two slices, in the middle on average.
        offsets = beta / sites * (np.arange(-width, width + 1) - 0.5)
        arrays = {"kinks_model": model, "kinks_data": held_out, "time": offsets}
        arrays["tanh"] = system.minimum * np.tanh(rate * offsets)
        profiles = {}
        for name, paths, blocks in (
            ("model", samples.configurations, None),
            ("data", data, ensemble.blocks),
        ):
            sums, counts = aligned(paths, width, system.minimum / 2)
            if counts.sum() < FEWEST_KINKS:
                notes.append(f"Too few kinks in the {SOURCES[name]} for a profile: {counts.sum():.0f}.")
                continue
            profiles[name] = sums, counts, blocks
            points = jackknife_each(lambda total, num: total / num, sums, counts, blocks=blocks)
            arrays[f"profile_{name}"] = np.array(points).T
        if len(profiles) == 2:
            estimates["profile_rms"] = rms_difference(profiles["model"], profiles["data"])
            reference["profile_rms"] = Bound(0.0, "≥")
        without = data[torch.from_numpy(held_out == 0)]
        if len(without) > 1:
            time = beta / sites * torch.arange(sites, device=data.device)
            pair = (rate * (time - beta / 4)).tanh() * (rate * (3 * beta / 4 - time)).tanh()
            paired = without * pair.to(without)
            learned = [-ensemble.evaluate(ensemble.model.log_prob, x) for x in (paired, without)]
            true = [ensemble.action_of(x) for x in (paired, without)]
            estimates["kink_action"] = mean((learned[0] - learned[1]) / 2)
            reference["kink_action"] = mean((true[0] - true[1]) / 2)
        else:
            notes.append("Too few held-out paths are without kinks to measure kink_action.")
        figure = self.figure(arrays)
        result = Result(estimates, arrays, figure, reference, {"kinks_data"}, notes)
        result.withhold(["kinks_reweighted"], weakness(samples.log_weights))
        return result

    @staticmethod
    def figure(arrays: dict[str, np.ndarray]) -> Figure:
        """Plot the distribution of the number of kinks, and the profiles with the classical one."""
        figure, (left, right) = panels(2)
        both = np.concatenate([arrays["kinks_model"], arrays["kinks_data"]])
        edges = bin_edges(both)
        for name, label, colour in (("model", "model", MODEL), ("data", "data", DATA)):
            left.hist(
                arrays[f"kinks_{name}"], edges, density=True, histtype="step", color=colour, label=label
            )
            if f"profile_{name}" in arrays:
                values, errors = arrays[f"profile_{name}"]
                right.errorbar(
                    arrays["time"], values, errors, fmt=".", ms=4, lw=0.8, color=colour, label=label
                )
        right.plot(
            arrays["time"], arrays["tanh"], "-", lw=1, color=EXACT, label=r"$v\,\tanh(\mu\tau/\sqrt{2})$"
        )
        left.set(xlabel="kinks per path", ylabel="density")
        right.set(xlabel=r"$\tau-\tau_0$", ylabel="$x$")
        legends((left, right))
        return figure


Profile = tuple[np.ndarray, np.ndarray, Blocks | None]
"""Sums and numbers of the kinks of each path, and blocks of the paths."""


def rms_difference(first: Profile, second: Profile) -> Estimate:
    """Return the root mean square difference of two profiles, by jackknives over their paths."""
    means = [sums.mean(axis=0) / counts.mean() for sums, counts, _ in (first, second)]
    value = math.sqrt(float(np.square(means[0] - means[1]).mean()))
    parts = []
    for (sums, counts, blocks), other in zip((first, second), means[::-1], strict=True):

        def rms(total: np.ndarray, num: float, other: np.ndarray = other) -> float:
            return math.sqrt(float(np.square(total / num - other).mean()))

        parts.append(jackknife(rms, sums, counts, blocks=blocks))
    corrected = value + sum(part.value - value for part in parts)
    return Estimate(corrected, math.hypot(*(part.error for part in parts)))


def aligned(paths: Tensor, width: int, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Add up each path around its rising kinks, and its negative around falling ones.

    A kink is a change of sign with the path beyond one threshold before it and beyond the other after
    it, at both ends of the window.

    Args:
        paths: Paths `(M, N)`.
        width: Number of slices on either side of a kink.
        threshold: Threshold of the hysteresis, in units of x.

    Returns:
        Sums of the windows `(M, 2 width + 1)`, and numbers of kinks `(M,)`.
    """
    rising = (paths < 0) & (paths.roll(-1, 1) >= 0)
    index = torch.arange(-width, width + 1, device=paths.device)
    sums = torch.zeros(len(paths), len(index), dtype=torch.float64, device=paths.device)
    counts = torch.zeros(len(paths), dtype=torch.float64, device=paths.device)
    for sign, crossing in ((1, rising), (-1, ((paths > 0) & (paths.roll(-1, 1) <= 0)))):
        row, column = crossing.nonzero(as_tuple=True)
        window = sign * paths[row[:, None], (column[:, None] + index) % paths.shape[1]].double()
        stays = (window[:, 0] < -threshold) & (window[:, -1] > threshold)
        sums.index_add_(0, row[stays], window[stays])
        counts.index_add_(0, row[stays], torch.ones_like(row[stays], dtype=torch.float64))
    return sums.cpu().numpy(), counts.cpu().numpy()
