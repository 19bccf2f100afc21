import numpy as np
import pytest

from lightdan.simulation.annealing import log_partition as annealed
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
