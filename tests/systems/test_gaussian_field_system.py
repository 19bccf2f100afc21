import math

import numpy as np
import pytest
import torch

from lightdan import GaussianField, ScalarField
from lightdan.simulation import gaussian_field


@pytest.mark.parametrize(
    ("shape", "lattice"),
    [
        ((10,), "hypercubic"),
        ((3, 4), "hypercubic"),
        ((2, 5), "hypercubic"),
        ((1, 4), "hypercubic"),
        ((1,), "hypercubic"),
        ((2, 3, 4), "hypercubic"),
        ((2, 2, 1, 3), "hypercubic"),
        ((3, 4), "triangular"),
        ((1, 4), "triangular"),
    ],
)
def test_action_is_that_of_the_kernel(shape, lattice):
    system = GaussianField(shape=shape, mass2=0.7, lattice=lattice)
    s = torch.randn(5, *shape, dtype=torch.float64)
    kernel = torch.from_numpy(gaussian_field.kernel(system.lattice, 0.7))
    expected = torch.einsum("bi,ij,bj->b", s.flatten(1), kernel, s.flatten(1)) / 2
    torch.testing.assert_close(system.action(s), expected)


@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 2)], ids=str)
def test_it_is_the_scalar_field_without_coupling(shape):
    """Compare with the hopping form, whose field times √(2κ) is φ, with m² = 1/κ − 2d."""
    hopping = 0.15
    system = GaussianField(shape=shape, mass2=1 / hopping - 2 * len(shape))
    hopping_form = ScalarField(shape=shape, hopping=hopping, coupling=0.0)
    s = torch.randn(5, *shape, dtype=torch.float64)
    torch.testing.assert_close(system.action(math.sqrt(2 * hopping) * s), hopping_form.action(s))


def test_exact_values_of_the_ring():
    exact = GaussianField(shape=(10,), mass2=4.0).exact_values(1.0)
    assert exact["nll"] == pytest.approx(5.37565, abs=5e-6)
    assert exact["nll"] - exact["ln_z"] == pytest.approx(5)
    covariance = np.linalg.inv(gaussian_field.kernel((10,), 4.0))
    assert exact["phi2"] == pytest.approx(covariance[0, 0])
    variance = covariance.mean()  # of Σφ/N
    assert exact["abs_magnetization"] == pytest.approx(math.sqrt(2 * variance / math.pi))


@pytest.mark.parametrize("mass2", [0.0, -1.0, math.inf, math.nan])
def test_a_mass_that_holds_nothing_is_refused(mass2):
    with pytest.raises(ValueError, match="mass2 must be positive and finite"):
        GaussianField(mass2=mass2)


@pytest.mark.parametrize("lattice", ["kagome", "honeycomb"])
def test_cells_of_several_sites_are_refused(lattice):
    with pytest.raises(ValueError, match=f"lattice {lattice} has several sites in a cell"):
        GaussianField(shape=4, lattice=lattice)


def test_fields_are_independent_and_told_of(tmp_path):
    system = GaussianField(shape=(4,), num_configurations=500, cache_dir=str(tmp_path))
    told = []
    run = system.simulate(1.0, 0, told.append)
    parts = run.configurations
    rows = np.concatenate([*parts.parts])
    assert rows.shape == parts.shape == (500, 4)
    assert sum(told) == 500
    assert run.tau == {}
    system.setup()
    assert system.data.tau_int == [0.5]
