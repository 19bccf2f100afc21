"""Maximum likelihood of films that are seen through windows, by simulation of large films."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightdan.interactions.films import means_of, shapes_of, stencil
from lightdan.interactions.fit import Fit
from lightdan.measurements.couplings.effective_hamiltonian import EffectiveHamiltonian
from lightdan.measurements.couplings.maximum_likelihood import MaximumLikelihood
from lightdan.progress import progress_bar
from lightdan.simulation.films import Film, Stencil

FILMS, SIDE = 16, 96
"""Number of simulated films, and their sides in sites."""
COOLING = 500
"""Number of sweeps in which the films are cooled."""
STEPS, FULL = 16, 6
"""Number of steps of Newton's method; the steps after so many are averaged."""
SWEEPS, SNAPSHOTS, INTERVAL = 60, 12, 5
"""Sweeps after each step, then snapshots of each film and the sweeps before each."""
LARGEST_STEP = 8.0
"""Largest change of −βH of a film, in standard deviations of it, by one step."""
TRUST = 0.01
"""Weight of the pseudo-likelihood, relative to its information."""


class _Round(NamedTuple):
    """Operators per site of films with the same couplings, `(films, snapshots, operators)`."""

    values: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """Means `(operators,)`."""
        means: np.ndarray = self.values.mean((0, 1))
        return means

    @property
    def covariance(self) -> np.ndarray:
        """Covariance over films and snapshots `(operators, operators)`."""
        flat = self.values.reshape(-1, self.values.shape[-1])
        return np.atleast_2d(np.cov(flat, rowvar=False))


def film_likelihood(effective: EffectiveHamiltonian, seed: int) -> MaximumLikelihood:
    """Return the couplings with which a film has the means of the operators that the windows have.

        n (⟨o⟩_windows − ⟨o⟩_film) = P (J − J^PL)

    o are the operators per site, and n is the number of sites that are worth the windows. The film is
    large, so edges of windows do not matter. P is a small part of the information of the
    pseudo-likelihood J^PL. It holds combinations of couplings on which means hardly depend, as if films
    are nearly frozen. Newton's method starts from J^PL with films that were cooled from disorder.

    Args:
        effective: Hamiltonian of spins in windows on a plane.
        seed: Random seed of the simulations.

    Raises:
        ValueError: The steps lead away from the means of the windows.
    """
    operators, pseudo = effective.operators, effective.pseudo
    shapes = [shapes_of(o, effective.ensemble.system.lattice_shape) for o in operators]
    per_site = np.array([len(s) / len(o.sites) for s, o in zip(shapes, operators, strict=True)])
    means = effective.moments.means
    target = means.couplings * per_site
    noise = np.square(means.standard_errors * per_site).sum()
    precision = TRUST * np.linalg.inv(pseudo.covariance)
    couplings = pseudo.couplings
    rounds: list[_Round] = []
    films = _cooled(stencil(couplings, shapes), seed)
    with progress_bar("Maximum likelihood of a film", STEPS) as advance:
        for step in range(STEPS):
            rounds.append(_Round(_snapshots(films, shapes)))
            covariance = SIDE**2 * np.mean([r.covariance for r in rounds[-FULL:]], axis=0)
            number = covariance.trace() / noise
            curvature = number * covariance + precision
            pull = number * (target - rounds[-1].means) - precision @ (couplings - pseudo.couplings)
            change = np.linalg.solve(curvature, pull)
            size = SIDE * float(np.sqrt(change @ covariance @ change))
            change *= min(1.0, LARGEST_STEP / size) / max(1, step - FULL + 2)
            couplings = couplings + change
            for film in films:
                film.set(stencil(couplings, shapes))
            advance(1)
    first, last = (np.abs(target - r.means).max() for r in (rounds[0], rounds[-1]))
    if not last <= max(first, 3 * np.sqrt(noise)):
        raise ValueError(f"Simulated films differ from the windows by {last:.2g}, after {first:.2g}.")
    # Films that are nearly frozen differ from each other, so errors come from their means.
    simulated = np.mean([r.values.mean(1) for r in rounds[FULL:]], axis=0)
    inverse = np.linalg.inv(curvature)
    response, held = number * inverse, precision @ inverse
    influence = means.influence * per_site @ response + pseudo.influence @ held
    data = Fit(couplings, influence, pseudo.block_size, pseudo.counts, pseudo.held @ held)
    scatter = np.atleast_2d(np.cov(simulated, rowvar=False)) / FILMS
    return MaximumLikelihood(couplings, data.covariance + response @ scatter @ response)


def _cooled(hamiltonian: Stencil, seed: int) -> list[Film]:
    """Return films that were cooled from disorder."""
    films = [
        Film.disordered(hamiltonian, (SIDE, SIDE), np.random.default_rng([seed, k]))
        for k in range(FILMS)
    ]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda film: film.cool(COOLING), films))
    return films


def _snapshots(films: Sequence[Film], shapes: Sequence[NDArray[np.intp]]) -> np.ndarray:
    """Return the operators per site of films in equilibrium `(films, snapshots, operators)`."""

    def values(film: Film) -> list[np.ndarray]:
        film.sweep(SWEEPS)
        found = []
        for _ in range(SNAPSHOTS):
            film.sweep(INTERVAL)
            found.append(means_of(film.spins, shapes))
        return found

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return np.array(list(pool.map(values, films)))
