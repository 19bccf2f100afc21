"""The Gaussian scalar field on a periodic lattice, and its triangular factors.

    S = ½ [Σ_<xy> (φ_x − φ_y)² + m² Σ_x φ_x²] = ½ φᵀ K φ

The bonds are those of a lattice with one site per cell, or of the hypercubic torus with a shape. A side
of length 2 has each of its bonds twice, a side of length 1 has none.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightdan.lattices.bravais import LatticeLike, as_lattice
from lightdan.simulation.simulation import Parts, Simulation

Array = NDArray[np.float64]
VALUES_PER_BATCH = 1 << 22
"""Number of field values that are drawn at a time."""


def spectrum(lattice: LatticeLike, mass2: float) -> Array:
    """Return the eigenvalues of K, m² + Σ_δ 2 (1 − cos k·δ) with k_μ = 2πn_μ/L_μ ``(*shape)``.

    The sum runs over one of each pair of opposite bonds of a site, whose δ counts cells.

    Example:
        >>> spectrum((4,), 1.0)
        array([1., 3., 5., 3.])
    """
    lattice = as_lattice(lattice)
    waves = np.meshgrid(*[2 * np.pi * np.arange(side) / side for side in lattice.cells], indexing="ij")
    phases = (sum(n * k for n, k in zip(step, waves, strict=True)) for step in lattice.steps)
    return np.asarray(mass2 + sum(2 * (1 - np.cos(phase)) for phase in phases))


def circulant(first: Array) -> Array:
    """Return the matrix M_xy = f(x − y) of a function of the displacement on the torus ``(N, N)``.

    Args:
        first: Function f, the first column of M ``(*shape)``.
    """
    places = np.indices(first.shape).reshape(first.ndim, -1)
    displacement = places[:, :, None] - places[:, None, :]
    return np.asarray(first[tuple(d % side for d, side in zip(displacement, first.shape, strict=True))])


def kernel(lattice: LatticeLike, mass2: float) -> Array:
    """Return K ``(N, N)``: m² + z on the diagonal and −1 for each bond, sites in raster order."""
    return circulant(np.fft.ifftn(spectrum(lattice, mass2)).real)


def propagator(lattice: LatticeLike, mass2: float) -> Array:
    """Return ⟨φ_0 φ_x⟩ ``(*shape)``."""
    return np.asarray(np.fft.ifftn(1 / spectrum(lattice, mass2)).real)


def log_partition(lattice: LatticeLike, mass2: float) -> float:
    """Return ln Z with Z = ∫ dφ e^{−S} = Π_k √(2π/K_k)."""
    return float(0.5 * np.log(2 * np.pi / spectrum(lattice, mass2)).sum())


def sample(modes: Array, num: int, seed: int) -> Iterator[Array]:
    """Draw independent fields K^{−1/2} z from white noise z, in batches ``(B, *shape)``.

    Args:
        modes: Eigenvalues of K at each wave number, as of `spectrum` ``(*shape)``.
        num: Number of fields.
        seed: Random seed; it determines every field.
    """
    rng = np.random.default_rng(seed)
    shape, root = modes.shape, 1 / np.sqrt(modes)
    axes = tuple(range(1, len(shape) + 1))
    batch_size = max(1, VALUES_PER_BATCH // math.prod(shape))
    for start in range(0, num, batch_size):
        noise = rng.normal(size=(min(batch_size, num - start), *shape))
        yield np.fft.ifftn(root * np.fft.fftn(noise, axes=axes), axes=axes).real


def simulate(modes: Array, num: int, seed: int, progress: Callable[[int], None]) -> Simulation:
    """Draw independent fields as a simulation, whose configurations come in parts.

    Args:
        modes: Eigenvalues of K at each wave number ``(*shape)``.
        num: Number of fields.
        seed: Random seed; it determines every field.
        progress: Callback that receives the number of new configurations.
    """

    def parts() -> Iterator[NDArray[np.float32]]:
        for part in sample(modes, num, seed):
            progress(len(part))
            yield part.astype(np.float32)

    return Simulation(Parts((num, *modes.shape), np.dtype(np.float32), parts()))


def modes(matrix: Array, shape: Sequence[int]) -> Array:
    """Return Re Σ_y M_xy e^{ik(y − x)} for each row x and wave number k ``(N, *shape)``.

    The mean over the rows is e_k† M e_k, which is an eigenvalue if M depends only on the displacement.
    """
    rows = matrix.reshape(-1, *shape)
    axes = tuple(range(1, rows.ndim))
    waves = np.fft.ifftn(np.eye(len(rows)).reshape(rows.shape), axes=axes, norm="forward")
    return np.asarray((waves.conj() * np.fft.ifftn(rows, axes=axes, norm="forward")).real)


def autoregressive(precision: ArrayLike) -> tuple[Array, Array]:
    """Return B, strictly lower triangular, and the diagonal D with K = (1 − B)ᵀ D⁻¹ (1 − B).

    The field is then x_i = Σ_{j<i} B_ij x_j + √D_i z_i with normal z. This is the Cholesky
    factorisation from the last site to the first.

    Raises:
        ValueError: K is not positive definite.
    """
    factor = _cholesky(np.asarray(precision, dtype=np.float64)[::-1, ::-1])[::-1, ::-1].T
    scale = np.diagonal(factor)
    return np.tril(-factor / scale[:, None], -1), 1 / scale**2


def precision(weights: Array, variances: Array) -> Array:
    """Return K = (1 − B)ᵀ D⁻¹ (1 − B), the inverse of `autoregressive`."""
    factor = np.eye(len(weights)) - weights
    return np.asarray(factor.T @ (factor / variances[:, None]))


def machine(precision: ArrayLike, mu2: float, *, triangular: bool) -> Array:
    """Return σW of the Gaussian restricted Boltzmann machine with precision μ² − σ² W Wᵀ = K.

    The machine has as many hidden as visible units, and σW is defined up to a rotation of the hidden
    units. The machine cannot represent modes above μ²; with the symmetric root its modes are
    min(K_k, μ²).

    Args:
        precision: Precision K, symmetric and positive definite.
        mu2: Precision μ² of a visible unit without hidden units.
        triangular: Whether to use the Cholesky factor instead of the symmetric root.

    Raises:
        ValueError: ``triangular`` is set, and μ² is not above the largest mode.

    References:
        G. Aarts, B. Lucini and C. Park, Phys. Rev. D 109, 034521 (2024), arXiv:2309.15002.
    """
    matrix = np.asarray(precision, dtype=np.float64)
    square = mu2 * np.eye(len(matrix)) - matrix
    if triangular:
        return _cholesky(square)
    values, vectors = np.linalg.eigh(square)
    return np.asarray(vectors * np.sqrt(values.clip(0)) @ vectors.T)


def representable(spectrum: ArrayLike, mu2: float) -> NDArray[np.bool_]:
    """Return whether a machine can represent each mode: it can if K_k ≤ μ², to rounding."""
    return np.asarray(spectrum) <= mu2 * (1 + 1e-9)


def machine_divergence(spectrum: ArrayLike, mu2: float) -> float:
    """Return the smallest KL(field‖machine) of all machines with this μ², in nats.

    KL = ½ Σ_{K_k > μ²} [μ²/K_k − 1 − ln(μ²/K_k)]
    """
    ratio = np.minimum(mu2 / np.asarray(spectrum, dtype=np.float64), 1)
    return float(0.5 * (ratio - 1 - np.log(ratio)).sum())


def _cholesky(matrix: Array) -> Array:
    try:
        return np.asarray(np.linalg.cholesky(matrix))
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "The matrix is not positive definite: use K with positive modes, and μ² above the largest."
        ) from error
