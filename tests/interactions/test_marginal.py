"""Regressions on the sites before that follow from all pairs."""

import numpy as np
import pytest
import torch

from lightdan.interactions.marginal import marginal
from lightdan.interactions.observations import Observations
from lightdan.interactions.regressions import Sites
from lightdan.testing import all_configurations

KINDS = {"spin": Sites("spin", (-1, 1)), "level": Sites("level", (0, 2, 3))}


def pairs(sites, num, distance, scale=0.8):
    """All states of an open chain of random fields and couplings, ln p, and J."""
    rng = np.random.default_rng(0)
    size = sites.num_features
    joint = rng.normal(0, scale, (num, size, num, size))
    far = np.abs(np.subtract.outer(np.arange(num), np.arange(num)))
    joint *= ((far > 0) & (far <= distance))[:, None, :, None]
    joint = torch.from_numpy(joint.reshape(num * size, -1))
    joint = (joint + joint.T) / 2
    states = all_configurations((num,), sites.levels)
    x = sites.features(states).double()
    log_p = x @ torch.from_numpy(rng.normal(0, 0.5, num * size)) + (x @ joint * x).sum(1) / 2
    return states, log_p - log_p.logsumexp(0), joint


@pytest.mark.parametrize("kind", KINDS)
def test_a_chain_is_exact(kind):
    """A site summed out at the end of a chain leaves only a field."""
    states, log_p, joint = pairs(KINDS[kind], 5, 1)
    found = marginal(joint, KINDS[kind], Observations(states, log_p.exp()), 0.1)
    assert found.log_prob(states) == pytest.approx(log_p.numpy(), abs=1e-4)
    assert found.width == 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_couplings_left_by_later_sites(kind):
    """With all pairs, KL is of the fourth order in J or above."""
    kls = []
    for scale in (0.8, 0.4):
        states, log_p, joint = pairs(KINDS[kind], 5, 5, scale)
        found = marginal(joint, KINDS[kind], Observations(states, log_p.exp()), 0.1)
        kls.append((log_p.exp().numpy() * (log_p.numpy() - found.log_prob(states))).sum())
    assert 0 < kls[1] < kls[0] / 16 < 0.003
