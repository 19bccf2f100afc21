"""Uniform interactions chosen by held-out configurations."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lightdan.interactions.catalogue import UniformLattice
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.uniform_fit import UniformFit, UniformModel, choose_uniform
from lightdan.lattices.bravais import hypercubic

SPATIAL = ("translation", "rotation", "reflection")
SITES = {
    "spin": ((-1, 1), ("z2",)),
    "level": ((0, 1, 3), ()),
    "angle": ((), ("spin_rotation", "spin_reflection")),
    "real": ((), ()),
}


def model(kind="spin", shape=(4, 4), **changes):
    levels, internal = SITES[kind]
    whole = UniformModel(hypercubic(shape), SPATIAL, internal, 1.5, kind, levels)
    return replace(whole, **changes)


def rows_of(kind, num, rng, shape=(4, 4)):
    if kind in ("spin", "level"):
        return torch.from_numpy(rng.choice(SITES[kind][0], (num, *shape))).float()
    if kind == "angle":
        return torch.from_numpy(rng.uniform(0, 2 * np.pi, (num, *shape))).float()
    return torch.from_numpy(rng.normal(size=(num, *shape))).float()


@pytest.mark.parametrize("kind", SITES)
def test_log_likelihood_is_the_sum_of_conditionals_of_the_hamiltonian(kind):
    rng = np.random.default_rng(0)
    train, new = rows_of(kind, 400, rng), rows_of(kind, 3, rng)
    fit = UniformFit.of(model(kind), train)
    hamiltonian = fit.hamiltonian()
    values = {"level": [0, 1, 3], "spin": [-1, 1]}.get(kind)
    weight = 1.0
    if kind == "angle":
        values, weight = np.arange(200) * 2 * np.pi / 200, 1 / 200
    elif kind == "real":
        values = np.linspace(-9, 9, 2_001)
        weight = values[1] - values[0]
    energy = hamiltonian.energy(new.double().numpy())
    total = np.zeros(3)
    for site in np.ndindex(4, 4):
        changed = np.repeat(new.double().numpy()[None], len(values), 0)
        changed[(slice(None), slice(None), *site)] = np.asarray(values)[:, None]
        energies = hamiltonian.energy(changed.reshape(-1, 4, 4)).reshape(len(values), 3)
        total += -energy - np.log(weight * np.exp(-energies).sum(0))
    assert fit.log_likelihood(new) == pytest.approx(total, rel=1e-4)


def drawn(couplings, symmetries, names, num=2_000, shape=(4, 4), seed=0):
    """Return spins of a Hamiltonian with couplings of named operators."""
    lattice = UniformLattice(shape, symmetries, 1.5)
    operators = [o for o in lattice.operators(names) if o.name in couplings]
    values = np.array([couplings[o.name] for o in operators])
    hamiltonian = ExplicitHamiltonian.from_couplings(shape, operators, values)
    return torch.from_numpy(hamiltonian.simulate(1.0, num, seed).configurations).float()


CASES = {
    "all symmetries": ({"nearest_neighbour": 0.3}, SPATIAL, True, True),
    "a field": ({"nearest_neighbour": 0.2, "field": 0.15}, SPATIAL, True, False),
    "one direction": ({"nearest_neighbour": 0.45, "pair_0_1": 0.05}, ("translation",), False, True),
}


@pytest.mark.parametrize(("couplings", "made_with", "point", "even"), CASES.values(), ids=CASES)
def test_symmetries_that_the_rows_break_are_left_out(couplings, made_with, point, even):
    rows = drawn(couplings, made_with, ["field", "pairs"])
    choice = choose_uniform(model(), rows)
    assert ("rotation" in choice.model.spatial) == point
    assert ("z2" in choice.model.internal) == even
    assert choice.gain.value > 0  # over all pairs


def test_independent_signs_of_bonds_are_not_uniform():
    rng = np.random.default_rng(0)
    rows = drawn({"nearest_neighbour": 0.5}, SPATIAL, ["pairs"])
    gauge = torch.from_numpy(rng.choice([-1.0, 1.0], (4, 4))).float()
    assert choose_uniform(model(), rows * gauge).gain.value < 0


def test_rows_that_never_change_have_no_uniform_interaction():
    assert choose_uniform(model(internal=()), torch.ones(100, 4, 4)) is None
