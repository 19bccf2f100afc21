"""Analysis of replica exchange: moments, peaks and crossings of independent ladders, with errors."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar, root
from scipy.special import logsumexp, softmax

from lightdan.statistics import Blocks, Estimate, jackknife_each

NEAR = 0.035
"""Relative distance from a crossing within which points determine it."""
GRID = 41
"""Number of T' at which a maximum or a crossing is bracketed."""


class Twist(NamedTuple):
    """Derivatives of H by a twist φ, which turns the angles by φ per site along an axis.

    Args:
        current: ∂H/∂φ at φ = 0 `(axes, K, ladders, steps)`.
        stiffness: ∂²H/∂φ² `(axes, K, ladders, steps)`.
    """

    current: NDArray[np.float64]
    stiffness: NDArray[np.float64]


class Change(NamedTuple):
    """Change of H by other couplings.

    Args:
        hamiltonian: Change of the terms that T' divides `(K, ladders, steps)`.
        rest: Change of H/T by all other terms `(K, ladders, steps)`.
        twist: Change of the derivatives by a twist.
    """

    hamiltonian: NDArray[np.float64]
    rest: NDArray[np.float64] | float = 0.0
    twist: Twist | None = None


@dataclass(frozen=True, eq=False)
class Ladders:
    """Series of chains of e^{−H/T' − R} at several T', in independent ladders.

    R are terms that T' does not divide, if there are any.

    Args:
        temperatures: Temperatures T' `(K,)`, ascending.
        num_sites: Number N of sites.
        hamiltonian: H of the configurations `(K, ladders, steps)`.
        abs_magnetization: |m| per site `(K, ladders, steps)`.
        energy: E `(K, ladders, steps)`; None where E is H itself.
        twist: Derivatives of H by a twist; None for sites that are no angles.
        temperature: Temperature T of the fluctuations of m; None where it is T'.
        variations: Changes of H that follow from draws of its couplings.
        change: The one change by which the chains are reweighted.
    """

    temperatures: NDArray[np.float64]
    num_sites: int
    hamiltonian: NDArray[np.float64]
    abs_magnetization: NDArray[np.float64]
    energy: NDArray[np.float64] | None = None
    twist: Twist | None = None
    temperature: float | None = None
    variations: Sequence[Change] = ()
    change: Change | None = None

    def subset(self, ladders: NDArray[np.bool_]) -> "Ladders":
        """Return the series of some of the ladders, without the variations."""
        return replace(
            self,
            hamiltonian=self.hamiltonian[:, ladders],
            abs_magnetization=self.abs_magnetization[:, ladders],
            energy=None if self.energy is None else self.energy[:, ladders],
            twist=None if self.twist is None else Twist(*(part[:, :, ladders] for part in self.twist)),
            variations=(),
        )

    def varied(self) -> list["Ladders"]:
        """Return the series reweighted to each draw of the couplings."""
        return [replace(self, variations=(), change=change) for change in self.variations]

    @property
    def target(self) -> NDArray[np.float64]:
        """H + δH of the configurations `(K, ladders, steps)`."""
        return self.hamiltonian if self.change is None else self.hamiltonian + self.change.hamiltonian

    @property
    def observed_energy(self) -> NDArray[np.float64]:
        """E, or H + δH where that is the energy `(K, ladders, steps)`."""
        return self.target if self.energy is None else self.energy

    @property
    def observed_twist(self) -> Twist | None:
        """Derivatives of H + δH by a twist."""
        if self.twist is None or self.change is None or self.change.twist is None:
            return self.twist
        return Twist(*(part + more for part, more in zip(self.twist, self.change.twist, strict=True)))

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Weights e^{−δH/T' − δR} of the configurations, of sum 1 at each T' `(K, ladders, steps)`."""
        if self.change is None:
            return np.full(self.hamiltonian.shape, 1 / math.prod(self.hamiltonian.shape[1:]))
        logs = -self.change.hamiltonian / self.temperatures[:, None, None] - self.change.rest
        normalised: NDArray[np.float64] = softmax(logs, axis=(1, 2))
        return normalised

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted mean at each T' `(K,)` of values `(K, ladders, steps)`."""
        means: NDArray[np.float64] = (values * self.weights).sum((1, 2))
        return means

    def any_temperature(self) -> Callable[[float], NDArray[np.float64]]:
        """Return a function from T' to weights of all configurations `(M,)`, of sum 1.

        It combines all chains by multiple-histogram reweighting.

        References:
            A. Ferrenberg and R. Swendsen, Phys. Rev. Lett. 63, 1195 (1989).
        """
        reduced = self.hamiltonian.ravel() / self.temperatures[:, None]
        log_density = logsumexp(free_energies(reduced)[:, None] - reduced, axis=0)
        target = self.target.ravel()
        if self.change is not None:
            log_density = log_density + np.ravel(self.change.rest)
        return lambda temperature: softmax(-target / temperature - log_density)


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
    blocks = Blocks(np.arange(num_ladders), num_ladders)
    estimates = jackknife_each(leave_out, np.eye(num_ladders), blocks=blocks)
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
    return ladders.num_sites * variance / (ladders.temperature or ladders.temperatures)


def binder_cumulant(ladders: Ladders) -> NDArray[np.float64]:
    """Return 1 − ⟨m⁴⟩/(3⟨m²⟩²) at each T' `(K,)`."""
    square = ladders.abs_magnetization**2
    return 1 - ladders.mean(square**2) / (3 * ladders.mean(square) ** 2)


def helicity_modulus(ladders: Ladders) -> NDArray[np.float64]:
    """Return the helicity modulus Υ at each T' `(K,)`, averaged over the axes.

        N Υ = ⟨∂²H/∂φ²⟩ − (⟨(∂H/∂φ)²⟩ − ⟨∂H/∂φ⟩²)/T'

    It is ∂²F/∂φ²/N for a twist φ.
    """
    twist = ladders.observed_twist
    assert twist is not None
    directions = [
        ladders.mean(stiffness)
        - (ladders.mean(current**2) - ladders.mean(current) ** 2) / ladders.temperatures
        for current, stiffness in zip(*twist, strict=True)
    ]
    modulus: NDArray[np.float64] = np.mean(directions, axis=0) / ladders.num_sites
    return modulus


def peaks(ladders: Ladders) -> list[float]:
    """Return T' and value of the largest C, then of the largest χ, between the temperatures."""
    weights = ladders.any_temperature()
    num, low, high = ladders.num_sites, ladders.temperatures[0], ladders.temperatures[-1]
    energies, m = ladders.observed_energy.ravel(), ladders.abs_magnetization.ravel()
    # A large mean would cancel in the variance.
    energies = energies - energies.mean()

    def variance(values: NDArray[np.float64], p: NDArray[np.float64]) -> float:
        return float(p @ values**2 - (p @ values) ** 2)

    def heat(t: float, p: NDArray[np.float64]) -> float:
        return variance(energies, p) / (num * t**2)

    def chi(t: float, p: NDArray[np.float64]) -> float:
        return num * variance(m, p) / (ladders.temperature or t)

    grid = np.linspace(low, high, GRID)
    rows = [(heat(t, p), chi(t, p)) for t in grid for p in [weights(t)]]
    found: list[float] = []
    for curve, values in zip((heat, chi), np.transpose(rows), strict=True):
        best = int(values.argmax())
        if best in (0, GRID - 1):
            found += [grid[best], values[best]]
            continue
        bounds = grid[best - 1], grid[best + 1]
        peak = minimize_scalar(lambda t, c=curve: -c(t, weights(t)), bounds=bounds, method="bounded")
        found += [float(peak.x), float(-peak.fun)]
    return found


def helicity_crossing(ladders: Ladders) -> float:
    """Return the largest T' below which Υ exceeds 2T'/π, or NaN if there is none."""
    weights, twist = ladders.any_temperature(), ladders.observed_twist
    assert twist is not None
    current, stiffness = (part.reshape(len(part), -1) for part in twist)

    def excess(t: float) -> float:
        p = weights(t)
        variance = current**2 @ p - (current @ p) ** 2
        return float(np.mean(stiffness @ p - variance / t) / ladders.num_sites - 2 * t / math.pi)

    grid = np.linspace(ladders.temperatures[0], ladders.temperatures[-1], GRID)
    above = np.flatnonzero([excess(t) > 0 for t in grid])
    if not len(above) or above[-1] == GRID - 1:
        return math.nan
    return float(brentq(excess, grid[above[-1]], grid[above[-1] + 1], xtol=1e-7))


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
