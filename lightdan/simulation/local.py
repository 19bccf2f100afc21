"""Energies and local fields of explicit Hamiltonians, in compiled code.

Every kernel takes the `Interactions` of `terms.gather` and a state `(N,)` of complex numbers: e^{iθ} of
angles, and any other value as it is.
"""

from typing import Any, cast

import numba

SPIN, LEVEL, ANGLE, REAL = range(4)
"""Kinds of sites."""
_options = {"cache": True, "nogil": True, "_nrt": False}
kernel = cast(Any, numba.njit)(**_options)
"""Compile a function that allocates nothing.

Counting the references to its arrays would cost more than its arithmetic.
"""
inlined = cast(Any, numba.njit)(**_options, forceinline=True)
"""Compile a kernel into its callers, because passing all interactions costs as much as a site."""


@inlined
def power(value: complex, exponent: int) -> complex:
    """Return value^exponent; a negative exponent stands for the conjugate of a phasor's power."""
    result = value
    for _ in range(abs(exponent) - 1):
        result *= value
    return result.conjugate() if exponent < 0 else result


@inlined
def factor(value: complex, index: int, interactions: Any) -> complex:
    """Return g of the value of a site."""
    if interactions.kind == SPIN:
        return value
    if interactions.kind == LEVEL:
        return complex(interactions.table[index, int(value.real)])
    return power(value, index)


@kernel
def potential_at(x: float, interactions: Any) -> float:
    """Return U(x), linear beyond the ends."""
    breaks, coefficients = interactions.breaks, interactions.coefficients
    if len(breaks) == 0:
        return 0.0
    last = len(breaks) - 2
    low, high = 0, last
    while low < high:
        middle = (low + high + 1) // 2
        if x >= breaks[middle]:
            low = middle
        else:
            high = middle - 1
    inside = min(max(x, breaks[0]), breaks[last + 1]) - breaks[low]
    a, b, c = coefficients[0, low], coefficients[1, low], coefficients[2, low]
    value = ((a * inside + b) * inside + c) * inside + coefficients[3, low]
    return value + (x - breaks[low] - inside) * ((3 * a * inside + 2 * b) * inside + c)


@inlined
def pair_value(k: int, own: complex, other: complex, interactions: Any) -> float:
    """Return −H of pair k."""
    if interactions.kind == LEVEL:
        matrix = interactions.pair_factors[k, 0]
        return interactions.matrices[matrix, int(own.real), int(other.real)]
    product = interactions.pair_couplings[k] * factor(own, interactions.pair_factors[k, 0], interactions)
    return (product * factor(other, interactions.pair_factors[k, 1], interactions)).real


@inlined
def entry_value(k: int, own: complex, state: Any, interactions: Any) -> float:
    """Return −H of entry k, with the value `own` at its site."""
    product = interactions.couplings[k] * factor(own, interactions.factors[k], interactions)
    for place in range(interactions.ends[k], interactions.ends[k + 1]):
        other = state[interactions.others[place]]
        product *= factor(other, interactions.other_factors[place], interactions)
    return product.real


@kernel
def energy(state: Any, interactions: Any) -> float:
    """Return H; a term of n sites is listed at n sites."""
    total = 0.0
    for site in range(state.size):
        for k in range(interactions.pair_starts[site], interactions.pair_starts[site + 1]):
            other = interactions.pair_others[k]
            if other > site:
                total -= pair_value(k, state[site], state[other], interactions)
        for k in range(interactions.starts[site], interactions.starts[site + 1]):
            order = 1 + interactions.ends[k + 1] - interactions.ends[k]
            total -= entry_value(k, state[site], state, interactions) / order
        total += potential_at(state[site].real, interactions)
    return total


@inlined
def fields(state: Any, interactions: Any, site: int, found: Any) -> None:
    """Find the local fields A of a site from its neighbours.

    The energy of the site is −A_0 s for a spin, −A_s for a level, −Re Σ_n A_n e^{inθ} for an angle,
    and U(φ) − Σ_n A_n φ^n for a field.
    """
    found[:] = 0.0
    kind = interactions.kind
    first, last = interactions.pair_starts[site], interactions.pair_starts[site + 1]
    if kind == SPIN:
        total = 0.0
        for k in range(first, last):
            total += interactions.pair_couplings[k].real * state[interactions.pair_others[k]].real
        found[0] = total
        last = first
    for k in range(first, last):
        other = state[interactions.pair_others[k]]
        if kind == LEVEL:
            matrix, level = interactions.pair_factors[k, 0], int(other.real)
            for a in range(len(found)):
                found[a] += interactions.matrices[matrix, a, level]
        else:
            own = interactions.pair_factors[k, 0]
            found[own] += interactions.pair_couplings[k] * power(other, interactions.pair_factors[k, 1])
    for k in range(interactions.starts[site], interactions.starts[site + 1]):
        product = interactions.couplings[k]
        for place in range(interactions.ends[k], interactions.ends[k + 1]):
            other = state[interactions.others[place]]
            product *= factor(other, interactions.other_factors[place], interactions)
        own = interactions.factors[k]
        if kind == SPIN:
            found[0] += product
        elif kind == LEVEL:
            for a in range(len(found)):
                found[a] += product * interactions.table[own, a]
        else:
            found[own] += product


@kernel
def energies_of_states(states: Any, interactions: Any, values: Any) -> None:
    """Write H of each state `(B, N)` to `values` `(B,)`."""
    for index in range(len(states)):
        values[index] = energy(states[index], interactions)
