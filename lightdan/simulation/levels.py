"""Hamiltonians of discrete levels: Ising, Potts, clock and Blume–Capel models."""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray


class Levels(NamedTuple):
    """Hamiltonian of sites with q levels a = 0, …, q − 1.

        H = −J Σ_<ij> g(a_i, a_j) + Σ_i u(a_i)

    Args:
        product: Symmetric function g of two levels `(q, q)`.
        coupling: Coupling J.
        single: Energy u of each level `(q,)`.
        reflections: Exchanges of levels that leave H unchanged, each its own inverse `(R, q)`.
    """

    product: NDArray[np.float64]
    coupling: float
    single: NDArray[np.float64]
    reflections: NDArray[np.intp]


def ising(coupling: float = 1.0, field: float = 0.0) -> Levels:
    """Return H = −J Σ s_i s_j − h Σ s_i with the levels s = −1, 1."""
    s = np.array([-1.0, 1.0])
    return Levels(np.outer(s, s), coupling, -field * s, _reversal(2)[: 0 if field else 1])


def potts(num_levels: int, coupling: float = 1.0) -> Levels:
    """Return H = −J Σ δ(a_i, a_j)."""
    exchanges = []
    for a in range(num_levels):
        for b in range(a):
            exchange = np.arange(num_levels)
            exchange[[a, b]] = b, a
            exchanges.append(exchange)
    return Levels(np.eye(num_levels), coupling, np.zeros(num_levels), np.array(exchanges))


def clock(num_levels: int, coupling: float = 1.0) -> Levels:
    """Return H = −J Σ cos(2π(a_i − a_j)/q)."""
    a = np.arange(num_levels)
    # Modulo q before the cosine, so that equal energies are equal numbers.
    product = np.cos(2 * np.pi * ((a[:, None] - a) % num_levels) / num_levels)
    product = (product + product.T) / 2
    return Levels(product, coupling, np.zeros(num_levels), (a[:, None] - a) % num_levels)


def blume_capel(coupling: float = 1.0, crystal_field: float = 0.0) -> Levels:
    """Return H = −J Σ s_i s_j + D Σ s_i² with the levels s = −1, 0, 1."""
    s = np.array([-1.0, 0.0, 1.0])
    return Levels(np.outer(s, s), coupling, crystal_field * s**2, _reversal(3))


def _reversal(num_levels: int) -> NDArray[np.intp]:
    return np.arange(num_levels)[None, ::-1].copy()


def energy(
    configurations: NDArray[np.integer], levels: Levels, bonds: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return H of each configuration; ``(M, N)`` -> ``(M,)``.

    Args:
        configurations: Levels 0, …, q − 1 of the sites `(M, N)`.
        levels: Hamiltonian.
        bonds: Sites of each bond `(bonds, 2)`.
    """
    return _energies(configurations, levels.single, -levels.coupling * levels.product, bonds)


@numba.njit(cache=True, nogil=True)
def _energies(rows: Any, single: Any, pair: Any, bonds: Any) -> Any:
    energies = np.zeros(len(rows))
    for index in range(len(rows)):
        for site in range(rows.shape[1]):
            energies[index] += single[rows[index, site]]
        for k in range(len(bonds)):
            energies[index] += pair[rows[index, bonds[k, 0]], rows[index, bonds[k, 1]]]
    return energies
