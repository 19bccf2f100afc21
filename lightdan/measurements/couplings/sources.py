"""Configurations, conditionals and scores from which couplings are read."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightdan.data.splits import SPLITS
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.progress import progress_bar


def require_spins(ensemble: Ensemble) -> None:
    """Raise NotMeasurable unless the sites are spins."""
    if ensemble.system.site_kind != "spin":
        raise NotMeasurable(
            f"This measurement needs spins, but the sites are of kind {ensemble.system.site_kind!r}: "
            "see its documentation."
        )


def all_configurations(ensemble: Ensemble) -> Tensor:
    """Return the configurations of all splits in the order of the data, `(M, *lattice)`."""
    rows = [ensemble.system.data.rows(name, ensemble.temperature) for name in SPLITS]
    order = ensemble.system.data.order(ensemble.temperature)
    return torch.cat(rows)[order.to(rows[0].device)].to(ensemble.model.device)


def all_weights(ensemble: Ensemble) -> Tensor | None:
    """Return the weights of `all_configurations` `(M,)`, or None."""
    parts = [ensemble.system.data.weights(name, ensemble.temperature) for name in SPLITS]
    weights = [part for part in parts if part is not None]
    if not weights:
        return None
    order = ensemble.system.data.order(ensemble.temperature)
    return torch.cat(weights)[order.to(weights[0].device)].to(ensemble.model.device)


def local_logits(
    ensemble: Ensemble, configurations: Tensor, sites: Sequence[int] | None = None
) -> Tensor:
    """Return the network's conditionals of discrete sites, given all others.

    Args:
        ensemble: Model and temperature.
        configurations: Configurations s `(M, *lattice)`.
        sites: Sites i; all by default.

    Returns:
        ln p_θ(1) − ln p_θ(−1) of spins `(M, sites)`, or ln p_θ of every level `(M, sites, levels)`.
    """
    model = ensemble.model
    parts = []
    with progress_bar("Local fields", len(configurations)) as advance:
        for part in configurations.split(500):
            fields = model.local_fields(part, ensemble.temperature, sites).double()
            log_p = (-fields / ensemble.temperature).log_softmax(-1)
            spins = model.site_kind == "spin"
            parts.append(log_p[..., 1] - log_p[..., 0] if spins else log_p)
            advance(len(part))
    return torch.cat(parts)


def local_scores(
    ensemble: Ensemble, configurations: Tensor, sites: Sequence[int] | None = None
) -> Tensor:
    """Return the network's scores ∂ ln p_θ/∂s_i of continuous sites `(M, sites)`.

    Args:
        ensemble: Model and temperature.
        configurations: Configurations s `(M, *lattice)`.
        sites: Sites i; all by default.
    """
    parts = []
    # Lightning tests in inference mode, in which nothing has a gradient.
    gradients = torch.inference_mode(False), torch.enable_grad()
    with gradients[0], gradients[1], progress_bar("Scores", len(configurations)) as advance:
        for part in configurations.split(500):
            values = part.clone().requires_grad_()
            temperature = part.new_full((len(part),), ensemble.temperature)
            total = ensemble.model.log_prob(values, temperature).sum()
            (gradient,) = torch.autograd.grad(total, values)
            parts.append(gradient.flatten(1).double())
            advance(len(part))
    scores = torch.cat(parts)
    return scores if sites is None else scores[:, list(sites)]
