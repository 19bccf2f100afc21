"""The Gaussian scalar field on a periodic lattice, and the triangular matrices that make it.

S = ½ Σ_x [Σ_μ (φ_x − φ_{x+μ})² + m² φ_x²] = ½ φᵀ K φ. A side of two sites has two bonds between them, a
side of one site has none.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
FIELDS_TOGETHER = 1 << 22
"""Values drawn at a time."""


def spectrum(shape: Sequence[int], mass2: float) -> Array:
    """Eigenvalues of K, m² + Σ_μ 2 (1 − cos k_μ) with k_μ = 2πn_μ/L_μ ``(*shape)``.

    Example:
        >>> spectrum((4,), 1.0)
        array([1., 3., 5., 3.])
    """
    axes = np.meshgrid(*[2 * np.pi * np.arange(side) / side for side in shape], indexing="ij")
    return np.asarray(mass2 + sum(2 * (1 - np.cos(k)) for k in axes))


def circulant(first: Array) -> Array:
    """The matrix M_xy = f(x − y) of a function of the displacement on the torus ``(N, N)``.

    Args:
        first: f ``(*shape)``.
    """
    places = np.indices(first.shape).reshape(first.ndim, -1)
    displacement = places[:, :, None] - places[:, None, :]
    return np.asarray(first[tuple(d % side for d, side in zip(displacement, first.shape, strict=True))])


def kernel(shape: Sequence[int], mass2: float) -> Array:
    """K ``(N, N)``: 2d + m² on the diagonal, −1 for each bond, the sites in raster order."""
    return circulant(np.fft.ifftn(spectrum(shape, mass2)).real)


def propagator(shape: Sequence[int], mass2: float) -> Array:
    """⟨φ_0 φ_x⟩ ``(*shape)``."""
    return np.asarray(np.fft.ifftn(1 / spectrum(shape, mass2)).real)


def log_partition(shape: Sequence[int], mass2: float) -> float:
    """Ln Z with Z = ∫ dφ e^{−S} = Π_k √(2π/K_k)."""
    return float(0.5 * np.log(2 * np.pi / spectrum(shape, mass2)).sum())


def sample(shape: Sequence[int], mass2: float, num: int, seed: int) -> Iterator[Array]:
    """Independent fields K^{−1/2} z of white noise z, some at a time ``(some, *shape)``.

    Args:
        shape: Sides.
        mass2: m².
        num: Of fields.
        seed: Determines every field.
    """
    rng = np.random.default_rng(seed)
    axes = tuple(range(1, len(shape) + 1))
    root = 1 / np.sqrt(spectrum(shape, mass2))
    together = max(1, FIELDS_TOGETHER // math.prod(shape))
    for start in range(0, num, together):
        noise = rng.normal(size=(min(together, num - start), *shape))
        yield np.fft.ifftn(root * np.fft.fftn(noise, axes=axes), axes=axes).real


def modes(matrix: Array, shape: Sequence[int]) -> Array:
    """Σ_y M_xy e^{ik(y − x)}, its real part, for each row x and wave number k ``(N, *shape)``.

    Their mean over the rows is e_k† M e_k, the eigenvalue where M depends on the displacement only.
    """
    rows = matrix.reshape(-1, *shape)
    axes = tuple(range(1, rows.ndim))
    waves = np.fft.ifftn(np.eye(len(rows)).reshape(rows.shape), axes=axes, norm="forward")
    return np.asarray((waves.conj() * np.fft.ifftn(rows, axes=axes, norm="forward")).real)


def autoregressive(precision: ArrayLike) -> tuple[Array, Array]:
    """B, strictly lower triangular, and the diagonal D with K = (1 − B)ᵀ D⁻¹ (1 − B).

    So x_i = Σ_{j<i} B_ij x_j + √D_i z_i with normal z. It is the Cholesky factorisation from the last
    site to the first.

    Raises:
        ValueError: K is not positive definite.
    """
    factor = _cholesky(np.asarray(precision, dtype=np.float64)[::-1, ::-1])[::-1, ::-1].T
    scale = np.diagonal(factor)
    return np.tril(-factor / scale[:, None], -1), 1 / scale**2


def precision(weights: Array, variances: Array) -> Array:
    """K = (1 − B)ᵀ D⁻¹ (1 − B), what `autoregressive` takes apart."""
    factor = np.eye(len(weights)) - weights
    return np.asarray(factor.T @ (factor / variances[:, None]))


def machine(precision: ArrayLike, mu2: float, *, triangular: bool) -> Array:
    """σW of the Gaussian restricted Boltzmann machine of precision μ² − σ² W Wᵀ, as many hidden units.

    It is defined up to a rotation of the hidden units. The symmetric root leaves out the modes above
    μ², which the machine cannot have: its own are min(K_k, μ²).

    Args:
        precision: K, symmetric and positive definite.
        mu2: μ², the precision of a visible unit without hidden ones.
        triangular: Whether by Cholesky factorisation, else the symmetric root.

    Raises:
        ValueError: triangular, and μ² is not above the largest mode.

    Source: G. Aarts, B. Lucini and C. Park, Phys. Rev. D 109, 034521, arXiv:2309.15002.
    """
    matrix = np.asarray(precision, dtype=np.float64)
    square = mu2 * np.eye(len(matrix)) - matrix
    if triangular:
        return _cholesky(square)
    values, vectors = np.linalg.eigh(square)
    return np.asarray(vectors * np.sqrt(values.clip(0)) @ vectors.T)


def kept(spectrum: ArrayLike, mu2: float) -> NDArray[np.bool_]:
    """Which modes a machine can have: those up to μ², to rounding."""
    return np.asarray(spectrum) <= mu2 * (1 + 1e-9)


def machine_divergence(spectrum: ArrayLike, mu2: float) -> float:
    """KL(field‖machine) = ½ Σ_k [μ²/K_k − 1 − ln μ²/K_k] over the modes above μ² [nats].

    Of all machines with this μ² it is the smallest.
    """
    ratio = np.minimum(mu2 / np.asarray(spectrum, dtype=np.float64), 1)
    return float(0.5 * (ratio - 1 - np.log(ratio)).sum())


def _cholesky(matrix: Array) -> Array:
    try:
        return np.asarray(np.linalg.cholesky(matrix))
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "The matrix is not positive definite: K needs positive modes, and μ² − K a μ² above them."
        ) from error
