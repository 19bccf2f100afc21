"""Vortices in data, in model samples, and in the conditional probabilities of the model."""

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.lattices.angles import vorticity
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, MODEL, panels
from lightdan.measurements.report import Result
from lightdan.statistics import Blocks, Estimate, jackknife, mean

BINS = 1000
"""Number of bins of the scores."""


class Vortices(SampledMeasurement):
    """Density of vortices, and their detection from the conditional probabilities q_θ(s_i | s_<i).

    Estimates:

    - `vortices`, `antivortices`: fractions of plaquettes with winding number +1 and −1 in model samples;
      the references are the fractions in held-out data.
    - `auc_surprise`, `auc_difference`: areas under the ROC curve for finding the vortices of held-out
      data by a score of each plaquette; 1/2 is chance and 1 is perfect.

    The first score is Σ −ln q_θ over the four corners. The second is −δq, the sum of the differences
    of q_θ along the four bonds, each in the positive direction of its axis: around the loop they would
    cancel.
    """

    name = "vortices"

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure the densities of vortices, and the areas under the ROC curves of both scores."""
        system = ensemble.system
        if (
            system.site_kind != "angle"
            or len(system.lattice_shape) != 2
            or not system.lattice.is_hypercubic
            or min(system.lattice_shape) < 2
        ):
            raise NotMeasurable(f"{type(system).__name__} has no square plaquettes of angles.")
        data, blocks = ensemble.configurations, ensemble.blocks
        winding = vorticity(data, system.boundary)
        samples = ensemble.samples(self.num_samples, self.seed).configurations
        of_samples = vorticity(samples, system.boundary)
        estimates: dict[str, Estimate] = {}
        reference: dict[str, Estimate] = {}
        for name, sign in (("vortices", 1), ("antivortices", -1)):
            estimates[name] = fraction(of_samples == sign)
            reference[name] = fraction(winding == sign, blocks)
        log_q = torch.from_numpy(ensemble.evaluate(ensemble.model.conditionals, data))
        maps = {
            "surprise": surprise(log_q, system.boundary),
            "difference": -difference(log_q.exp(), system.boundary),
        }
        true = (winding != 0).cpu()
        with_vortex = true.flatten(1).any(1).nonzero()
        notes = []
        if len(np.unique(np.searchsorted(blocks.starts, with_vortex.numpy(), "right"))) > 1:
            estimates |= {f"auc_{name}": area_under_roc(x, true, blocks) for name, x in maps.items()}
        else:
            notes.append(f"Too few configurations with a vortex for a ROC curve: {len(with_vortex)}.")
        arrays = {name: values.numpy() for name, values in maps.items()}
        arrays |= {"vorticity": winding.cpu().numpy(), "configurations": data.cpu().numpy()}
        return Result(estimates, arrays, self.figure(arrays, estimates), reference, notes=notes)

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], estimates: dict[str, Estimate]) -> Figure:
        """Plot a configuration with a typical number of vortices, if there are any, and its scores."""
        counts = np.abs(arrays["vorticity"]).sum((1, 2))
        ranked = np.argsort(counts, kind="stable")
        chosen = ranked[len(ranked) - (np.count_nonzero(counts) + 1) // 2 - (not counts.any())]
        angles, winding = arrays["configurations"][chosen], arrays["vorticity"][chosen]
        figure, (left, *others) = panels(3)
        style: dict[str, Any] = {"pivot": "mid", "units": "xy", "scale": 1.1, "width": 0.12}
        left.quiver(
            np.cos(angles), np.sin(angles), angles, cmap="twilight", clim=(0, 2 * np.pi), **style
        )
        labels = {"surprise": r"$-\ln q_\theta$", "difference": r"$-\delta q_\theta$"}
        for panel, (name, label) in zip(others, labels.items(), strict=True):
            image = arrays[name][chosen]
            rows, columns = image.shape
            shown = panel.imshow(
                image,
                origin="lower",
                cmap="Greys",
                extent=(0, columns, 0, rows),
                interpolation="nearest",
            )
            bar = figure.colorbar(shown, ax=panel, location="bottom", pad=0.03, shrink=0.9)
            bar.set_label(label, size=9)
            bar.ax.tick_params(labelsize=8)
            if f"auc_{name}" in estimates:
                panel.set_title(f"AUC {estimates[f'auc_{name}']}", loc="right", fontsize=8)
        for panel in (left, *others):
            _mark(panel, winding)
            panel.set(aspect="equal", xticks=[], yticks=[])
        left.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 0))
        return figure


def _mark(axes: Axes, winding: np.ndarray) -> None:
    """Draw circles around vortices and squares around antivortices."""
    for sign, marker, colour, label in ((1, "o", MODEL, "vortex"), (-1, "s", DATA, "antivortex")):
        rows, columns = np.nonzero(winding == sign)
        style: dict[str, Any] = {"mfc": "none", "mec": colour, "ls": "none", "ms": 8}
        axes.plot(columns + 0.5, rows + 0.5, marker, label=label, **style)


def corners(values: Tensor, boundary: str) -> list[Tensor]:
    """Return the values `(M, rows, columns)` at each corner of all plaquettes, counterclockwise."""
    shifted = [values, values.roll(-1, 2), values.roll((-1, -1), (1, 2)), values.roll(-1, 1)]
    return shifted if boundary == "periodic" else [corner[:, :-1, :-1] for corner in shifted]


def surprise(log_q: Tensor, boundary: str) -> Tensor:
    """Return Σ −ln q over the corners of each plaquette."""
    return -torch.stack(corners(log_q, boundary)).sum(0)


def difference(q: Tensor, boundary: str) -> Tensor:
    """Return δq = (q_1 − q_0) + (q_2 − q_1) + (q_2 − q_3) + (q_3 − q_0) = 2 (q_2 − q_0)."""
    first, _, opposite, _ = corners(q, boundary)
    return 2 * (opposite - first)


def fraction(marked: Tensor, blocks: Blocks | None = None) -> Estimate:
    """Return the fraction of plaquettes that are marked."""
    return mean(marked.flatten(1).double().mean(1).cpu().numpy(), blocks=blocks)


def area_under_roc(scores: Tensor, true: Tensor, blocks: Blocks | None = None) -> Estimate:
    """Return the probability that a true plaquette scores above another; ties count half."""
    edges = np.unique(np.quantile(scores.numpy(), np.linspace(0, 1, BINS + 1)[1:-1]))
    bins = torch.bucketize(scores, torch.from_numpy(edges)).flatten(1)
    histograms = [
        torch.zeros(len(bins), len(edges) + 1, dtype=torch.float64)
        .scatter_add_(1, bins, chosen.flatten(1).double())
        .numpy()
        for chosen in (true, ~true)
    ]

    def area(hits: np.ndarray, misses: np.ndarray) -> float:
        below = np.cumsum(misses) - misses / 2
        return float(hits @ below / (hits.sum() * misses.sum()))

    return jackknife(area, *histograms, blocks=blocks)
