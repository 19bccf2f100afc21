"""Invariance of the learned Hamiltonian under the symmetries that the system declares."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.architectures.base import Architecture
from lightdan.checks import check_integer, check_seed
from lightdan.lattices import groups
from lightdan.lattices.lattice import Lattice
from lightdan.measurements.base import Measurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, MODEL, panels
from lightdan.measurements.report import Result
from lightdan.statistics import Blocks, Bound, Estimate, jackknife, mean
from lightdan.systems.base import System

MAX_ELEMENTS = 8
"""Number of elements of a large group that are applied, besides the identity."""


class Symmetry(Measurement):
    """Change H_θ(g s) − H_θ(s) under the elements g of each symmetry, on held-out configurations.

    Estimates for each symmetry, relative to the standard deviation of H_θ over the configurations:

    - `<symmetry>`: root mean square of the change.
    - `<symmetry>_spread`: max − min over the elements, averaged over configurations. Of a large group,
      the identity and 8 random elements are used.
    - `<symmetry>_bare`, `<symmetry>_spread_bare`: the same before symmetrisation, if the model is
      symmetrised.

    For angles there is also (max − min)/|mean| of H_θ over the global rotations by 0, 0.2, … 1 × 2π:
    `o2_spread` of the mean of H_θ over the configurations, and `o2_spread_single`, averaged over
    single configurations.

    A symmetry that the model was given (`augment`, `symmetrize`, `reference_frame`) tests no law of the
    data. A note sums up these symmetries; their estimates are in the file only.

    Args:
        num_configurations: Largest number of held-out configurations.
        seed: Random seed for the choice of elements.
        every_n_epochs: Number of epochs between measurements on validation data; by default none.
    """

    name = "symmetry"
    takes_weights = True
    takes_controls = True

    def __init__(
        self, num_configurations: int = 500, seed: int = 0, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(every_n_epochs)
        self.num_configurations = check_integer("num_configurations", num_configurations, 2)
        self.seed = check_seed("seed", seed)

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure the root mean square and the spread for each symmetry."""
        model, system = ensemble.model, ensemble.system
        if not self.operations(system):
            raise NotMeasurable(f"{type(system).__name__} declares no symmetry.")
        configurations = ensemble.configurations[: self.num_configurations]
        weights, blocks = ensemble.weights, ensemble.blocks.first(self.num_configurations)
        if weights is not None:
            weights = weights[: self.num_configurations]
        functions: dict[str, Callable[..., Tensor]] = {"": model.log_prob}
        if model.symmetrize:
            functions["_bare"] = ensemble.bare_log_prob
        controls = ensemble.controls
        if controls is not None:
            controls = controls[: self.num_configurations]
        arguments = symmetry_arguments(model)
        estimates: dict[str, Estimate] = {}
        unlisted: set[str] = set()
        arrays: dict[str, np.ndarray] = {}
        for suffix, function in functions.items():
            identity = ensemble.evaluate(function, configurations, controls=controls)
            for name in self.operations(system):
                images = self.images(name, configurations, system.lattice)
                values = [ensemble.evaluate(function, image, controls=controls) for image in images]
                differences = np.stack(values) - identity
                arrays[name + suffix] = differences / identity.std()
                numbers = deviations(name, suffix, differences, identity, weights, blocks)
                if name == "spin_rotation":
                    table = self.rotation_table(ensemble, function, configurations, controls)
                    arrays["o2_table" + suffix] = table
                    numbers |= relative_spreads(table, suffix, weights, blocks)
                estimates |= numbers
                unlisted |= numbers.keys() if name in arguments else set()
        reference = dict.fromkeys(estimates, Bound(0.0, "≥"))
        notes = notes_on_given(arguments, estimates) if arguments else []
        figure = self.figure(arrays, estimates)
        return Result(estimates, arrays, figure, reference, unlisted, notes)

    @staticmethod
    def operations(system: System) -> list[str]:
        """Return the symmetries that change something: a single site has no rotation."""
        return [name for name in system.symmetries if len(groups.OPERATIONS[name](system.lattice)) > 1]

    def images(self, name: str, configurations: Tensor, lattice: Lattice) -> list[Tensor]:
        """Return the configurations under elements of a symmetry other than the identity."""
        group = groups.OPERATIONS[name](lattice)
        elements = 1 + torch.randperm(len(group) - 1, generator=torch.Generator().manual_seed(self.seed))
        chosen = elements[:MAX_ELEMENTS].to(configurations.device)
        return [group.act(configurations, element) for element in chosen]

    @staticmethod
    def rotation_table(
        ensemble: Ensemble,
        function: Callable[..., Tensor],
        configurations: Tensor,
        controls: Tensor | None,
    ) -> np.ndarray:
        """Return H_θ of the configurations rotated by 0, 0.2, … 1 × 2π `(M, 6)`."""
        group = groups.spin_rotation(configurations.shape[1:])
        rotated = [
            group.act(configurations, torch.tensor(degrees, device=configurations.device))
            for degrees in (0, 72, 144, 216, 288)
        ]
        columns = [
            -ensemble.temperature * ensemble.evaluate(function, s, controls=controls) for s in rotated
        ]
        return np.stack([*columns, columns[0]], axis=1)

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], estimates: dict[str, Estimate]) -> Figure:
        """Plot the distribution of the differences, and their root mean squares."""
        figure, (left, right) = panels(2)
        names = [name for name in arrays if not name.endswith("_bare") and "o2_table" not in name]
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


def symmetry_arguments(model: Architecture) -> dict[str, str]:
    """Return the symmetries that the model was given, each with the argument that names it."""
    arguments = dict.fromkeys(model.augment, "augment")
    arguments |= dict.fromkeys(model.symmetrize, "symmetrize")
    return arguments | ({"spin_rotation": "reference_frame"} if model.reference_frame else {})


def notes_on_given(arguments: Mapping[str, str], estimates: Mapping[str, Estimate]) -> list[str]:
    """Return sentences on the symmetries that the model was given: which, and their effect on H_θ."""
    names = [
        f"{', '.join(name for name in arguments if arguments[name] == argument)} ({argument})"
        for argument in dict.fromkeys(arguments.values())
    ]
    notes = [f"Given to the model, so no test of the data: {', '.join(names)}."]
    largest = []
    for suffix, when in (("", ""), ("_bare", "before symmetrisation ")):
        rms = {name: estimates[name + suffix] for name in arguments if name + suffix in estimates}
        if rms:
            worst = max(rms, key=lambda name: rms[name].value)
            largest.append(f"{when}{rms[worst]} ({worst})")
    if largest:
        notes.append(
            f"Largest rms change of H_θ under them, over its standard deviation: {', '.join(largest)}."
        )
    return notes


def relative_spreads(
    table: np.ndarray,
    suffix: str,
    weights: np.ndarray | None = None,
    blocks: Blocks | None = None,
) -> dict[str, Estimate]:
    """Return (max − min)/|mean| over the columns of `(M, elements)`, of the mean row and of each row."""
    singles = np.ptp(table, axis=1) / np.abs(table.mean(1))
    return {
        f"o2_spread{suffix}": jackknife(
            lambda h: np.ptp(h) / abs(h.mean()), table, weights=weights, blocks=blocks
        ),
        f"o2_spread_single{suffix}": mean(singles, weights, blocks),
    }


def deviations(
    name: str,
    suffix: str,
    differences: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray | None = None,
    blocks: Blocks | None = None,
) -> dict[str, Estimate]:
    """Return rms and spread of differences `(elements, M)` over the standard deviation of the values."""
    shifted = values - values.mean()
    squares = (differences**2).mean(0)
    all_elements = np.concatenate([np.zeros_like(values)[None], differences])
    spread = np.ptp(all_elements, axis=0)

    def deviation(first: float, second: float) -> float:
        return np.sqrt(second - first * first)

    return {
        name + suffix: jackknife(
            lambda d, v, vv: np.sqrt(d) / deviation(v, vv),
            squares,
            shifted,
            shifted**2,
            weights=weights,
            blocks=blocks,
        ),
        f"{name}_spread{suffix}": jackknife(
            lambda d, v, vv: d / deviation(v, vv),
            spread,
            shifted,
            shifted**2,
            weights=weights,
            blocks=blocks,
        ),
    }
