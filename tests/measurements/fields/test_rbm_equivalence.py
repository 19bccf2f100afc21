"""Kernel of a Gaussian field from an exact network and from networks that learned it."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from lightdan import MADE, GaussianField, Ising, PixelCNN, Recurrent, Transformer, Triangular
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.fields.rbm_equivalence import (
    RBMEquivalence,
    curvatures,
    independent,
    modes_with_errors,
)
from lightdan.simulation import gaussian_field
from lightdan.testing import MeasurementTests, randomize

MASS2 = 4.0


class TestRBMEquivalence(MeasurementTests):
    two_temperatures: ClassVar = {}

    def make(self, **kwargs):
        return RBMEquivalence(**kwargs)

    def make_system(self, **kwargs):
        return GaussianField((2, 3), **kwargs)


@pytest.fixture(params=[(10,), (3, 4), (1, 5)], ids=str)
def system(request, tmp_path):
    system = GaussianField(
        request.param,
        MASS2,
        num_configurations=2000,
        splits=(0.5, 0.1, 0.4),
        cache_dir=str(tmp_path),
    )
    system.setup()
    return system


def with_kernel(kernel, shape, scale=1.3, location=0.2):
    """Return the linear-Gaussian network of e^{−φᵀKφ/2}, with its own unit of φ."""
    model = Triangular(lattice_shape=shape, site_kind="real", levels=()).double()
    model.location.fill_(location)
    model.scale.fill_(scale)
    weights, variances = gaussian_field.autoregressive(kernel)
    with torch.no_grad():
        model.linear.weight[:] = torch.from_numpy(weights)
        model.bias[:, 1] = torch.from_numpy((weights.sum(1) - 1) * location / scale)
        model.bias[:, 2] = torch.from_numpy(np.log(variances) / 2 - np.log(scale))
    return model.eval()


def ensemble(model, system):
    measured = Ensemble(model, system, 1.0)
    measured.configurations = measured.configurations.double()
    return measured


def test_exact_network_has_the_exact_kernel(system):
    shape = system.lattice_shape
    kernel = gaussian_field.kernel(shape, MASS2)
    result = RBMEquivalence().measure(ensemble(with_kernel(kernel, shape), system))
    np.testing.assert_allclose(result.arrays["kernel"], kernel, atol=1e-10)
    assert result.estimates["kl"].value == pytest.approx(0, abs=1e-10)
    assert result.estimates["largest_deviation"].value == pytest.approx(0, abs=1e-10)
    modes = {name for name in result.estimates if name.startswith("mode")}
    assert set(result.reference) == modes | {"kl"}
    for name in modes:
        value = result.reference[name]
        assert result.estimates[name].value == pytest.approx(value, abs=1e-10)
        assert 0.9 < result.estimates[name].error / value * np.sqrt(1000) < 1.5
    network = result.arrays["network"]
    np.testing.assert_allclose(network.T @ network, kernel, atol=1e-10)
    for name in ("cholesky", "root"):
        own = result.arrays[name]
        np.testing.assert_allclose(
            result.arrays["mu2"][-1] * np.eye(len(own)) - own @ own.T, kernel, atol=1e-10
        )
    assert result.figure is not None


def test_machines_of_the_ring_keep_3_7_and_10_modes(tmp_path):
    system = GaussianField(num_configurations=100, cache_dir=str(tmp_path))
    model = with_kernel(gaussian_field.kernel((10,), MASS2), (10,))
    result = RBMEquivalence().measure(ensemble(model, system))
    assert result.arrays["mu2"].tolist() == [5, 7, 9]
    kept = [f"keeps {number} of the 10 modes" for number in (3, 7, 10)]
    assert all(text in note for text, note in zip(kept, result.notes, strict=True))


@pytest.mark.slow
def test_errors_cover_what_is_learned_from_few_fields(system):
    """Fit 1,000 fields by maximum likelihood 60 times; two thirds of the modes are within an error."""
    shape = system.lattice_shape
    pulls = []
    for seed in range(60):
        fields = np.concatenate(
            [*gaussian_field.sample(gaussian_field.spectrum(shape, MASS2), 1000, seed)]
        ).reshape(1000, -1)
        learned = np.linalg.inv(fields.T @ fields / 1000)
        measured = ensemble(with_kernel(learned, shape), system)
        measured.configurations = measured.configurations[:4]
        modes, errors = modes_with_errors(curvatures(measured), shape, 1000)
        pulls += [(modes[k] - system.spectrum[k]) / errors[k] for k in independent(shape)]
    assert 0.8 < np.std(pulls) < 1.25
    assert 0.6 < np.mean(np.abs(pulls) < 1) < 0.8


@pytest.mark.parametrize("cls", [MADE, PixelCNN, Recurrent, Transformer])
def test_curvature_is_that_of_a_network_of_any_kind(cls, tmp_path):
    """Compare with finite differences of −ln p, and check that the spread of blocks is in the error."""
    system = GaussianField(shape=(2, 2), num_configurations=200, cache_dir=str(tmp_path))
    model = randomize(cls(lattice_shape=(2, 2), site_kind="real", levels=()), scale=0.1)
    measured = ensemble(model, system)
    parts = curvatures(measured)
    assert len(parts) == len(measured.configurations) == 10
    step, fields = 1e-4 * torch.eye(4).double(), measured.configurations.flatten(1)

    def energy(change):
        with torch.no_grad():
            return -model.log_prob((fields + change).reshape(-1, 2, 2)).mean().item()

    for i in range(4):
        for j in range(4):
            corners = [a * b * energy(a * step[i] + b * step[j]) for a in (1, -1) for b in (1, -1)]
            assert parts.mean(0)[i, j] == pytest.approx(sum(corners) / 4e-8, abs=1e-5)
    assert parts.std(0).max() > 1e-3


def test_independent_modes_are_one_of_each_pair():
    assert independent((10,)) == [(k,) for k in range(6)]
    assert len(independent((3, 4))) == 7
    assert independent((1,)) == [(0,)]


def test_what_is_no_gaussian_field_is_not_measured(tmp_path):
    ising = Ising(shape=3, num_configurations=100, cache_dir=str(tmp_path))
    with pytest.raises(NotMeasurable, match="Ising is not a Gaussian field"):
        RBMEquivalence().measure(Ensemble(MADE(lattice_shape=(3, 3)), ising, 1.0))
