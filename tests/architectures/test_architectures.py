"""Property tests of every registered architecture, small where it is wide, and of the base class."""

from functools import partial

import pytest
import torch
from trainers import quiet_trainer

from lightdan import (
    MADE,
    Architecture,
    Bernoulli,
    BlockSpin,
    Categorical,
    Ising,
    MaximumLikelihood,
    VariationalFreeEnergy,
    registry,
)
from lightdan.lattices.groups import OPERATIONS
from lightdan.testing import ArchitectureTests, all_configurations, probabilities_of, randomize
from lightdan.types import Batch

registry.load_plugins()
SMALL = {
    "HalfPlane": {"units": 4},
    "Recurrent": {"units": 4, "states": 2},
    "Transformer": {"width": 8, "heads": 2},
}
OURS = {
    name: partial(cls, **SMALL.get(name, {}))
    for name, cls in registry.known(Architecture).items()
    if cls.__module__.startswith("lightdan.") and name != "Auto"  # which hands on to others
}
every_architecture = pytest.mark.parametrize("cls", OURS.values(), ids=OURS)


class TestEvery(ArchitectureTests):
    @pytest.fixture(autouse=True, params=OURS.values(), ids=OURS)
    def choose(self, request):
        self.cls = request.param

    def make(self, **kwargs):
        return self.cls(**kwargs)


@pytest.mark.slow
@every_architecture
def test_probabilities_of_65536_states_sum_to_one(cls):
    model = randomize(cls(lattice_shape=(4, 4)))
    total = probabilities_of(model, all_configurations((4, 4), (-1, 1))).sum()
    assert total.item() == pytest.approx(1, abs=1e-10)


@pytest.fixture
def system(tmp_path):
    """Return an Ising model in a field, whose distribution is far from uniform."""
    return Ising(
        3, field=0.3, temperature=3.0, num_configurations=1000, batch_size=20, cache_dir=str(tmp_path)
    )


def divergence(model, system, temperature=3.0):
    states = all_configurations(system.lattice_shape, (-1, 1)).float()
    p = (-system.energy(states) / temperature).softmax(0)
    return (p @ (p / probabilities_of(model, states, temperature)).log()).item()


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        (MaximumLikelihood, {"augment": ["translation"], "symmetrize": ["rotation"]}),
        (VariationalFreeEnergy, {}),
        pytest.param(VariationalFreeEnergy, {"symmetrize": ["rotation"]}, marks=pytest.mark.slow),
    ],
)
@every_architecture
def test_training_approaches_the_distribution(cls, objective, options, system):
    torch.manual_seed(0)
    model = cls(
        lattice_shape=(3, 3),
        objective=objective(),
        optimizer=partial(torch.optim.Adam, lr=0.03),
        **options,
    )
    before = divergence(model, system)
    quiet_trainer(max_epochs=2).fit(model, datamodule=system)
    assert divergence(model, system) < 0.5 * before


def test_augmentation_applies_random_operations_to_each_configuration(system):
    seen = []

    class Watching(MaximumLikelihood):
        def loss(self, problem, batch):
            seen.append(batch.configurations)
            return super().loss(problem, batch)

    for augment in ([], ["translation", "z2"]):
        model = MADE(lattice_shape=(3, 3), augment=augment, objective=Watching())
        quiet_trainer(max_steps=1).fit(model, datamodule=system)
    plain, augmented = seen
    images = {tuple(s.flatten().tolist()) for s in augmented}
    assert images != {tuple(s.flatten().tolist()) for s in plain}
    magnetization = [s.flatten(1).sum(1) for s in (plain, augmented)]
    assert torch.equal(magnetization[0].abs(), magnetization[1].abs())
    flipped = magnetization[0] != magnetization[1]
    assert 0.2 < flipped.double().mean() < 0.8


def test_symmetrized_training_sees_one_random_image_whose_mean_bounds_the_likelihood(system):
    """Check ⟨ln p(g s)⟩ < ln ⟨p(g s)⟩, and that it is the mean over random elements."""
    model = randomize(MADE(lattice_shape=(3, 3), symmetrize=["rotation", "z2"]))
    trainer = quiet_trainer()
    trainer.datamodule = system
    system.setup()
    model.trainer = trainer
    s = all_configurations((3, 3), (-1, 1))[37:38]
    images = [model.bare_log_prob(model.group.act(s, torch.tensor(g))).item() for g in range(8)]
    problem = model.problem(torch.Generator().manual_seed(0))
    log_probs = problem.log_prob_bound(s.expand(4000, 3, 3), torch.ones(4000).double()).detach()
    for image in images:
        assert torch.isclose(log_probs, torch.tensor(image).double()).any()
    error = log_probs.std().item() / len(log_probs) ** 0.5
    assert log_probs.mean().item() == pytest.approx(sum(images) / 8, abs=5 * error)
    assert log_probs.mean() < model.log_prob(s)


@every_architecture
def test_hamiltonian_is_minus_temperature_times_log_probability(cls):
    model = randomize(cls(lattice_shape=(2, 3), temperature_input=True))
    s = all_configurations((2, 3), (-1, 1))[::9]
    temperature = torch.linspace(1, 3, len(s), dtype=torch.float64)
    with torch.no_grad():
        energy = model.hamiltonian(s, temperature)
        torch.testing.assert_close(energy, -temperature * model.log_prob(s, temperature))
        predicted = model.predict_step(Batch(s, temperature))
        torch.testing.assert_close(predicted["hamiltonian"], energy)
        for site in range(6):
            flipped = s.flatten(1).clone()
            flipped[:, site] *= -1
            difference = model.energy_difference(s, site, flipped[:, site], temperature)
            after = model.hamiltonian(flipped.reshape(s.shape), temperature)
            torch.testing.assert_close(difference, after - energy)


@every_architecture
def test_conditionals_add_up_to_the_log_probability_in_the_shape_of_the_lattice(cls):
    model = randomize(cls(lattice_shape=(2, 3)))
    s = all_configurations((2, 3), (-1, 1))[::5]
    terms = model.conditionals(s)
    assert terms.shape == s.shape
    torch.testing.assert_close(terms.flatten(1).sum(1), model.log_prob(s))
    # The first site sees no other, so that it has two probabilities, which sum to 1.
    first = terms[:, 0, 0].detach().exp().round(decimals=12).unique()
    assert first.sum().item() == pytest.approx(1)


@every_architecture
def test_sampling_in_portions_gives_as_many_as_asked_for(cls):
    model = randomize(cls(lattice_shape=(2, 3)), scale=0.1)
    told = []
    samples = model.sample(25, seed=1, batch_size=10, progress=told.append)
    assert told == [10, 10, 5]
    assert samples.shape == (25, 2, 3)
    assert not torch.equal(samples, model.sample(25, seed=2, batch_size=10))


def test_global_random_numbers_are_neither_used_nor_changed():
    model = randomize(MADE(lattice_shape=(2, 3)))
    samples = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        samples.append(model.sample(20, seed=5))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(*samples)


@every_architecture
def test_for_system_takes_what_the_system_declares(cls):
    system = BlockSpin(Ising(4))
    model = cls.func.for_system(system, temperature_input=True)
    assert model.temperature_input
    for name in ("lattice_shape", "site_kind", "levels", "symmetries"):
        assert getattr(model, name) == model.hparams[name] == getattr(system, name)


def test_hyperparameters_are_those_of_the_outermost_constructor():
    class _Narrow(MADE):
        def __init__(self, lattice_shape, halved=4, **kwargs):
            super().__init__(width=halved // 2, lattice_shape=lattice_shape, **kwargs)

    arguments = {"lattice_shape": (2, 2), "halved": 6, "depth": 2, "symmetrize": ("z2",)}
    model = _Narrow([2, 2], halved=6, depth=2, symmetrize=["z2"])
    assert model.constructor_arguments == arguments
    assert model.hparams == arguments | {"conditional": Bernoulli().spec()}


def test_an_architecture_without_forward_is_refused():
    class _Silent(Architecture):
        pass

    with pytest.raises(TypeError, match=r"abstract method '?forward"):
        _Silent(lattice_shape=(2, 2))


@pytest.mark.parametrize("option", ["augment", "symmetrize"])
def test_operations_that_the_system_does_not_declare_are_refused(option):
    with pytest.raises(
        ValueError, match=rf"model.{option} names z2, which.*use its symmetries \(rotation\)\."
    ):
        MADE(lattice_shape=(3, 3), symmetries=["rotation"], **{option: ["z2", "rotation"]})
    MADE(lattice_shape=(3, 3), **{option: [name for name in OPERATIONS if name != "spin_rotation"]})


def test_models_do_not_share_the_conditional_they_are_given():
    conditional = Categorical()
    first = MADE(lattice_shape=(3,), site_kind="level", levels=(0, 1, 2), conditional=conditional)
    MADE(lattice_shape=(3,), site_kind="level", levels=(5, 7), conditional=conditional)
    assert set(first.sample(50).unique().tolist()) <= {0.0, 1.0, 2.0}


def test_an_energy_is_asked_only_of_a_system_that_has_one(system, monkeypatch):
    monkeypatch.setattr(type(system), "has_energy", False)
    model = MADE(lattice_shape=(3, 3), objective=VariationalFreeEnergy())
    with pytest.raises(ValueError, match="the Hamiltonian of Ising is not known"):
        quiet_trainer(max_epochs=1).fit(model, datamodule=system)


@pytest.mark.parametrize("site", [{}, {"site_kind": "level", "levels": (0, 2, 3)}])
@every_architecture
def test_local_fields_are_all_single_site_differences(cls, site):
    model = randomize(cls(lattice_shape=(2, 3), temperature_input=True, **site))
    states = all_configurations((2, 3), site.get("levels", (-1, 1)))[::41]
    temperature = torch.linspace(1, 3, len(states), dtype=torch.float64)
    fields = model.local_fields(states, temperature)
    some = model.local_fields(states, temperature, sites=[4, 1])
    torch.testing.assert_close(some, fields[:, [4, 1]], atol=1e-9, rtol=0)
    with torch.no_grad():
        before = model.hamiltonian(states, temperature)
        for index in range(6):
            for level, value in enumerate(model.levels):
                changed = states.flatten(1).clone()
                changed[:, index] = value
                after = model.hamiltonian(changed.reshape(states.shape), temperature)
                torch.testing.assert_close(fields[:, index, level], after - before, atol=1e-9, rtol=0)
    present = states.flatten(1)[..., None] == torch.tensor(model.levels)
    assert fields[present].abs().max() == 0


def test_local_fields_of_continuous_sites_are_refused():
    model = MADE(lattice_shape=(3,), site_kind="angle")
    with pytest.raises(ValueError, match="local_fields needs discrete sites, not sites of kind 'a"):
        model.local_fields(torch.ones(2, 3), 1.0)
