"""Equilibrium configurations of any explicit Hamiltonian."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from lightdan.simulation import chains, terms, virial
from lightdan.simulation.heat_bath import random_states, slice_widths, sweeps
from lightdan.simulation.local import ANGLE, LEVEL, REAL, SPIN, energy
from lightdan.simulation.replica_exchange import exchange, num_pairs
from lightdan.simulation.simulation import Simulation
from lightdan.simulation.terms import Interactions

HOTTEST = 2.0
"""Highest temperature of the ladder, in units of the mean √Σ J²⟨g²⟩ over the terms of a site."""
RATIO = 1.12
"""Ratio of neighbouring temperatures of the ladder."""
PATIENCE = 4
"""Largest number of updates between two rows of chains at T alone, in rungs of the ladder."""
PATTERNS = 4
SITES_PER_CALL = 2**18


def simulate(
    interactions: Interactions,
    temperature: float,
    num_configurations: int,
    *,
    seed: int = 0,
    max_spacing: int = chains.MAX_SPACING,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Draw from e^{−H/T}/Z by sweeps, with clusters or replica exchange.

    Chains at T alone come first. If their pilot does not decorrelate, as in a glass, ladders of
    replicas take their place. They reach from T to temperatures at which the sites are nearly free, and
    neighbours exchange after every sweep.
    `chains.run` chooses the number of updates between two rows. It keeps τ below one row for H, the
    order parameters and the overlaps with four random patterns, which detect slow modes. A `UserWarning`
    says if the mean virial of fields is not that of equilibrium.

    Args:
        interactions: Hamiltonian.
        temperature: Temperature T.
        num_configurations: Number of rows.
        seed: Random seed; it determines every site, on any number of processors.
        max_spacing: Largest number of updates between two rows; it bounds the time, and τ tells what
            remains.
        progress: Callback that receives the number of new configurations, in the calling thread.

    Returns:
        Spins ±1 in int8, places of levels in int16, angles and fields in float32, `(M, N)`. The number
        of updates between two rows counts those of all replicas.

    Raises:
        ValueError: T is not positive and finite, ``num_configurations`` is below 1, or the Hamiltonian
            of fields has no lower bound.

    References:
        K. Hukushima and K. Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996).
    """
    num_sites = interactions.num_sites
    chains.validate((num_sites,), temperature, num_configurations)
    ladder = temperatures_of_ladder(interactions, temperature)
    observe = Observables(interactions, seed)
    dtype = {SPIN: np.int8, LEVEL: np.int16}.get(interactions.kind, np.float32)
    settings: dict[str, Any] = {
        "num_sites": num_sites,
        "dtype": dtype,
        "updates_per_call": max(1, SITES_PER_CALL // num_sites),
        "max_spacing": max_spacing,
    }
    advance = advance_all(interactions, ladder[:1], seed)
    spacing, replicas = None, 1
    if len(ladder) > 1:
        limit = min(max_spacing, PATIENCE * len(ladder))
        spacing, settled = chains.pilot(
            chains.NUM_CHAINS, advance, observe, **{**settings, "max_spacing": limit}
        )
        if not settled:
            advance, spacing = advance_all(interactions, ladder, seed), None
            replicas = len(ladder)
            settings["updates_per_call"] = max(1, SITES_PER_CALL // (num_sites * len(ladder)))
    configurations, taus, spacing = chains.run(
        chains.NUM_CHAINS,
        advance,
        observe,
        num_configurations,
        spacing=spacing,
        progress=progress,
        **settings,
    )
    if interactions.kind == REAL:
        virial.warn_unless_in_equilibrium(
            lambda fields: terms.energies(fields, interactions) / temperature,
            configurations,
            chains.NUM_CHAINS,
        )
    return Simulation(configurations, dict(zip(observe.names, taus, strict=True)), replicas * spacing)


def temperatures_of_ladder(interactions: Interactions, temperature: float) -> NDArray[np.float64]:
    """Return T, T r, T r², … up to `HOTTEST` times the mean over the sites of √Σ J²⟨g²⟩.

    The sum runs over the terms of a site, and ⟨g²⟩ is the variance of their factors on free sites.
    """
    pairs = np.repeat(np.arange(interactions.num_sites), np.diff(interactions.pair_starts))
    entries = np.repeat(np.arange(interactions.num_sites), np.diff(interactions.starts))
    squares = np.abs(interactions.couplings) ** 2
    strengths = np.abs(interactions.pair_couplings) ** 2
    if interactions.kind == LEVEL:
        strengths = interactions.matrices.var(axis=(1, 2))[interactions.pair_factors[:, 0]]
    # Without terms, bincount returns integers.
    sums = np.bincount(pairs, strengths, interactions.num_sites).astype(np.float64)
    sums += np.bincount(entries, squares, interactions.num_sites)
    top = HOTTEST * float(np.sqrt(sums).mean())
    rungs = max(1, math.ceil(math.log(max(top / temperature, 1.0)) / math.log(RATIO)) + 1)
    ladder: NDArray[np.float64] = temperature * RATIO ** np.arange(rungs, dtype=np.float64)
    return ladder


class _Ladder(NamedTuple):
    """Replicas `(K, N)` at ascending temperatures, the widths of their slices and their generator."""

    states: NDArray[np.complex128]
    temperatures: NDArray[np.float64]
    widths: NDArray[np.float64]
    rng: np.random.Generator


class Observables:
    """Observables that have to decorrelate: H, order parameters and overlaps with random patterns.

    Args:
        interactions: Hamiltonian.
        seed: Random seed of the patterns.
    """

    def __init__(self, interactions: Interactions, seed: int) -> None:
        self.interactions = interactions
        rng = np.random.default_rng([seed, 1])
        self.patterns = rng.choice([-1.0, 1.0], (interactions.num_sites, PATTERNS))
        self.levels = rng.normal(size=(interactions.size, interactions.num_sites, PATTERNS))
        order = {LEVEL: "order", REAL: "square"}.get(interactions.kind)
        names = ["energy", *([] if interactions.kind == LEVEL else ["abs_magnetization"])]
        self.names = [*names, *([order] if order else []), *(f"overlap_{k}" for k in range(PATTERNS))]

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return the observables `(observables, chains, rows)` of rows `(chains, rows, N)`."""
        flat = rows.reshape(-1, rows.shape[2])
        total = terms.energies(flat, self.interactions)
        if not np.isfinite(total).all():
            raise ValueError("The fields grow without bound: the Hamiltonian has no lower bound.")
        others = self._levels(flat) if self.interactions.kind == LEVEL else self._means(flat)
        columns = [total, *others]
        return np.stack(columns).reshape(len(columns), *rows.shape[:2])

    def _levels(self, rows: NDArray[Any]) -> list[NDArray[np.float64]]:
        """Return Σ_a n_a² with the shares n_a of the levels, and the overlaps."""
        order = np.zeros(len(rows))
        overlaps = np.zeros((len(rows), PATTERNS))
        for level in range(self.interactions.size):
            here = rows == level
            order += here.mean(axis=1) ** 2
            overlaps += here @ self.levels[level] / rows.shape[1]
        return [order, *overlaps.T]

    def _means(self, rows: NDArray[Any]) -> list[NDArray[np.float64]]:
        """Return |m|, ⟨φ²⟩ of fields, and the overlaps, without what symmetries of H change."""
        angles = self.interactions.kind == ANGLE
        values = np.exp(1j * rows) if angles else rows.astype(np.float64)
        overlaps = values @ self.patterns / rows.shape[1]
        if self.interactions.turns:
            overlaps = np.abs(overlaps)
        overlaps = np.abs(overlaps.real) if self.interactions.even else overlaps.real
        square = [(values**2).mean(axis=1)] if self.interactions.kind == REAL else []
        return [np.abs(values.mean(axis=1)), *square, *overlaps.T]


def advance_all(interactions: Interactions, ladder: NDArray[np.float64], seed: int) -> chains.Advance:
    """Return a function that moves ladders of replicas in threads, half of them from aligned sites."""
    widths = slice_widths(interactions, ladder)
    shape = len(ladder), interactions.num_sites
    ladders = []
    for index, rng in enumerate(chains.generators(seed)):
        states = random_states(shape, interactions, widths, rng)
        if index % 2 == 0:
            states[:] = states[:, :1]
        ladders.append(_Ladder(states, ladder, widths, rng))

    def advance(rows: NDArray[Any], chain: _Ladder, spacing: int) -> None:
        states = np.empty(rows.shape, np.complex128)
        _advance(states, chain, interactions, spacing)
        terms.from_states(states, rows, interactions)

    return chains.in_threads(advance, ladders)


@numba.njit(cache=True, nogil=True)
def _advance(rows: Any, ladder: Any, interactions: Any, spacing: int) -> None:
    """Fill `rows` with the coldest replica after every `spacing` sweeps and exchanges.

    A row is changed at random by the symmetries of H, because an even number of moves may keep a sign.
    """
    states, temperatures, widths, rng = ladder
    num = len(temperatures)
    betas = 1.0 / temperatures
    energies = np.empty((1, num))
    for row in rows:
        for update in range(spacing):
            for k in range(num):
                sweeps(states[k], interactions, temperatures[k], widths[k], 1, False, rng)
                if num > 1:
                    energies[0, k] = energy(states[k], interactions)
            if num > 1:
                uniforms = rng.random((1, num_pairs(num, update)))
                states[:] = states[exchange(energies, betas, update, uniforms)]
        change = complex(1.0)
        if interactions.turns:
            angle = 2.0 * math.pi * rng.random()
            change = complex(math.cos(angle), math.sin(angle))
        elif interactions.even and rng.random() < 0.5:
            change = complex(-1.0)
        mirror = interactions.mirrors and rng.random() < 0.5
        for site in range(row.size):
            value = change * states[0, site]
            row[site] = value.conjugate() if mirror else value
