import numpy as np
import pytest
from scipy.special import gammaln

from lightdan.simulation.annealing import log_partition as annealed
from lightdan.simulation.annealing import log_partition_from_sites
from lightdan.simulation.partition import log_partition
from lightdan.simulation.terms import Terms, energies, gather
from lightdan.testing import all_configurations


def interactions(num_sites, scale=0.4):
    """Return fields, pairs and products of three and four spins with random couplings."""
    rng = np.random.default_rng(num_sites)
    orders = [order for order in (1, 1, 2, 2, 2, 3, 4) * 4 if order <= num_sites]
    terms = [
        Terms(rng.permutation(num_sites)[None, :order], (1,) * order, scale * rng.normal())
        for order in orders
    ]
    return gather("spin", num_sites, terms)


@pytest.mark.parametrize("num_sites", [1, 2, 7, 12])
def test_ln_z_is_the_sum_over_all_states(num_sites):
    moves = interactions(num_sites)
    states = all_configurations((num_sites,), (-1, 1)).numpy()
    exact = np.logaddexp.reduce(-energies(states, moves))
    steps = []
    found = log_partition(moves, num_chains=7, progress=steps.append)
    assert found.value == pytest.approx(exact, rel=1e-12)
    assert (found.error, sum(steps)) == (0, 7)


def test_twenty_spins_are_exact_and_twenty_one_annealed():
    moves = interactions(20)
    exact = log_partition(moves)
    found = annealed(moves, 200, 60)
    assert exact.error == 0
    assert abs(found.value - exact.value) < 4 * found.error < 0.2
    larger = interactions(21)
    assert log_partition(larger, 50, seed=1) == annealed(larger, 50, seed=1)


def connected(num_sites, coupling, field):
    """Return a fully connected ferromagnet in a field, and its exact ln Z."""
    sites = np.arange(num_sites)
    pairs = np.stack(np.triu_indices(num_sites, 1), 1)
    moves = gather(
        "spin", num_sites, [Terms(sites[:, None], (1,), field), Terms(pairs, (1, 1), coupling)]
    )
    up = np.arange(num_sites + 1)
    m = 2.0 * up - num_sites
    exact = gammaln(num_sites + 1) - gammaln(up + 1) - gammaln(num_sites - up + 1)
    exact += field * m + coupling * (m**2 - num_sites) / 2
    return moves, np.logaddexp.reduce(exact)


def test_independent_sites_help_where_spins_are_biased():
    moves, exact = connected(30, 0.005, -1.0)
    free = log_partition(moves, 60)
    sites = log_partition(moves, 60, fields=np.full(30, -1.1))
    assert abs(sites.value - exact) < 4 * sites.error
    assert sites.error < 0.2 * free.error


def test_independent_sites_of_one_of_two_phases_are_not_trusted():
    moves, exact = connected(30, 0.08, -0.001)
    moves = moves._replace(clusters=False)  # they would lead from one phase to the other
    found = log_partition(moves, 200, fields=np.full(30, -1.2))
    one_phase, _ = log_partition_from_sites(moves, np.full(30, -1.2), 200)
    assert abs(found.value - exact) < 4 * found.error
    assert exact - one_phase.value > 4 * one_phase.error


@pytest.mark.parametrize(("size", "num_sites"), [(2, 4), (3, 11), (5, 3)])
def test_ln_z_of_free_levels(size, num_sites):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1, size))
    moves = gather("level", num_sites, [Terms(np.arange(num_sites)[:, None], (0,), 1.0)], table)
    found = log_partition(moves)
    assert found.error == 0
    assert found.value == pytest.approx(num_sites * np.logaddexp.reduce(table[0]))


@pytest.mark.parametrize("field", [0.0, 0.5])
def test_chains_of_equal_weights_give_a_finite_ln_z(field):
    """Check a Hamiltonian of independent sites, from which annealing has no error at all."""
    moves = gather("spin", 21, [Terms(np.arange(21)[:, None], (1,), field)])
    found = log_partition(moves, 50, fields=np.full(21, field))
    assert found.value == pytest.approx(21 * np.log(2 * np.cosh(field)), abs=1e-6)
    assert 0 < found.error < 1e-6
