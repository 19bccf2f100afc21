"""Auto: choice of network, start, rehearsal and checkpoints."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning import LightningDataModule
from lightning.pytorch.callbacks import ModelCheckpoint
from trainers import quiet_trainer

import lightdan.architectures.start as start_of_a_fit
from lightdan import MADE, Auto, Categorical, Ising, PixelCNN, Recorded, checkpoints
from lightdan.architectures.linear_start import set_linear_part
from lightdan.architectures.rehearsal import Contest, Draws, divergence
from lightdan.architectures.start import Pairs, choose_start, is_lattice, training_rows
from lightdan.data.samples import Samples
from lightdan.interactions.hamiltonian import edwards_anderson
from lightdan.interactions.observations import Observations
from lightdan.interactions.regressions import Sites, best_regression, regress
from lightdan.interactions.uniform_fit import split
from lightdan.statistics import Blocks, mean
from lightdan.testing import all_configurations, probabilities_of, randomize
from lightdan.types import Batch


@pytest.mark.parametrize(("network", "cls"), [("MADE", MADE), ("PixelCNN", PixelCNN), ("auto", MADE)])
def test_it_hands_on_to_its_network(network, cls):
    model = randomize(Auto(network=network, lattice_shape=(2, 3), symmetrize=["z2"]))
    assert type(model.network) is cls
    states = all_configurations((2, 3), (-1, 1))
    assert probabilities_of(model, states).sum().item() == pytest.approx(1, abs=1e-10)
    assert model.bare_log_prob(states).equal(model.network.bare_log_prob(states))
    uniforms = torch.rand(20, 6, dtype=torch.float64)
    assert model.draw(uniforms).equal(model.network.draw(uniforms))
    logits = model.log_prob(-states[:5]) - model.log_prob(states[:5])
    assert logits.abs().max() < 1e-12  # z2
    flipped = states[:5] * torch.tensor([[1, 1, -1], [1, 1, 1]])
    change = model.local_fields(states[:5], 2.0)[:, 2].sum(1)  # 0 at the present value
    assert change.allclose(model.hamiltonian(flipped, 2.0) - model.hamiltonian(states[:5], 2.0))


def test_a_real_field_has_the_units_of_the_data():
    model = Auto(lattice_shape=(3,), site_kind="real", levels=())
    model._take_units(5.0, 2.0, 1.0, 9.0)
    model._give_units(model.network)
    assert (model.network.location, model.network.scale) == (5.0, 2.0)
    assert model.sample(500, 0).mean().item() == pytest.approx(5, abs=0.5)


def test_rehearsal_is_not_negative():
    with pytest.raises(ValueError, match="rehearsal is -1"):
        Auto(lattice_shape=(3,), rehearsal=-1)


@pytest.fixture
def correlated():
    """Rows of a random regression of 6 spins."""
    rng = np.random.default_rng(0)
    weights = np.tril(rng.normal(0, 0.7, (6, 6)), -1)
    rows = np.zeros((1_000, 6))
    for i in range(6):
        p = 1 / (1 + np.exp(-(rows @ weights[i] - 0.5)))
        rows[:, i] = np.where(rng.random(1_000) < p, 1, -1)
    return torch.from_numpy(rows).float()


@pytest.mark.parametrize("kind", ["spin", "level", "categories"])
def test_linear_part_is_a_regression(kind, correlated):
    rows, levels = correlated, (-1, 1)
    site = {"site_kind": "spin", "levels": levels}
    if kind == "categories":
        site["conditional"] = Categorical()
    elif kind == "level":
        levels = (0, 2, 3)
        moved = 2 * (rows > 0) + (rows > 0) * (rows.roll(1, 1) > 0)
        rows, site = moved.float(), {"site_kind": "level", "levels": levels}
    sites = Sites("spin" if kind == "spin" else "level", levels)
    network = MADE(lattice_shape=(6,), **site)
    found = regress(Observations(rows), sites, before=True, width=0.3)
    width = set_linear_part(network, found)
    assert network.log_prob(rows).detach().numpy() == pytest.approx(found.log_prob(rows), abs=1e-4)
    assert width == (0.6 if kind == "spin" else 0.3)
    # The penalty of the network is that of the regression.
    penalty = (network.linear.weight**2).sum().item() / width**2
    assert penalty == pytest.approx((found.weight**2).sum().item() / 0.3**2, rel=1e-5)


def recorded(tmp_path, rows, **options):
    np.save(tmp_path / "rows.npy", rows)
    system = Recorded(str(tmp_path / "rows.npy"), batch_size=50, splits=(0.8, 0.1, 0.1), **options)
    system.setup()
    return system


@pytest.fixture
def few_draws(monkeypatch):
    """Draw fewer configurations, to save time."""
    monkeypatch.setattr(start_of_a_fit, "MOST_DRAWS", 300)


def torus_rows(num=400):
    system = Ising(4, temperature=2.5, num_configurations=num)
    return system.simulate(2.5, 0, lambda n: None).configurations


def test_what_is_chosen(tmp_path, correlated, few_draws):
    """A torus of Ising spins leads to PixelCNN with all symmetries, a regression to MADE."""
    start = choose_start(recorded(tmp_path, torus_rows(), boundary="periodic"), lambda: None)
    assert start.network == "PixelCNN"
    assert set(start.symmetries) == {"z2", "translation", "rotation", "reflection"}
    assert start.draws.configurations.shape[1:] == (4, 4)
    assert "pseudo-likelihood over all pairs" in start.reason
    system = recorded(tmp_path, correlated.numpy())
    start = choose_start(system, lambda: MADE.for_system(system))
    assert start.network == "MADE"
    assert start.prior_width > 0
    assert start.weights["linear.weight"].abs().sum() > 0


def test_cubes_and_cells_of_several_sites_are_lattices_and_graphs_are_none(tmp_path, few_draws):
    path = tmp_path / "edges.txt"
    path.write_text("0 1\n1 2\n")
    assert is_lattice(Ising((2, 2, 2)))
    assert not is_lattice(Ising((3,), lattice=str(path)))
    system = Ising(2, lattice="kagome", temperature=4.0, num_configurations=400, cache_dir=str(tmp_path))
    system.prepare_data()
    system.setup("fit")
    model = Auto.for_system(system)
    model.start(choose_start(system, partial(MADE.for_system, system)))
    assert isinstance(model.network, PixelCNN)
    assert model.sample(2).shape == (2, 2, 2, 3)


def test_levels_start_as_the_regression_to_the_data(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.integers(4, size=(1_500, 6))
    for i in range(1, 6):
        rows[:, i] = np.where(rng.random(len(rows)) < 0.6, rows[:, i - 1], rows[:, i])
    system, new = recorded(tmp_path, rows[:500], values="level"), torch.from_numpy(rows[500:])
    start = choose_start(system, lambda: MADE.for_system(system))
    assert (start.network, start.draws) == ("MADE", None)
    network = MADE.for_system(system)
    network.load_state_dict(start.weights)
    train = Observations(system.data.rows("train", 1.0))
    linear = best_regression(train, Sites("level", system.levels), before=True)
    assert start.prior_width == pytest.approx(linear.width, rel=1)
    with torch.no_grad():
        gain = mean(network.log_prob(new.float()).numpy() - linear.log_prob(new))
    assert abs(gain.value) < 0.02  # blocks in another order may choose another width


@pytest.mark.parametrize("share", [0.15, 1.0])
def test_few_bonds_are_a_sparse_graph_and_many_are_all_pairs(share):
    """A few strong bonds leave the others at 0; weak ones between all spins are all fitted."""
    rng = np.random.default_rng(3)
    i, j = np.triu_indices(10, 1)
    bonds = rng.normal(0, 0.7 if share < 1 else 0.1, i.size) * (rng.random(i.size) < share)
    states = (np.arange(2**10)[:, None] >> np.arange(10) & 1) * 2 - 1
    p = np.exp((states[:, i] * states[:, j]) @ bonds)
    rows = torch.from_numpy(states[rng.choice(len(p), 3_000, p=p / p.sum())]).float()
    pairs = Pairs.of(rows)
    assert pairs.sparse == (share < 1)
    fitted = pairs.graph.pairs().numpy()[i, j]
    assert (fitted[bonds == 0] == 0).mean() > 0.9 if pairs.sparse else (fitted != 0).all()
    again = Pairs.of(rows, pairs)
    assert (again.width, again.sparse) == (pairs.width, pairs.sparse)


def test_a_start_without_draws_waits_for_its_first_validation():
    model = Auto(network="MADE", lattice_shape=(3,), rehearsal=0, prior_width=1.0)
    model.contest = Contest()
    model._trainer = SimpleNamespace(enable_validation=True, estimated_stepping_batches=100)
    assert model.learning_rate_factor(50) == 0
    model._trainer.enable_validation = False
    assert model.learning_rate_factor(50) > 0
    model._trainer.enable_validation = True
    model.contest.merit(np.ones(3), "start")
    assert model.learning_rate_factor(50) > 0


@pytest.mark.parametrize("controls", [None, {"h": [0.0] * 200 + [1.0] * 200}])
def test_other_weights_start_at_several_temperatures(tmp_path, correlated, controls):
    """The contest is of the validation rows under all conditions, in the order of their batches."""
    splits, t = (0.5, 0.25, 0.25), [1.0, 2.0] * 200
    np.save(tmp_path / "rows.npy", correlated[500:900])
    system = Recorded(
        str(tmp_path / "rows.npy"), batch_size=50, splits=splits, temperature=t, controls=controls
    )
    assert len(system.parts) == (1 if controls is None else 2)
    model = Auto.for_system(system, temperature_input=True)
    model.take_choices(Auto.for_system(system, network="MADE", temperature_input=True))

    def fit(steps):
        quiet_trainer(max_steps=steps, val_check_interval=1, num_sanity_val_steps=0).fit(model, system)

    fit(1)  # nothing is learned before the first validation
    loader = system.data.loader("validation", 50)
    loss = [-model.log_prob(batch.configurations, batch.temperature, batch.controls) for batch in loader]
    np.testing.assert_allclose(model.contest.reference, torch.cat(loss).detach(), rtol=1e-5)
    assert len(model.contest.reference) == 100
    assert model.contest.gain is None
    fit(2)  # the first step has no rate
    assert model.contest.gain.error > 0


def test_correlated_rows_are_held_out_by_blocks():
    """Held-out rows, here their own numbers, have neighbours among the others at ends of blocks only."""
    rows = torch.arange(4_000.0)[:, None]
    data, system = Samples.split(rows, [4_000], [1.0], [10.0], (0.8, 0.1, 0.1), 0), LightningDataModule()
    vars(system).update(
        data=data, seed=0, num_sites=1, levels=(), temperatures=[1.0], blocks=data.blocks
    )
    taken = training_rows(system)
    assert sorted(taken.flatten().tolist()) == sorted(data.indices["train"].tolist())
    train, held_out = (set(part.flatten().tolist()) for part in split(taken))
    assert len(held_out) == 750
    assert sum({n - 1, n + 1} & train != set() for n in held_out) < 20
    assert max(taken.diff(dim=0).flatten().tolist()) > 1_000  # blocks are in random order


@pytest.mark.slow
def test_a_glass_leads_to_made_without_symmetries(tmp_path, few_draws):
    """Its bonds differ, so all pairs explain held-out rows better than uniform ones."""
    states = all_configurations((4, 4), (-1, 1))
    p = np.exp(-edwards_anderson((4, 4)).energy(states.numpy()) / 1.5)
    rows = states[np.random.default_rng(0).choice(len(p), 500, p=p / p.sum())]
    system = recorded(tmp_path, rows, boundary="periodic")
    start = choose_start(system, lambda: MADE.for_system(system))
    assert (start.network, start.symmetries) == ("MADE", ())


@pytest.mark.parametrize("kind", ["real", "angle"])
def test_draws_of_a_chain_of_continuous_sites_have_its_correlations(tmp_path, few_draws, kind):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 3)) @ [[1.0, 0.8, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 2.0]] + 1
    if kind == "angle":
        rows = np.mod(0.7 * rows, 2 * np.pi)
    system = recorded(tmp_path, rows, values=kind)
    start = choose_start(system, lambda: None)
    assert start.network == "MADE"
    values = [rows, start.draws.configurations.numpy()]
    if kind == "angle":
        values = [np.cos(value - value[:, :1]) for value in values]
    for observed, drawn in zip(*(np.cov(value.T).ravel() for value in values), strict=True):
        assert drawn == pytest.approx(observed, abs=0.3 * max(1, abs(observed)))


def gradients(loss, model):
    model.zero_grad()
    loss.backward()
    return torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])


def test_the_loss_of_draws_has_the_gradient_of_the_divergence():
    """All states are the draws of S = 0, for which ⟨w ∇ ln p⟩ = 0 exactly, whatever the network is."""
    model = randomize(MADE(lattice_shape=(5,), width=2))
    states = all_configurations((5,), (-1, 1))
    log_prob = model.log_prob(states)
    assert log_prob.std() > 0.5
    ours = gradients(divergence(log_prob, torch.zeros_like(log_prob)), model)
    assert ours.allclose(gradients(-model.log_prob(states).mean(), model), atol=1e-9)


def test_the_loss_of_draws_has_no_noise_at_its_minimum():
    model = randomize(MADE(lattice_shape=(5,), width=2))
    some = all_configurations((5,), (-1, 1))[:3]
    action = 7 - model.log_prob(some).detach()
    assert gradients(divergence(model.log_prob(some), action), model).abs().max() < 1e-10
    assert gradients(-model.log_prob(some).mean(), model).abs().max() > 0.1


def test_draws_come_first_then_data_with_the_prior():
    """loss = −⟨ln p⟩ + Σ w²/(2 width² num) of the data, without biases."""
    model = randomize(Auto(network="MADE", lattice_shape=(5,), rehearsal=3, prior_width=0.5))
    data = SimpleNamespace(observations_in=lambda split: {"train": 40.0}[split])
    system = SimpleNamespace(seed=0, data=data, action=None)
    model._trainer = SimpleNamespace(
        datamodule=system, global_step=2, global_rank=0, log_every_n_steps=1_000
    )
    rows = all_configurations((5,), (-1, 1))
    batch = Batch(rows[20:], torch.ones(len(rows) - 20))
    with pytest.raises(ValueError, match="no draws for its first 3 steps"):
        model.training_step(batch)
    # The action differs from −ln p in one row only, so the loss depends on the draws.
    draws = Draws(rows[:2], torch.tensor([0.0, 3.0]))
    model.draws = draws
    drawn = draws.some(12, model._step_generator(1_000_000).initial_seed())
    expected = divergence(model.log_prob(drawn.configurations), drawn.action)
    assert model.training_step(batch).item() == pytest.approx(expected.item())
    model._trainer.global_step = 3
    squares = sum(w.square().sum() for w in (model.network.linear.weight, model.network.readout))
    squares += sum(layer.weight.square().sum() for layer in model.network.layers)
    expected = -model.log_prob(batch.configurations).mean() + squares / (2 * 0.5**2 * 40)
    assert model.training_step(batch).item() == pytest.approx(expected.item())


def test_weights_of_the_data_win_only_by_more_than_an_error():
    rng = np.random.default_rng(0)
    draws, noise = rng.normal(5, 1, 100), rng.normal(size=100)
    noise -= noise.mean()
    contest = Contest()
    unfinished = draws - 0.9 * mean(draws).error
    assert contest.merit(unfinished, "draws") > draws.mean()
    assert contest.merit(draws, "start") == pytest.approx(draws.mean())
    error = mean(noise).error
    better, worse = draws + noise - 1.1 * error, draws + noise - 0.9 * error
    assert contest.merit(worse, "data") == pytest.approx(draws.mean() + 0.1 * error)
    assert "weights of the start are kept" in str(contest)
    contest = Contest.read(contest.plain())
    assert contest.merit(better, "data") == pytest.approx(draws.mean() - 0.1 * error)
    assert tuple(contest.gain) == pytest.approx((1.1 * error, error))
    assert f"the data improve on the start by {contest.gain}" in str(contest)
    assert str(Contest()) == ""
    assert Contest().merit(draws, "data") == pytest.approx(draws.mean())


@pytest.mark.parametrize(
    "given",
    [{"weights": np.arange(1, 61)}, {"blocks": Blocks(np.arange(0, 60, 6), 60)}],
    ids=["counts", "blocks"],
)
def test_weights_and_blocks_decide_the_error(given):
    draws, data = np.random.default_rng(1).normal(5, 1, (2, 60))
    contest = Contest()
    assert contest.merit(draws, "start", **given) == np.average(draws, weights=given.get("weights"))
    contest.merit(data, "data", **given)
    assert contest.gain == mean(draws - data, **given)


def test_the_choice_is_resumed_bit_by_bit(tmp_path, few_draws):
    """Interrupt a rehearsal: the resumed run ends with the weights of the uninterrupted one."""
    rows = torus_rows()

    def run(folder, steps, path=None):
        system = recorded(tmp_path, rows, boundary="periodic")
        torch.manual_seed(0)
        model = Auto.for_system(system, rehearsal=6)
        keep = ModelCheckpoint(tmp_path / folder, filename="last", save_on_exception=True)
        trainer = quiet_trainer(
            max_steps=steps,
            max_epochs=-1,
            callbacks=[keep],
            enable_checkpointing=True,
            num_sanity_val_steps=0,
        )
        model.trainer = trainer
        trainer.fit(model, system, ckpt_path=path, weights_only=True)
        return model, tmp_path / folder / "last.ckpt"

    _, first = run("first", 9)
    whole = checkpoints.load(first)
    assert whole.hparams["network"] == "PixelCNN"
    assert "draws" not in checkpoints.read(first)["lightdan"]
    _, half = run("half", 4)
    assert checkpoints.read(half)["lightdan"]["draws"]["configurations"].shape[1:] == (4, 4)
    # The schedule depends on the number of all steps, so only the rehearsal is the same.
    resumed, _ = run("rest", 9, half)
    for name, value in whole.state_dict().items():
        assert value.equal(resumed.state_dict()[name]), name
    # A new run starts from its weights and choices, and chooses nothing anew.
    again = Auto(lattice_shape=(4, 4))
    checkpoints.start_from(again, first)
    assert all(again.hparams[name] == whole.hparams[name] for name in ("network", "augment"))
    assert (again.rehearsal, again.contest.reference) == (0, None)
    for name, value in whole.state_dict().items():
        assert value.equal(again.state_dict()[name]), name
    with pytest.raises(ValueError, match="augment names reflection, rotation, translation, which"):
        checkpoints.start_from(Auto(lattice_shape=(4, 4), symmetries=("z2",)), first)
