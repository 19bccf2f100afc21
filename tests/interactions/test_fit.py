import numpy as np
import pytest
import torch

from lightdan import SpinHamiltonian
from lightdan.interactions.fit import LocalFields, fit
from lightdan.interactions.operators import uniform_operators
from lightdan.testing import all_configurations

EVERY = ("translation", "rotation", "reflection")


def test_exact_conditionals_give_the_exact_couplings():
    """The targets are computed from energies of flipped spins, the fields from the operators."""
    operators = uniform_operators((3, 4), "periodic", EVERY, 1.5)
    couplings = np.random.default_rng(0).normal(size=len(operators)) / 3
    exact = SpinHamiltonian.from_couplings((3, 4), operators, couplings)
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
    fields = LocalFields(uniform_operators((3, 3), "periodic", EVERY, 1.0), 9)
    with pytest.raises(ValueError, match="leave a coupling undetermined"):
        fit(fields, torch.ones(50, 3, 3))
    with pytest.raises(ValueError, match="leave a coupling undetermined"):
        fit(fields, torch.full((50, 3, 3), torch.nan))
