"""Observables of model samples against those of the data."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.lattices.lattice import Lattice
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.figures import DATA, MODEL, bin_edges, legends, panels
from lightdan.measurements.report import Result
from lightdan.measurements.table import Reference
from lightdan.statistics import (
    Blocks,
    Bound,
    Estimate,
    blocks_of,
    effective_number,
    jackknife,
    mean,
    weighted_mean,
)

FEWEST_FOR_BINDER = 150
"""Number of independent rows below which the Binder cumulant has no error.

Fourth powers of a normal order parameter have wide tails that fewer rows do not show. Their influence
has the excess kurtosis 636, and errors cover 58 % with 60 rows, 61 % with 100, and 63 % with 150.
"""
FEW_FOR_BINDER = f"fewer than {FEWEST_FOR_BINDER} independent rows"
"""Reason why the Binder cumulant has no error."""


class Observables(SampledMeasurement):
    """Observables, fluctuations and two-point function of model samples against held-out data.

    For each quantity there are three estimates: `<name>` of the model, `<name>_data` of the held-out
    data, and `<name>_z`, their difference in standard errors. The quantities are

    - the observables of the system;
    - `susceptibility`: N (⟨m²⟩ − ⟨|m|⟩²)/T;
    - `binder_cumulant`: 1 − ⟨m⁴⟩/3⟨m²⟩², except for angles; without error below 150 independent rows;
    - `specific_heat`: (⟨H²⟩ − ⟨H⟩²)/(N T²).

    `correlation_max_deviation` is the largest |C_model(r) − C_data(r)| of the two-point function
    C(r) = ⟨s_0 s_r⟩, with the error at that r. It is along the axes of hypercubic lattices, and by the
    distance of all pairs elsewhere.
    """

    name = "observables"
    takes_weights = True
    takes_controls = True

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure means, fluctuations and C(r), with errors and z-scores."""
        samples = ensemble.samples(self.num_samples, self.seed).configurations
        model = series(ensemble, samples)
        data = series(ensemble, ensemble.configurations)
        weights = ensemble.weights
        summaries = [
            summary(ensemble, model),
            summary(ensemble, data, weights=weights, blocks=ensemble.blocks),
        ]
        estimates: dict[str, Estimate] = {}
        for name, of_model in summaries[0].items():
            of_data = summaries[1][name]
            estimates[name] = of_model
            estimates[f"{name}_data"] = of_data
            error = math.hypot(of_model.error, of_data.error)
            if 0 < error < math.inf:
                estimates[f"{name}_z"] = Estimate((of_model.value - of_data.value) / error, 1.0)
        correlations = [
            [mean(column, *of_rows) for column in two_point(ensemble, configurations).T]
            for configurations, of_rows in (
                (samples, (None, None)),
                (ensemble.configurations, (weights, ensemble.blocks)),
            )
        ]
        values, errors = np.array(correlations).transpose(2, 0, 1)
        deviation = np.abs(values[0] - values[1])
        worst = int(deviation.argmax())
        estimates["correlation_max_deviation"] = Estimate(
            float(deviation[worst]), float(np.hypot(*errors[:, worst]))
        )
        reference: dict[str, Reference] = {**summaries[1]}
        reference["correlation_max_deviation"] = Bound(0.0, "≥")
        unlisted = {name for name in estimates if name.endswith(("_data", "_z"))}
        arrays = {"correlation": values, "correlation_error": errors}
        arrays |= {f"{name}_model": column for name, column in model.items()}
        arrays |= {f"{name}_data": column for name, column in data.items()}
        if weights is not None:
            arrays["weights"] = weights
        figure = self.figure(arrays, next(iter(model)), distances(ensemble.system.lattice))
        result = Result(estimates, arrays, figure, reference, unlisted)
        result.withhold(without_error(estimates), FEW_FOR_BINDER)
        return result

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], name: str, distance: np.ndarray) -> Figure:
        """Plot C(r), and the distribution of the first observable."""
        figure, (left, right) = panels(2)
        styles = (("model", MODEL, "o"), ("data", DATA, "s"))
        for row, (label, colour, marker) in enumerate(styles):
            left.errorbar(
                distance + 0.08 * row,
                arrays["correlation"][row],
                arrays["correlation_error"][row],
                fmt=marker,
                ms=3.5,
                color=colour,
                mfc="none",
                label=label,
            )
        left.set(xlabel="$r$ (sites)", ylabel="$C(r)$")
        both = np.concatenate([arrays[f"{name}_{label}"] for label in ("model", "data")])
        edges = bin_edges(both)
        for label, colour, _ in styles:
            right.hist(
                arrays[f"{name}_{label}"],
                edges,
                weights=arrays.get("weights") if label == "data" else None,
                density=True,
                histtype="step",
                color=colour,
                label=label,
            )
        right.set(xlabel=name.replace("_", " "), ylabel="density")
        legends((left, right))
        return figure


def series(ensemble: Ensemble, configurations: Tensor) -> dict[str, np.ndarray]:
    """Return every observable of every configuration `(M,)`."""
    return {
        name: function(configurations).double().cpu().numpy()
        for name, function in ensemble.system.observables(ensemble.temperature).items()
    }


def summary(
    ensemble: Ensemble,
    values: dict[str, np.ndarray],
    log_weights: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    blocks: Blocks | None = None,
) -> dict[str, Estimate]:
    """Return means and fluctuations of the observables.

    Args:
        ensemble: Model and temperature.
        values: Observables by name `(M,)`.
        log_weights: Logarithm of importance weights of independent samples.
        weights: Weights of rows, as in `statistics.mean`.
        blocks: Blocks of rows; by default each sample is independent.
    """
    if log_weights is None:
        estimates = {name: mean(column, weights, blocks) for name, column in values.items()}
    else:
        estimates = {name: weighted_mean(column, log_weights) for name, column in values.items()}
        weights = np.exp(log_weights - log_weights.max())
    sites, temperature = ensemble.system.num_sites, ensemble.temperature
    if "abs_magnetization" in values:
        estimates["susceptibility"] = _variance(
            values["abs_magnetization"], weights, blocks, sites / temperature
        )
    if "magnetization" in values:
        estimates["binder_cumulant"] = binder_cumulant(values["magnetization"], weights, blocks)
    if "energy" in values:
        estimates["specific_heat"] = _variance(values["energy"], weights, blocks, sites / temperature**2)
    return estimates


def binder_cumulant(
    m: np.ndarray, weights: np.ndarray | None = None, blocks: Blocks | None = None
) -> Estimate:
    """Return 1 − ⟨m⁴⟩/3⟨m²⟩²; the error is infinite for fewer than 150 independent rows, or if m is 0.

    Args:
        m: Order parameter of each row `(M,)`.
        weights: Weights of rows, as in `statistics.mean`.
        blocks: Blocks of rows; by default the rows are one series.
    """
    square = m**2
    blocks = blocks_of(square, square**2) if blocks is None else blocks
    if np.count_nonzero(np.add.reduceat(square, blocks.starts)) < 2:
        return Estimate(0.0, math.inf)
    cumulant = jackknife(
        lambda m2, m4: 1 - m4 / (3 * m2**2), square, square**2, weights=weights, blocks=blocks
    )
    worth = blocks.worth
    if weights is not None:
        # Counts are independent rows, whatever the blocks are.
        share = 1.0 if weights.dtype.kind in "iu" else blocks.worth / len(m)
        worth = share * effective_number(weights)
    return cumulant if worth >= FEWEST_FOR_BINDER else Estimate(cumulant.value, math.inf)


def without_error(estimates: Mapping[str, Estimate]) -> list[str]:
    """Return the names of Binder cumulants that have no error."""
    return [
        name
        for name, estimate in estimates.items()
        if name.startswith("binder_cumulant") and estimate.error == math.inf
    ]


def _variance(
    column: np.ndarray, weights: np.ndarray | None, blocks: Blocks | None, factor: float
) -> Estimate:
    """Return factor × (⟨x²⟩ − ⟨x⟩²) with its error."""
    shifted = column - column.mean()
    return jackknife(
        lambda x, xx: factor * (xx - x**2),
        shifted,
        shifted**2,
        weights=weights,
        blocks=blocks,
    )


def two_point(ensemble: Ensemble, configurations: Tensor) -> np.ndarray:
    """Return C(r) of each configuration at the distances of `distances` `(M, R)`.

    C(r) is the mean over pairs of sites at the distance r of the product of two spins, levels or fields,
    or of the cosine of the difference of two angles. Levels stand for their physical values.
    """
    system = ensemble.system
    configurations = system.physical(configurations)
    angular = system.site_kind == "angle" or system.clock
    find = pairs_along_axes if system.lattice.is_hypercubic else pairs_at_distances
    columns = []
    for pairs in find(system.lattice, configurations):
        products = [
            (torch.cos(second - first) if angular else second * first).flatten(1).mean(1)
            for first, second in pairs
        ]
        columns.append(torch.stack(products).mean(0))
    return torch.stack(columns, dim=1).double().cpu().numpy()


def distances(lattice: Lattice) -> np.ndarray:
    """Return the distances of the two-point function `(R,)`, up to half the longest side.

    On hypercubic lattices they are along the axes; elsewhere they are those of all pairs of sites, and
    on a graph numbers of bonds.
    """
    if lattice.is_hypercubic:
        return np.arange(1, max(2, max(lattice.shape) // 2 + 1))
    return np.unique([*lattice.displacements(float(max(1, max(lattice.cells) // 2))).values()])


def pairs_along_axes(lattice: Lattice, configurations: Tensor) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Yield for each distance the values of sites and of those ahead along each axis."""
    for distance in distances(lattice).tolist():
        pairs = []
        for axis, side in enumerate(lattice.shape, start=1):
            if distance >= side:
                continue
            shifted, fixed = configurations.roll(-distance, axis), configurations
            if not lattice.periodic:
                shifted = configurations.narrow(axis, distance, side - distance)
                fixed = configurations.narrow(axis, 0, side - distance)
            pairs.append((fixed, shifted))
        yield pairs


def pairs_at_distances(
    lattice: Lattice, configurations: Tensor
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Yield for each distance the values of both sites of all pairs at it."""
    flat = configurations.flatten(1)
    found = distances(lattice)
    lengths = lattice.displacements(float(found[-1]))
    for distance in found:
        steps = [step for step, length in lengths.items() if length == distance]
        pairs = np.concatenate([lattice.displaced(step) for step in steps])
        first, second = torch.from_numpy(np.unique(np.sort(pairs, axis=1), axis=0).T).to(flat.device)
        yield [(flat[:, first], flat[:, second])]
