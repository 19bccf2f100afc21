"""Exact thermodynamics of the Ising model on a finite torus or ring without a field."""

import math
from collections.abc import Sequence
from typing import Any

import mpmath

from lightdan.lattices.shapes import check_shape
from lightdan.simulation.thermodynamics import Thermodynamics

# A separate context, independent of the precision that other users of mpmath set. 60 digits absorb the
# cancellations at high temperature and at T_c.
_mp: Any = mpmath.MPContext()
_mp.dps = 60


def thermodynamics(shape: Sequence[int], temperature: float, coupling: float = 1.0) -> Thermodynamics:
    """Compute the exact thermodynamics of the periodic Ising model H = −J Σ_<ij> s_i s_j, s = ±1.

    Energy and specific heat are derivatives of `log_partition` in 60-digit arithmetic.

    Args:
        shape: One or two side lengths. A side of length 2 has each of its bonds twice, a side of
            length 1 has none.
        temperature: Temperature T, in units of J (k_B = 1).
        coupling: Coupling J; negative is antiferromagnetic.

    Raises:
        ValueError: An argument is out of its range, or the lattice is frustrated (an
            antiferromagnetic torus with an odd side).

    Example:
        >>> round(thermodynamics((16, 16), 2.269185).energy / 256, 6)
        -1.453065
    """
    if not (math.isfinite(temperature) and temperature > 0.0):
        raise ValueError(f"temperature must be positive and finite, not {temperature}.")
    sides = _sides(shape, coupling)
    t = _mp.mpf(temperature)
    j = _mp.mpf(coupling)
    log_z, first, half_second = _mp.taylor(
        lambda k: _log_partition(math.prod(shape), sides, k), j / t, 2
    )
    return Thermodynamics(
        log_partition=float(log_z),
        free_energy=float(-t * log_z),
        energy=float(-j * first),
        specific_heat=float((j / t) ** 2 * 2 * half_second),
        entropy=float(log_z - j / t * first),
    )


def log_partition(shape: Sequence[int], beta: float) -> float:
    """Compute the exact ln Z of the Ising model with K = βJ on a torus or a ring.

    On an m×n torus let cosh γ_r = cosh 2K coth 2K − cos(rπ/m) and γ_0 = 2K + ln tanh K, which changes
    sign at T_c::

        Z = ½ (2 sinh 2K)^{mn/2} [Π 2cosh(nγ_r/2) + Π 2sinh(nγ_r/2)     r = 1, 3, …, 2m−1
                                + Π 2cosh(nγ_r/2) + Π 2sinh(nγ_r/2)]    r = 0, 2, …, 2m−2

    On a ring of n sites Z = (2 cosh K)^n + (2 sinh K)^n.

    Args:
        shape: One or two side lengths, as in `thermodynamics`.
        beta: Dimensionless coupling K = J/T; negative is antiferromagnetic.

    Raises:
        ValueError: An argument is out of its range, or the lattice is frustrated.

    References:
        B. Kaufman, Phys. Rev. 76, 1232 (1949);
        A. E. Ferdinand and M. E. Fisher, Phys. Rev. 185, 832 (1969).
    """
    sides = _sides(shape, beta)
    return float(_log_partition(math.prod(shape), sides, _mp.mpf(beta)))


def _sides(shape: Sequence[int], coupling: float) -> list[int]:
    """Validate the arguments and return the sides that have bonds, the shorter first."""
    check_shape(shape)
    if not math.isfinite(coupling):
        raise ValueError(f"coupling must be finite, not {coupling}.")
    sides = sorted(side for side in shape if side > 1)
    if coupling < 0.0 and len(sides) == 2 and any(side % 2 for side in sides):
        raise ValueError(f"An antiferromagnetic torus needs even sides, not {tuple(shape)}.")
    return sides


def _log_partition(num_sites: int, sides: list[int], k: Any) -> Any:
    """Return ln Z at the high-precision coupling ``k`` on the given sides."""
    if not sides or k == 0:
        return num_sites * _mp.ln(2)
    if len(sides) == 1:
        return _mp.ln((2 * _mp.cosh(k)) ** num_sites + (2 * _mp.sinh(k)) ** num_sites)
    m, n = sides
    k = abs(k)  # the sides are even, so flipping one sublattice changes the sign of the coupling
    common = _mp.cosh(2 * k) * _mp.coth(2 * k)
    gamma = [_mp.acosh(common - _mp.cospi(_mp.mpf(r) / m)) for r in range(1, 2 * m)]
    gamma.insert(0, 2 * k + _mp.ln(_mp.tanh(k)))
    total = _mp.fsum(
        _mp.fprod(2 * function(n * g / 2) for g in gamma[parity::2])
        for parity in (0, 1)
        for function in (_mp.cosh, _mp.sinh)
    )
    return num_sites * _mp.ln(2 * _mp.sinh(2 * k)) / 2 + _mp.ln(total / 2)
