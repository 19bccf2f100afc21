"""Is the learned Hamiltonian invariant under the operations that the system declares?"""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightdan import lattice
from lightdan.callbacks.base import Measurement
from lightdan.callbacks.ensemble import Ensemble, NotMeasurable
from lightdan.callbacks.figures import DATA, MODEL, two_panels
from lightdan.callbacks.report import Result
from lightdan.statistics import Estimate, jackknife
from lightdan.systems.base import System

MAX_ELEMENTS = 8


class Symmetry(Measurement):
    """H_θ(g s) − H_θ(s) for the elements g of each declared operation, on held-out configurations.

    Estimates for an operation, relative to the standard deviation of H_θ over the configurations:
    `<operation>`, the root mean square of the difference, and `<operation>_spread`, the mean over
    configurations of max − min over the elements (8 at random, besides the identity, of a larger
    group). A model that was given the symmetry is said to have it by construction, and the network
    before symmetrisation stands beside it as `<operation>_bare`.

    Args:
        num_configurations: At most so many held-out configurations.
        seed: Of the choice of elements.
        every_n_epochs: Measure during training too.
    """

    name = "symmetry"

    def __init__(
        self, num_configurations: int = 500, seed: int = 0, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(every_n_epochs)
        self.num_configurations = num_configurations
        self.seed = seed

    def measure(self, ensemble: Ensemble) -> Result:
        """Root mean square and spread for each operation."""
        model, system = ensemble.model, ensemble.system
        if not self.operations(system):
            raise NotMeasurable(f"{type(system).__name__} declares no symmetry")
        configurations = ensemble.configurations[: self.num_configurations]
        functions = {"": model.log_prob}
        if model.symmetrize:
            functions["_bare"] = model.bare_log_prob
        estimates: dict[str, Estimate] = {}
        arrays: dict[str, np.ndarray] = {}
        for suffix, function in functions.items():
            identity = ensemble.evaluate(function, configurations)
            for name in self.operations(system):
                images = self.images(name, configurations, system.lattice_shape)
                values = [ensemble.evaluate(function, image) for image in images]
                differences = np.stack(values) - identity
                arrays[name + suffix] = differences / identity.std()
                estimates |= deviations(name, suffix, differences, identity)
        given = sorted(set(model.augment) | set(model.symmetrize))
        notes = []
        if given:
            notes.append(
                f"the model was given {', '.join(given)} (augment: {', '.join(model.augment) or 'none'};"
                f" symmetrize: {', '.join(model.symmetrize) or 'none'}); this tests no law of the data."
            )
        return Result(estimates, arrays, self.figure(arrays, estimates), notes=notes)

    @staticmethod
    def operations(system: System) -> list[str]:
        """The declared operations that do something: a single site has no rotation."""
        return [
            name for name in system.symmetries if len(lattice.OPERATIONS[name](system.lattice_shape)) > 1
        ]

    def images(self, name: str, configurations: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
        """The configurations under the elements of an operation other than the identity."""
        group = lattice.OPERATIONS[name](shape)
        elements = 1 + torch.randperm(len(group) - 1, generator=torch.Generator().manual_seed(self.seed))
        chosen = elements[:MAX_ELEMENTS].to(configurations.device)
        return [group.act(configurations, element) for element in chosen]

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], estimates: dict[str, Estimate]) -> Figure:
        """The differences' distribution, and their root mean squares."""
        figure, left, right = two_panels()
        names = [name for name in arrays if not name.endswith("_bare")]
        bare = [f"{name}_bare" if f"{name}_bare" in arrays else name for name in names]
        for position, name in enumerate(bare):
            low, middle, high = np.quantile(np.abs(arrays[name]), [0.16, 0.5, 0.84])
            left.errorbar(
                [position], [middle], [[middle - low], [high - middle]], fmt="o", ms=4, color=DATA
            )
        left.set_ylabel(r"$|H_\theta(gs)-H_\theta(s)|\,/\,\sigma(H_\theta)$")
        rows = [(bare, "network", DATA, "s"), (names, "symmetrised", MODEL, "o")]
        for offset, (keys, label, colour, marker) in enumerate(rows[: 1 + (bare != names)]):
            values = [estimates[key].value for key in keys]
            errors = [estimates[key].error for key in keys]
            positions = np.arange(len(names)) + 0.15 * offset
            right.errorbar(
                positions, values, errors, fmt=marker, ms=4, color=colour, mfc="none", label=label
            )
        right.set_yscale("log")
        right.set_ylabel(r"rms$\,/\,\sigma(H_\theta)$")
        right.margins(x=0.15)
        for axes in (left, right):
            axes.set_xticks(range(len(names)), names, rotation=20, fontsize=8)
        right.legend(frameon=False, fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
        return figure


def deviations(
    name: str, suffix: str, differences: np.ndarray, values: np.ndarray
) -> dict[str, Estimate]:
    """Root mean square and spread of differences `(elements, M)` in units of the values' deviation."""
    shifted = values - values.mean()
    squares = (differences**2).mean(0)
    all_elements = np.concatenate([np.zeros_like(values)[None], differences])
    spread = np.ptp(all_elements, axis=0)

    def deviation(first: float, second: float) -> float:
        return np.sqrt(second - first * first)

    return {
        name + suffix: jackknife(
            lambda d, v, vv: np.sqrt(d) / deviation(v, vv), squares, shifted, shifted**2
        ),
        f"{name}_spread{suffix}": jackknife(
            lambda d, v, vv: d / deviation(v, vv), spread, shifted, shifted**2
        ),
    }
