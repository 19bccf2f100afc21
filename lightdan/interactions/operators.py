"""Operators, of which Hamiltonians are made: sums of products of functions of single sites."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightdan.interactions.factors import Factor, Power
from lightdan.lattices.bravais import LatticeLike, as_lattice
from lightdan.lattices.lattice import Displacement

VALUES = 2**22
"""Values of terms that are multiplied at a time."""

Term = tuple[int, ...]
"""Ascending sites of a product of spins."""


class Product(NamedTuple):
    """Product w Π_k g_k(s_k) of functions of the sites of a term.

    Args:
        factors: Function g_k of each site of the term.
        weight: Weight w; complex for angles, whose terms are the real part.
    """

    factors: tuple[Factor, ...]
    weight: complex = 1.0


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator with its coupling J.

        O(s) = Σ_t Σ_p Re[w_p Π_k g_pk(s_{t_k})]

    By default a term is the product of the values of its sites, Π_{i∈t} s_i.

    Args:
        name: Name of its estimates, like ``pair_1_1``.
        sites: Raster indices of the terms t, `(terms, order)`; the sites of a term are distinct.
        coupling: J, in units of the temperature.
        error: Standard error of J.
        displacement: Canonical displacement that all pairs share; None for any other operator.
        products: Products p that are added in each term.
        distance: Distance of the pairs, in units of that between nearest neighbours; by default that of
            the displacement on a rectangular lattice, NaN without one.
    """

    name: str
    sites: NDArray[np.intp]
    coupling: float = 0.0
    error: float = math.nan
    displacement: Displacement | None = None
    products: tuple[Product, ...] = ()
    distance: float = math.nan

    def __post_init__(self) -> None:
        if not self.products:
            object.__setattr__(self, "products", (Product((Power(),) * self.order),))
        if self.displacement is not None and math.isnan(self.distance):
            object.__setattr__(self, "distance", math.hypot(*self.displacement))

    @property
    def order(self) -> int:
        """Number of sites in a term: 1 for a field, 2 for pairs."""
        return self.sites.shape[1]

    @property
    def multiplies_values(self) -> bool:
        """Whether a term is the plain product of its values."""
        return self.products == (Product((Power(),) * self.order),)

    def value(self, configurations: NDArray[Any]) -> NDArray[np.float64]:
        """Return O of configurations: `(M, *lattice)` → `(M,)`."""
        flat = configurations.reshape(len(configurations), -1)
        size = max(1, VALUES // self.sites.size)
        parts = [self._value(flat[start : start + size]) for start in range(0, len(flat), size)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _value(self, flat: NDArray[Any]) -> NDArray[np.float64]:
        """Return O of configurations `(M, N)` at once."""
        if self.multiplies_values:
            plain: NDArray[np.float64] = flat[:, self.sites].prod(axis=2, dtype=np.float64).sum(axis=1)
            return plain
        values = torch.as_tensor(np.ascontiguousarray(flat))
        total = torch.zeros(len(values), dtype=torch.float64)
        for factors, weight in self.products:
            term: Tensor = torch.ones(())
            for place, factor in enumerate(factors):
                if factor != Power(0):
                    column = values[:, self.sites[:, place]]
                    term = term * factor(column if column.dtype == torch.float64 else column.double())
            total += (weight * term).real.sum(1) if term.ndim else weight.real * len(self.sites)
        return total.numpy()

    def spec(self) -> dict[str, Any]:
        """Return the entry of a file."""
        products = [
            {
                "weight": [complex(weight).real, complex(weight).imag],
                "factors": [factor.spec() for factor in factors],
            }
            for factors, weight in self.products
        ]
        # Files of rectangles have no distance, because the displacement gives it.
        off = self.displacement and abs(self.distance - math.hypot(*self.displacement)) > 1e-6
        return {
            "name": self.name,
            "displacement": self.displacement and list(self.displacement),
            **({"distance": self.distance} if off else {}),
            "coupling": float(self.coupling),
            "error": float(self.error) if math.isfinite(self.error) else None,
            "sites": self.sites.tolist(),
            "products": None if self.multiplies_values else products,
        }


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


def sites_with_neighbours(lattice: LatticeLike, operators: Sequence[Operator]) -> NDArray[np.intp]:
    """Return the sites whose conditionals the operators describe.

    In a window of a larger lattice, a site near the edge interacts with sites that are not seen. Their
    mean effect is not a coupling of the lattice, so these sites are left out.

    Args:
        lattice: Lattice, or the shape of a rectangular torus.
        operators: Translation-invariant operators.

    Raises:
        ValueError: No site has all its neighbours in the window.
    """
    lattice = as_lattice(lattice)
    if lattice.boundary != "window":
        return np.arange(lattice.num_sites)
    places = lattice.places
    reach = max(int(np.ptp(places[o.sites], axis=1).max()) for o in operators)
    inside = ((places >= reach) & (places < np.array(lattice.cells) - reach)).all(axis=1)
    if not inside.any():
        raise ValueError(
            f"A window of {' × '.join(map(str, lattice.shape))} sites has no site that is {reach} away "
            "from its edge: reduce max_distance or use larger patches."
        )
    return np.flatnonzero(inside)
