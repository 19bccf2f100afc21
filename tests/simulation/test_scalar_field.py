import warnings
from itertools import product

import numpy as np
import pytest
import torch

from lightdan import ScalarField
from lightdan.simulation.scalar_field import simulate
from lightdan.simulation.transfer_matrix import TransferMatrix
from lightdan.simulation.virial import warn_unless_in_equilibrium
from lightdan.statistics import mean


@pytest.mark.parametrize("shape", [(6, 8), (12,)])
def test_free_field_is_gaussian(shape):
    """⟨φ²⟩ and the neighbours' ⟨φφ'⟩ from the Fourier modes of S = φ (1 − 2κ Σ cos k) φ."""
    hopping = 0.2
    modes = np.meshgrid(*[2 * np.pi * np.arange(side) / side for side in shape], indexing="ij")
    propagator = 0.5 / (1 - 2 * hopping * sum(np.cos(k) for k in modes))
    parts = simulate(shape, hopping, 0.0, 12_000, seed=1).configurations.parts
    fields = np.concatenate([*parts]).astype(float)
    axes = tuple(range(1, fields.ndim))
    for values, exact in (
        ((fields**2).mean(axes), propagator.mean()),
        ((fields * np.roll(fields, 1, 1)).mean(axes), (propagator * np.cos(modes[0])).mean()),
        (fields.mean(axes) ** 2, propagator.flat[0] / np.prod(shape)),
    ):
        found = mean(values)
        assert abs(found.value - exact) < 3 * found.error


@pytest.mark.parametrize(("hopping", "coupling"), [(0.4, 0.6), (-0.4, 0.6), (0.3, 50.0), (2.5, 0.3)])
def test_interacting_ring_is_a_path(hopping, coupling):
    """−2κφφ' = |κ| (φ ∓ φ')² − …: a = 1/2|κ| and a V = (1 − 2|κ|) φ² + λ (φ² − 1)².

    The sign of every second site of a path is changed if κ is negative.
    """
    sites, strength = 10, 2 * abs(hopping)
    solved = TransferMatrix(
        lambda x: strength * ((1 - strength) * x**2 + coupling * (x**2 - 1) ** 2),
        sites / strength,
        sites,
    )
    run = simulate((sites,), hopping, coupling, 12_000, seed=2)
    assert max(tau.value for tau in run.tau.values()) < 1.2
    fields = run.configurations.astype(float)
    action = ScalarField((sites,), hopping, coupling).action(torch.from_numpy(fields)).numpy()
    for values, exact in (
        ((fields**2).mean(1), solved.mean(np.square)),
        ((fields * np.roll(fields, 3, 1)).mean(1), np.sign(hopping) * solved.correlator()[3]),
        (action, solved.mean_action()),
        (fields.mean(1), 0.0),
    ):
        found = mean(values)
        assert abs(found.value - exact) < 3 * found.error


def virial_by_chains(system):
    """Return φ ∂S/∂φ per site of each of 16 chains."""
    run = system.simulate(1.0, 0, lambda n: None)
    fields = torch.from_numpy(np.asarray(run.configurations)).double().requires_grad_()
    (gradient,) = torch.autograd.grad(system.action(fields).sum(), fields)
    values = (fields * gradient).flatten(1).mean(1).detach().numpy()
    return values.reshape(16, -1).mean(1)


ALL = [*product([0.01, 1.0, 20.0, 1000.0], [-3.0, -0.3, 0.0, 0.3, 3.0])]
FEW = [(0.01, 3.0), (0.01, -3.0), (20.0, 0.0), (20.0, 0.3), (1000.0, -3.0), (1000.0, 0.3)]


@pytest.mark.parametrize(
    ("shape", "cases"),
    [
        ((3, 4), FEW),
        ((2, 3, 2), FEW[::2]),
        pytest.param((6, 8), ALL, marks=pytest.mark.slow),
        pytest.param((4, 4, 4), FEW, marks=pytest.mark.slow),
    ],
    ids=["few", "few in three dimensions", "all", "cube"],
)
def test_virial_is_exact(shape, cases):
    """⟨φ ∂S/∂φ⟩ is 1 per site from soft fields to those that are nearly ±1, in both ordered phases."""
    deviations = []
    for coupling, hopping in cases:
        means = virial_by_chains(ScalarField(shape, hopping, coupling, num_configurations=1600))
        deviations.append((means.mean() - 1) / (means.std(ddof=1) / 4))
    # Student's distribution with 15 degrees of freedom has the variance 15/13.
    assert np.abs(deviations).max() < 4.5
    assert np.mean(np.square(deviations)) < 15 / 13 * (1 + 4 * np.sqrt(2 / len(deviations)))


def test_rounding_stops_no_sweep():
    """At λ = 10¹² random numbers are lost in the rounding of S, and fields are still ±1."""
    fields = simulate((3,), 0.2, 1e12, 160).configurations
    assert np.allclose(np.abs(fields), 1, atol=1e-5)


def test_fields_out_of_equilibrium_are_told():
    """Fields that are 5 % too large have a virial above 1, and others no warning."""
    fields = np.random.default_rng(0).normal(size=(1600, 20))

    def action(x):
        return (x**2).sum(1) / 2

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_unless_in_equilibrium(action, fields, 16)
        # Nearly equal squares of single normal numbers are not rare.
        warn_unless_in_equilibrium(action, np.linspace(0.1, 0.4, 16)[:, None], 16)
    with pytest.warns(UserWarning, match="not in equilibrium: .* is 1.1 ± 0.00., and 1 is exact"):
        warn_unless_in_equilibrium(action, 1.05 * fields, 16)
