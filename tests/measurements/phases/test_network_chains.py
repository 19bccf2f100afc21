import numpy as np
import pytest
import torch

from lightdan import MADE, ExplicitHamiltonian
from lightdan.interactions.catalogue import UniformLattice
from lightdan.measurements.phases.network_chains import NetworkChains
from lightdan.testing import all_configurations, randomize

SURROGATES = {
    "spin": ("field", "pairs"),
    "level": ("fields", "pairs"),
    "real": ("powers",),
    "angle": ("fields", "pairs"),
}
"""Operators of a Hamiltonian that makes proposals."""


@pytest.mark.parametrize(
    "site",
    [
        {},
        {"site_kind": "level", "levels": (0, 1, 3)},
        {"site_kind": "real", "levels": ()},
        {"site_kind": "angle", "levels": ()},
    ],
    ids=["spins", "levels", "reals", "angles"],
)
@pytest.mark.parametrize("moves", ["single sites", "surrogate"])
def test_chains_are_in_equilibrium(site, moves):
    """⟨ln p⟩ of p^{T/T'} agrees with the sum over all states or, at T' = T, with independent samples."""
    shape = (2, 2)
    model = randomize(
        MADE(lattice_shape=shape, width=2, **site), 0.7 if moves == "single sites" else 0.3
    )
    temperatures = [1.0, 1.6] if model.levels else [1.0]
    surrogate = None
    if moves == "surrogate":
        operators = UniformLattice(shape, (), 1.0, **site).operators(SURROGATES[model.site_kind])
        couplings = np.array([-0.05 if o.name.startswith("power_") else 0.1 for o in operators])
        surrogate = ExplicitHamiltonian.from_couplings(shape, operators, couplings, **site)
    num = 400 if surrogate is None else 200
    chains = NetworkChains(
        model, 1.0, temperatures, num, lambda s: s.flatten(1).mean(1)[None], 1, surrogate
    )
    log_prob, acceptance, _ = torch.from_numpy(chains.run(60 if surrogate is None else 25))
    assert 0.05 < acceptance.mean() <= 1
    for k, t in enumerate(temperatures):
        by_ladder = log_prob[k].mean(1)
        if model.levels:
            with torch.no_grad():
                all_log_p = model.log_prob(all_configurations(shape, model.levels))
            expected, error = ((all_log_p / t).softmax(0) @ all_log_p).item(), 0.0
        else:
            with torch.no_grad():
                others = model.log_prob(model.sample(20_000, seed=2))
            expected, error = others.mean().item(), others.std().item() / 20_000**0.5
        spread = (by_ladder.std().item() / num**0.5) ** 2 + error**2
        assert abs(by_ladder.mean().item() - expected) < 4 * spread**0.5


def test_exchange_permutes_the_configurations_of_a_ladder():
    model = randomize(MADE(lattice_shape=(2, 3), width=2), 0.7)
    chains = NetworkChains(model, 1.0, [0.8, 1.0, 1.5, 2.5], 50, lambda s: s.flatten(1), seed=1)
    before = {}
    move = chains.move

    def remember(step, burn_in):
        energies = move(step, burn_in)
        before["log_prob"] = -energies.reshape(50, 4)
        return energies

    chains.move = remember
    for step in range(3):
        chains.step(step)
        with torch.no_grad():
            torch.testing.assert_close(chains.log_probs, model.log_prob(chains.configurations))
        after = chains.log_probs.double().numpy().reshape(50, 4)
        assert not np.array_equal(before["log_prob"], after)
        np.testing.assert_array_equal(np.sort(before["log_prob"]), np.sort(after))
