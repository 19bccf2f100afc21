"""Operators, of which Hamiltonians are made: fields, pairs by displacement, plaquettes, single terms."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightdan.lattices.geometry import Displacement, coordinates, pairs_by_displacement, plaquettes

Term = tuple[int, ...]
"""Ascending sites of a product of spins."""


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator with its coupling J.

        O(s) = Σ_t Π_{i∈t} s_i

    Args:
        name: Name of its estimates, like ``pair_1_1``.
        sites: Raster indices of the terms t, `(terms, order)`; the sites of a term are distinct.
        coupling: J, in units of the temperature.
        error: Standard error of J.
        displacement: Canonical displacement that all pairs share; None for any other operator.
    """

    name: str
    sites: NDArray[np.intp]
    coupling: float = 0.0
    error: float = math.nan
    displacement: Displacement | None = None

    @property
    def order(self) -> int:
        """Number of spins in a term: 1 for a field, 2 for pairs."""
        return self.sites.shape[1]

    @property
    def distance(self) -> float:
        """Distance |r| of the pairs in lattice constants; NaN without a displacement."""
        return math.nan if self.displacement is None else math.hypot(*self.displacement)

    def value(self, configurations: NDArray[Any]) -> NDArray[np.float64]:
        """Return O of configurations: `(M, *lattice)` → `(M,)`."""
        flat = configurations.reshape(len(configurations), -1)
        total: NDArray[np.float64] = flat[:, self.sites].prod(axis=2, dtype=np.float64).sum(axis=1)
        return total


def uniform_operators(
    shape: Sequence[int], boundary: str, symmetries: Sequence[str], max_distance: float
) -> list[Operator]:
    """Return the operators of a uniform lattice: field, pairs by displacement, and plaquettes.

    Args:
        shape: Numbers of sites along the axes.
        boundary: Boundary of the lattice: ``periodic``, ``open`` or ``window``.
        symmetries: Names of the symmetries; those on the lattice merge classes of displacements.
        max_distance: Largest distance of a pair, in lattice constants.
    """
    operators = [Operator("field", np.arange(math.prod(shape)).reshape(-1, 1))]
    pairs = pairs_by_displacement(shape, boundary, symmetries, max_distance)
    for displacement, sites in pairs.items():
        operators.append(Operator(_pair_name(displacement), sites, displacement=displacement))
    if len(corners := plaquettes(shape, boundary)):
        operators.append(Operator("plaquette", corners))
    return operators


def nearest_neighbours(operators: Sequence[Operator]) -> Operator:
    """Return one operator with all pairs at distance 1."""
    bonds = [operator.sites for operator in operators if operator.distance == 1]
    return Operator("nearest_neighbours", np.concatenate(bonds))


def operators_of_terms(terms: Iterable[Term]) -> list[Operator]:
    """Return one operator per term, named like ``field_3``, ``bond_3_4`` or ``product_3_4_19_20``."""
    kinds = {1: "field", 2: "bond"}
    return [
        Operator("_".join([kinds.get(len(term), "product"), *map(str, term)]), np.array([term]))
        for term in terms
    ]


def sites_with_neighbours(
    shape: Sequence[int], boundary: str, operators: Sequence[Operator]
) -> NDArray[np.intp]:
    """Return the sites whose conditionals the operators describe.

    In a window of a larger lattice, a site near the edge interacts with sites that are not seen. Their
    mean effect is not a coupling of the lattice, so these sites are left out.

    Args:
        shape: Numbers of sites along the axes.
        boundary: Boundary of the lattice: ``periodic``, ``open`` or ``window``.
        operators: Translation-invariant operators.

    Raises:
        ValueError: No site has all its neighbours in the window.
    """
    places = coordinates(shape)
    if boundary != "window":
        return np.arange(len(places))
    reach = max(int(np.ptp(places[o.sites], axis=1).max()) for o in operators)
    inside = ((places >= reach) & (places < np.array(shape) - reach)).all(axis=1)
    if not inside.any():
        raise ValueError(
            f"A window of {' × '.join(map(str, shape))} sites has no site that is {reach} away from its "
            "edge: reduce max_distance or use larger patches."
        )
    return np.flatnonzero(inside)


def _pair_name(displacement: Displacement) -> str:
    """Return a name made of letters, digits and underscores, with m for a minus sign."""
    if displacement in ((1,), (1, 0)):
        return "nearest_neighbour"
    return "pair_" + "_".join(str(step).replace("-", "m") for step in displacement)
