import numpy as np
import pytest

from lightdan.simulation.replica_exchange import ReplicaExchange, exchange, num_pairs


@pytest.mark.parametrize(("step", "pairs"), [(0, [(0, 1), (2, 3)]), (1, [(1, 2), (3, 4)])])
def test_every_pair_is_exchanged_with_its_probability(step, pairs):
    rng = np.random.default_rng(step)
    betas, energies = np.array([2.0, 1.5, 1.0, 0.7, 0.5]), np.array([-1.0, -1.4, 0.3, -2.0, 1.0])
    assert num_pairs(5, step) == len(pairs)
    ladders = np.tile(energies, (4000, 1))
    order = exchange(ladders, betas, step, rng.random((4000, 2))).reshape(4000, 5)
    order -= 5 * np.arange(4000)[:, None]
    untouched = set(range(5)) - {k for pair in pairs for k in pair}
    assert all((order[:, k] == k).all() for k in untouched)
    for a, b in pairs:
        expected = min(1.0, np.exp((betas[a] - betas[b]) * (energies[a] - energies[b])))
        swapped = order[:, a] == b
        assert np.array_equal(order[:, b], np.where(swapped, a, b))
        assert swapped.mean() == pytest.approx(expected, abs=4 * 0.5 / 4000**0.5)


class TwoLevels(ReplicaExchange):
    """Chains of one site with E = 0 or 1, redrawn from equilibrium; observe the state and the chain."""

    def __init__(self, betas, num_ladders):
        super().__init__(betas, num_ladders)
        self.rng = np.random.default_rng(0)
        self.calls = []

    def move(self, step, burn_in):
        self.calls.append(burn_in)
        up = np.exp(-self.betas) / (1 + np.exp(-self.betas))
        self.states = (self.rng.random(self.num_ladders * len(up)) < np.tile(up, self.num_ladders)) * 1.0
        return self.states

    def uniforms(self, num):
        return self.rng.random(num)

    def reorder(self, order):
        self.states = self.states[order]

    def observe(self):
        return np.stack([self.states, np.arange(len(self.states))])


def test_exchange_keeps_the_distribution_at_every_temperature():
    betas = [3.0, 1.0, 0.2]
    chains = TwoLevels(betas, 20)
    states, index = chains.run(500)
    assert states.shape == (3, 20, 400)
    assert chains.calls == [True] * 100 + [False] * 400
    for k, beta in enumerate(betas):
        assert states[k].mean() == pytest.approx(1 / (1 + np.exp(beta)), abs=4 * 0.5 / 8000**0.5)
        assert (index[k] == k + 3 * np.arange(20)[:, None]).all()
