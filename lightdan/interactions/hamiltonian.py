"""Explicit Hamiltonians: operators, couplings and their errors, for every kind of site."""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from lightdan.interactions import files
from lightdan.interactions.factors import Bump, Factor, Harmonic, Power, Table
from lightdan.interactions.operators import Operator, operators_of_terms
from lightdan.simulation import chains, explicit, terms
from lightdan.simulation.simulation import Simulation


@dataclass(frozen=True, eq=False)
class ExplicitHamiltonian:
    """An explicit Hamiltonian of spins, levels, angles or fields.

        H(s) = −Σ_a J_a O_a(s)

    Args:
        lattice_shape: Numbers of sites along the axes.
        operators: Operators O_a with their couplings J_a.
        temperature: Temperature T at which they were learned; βJ = J/T.
        site_kind: Kind of site: ``spin``, ``level``, ``angle`` or ``real``.
        levels: Values of a discrete site.
        covariance: Covariance of the couplings J `(operators, operators)`, if known.

    Example:
        >>> pair = Operator("pair", np.array([[0, 1], [1, 2], [2, 0]]), coupling=1.0)
        >>> ExplicitHamiltonian((3,), [pair], temperature=2.0).energy(np.array([[1, 1, -1]]))
        array([1.])
    """

    lattice_shape: tuple[int, ...]
    operators: Sequence[Operator]
    temperature: float
    site_kind: str = "spin"
    levels: tuple[int, ...] = (-1, 1)
    covariance: NDArray[np.float64] | None = None

    @classmethod
    def from_couplings(
        cls,
        lattice_shape: Sequence[int],
        operators: Sequence[Operator],
        couplings: NDArray[np.float64],
        temperature: float = 1.0,
        errors: NDArray[np.float64] | None = None,
        covariance: NDArray[np.float64] | None = None,
        **site: Any,
    ) -> "ExplicitHamiltonian":
        """Return the Hamiltonian of operators with fitted couplings.

        Args:
            lattice_shape: Numbers of sites along the axes.
            operators: Operators O_a.
            couplings: βJ_a `(operators,)`.
            temperature: Temperature T.
            errors: Standard errors of the couplings `(operators,)`, if known.
            covariance: Covariance of the couplings `(operators, operators)`, if known.
            site: Kind of site and levels, as in the constructor.
        """
        errors = np.full(len(couplings), math.nan) if errors is None else errors
        scaled = [
            replace(operator, coupling=float(temperature * value), error=float(temperature * error))
            for operator, value, error in zip(operators, couplings, errors, strict=True)
        ]
        if covariance is not None:
            covariance = temperature**2 * covariance
        return cls(tuple(lattice_shape), scaled, temperature, covariance=covariance, **site)

    @property
    def num_sites(self) -> int:
        """Number N of sites."""
        return math.prod(self.lattice_shape)

    def energy(self, configurations: NDArray[Any]) -> NDArray[np.float64]:
        """Return H of configurations: `(M, *lattice)` → `(M,)`."""
        energy = np.zeros(len(configurations))
        for operator in self.operators:
            energy -= operator.coupling * operator.value(configurations)
        return energy

    def moves(self, centres: NDArray[np.float64] | None = None) -> terms.Interactions:
        """Return the terms sorted by site, as the simulation needs them.

        Args:
            centres: Centres c of the fields `(N,)`; the terms are then those of φ − c.

        Raises:
            ValueError: An operator does not fit the kind of site, or splines are not uniform or do not
                confine the field.
        """
        tables: dict[Factor, int] = {}
        groups = []
        centres = np.zeros(self.num_sites) if centres is None else centres
        for operator in self.operators:
            if self.site_kind == "real":
                groups += _monomials(operator, centres)
                continue
            for factors, weight in operator.products:
                places = [k for k, factor in enumerate(factors) if factor != Power(0)]
                if places and not isinstance(factors[0], Bump):
                    codes = tuple(self._code(factors[k], tables) for k in places)
                    sites = operator.sites[:, places]
                    groups.append(terms.Terms(sites, codes, operator.coupling * weight))
        table = None
        if self.site_kind == "level":
            rows = [list(factor.values) for factor in tables if isinstance(factor, Table)]
            table = np.array(rows or [[1.0] * len(self.levels)])
        kind = cast(terms.Kind, self.site_kind)
        return terms.gather(kind, self.num_sites, groups, table, self._potential(float(centres[0])))

    def _code(self, factor: Factor, tables: dict[Factor, int]) -> int:
        """Return the number by which the simulation knows a factor; add a table of levels."""
        if self.site_kind == "level":
            if isinstance(factor, Power):
                values = tuple(float(level) ** factor.exponent for level in self.levels)
                factor = Table(self.levels, values)
            return tables.setdefault(factor, len(tables))
        if isinstance(factor, Harmonic):
            return factor.order
        if isinstance(factor, Power):
            return factor.exponent
        raise ValueError(f"A Hamiltonian of kind {self.site_kind!r} has no factor {factor}.")

    def centres(self) -> NDArray[np.float64]:
        """Return the centres of the fields in their powers `(N,)`; one for all if there are splines."""
        found = np.zeros(self.num_sites)
        splines = False
        for operator in self.operators:
            for factors, _ in operator.products:
                for place, factor in enumerate(factors):
                    splines |= isinstance(factor, Bump)
                    if isinstance(factor, Power) and factor.exponent:
                        found[operator.sites[:, place]] = factor.centre
        return np.full_like(found, found[0]) if splines else found

    def _potential(self, centre: float) -> terms.Potential | None:
        """Return −Σ_a J_a B_a of the splines B_a as a piecewise cubic function of φ − centre."""
        splines = [o for o in self.operators if isinstance(o.products[0].factors[0], Bump)]
        if not splines:
            return None
        bumps = [cast(Bump, operator.products[0].factors[0]) for operator in splines]
        for operator in splines:
            if operator.order != 1 or len(np.unique(operator.sites)) != self.num_sites:
                raise ValueError(f"The spline {operator.name} must act on every site once.")
        width, low, high = bumps[0].width, bumps[0].low, bumps[0].high
        breaks = torch.linspace(low, high, round((high - low) / width) + 1, dtype=torch.float64)
        value, first, second = (torch.zeros_like(breaks) for _ in range(3))
        for operator, bump in zip(splines, bumps, strict=True):
            slope, bend = bump.derivatives(breaks)
            value -= operator.coupling * bump(breaks)
            first -= operator.coupling * slope
            second -= operator.coupling * bend
        if first[0] >= 0 or first[-1] <= 0:
            raise ValueError(
                "The potential of splines does not confine the field: fit it to more configurations."
            )
        third = second.diff() / breaks.diff()
        coefficients = torch.stack([third / 6, second[:-1] / 2, first[:-1], value[:-1]])
        return terms.Potential(breaks.numpy() - centre, coefficients.numpy())

    def simulate(
        self,
        temperature: float,
        num_configurations: int,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
        max_spacing: int = chains.MAX_SPACING,
    ) -> Simulation:
        """Draw configurations from e^{−H/T'}/Z.

        Args:
            temperature: Temperature T' of the simulation.
            num_configurations: Number of configurations M.
            seed: Random seed.
            progress: Function called with the number of new configurations.
            max_spacing: Largest number of updates between two configurations; it bounds the time.
        """
        centres = self.centres()
        run = explicit.simulate(
            self.moves(centres),
            temperature,
            num_configurations,
            seed=seed,
            max_spacing=max_spacing,
            progress=progress,
        )
        rows = run.configurations.reshape(-1, *self.lattice_shape)
        if self.site_kind == "level":
            rows = np.array(self.levels, dtype=np.int32)[rows]
        elif centres.any():
            rows = rows + centres.reshape(self.lattice_shape).astype(rows.dtype)
        return Simulation(rows, run.tau, run.updates_per_configuration)

    def to_json(self) -> str:
        """Return the content of a file that `load` reads."""
        content = {
            "format": files.FORMAT,
            "lattice_shape": list(self.lattice_shape),
            "temperature": self.temperature,
            "site_kind": self.site_kind,
            "levels": list(self.levels),
            "operators": [operator.spec() for operator in self.operators],
            "covariance": None if self.covariance is None else self.covariance.tolist(),
        }
        return json.dumps(content)

    @classmethod
    def load(cls, path: str | Path) -> "ExplicitHamiltonian":
        """Read a file with the content of `to_json`.

        Raises:
            ValueError: The file is damaged, of another format, or names sites beyond the lattice.
        """
        return cls(**files.read(path))


def _monomials(operator: Operator, centres: NDArray[np.float64]) -> list[terms.Terms]:
    """Return the terms of an operator of fields as products of powers of φ − c, without a constant.

    Args:
        operator: Operator O with its coupling.
        centres: Centres c `(N,)`.

    Raises:
        ValueError: A factor is no power and no spline.
    """
    groups = []
    for factors, weight in operator.products:
        if isinstance(factors[0], Bump):
            continue
        parts = []
        for place, factor in enumerate(factors):
            if not isinstance(factor, Power):
                raise ValueError(f"A Hamiltonian of kind 'real' has no factor {factor}.")
            shift, p = centres[operator.sites[:, place]] - factor.centre, factor.exponent
            exponents = range(p + 1) if shift.any() else [p]
            parts.append([(k, math.comb(p, k) * shift ** (p - k)) for k in exponents])
        for chosen in itertools.product(*parts):
            places = [place for place, (k, _) in enumerate(chosen) if k]
            if places:
                coupling = operator.coupling * weight * math.prod(values for _, values in chosen)
                powers = tuple(chosen[place][0] for place in places)
                groups.append(terms.Terms(operator.sites[:, places], powers, coupling))
    return groups


def edwards_anderson(
    shape: Sequence[int],
    distribution: Literal["binary", "gaussian"] = "binary",
    temperature: float = 1.0,
    seed: int = 0,
) -> ExplicitHamiltonian:
    """Draw an Edwards–Anderson glass on a periodic lattice.

        H = −Σ_<ij> J_ij s_i s_j,  J_ij independent random numbers

    Args:
        shape: Numbers of sites along the axes, at least 3 each.
        distribution: Distribution of J: ``binary``, ±1 with equal probability, or ``gaussian``, normal
            with ⟨J²⟩ = 1.
        temperature: Temperature T; βJ = J/T.
        seed: Random seed of the couplings.

    Raises:
        ValueError: A side is shorter than 3, or the distribution is unknown.

    References:
        S. Edwards and P. Anderson, J. Phys. F 5, 965 (1975).

    Example:
        >>> len(edwards_anderson((4, 4)).operators)
        32
    """
    if distribution not in ("binary", "gaussian"):
        raise ValueError(f"distribution must be 'binary' or 'gaussian', not {distribution!r}.")
    if min(shape) < 3:
        raise ValueError(f"A periodic glass needs sides of at least 3, not {tuple(shape)}.")
    rng = np.random.default_rng(seed)
    sites = np.arange(math.prod(shape)).reshape(shape)
    bonds = [
        (min(i, j), max(i, j))
        for axis in range(sites.ndim)
        for i, j in zip(sites.ravel().tolist(), np.roll(sites, -1, axis).ravel().tolist(), strict=True)
    ]
    couplings = rng.normal(size=len(bonds))
    if distribution == "binary":
        couplings = np.sign(couplings)
    operators = [
        replace(operator, coupling=float(coupling))
        for operator, coupling in zip(operators_of_terms(bonds), couplings, strict=True)
    ]
    return ExplicitHamiltonian(tuple(shape), operators, temperature)
