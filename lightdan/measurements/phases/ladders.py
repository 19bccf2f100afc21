"""Analysis of replica exchange: moments, peaks and crossings of independent ladders, with errors."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar, root
from scipy.special import logsumexp, softmax

from lightdan.statistics import Estimate, jackknife_each

NEAR = 0.035
"""Relative distance from a crossing within which points determine it."""


@dataclass(frozen=True, eq=False)
class Ladders:
    """Series of chains of e^{−H/T'} at several T', in independent ladders.

    Args:
        temperatures: Temperatures T' `(K,)`, ascending.
        num_sites: Number N of sites.
        hamiltonian: H of the configurations `(K, ladders, steps)`.
        abs_magnetization: |m| per site `(K, ladders, steps)`.
        energy: E `(K, ladders, steps)`; None where E is H itself.
        variations: Changes δH of H that follow from draws of its couplings `(draws, K, ladders, steps)`.
        change: The one δH by which the chains are reweighted `(K, ladders, steps)`.
    """

    temperatures: NDArray[np.float64]
    num_sites: int
    hamiltonian: NDArray[np.float64]
    abs_magnetization: NDArray[np.float64]
    energy: NDArray[np.float64] | None = None
    variations: Sequence[NDArray[np.float64]] = ()
    change: NDArray[np.float64] | None = None

    def subset(self, ladders: NDArray[np.bool_]) -> "Ladders":
        """Return the series of some of the ladders, without the variations."""
        return replace(
            self,
            hamiltonian=self.hamiltonian[:, ladders],
            abs_magnetization=self.abs_magnetization[:, ladders],
            energy=None if self.energy is None else self.energy[:, ladders],
            variations=(),
            change=None if self.change is None else self.change[:, ladders],
        )

    def varied(self) -> list["Ladders"]:
        """Return the series reweighted to each draw of the couplings."""
        return [replace(self, variations=(), change=change) for change in self.variations]

    @property
    def target(self) -> NDArray[np.float64]:
        """H + δH of the configurations `(K, ladders, steps)`."""
        return self.hamiltonian if self.change is None else self.hamiltonian + self.change

    @property
    def observed_energy(self) -> NDArray[np.float64]:
        """E, or H + δH where that is the energy `(K, ladders, steps)`."""
        return self.target if self.energy is None else self.energy

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Weights e^{−δH/T'} of the configurations, of sum 1 at each T' `(K, ladders, steps)`."""
        if self.change is None:
            return np.full(self.hamiltonian.shape, 1 / math.prod(self.hamiltonian.shape[1:]))
        logs = -self.change / self.temperatures[:, None, None]
        normalised: NDArray[np.float64] = softmax(logs, axis=(1, 2))
        return normalised

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted mean at each T' `(K,)` of values `(K, ladders, steps)`."""
        means: NDArray[np.float64] = (values * self.weights).sum((1, 2))
        return means


def with_errors(
    function: Callable[..., ArrayLike], *ladders: Ladders, bias_corrected: bool = True
) -> list[Estimate]:
    """Estimate a function of ladders, with the errors of the simulation and of the couplings.

    The first is the jackknife error over ladders, the second the spread over the draws of the
    couplings; they are added in quadrature.

    Args:
        function: Function from one or more `Ladders` to a number or an array of numbers.
        *ladders: Series, with equally many ladders and draws in all.
        bias_corrected: Whether the jackknife corrects the values, which a fit is not smooth enough for.

    Returns:
        One estimate per number; its error is infinite where the number or its error is not finite.
    """

    def leave_out(share: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ravel(function(*(series.subset(share > 0) for series in ladders)))

    num_ladders = ladders[0].hamiltonian.shape[1]
    estimates = jackknife_each(leave_out, np.eye(num_ladders))
    values = [estimate.value for estimate in estimates]
    if not bias_corrected:
        values = np.ravel(function(*ladders)).tolist()
    errors = [estimate.error for estimate in estimates]
    draws = zip(*(series.varied() for series in ladders), strict=True)
    if varied := [np.ravel(function(*draw)) for draw in draws]:
        errors = np.hypot(errors, np.std(varied, axis=0, ddof=1)).tolist()
    return [
        Estimate(value, error if math.isfinite(value + error) else math.inf)
        for value, error in zip(values, errors, strict=True)
    ]


def energy(ladders: Ladders) -> NDArray[np.float64]:
    """Return ⟨E⟩/N at each T' `(K,)`."""
    return ladders.mean(ladders.observed_energy) / ladders.num_sites


def specific_heat(ladders: Ladders) -> NDArray[np.float64]:
    """Return (⟨E²⟩ − ⟨E⟩²)/(N T'²) at each T' `(K,)`."""
    values = ladders.observed_energy
    centred = values - values.mean((1, 2), keepdims=True)
    variance = ladders.mean(centred**2) - ladders.mean(centred) ** 2
    heat: NDArray[np.float64] = variance / (ladders.num_sites * ladders.temperatures**2)
    return heat


def abs_magnetization(ladders: Ladders) -> NDArray[np.float64]:
    """Return ⟨|m|⟩ at each T' `(K,)`."""
    return ladders.mean(ladders.abs_magnetization)


def susceptibility(ladders: Ladders) -> NDArray[np.float64]:
    """Return N (⟨m²⟩ − ⟨|m|⟩²)/T' at each T' `(K,)`."""
    m = ladders.abs_magnetization
    variance = ladders.mean(m**2) - ladders.mean(m) ** 2
    return ladders.num_sites * variance / ladders.temperatures


def binder_cumulant(ladders: Ladders) -> NDArray[np.float64]:
    """Return 1 − ⟨m⁴⟩/(3⟨m²⟩²) at each T' `(K,)`."""
    square = ladders.abs_magnetization**2
    return 1 - ladders.mean(square**2) / (3 * ladders.mean(square) ** 2)


def specific_heat_maximum(ladders: Ladders) -> tuple[float, float]:
    """Return T' and the value of the largest C between the temperatures.

    C at any T' follows from all chains together by multiple-histogram reweighting.

    References:
        A. Ferrenberg and R. Swendsen, Phys. Rev. Lett. 63, 1195 (1989).
    """
    hamiltonian, target = ladders.hamiltonian.ravel(), ladders.target.ravel()
    values, temperatures = ladders.observed_energy.ravel(), ladders.temperatures
    reduced = hamiltonian / temperatures[:, None]
    log_density = logsumexp(free_energies(reduced)[:, None] - reduced, axis=0)

    def heat(temperature: float) -> float:
        weights = softmax(-target / temperature - log_density)
        variance = weights @ (values - weights @ values) ** 2
        return float(variance) / (ladders.num_sites * temperature**2)

    grid = np.linspace(temperatures[0], temperatures[-1], 101)
    best = int(np.argmax([heat(temperature) for temperature in grid]))
    if best in (0, len(grid) - 1):
        return float(grid[best]), heat(grid[best])
    bounds = (grid[best - 1], grid[best + 1])
    peak = minimize_scalar(lambda temperature: -heat(temperature), bounds=bounds, method="bounded")
    return float(peak.x), float(-peak.fun)


def free_energies(reduced: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve the multiple-histogram equations for f_k = −ln Z_k, up to a constant.

    With M/K configurations from each of K distributions e^{−u_k}/Z_k the f_k solve

        f_k = −ln Σ_s e^{−u_k(s)} / Σ_l (M/K) e^{f_l − u_l(s)}.

    They are the root of the gradient of a convex function. A Newton method finds it in a few
    iterations; pymbar, which solves the same equations, would add dependencies for these lines.

    Args:
        reduced: u_k = H/T'_k of all configurations `(K, M)`, in the order of the distributions.

    References:
        M. Shirts and J. Chodera, J. Chem. Phys. 129, 124105 (2008).
    """
    num, size = reduced.shape
    if num == 1:
        return np.zeros(1)

    def gradient(others: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        shares = softmax(np.append(0.0, others)[:, None] - reduced, axis=0)
        means = shares.mean(axis=1)
        hessian = np.diag(means) - shares @ shares.T / size
        return means[1:] - 1 / num, hessian[1:, 1:]

    # Trapezoidal thermodynamic integration: df/dβ = ⟨H⟩, and u_{k+1} − u_k = (β_{k+1} − β_k) H.
    steps = np.diff(reduced, axis=0).reshape(num - 1, num, -1).mean(axis=2)
    start = np.cumsum([(step[k] + step[k + 1]) / 2 for k, step in enumerate(steps)])
    solution = root(gradient, start, jac=True, tol=1e-10)
    return np.append(0.0, solution.x)


def polynomial_peak(ladders: Ladders) -> float:
    """Return T' of the largest C, by a polynomial of fourth order."""
    temperatures = ladders.temperatures
    quartic = np.polynomial.Polynomial.fit(temperatures, specific_heat(ladders), 4)
    grid = np.linspace(temperatures[0], temperatures[-1], 1001)
    return float(grid[quartic(grid).argmax()])


def crossing(small: Ladders, large: Ladders) -> float:
    """Return T' where the Binder cumulant of a larger lattice falls below that of a smaller, or NaN."""
    temperatures = small.temperatures
    difference = binder_cumulant(large) - binder_cumulant(small)
    rough = falling_root(temperatures, difference, 3, (temperatures[0] + temperatures[-1]) / 2)
    # Over the whole range a polynomial of low order is not good enough.
    near = np.abs(temperatures - rough) < NEAR * rough
    if near.sum() < 4:
        return rough
    return falling_root(temperatures[near], difference[near], 2, rough)


def falling_root(x: NDArray[np.float64], y: NDArray[np.float64], degree: int, expected: float) -> float:
    """Return the root nearest to `expected` at which a polynomial through the points falls, or NaN."""
    curve = np.polynomial.Polynomial.fit(x, y, degree)
    roots = curve.roots()
    real = roots[np.abs(roots.imag) < 1e-9].real
    falling = [root for root in real if x[0] < root < x[-1] and curve.deriv()(root) < 0]
    return min(falling, key=lambda root: abs(root - expected)) if falling else math.nan
