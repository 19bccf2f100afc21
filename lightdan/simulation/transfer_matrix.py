"""The exact solution of a path x_0, …, x_{N−1} in imaginary time, and exact independent paths."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Potential = Callable[[Array], Array]

PATHS_PER_GRID = 1024
"""Largest number of paths that share their grids."""
MIN_GRIDS = 256
"""Smallest number of different grids, if there are that many paths."""
CUT = 70.0
"""Logarithm of the factor by which the weight has fallen at the ends of the grid."""
MAX_POINTS = 3000


@dataclass(frozen=True)
class TransferMatrix:
    """Exact solution of a path with the action S, by the transfer matrix on a grid.

        Z = ∫ Π dx_i/√(2πa) e^{−S},  S = Σ_i [(x_{i+1} − x_i)²/2a + a V(x_i)],  x_N = x_0,  a = β/N

    The integrals become sums over an equidistant grid of spacing h. Their error is exponentially small
    in 1/h for an analytic V. The spacing decreases until a shift of the grid by h/2 leaves ln Z
    unchanged. Then

        Z = tr T^N,  T(x, y) = h/√(2πa) e^{−(x − y)²/2a − a (V(x) + V(y))/2}.

    Args:
        potential: Potential V of an array, elementwise.
        beta: Inverse temperature β, with ħ = m = 1.
        num_slices: Number N of time slices.

    Raises:
        ValueError: The potential does not confine the path, or is too rough for a grid.

    References:
        R. Feynman and A. Hibbs, Quantum Mechanics and Path Integrals (1965);
        M. Creutz and B. Freedman, Ann. Phys. 132, 427 (1981).
    """

    potential: Potential
    beta: float
    num_slices: int

    @property
    def spacing(self) -> float:
        """Lattice spacing a = β/N."""
        return self.beta / self.num_slices

    @cached_property
    def grid(self) -> Array:
        """Points of the grid `(G,)`."""
        h: float = math.sqrt(self.spacing) / 1.5
        while True:
            grid = self._points(h)
            first, second = (
                _log_trace(np.linalg.eigvalsh(self._matrix(x, x)), self.num_slices)
                for x in (grid, grid + h / 2)
            )
            if abs(first - second) < 1e-12 * max(1.0, abs(first)):
                return grid
            h /= 1.25

    def _points(self, h: float) -> Array:
        """Return points at a distance h, from the minimum of V to both ends of the weight."""
        reach = h * np.arange(-MAX_POINTS, MAX_POINTS + 1.0)
        with np.errstate(over="ignore"):
            excess = self.potential(reach)
        least = int(np.argmin(excess))
        excess = excess - excess[least]
        ends = []
        for side in (excess[least::-1], excess[least:]):
            # The weight decays as e^{−aV} in a single slice, and as |ψ|² ~ e^{−2 ∫ √(2V) dx} over many.
            with np.errstate(over="ignore"):
                lost = np.maximum(self.spacing * side, 2 * h * np.cumsum(np.sqrt(2 * side)))
            beyond = np.flatnonzero(lost > CUT)
            if not len(beyond):
                raise ValueError(
                    "The potential does not confine the path, or is too rough for a grid: use one that "
                    "grows on both sides, or fewer slices."
                )
            ends.append(int(beyond[0]))
        points: Array = reach[least - ends[0] : least + ends[1] + 1]
        return points

    def _matrix(self, x: Array, y: Array) -> Array:
        """Return T between two grids `(len(x), len(y))`."""
        a, h = self.spacing, x[1] - x[0]
        kinetic = (x[:, None] - y) ** 2 / (2 * a)
        local = a * (self.potential(x)[:, None] + self.potential(y)) / 2
        matrix: Array = h / math.sqrt(2 * math.pi * a) * np.exp(-kinetic - local)
        return matrix

    @cached_property
    def spectrum(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Eigenvalues λ_n of T in descending order `(G,)`, and eigenvectors in columns `(G, G)`."""
        values, vectors = np.linalg.eigh(self._matrix(self.grid, self.grid))
        return values[::-1], vectors[:, ::-1]

    @property
    def energies(self) -> Array:
        """Energies E_n = −ln λ_n / a of the states that double precision resolves."""
        values = self.spectrum[0]
        resolved: Array = -np.log(values[values > 1e-12 * values[0]]) / self.spacing
        return resolved

    def continuum_energies(self) -> Array:
        """Return E_n of −ψ''/2 + Vψ, the limit a → 0, on a grid of half the spacing.

        The basis consists of sinc functions on the points.

        References:
            D. Colbert and W. Miller, J. Chem. Phys. 96, 1982 (1992).
        """
        step = (self.grid[1] - self.grid[0]) / 2
        x = np.arange(self.grid[0], self.grid[-1] + step / 2, step)
        index = np.arange(len(x))
        distance = index[:, None] - index
        sign = 1.0 - 2.0 * (distance % 2)
        with np.errstate(divide="ignore"):
            kinetic = sign / (distance * step) ** 2
        np.fill_diagonal(kinetic, math.pi**2 / (6 * step**2))
        energies: Array = np.linalg.eigvalsh(kinetic + np.diag(self.potential(x)))
        return energies

    @cached_property
    def log_partition(self) -> float:
        """Logarithm ln Z of the partition function."""
        return _log_trace(self.spectrum[0], self.num_slices)

    def _powers(self, exponent: int) -> Array:
        """Return (λ_n/λ_0)^k `(G,)`."""
        values: Array = (self.spectrum[0] / self.spectrum[0][0]) ** exponent
        return values

    def mean(self, function: Potential) -> float:
        """Return ⟨f(x)⟩ at one slice."""
        weights = self._powers(self.num_slices)
        diagonal = (self.spectrum[1] ** 2).T @ function(self.grid)
        return float(weights @ diagonal / weights.sum())

    def correlator(self) -> Array:
        """Return C(t) = ⟨x_0 x_t⟩ for t = 0, …, N − 1 slices `(N,)`."""
        vectors = self.spectrum[1]
        elements = (vectors.T @ (self.grid[:, None] * vectors)) ** 2
        n = self.num_slices
        terms = [self._powers(n - t) @ elements @ self._powers(t) for t in range(n)]
        return np.array(terms) / self._powers(n).sum()

    def mean_passages(self, threshold: float, points: int = 20) -> float:
        """Return the mean number of passages from below −c to above c or back, around the ring.

        The mean is N tr(T^{N−1} F)/tr T^N. Here T acts on x and the side on which x was last beyond the
        threshold, and F contains the steps that change the side. The thresholds lie between points of
        the grid, so the error is of order h².

        Args:
            threshold: Threshold c.
            points: Number of points of the grid between 0 and c.
        """
        h = threshold / points
        reach = math.ceil(max(abs(self.grid[0]), abs(self.grid[-1])) / h)
        x = h * (np.arange(-reach, reach) + 0.5)
        kernel = self._matrix(x, x) / self.spectrum[0][0]
        zero = np.zeros_like(kernel)
        falls, rises = x < -threshold, x > threshold
        flip = np.block([[zero, kernel * falls], [kernel * rises, zero]])
        step = np.block([[kernel * ~falls, zero], [zero, kernel * ~rises]]) + flip
        power = np.linalg.matrix_power(step, self.num_slices - 1)
        passages = np.einsum("ij,ji", power, flip) / np.einsum("ij,ji", power, step)
        return float(self.num_slices * passages)

    def mean_kinetic(self) -> float:
        """Return ⟨Σ (x_{i+1} − x_i)²/2a⟩."""
        vectors, x = self.spectrum[1], self.grid
        step = self._matrix(x, x) * (x[:, None] - x) ** 2 / (2 * self.spacing)
        diagonal = np.einsum("in,ij,jn->n", vectors, step, vectors, optimize=True)
        first = self.spectrum[0][0]
        weights = self._powers(self.num_slices - 1)
        return float(
            self.num_slices * weights @ diagonal / (first * self._powers(self.num_slices).sum())
        )

    def mean_action(self) -> float:
        """Return ⟨S⟩."""
        return self.mean_kinetic() + self.beta * self.mean(self.potential)

    def entropy(self) -> float:
        """Return −⟨ln p⟩ with p = e^{−S} / ∫ dx e^{−S}, the smallest possible NLL, in nats."""
        measure = self.num_slices / 2 * math.log(2 * math.pi * self.spacing)
        return self.mean_action() + self.log_partition + measure

    def sample(
        self, num: int, seed: int = 0, progress: Callable[[int], None] | None = None
    ) -> Iterator[Array]:
        """Draw independent paths, in batches `(B, N)`.

        The grid of each slice is shifted by a random fraction of h. The values are therefore continuous
        and have the density e^{−S}/Z to 1e-12, because the sums do not depend on the shifts.

        On the grids, x_0 is drawn from the diagonal of T^N, then x_i from

            p(x_i | x_{i−1}, x_0) ∝ T(x_{i−1}, x_i) T^{N−i}(x_i, x_0).

        At most 1,024 paths share their grids, and fewer in small samples, so that a network cannot
        learn the positions of the points.

        Args:
            num: Number of paths.
            seed: Random seed; it determines every path, on any number of processors.
            progress: Callback that receives the number of new paths.
        """
        batch_size = min(PATHS_PER_GRID, math.ceil(num / MIN_GRIDS))
        tasks = [
            (min(batch_size, num - start), np.random.default_rng((seed, start)))
            for start in range(0, num, batch_size)
        ]
        self.grid  # noqa: B018 - computed once, before the threads need it
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, len(tasks), 16):
                for paths in pool.map(lambda task: self._draw(*task)[0], tasks[start : start + 16]):
                    if progress is not None:
                        progress(len(paths))
                    yield paths

    def _draw(self, num: int, rng: np.random.Generator) -> tuple[Array, float]:
        """Draw paths `(num, N)` and return them with ln Z on their grids."""
        n, h = self.num_slices, self.grid[1] - self.grid[0]
        grids = self.grid + h * (rng.random((n, 1)) - 0.5)
        steps = [self._matrix(grids[i - 1], grids[i]) for i in range(1, n)]
        # closing[i][k, l] leads from point l of slice i to point k of slice 0, up to a factor.
        closing = [self._matrix(grids[-1], grids[0]).T.copy()]
        log_scale = 0.0
        for step in reversed(steps):
            product = closing[-1] @ step.T
            largest = product.max()
            log_scale += math.log(largest)
            closing.append(product / largest)
        closing.reverse()
        diagonal = np.diagonal(closing[0])
        start = np.searchsorted(np.cumsum(diagonal) / diagonal.sum(), rng.random(num))
        start = np.minimum(start, len(diagonal) - 1)
        indices = _walk(np.array(steps), np.array(closing), start, rng.random((num, n)))
        paths: Array = np.take_along_axis(grids, indices.T, axis=1).T
        return paths, math.log(diagonal.sum()) + log_scale


def _log_trace(eigenvalues: NDArray[np.floating], power: int) -> float:
    """Return ln Σ λ^N."""
    positive = eigenvalues[eigenvalues > 0]
    largest = positive.max()
    return float(power * math.log(largest) + math.log(((positive / largest) ** power).sum()))


@numba.njit(cache=True, nogil=True)
def _walk(
    steps: NDArray[np.float64],
    closing: NDArray[np.float64],
    start: NDArray[np.intp],
    uniforms: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Draw the indices of the points `(B, N)`, x_i given x_{i−1} and x_0."""
    num, n = uniforms.shape
    points = steps.shape[1]
    indices = np.empty((num, n), np.intp)
    cumulative = np.empty(points)
    indices[:, 0] = start
    for i in range(1, n):
        for b in range(num):
            row = steps[i - 1, indices[b, i - 1]]
            end = closing[i, indices[b, 0]]
            total = 0.0
            for k in range(points):
                total += row[k] * end[k]
                cumulative[k] = total
            target = uniforms[b, i] * total
            k = 0
            while k < points - 1 and cumulative[k] <= target:
                k += 1
            indices[b, i] = k
    return indices
