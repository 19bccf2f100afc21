"""An architecture that is exact by enumeration, as a reference for tests of measurements."""

from dataclasses import replace

import numpy as np
import torch

from lightdan import MADE, Architecture, Ising
from lightdan.interactions.catalogue import uniform_operators
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.testing import all_configurations

SHAPE, TEMPERATURE = (3, 3), 2.0


class Oracle(Architecture):
    """Boltzmann distribution of a small Ising model, its conditionals summed over all states.

    Args:
        temperature: Temperature T of the distribution.
        distortion: Known error that is added to each logit.
    """

    def __init__(self, temperature: float = 2.0, distortion: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.temperature, self.distortion = temperature, distortion
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.states = all_configurations(self.lattice_shape, (-1, 1))
        self.weights = (-Ising(shape=self.lattice_shape).energy(self.states) / temperature).exp()

    def forward(self, configurations, temperature=None):
        up = (configurations.flatten(1) > 0).long()
        logits, before = [], torch.zeros(len(up), dtype=torch.long)
        for site in range(self.num_sites):
            # The states are ordered like binary numbers whose first digits are the sites before.
            down, other = self.weights.reshape(2**site, 2, -1).sum(-1).T
            logits.append((other / down).log()[before])
            before = 2 * before + up[:, site]
        return torch.stack(logits, 1)[..., None] + self.distortion + self.weight


class Boltzmann(MADE):
    """The exact e^{−βH}/Z(β) of spins at every temperature, or at a β that is wrong by a factor.

    Args:
        factor: Factor on β.
    """

    def __init__(self, factor: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        self.states = all_configurations(self.lattice_shape, (-1, 1)).double()
        self.energies = Ising(self.lattice_shape).energy(self.states)
        self.double()

    def log_prob(self, configurations, temperature=None):
        beta = self.factor / temperature.double()
        log_z = (-beta[:, None] * self.energies).logsumexp(1)
        return -beta * Ising(self.lattice_shape).energy(configurations.double()) - log_z

    def sample(self, num, seed=0, temperature=None, **options):
        p = (-self.factor * self.energies / temperature).softmax(0).numpy()
        return self.states[np.random.default_rng(seed).choice(len(p), num, p=p)]


def oracle(**options):
    """Return an oracle of `SHAPE` at `TEMPERATURE`."""
    model = Oracle(temperature=TEMPERATURE, lattice_shape=SHAPE, **options)
    return model.double().eval()


def ising(coupling):
    """Return the Hamiltonian with a field and nearest neighbours only."""
    every = ("translation", "rotation", "reflection")
    field, pairs = uniform_operators(SHAPE, every, 1.0)[:2]
    operators = [field, replace(pairs, coupling=coupling)]
    return ExplicitHamiltonian(SHAPE, operators, TEMPERATURE)


def within(estimate, value, errors=4.0):
    """Assert that an estimate agrees with a value within a number of standard errors."""
    assert abs(estimate.value - value) <= errors * estimate.error, (estimate, value)
