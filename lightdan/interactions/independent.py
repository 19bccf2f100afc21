"""Independent sites, each with its own distribution in some configurations."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightdan.interactions.observations import Observations
from lightdan.lattices.angles import TWO_PI
from lightdan.types import Configurations

BINS = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of bins of the distribution of an angle, among which the configurations choose."""
HALF = 0.5
"""Count that every level or bin has beside those of the configurations."""


def log_prob(
    observations: Observations, configurations: Configurations, site_kind: str, levels: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return ln p of independent sites `(M,)`.

    Spins and levels have their frequencies with half a count more for each value. Angles have those of
    bins, with densities in the measure dθ/2π. Fields are normal, with their means and variances.

    Args:
        observations: Configurations from which the distributions come, with weights.
        configurations: Configurations `(M, *lattice)`.
        site_kind: Kind of site: ``spin``, ``level``, ``angle`` or ``real``.
        levels: Values of a discrete site.
    """
    values, flat = observations.rows.flatten(1), configurations.flatten(1)
    if site_kind == "real":
        mean, deviation = moments(observations).T
        z = (flat.double().cpu().numpy() - mean) / deviation
        logs: NDArray[np.float64] = -(z**2 / 2 + np.log(deviation) + math.log(TWO_PI) / 2).sum(1)
        return logs
    if site_kind == "angle":
        size, counts = _bins(observations)
        places = (flat.double() * (size / TWO_PI)).long().clamp(0, size - 1)
        return _look_up(counts, places) + values.shape[1] * math.log(size)
    return _look_up(_counts(observations, _places(values, levels), len(levels)), _places(flat, levels))


def fields(
    observations: Observations, site_kind: str, levels: tuple[int, ...]
) -> NDArray[np.float64] | None:
    """Return independent sites as `annealing.with_sites` takes them; None for angles."""
    if site_kind == "angle":
        return None
    if site_kind == "real":
        return moments(observations)
    counts = _counts(observations, _places(observations.rows.flatten(1), levels), len(levels))
    logs: NDArray[np.float64] = _frequencies(counts).log().cpu().numpy()
    return (logs[:, 1] - logs[:, 0]) / 2 if site_kind == "spin" else logs


def moments(observations: Observations) -> NDArray[np.float64]:
    """Return mean and standard deviation of each field `(N, 2)`.

    Raises:
        ValueError: A field never changes.
    """
    values = observations.rows.flatten(1).double().cpu().numpy()
    factors = observations.factors
    weights = None if factors is None else factors.cpu().numpy()
    mean = np.average(values, axis=0, weights=weights)
    deviation = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights))
    if not (deviation > 0).all():
        raise ValueError(
            f"Site {int(deviation.argmin())} never changes, so its density is infinite: leave it out."
        )
    return np.stack([mean, deviation], axis=1)


def _places(values: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Return the places of values among the levels."""
    return torch.searchsorted(torch.tensor(levels, device=values.device), values.long().contiguous())


def _counts(observations: Observations, places: Tensor, size: int) -> Tensor:
    """Return how often each site is at each place `(N, size)`."""
    factors = observations.factors
    ones = torch.ones(len(places), dtype=torch.float64, device=places.device)
    weights = (ones if factors is None else factors)[:, None].expand(places.shape)
    counts = ones.new_zeros(size, places.shape[1])
    return counts.scatter_add_(0, places, weights).T


def _frequencies(counts: Tensor) -> Tensor:
    counts = counts + HALF
    return counts / counts.sum(1, keepdim=True)


def _look_up(counts: Tensor, places: Tensor) -> NDArray[np.float64]:
    """Return Σ_i ln p_i of places `(M, N)`."""
    logs = _frequencies(counts).log()
    total: NDArray[np.float64] = logs.T.gather(0, places).sum(1).cpu().numpy()
    return total


def _bins(observations: Observations) -> tuple[int, Tensor]:
    """Return the number of bins with the highest leave-one-out likelihood, and the counts."""
    values = observations.rows.flatten(1).double()
    best, chosen = -math.inf, None
    for size in BINS:
        places = (values * (size / TWO_PI)).long().clamp(0, size - 1)
        counts = _counts(observations, places, size)
        others = (counts - 1).clamp(min=0) + HALF
        total = counts.sum(1, keepdim=True) - 1 + size * HALF
        value = float((counts * (others * size / total).log()).sum())
        if value > best:
            best, chosen = value, (size, counts)
    assert chosen is not None
    return chosen
