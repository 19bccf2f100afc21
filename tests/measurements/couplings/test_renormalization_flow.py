from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from lightdan import MADE, XY, Ising, NotMeasurable, RenormalizationFlow
from lightdan.interactions.catalogue import uniform_operators
from lightdan.lattices.bravais import hypercubic
from lightdan.measurements.couplings.renormalization_flow import exponent
from lightdan.measurements.ensemble import Ensemble
from lightdan.systems.block_spin import block_sums, majority
from lightdan.testing import all_configurations

EVERY = ("rotation", "reflection")


def test_the_eigenvalue_agrees_with_a_numerical_derivative():
    """Open 4 × 4 spins are blocked to 2 × 2, where there are only three even operators.

    K' follows from the sum over all spins with the same blocks; both signs share ties.
    """
    fine, coarse = all_configurations((4, 4), (-1, 1)), all_configurations((2, 2), (-1, 1))
    operators = [
        np.stack(
            [
                o.value(states.numpy())
                for o in uniform_operators(hypercubic(states.shape[1:], "open"), EVERY, 1.5)
                if o.order == 2
            ]
            + [plaquettes(states)],
            axis=1,
        )
        for states in (fine, coarse)
    ]
    signs = block_sums(fine).sign().flatten(1)
    share = ((1 + signs[:, None] * coarse.flatten(1)) / 2).prod(2).numpy()  # p(S|s)

    def blocked(couplings):
        with np.errstate(divide="ignore"):
            logs = logsumexp((operators[0] @ couplings)[:, None] + np.log(share), axis=0)
        basis = np.concatenate([np.ones((16, 1)), operators[1]], axis=1)
        solution, residual, *_ = np.linalg.lstsq(basis, logs, rcond=None)
        assert residual < 1e-20
        return solution[1:]

    at = np.array([0.3, 0.1, 0.05])
    steps = 1e-5 * np.eye(3)
    matrix = np.stack([(blocked(at + d) - blocked(at - d)) / 2e-5 for d in steps], axis=1)
    p = np.exp(operators[0] @ at)
    rows = np.random.default_rng(0).choice(len(fine), 400_000, p=p / p.sum())
    blocks = majority(block_sums(fine[rows]), 1)
    code = (blocks.flatten(1) > 0).long() @ (1 << torch.arange(3, -1, -1))
    order = (coarse.flatten(1) > 0).long() @ (1 << torch.arange(3, -1, -1))
    estimate, _ = exponent(operators[0][rows], operators[1][order.argsort()[code]])
    expected = np.abs(np.linalg.eigvals(matrix)).max()
    assert abs(estimate.value - expected) < 3 * estimate.error < 0.05


def plaquettes(states):
    corners = states[:, :-1, :-1] * states[:, :-1, 1:] * states[:, 1:, :-1] * states[:, 1:, 1:]
    return corners.sum((1, 2)).numpy()


@pytest.mark.parametrize(
    ("temperature", "direction"),
    [
        pytest.param(2.0, 1, marks=pytest.mark.slow),
        pytest.param(2.269185, 0, marks=pytest.mark.slow),
        pytest.param(2.5, -1, marks=pytest.mark.slow),
    ],
)
def test_couplings_run_to_order_stay_and_run_to_disorder(temperature, direction, tmp_path):
    system = Ising(
        16,
        temperature=temperature,
        num_configurations=6000,
        splits=(0.05, 0.05, 0.9),
        cache_dir=str(tmp_path),
    )
    scales = RenormalizationFlow().flow(system, system.data.rows("test", temperature))
    assert len(scales) == 3
    flow = [scale.coupling for scale in scales]
    assert abs(flow[0].value - 1 / temperature) < 4 * flow[0].error < 0.003
    if direction:
        assert all(direction * (b.value - a.value) > 0.02 for a, b in pairwise(flow))
    else:
        assert all(abs(b.value - a.value) < 0.025 for a, b in pairwise(flow))
        assert abs(scales[2].nu.value - 1) < 3 * scales[2].nu.error < 0.15
        # The nearest-neighbour Hamiltonian is not the fixed point: neighbours of neighbours appear.
        assert abs(scales[0].couplings["pair_1_1"].value) < 0.01
        assert scales[1].couplings["pair_1_1"].value > 0.06


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (XY(shape=8, num_configurations=100), "needs spins, but the sites are of kind 'angle'"),
        (Ising((8, 9), temperature=2.0), "even sides of at least 8, not 8 × 9"),
        (Ising((16,), temperature=2.0), "two axes"),
    ],
    ids=lambda value: None,
)
def test_what_cannot_be_blocked_is_refused(system, words):
    model = MADE(lattice_shape=system.lattice_shape, site_kind=system.site_kind, levels=system.levels)
    with pytest.raises(NotMeasurable, match=words):
        RenormalizationFlow().measure(Ensemble(model, system, 1.0))
