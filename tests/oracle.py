"""An architecture that is exact by enumeration, as a reference for tests of measurements."""

from dataclasses import replace

import torch

from lightdan import Architecture, Ising
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
