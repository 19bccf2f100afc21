"""An exact model of a harmonic path, as a reference for tests of measurements."""

import numpy as np
import torch

from lightdan import Path, Triangular

FREQUENCY = 1.3


def harmonic(beta=4.0, num_slices=16, **options):
    """Return a path in V = ω² x²/2."""
    return Path(potential=[0, 0, FREQUENCY**2 / 2], beta=beta, num_slices=num_slices, **options)


def kernel(beta, num_slices):
    """Return K of S = xᵀ K x / 2."""
    a = beta / num_slices
    shift = np.roll(np.eye(num_slices), 1, axis=1)
    return (2 / a + a * FREQUENCY**2) * np.eye(num_slices) - (shift + shift.T) / a


def oracle(beta=4.0, num_slices=16, scale=1.0):
    """Return the linear-Gaussian network with x_i = Σ_{j<i} B_ij x_j + L_ii z_i; L Lᵀ = scale² / K."""
    triangle = np.linalg.cholesky(scale**2 * np.linalg.inv(kernel(beta, num_slices)))
    linear = np.eye(num_slices) - np.diag(np.diagonal(triangle)) @ np.linalg.inv(triangle)
    model = Triangular(lattice_shape=(num_slices,), site_kind="real", levels=()).double()
    with torch.no_grad():
        model.linear.weight[:] = torch.from_numpy(np.tril(linear, -1))
        model.bias[:, 2] = torch.from_numpy(np.log(np.diagonal(triangle)))
    return model.eval()
