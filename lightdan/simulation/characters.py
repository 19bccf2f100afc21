"""Exact thermodynamics of the XY model on a ring and on narrow tori, by character expansion."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

from lightdan.lattices.shapes import check_shape
from lightdan.simulation.thermodynamics import Thermodynamics

MAX_WIDTH = 4
MAX_STATES = 4000
MAX_CURRENTS = 10**6
TOLERANCE = 1e-18
"""Smallest weight of a loop of currents that is included, relative to no currents."""


class _Jet(NamedTuple):
    """Taylor coefficients of order 0, 1 and 2 of a function of K = βJ."""

    value: NDArray[np.float64]
    first: NDArray[np.float64]
    half_second: NDArray[np.float64]


def thermodynamics(shape: Sequence[int], temperature: float, coupling: float = 1.0) -> Thermodynamics:
    """Compute the exact thermodynamics of the periodic XY model, in the measure Π dθ_i/2π.

        H = −J Σ_<ij> cos(θ_i − θ_j)

    Each bond is expanded in characters, e^{K cos d} = Σ_n I_n(K) e^{ind} with K = β|J|, and the angles
    are integrated out. This leaves integer currents n on the bonds, which are conserved at every
    site and have the weight Π I_n(K). Let v be the currents from one row to the next and h the
    currents along a row. With the transfer matrix T_Q between rows of a torus of M rows::

        Z = Σ_Q Tr T_Q^M,   T_Q(v, v') = Π_x I_{v_x}(K) Σ_{h_0} Π_x I_{h_x}(K),
        h_x = h_{x−1} + v_x − v'_x,   Σ_x v_x = Q

    On a ring T_Q = I_Q(K). T_Q is block-diagonal in the momentum along the row. E and C come from the
    first two derivatives of the same sums in K. States of weight below `TOLERANCE` are omitted, which
    changes C by about 1e-10.

    Args:
        shape: One or two side lengths, at least one of them at most 4. A side of length 2 has each of
            its bonds twice, a side of length 1 has none.
        temperature: Temperature T, in units of J (k_B = 1).
        coupling: Coupling J; negative is antiferromagnetic.

    Raises:
        ValueError: An argument is out of its range, both sides are longer than 4, or an antiferromagnet
            has an odd side. Also if the temperature is too low for the number of states.

    References:
        R. Savit, Rev. Mod. Phys. 52, 453 (1980), section III.

    Example:
        >>> round(thermodynamics((4, 4), 1.0).log_partition, 5)
        10.64748
    """
    if not (math.isfinite(temperature) and temperature > 0.0):
        raise ValueError(f"temperature must be positive and finite, not {temperature}.")
    width, length = _sides(shape, coupling)
    k = abs(coupling) / temperature
    num_bonds = sum(width * length for side in (width, length) if side > 1)
    log_z, first, second = _log_partition(width, length, num_bonds, k)
    log_partition = num_bonds * k + log_z
    energy = -abs(coupling) * (num_bonds + first)
    return Thermodynamics(
        log_partition=log_partition,
        free_energy=-temperature * log_partition,
        energy=energy,
        specific_heat=k * k * second,
        entropy=log_z - k * first,
    )


def _sides(shape: Sequence[int], coupling: float) -> list[int]:
    """Validate the arguments and return two sides, the shorter first; a ring has the sides 1 and N."""
    check_shape(shape)
    if not math.isfinite(coupling):
        raise ValueError(f"coupling must be finite, not {coupling}.")
    if coupling < 0.0 and any(side > 1 and side % 2 for side in shape):
        raise ValueError(f"An antiferromagnet needs even sides, not {tuple(shape)}.")
    if min(shape) > MAX_WIDTH and len(shape) == 2:
        raise ValueError(f"A torus needs a side of at most {MAX_WIDTH} sites, not {tuple(shape)}.")
    return sorted((1, *shape))[-2:]


def _log_partition(width: int, length: int, num_bonds: int, k: float) -> tuple[float, float, float]:
    """Return ln Z − (number of bonds) K and its first two derivatives in K."""
    if num_bonds == 0:
        return 0.0, 0.0, 0.0
    bond = _bond_weights(k, width)
    rows = _row_weights(bond, width)
    logs, jets = [], []
    for states, multiplicity in _sectors(bond.value, width, length):
        for block, copies in _momentum_blocks(states, bond, rows):
            jet, log = _trace_of_power(block, length)
            jets.append(multiplicity * copies * np.real(jet))
            logs.append(log)
    largest = max(logs)
    z, first, half_second = map(float, np.exp(np.array(logs) - largest) @ np.array(jets))
    return math.log(z) + largest, first / z, 2.0 * half_second / z - (first / z) ** 2


def _bond_weights(k: float, width: int) -> _Jet:
    """Return e^{−K} I_n(K) for |n| ≤ n_max; beyond it a loop of two bonds is below `TOLERANCE`."""
    n_max = 1
    while ive(n_max + 1, k) > math.sqrt(TOLERANCE) * ive(0, k):
        n_max += 1
        if (2 * n_max + 1) ** width > MAX_CURRENTS:
            raise ValueError("temperature is too low for the character expansion: use a higher one.")
    n = np.arange(-n_max - 2, n_max + 3)
    a = ive(np.abs(n), k)
    first = 0.5 * (a[1:-3] - 2.0 * a[2:-2] + a[3:-1])
    half_second = 0.125 * (a[:-4] - 4.0 * a[1:-3] + 6.0 * a[2:-2] - 4.0 * a[3:-1] + a[4:])
    return _Jet(a[2:-2], first, half_second)


def _row_weights(bond: _Jet, width: int) -> _Jet:
    """Return Σ_h Π_x I_{h + d_x} for all differences d_1 … d_{width−1} with |d_x| ≤ 2n_max + 1."""
    if width == 1:
        return _Jet(np.ones(()), np.zeros(()), np.zeros(()))
    n_max = len(bond.value) // 2
    h = np.arange(-n_max, n_max + 1)
    d = np.arange(-2 * n_max - 1, 2 * n_max + 2)
    current = np.abs(h[:, None] + d)
    inside = current <= n_max
    at = np.minimum(current, n_max) + n_max
    shifted = _Jet(*(np.where(inside, x[at], 0.0) for x in bond))
    product = _Jet(*(x[:, None] for x in bond))
    for _ in range(width - 2):
        left = _Jet(*(x[:, :, None] for x in product))
        right = _Jet(*(x[:, None] for x in shifted))
        product = _Jet(*(x.reshape(len(h), -1) for x in _product(left, right, np.multiply)))
    return _product(_Jet(*(x.T for x in product)), shifted, np.matmul)


def _sectors(
    bond: NDArray[np.float64], width: int, length: int
) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Yield the states ``(states, width)`` of Q = 0, 1, … and their multiplicity, 2 because of −Q.

    Let w = Π_x I_{v_x}/I_0 be the weight of a state and w_Q the largest weight in its sector. The state
    is included if w_Q^M (w/w_Q)² > `TOLERANCE`, because its currents must also turn before and after.
    """
    n_max = len(bond) // 2
    states = np.indices((2 * n_max + 1,) * width).reshape(width, -1).T
    weights = np.prod(bond[states] / bond[n_max], axis=1)
    states = states - n_max
    total = states.sum(axis=1)
    for charge in range(width * n_max + 1):
        here = total == charge
        greatest = weights[here].max()
        if greatest**length <= TOLERANCE:
            return
        likely = states[here][(weights[here] / greatest) ** 2 * greatest**length > TOLERANCE]
        if len(likely) > MAX_STATES:
            raise ValueError("temperature is too low for the character expansion: use a higher one.")
        yield likely, 1 if charge == 0 else 2


def _momentum_blocks(states: NDArray[np.intp], bond: _Jet, rows: _Jet) -> Iterator[tuple[_Jet, int]]:
    """Yield T among the states of momentum p along the row, and the multiplicity, 2 if −p differs.

    Let r be one state of each orbit under the translations τ, and s_r the number of τ that leave r
    unchanged. For the r with p a multiple of s_r

        T_p(r, r') = Σ_x e^{2πipx/L} T(r, τ^x r')/s_r'.
    """
    width = states.shape[1]
    base = 2 * np.abs(states).max() + 1
    images = [np.roll(states, x, axis=1) for x in range(width)]
    codes = np.array([image @ base ** np.arange(width) for image in images])
    first = codes[0] == codes.min(axis=0)
    stabilizer = (codes == codes[0]).sum(axis=0)
    for momentum in range(width // 2 + 1):
        representative = first & (momentum % stabilizer == 0)
        if representative.any():
            chosen = states[representative]
            phases = np.exp(2j * math.pi * momentum * np.arange(width) / width)
            real = 2 * momentum % width == 0
            terms = [
                _Jet(*((phase.real if real else phase) / stabilizer[representative] * x for x in matrix))
                for phase, image in zip(phases, images, strict=True)
                for matrix in [_transfer_matrix(chosen, image[representative], bond, rows)]
            ]
            yield _Jet(*(sum(parts) for parts in zip(*terms, strict=True))), 1 if real else 2


def _transfer_matrix(states: NDArray[np.intp], images: NDArray[np.intp], bond: _Jet, rows: _Jet) -> _Jet:
    n_max = len(bond.value) // 2
    vertical = reduce(
        partial(_product, operation=np.multiply),
        (_Jet(*(x[column + n_max] for x in bond)) for column in states.T),
    )
    index = np.zeros((len(states), len(images)), np.intp)
    for below, above in zip(states.cumsum(axis=1).T[:-1], images.cumsum(axis=1).T[:-1], strict=True):
        difference = np.clip(below[:, None] - above, -2 * n_max - 1, 2 * n_max + 1)
        index = index * (4 * n_max + 3) + difference + 2 * n_max + 1
    horizontal = _Jet(*(x.ravel()[index] for x in rows))
    return _product(_Jet(*(x[:, None] for x in vertical)), horizontal, np.multiply)


def _trace_of_power(matrix: _Jet, exponent: int) -> tuple[_Jet, float]:
    """Return Tr A^p for p ≥ 2, without a factor, and the logarithm of that factor."""
    lower, log_lower = _power(matrix, exponent // 2)
    upper, log_upper = _power(matrix, exponent - exponent // 2) if exponent % 2 else (lower, log_lower)
    return _product(lower, upper, partial(np.einsum, "ij,ji->")), log_lower + log_upper


def _power(matrix: _Jet, exponent: int) -> tuple[_Jet, float]:
    """Return A^p by squaring, without a factor to avoid underflow, and the logarithm of that factor."""
    power, log = matrix, 0.0
    if exponent > 1:
        half, log = _power(matrix, exponent // 2)
        power, log = _product(half, half, np.matmul), 2.0 * log
        if exponent % 2:
            power = _product(power, matrix, np.matmul)
    scale = np.abs(power.value).max()
    return _Jet(*(x / scale for x in power)), log + math.log(scale)


def _product(a: _Jet, b: _Jet, operation: Callable[..., Any]) -> _Jet:
    """Apply a bilinear operation by the Leibniz rule."""
    return _Jet(
        operation(a.value, b.value),
        operation(a.value, b.first) + operation(a.first, b.value),
        operation(a.value, b.half_second)
        + operation(a.first, b.first)
        + operation(a.half_second, b.value),
    )
