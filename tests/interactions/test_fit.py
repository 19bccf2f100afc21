import numpy as np
import pytest
import torch

from lightdan import ExplicitHamiltonian, Ising
from lightdan.interactions.catalogue import uniform_operators
from lightdan.interactions.fit import fit
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.operators import sites_with_neighbours
from lightdan.lattices.bravais import hypercubic
from lightdan.testing import all_configurations

EVERY = ("translation", "rotation", "reflection")


def test_exact_conditionals_give_the_exact_couplings():
    """The targets are computed from energies of flipped spins, the fields from the operators."""
    operators = uniform_operators((3, 4), EVERY, 1.5)
    couplings = np.random.default_rng(0).normal(size=len(operators)) / 3
    exact = ExplicitHamiltonian.from_couplings((3, 4), operators, couplings)
    states = all_configurations((3, 4), (-1, 1))[::7]
    up = []
    for site in range(12):
        energies = []
        for value in (1, -1):
            changed = states.flatten(1).clone()
            changed[:, site] = value
            energies.append(exact.energy(changed.reshape(states.shape).numpy()))
        up.append(1 / (1 + np.exp(energies[0] - energies[1])))
    result = fit(LocalFields(operators, 12), states, torch.tensor(np.stack(up, 1)))
    np.testing.assert_allclose(result.couplings, couplings, atol=1e-8)
    remainder = fit(
        LocalFields(operators, 12),
        states,
        torch.tensor(np.stack(up, 1)),
        offset=torch.tensor(np.log(np.stack(up, 1)) - np.log1p(-np.stack(up, 1))),
    )
    np.testing.assert_allclose(remainder.couplings, 0, atol=1e-8)


def test_configurations_that_determine_no_couplings_are_refused():
    fields = LocalFields(uniform_operators((3, 3), EVERY, 1.0), 9)
    with pytest.raises(ValueError, match="leave a coupling undetermined"):
        fit(fields, torch.ones(50, 3, 3))
    with pytest.raises(ValueError, match=r"site 0 in configuration 0 .* is nan: pass finite numbers"):
        fit(fields, torch.full((50, 3, 3), torch.nan))


def test_a_window_has_the_couplings_of_the_film_only_inside():
    """Check that pseudo-likelihood in an open window is right inside and wrong at the edge."""
    film = Ising(24, temperature=2.5, num_configurations=1500)
    film.setup()
    windows = torch.cat([film.data.rows(name, 2.5) for name in ("train", "test")])[:, 4:12, 7:15]
    operators = uniform_operators(hypercubic((8, 8), "window"), EVERY, 1.5)
    sites = sites_with_neighbours(hypercubic((8, 8), "window"), operators).tolist()
    assert len(sites) == 36
    inside = fit(LocalFields(operators, 64, sites=sites), windows)
    everywhere = fit(LocalFields(operators, 64), windows)
    expected = [0, 0.4, 0, 0]
    assert (np.abs(inside.couplings - expected) < 4 * inside.standard_errors).all()
    assert abs(everywhere.couplings[1] - 0.4) > 4 * everywhere.standard_errors[1]
    assert len(sites_with_neighbours((8, 8), operators)) == 64
    with pytest.raises(ValueError, match="no site that is 2 away from its edge"):
        sites_with_neighbours(
            hypercubic((4, 4), "window"), uniform_operators(hypercubic((4, 4), "window"), EVERY, 2.0)
        )


def test_rows_that_are_copies_count_once():
    system = Ising(6, temperature=3.0, num_configurations=500)
    system.setup()
    rows = system.data.rows("train", 3.0)
    fields = LocalFields(uniform_operators((6, 6), EVERY, 1.0), 36)
    once = fit(fields, rows)
    copied = rows.repeat_interleave(5, 0)
    np.testing.assert_allclose(
        fit(fields, copied, block_size=5).standard_errors, once.standard_errors, rtol=0.01
    )
    ratio = fit(fields, copied).standard_errors / once.standard_errors
    np.testing.assert_allclose(ratio, 5**-0.5, rtol=0.01)
    assert once.covariance.diagonal() == pytest.approx(once.standard_errors**2)
