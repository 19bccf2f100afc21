"""Exact thermodynamics of the XY model on rings and narrow tori, by the character expansion."""

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.typing import NDArray
from scipy.special import ive

from lightdan.simulation.thermodynamics import Thermodynamics

MAX_WIDTH = 4
"""Largest shorter side of a torus."""
MAX_COUPLING = 2.5
"""Largest |J|/T of a torus: beyond it the states are too many."""
NEGLECTED = 1e-7
"""Weight, relative to the largest, of states that are left out; it enters Z squared."""


@lru_cache
def thermodynamics(shape: tuple[int, ...], temperature: float, coupling: float = 1.0) -> Thermodynamics:
    """Exact thermodynamics of H = −J Σ_<ij> cos(θ_i − θ_j), periodic, in the measure Π dθ_i/2π.

    E and C are derivatives of the Chebyshev interpolation of ln Z in an interval of ± 3 % about 1/T;
    ln Z is right to about 1e-10 and C to 1e-8.

    Args:
        shape: One side length or two, of which one is at most 4; a side of length 2 has each of its
            bonds twice, a side of length 1 has none.
        temperature: T, in the units of J (k_B = 1).
        coupling: J; negative is antiferromagnetic.

    Raises:
        ValueError: an argument is out of its range, or the lattice is frustrated (an odd side of more
            than one site and J < 0), or on a torus |J|/T is above 2.5; the sentence names it.

    Source: the derivatives of `log_partition`.

    Example:
        >>> round(thermodynamics((4, 4), 1.0).energy / 16, 5)
        -1.41173
    """
    if not (math.isfinite(temperature) and temperature > 0.0):
        raise ValueError(f"temperature must be positive and finite, not {temperature}.")
    beta = 1 / temperature
    sides, k = _validate(shape, beta * coupling)
    interval = (0.97 * beta, 1.03 * beta)
    states = _states(sides, 1.03 * k)  # the same for all K, for ln Z must be smooth
    log_z = Chebyshev.interpolate(
        np.vectorize(lambda b: _log_partition(sides, b * abs(coupling), states)), 6, interval
    )
    value = _log_partition(sides, k, states)
    energy = -float(log_z.deriv(1)(beta))
    return Thermodynamics(
        log_partition=value,
        free_energy=-temperature * value,
        energy=energy,
        specific_heat=beta**2 * float(log_z.deriv(2)(beta)),
        entropy=value + beta * energy,
    )


def log_partition(shape: Sequence[int], beta: float) -> float:
    """Exact ln Z of the XY model with K = βJ on a ring or a narrow torus.

    With exp(K cos θ) = Σ_n I_n(K) exp(inθ) on every bond the angles can be integrated: Z is the sum over
    integer currents on the bonds, conserved at every site, of Π I_n(K). On a ring Z = Σ_n I_n(K)^N. On
    a torus the currents v that leave a row are the states of a transfer matrix that conserves their
    sum: Z = Tr (D^{1/2} A D^{1/2})^M with D(v) = Π I_{v_i} and, from the currents along the row,
    A(v, v') = Σ_h Π_i I_{h + d_1 + … + d_i} for d = v − v'.

    Args:
        shape: As in `thermodynamics`.
        beta: The coupling K = J/T, dimensionless.

    Raises:
        ValueError: as for `thermodynamics`.

    Source: J. José, L. Kadanoff, S. Kirkpatrick and D. Nelson, Phys. Rev. B 16, 1217 (1977).
    """
    sides, k = _validate(shape, beta)
    return _log_partition(sides, k, _states(sides, k))


def _validate(shape: Sequence[int], beta: float) -> tuple[list[int], float]:
    """Return the sides that have bonds, the shorter first, and |K|, once the arguments are valid."""
    if len(shape) not in (1, 2) or min(shape) < 1:
        raise ValueError(f"shape must be one or two positive side lengths, not {tuple(shape)}.")
    if not math.isfinite(beta):
        raise ValueError(f"the coupling must be finite, not {beta}.")
    sides = sorted(side for side in shape if side > 1)
    if beta < 0 and any(side % 2 for side in sides):
        raise ValueError(f"an antiferromagnet needs even sides, not {tuple(shape)}.")
    if len(sides) == 2 and (sides[0] > MAX_WIDTH or abs(beta) > MAX_COUPLING):
        raise ValueError(
            f"a torus must have a side of at most {MAX_WIDTH} and |J|/T of at most {MAX_COUPLING}, not "
            f"{tuple(shape)} and {abs(beta):g}."
        )
    # Even sides: turning one sublattice by π changes the sign of the coupling.
    return sides, abs(beta)


def _states(sides: list[int], k: float) -> NDArray[np.int64]:
    """The currents that leave a row `(S, width)`, of one bond on a ring, as far as they count.

    A current that is left out could only return by another bond of its row, so that it enters Z with
    its weight squared.
    """
    largest = next(n for n in itertools.count(1) if ive(n, k) <= NEGLECTED * ive(0, k))
    currents = np.arange(-largest, largest + 1)
    one = ive(currents, k) / ive(0, k)
    states, weights = currents[:, None], one
    for _ in range(sides[0] - 1 if len(sides) == 2 else 0):
        weights = np.outer(weights, one).ravel()
        states = np.column_stack([states.repeat(len(currents), axis=0), np.tile(currents, len(states))])
        states, weights = states[weights > NEGLECTED], weights[weights > NEGLECTED]
    return states


def _log_partition(sides: list[int], k: float, states: NDArray[np.int64]) -> float:
    if len(sides) < 2:
        return sides[0] * k + math.log((ive(states, k) ** sides[0]).sum()) if sides else 0.0
    width, length = sides
    traces = [
        math.log(multiplicity) + _log_trace(transfer, weights, length)
        for multiplicity, transfer, weights in _sectors(states, k)
    ]
    return float(np.logaddexp.reduce(traces)) + 2 * width * length * k


def _sectors(
    states: NDArray[np.int64], k: float
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
    """Multiplicity, A(v, v') and D(v) of the states of each total current q ≥ 0."""
    largest = int(states.max())
    bessel = ive(np.arange(-largest, largest + 1), k)
    weights = bessel[largest + states].prod(axis=1)
    horizontal = _horizontal(bessel, states.shape[1])
    total = states.sum(axis=1)
    for q in range(int(total.max()) + 1):
        chosen = total == q
        first = states[chosen][:, :-1]  # the last current follows from the total
        steps = first[:, None, :] - first[None, :, :] + 2 * largest
        yield 1 + (q > 0), horizontal[tuple(np.moveaxis(steps, 2, 0))], weights[chosen]


def _horizontal(bessel: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Σ_h I_h Π_{i<width} I_{h + d_1 + … + d_i} for all |d_i| ≤ 2 n_max, an axis for each d_i."""
    largest = len(bessel) // 2
    steps = np.arange(-2 * largest, 2 * largest + 1)
    flows = np.cumsum(np.stack(np.meshgrid(*[steps] * (width - 1), indexing="ij")), axis=0)
    padded = np.pad(bessel, 2 * largest * width)
    centre = len(padded) // 2
    return sum(
        bessel[largest + h] * padded[centre + h + flows].prod(axis=0)
        for h in range(-largest, largest + 1)
    )


def _log_trace(transfer: NDArray[np.float64], weights: NDArray[np.float64], length: int) -> float:
    """Ln Tr (D^{1/2} A D^{1/2})^length, for length ≥ 2."""
    matrix = transfer * np.sqrt(np.outer(weights, weights))
    scale = np.abs(matrix).sum(axis=1).max()
    half = np.linalg.matrix_power(matrix / scale, length // 2)
    rest = half if length % 2 == 0 else half @ (matrix / scale)
    return float(length * math.log(scale) + math.log((half * rest).sum()))
