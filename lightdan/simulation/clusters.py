"""Cluster moves of any explicit Hamiltonian: reflections of connected sites."""

import math
from typing import Any

import numba
import numpy as np

from lightdan.simulation.local import (
    ANGLE,
    LEVEL,
    REAL,
    SPIN,
    entry_value,
    inlined,
    kernel,
    pair_value,
    potential_at,
    power,
)


@numba.njit(cache=True, nogil=True)
def flip_cluster(state: Any, interactions: Any, beta: float, rng: Any) -> None:
    """Grow a cluster from a random site and reflect it.

    A reflection R changes the sign of spins and fields, mirrors angles at a random axis, and swaps two
    levels or reverses their order. Let e be −H of a pair. Its part that does not change if both sites
    are reflected, [e(a, b) + e(Ra, Rb)]/2, binds a site to the cluster with probability

        1 − e^{−β max(0, Δ)},  Δ = [e(a, b) + e(Ra, Rb) − e(Ra, b) − e(a, Rb)]/2.

    The cluster is reflected with the Metropolis probability of all that remains.

    Args:
        state: State of the chain `(N,)`.
        interactions: Hamiltonian.
        beta: Inverse temperature β.
        rng: Random generator.

    References:
        U. Wolff, Phys. Rev. Lett. 62, 361 (1989);
        F. Niedermayer, Phys. Rev. Lett. 61, 2026 (1988).
    """
    num_sites = state.size
    image = state.copy()
    members = np.zeros(num_sites, np.bool_)
    queue = np.empty(num_sites, np.intp)
    _flip(state, image, members, queue, interactions, beta, rng)


@kernel
def _flip(
    state: Any, image: Any, members: Any, queue: Any, interactions: Any, beta: float, rng: Any
) -> None:
    kind, num_sites = interactions.kind, state.size
    first, second, axis = 0, 0, complex(1.0)
    if kind == LEVEL:
        first = int(interactions.size * rng.random())
        second = int(interactions.size * rng.random())
        if first == second:
            first, second = -1, interactions.size - 1
    elif kind == ANGLE:
        angle = 2.0 * math.pi * rng.random()
        axis = complex(math.cos(angle), math.sin(angle))
    queue[0] = int(num_sites * rng.random())
    members[queue[0]] = True
    head, size = 0, 1
    while head < size:
        site = queue[head]
        head += 1
        old = state[site]
        new = _image(kind, old, first, second, axis)
        image[site] = new
        for k in range(interactions.pair_starts[site], interactions.pair_bonds[site]):
            other = interactions.pair_others[k]
            if members[other]:
                continue
            if kind == SPIN:
                gain = 2.0 * beta * interactions.pair_couplings[k].real * old.real * state[other].real
            else:
                gain = beta * _bond(k, old, new, state[other], interactions, first, second, axis)
            if gain > 0.0 and rng.random() < -math.expm1(-gain):
                members[other] = True
                queue[size] = other
                size += 1
    rest = 0.0
    for place in range(size):
        rest += _rest(queue[place], state, image, members, interactions, first, second, axis)
    if rest >= 0.0 or rng.random() < math.exp(beta * rest):
        for place in range(size):
            state[queue[place]] = image[queue[place]]


@inlined
def _image(kind: int, value: complex, first: int, second: int, axis: complex) -> complex:
    """Return the reflected value of a site; `first` is −1 if the order of the levels is reversed."""
    if kind == ANGLE:
        return axis * value.conjugate()
    if kind != LEVEL:
        return -value
    level = int(value.real)
    if first < 0:
        return complex(second - level)
    return complex(second if level == first else first if level == second else level)


@inlined
def _bond(
    k: int,
    old: complex,
    new: complex,
    other: complex,
    interactions: Any,
    first: int,
    second: int,
    axis: complex,
) -> float:
    """Return Δ of pair k of sites that are no spins."""
    if interactions.kind == REAL:
        odd = interactions.pair_factors[k, 0] % 2 == 1 and interactions.pair_factors[k, 1] % 2 == 1
        return 2.0 * pair_value(k, old, other, interactions) if odd else 0.0
    n = interactions.pair_factors[k, 0]
    if interactions.kind == ANGLE and n == -interactions.pair_factors[k, 1]:
        turned = (power(old, n) - power(new, n)) * power(other, -n)
        return interactions.pair_couplings[k].real * turned.real
    across = _image(interactions.kind, other, first, second, axis)
    same = pair_value(k, old, other, interactions) + pair_value(k, new, across, interactions)
    mixed = pair_value(k, new, other, interactions) + pair_value(k, old, across, interactions)
    return (same - mixed) / 2.0


@inlined
def _binds(k: int, interactions: Any) -> bool:
    """Return whether pair k is known to have no other part than the one that binds."""
    first, second = interactions.pair_factors[k, 0], interactions.pair_factors[k, 1]
    if interactions.kind == ANGLE:
        return first == -second and interactions.pair_couplings[k].imag == 0.0
    return interactions.kind == REAL and first % 2 == 1 and second % 2 == 1


@inlined
def _rest(
    site: int,
    state: Any,
    image: Any,
    members: Any,
    interactions: Any,
    first: int,
    second: int,
    axis: complex,
) -> float:
    """Return the change of −H by a site of the cluster, without the parts of pairs that bind."""
    old, new = state[site], image[site]
    change = 0.0
    strong = interactions.pair_bonds[site]
    start = strong if interactions.kind == SPIN else interactions.pair_starts[site]
    for k in range(start, interactions.pair_starts[site + 1]):
        other = interactions.pair_others[k]
        if interactions.kind == SPIN:
            if not members[other]:
                change -= 2.0 * interactions.pair_couplings[k].real * old.real * state[other].real
            continue
        if k < strong and _binds(k, interactions):
            continue
        if members[other]:
            after = pair_value(k, new, image[other], interactions)
            change += (after - pair_value(k, old, state[other], interactions)) / 2.0
            continue
        change += pair_value(k, new, state[other], interactions)
        change -= pair_value(k, old, state[other], interactions)
        if k < strong:
            change += _bond(k, old, new, state[other], interactions, first, second, axis)
    for k in range(interactions.starts[site], interactions.starts[site + 1]):
        common = 1
        for place in range(interactions.ends[k], interactions.ends[k + 1]):
            common += members[interactions.others[place]]
        after = entry_value(k, new, image, interactions)
        change += (after - entry_value(k, old, state, interactions)) / common
    if interactions.kind == REAL:
        change -= potential_at(new.real, interactions) - potential_at(old.real, interactions)
    return change
