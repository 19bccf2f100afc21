import numpy as np
import pytest

from lightdan.simulation.scalar_field import action_and_gradient, simulate
from lightdan.simulation.transfer_matrix import TransferMatrix
from lightdan.statistics import mean


@pytest.mark.parametrize("shape", [(5,), (4, 6), (2, 2), (1, 3)])
def test_gradient_is_the_derivative(shape):
    """The gradient agrees with central differences, and the action counts each bond once."""
    rng = np.random.default_rng(0)
    field = rng.normal(size=(1, *shape))
    _, gradient = action_and_gradient(field, 0.23, 0.4)
    for index in np.ndindex(*shape):
        step = np.zeros_like(field)
        step[(0, *index)] = 1e-5
        ends = [action_and_gradient(field + sign * step, 0.23, 0.4)[0][0] for sign in (1, -1)]
        assert gradient[(0, *index)] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("shape", [(6, 8), (12,)])
def test_free_field_is_gaussian(shape):
    """⟨φ²⟩ and the neighbours' ⟨φφ'⟩ from the Fourier modes of S = φ (1 − 2κ Σ cos k) φ."""
    hopping = 0.2
    modes = np.meshgrid(*[2 * np.pi * np.arange(side) / side for side in shape], indexing="ij")
    propagator = 0.5 / (1 - 2 * hopping * sum(np.cos(k) for k in modes))
    fields = simulate(shape, hopping, 0.0, 12_000, seed=1).configurations.astype(float)
    axes = tuple(range(1, fields.ndim))
    for values, exact in (
        ((fields**2).mean(axes), propagator.mean()),
        ((fields * np.roll(fields, 1, 1)).mean(axes), (propagator * np.cos(modes[0])).mean()),
        (fields.mean(axes) ** 2, propagator.flat[0] / np.prod(shape)),
    ):
        found = mean(values)
        assert abs(found.value - exact) < 3 * found.error


def test_interacting_ring_is_a_path():
    """−2κφφ' = κ(φ − φ')² − …: a = 1/2κ and a V = (1 − 2κ) φ² + λ (φ² − 1)²."""
    hopping, coupling, sites = 0.4, 0.6, 10
    solved = TransferMatrix(
        lambda x: 2 * hopping * ((1 - 2 * hopping) * x**2 + coupling * (x**2 - 1) ** 2),
        sites / (2 * hopping),
        sites,
    )
    run = simulate((sites,), hopping, coupling, 12_000, seed=2)
    assert max(tau.value for tau in run.tau.values()) < 1.2
    fields = run.configurations.astype(float)
    action = action_and_gradient(fields, hopping, coupling)[0]
    for values, exact in (
        ((fields**2).mean(1), solved.mean(np.square)),
        ((fields * np.roll(fields, 3, 1)).mean(1), solved.correlator()[3]),
        (action, solved.mean_action()),
        (fields.mean(1), 0.0),
    ):
        found = mean(values)
        assert abs(found.value - exact) < 3 * found.error
