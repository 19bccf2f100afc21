"""Terms of explicit Hamiltonians of spins, levels, angles and fields, sorted by site."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from lightdan.simulation.local import ANGLE, LEVEL, energies_of_states

Kind = Literal["spin", "level", "angle", "real"]
KINDS: tuple[Kind, ...] = ("spin", "level", "angle", "real")
STRONG = 0.95
"""Share of Σ|J| that the strongest pairs carry, of which clusters are made."""
FRUSTRATION = 0.2
"""Largest share of frustrated pairs, by |J|, with which cluster moves are made."""
ROWS_PER_CALL = 4096


class Terms(NamedTuple):
    """Terms of the same factors, −Re[J Π_k g_k(s_{t_k})] each.

    The function g of factor f is s for spins (f = 1), row f of a table for levels, e^{ifθ} for angles
    (f ≠ 0), and φ^f for fields (f ≥ 1).

    Args:
        sites: Sites of the terms `(terms, order)`; the sites of a term are distinct.
        factors: Factor f of each place in a term.
        coupling: Coupling J, one for all terms or one each `(terms,)`; complex for angles only.
    """

    sites: NDArray[np.intp]
    factors: tuple[int, ...]
    coupling: complex | NDArray[Any]


class Potential(NamedTuple):
    """A piecewise cubic potential, common to all sites and linear beyond its ends.

    Args:
        breaks: Ascending ends of the pieces `(pieces + 1,)`.
        coefficients: Coefficients of (x − break)³, …, 1 in each piece `(4, pieces)`.
    """

    breaks: NDArray[np.float64]
    coefficients: NDArray[np.float64]


class Interactions(NamedTuple):
    """The terms of a Hamiltonian, sorted by site; the factor of a site of an angle is positive."""

    kind: int
    """Place of the kind of site in `KINDS`."""
    size: int
    """Number of local fields that `fields` finds at a site."""
    pair_starts: NDArray[np.intp]
    """First pair of each site; the pairs of site i are `pair_starts[i]` to `pair_starts[i + 1]`."""
    pair_bonds: NDArray[np.intp]
    """End of the strong pairs of each site, which come first."""
    pair_others: NDArray[np.intp]
    """Other site of each pair."""
    pair_factors: NDArray[np.intp]
    """Factors of the two sites `(pairs, 2)`; for levels, the place in `matrices` and 0."""
    pair_couplings: NDArray[np.complex128]
    """J of each pair."""
    matrices: NDArray[np.float64]
    """Matrices −H(s_i, s_j) of pairs of levels `(matrices, q, q)`."""
    starts: NDArray[np.intp]
    """First entry of each site, where an entry is a term that is no pair."""
    factors: NDArray[np.intp]
    """Factor of the site in each entry."""
    couplings: NDArray[np.complex128]
    """J of each entry."""
    ends: NDArray[np.intp]
    """Bounds in `others`; the other sites of entry k are `ends[k]` to `ends[k + 1]`."""
    others: NDArray[np.intp]
    """The other sites of all entries, entry after entry."""
    other_factors: NDArray[np.intp]
    """Their factors."""
    table: NDArray[np.float64]
    """Functions of the levels `(functions, q)`."""
    breaks: NDArray[np.float64]
    """Breaks of the potential; none without one."""
    coefficients: NDArray[np.float64]
    """Coefficients of the potential."""
    even: bool
    """Whether H(−s) = H(s); for angles, whether all can be turned by π."""
    turns: bool
    """Whether all angles can be turned together."""
    mirrors: bool
    """Whether all angles can change their sign together."""
    clusters: bool
    """Whether most of the pairs can be satisfied at once, so that cluster moves pay."""

    @property
    def num_sites(self) -> int:
        """Number N of sites."""
        return len(self.starts) - 1


class _Columns(NamedTuple):
    """Terms of one order: sites and factors `(terms, order)`, couplings `(terms,)`."""

    sites: NDArray[np.intp]
    factors: NDArray[np.intp]
    couplings: NDArray[np.complex128]


def gather(
    kind: Kind,
    num_sites: int,
    terms: Sequence[Terms],
    table: NDArray[np.float64] | None = None,
    potential: Potential | None = None,
) -> Interactions:
    """Sort the terms of a Hamiltonian by site.

        H(s) = −Σ_t Re[J_t Π_k g_k(s_{t_k})] + Σ_i U(s_i)

    Args:
        kind: Kind of site.
        num_sites: Number N of sites.
        terms: Groups of terms with their couplings.
        table: Functions of the levels `(functions, q)`; levels need it.
        potential: Potential U of fields.

    Raises:
        ValueError: The terms do not fit the kind of site; the message names the first fault.
    """
    code = KINDS.index(kind)
    if (table is not None) != (kind == "level"):
        raise ValueError("Levels need a table of their functions, and no other kind of site has one.")
    if potential is not None and kind != "real":
        raise ValueError(f"Sites of kind {kind} have no potential: pass its terms as fields.")
    functions = np.ascontiguousarray(np.ones((1, 2)) if table is None else table, dtype=np.float64)
    for group in terms:
        _validate(group, kind, num_sites, len(functions))
    columns = _columns([group for group in terms if np.any(group.coupling) and group.sites.size])
    pairs, matrices = _pairs(code, columns.get(2), functions)
    pairs, strong = _strongest_first(code, pairs, matrices)
    entries = _entries(code, [part for order, part in columns.items() if order != 2])
    own = np.concatenate([np.empty(0, np.intp), *(sites[:, 0] for sites, _, _ in entries)])
    own_factors = np.concatenate([np.empty(0, np.intp), *(factors[:, 0] for _, factors, _ in entries)])
    order = np.lexsort((own_factors, own))
    lengths = np.concatenate(
        [np.empty(0, np.intp), *(np.full(len(s), s.shape[1] - 1) for s, _, _ in entries)]
    )
    firsts = np.cumsum([0, *lengths])[:-1]
    inside = np.repeat(firsts[order] - np.cumsum([0, *lengths[order]])[:-1], lengths[order])
    inside = (inside + np.arange(lengths.sum())).astype(np.intp)
    none = np.empty(0, np.intp)
    every = [column.factors for column in columns.values()]
    sums = [factors.sum(axis=1) for factors in every]
    highest = max((int(np.abs(factors).max()) for factors in every), default=1)
    symmetric = potential is None or _is_even(potential)
    return Interactions(
        kind=code,
        size=1 if kind == "spin" else functions.shape[1] if kind == "level" else highest + 1,
        pair_starts=_starts(pairs.sites[:, 0], num_sites),
        pair_bonds=_starts(pairs.sites[:, 0], num_sites)[:-1]
        + np.bincount(pairs.sites[strong, 0], minlength=num_sites),
        pair_others=np.ascontiguousarray(pairs.sites[:, 1]),
        pair_factors=pairs.factors,
        pair_couplings=pairs.couplings,
        matrices=matrices,
        starts=_starts(own, num_sites),
        factors=own_factors[order],
        couplings=np.concatenate([np.empty(0, complex), *(j for _, _, j in entries)])[order],
        ends=np.cumsum([0, *lengths[order]]).astype(np.intp),
        others=np.concatenate([none, *(s[:, 1:].ravel() for s, _, _ in entries)])[inside],
        other_factors=np.concatenate([none, *(f[:, 1:].ravel() for _, f, _ in entries)])[inside],
        table=functions,
        breaks=np.empty(0) if potential is None else np.array(potential.breaks, np.float64),
        coefficients=(
            np.empty((4, 0)) if potential is None else np.array(potential.coefficients, np.float64)
        ),
        even=kind != "level" and symmetric and all((total % 2 == 0).all() for total in sums),
        turns=kind == "angle" and all((total == 0).all() for total in sums),
        mirrors=kind == "angle" and all((c.couplings.imag == 0).all() for c in columns.values()),
        clusters=_clusters_pay(code, pairs, num_sites),
    )


def energies(configurations: NDArray[Any], interactions: Interactions) -> NDArray[np.float64]:
    """Return H `(B,)` of configurations `(B, N)`: spins, places of levels, angles or fields."""
    values = np.empty(len(configurations))
    for start in range(0, len(configurations), ROWS_PER_CALL):
        part = slice(start, start + ROWS_PER_CALL)
        energies_of_states(to_states(configurations[part], interactions), interactions, values[part])
    return values


def to_states(configurations: NDArray[Any], interactions: Interactions) -> NDArray[np.complex128]:
    """Return what the kernels move: e^{iθ} of angles, and any other value as it is."""
    if interactions.kind == ANGLE:
        return np.ascontiguousarray(np.exp(1j * configurations.astype(np.float64)))
    return np.ascontiguousarray(configurations, dtype=np.complex128)


def from_states(states: NDArray[np.complex128], out: NDArray[Any], interactions: Interactions) -> None:
    """Write the configurations of `to_states` to `out`, of the same shape; angles in [0, 2π)."""
    if interactions.kind != ANGLE:
        out[...] = states.real
        return
    out[...] = np.angle(states) % (2 * math.pi)
    out[out >= np.asarray(2 * math.pi, out.dtype)] = 0


def _validate(group: Terms, kind: Kind, num_sites: int, num_functions: int) -> None:
    """Raise ValueError unless the terms fit the kind of site."""
    sites, factors, coupling = group
    if sites.ndim != 2 or sites.shape[1] != len(factors) or not factors:
        raise ValueError(f"Terms of shape {sites.shape} need one factor for each of their places.")
    if sites.size and (sites.min() < 0 or sites.max() >= num_sites):
        raise ValueError(f"A term names a site beyond the {num_sites} of the lattice.")
    ordered = np.sort(sites, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise ValueError("A term has a site twice: use one factor with the product of both.")
    if not np.all(np.isfinite(coupling)):
        raise ValueError(f"A coupling is {coupling}: pass finite numbers.")
    if kind != "angle" and np.any(np.imag(coupling)):
        raise ValueError(f"The coupling {coupling} is complex: only angles have phases.")
    fits = {
        "spin": all(f == 1 for f in factors),
        "level": all(0 <= f < num_functions for f in factors),
        "angle": all(f != 0 for f in factors),
        "real": all(f >= 1 for f in factors),
    }
    if not fits[kind]:
        raise ValueError(f"The factors {factors} do not fit sites of kind {kind}.")


def _columns(terms: Sequence[Terms]) -> dict[int, _Columns]:
    """Return the terms of each order."""
    orders = sorted({group.sites.shape[1] for group in terms})
    columns = {}
    for order in orders:
        groups = [group for group in terms if group.sites.shape[1] == order]
        lengths = [len(group.sites) for group in groups]
        columns[order] = _Columns(
            np.concatenate([group.sites for group in groups]).astype(np.intp),
            np.repeat(np.array([group.factors for group in groups], np.intp), lengths, axis=0),
            np.concatenate(
                [
                    np.broadcast_to(np.asarray(group.coupling, np.complex128), length)
                    for group, length in zip(groups, lengths, strict=True)
                ]
            ),
        )
    return columns


def _entries(code: int, columns: Sequence[_Columns]) -> list[_Columns]:
    """Return every term once for each of its sites, with that site first."""
    entries = []
    for sites, factors, couplings in columns:
        for place in range(sites.shape[1]):
            order = [place, *(k for k in range(sites.shape[1]) if k != place)]
            own, js = factors[:, order], couplings
            if code == ANGLE:  # Re z = Re z*, which makes the first factor positive
                negative = own[:, 0] < 0
                own = np.where(negative[:, None], -own, own)
                js = np.where(negative, js.conj(), js)
            entries.append(_Columns(sites[:, order], own, js))
    return entries


def _pairs(
    code: int, columns: _Columns | None, table: NDArray[np.float64]
) -> tuple[_Columns, NDArray[np.float64]]:
    """Return all pairs from both sides, ordered by site and merged, and the matrices of levels."""
    q = table.shape[1]
    if columns is None:
        nothing = np.empty((0, 2), np.intp)
        return _Columns(nothing, nothing, np.empty(0, complex)), np.empty((0, q, q))
    parts = _entries(code, [columns])
    sites, factors, couplings = (np.concatenate(column) for column in zip(*parts, strict=True))
    if code == LEVEL:
        keys, inverse = np.unique(sites, axis=0, return_inverse=True)
        sums = np.zeros((len(keys), q, q))
        products = couplings.real[:, None, None] * table[factors[:, 0], :, None]
        np.add.at(sums, inverse.ravel(), products * table[factors[:, 1], None, :])
        matrices, index = np.unique(sums.reshape(len(keys), -1), axis=0, return_inverse=True)
        places = np.stack([index.ravel(), np.zeros(len(keys), int)], axis=1).astype(np.intp)
        return _Columns(keys, places, np.ones(len(keys), complex)), matrices.reshape(-1, q, q)
    keys, inverse = np.unique(np.concatenate([sites, factors], 1), axis=0, return_inverse=True)
    total = np.zeros(len(keys), complex)
    np.add.at(total, inverse.ravel(), couplings)
    return (
        _Columns(keys[:, :2].copy(), keys[:, 2:].copy(), total),
        np.empty((0, q, q)),
    )


def _strongest_first(
    code: int, pairs: _Columns, matrices: NDArray[np.float64]
) -> tuple[_Columns, NDArray[np.bool_]]:
    """Order the pairs of each site by |J| and tell which of them are strong."""
    sizes = np.abs(pairs.couplings)
    if code == LEVEL:
        sizes = matrices.std(axis=(1, 2))[pairs.factors[:, 0]]
    order = np.lexsort((-sizes, pairs.sites[:, 0]))
    sizes, pairs = (
        sizes[order],
        _Columns(pairs.sites[order], pairs.factors[order], pairs.couplings[order]),
    )
    falling = np.sort(sizes)[::-1]
    needed = np.searchsorted(np.cumsum(falling), STRONG * falling.sum() * (1 - 1e-12))
    return pairs, sizes >= (falling[needed] if len(falling) else 0.0) * (1 - 1e-12)


def _starts(sites: NDArray[np.intp], num_sites: int) -> NDArray[np.intp]:
    counts = np.bincount(sites, minlength=num_sites)
    return np.cumsum([0, *counts]).astype(np.intp)


def _is_even(potential: Potential) -> bool:
    """Return whether U(x) = U(−x), to rounding."""
    breaks, coefficients = (np.asarray(x, dtype=np.float64) for x in potential)
    if not np.allclose(breaks, -breaks[::-1], rtol=0, atol=1e-12 * np.abs(breaks).max()):
        return False
    powers = np.linspace(0, 1, 4)[:, None] * np.diff(breaks)
    values = sum(coefficients[3 - k] * powers**k for k in range(4))
    scale = np.abs(values).max()
    return bool(np.allclose(values, values[::-1, ::-1], rtol=0, atol=1e-12 * scale))


def _clusters_pay(code: int, pairs: _Columns, num_sites: int) -> bool:
    """Return whether most of the pairs by |J| can be satisfied at once.

    Signs s_i = ±1 satisfy the heaviest pairs, those of a spanning tree. For angles they stand for
    turns by π, and phases of J count as frustrated. For levels the answer is always yes.
    """
    if not len(pairs.couplings) or code == LEVEL:
        return bool(len(pairs.couplings))
    weights = np.abs(pairs.couplings)
    first, second = pairs.factors.T
    fits = first == -second if code == ANGLE else (first % 2 == 1) & (second % 2 == 1)
    odd = fits & (first % 2 == 1)
    if not fits.any():
        return False
    signed = np.where(odd, pairs.couplings.real, 0.0)
    own, other = pairs.sites.T
    # A pair of several factors is one edge; distances are positive and smallest for the heaviest edge.
    matrix = csr_array((signed, (own, other)), (num_sites, num_sites))
    matrix.eliminate_zeros()
    lengths = matrix.copy()
    lengths.data = 2 * np.abs(matrix.data).max(initial=0.0) - np.abs(matrix.data)
    tree = minimum_spanning_tree(lengths)
    tree = tree + tree.T
    gauge = np.zeros(num_sites)
    for root in range(num_sites):
        if gauge[root]:
            continue
        gauge[root] = 1.0
        order, predecessors = breadth_first_order(tree, root, directed=False)
        for site in order[1:]:
            gauge[site] = gauge[predecessors[site]] * np.sign(matrix[site, predecessors[site]])
    satisfied = np.where(odd, gauge[own] * gauge[other], 1.0) * pairs.couplings.real * fits
    return bool(np.maximum(satisfied, 0.0).sum() >= (1 - FRUSTRATION) * weights[fits].sum())
