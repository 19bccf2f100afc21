"""Configurations of small lattices and models with random weights, for tests."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lightdan.architectures.base import Architecture

Shape: TypeAlias = tuple[int, ...]
Site: TypeAlias = dict[str, Any]


def all_configurations(shape: Sequence[int], levels: Sequence[int]) -> Tensor:
    """Return every configuration of a small discrete lattice `(levels^sites, *lattice)`, in float64."""
    values = torch.tensor(levels, dtype=torch.float64)
    digits = [torch.arange(len(levels))] * math.prod(shape)
    return values[torch.cartesian_prod(*digits)].reshape(-1, *shape)


def grid(site: Site, shape: Sequence[int], points: int) -> tuple[Tensor, Tensor]:
    """Return all configurations of a small continuous lattice with u = (k + 1/2)/points at each site.

    An angle is 2πu. A real is 3 tan(π (u − 1/2)), so that the grid reaches far.

    Returns:
        Configurations in float64, and the Jacobian ds/du of each, so that ⟨p ds/du⟩ = 1.
    """
    u = (all_configurations(shape, range(points)) + 0.5) / points
    if site["site_kind"] == "angle":
        return 2 * math.pi * u, torch.ones(len(u), dtype=u.dtype)
    angle = math.pi * (u - 0.5)
    return 3 * angle.tan(), (3 * math.pi / angle.cos().square()).flatten(1).prod(1)


def cells(site: Site, configurations: Tensor, num: int) -> Tensor:
    """Return the number of the cell of each site, for `num` equal cells of u."""
    return (unit(site, configurations) * num).floor().clamp(max=num - 1)


def unit(site: Site, values: Tensor) -> Tensor:
    """Return u in [0, 1] of continuous site values, as in `grid`."""
    if site["site_kind"] == "angle":
        return values / (2 * math.pi)
    return (values / 3).atan() / math.pi + 0.5


def random_configurations(site: Site, shape: Sequence[int], num: int, seed: int = 0) -> Tensor:
    """Draw independent uniform spins, levels or angles, or normal reals `(B, *lattice)`, in float64."""
    generator = torch.Generator().manual_seed(seed)
    if site["site_kind"] == "real":
        return torch.randn(num, *shape, generator=generator, dtype=torch.float64)
    if site["site_kind"] == "angle":
        return 2 * math.pi * torch.rand(num, *shape, generator=generator, dtype=torch.float64)
    levels = torch.tensor(site["levels"], dtype=torch.float64)
    return levels[torch.randint(len(levels), (num, *shape), generator=generator)]


def randomize(model: Architecture, scale: float = 0.5, seed: int = 0) -> Architecture:
    """Convert a model to float64 and add noise to every weight, because some start at zero."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.double().parameters():
        weight.data += scale * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    for name, value in (("location", 0.3), ("scale", 0.7), ("unit_of_temperature", 1.5)):
        if name in dict(model.named_buffers()):
            getattr(model, name).fill_(value)
    return model.eval()


def assert_frequencies(samples: Tensor, states: Tensor, probabilities: Tensor) -> None:
    """Compare samples with the probabilities of all states by Pearson's χ².

    States expected fewer than five times are pooled. The test fails beyond five standard deviations.
    """
    rows = {tuple(state.flatten().tolist()): index for index, state in enumerate(states)}
    indices = torch.tensor([rows[tuple(s.flatten().tolist())] for s in samples])
    counts = indices.bincount(minlength=len(states)).double()
    expected = probabilities.double() * len(samples)
    common = expected >= 5
    counts, expected = (torch.cat([x[common], x[~common].sum()[None]]) for x in (counts, expected))
    chi2 = ((counts - expected).square() / expected.clamp(min=1)).sum().item()
    freedom = len(expected) - 1
    assert chi2 < freedom + 5 * math.sqrt(2 * freedom) + 5, (chi2, freedom)


def probabilities_of(model: Architecture, states: Tensor, temperature: float = 1.0) -> Tensor:
    """Return p_θ `(B,)` of states `(B, *lattice)`, in portions that fit into memory."""
    with torch.no_grad():
        parts = [model.log_prob(s, s.new_full((len(s),), temperature)) for s in states.split(8192)]
    return torch.cat(parts).exp()


def assert_sites_see_earlier_stages_only(model: Architecture, site: Site) -> None:
    """Check that changing site j of the order leaves the parameters up to the end of its stage alone."""
    shape = model.lattice_shape
    first, second = (random_configurations(site, shape, 6, seed).flatten(1) for seed in (1, 2))
    stage = model.ordering.stage
    with torch.no_grad():
        before = model(first.reshape(-1, *shape))
        for j in range(model.num_sites):
            changed = first.clone()
            changed[:, j] = second[:, j]
            after = model(changed.reshape(-1, *shape))
            blind = stage <= stage[j]
            assert torch.equal(after[:, blind], before[:, blind])
