"""Fits of couplings of continuous sites to scores, in closed form."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions.fit import DEPENDENT, Fit, normalized, refuse_nan, undetermined
from lightdan.interactions.local_fields import LocalFields, Rows
from lightdan.progress import Fractions
from lightdan.types import Configurations


def match_scores(
    fields: LocalFields,
    configurations: Configurations,
    learned: Tensor | None = None,
    *,
    project: bool = False,
    block_size: int = 1,
    weights: Tensor | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> Fit:
    """Fit couplings βJ of continuous sites by score matching.

        ⟨Σ_i [(u_i + Σ_a βJ_a ∂_i O_a)²/2 + Σ_a βJ_a ∂_i² O_a]⟩ is minimal,

    where u is a fixed score ∂_i ln p_θ or 0. The solution is that of linear equations,

        Σ_b C_ab βJ_b = −⟨Σ_i (∂_i² O_a + u_i ∂_i O_a)⟩,  C_ab = ⟨Σ_i ∂_i O_a ∂_i O_b⟩.

    With `project`, the couplings are those whose scores are closest to u: C βJ = ⟨Σ_i u_i ∂_i O⟩.

    Args:
        fields: Local fields of the operators; the sites are angles or fields.
        configurations: Configurations s `(M, *lattice)`.
        learned: Scores u of a network `(M, sites)`; 0 by default.
        project: Whether to fit the scores u instead of the configurations.
        block_size: Number of consecutive, correlated configurations treated as one observation.
        weights: Counts (integers) or real weights of the configurations `(M,)`; 1 by default.
        progress: Function called with the number of sites just processed; a fit takes two passes.

    Raises:
        Undetermined: The data leave a coupling undetermined.

    References:
        A. Hyvärinen, J. Mach. Learn. Res. 6, 695 (2005).
    """
    num, parameters = len(configurations), len(fields.operators)
    if not parameters:
        return Fit(np.zeros(0), np.zeros((num, 0)), block_size)
    refuse_nan(configurations)
    weights, counts = normalized(weights)
    done = Fractions(progress)
    device = configurations.device
    curvature = torch.zeros(parameters, parameters, dtype=torch.float64, device=device)
    right = curvature.new_zeros(parameters)

    def score(site: int, rows: Rows, u: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return ∂_i O and −∂_i² O − u ∂_i O, or u ∂_i O, of the operators of a site `(columns, M)`."""
        first, second = fields.derivatives(site, rows, fields.at(site, rows))
        return first, first * u if project else -second - first * u

    def learned_at(chunk: slice, position: int) -> Tensor | float:
        return 0.0 if learned is None else learned[chunk, position]

    for chunk in fields.chunks(num):
        rows = fields.rows(configurations[chunk])
        for position, site in enumerate(fields.sites):
            columns = fields.columns[site]
            first, linear = score(site, rows, learned_at(chunk, position))
            w = 1.0 if weights is None else weights[chunk]
            curvature[columns[:, None], columns] += (first * w) @ first.T
            right[columns] += (linear * w).sum(1)
            done.add((chunk.stop - chunk.start) / num)
    scale = curvature.diagonal().clamp(min=0).sqrt()
    if not (scale > 0).all() or not curvature.isfinite().all():
        raise undetermined(fields, curvature, right)
    scaled = curvature / (scale[:, None] * scale)
    if torch.linalg.eigvalsh(scaled)[0] < DEPENDENT:
        raise undetermined(fields, curvature, right)
    try:
        couplings = torch.linalg.solve(scaled, right / scale) / scale
    except RuntimeError as error:
        raise undetermined(fields, curvature, right) from error
    if not couplings.isfinite().all():
        raise undetermined(fields, curvature, right)
    factor = torch.linalg.cholesky(scaled)
    influence = np.empty((num, parameters))
    for chunk in fields.chunks(num):
        rows = fields.rows(configurations[chunk])
        scores = curvature.new_zeros(parameters, rows.values.shape[1])
        for position, site in enumerate(fields.sites):
            columns = fields.columns[site]
            first, linear = score(site, rows, learned_at(chunk, position))
            scores[columns] += linear - first * (couplings[columns] @ first)
            done.add((chunk.stop - chunk.start) / num)
        if weights is not None and counts is None:
            scores *= weights[chunk]
        solved = torch.cholesky_solve(scores / scale[:, None], factor) / scale[:, None]
        influence[chunk] = num * solved.T.cpu().numpy()
    return Fit(couplings.cpu().numpy(), influence, block_size, counts)
