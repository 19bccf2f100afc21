"""Uniform Hamiltonians of films: periodic lattices of any size, and modulated phases."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightdan.images.structure_factor import peak, structure_factor
from lightdan.interactions.catalogue import uniform_operators
from lightdan.interactions.films import shapes_of, stencil
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.operators import Operator
from lightdan.measurements.figures import EXACT, MODEL, panels
from lightdan.measurements.phases.ladders import Change, Ladders
from lightdan.measurements.report import Result
from lightdan.progress import progress_bar
from lightdan.simulation.films import cool, windows
from lightdan.simulation.tempering import temper
from lightdan.statistics import Estimate, jackknife

SHORTEST = 3.0
"""Period in sites up to which it is that of the largest J(k), because walls cannot move."""
MODULATED = 4.0
"""Advantage of a wave over uniform spins, in standard errors, that tells a modulated phase."""
LENGTHS, DIRECTIONS = 200, 24
"""Numbers of lengths and directions of the waves that are compared."""
FILMS, SIDE, WINDOW = 4, 128, 64
"""Number of films whose period is measured, their sides, and those of windows of them in sites."""


@dataclass(frozen=True, eq=False)
class Film:
    """A uniform Hamiltonian that can be put on a periodic lattice of any size.

    Args:
        terms: Operators O_a with βJ_a as couplings.
        draws: Changes of the βJ_a by their errors `(draws, operators)`.
        temperature: Temperature T of the βJ_a.
        symmetries: Symmetries of the terms.
        max_distance: Largest distance of the pairs, in lattice spacings.
        seed: Random seed of the simulations.
    """

    terms: Sequence[Operator]
    draws: np.ndarray
    temperature: float
    symmetries: Sequence[str]
    max_distance: float
    seed: int

    def operators(self, side: int) -> list[Operator]:
        """Return the operators on a periodic square lattice, with βJ_a as couplings."""
        shape = (side, side)
        uniform = uniform_operators(shape, self.symmetries, self.max_distance)
        sites = {(operator.order, operator.displacement): operator.sites for operator in uniform}
        return [replace(term, sites=sites[term.order, term.displacement]) for term in self.terms]

    def simulate(self, side: int, temperatures: np.ndarray, num_ladders: int, num_steps: int) -> Ladders:
        """Simulate a periodic lattice at several T' by replica exchange."""
        operators = self.operators(side)
        interactions = ExplicitHamiltonian((side, side), operators, 1.0).moves()
        with progress_bar(f"Couplings on {side} × {side}", num_steps) as advance:
            size, *values = temper(
                interactions,
                [float(ratio) for ratio in temperatures / self.temperature],
                num_ladders,
                num_steps,
                lambda spins: np.stack([np.abs(spins.mean(1)), *(o.value(spins) for o in operators)]),
                self.seed,
                progress=advance,
            )
        couplings = np.array([operator.coupling for operator in operators])
        return Ladders(
            temperatures,
            side**2,
            hamiltonian=-self.temperature * np.tensordot(couplings, values, 1),
            abs_magnetization=size,
            variations=[Change(c) for c in -self.temperature * np.tensordot(self.draws, values, 1)],
        )

    def advantages(self) -> tuple[np.ndarray, np.ndarray]:
        """Return k in the first zone and the advantage of waves with it over uniform spins.

            J(k) − J(0) = Σ_d J_d (cos k·d − 1)

        Returns:
            Lengths of k by direction `(directions, lengths)`, NaN beyond the zone, and
            cos k·d − 1 summed over the d of each operator `(directions, lengths, operators)`.
        """
        angle = np.pi * np.arange(DIRECTIONS)[:, None] / DIRECTIONS
        length = np.pi * np.sqrt(2) * np.arange(1, LENGTHS + 1) / LENGTHS
        k = length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        side = 2 * math.ceil(self.max_distance) + 1
        columns = []
        for operator in self.operators(side):
            columns.append(np.zeros(k.shape[:2]))
            if operator.order == 2:
                steps = shapes_of(operator, (side, side))[:, 1]
                columns[-1] = (np.cos(k @ steps.T) - 1).sum(-1)
        inside = np.abs(k).max(-1) <= np.pi * (1 + 1e-9)
        return np.where(inside, length, np.nan), np.stack(columns, axis=-1)

    def period(self) -> Estimate:
        """Return 2π/k of the highest peak of S(k) at the temperature T, in sites.

        The films are cooled slowly from disorder. Fluctuations make the period longer than that of the
        largest J(k).
        """
        side = 2 * math.ceil(self.max_distance) + 1
        operators = self.operators(side)
        couplings = [operator.coupling for operator in operators]
        hamiltonian = stencil(couplings, [shapes_of(o, (side, side)) for o in operators])
        parts = []
        with progress_bar("Modulated films", FILMS) as advance:
            for number in range(FILMS):
                rng = np.random.default_rng([self.seed, number])
                spins = cool(hamiltonian, (SIDE, SIDE), rng).spins
                parts.append(windows(spins, (WINDOW, WINDOW)))
                advance(1)
        k, factors = structure_factor(np.concatenate(parts))
        return jackknife(lambda s: 2 * math.pi / peak(k, s)[0], factors)


def modulated(film: Film) -> Result | None:
    """Return the period of a modulated phase, or None unless a wave is better than uniform spins.

    Args:
        film: Uniform Hamiltonian with the errors of its couplings.
    """
    lengths, waves = film.advantages()
    gains = np.where(np.isnan(lengths), -np.inf, waves @ [operator.coupling for operator in film.terms])
    errors = (waves @ film.draws.T).std(axis=-1)
    best = np.unravel_index(gains.argmax(), gains.shape)
    if not gains[best] > MODULATED * errors[best]:
        return None
    period = Estimate(2 * math.pi / float(lengths[best]), 0.0)
    if period.value > SHORTEST:
        period = film.period()
    figure, (axes,) = panels(1)
    axes.axhline(0, lw=0.7, color=EXACT)
    x, y, error = lengths[best[0]], gains[best[0]], errors[best[0]]
    axes.plot(x, y, color=MODEL)
    axes.fill_between(x, y - error, y + error, color=MODEL, alpha=0.3, lw=0)
    axes.set(xlabel="$|k|$", ylabel=r"$\beta J(k) - \beta J(0)$")
    return Result(
        {"period": period},
        {"j_of_k": np.stack([x, y, error], axis=1)[np.isfinite(x)]},
        figure,
        notes=[
            f"The couplings favour waves: modulated phase of period {period} sites, no T_C is claimed."
        ],
    )
