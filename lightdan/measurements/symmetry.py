"""Is the learned Hamiltonian invariant under the operations that the system declares?"""

from collections.abc import Callable

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.lattices import groups
from lightdan.measurements.base import Measurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, MODEL, panels
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate, jackknife, mean
from lightdan.systems.base import System

MAX_ELEMENTS = 8


class Symmetry(Measurement):
    """H_θ(g s) − H_θ(s) for the elements g of each declared operation, on held-out configurations.

    Estimates for an operation, relative to the standard deviation of H_θ over the configurations:
    `<operation>`, the root mean square of the difference, and `<operation>_spread`, the mean over
    configurations of max − min over the elements (8 at random, besides the identity, of a larger
    group). A model that was given the symmetry is said to have it by construction, and the network
    before symmetrisation stands beside it as `<operation>_bare`.

    Of angles also (max − min)/|mean| of H_θ over the global rotations by 0, 0.2, … 1 × 2π: `o2_spread`
    of the mean of H_θ over the configurations, and `o2_spread_single`, the mean over single ones.

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
                if name == "spin_rotation":
                    table = self.rotation_table(ensemble, function, configurations)
                    arrays["o2_table" + suffix] = table
                    estimates |= relative_spreads(table, suffix)
        frame = ["spin_rotation"] if model.reference_frame else []
        given = sorted({*model.augment, *model.symmetrize, *frame})
        notes = []
        if given:
            notes.append(
                f"the model was given {', '.join(given)} (augment: {', '.join(model.augment) or 'none'};"
                f" symmetrize: {', '.join(model.symmetrize) or 'none'}"
                f"{'; reference frame' if frame else ''}); this tests no law of the data."
            )
        return Result(estimates, arrays, self.figure(arrays, estimates), notes=notes)

    @staticmethod
    def operations(system: System) -> list[str]:
        """The declared operations that do something: a single site has no rotation."""
        return [
            name for name in system.symmetries if len(groups.OPERATIONS[name](system.lattice_shape)) > 1
        ]

    def images(self, name: str, configurations: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
        """The configurations under the elements of an operation other than the identity."""
        group = groups.OPERATIONS[name](shape)
        elements = 1 + torch.randperm(len(group) - 1, generator=torch.Generator().manual_seed(self.seed))
        chosen = elements[:MAX_ELEMENTS].to(configurations.device)
        return [group.act(configurations, element) for element in chosen]

    @staticmethod
    def rotation_table(
        ensemble: Ensemble, function: Callable[[Tensor, Tensor], Tensor], configurations: Tensor
    ) -> np.ndarray:
        """H_θ of the configurations turned by 0, 0.2, … 1 × 2π `(M, 6)`."""
        group = groups.spin_rotation(configurations.shape[1:])
        turned = [
            group.act(configurations, torch.tensor(degrees, device=configurations.device))
            for degrees in (0, 72, 144, 216, 288)
        ]
        columns = [-ensemble.temperature * ensemble.evaluate(function, s) for s in turned]
        return np.stack([*columns, columns[0]], axis=1)

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], estimates: dict[str, Estimate]) -> Figure:
        """The differences' distribution, and their root mean squares."""
        figure, (left, right) = panels(2)
        names = [name for name in arrays if name in groups.OPERATIONS]
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


def relative_spreads(table: np.ndarray, suffix: str) -> dict[str, Estimate]:
    """(max − min)/|mean| along the columns of `(M, elements)`: of the rows' mean, and of each row."""
    singles = np.ptp(table, axis=1) / np.abs(table.mean(1))
    return {
        f"o2_spread{suffix}": jackknife(lambda h: np.ptp(h) / abs(h.mean()), table),
        f"o2_spread_single{suffix}": mean(singles),
    }


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
