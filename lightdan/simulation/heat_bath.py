"""Sweeps of any explicit Hamiltonian by heat bath, over-relaxation, slice sampling and clusters."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from lightdan.simulation import terms
from lightdan.simulation.clusters import flip_cluster
from lightdan.simulation.local import (
    ANGLE,
    LEVEL,
    REAL,
    SPIN,
    energy,
    fields,
    inlined,
    kernel,
    potential_at,
    power,
)
from lightdan.simulation.terms import Interactions

SLICE = math.sqrt(12.0)
"""Width of a slice in standard deviations of the field alone: it then spans both of two wells."""
MAX_STEPS = 64
"""Largest number of widths by which a slice is extended."""
LARGEST_SCALE = 1e30
"""Largest scale of a field that is tried before it counts as free."""
OVER_RELAXATIONS = 2
"""Number of over-relaxations of all angles in a sweep."""


def sweep(
    configurations: NDArray[Any],
    interactions: Interactions,
    temperatures: NDArray[np.float64],
    num_sweeps: int,
    seed: int,
    widths: NDArray[np.float64] | None = None,
) -> None:
    """Sweep chains in place, each at its own temperature.

    Spins, levels and angles are drawn from their conditional distribution, fields by slice sampling.
    Angles are also over-relaxed, and a cluster is flipped where most of the pairs can be satisfied. A
    chain makes the moves in one order or in its reverse, with equal probability, which gives

        p(s) P(s → s') = p(s') P(s' → s),  p ∝ e^{−H/T}.

    Args:
        configurations: Configurations of all chains `(B, N)`: spins ±1, places of levels, angles or
            fields.
        interactions: Hamiltonian.
        temperatures: Temperature T of each chain `(B,)`.
        num_sweeps: Number of sweeps of each chain.
        seed: Random seed; it determines every site, on any number of processors.
        widths: Widths of the slices of fields `(B, N)`; None for those of `slice_widths`.

    References:
        R. Neal, Ann. Stat. 31, 705 (2003).
    """
    states = terms.to_states(configurations, interactions)
    if widths is None:
        different, index = np.unique(temperatures, return_inverse=True)
        widths = slice_widths(interactions, different)[index]

    def move(row: int) -> None:
        rng = np.random.default_rng([seed, row])
        sweeps(
            states[row],
            interactions,
            temperatures[row],
            widths[row],
            num_sweeps,
            rng.random() < 0.5,
            rng,
        )

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(move, range(len(states))))
    terms.from_states(states, configurations, interactions)


def slice_widths(interactions: Interactions, temperatures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation of each field alone, with the others at zero `(T, N)`.

    It is 1 for other kinds of sites, which do not use it.

    Raises:
        ValueError: A field alone is not bounded.
    """
    num_sites = interactions.num_sites
    if interactions.kind != REAL:
        return np.ones((len(temperatures), num_sites))
    alone = np.zeros((num_sites, interactions.size))
    lengths = np.diff(interactions.ends)
    sites = np.repeat(np.arange(num_sites), np.diff(interactions.starts))
    single = lengths == 0
    np.add.at(alone, (sites[single], interactions.factors[single]), interactions.couplings.real[single])
    different, index = np.unique(alone, axis=0, return_inverse=True)
    u = np.linspace(-math.asinh(1e9), math.asinh(1e9), 4001)
    offsets, measure = 1e-4 * np.sinh(u), np.cosh(u)
    widths = np.empty((len(temperatures), len(different)))
    for k, temperature in enumerate(temperatures):
        for number, coefficients in enumerate(different):

            def exponents(x: NDArray[np.float64]) -> NDArray[np.float64]:
                outer = np.zeros_like(x)
                if len(interactions.breaks):
                    outer[:] = [potential_at(value, interactions) for value in x]
                polynomial = np.polynomial.polynomial.polyval(x, coefficients)  # noqa: B023
                inside: NDArray[np.float64] = (polynomial - outer) / temperature  # noqa: B023
                return inside

            points, scale = _extrema(coefficients / temperature, interactions.breaks)
            top = points[int(exponents(points).argmax())]
            while scale < LARGEST_SCALE:
                ends = exponents(np.array([top - scale, top, top + scale]))
                if ends[1] - min(ends) >= 1:
                    break
                scale *= 2
            x = top + scale * offsets
            exponent = exponents(x)
            weights = np.exp(exponent - exponent.max()) * measure
            weights /= weights.sum()
            if weights[[0, -1]].max() > 1e-9:
                site = int(np.flatnonzero(index.ravel() == number)[0])
                raise ValueError(
                    f"The Hamiltonian does not bound the field of site {site}: add an even power of it "
                    "with a negative coupling, or a potential that rises on both sides."
                )
            mean = weights @ x
            widths[k, number] = math.sqrt(weights @ (x - mean) ** 2)
    return widths[:, index.ravel()]


def _extrema(
    coefficients: NDArray[np.float64], breaks: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return where Σ_n c_n x^n − U(x) may be largest, and the scale on which it changes by 1.

    Args:
        coefficients: Coefficients c_n `(powers,)`.
        breaks: Ends of the pieces of U; none without U.
    """
    powers = np.flatnonzero(coefficients[1:]) + 1
    scales = [abs(coefficients[n]) ** (-1 / n) for n in powers]
    if len(breaks):
        scales.append(float(breaks[1] - breaks[0]))
    scale = float(min(scales, default=1.0))
    slope = np.polynomial.polynomial.polyder(coefficients * scale ** np.arange(len(coefficients)))
    slope = np.trim_zeros(slope, "b")
    roots = np.polynomial.polynomial.polyroots(slope) if len(slope) > 1 else np.empty(0)
    return np.concatenate([[0.0], scale * roots.real, breaks]), scale


def random_states(
    shape: tuple[int, int],
    interactions: Interactions,
    widths: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.complex128]:
    """Draw states `(B, N)` at infinite temperature; fields are normal with the given widths."""
    if interactions.kind == SPIN:
        return rng.choice(np.array([-1.0, 1.0]), shape).astype(np.complex128)
    if interactions.kind == LEVEL:
        return rng.integers(interactions.size, size=shape).astype(np.complex128)
    if interactions.kind == ANGLE:
        return np.ascontiguousarray(np.exp(2j * math.pi * rng.random(shape)))
    return (rng.normal(size=shape) * widths).astype(np.complex128)


@numba.njit(cache=True, nogil=True)
def sweeps(
    state: Any,
    interactions: Any,
    temperature: float,
    widths: Any,
    num: int,
    backward: bool,
    rng: Any,
) -> None:
    """Sweep a chain in place; the moves of `backward` are the others in reverse order."""
    beta = 1.0 / temperature
    found = np.empty(interactions.size, np.complex128)
    rounds = 1 + (OVER_RELAXATIONS if interactions.kind == ANGLE else 0)
    for _ in range(num):
        if backward and interactions.clusters:
            flip_cluster(state, interactions, beta, rng)
        for turn in range(rounds):
            relaxed = turn < rounds - 1 if backward else turn > 0
            _visit_all(state, interactions, beta, widths, relaxed, backward, found, rng)
        if not backward and interactions.clusters:
            flip_cluster(state, interactions, beta, rng)


@kernel
def _visit_all(
    state: Any,
    interactions: Any,
    beta: float,
    widths: Any,
    relaxed: bool,
    backward: bool,
    found: Any,
    rng: Any,
) -> None:
    """Move one site after another; `relaxed` stands for over-relaxation."""
    for step in range(state.size):
        site = state.size - 1 - step if backward else step
        fields(state, interactions, site, found)
        if relaxed:
            state[site] = _reflected(state[site], found, beta, rng)
        elif interactions.kind == SPIN:
            up = rng.random() * (1.0 + math.exp(-2.0 * beta * found[0].real)) < 1.0
            state[site] = 1.0 if up else -1.0
        elif interactions.kind == LEVEL:
            state[site] = _level(found, beta, rng)
        elif interactions.kind == ANGLE:
            state[site] = _phasor(state[site], found, beta, rng)
        else:
            state[site] = _slice(state[site].real, found, interactions, beta, widths[site], rng)


@numba.njit(cache=True, nogil=True)
def anneal(state: Any, interactions: Any, widths: Any, num_steps: int, rng: Any) -> float:
    """Return −Σ_{k<K} H(s_k)/K of one chain; a sweep at β = (k + 1)/K leads from s_k to s_{k+1}."""
    log_weight = 0.0
    for step in range(num_steps):
        log_weight -= energy(state, interactions) / num_steps
        sweeps(state, interactions, num_steps / (step + 1), widths, 1, False, rng)
    return log_weight


@numba.njit(cache=True, nogil=True)
def sweep_states(states: Any, interactions: Any, widths: Any, rng: Any) -> None:
    """Sweep every chain of `(B, N)` once at β = 1, in place."""
    for chain in range(len(states)):
        sweeps(states[chain], interactions, 1.0, widths, 1, False, rng)


@kernel
def _level(found: Any, beta: float, rng: Any) -> float:
    """Draw a level with probability ∝ e^{βA_s}."""
    top = found[0].real
    for value in found:
        top = max(top, value.real)
    total = 0.0
    for value in found:
        total += math.exp(beta * (value.real - top))
    rest = rng.random() * total
    for level in range(len(found) - 1):
        rest -= math.exp(beta * (found[level].real - top))
        if rest < 0.0:
            return level
    return len(found) - 1


@kernel
def _strongest(found: Any) -> int:
    """Return the harmonic n of the largest |A_n|, or 0 if all vanish."""
    strongest, size = 0, 0.0
    for n in range(1, len(found)):
        square = found[n].real ** 2 + found[n].imag ** 2
        if square > size:
            strongest, size = n, square
    return strongest


@kernel
def _unit(value: complex) -> complex:
    """Return value/|value|."""
    scale = 1.0 / math.sqrt(value.real * value.real + value.imag * value.imag)
    return complex(value.real * scale, value.imag * scale)


@kernel
def _accepted(old: complex, new: complex, found: Any, without: int, beta: float, rng: Any) -> complex:
    """Return the phasor that a Metropolis step with all harmonics but one leads to."""
    gain = 0.0
    for n in range(1, len(found)):
        if n != without and found[n] != 0.0:
            gain += (found[n] * (power(new, n) - power(old, n))).real
    return new if gain >= 0.0 or rng.random() < math.exp(beta * gain) else old


@kernel
def _phasor(old: complex, found: Any, beta: float, rng: Any) -> complex:
    """Draw e^{iθ} by the heat bath of the strongest harmonic, accepted with the others."""
    n = _strongest(found)
    kappa = beta * abs(found[n]) if n > 0 else 0.0
    if kappa < 1e-6:  # the distribution is uniform, to rounding
        angle = 2.0 * math.pi * rng.random()
        return _accepted(old, complex(math.cos(angle), math.sin(angle)), found, 0, beta, rng)
    cosine = _cosine_about_field(kappa, rng)
    sine = math.sqrt(max(0.0, 1.0 - cosine * cosine))
    if rng.random() < 0.5:
        sine = -sine
    new = complex(cosine, sine) * _unit(found[n].conjugate())
    if n > 1:
        angle = (math.atan2(new.imag, new.real) + 2.0 * math.pi * int(n * rng.random())) / n
        new = complex(math.cos(angle), math.sin(angle))
    return _accepted(old, _unit(new), found, n, beta, rng)


@kernel
def _reflected(old: complex, found: Any, beta: float, rng: Any) -> complex:
    """Return the phasor reflected about the field of the strongest harmonic, if it is accepted."""
    n = _strongest(found)
    if n == 0:
        return old
    axis = _unit(found[n].conjugate())
    if n > 1:
        angle = (math.atan2(axis.imag, axis.real) + 2.0 * math.pi * int(n * rng.random())) / n
        axis = complex(math.cos(angle), math.sin(angle))
    new = axis * axis * old.conjugate()
    return _accepted(old, _unit(new), found, n, beta, rng)


@kernel
def _cosine_about_field(kappa: float, rng: Any) -> float:
    """Draw cos φ of an angle with density ∝ e^{κ cos φ}, by rejection from a wrapped Cauchy.

    References:
        D. Best and N. Fisher, Appl. Stat. 28, 152 (1979).
    """
    tau = 1.0 + math.sqrt(1.0 + 4.0 * kappa * kappa)
    rho = (tau - math.sqrt(2.0 * tau)) / (2.0 * kappa)
    r = (1.0 + rho * rho) / (2.0 * rho)
    while True:
        z = math.cos(math.pi * rng.random())
        cosine = (1.0 + r * z) / (r + z)
        c = kappa * (r - cosine)
        if math.log(c / (1.0 - rng.random())) + 1.0 >= c:
            return cosine


@inlined
def _log_weight(x: float, found: Any, interactions: Any, beta: float) -> float:
    """Return −βH of a field, up to a constant."""
    total = 0.0
    for n in range(len(found) - 1, 0, -1):
        total = (total + found[n].real) * x
    return beta * (total - potential_at(x, interactions))


@kernel
def _slice(old: float, found: Any, interactions: Any, beta: float, width: float, rng: Any) -> float:
    """Draw a field uniformly from the values of more than e^{−βH} times a random number."""
    height = _log_weight(old, found, interactions, beta) + math.log(1.0 - rng.random())
    width *= SLICE
    left = old - width * rng.random()
    right = left + width
    steps = int(MAX_STEPS * rng.random())
    for _ in range(steps):
        if _log_weight(left, found, interactions, beta) < height:
            break
        left -= width
    for _ in range(MAX_STEPS - 1 - steps):
        if _log_weight(right, found, interactions, beta) < height:
            break
        right += width
    while True:
        new = left + (right - left) * rng.random()
        # At large H the logarithm may be lost in rounding, and then only the old value is left.
        if _log_weight(new, found, interactions, beta) >= height:
            return new
        if new < old:
            left = new
        else:
            right = new
