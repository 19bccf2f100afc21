"""Uniform operators of a lattice by name, for each kind of site."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightdan.interactions.factors import Bump, Factor, Harmonic, Power, Table
from lightdan.interactions.operators import Operator, Product
from lightdan.lattices.bravais import LatticeLike, as_lattice
from lightdan.lattices.geometry import oriented_pairs, pairs_by_displacement, plaquettes, triples
from lightdan.lattices.lattice import Displacement, Lattice

BUMPS = 16
"""Number of splines of a potential."""
NEAREST = 1.0
"""Distance of nearest neighbours."""
FAR = 1.0
"""Distance of fields from 0, in units of their range, beyond which their powers have a centre."""
HIGHEST_HARMONIC = 3
"""Highest harmonic of the fields that act on angles."""


@dataclass(frozen=True)
class UniformLattice:
    """A uniform lattice and its sites, for which the catalogue makes operators.

    Args:
        lattice: Lattice, or the shape of a rectangular torus.
        symmetries: Names of the symmetries; those on the lattice merge classes of displacements.
        max_distance: Largest distance of a pair, in units of that between nearest neighbours.
        site_kind: Kind of site: ``spin``, ``level``, ``angle`` or ``real``.
        levels: Values of a discrete site.
        low: Smallest value of a field.
        high: Largest value of a field.
        level_values: Physical value of each level, if it is not the level itself.
    """

    lattice: LatticeLike
    symmetries: Sequence[str]
    max_distance: float
    site_kind: str = "spin"
    levels: tuple[int, ...] = (-1, 1)
    low: float = -1.0
    high: float = 1.0
    level_values: tuple[float, ...] = ()

    @cached_property
    def geometry(self) -> Lattice:
        """The lattice, also if its shape was given."""
        return as_lattice(self.lattice)

    def operators(self, names: Iterable[str] | None = None) -> list[Operator]:
        """Return operators by the names of entries of the catalogue or by their own.

        Args:
            names: Entries, or names of single operators; by default the entries of `DEFAULTS`.

        Raises:
            ValueError: A name does not fit the kind of site, or the lattice has none of the operators.
        """
        names = DEFAULTS[self.site_kind] if names is None else list(names)
        operators = list({o.name: o for name in names for o in self._named(name)}.values())
        if not operators:
            sides = " × ".join(map(str, self.geometry.shape))
            raise ValueError(
                f"A lattice of {sides} sites has no {', '.join(names)}: name other operators."
            )
        return operators

    def _named(self, name: str) -> list[Operator]:
        """Return the operators of an entry, or the one with that name."""
        entries = CATALOGUE[self.site_kind]
        if name in entries:
            return entries[name](self)
        known = {operator.name: operator for entry in entries.values() for operator in entry(self)}
        if name not in known:
            raise ValueError(
                f"operators names {name!r}, which does not fit sites of kind {self.site_kind!r}: use "
                f"some of {', '.join(entries)}, or up to max_distance {', '.join([*known][:4])}, …"
            )
        return [known[name]]

    @property
    def centre(self) -> float:
        """Centre c of the powers (φ − c)^p of fields: 0 unless all fields are far from it.

        Powers of such fields about 0 are nearly dependent.
        """
        middle, range_ = (self.low + self.high) / 2, self.high - self.low
        return middle if self.site_kind == "real" and abs(middle) > FAR * range_ else 0.0

    # Single sites

    def _single(self, name: str, factor: Factor, weight: complex = 1.0) -> Operator:
        sites = np.arange(self.geometry.num_sites).reshape(-1, 1)
        return Operator(name, sites, products=(Product((factor,), weight),))

    def field(self) -> list[Operator]:
        """Return Σ_i s_i."""
        return [self._single("field", Power())]

    def powers(self, exponents: Sequence[int] = (1, 2, 3, 4)) -> list[Operator]:
        """Return Σ_i s_i^p, only even p with the symmetry s → −s."""
        even = "z2" in self.symmetries
        exponents = [p for p in exponents if p % 2 == 0 or not even]
        return [self._single(f"power_{p}", self._power(p)) for p in exponents]

    def potential(self) -> list[Operator]:
        """Return Σ_i B_m(φ_i) for cubic B-splines B_m, all but one, because their sum is constant."""
        width = (self.high - self.low) / (BUMPS - 3)
        starts = self.low + width * np.arange(-3, BUMPS - 3)
        bumps = [Bump(float(start), width, self.low, self.high) for start in starts]
        return [self._single(f"bump_{m}", bump) for m, bump in enumerate(bumps) if m != BUMPS // 2]

    def angle_fields(self) -> list[Operator]:
        """Return Σ_i cos nθ_i and Σ_i sin nθ_i."""
        return [
            self._single(f"{name}_{n}", Harmonic(n), weight)
            for n in range(1, HIGHEST_HARMONIC + 1)
            for name, weight in (("cosine", 1.0), ("sine", -1j))
        ]

    def level_fields(self) -> list[Operator]:
        """Return Σ_i u_k(s_i) for the contrasts u_k of the levels."""
        contrasts = contrasts_of(self.levels, self.level_values)
        return [self._single(f"field_{k}", u) for k, u in enumerate(contrasts, start=1)]

    # Pairs

    def _pairs(
        self, label: str, products: Sequence[Product] = (), max_distance: float = math.inf
    ) -> list[Operator]:
        pairs = pairs_by_displacement(
            self.geometry, self.symmetries, min(self.max_distance, max_distance)
        )
        return self._of_pairs(label, pairs, tuple(products))

    def _of_pairs(
        self, label: str, pairs: Mapping[Displacement, NDArray[np.intp]], products: tuple[Product, ...]
    ) -> list[Operator]:
        lattice = self.geometry
        ends = lattice.steps + tuple(map(lattice.opposite, lattice.steps))
        return [
            Operator(
                pair_name(step, label, step == max(ends)),
                sites,
                displacement=step,
                products=products,
                distance=lattice.length(step),
            )
            for step, sites in pairs.items()
        ]

    def _power(self, exponent: int) -> Factor:
        """Return s^p, tabulated for levels by their physical values."""
        if self.site_kind != "level":
            return Power(exponent, self.centre)
        values = self.level_values or self.levels
        return Table(self.levels, tuple(float(value) ** exponent for value in values))

    def pairs(self) -> list[Operator]:
        """Return Σ s_i s_j."""
        return self._pairs("", [Product((self._power(1),) * 2)])

    def square_pairs(self) -> list[Operator]:
        """Return Σ s_i² s_j²."""
        return self._pairs("square", [Product((self._power(2),) * 2)])

    def kinetic(self) -> list[Operator]:
        """Return −Σ (φ_i − φ_j)²/2."""
        one, first, second = Power(0), self._power(1), self._power(2)
        square = (Product((first, first)), Product((second, one), -0.5))
        return self._pairs("kinetic", [*square, Product((one, second), -0.5)])

    def potts(self) -> list[Operator]:
        """Return Σ δ(s_i, s_j)."""
        indicators = [
            Table(self.levels, tuple(float(level == other) for other in self.levels))
            for level in self.levels
        ]
        return self._pairs("potts", [Product((g, g)) for g in indicators])

    def matrices(self) -> list[Operator]:
        """Return Σ [u_k(s_i) u_l(s_j) + u_l(s_i) u_k(s_j)]/(1 + δ_kl) for the contrasts u, k ≤ l.

        The pair energy is then any symmetric matrix whose rows and columns add up to zero.
        """
        contrasts = contrasts_of(self.levels, self.level_values)
        operators = []
        for k, u in enumerate(contrasts, start=1):
            for m, v in enumerate(contrasts[k - 1 :], start=k):
                products = [Product((u, v))] if u == v else [Product((u, v)), Product((v, u))]
                operators += self._pairs(f"matrix_{k}_{m}", products)
        return operators

    def cosines(self, order: int = 1) -> list[Operator]:
        """Return Σ cos n(θ_i − θ_j), for n > 1 over nearest neighbours."""
        if order == 1:
            return self._pairs("", [Product((Harmonic(1), Harmonic(-1)))])
        return self._pairs(f"cosine_{order}", [Product((Harmonic(order), Harmonic(-order)))], NEAREST)

    def sines(self, order: int = 1) -> list[Operator]:
        """Return Σ sin n(θ_j − θ_i) over nearest neighbours, j in the positive direction from i.

        The directions share one coupling if rotations are symmetries of a square.
        """
        products = (Product((Harmonic(-order), Harmonic(order)), -1j),)
        label = "sine" if order == 1 else f"sine_{order}"
        pairs = oriented_pairs(self.geometry, NEAREST)
        shape = self.geometry.shape
        if "rotation" in self.symmetries and len(pairs) > 1 and len(set(shape)) == 1:
            pairs = {max(pairs): np.concatenate(list(pairs.values()))}
        return self._of_pairs(label, pairs, products)

    # More sites

    def plaquettes(self) -> list[Operator]:
        """Return Σ s_i s_j s_k s_l, or Σ cos(θ_i − θ_j − θ_k + θ_l), over the smallest squares."""
        corners = plaquettes(self.geometry)
        signs = (1, -1, -1, 1)
        factors: tuple[Factor, ...] = (self._power(1),) * 4
        if self.site_kind == "angle":
            factors = tuple(Harmonic(sign) for sign in signs)
        products = (Product(factors),)
        return [Operator("plaquette", corners, products=products)] if len(corners) else []

    def triples(self) -> list[Operator]:
        """Return Σ cos(θ_i − 2θ_j + θ_k), or Σ s_i s_j s_k, over three consecutive sites of a line."""
        sites = triples(self.geometry)
        factors: tuple[Factor, ...] = (self._power(1),) * 3
        if self.site_kind == "angle":
            factors = (Harmonic(1), Harmonic(-2), Harmonic(1))
        return [Operator("triple", sites, products=(Product(factors),))] if len(sites) else []


Entry = Callable[[UniformLattice], list[Operator]]
U = UniformLattice

CATALOGUE: dict[str, dict[str, Entry]] = {
    "spin": {"field": U.field, "pairs": U.pairs, "triples": U.triples, "plaquettes": U.plaquettes},
    "level": {
        "fields": U.level_fields,
        "powers": partial(U.powers, exponents=(1, 2)),
        "potts": U.potts,
        "pairs": U.pairs,
        "square_pairs": U.square_pairs,
        "matrices": U.matrices,
        "triples": U.triples,
        "plaquettes": U.plaquettes,
    },
    "angle": {
        "fields": U.angle_fields,
        "pairs": U.cosines,
        "sines": U.sines,
        "pairs_2": partial(U.cosines, order=2),
        "pairs_3": partial(U.cosines, order=3),
        "sines_2": partial(U.sines, order=2),
        "sines_3": partial(U.sines, order=3),
        "triples": U.triples,
        "plaquettes": U.plaquettes,
    },
    "real": {
        "powers": U.powers,
        "powers_6": partial(U.powers, exponents=(5, 6)),
        "potential": U.potential,
        "pairs": U.pairs,
        "square_pairs": U.square_pairs,
        "kinetic": U.kinetic,
        "triples": U.triples,
        "plaquettes": U.plaquettes,
    },
}
"""Operators by kind of site and name."""
DEFAULTS = {
    "spin": ("field", "pairs", "plaquettes"),
    "level": ("fields", "matrices"),
    "angle": ("pairs", "pairs_2", "sines"),
    "real": ("powers", "pairs"),
}
"""Operators of each kind of site that are fitted by default."""


def uniform_operators(
    lattice: LatticeLike, symmetries: Sequence[str], max_distance: float, **site: Any
) -> list[Operator]:
    """Return the default operators of a uniform lattice, for spins unless `site` says otherwise.

    Args:
        lattice: Lattice, or the shape of a rectangular torus.
        symmetries: Names of the symmetries; those on the lattice merge classes of displacements.
        max_distance: Largest distance of a pair, in units of that between nearest neighbours.
        site: Other arguments of `UniformLattice`.
    """
    return UniformLattice(lattice, symmetries, max_distance, **site).operators()


def contrasts_of(levels: Sequence[int], level_values: Sequence[float] = ()) -> list[Table]:
    """Return orthonormal polynomials u_1, …, u_{q−1} on the levels, each with Σ_a u_k(a) = 0.

    u_1 is a straight line, so a pair u_1 u_1 is the product of two ordered levels.

    Args:
        levels: Levels of a site.
        level_values: Physical value of each level, if it is not the level itself.
    """
    values = np.array(level_values or levels, dtype=np.float64)
    scaled = values / np.abs(values).max()
    vectors, triangle = np.linalg.qr(np.vander(scaled, increasing=True))
    vectors *= np.sign(triangle.diagonal())
    return [Table(tuple(levels), tuple(column.tolist())) for column in vectors.T[1:]]


def pair_name(displacement: Displacement, label: str, nearest: bool) -> str:
    """Return a name made of letters, digits and underscores, with m for a minus sign."""
    if nearest and not label:
        return "nearest_neighbour"
    return "_".join([label or "pair", *(str(step).replace("-", "m") for step in displacement)])
