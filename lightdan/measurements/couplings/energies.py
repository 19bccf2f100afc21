"""Potentials and pair matrices of explicit Hamiltonians."""

from collections.abc import Sequence

import numpy as np
import torch

from lightdan.interactions.catalogue import contrasts_of
from lightdan.interactions.factors import Bump
from lightdan.interactions.operators import Operator
from lightdan.measurements.couplings.effective_hamiltonian import EffectiveHamiltonian, field_range
from lightdan.measurements.ensemble import Ensemble
from lightdan.statistics import Estimate

GRID = 201
"""Number of points of a potential."""


def is_bump(operator: Operator) -> bool:
    """Return whether an operator is a spline of a potential."""
    return isinstance(operator.products[0].factors[0], Bump)


def potential(effective: EffectiveHamiltonian) -> np.ndarray:
    """Return the potential V(φ) = βH/N of constant fields, minus its mean.

    Returns:
        φ, V(φ) and its standard error at equidistant points `(points, 3)`.
    """
    grid = np.linspace(*field_range(effective.ensemble.configurations), GRID)
    fields = constant_fields(effective.ensemble, grid).numpy()
    basis = np.stack([-operator.value(fields) for operator in effective.operators], axis=1)
    basis = (basis - basis.mean(axis=0)) / effective.ensemble.system.num_sites
    errors = np.sqrt(np.einsum("ga,ab,gb->g", basis, effective.covariance, basis))
    return np.stack([grid, basis @ effective.couplings, errors], axis=1)


def constant_fields(ensemble: Ensemble, values: np.ndarray) -> torch.Tensor:
    """Return fields that are constant over the lattice `(values, *lattice)`."""
    shape = ensemble.system.lattice_shape
    return torch.as_tensor(values).reshape(-1, *[1] * len(shape)).expand(-1, *shape)


def true_potential(ensemble: Ensemble, grid: np.ndarray) -> np.ndarray:
    """Return S/N of constant fields, minus its mean `(points,)`."""
    values: np.ndarray = ensemble.action_of(constant_fields(ensemble, grid))
    values /= ensemble.system.num_sites
    return values - values.mean()


def largest_deviation(learned: np.ndarray, true: np.ndarray) -> Estimate:
    """Return the largest deviation of a potential from the true one.

    Args:
        learned: φ, U(φ) and its error `(points, 3)`.
        true: True U(φ) `(points,)`.
    """
    _, value, error = learned.T
    deviations = np.abs(value - true)
    worst = int(deviations.argmax())
    return Estimate(float(deviations[worst]), float(error[worst]))


def pair_matrix(
    levels: tuple[int, ...],
    operators: Sequence[Operator],
    couplings: np.ndarray,
    level_values: Sequence[float] = (),
) -> dict[str, np.ndarray]:
    """Return the levels, and the matrix βJ(s_i, s_j) of the first class of pairs if it was fitted.

    Its rows and columns add up to zero.

    Args:
        levels: Levels of a site.
        operators: Operators O_a.
        couplings: βJ_a `(operators,)`.
        level_values: Physical value of each level, if it is not the level itself.
    """
    arrays = {"levels": np.array(level_values or levels)}
    pairs = [(o.distance, o.displacement) for o in operators if o.displacement]
    _, nearest = min(pairs, default=(0.0, None))
    contrasts = np.array([table.values for table in contrasts_of(levels, level_values)])
    matrix = np.zeros((len(levels),) * 2)
    found = False
    for operator, coupling in zip(operators, couplings, strict=True):
        if operator.name.startswith("matrix_") and operator.displacement == nearest:
            k, m = (int(part) - 1 for part in operator.name.split("_")[1:3])
            product = np.outer(contrasts[k], contrasts[m])
            matrix += coupling * (product if k == m else product + product.T)
            found = True
    return arrays | ({"matrix": matrix} if found else {})
