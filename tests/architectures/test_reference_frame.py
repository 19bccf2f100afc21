"""Tests of the reference frame: invariance under rotations, and a normalised density."""

import pytest
import torch
from scipy import stats

from lightdan import MADE, PixelCNN
from lightdan.lattices.angles import TWO_PI
from lightdan.lattices.groups import OPERATIONS
from lightdan.testing import randomize

ARCHITECTURES = pytest.mark.parametrize("cls", [MADE, PixelCNN])


def framed(cls, shape, **kwargs):
    sites = {"site_kind": "angle", "levels": (), "reference_frame": True}
    return randomize(cls(lattice_shape=shape, **sites, **kwargs))


@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (1, 3)])
@ARCHITECTURES
def test_density_integrates_to_one(cls, shape):
    """Integrate over all angles by the trapezoidal rule, with respect to dθ/2π."""
    model = framed(cls, shape)
    axis = TWO_PI * torch.arange(40, dtype=torch.float64) / 40
    grid = torch.cartesian_prod(*[axis] * model.num_sites).reshape(-1, *shape)
    with torch.no_grad():
        density = model.log_prob(grid).exp()
    assert density.mean().item() == pytest.approx(1, abs=1e-6)
    assert model.num_sites == 1 or density.std() > 0.1


@pytest.mark.parametrize("symmetrize", [(), ("spin_reflection", "reflection")])
@ARCHITECTURES
def test_global_rotations_and_reflections_change_nothing(cls, symmetrize):
    model = framed(cls, (3, 4), symmetrize=symmetrize)
    s = TWO_PI * torch.rand(20, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        expected = model.log_prob(s)
        for degrees in (1, 77, 180, 359):
            image = OPERATIONS["spin_rotation"]((3, 4)).act(s, torch.tensor(degrees))
            torch.testing.assert_close(model.log_prob(image), expected)
        image = OPERATIONS["spin_reflection"]((3, 4)).act(s, torch.tensor(1))
        unchanged = torch.allclose(model.log_prob(image), expected)
    assert unchanged == bool(symmetrize)


@ARCHITECTURES
def test_samples_follow_the_density(cls):
    model = framed(cls, (2,))
    samples = model.sample(20_000, seed=1)
    assert ((samples >= 0) & (samples < TWO_PI)).all()
    assert stats.kstest(samples[:, 0].numpy() / TWO_PI, "uniform").pvalue > 1e-4
    edges = TWO_PI * torch.arange(25, dtype=torch.float64) / 24
    relative = (samples[:, 1] - samples[:, 0]).remainder(TWO_PI)
    counts = torch.histogram(relative, edges).hist
    fine = TWO_PI * (torch.arange(2400, dtype=torch.float64) + 0.5) / 2400
    with torch.no_grad():
        density = model.log_prob(torch.stack([torch.zeros_like(fine), fine], dim=1)).exp()
    expected = 20_000 * density.reshape(24, 100).mean(1) / 24
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-4


def test_first_angle_has_density_one():
    model = framed(MADE, (2, 2))
    terms = model.conditionals(model.sample(5))
    assert terms.shape == (5, 2, 2)
    assert torch.equal(terms[:, 0, 0], torch.zeros(5, dtype=torch.float64))


def test_frames_are_for_angles():
    with pytest.raises(ValueError, match="reference_frame needs angles"):
        MADE(lattice_shape=(2, 2), reference_frame=True)


def test_continuous_rotations_are_not_averaged_over():
    with pytest.raises(ValueError, match=r"set model\.reference_frame"):
        MADE(lattice_shape=(2, 2), site_kind="angle", levels=(), symmetrize=["spin_rotation"])
