"""Fits of couplings of continuous sites to scores, in closed form."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions.fit import DEPENDENT, Fit, normalized, undetermined
from lightdan.interactions.local_fields import LocalFields
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
    weights, counts = normalized(weights)
    curvature = torch.zeros(parameters, parameters, dtype=torch.float64, device=configurations.device)
    right = curvature.new_zeros(parameters, num)
    for chunk in fields.chunks(num):
        rows = fields.rows(configurations[chunk])
        for position, site in enumerate(fields.sites):
            columns = fields.columns[site]
            first, second = fields.derivatives(site, rows, fields.at(site, rows))
            weighted = first if weights is None else first * weights[chunk]
            curvature[columns[:, None], columns] += weighted @ first.T
            u = 0.0 if learned is None else learned[chunk, position]
            right[columns, chunk] += first * u if project else -second - first * u
            if chunk.stop == num:
                progress(1)
    scale = curvature.diagonal().clamp(min=0).sqrt()
    if not (scale > 0).all() or not curvature.isfinite().all():
        raise undetermined(fields, curvature, right.sum(1))
    if torch.linalg.eigvalsh(curvature / (scale[:, None] * scale))[0] < DEPENDENT:
        raise undetermined(fields, curvature, right.sum(1))
    total = right if weights is None else right * weights
    try:
        couplings = torch.linalg.solve(curvature, total.sum(1))
    except RuntimeError as error:
        raise undetermined(fields, curvature, right.sum(1)) from error
    if not couplings.isfinite().all():
        raise undetermined(fields, curvature, right.sum(1))
    scores = right
    for chunk in fields.chunks(num):
        rows = fields.rows(configurations[chunk])
        for site in fields.sites:
            columns = fields.columns[site]
            first, _ = fields.derivatives(site, rows, fields.at(site, rows))
            scores[columns, chunk] -= first * (couplings[columns] @ first)
            if chunk.stop == num:
                progress(1)
    if weights is not None and counts is None:
        scores *= weights
    influence = num * torch.linalg.solve(curvature, scores).T
    return Fit(couplings.cpu().numpy(), influence.cpu().numpy(), block_size, counts)
