"""Local fields: a Hamiltonian as a function of one site, given all others."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions.factors import Factor, Harmonic, Power, Table
from lightdan.interactions.operators import Operator
from lightdan.types import Configurations

ROWS = 2**21
"""Values of configurations that are processed at a time."""


class Feature(NamedTuple):
    """Real function of a single site: a factor, or one of the two parts of a phasor."""

    factor: Factor
    part: Literal["real", "imag"] = "real"

    def __call__(self, values: Tensor) -> Tensor:
        """Return the feature of site values `(...)`."""
        return self.of(self.factor(values))

    def of(self, factor: Tensor) -> Tensor:
        """Return the part of the factor's values."""
        if not factor.is_complex():
            return factor
        return factor.real if self.part == "real" else factor.imag


class SiteTerms(NamedTuple):
    """The terms of one operator that contain a given site as the same factor.

    Args:
        places: Features that the site has in them, with the row of x for each.
        weight: Weight of the product.
        others: Other sites of each term `(terms, order − 1)`.
        factors: Factors of the other sites.
    """

    places: tuple[tuple[int, int], ...]
    weight: complex
    others: Tensor
    factors: tuple[Factor, ...]


class SiteFields(NamedTuple):
    """Local fields of a site that multiply one feature.

    Args:
        feature: Index of the feature g_r.
        columns: Indices of the operators `(columns,)`.
        x: x_ira of these operators `(columns, M)`.
    """

    feature: int
    columns: Tensor
    x: Tensor


class Rows:
    """Configurations arranged by site, with the factors of their values.

    Args:
        values: Values `(N, M)`, contiguous for each site.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._factors: dict[Factor, Tensor] = {Power(1): values}

    def factor(self, factor: Factor) -> Tensor:
        """Return g of all values `(N, M)`."""
        if factor not in self._factors:
            if isinstance(factor, Harmonic) and factor.order < 0:
                self._factors[factor] = self.factor(conjugate(factor)).conj().resolve_conj()
            else:
                self._factors[factor] = factor(self.values)
        return self._factors[factor]


def conjugate(factor: Factor) -> Factor:
    """Return the complex conjugate of a factor."""
    return Harmonic(-factor.order) if isinstance(factor, Harmonic) else factor


class LocalFields:
    """Local fields x of operators.

        −βH = Σ_r g_r(s_i) Σ_a βJ_a x_ira + (terms without site i)

    The features g_r are the functions of single sites of which the operators are made: s for spins,
    cos nθ and sin nθ for angles, powers for fields, tables for levels. For each site only the operators
    that contain it are stored. A graph has one operator per bond, but each site has only a few bonds.

    Args:
        operators: Operators O_a.
        num_sites: Number of sites N.
        device: Device of the computation.
        sites: Sites whose conditionals are used; all by default.
        site_kind: Kind of site: ``spin``, ``level``, ``angle`` or ``real``.
        levels: Values of a discrete site.
    """

    def __init__(
        self,
        operators: Sequence[Operator],
        num_sites: int,
        device: torch.device | None = None,
        sites: Sequence[int] | None = None,
        site_kind: str = "spin",
        levels: tuple[int, ...] = (-1, 1),
    ) -> None:
        self.operators, self.num_sites, self.device = operators, num_sites, device
        self.sites = range(num_sites) if sites is None else sites
        self.site_kind, self.levels = site_kind, levels
        self.features: list[Feature] = []
        """Features g_r of a site."""
        self._columns: list[list[list[int]]] = [[] for _ in range(num_sites)]
        self._terms: list[list[SiteTerms]] = [[] for _ in range(num_sites)]
        for column, operator in enumerate(operators):
            for product in operator.products:
                for place in range(operator.order):
                    self._add(column, operator, product.factors, complex(product.weight), place)
        self.columns = [
            torch.tensor(sorted({a for part in parts for a in part}), device=device, dtype=torch.long)
            for parts in self._columns
        ]
        """Indices of the operators that contain each site."""
        self._column_tensors = [
            [torch.tensor(part, device=device, dtype=torch.long) for part in parts]
            for parts in self._columns
        ]

    def _add(
        self, column: int, operator: Operator, factors: Sequence[Factor], weight: complex, place: int
    ) -> None:
        """Add the terms of an operator in which a site stands at one place."""
        own = factors[place]
        if own == Power(0):
            return
        if isinstance(own, Harmonic) and own.order < 0:
            # Re z = Re z*.
            factors, weight = [conjugate(factor) for factor in factors], weight.conjugate()
            own = factors[place]
        features = [Feature(own)]
        if isinstance(own, Harmonic):
            features = [Feature(own, "real"), Feature(own, "imag")]
        for feature in features:
            if feature not in self.features:
                self.features.append(feature)
                for parts in self._columns:
                    parts.append([])
        used = [k for k, factor in enumerate(factors) if k != place and factor != Power(0)]
        others, other_factors = operator.sites[:, used], tuple(factors[k] for k in used)
        members = operator.sites[:, place]
        sort = members.argsort(kind="stable")
        present, starts = np.unique(members[sort], return_index=True)
        for site, rows in zip(present.tolist(), np.split(others[sort], starts[1:]), strict=True):
            places = []
            for feature in features:
                index = self.features.index(feature)
                columns = self._columns[site][index]
                if column not in columns:
                    columns.append(column)
                places.append((index, columns.index(column)))
            terms = SiteTerms(
                tuple(places), weight, torch.as_tensor(rows, device=self.device), other_factors
            )
            self._merge(self._terms[site], terms)

    @staticmethod
    def _merge(terms: list[SiteTerms], new: SiteTerms) -> None:
        """Join terms of two places if they are alike, like the two sites of a pair s_i s_j."""
        for index, old in enumerate(terms):
            if old._replace(others=new.others) == new:
                terms[index] = old._replace(others=torch.cat([old.others, new.others]))
                return
        terms.append(new)

    def rows(self, configurations: Configurations) -> Rows:
        """Return configurations arranged by site, one byte for a spin."""
        flat = configurations.flatten(1)
        dtype = {"spin": torch.int8, "level": torch.int32}.get(self.site_kind, torch.float64)
        return Rows(flat.to(dtype).T.contiguous())

    def chunks(self, num: int) -> Iterator[slice]:
        """Yield slices of rows that bound the memory."""
        size = max(1, ROWS // self.num_sites)
        for start in range(0, num, size):
            yield slice(start, min(start + size, num))

    def at(self, site: int, rows: Rows) -> list[SiteFields]:
        """Return the local fields of a site, one entry for each feature that it has."""
        num = rows.values.shape[1]
        parts = [
            rows.values.new_zeros(len(columns), num, dtype=torch.float64)
            for columns in self._column_tensors[site]
        ]
        for terms in self._terms[site]:
            product = self._product(terms, rows)
            for index, row in terms.places:
                # Re(z g) = Re z Re g − Im z Im g.
                if self.features[index].part == "real":
                    parts[index][row] += product.real
                else:
                    parts[index][row] -= product.imag
        return [
            SiteFields(feature, columns, x)
            for feature, (columns, x) in enumerate(zip(self._column_tensors[site], parts, strict=True))
            if len(columns)
        ]

    def _product(self, terms: SiteTerms, rows: Rows) -> Tensor | complex:
        """Return the sum over the terms of the product of the other sites `(M,)`."""
        if not terms.factors:
            return len(terms.others) * terms.weight
        product = None
        for place, factor in enumerate(terms.factors):
            values = rows.factor(factor)[terms.others[:, place]]
            product = values if product is None else product * values
        assert product is not None
        if product.is_complex():
            return terms.weight * product.sum(0)
        return terms.weight.real * product.sum(0, dtype=torch.float64)

    def natural(self, fields: Sequence[SiteFields], couplings: Tensor) -> Tensor:
        """Return the natural parameters η_r = Σ_a βJ_a x_ira `(features, M)`."""
        num = fields[0].x.shape[1] if fields else 0
        eta = couplings.new_zeros(len(self.features), num)
        for feature, columns, x in fields:
            eta[feature] = couplings[columns] @ x
        return eta

    def derivatives(self, site: int, rows: Rows, fields: Sequence[SiteFields]) -> tuple[Tensor, Tensor]:
        """Return ∂O_a/∂s_i and ∂²O_a/∂s_i² of the operators of a continuous site `(columns, M)`."""
        columns = self.columns[site]
        first = torch.zeros(len(columns), rows.values.shape[1], dtype=torch.float64, device=self.device)
        second = torch.zeros_like(first)
        for index, members, x in fields:
            feature = self.features[index]
            assert not isinstance(feature.factor, Table)
            slope, bend = map(feature.of, feature.factor.derivatives(rows.values[site]))
            places = torch.searchsorted(columns, members)
            first[places] += slope * x
            second[places] += bend * x
        return first, second

    def logits(self, configurations: Configurations, couplings: np.ndarray) -> Tensor:
        """Return the conditionals of discrete sites, given all others.

        Args:
            configurations: Configurations `(M, *lattice)`.
            couplings: βJ `(operators,)`.

        Returns:
            ln p(1) − ln p(−1) of spins `(M, sites)`, or ln p up to a constant of every level
            `(M, sites, levels)`.
        """
        values = torch.tensor(self.levels, device=configurations.device)
        table = self.table(values)
        if self.site_kind == "spin":
            table = table[:, 1] - table[:, 0]

        def logits_at(site: int, rows: Rows, couplings: Tensor) -> Tensor:
            eta = self.natural(self.at(site, rows), couplings)
            return (
                eta.T @ table if eta.numel() else eta.new_zeros(rows.values.shape[1], *table.shape[1:])
            )

        return self._at_all_sites(logits_at, configurations, couplings)

    def scores(self, configurations: Configurations, couplings: np.ndarray) -> Tensor:
        """Return ∂(−βH)/∂s_i of continuous sites `(M, sites)`.

        Args:
            configurations: Configurations `(M, *lattice)`.
            couplings: βJ `(operators,)`.
        """

        def scores_at(site: int, rows: Rows, couplings: Tensor) -> Tensor:
            first, _ = self.derivatives(site, rows, self.at(site, rows))
            return couplings[self.columns[site]] @ first

        return self._at_all_sites(scores_at, configurations, couplings)

    def _at_all_sites(
        self,
        function: Callable[[int, Rows, Tensor], Tensor],
        configurations: Configurations,
        couplings: np.ndarray,
    ) -> Tensor:
        values = torch.as_tensor(couplings, device=configurations.device, dtype=torch.float64)
        parts = []
        for chunk in self.chunks(len(configurations)):
            rows = self.rows(configurations[chunk])
            parts.append(torch.stack([function(site, rows, values) for site in self.sites], dim=1))
        return torch.cat(parts)

    def table(self, values: Tensor) -> Tensor:
        """Return the features of some values of a site `(features, values)`."""
        if not self.features:
            return torch.zeros(0, len(values), dtype=torch.float64, device=values.device)
        return torch.stack([feature(values).double() for feature in self.features])
