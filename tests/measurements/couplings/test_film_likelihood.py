"""Couplings of films that are seen through windows."""

import numpy as np
import pytest

from lightdan import MADE, Recorded
from lightdan.interactions.catalogue import UniformLattice
from lightdan.interactions.films import simulate_film
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.undetermined import undetermined_combinations
from lightdan.lattices.bravais import hypercubic
from lightdan.measurements.couplings import film_likelihood as module
from lightdan.measurements.couplings.effective_hamiltonian import uniform_hamiltonian
from lightdan.measurements.couplings.film_likelihood import film_likelihood
from lightdan.measurements.ensemble import Ensemble
from lightdan.simulation.films import windows

SYMMETRIES = ("rotation", "reflection", "z2")


def effective(rows, max_distance, path, names=("pairs",)):
    """Return the Hamiltonian of windows from conditionals, in random order."""
    np.save(path / "rows.npy", np.random.default_rng(0).permutation(rows))
    system = Recorded(str(path / "rows.npy"), boundary="window", splits=(0.5, 0.1, 0.4))
    system.setup()
    system.symmetries = SYMMETRIES
    model = MADE.for_system(system, width=1).eval()
    return uniform_hamiltonian(Ensemble(model, system, 1.0), max_distance, 100, 0, names)


def test_films_whose_walls_do_not_cross_have_no_plaquettes(tmp_path):
    """The sums over neighbours and diagonals then determine that of plaquettes, up to edges."""
    stripes = np.where((np.arange(400)[:, None] + np.arange(8)) % 8 < 4, 1, -1)
    rows = np.repeat(stripes[:, None], 8, 1)
    found = effective(rows, 1.5, tmp_path, None)
    assert [o.name for o in found.operators] == ["field", "nearest_neighbour", "pair_1_1"]
    assert "Walls cross in 0 blocks" in found.notes[0]
    crossed = rows.copy()
    crossed[:20, 2:6, 2:6] = np.where(np.eye(2), 1, -1).repeat(2, 0).repeat(2, 1)
    found = effective(crossed, 1.5, tmp_path, None)
    assert "plaquette" in [o.name for o in found.operators]
    assert not found.notes


def dipolar():
    """Return a film with exchange and dipoles, whose stripes have a period of 7 sites."""
    pairs = UniformLattice(hypercubic((16, 16), "window"), SYMMETRIES, 4.0).operators(["pairs"])
    couplings = np.array([(o.distance == 1) - 0.35 / o.distance**3 for o in pairs]) / 0.8
    return ExplicitHamiltonian.from_couplings((16, 16), pairs, couplings)


@pytest.mark.slow
def test_likelihood_of_stripes(monkeypatch, tmp_path):
    """Couplings of all distances are within errors, which are smaller than by pseudo-likelihood.

    With a range that is too short, the film of the couplings still has the C(r) of the data.
    """
    for name, value in {"FILMS": 6, "SIDE": 48, "STEPS": 8, "FULL": 4}.items():
        monkeypatch.setattr(module, name, value)
    true = dipolar()
    rows = windows(simulate_film(true, (224, 224), 0).spins, (16, 16))
    exact = np.array([operator.coupling for operator in true.operators])
    found = effective(rows, 4.0, tmp_path)
    likely = film_likelihood(found, 0)
    pulls = (likely.couplings - exact) / likely.errors
    assert np.sqrt((pulls**2).mean()) < 1.7
    assert np.median(likely.errors / found.pseudo.standard_errors) < 0.9
    short = effective(rows, 2.0, tmp_path)
    data = correlations(rows)
    deviations = []
    for couplings in (short.pseudo.couplings, film_likelihood(short, 0).couplings):
        learned = ExplicitHamiltonian.from_couplings((16, 16), short.operators, couplings)
        own = windows(simulate_film(learned, (128, 128), 1).spins, (16, 16))
        deviations.append(np.abs(correlations(own) - data).max())
    assert deviations[1] < 0.05 < deviations[0]


def correlations(rows):
    """Return C(r) along both axes for r from 1 to 14."""
    rows = rows.astype(float)
    down = [(rows[:, r:] * rows[:, :-r]).mean() for r in range(1, 15)]
    right = [(rows[:, :, r:] * rows[:, :, :-r]).mean() for r in range(1, 15)]
    return (np.array(down) + right) / 2


def test_frozen_stripes_leave_combinations_to_the_prior(tmp_path):
    """Straight walls fix a sum of couplings; the prior holds the rest with errors of its width."""
    stripes = np.tile(np.sign(np.sin(2 * np.pi * (np.arange(96) + 0.5) / 12)), (96, 1))
    rows = windows(stripes.astype(np.int8), (8, 8))
    found = effective(rows, 2.0, tmp_path)
    assert np.isfinite(found.pseudo.couplings).all()
    assert found.pseudo.standard_errors.max() > 0.5
    (note,) = undetermined_combinations(found.operators, found.pseudo.covariance, 2.0)
    assert note.startswith("The data do not determine these combinations of couplings: ")
    assert "pair_1_1" in note
    free = np.diag(np.array([2.0, 0.01, 0.01, 0.01, 0.01])[: len(found.operators)] ** 2)
    (note,) = undetermined_combinations(found.operators, free, 2.0)
    assert note.endswith(": 1 nearest_neighbour.")
    assert not undetermined_combinations(found.operators, 0.01 * free, 2.0)
