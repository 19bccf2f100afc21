"""Exact results against dense linear algebra, and the triangular factors of the exact K."""

import math

import numpy as np
import pytest

from lightdan.lattices.bravais import triangular
from lightdan.simulation import gaussian_field as field

MASS2 = 4.0
SHAPES = [(10,), (9,), (2,), (1,), (4, 5), (2, 3), (1, 6), (4, 4), (2, 3, 4)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


@every_shape
def test_kernel_is_the_action(shape):
    """Return ½ φᵀ K φ with every bond written out."""
    rng = np.random.default_rng(0)
    phi = rng.normal(size=shape)
    action = MASS2 * (phi**2).sum() / 2
    for site in np.ndindex(*shape):
        for axis, side in enumerate(shape):
            ahead = tuple((x + 1) % side if axis == a else x for a, x in enumerate(site))
            action += (phi[ahead] - phi[site]) ** 2 / 2
    matrix = field.kernel(shape, MASS2)
    assert phi.ravel() @ matrix @ phi.ravel() / 2 == pytest.approx(action, rel=1e-12)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    dimensions = sum(side > 1 for side in shape)
    assert np.diagonal(matrix) == pytest.approx(2 * dimensions + MASS2)


@pytest.mark.parametrize("cells", [(3, 4), (2, 3), (1, 4)], ids=str)
def test_kernel_of_a_triangular_lattice_has_all_its_bonds(cells):
    lattice = triangular(cells)
    num, (first, second) = lattice.num_sites, lattice.bonds.T
    matrix = np.zeros((num, num))
    for i, j, sign in ((first, first, 1), (second, second, 1), (first, second, -1), (second, first, -1)):
        np.add.at(matrix, (i, j), sign)
    np.testing.assert_allclose(field.kernel(lattice, MASS2), MASS2 * np.eye(num) + matrix, atol=1e-12)


@every_shape
def test_exact_results_are_those_of_the_dense_matrix(shape):
    matrix = field.kernel(shape, MASS2)
    values = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(np.sort(field.spectrum(shape, MASS2).ravel()), values, atol=1e-10)
    log_z = len(values) / 2 * math.log(2 * math.pi) - np.linalg.slogdet(matrix)[1] / 2
    assert field.log_partition(shape, MASS2) == pytest.approx(log_z, abs=1e-10)
    covariance = np.linalg.inv(matrix)
    np.testing.assert_allclose(field.propagator(shape, MASS2).ravel(), covariance[0], atol=1e-12)
    modes = field.modes(matrix, shape)
    np.testing.assert_allclose(modes, np.broadcast_to(field.spectrum(shape, MASS2), modes.shape))


def test_modes_of_any_matrix_are_those_of_plane_waves():
    shape = (3, 4)
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(12, 12))
    matrix = matrix + matrix.T
    places = np.indices(shape).reshape(2, -1).T
    for k in np.ndindex(*shape):
        wave = np.exp(2j * np.pi * places @ (np.array(k) / shape)) / math.sqrt(12)
        expected = (wave.conj() @ matrix @ wave).real
        assert field.modes(matrix, shape).mean(0)[k] == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(10,), (4, 5), (2, 3)], ids=str)
def test_fields_have_the_propagator(shape):
    fields = np.concatenate([*field.sample(field.spectrum(shape, MASS2), 100_000, seed=0)])
    flat = fields.reshape(len(fields), -1)
    exact = field.circulant(field.propagator(shape, MASS2))
    # The variance of a product of two Gaussians.
    error = np.sqrt((exact[0, 0] ** 2 + exact**2) / len(flat))
    assert (np.abs(flat.T @ flat / len(flat) - exact) < 4.5 * error).all()
    assert (np.abs(flat.mean(0)) < 4 * np.sqrt(exact[0, 0] / len(flat))).all()


def test_portions_are_drawn_one_after_the_other(monkeypatch):
    monkeypatch.setattr(field, "VALUES_PER_BATCH", 60)
    parts = [len(part) for part in field.sample(field.spectrum((3, 4), 1.0), 13, seed=0)]
    assert parts == [5, 5, 3]


@every_shape
def test_autoregressive_form_is_the_kernel(shape):
    matrix = field.kernel(shape, MASS2)
    weights, variances = field.autoregressive(matrix)
    assert not np.triu(weights).any()
    assert (variances > 0).all()
    np.testing.assert_allclose(field.precision(weights, variances), matrix, atol=1e-10)


@every_shape
@pytest.mark.parametrize("triangular", [True, False])
def test_machines_have_the_kernel_up_to_rotations(shape, triangular):
    matrix = field.kernel(shape, MASS2)
    mu2 = field.spectrum(shape, MASS2).max() + 1
    weights = field.machine(matrix, mu2, triangular=triangular)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=matrix.shape))
    for w in (weights, weights @ rotation):
        np.testing.assert_allclose(mu2 * np.eye(len(matrix)) - w @ w.T, matrix, atol=1e-10)
    expected = np.tril(weights) if triangular else weights.T
    np.testing.assert_allclose(weights, expected, atol=1e-10)


@pytest.mark.parametrize("shape", [(10,), (4, 5)], ids=str)
def test_the_two_triangular_matrices_are_one_distribution_in_other_numbers(shape):
    matrix = field.kernel(shape, MASS2)
    mu2 = field.spectrum(shape, MASS2).max() + 1
    machine = field.machine(matrix, mu2, triangular=True)
    weights, variances = field.autoregressive(matrix)
    network = (np.eye(len(matrix)) - weights) / np.sqrt(variances)[:, None]
    assert not np.triu(machine, 1).any()
    assert not np.triu(network, 1).any()
    of_machine = mu2 * np.eye(len(matrix)) - machine @ machine.T
    np.testing.assert_allclose(of_machine, network.T @ network, atol=1e-10)
    assert np.abs(machine - network).max() > 1
    assert np.abs(machine - weights).max() > 1


def test_degenerate_modes_are_kept_or_cut_together():
    spectrum = field.spectrum((6, 6), 1.0)
    for mu2 in (3.0, 5.0, 7.0):
        assert (field.representable(spectrum, mu2) == (spectrum < mu2 + 0.1)).all()


@pytest.mark.parametrize(("mu2", "kept"), [(5, 3), (7, 7), (9, 10)])
def test_a_machine_cuts_off_the_modes_above_its_mass(mu2, kept):
    spectrum = field.spectrum((10,), MASS2)
    assert field.representable(spectrum, mu2).sum() == kept
    weights = field.machine(field.kernel((10,), MASS2), mu2, triangular=False)
    assert np.linalg.matrix_rank(weights, tol=1e-6) == kept
    own = mu2 * np.eye(10) - weights @ weights.T
    np.testing.assert_allclose(field.modes(own, (10,)).mean(0), np.minimum(spectrum, mu2), atol=1e-10)
    covariance = field.circulant(field.propagator((10,), MASS2))
    divergence = (np.trace(own @ covariance) - 10 - np.linalg.slogdet(own @ covariance)[1]) / 2
    assert field.machine_divergence(spectrum, mu2) == pytest.approx(divergence, abs=1e-10)


def test_matrices_that_have_no_factor_are_refused():
    matrix = field.kernel((10,), MASS2)
    for wrong in (
        lambda: field.autoregressive(-matrix),
        lambda: field.machine(matrix, 7.0, triangular=True),
    ):
        with pytest.raises(ValueError, match="not positive definite: use K with positive modes"):
            wrong()
