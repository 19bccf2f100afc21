"""An architecture that is exactly right, by enumeration: what measurements are tested against."""

import torch

from lightdan import Architecture, Ising
from lightdan.testing import all_configurations


class Oracle(Architecture):
    """The Boltzmann distribution of a small Ising model, its conditionals summed over all states.

    Args:
        temperature: T of the distribution.
        distortion: Added to each logit, to make the oracle err by a known amount.
    """

    def __init__(self, temperature: float = 2.0, distortion: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.temperature, self.distortion = temperature, distortion
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.states = all_configurations(self.lattice_shape, (-1, 1))
        self.weights = (-Ising(shape=self.lattice_shape).energy(self.states) / temperature).exp()

    def forward(self, configurations, temperature=None):
        states, given = self.states.flatten(1), configurations.flatten(1).double()
        logits = []
        agree = torch.ones(len(given), len(states), dtype=torch.bool)
        for site in range(self.num_sites):
            up = states[:, site] > 0
            weights = agree * self.weights
            logits.append((weights[:, up].sum(1) / weights[:, ~up].sum(1)).log())
            agree = agree & (states[:, site] == given[:, site, None])
        return torch.stack(logits, 1)[..., None] + self.distortion + self.weight
