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

PATHS_A_GRID = 1024
MIN_GRIDS = 256
CUT = 70.0
"""The grid ends where the weight has fallen by e^−70."""
MAX_POINTS = 3000


@dataclass(frozen=True)
class TransferMatrix:
    """Z = ∫ Π dx_i/√(2πa) e^{−S}, S = Σ_i [(x_{i+1} − x_i)²/2a + a V(x_i)], x_N = x_0, a = β/N.

    The integrals are sums over an equidistant grid, whose error falls exponentially with the spacing h
    for an analytic V; h is made smaller until ln Z does not change when the grid is shifted by h/2.
    Then Z = tr T^N with T(x, y) = h/√(2πa) e^{−(x − y)²/2a − a (V(x) + V(y))/2}. (R. Feynman and A.
    Hibbs, Quantum Mechanics and Path Integrals; M. Creutz and B. Freedman, Ann. Phys. 132, 427.)

    Args:
        potential: V of an array, elementwise.
        beta: β, with ħ = m = 1.
        num_slices: N.

    Raises:
        ValueError: the potential does not confine the path, or is too rough for a grid.
    """

    potential: Potential
    beta: float
    num_slices: int

    @property
    def spacing(self) -> float:
        """The lattice spacing a = β/N."""
        return self.beta / self.num_slices

    @cached_property
    def grid(self) -> Array:
        """The points `(G,)`."""
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
        """Points at a distance h from where V is least to where the weight is negligible."""
        reach = h * np.arange(-MAX_POINTS, MAX_POINTS + 1.0)
        with np.errstate(over="ignore"):
            excess = self.potential(reach)
        least = int(np.argmin(excess))
        excess = excess - excess[least]
        ends = []
        for side in (excess[least::-1], excess[least:]):
            # e^{−aV} in a single slice, or the decay e^{−2 ∫ √(2V) dx} of |ψ|² over many.
            with np.errstate(over="ignore"):
                lost = np.maximum(self.spacing * side, 2 * h * np.cumsum(np.sqrt(2 * side)))
            beyond = np.flatnonzero(lost > CUT)
            if not len(beyond):
                raise ValueError(
                    "The potential does not confine the path, or is too rough for a grid: give one that "
                    "grows to both sides, or fewer slices."
                )
            ends.append(int(beyond[0]))
        points: Array = reach[least - ends[0] : least + ends[1] + 1]
        return points

    def _matrix(self, x: Array, y: Array) -> Array:
        """T between two grids `(len(x), len(y))`."""
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
        """E_n = −ln λ_n / a of the levels that double precision resolves."""
        values = self.spectrum[0]
        resolved: Array = -np.log(values[values > 1e-12 * values[0]]) / self.spacing
        return resolved

    def continuum_energies(self) -> Array:
        """E_n of −ψ''/2 + Vψ, the limit a → 0, on the same grid refined.

        The kinetic energy is that of sinc functions on the points. (D. Colbert and W. Miller, J. Chem.
        Phys. 96, 1982.)
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
        """Ln Z."""
        return _log_trace(self.spectrum[0], self.num_slices)

    def _powers(self, exponent: int) -> Array:
        """λ_n^k / λ_0^k."""
        values: Array = (self.spectrum[0] / self.spectrum[0][0]) ** exponent
        return values

    def mean(self, function: Potential) -> float:
        """⟨f(x)⟩ at one slice."""
        weights = self._powers(self.num_slices)
        diagonal = (self.spectrum[1] ** 2).T @ function(self.grid)
        return float(weights @ diagonal / weights.sum())

    def correlator(self) -> Array:
        """C(t) = ⟨x_0 x_t⟩ for t = 0, …, N − 1 slices `(N,)`."""
        vectors = self.spectrum[1]
        elements = (vectors.T @ (self.grid[:, None] * vectors)) ** 2
        n = self.num_slices
        terms = [self._powers(n - t) @ elements @ self._powers(t) for t in range(n)]
        return np.array(terms) / self._powers(n).sum()

    def mean_passages(self, threshold: float, points: int = 20) -> float:
        """Mean number of passages from below −c to above c or back, around the ring.

        N tr(T^{N−1} F)/tr T^N over x and the sign that it had beyond the threshold last, where F are the
        steps that change it. The thresholds lie between points of the grid: the error is of order h².

        Args:
            threshold: c.
            points: Points of the grid from 0 to c.
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
        """⟨Σ (x_{i+1} − x_i)²/2a⟩."""
        vectors, x = self.spectrum[1], self.grid
        step = self._matrix(x, x) * (x[:, None] - x) ** 2 / (2 * self.spacing)
        diagonal = np.einsum("in,ij,jn->n", vectors, step, vectors, optimize=True)
        first = self.spectrum[0][0]
        weights = self._powers(self.num_slices - 1)
        return float(
            self.num_slices * weights @ diagonal / (first * self._powers(self.num_slices).sum())
        )

    def mean_action(self) -> float:
        """⟨S⟩."""
        return self.mean_kinetic() + self.beta * self.mean(self.potential)

    def entropy(self) -> float:
        """−⟨ln p⟩ with p = e^{−S} / ∫ dx e^{−S}: the smallest NLL of a model, in nats."""
        measure = self.num_slices / 2 * math.log(2 * math.pi * self.spacing)
        return self.mean_action() + self.log_partition + measure

    def sample(
        self, num: int, seed: int = 0, progress: Callable[[int], None] | None = None
    ) -> Iterator[Array]:
        """Independent paths, in parts of `(n, N)`.

        Each slice has a grid of its own, shifted by a random part of h: the values are continuous and
        have the density e^{−S}/Z to the precision of the sums, 1e-12, for these do not depend on the
        shifts. On the grids x_0 is drawn from the diagonal of T^N, then x_i from
        p(x_i | x_{i−1}, x_0) ∝ T(x_{i−1}, x_i) T^{N−i}(x_i, x_0). Some paths share the grids, at most
        1,024, and few where few are drawn: no comb of values is to be learned.

        Args:
            num: How many.
            seed: Determines every path, on any number of processors.
            progress: Told how many are new.
        """
        together = min(PATHS_A_GRID, math.ceil(num / MIN_GRIDS))
        tasks = [
            (min(together, num - start), np.random.default_rng((seed, start)))
            for start in range(0, num, together)
        ]
        self.grid  # noqa: B018 - computed once, before the threads ask for it
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, len(tasks), 16):
                for paths in pool.map(lambda task: self._draw(*task)[0], tasks[start : start + 16]):
                    if progress is not None:
                        progress(len(paths))
                    yield paths

    def _draw(self, num: int, rng: np.random.Generator) -> tuple[Array, float]:
        """Paths `(num, N)`, and ln Z on their grids."""
        n, h = self.num_slices, self.grid[1] - self.grid[0]
        grids = self.grid + h * (rng.random((n, 1)) - 0.5)
        steps = [self._matrix(grids[i - 1], grids[i]) for i in range(1, n)]
        # closing[i][k, l]: from slice i at point l on to slice 0 at point k, over its largest entry.
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
    """Ln Σ λ^N."""
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
    """Indices of the points of each slice, x_i given x_{i−1} and x_0; `(B, N)`."""
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
            wanted = uniforms[b, i] * total
            k = 0
            while k < points - 1 and cumulative[k] <= wanted:
                k += 1
            indices[b, i] = k
    return indices
