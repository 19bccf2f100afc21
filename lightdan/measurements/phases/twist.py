"""Operators of angles and their derivatives by a twist of the boundary."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightdan.interactions.factors import Harmonic
from lightdan.interactions.operators import Operator
from lightdan.lattices.geometry import coordinates


class TwistedOperators:
    """Operators of angles, and their derivatives by a twist φ per site along each axis.

    A twist turns θ_x by φ x_μ. A term Re[w e^{iψ}] with ψ = Σ_k n_k θ_{x_k} becomes Re[w e^{i(ψ + φD)}],

        D = Σ_k n_k x_{k,μ},

    along the shortest path from site to site around the torus. Σ_k n_k = 0 makes D independent of the
    origin. Half the way around, both paths are equally long, and their first derivatives cancel.

    Args:
        operators: Operators of angles.
        shape: Numbers of sites along the axes of a hypercubic torus.
    """

    def __init__(self, operators: Sequence[Operator], shape: Sequence[int]) -> None:
        self.axes = len(shape)
        places, sides = coordinates(shape), np.array(shape)
        self.parts = []
        for index, operator in enumerate(operators):
            steps = np.diff(places[operator.sites], axis=1)
            steps = (steps + (sides - 1) // 2) % sides - (sides - 1) // 2
            path = np.concatenate([np.zeros_like(steps[:, :1]), np.cumsum(steps, axis=1)], axis=1)
            half = (2 * np.abs(steps) == sides).any(axis=1)
            for factors, weight in operator.products:
                orders = [f.order if isinstance(f, Harmonic) else 0 for f in factors]
                winding = np.einsum("k,tka->ta", orders, path).astype(np.float64)
                columns = np.column_stack([np.ones(len(path)), -(winding**2)]), -winding * ~half
                self.parts.append((index, operator.sites, orders, weight, *columns))
        self.num = len(operators)

    @staticmethod
    def applies(operators: Sequence[Operator]) -> bool:
        """Return whether a twist is a symmetry of each term."""
        return all(
            all(isinstance(factor, Harmonic) for factor in factors)
            and sum(factor.order for factor in factors if isinstance(factor, Harmonic)) == 0
            for operator in operators
            for factors, _ in operator.products
        )

    def __call__(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return O, ∂O/∂φ and ∂²O/∂φ² of angles `(B, N)`.

        Returns:
            O in the first row, then the first derivatives along all axes, then the second ones,
            `(1 + 2 axes, operators, B)`.
        """
        phasors = np.exp(1j * angles)
        result = np.zeros((1 + 2 * self.axes, self.num, len(angles)))
        for index, sites, orders, weight, even, odd in self.parts:
            terms = np.full((len(angles), len(sites)), weight, complex)
            for place, order in enumerate(orders):
                column = phasors[:, sites[:, place]]
                terms *= (column if order > 0 else column.conj()) ** abs(order)
            result[0, index] += terms.real @ even[:, 0]
            result[1 : 1 + self.axes, index] += (terms.imag @ odd).T
            result[1 + self.axes :, index] += (terms.real @ even[:, 1:]).T
        return result
