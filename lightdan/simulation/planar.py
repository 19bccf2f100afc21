"""Exact thermodynamics of the Ising model on square, triangular, honeycomb and kagome tori."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath

from lightdan.lattices.shapes import check_size
from lightdan.simulation.thermodynamics import Thermodynamics

# A separate context, independent of the precision that other users of mpmath set.
_mp: Any = mpmath.MPContext()
DIGITS = 30
"""Digits that cancellations between the terms have to leave."""


def thermodynamics(
    lattice: str, shape: Sequence[int], temperature: float, coupling: float | Sequence[float] = 1.0
) -> Thermodynamics:
    """Compute the exact thermodynamics of H = −Σ_<ij> J_ij s_i s_j, s = ±1, on an L × M torus of cells.

    The lattices consist of triangles in directions 1 = (1, 0), 2 = (0, 1) and 3, a diagonal of the cell.
    Their weights w_0 of three equal spins and w_d of a different spin opposite the bond of direction d
    are, with K_d = J_d/T::

        triangular  w_0 = e^{K₁+K₂+K₃} = u_0,   w_1 = e^{K₁−K₂−K₃} = u_1, …
        honeycomb   w_0 = 2cosh(K₁+K₂+K₃),      w_1 = 2cosh(−K₁+K₂+K₃), …
        kagome      w_0 = u_0² + u_1² + u_2² + u_3²,   w_1 = 2(u_0 u_1 + u_2 u_3), …

    A triangle of the honeycomb lattice has a spin inside, which is summed out; direction d is that of
    the two neighbours which its bond d does not reach. For the kagome lattice, star–triangle
    transformation and decoration lead to the honeycomb lattice. The square lattice has K₃ = 0. Then

        Z = 2^{LM−1} Σ_{ab} σ_ab Π_k Λ(k)^{1/2},   k₁ = 2π(i+a)/L,  k₂ = 2π(j+b)/M,  a, b ∈ {0, ½}
        Λ = ¼(w_0² + w_1² + w_2² + w_3²) − ½[(w_0w_1 − w_2w_3) cos k₁ + (w_0w_2 − w_1w_3) cos k₂
            + (w_0w_3 − w_1w_2) cos(k₁+k₂)],   σ_00 = −1, else 1.

    If k and −k are the same, Λ is the square of ½(±w_0 ± w_1 ± w_2 ± w_3) with one minus sign, and this
    number itself is the factor. Energy and specific heat are derivatives of ln Z.

    Args:
        lattice: ``square``, ``triangular``, ``honeycomb`` or ``kagome``; a cell has 1, 1, 2 or 3 sites.
        shape: Two numbers of cells, L and M. A side of length 2 has bonds in both of its directions.
        temperature: Temperature T, in units of J (k_B = 1).
        coupling: Coupling J, or one for each direction, two for the square lattice and three for others;
            negative is antiferromagnetic.

    Raises:
        ValueError: An argument is out of its range; the message names it.

    References:
        R. M. F. Houtappel, Physica 16, 425 (1950);
        I. Syozi, in Phase Transitions and Critical Phenomena 1 (1972).

    Example:
        >>> round(thermodynamics("triangular", (16, 16), 1.0, -1.0).entropy, 3)
        106.252
    """
    if not (math.isfinite(temperature) and temperature > 0.0):
        raise ValueError(f"temperature must be positive and finite, not {temperature}.")
    if lattice not in LATTICES:
        raise ValueError(f"lattice must be one of {', '.join(LATTICES)}, not {lattice!r}.")
    check_size(shape, "shape")
    if len(shape) != 2 or min(shape) < 2:
        raise ValueError(f"shape must be two numbers of cells of at least 2, not {tuple(shape)}.")
    directions = 2 if lattice == "square" else 3
    couplings = [coupling] * directions if isinstance(coupling, int | float) else [*coupling]
    if len(couplings) != directions or not all(map(math.isfinite, couplings)):
        raise ValueError(f"coupling must be a finite number, or {directions} of them, not {coupling}.")
    weights = LATTICES[lattice]

    def log_partition(beta: Any) -> Any:
        total = _mp.fsum(_sectors(shape, weights(*(beta * j for j in couplings)))[0])
        return (math.prod(shape) - 1) * _mp.ln(2) + _mp.ln(total)

    digits = 2 * DIGITS
    while _lost_digits(shape, weights, [j / temperature for j in couplings], digits) > digits - DIGITS:
        digits *= 2
    with _mp.workdps(digits):
        t = _mp.mpf(temperature)
        log_z, first, half_second = _mp.taylor(log_partition, 1 / t, 2)
        return Thermodynamics(
            log_partition=float(log_z),
            free_energy=float(-t * log_z),
            energy=float(-first),
            specific_heat=float(2 * half_second / t**2),
            entropy=float(log_z - first / t),
        )


def _triangular(k1: Any, k2: Any, k3: Any = 0) -> list[Any]:
    return [_mp.exp(x) for x in (k1 + k2 + k3, k1 - k2 - k3, -k1 + k2 - k3, -k1 - k2 + k3)]


def _honeycomb(k1: Any, k2: Any, k3: Any) -> list[Any]:
    return [2 * _mp.cosh(x) for x in (k1 + k2 + k3, -k1 + k2 + k3, k1 - k2 + k3, k1 + k2 - k3)]


def _kagome(k1: Any, k2: Any, k3: Any) -> list[Any]:
    u0, u1, u2, u3 = _triangular(k1, k2, k3)
    unequal = [2 * (u0 * u1 + u2 * u3), 2 * (u0 * u2 + u1 * u3), 2 * (u0 * u3 + u1 * u2)]
    return [u0**2 + u1**2 + u2**2 + u3**2, *unequal]


LATTICES: dict[str, Callable[..., list[Any]]] = {
    "square": _triangular,
    "triangular": _triangular,
    "honeycomb": _honeycomb,
    "kagome": _kagome,
}
"""Function of K₁, K₂ and K₃ that returns the weights of a triangle, by lattice."""


def _lost_digits(
    shape: Sequence[int], weights: Callable[..., list[Any]], couplings: Sequence[float], digits: int
) -> float:
    """Return how many digits cancel, at the given number of them."""
    with _mp.workdps(digits):
        sectors, smallest = _sectors(shape, weights(*map(_mp.mpf, couplings)))
        rest = smallest * abs(_mp.fsum(sectors)) / _mp.fsum(map(abs, sectors))
        return float(-_mp.log10(rest)) if rest else digits


def _sectors(shape: Sequence[int], weights: Sequence[Any]) -> tuple[list[Any], Any]:
    """Return σ Π Λ^{1/2} for all a and b, and the smallest ratio of a factor to its terms.

    Args:
        shape: Numbers of cells L and M.
        weights: Weights w_0, …, w_3 of a triangle.
    """
    rows, columns = shape
    w0, w1, w2, w3 = weights
    constant = (w0**2 + w1**2 + w2**2 + w3**2) / 4
    amplitudes = (w0 * w1 - w2 * w3) / 2, (w0 * w2 - w1 * w3) / 2, (w0 * w3 - w1 * w2) / 2
    half = (w0 + w1 + w2 + w3) / 2
    sectors, smallest = [], _mp.one
    for a in (0, 1):
        for b in (0, 1):
            factors = [_mp.mpf(1 if a or b else -1)]
            # Momenta in units of π/L and π/M; one of each pair k, −k is enough.
            for i in range(a, 2 * rows, 2):
                for j in range(b, 2 * columns, 2):
                    mirror = -i % (2 * rows), -j % (2 * columns)
                    if mirror == (i, j):
                        factor, size = half - weights[2 * (i // rows) + j // columns], half
                    elif mirror > (i, j):
                        x, y = _mp.mpf(i) / rows, _mp.mpf(j) / columns
                        cosines = _mp.cospi(x), _mp.cospi(y), _mp.cospi(x + y)
                        factor, size = constant - _mp.fdot(amplitudes, cosines), constant
                    else:
                        continue
                    factors.append(factor)
                    smallest = min(smallest, abs(factor) / size)
            sectors.append(_mp.fprod(factors))
    return sectors, smallest
