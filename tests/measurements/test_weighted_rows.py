"""Training and measurements on rows with weights, against enumeration and against repeated rows."""

import logging
import math

import numpy as np
import pytest
import torch
from oracle import SHAPE, TEMPERATURE, oracle
from trainers import quiet_trainer

from lightdan import MADE, Hamiltonian, Ising, Observables, Recorded, Symmetry, Vortices
from lightdan.data.samples import Samples
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.observables import series, summary
from lightdan.statistics import effective_number
from lightdan.testing import all_configurations

STATES = all_configurations(SHAPE, (-1, 1))
ENERGY = Ising(shape=SHAPE).energy(STATES).double()
P = (-ENERGY / TEMPERATURE).softmax(0).numpy()
EXACT = Ising(shape=SHAPE).exact(TEMPERATURE)


class Known(Recorded):
    """Recorded spins whose Hamiltonian is known."""

    def energy(self, configurations):
        """Return the energy of the Ising model."""
        return Ising(shape=SHAPE).energy(configurations)

    def exact(self, temperature):
        """Return the exact thermodynamics."""
        return EXACT


@pytest.fixture
def recorded(tmp_path):
    """Return a function that makes a system from rows and weights."""

    def make(rows, weights=None, **options):
        arrays = {"rows": np.asarray(rows, np.int8)} | ({} if weights is None else {"w": weights})
        np.savez(tmp_path / "rows.npz", **arrays)
        options |= {} if weights is None else {"weights": "w"}
        options = {"boundary": "periodic", "temperature": TEMPERATURE, **options}
        return Known(str(tmp_path / "rows.npz"), **options)

    return make


def held_out(system, rows, weights):
    """Return an ensemble of the distorted oracle whose held-out data are given."""
    indices = torch.arange(len(rows))
    system.data = Samples(
        torch.as_tensor(rows),
        torch.full((len(rows),), TEMPERATURE),
        {"test": indices},
        [TEMPERATURE],
        [0.5],
        None if weights is None else {"test": torch.as_tensor(weights)},
    )
    return Ensemble(oracle(distortion=0.3, symmetrize=["z2"]), system, TEMPERATURE)


MEASUREMENTS = {
    "hamiltonian": lambda: Hamiltonian(num_samples=500),
    "observables": lambda: Observables(num_samples=500),
    "symmetry": lambda: Symmetry(num_configurations=5000),
}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_count_is_that_many_rows(recorded, name):
    """Counts and repeated rows must give the same estimates and errors, in any order of the rows."""
    random = np.random.default_rng(5)
    num = 600 if name == "symmetry" else 3000
    counts = random.multinomial(num, P)
    order = random.permutation(np.repeat(np.arange(512), counts))
    system = recorded(STATES)
    seen = np.flatnonzero(counts)
    collapsed, repeated, plain = (
        MEASUREMENTS[name]().measure(held_out(system, STATES[rows], weights)).estimates
        for rows, weights in (
            (seen, counts[seen]),
            (order, np.ones(num, np.int64)),
            (order, None),
        )
    )
    assert collapsed.keys() == repeated.keys() == plain.keys()
    for key, estimate in collapsed.items():
        assert repeated[key] == pytest.approx(estimate, rel=1e-7, abs=1e-9), key
        if estimate.error and not key.endswith(("_z", "_max_deviation")):
            assert abs(plain[key].value - estimate.value) < 0.3 * estimate.error, key
            assert 0.5 < plain[key].error / estimate.error < 1.6, key


def test_boltzmann_weights_on_all_states_give_the_exact_means(recorded):
    ensemble = held_out(recorded(STATES), STATES, P)
    estimates = Observables(num_samples=500).measure(ensemble).estimates
    assert estimates["energy_data"].value == pytest.approx(EXACT.energy / 9)
    assert estimates["magnetization_data"].value == pytest.approx(0, abs=1e-12)
    magnetization = STATES.flatten(1).double().mean(1).abs().numpy()
    assert estimates["abs_magnetization_data"].value == pytest.approx(P @ magnetization)
    error = math.sqrt(P**2 @ (ENERGY.numpy() - EXACT.energy) ** 2) / 9
    assert estimates["energy_data"].error == pytest.approx(error, rel=0.2)
    ensemble = Ensemble(oracle(), ensemble.system, TEMPERATURE)
    nll = Hamiltonian(num_samples=500).measure(ensemble).estimates
    assert nll["nll"].value == pytest.approx(EXACT.entropy)
    assert nll["kl"].value == pytest.approx(0, abs=1e-9)
    assert nll["ln_z"].value == pytest.approx(EXACT.log_partition)
    assert nll["slope"].value == pytest.approx(1)


@pytest.mark.parametrize("kind", ["counts", pytest.param("real", marks=pytest.mark.slow)])
def test_errors_cover(recorded, kind):
    """Rows are drawn uniformly and weighted, or counted; the pulls of the data are of size 1."""
    random = np.random.default_rng(1)
    system = recorded(STATES)
    names = {"energy": EXACT.energy / 9, "specific_heat": EXACT.specific_heat / 9}
    pulls = []
    for _ in range(150):
        if kind == "counts":
            counts = random.multinomial(800, P)
            rows, weights = np.flatnonzero(counts), counts[counts > 0]
        else:
            rows = random.choice(512, 4000, p=np.sqrt(P) / np.sqrt(P).sum())
            weights = np.sqrt(P[rows])
        ensemble = held_out(system, STATES[rows], weights)
        values = series(ensemble, ensemble.configurations)
        estimates = summary(ensemble, values, weights=ensemble.weights)
        pulls.append([(estimates[k].value - v) / estimates[k].error for k, v in names.items()])
    rms = np.sqrt(np.square(pulls).mean(0))
    assert (rms > 0.8).all(), rms
    assert (rms < 1.2).all(), rms


def fit(system, epochs, seed=0):
    """Train a network quickly; return it with its trainer."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(seed)
    model = MADE.for_system(system, width=4, optimizer=lambda p: torch.optim.Adam(p, 0.02))
    trainer = quiet_trainer(max_epochs=epochs)
    trainer.fit(model, system)
    return model, trainer


def divergence(model):
    """Return KL(exact‖model) by enumeration, in nats."""
    with torch.no_grad():
        return float(P @ (np.log(P) - model.log_prob(STATES).double().numpy()))


@pytest.mark.parametrize("kind", ["counts", pytest.param("real", marks=pytest.mark.slow)])
def test_training_learns_the_weighted_distribution(recorded, kind):
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(512), 20))
    if kind == "counts":
        rows, weights, epochs = STATES, np.round(40_000 * P).astype(int), 3
    else:
        rows, weights, epochs = STATES[order], P[order], 15
    system = recorded(rows, weights, batch_size=200, splits=(0.8, 0.1, 0.1))
    model, trainer = fit(system, epochs)
    # The uniform distribution of the rows without weights is 4.3 nats away.
    assert divergence(model) < 0.01
    (logged,) = trainer.test(model, system, verbose=False)
    for split, found in (
        ("test", logged["test_nll"]),
        ("validation", trainer.validate(model, system, verbose=False)[0]["val_loss"]),
    ):
        data, w = system.data.rows(split, TEMPERATURE), system.data.weights(split, TEMPERATURE)
        with torch.no_grad():
            expected = -np.average(model.log_prob(data).double().numpy(), weights=w.numpy())
        assert found == pytest.approx(expected, rel=1e-5)
    count = system.data.observations_in if kind == "counts" else system.data.num_in
    assert trainer.global_step == epochs * (int(count("train")) // 200)


def test_equal_weights_change_no_bit(recorded):
    rows = STATES[np.random.default_rng(0).integers(0, 512, 2048)]
    results = [
        fit(recorded(rows, weights), 1)[0].state_dict()
        for weights in (None, np.ones(2048), np.full(2048, 0.3))
    ]
    for other in results[1:]:
        for name, value in results[0].items():
            assert torch.equal(value, other[name]), name


def test_weighted_and_collapsed_rows_are_reported(recorded, capsys):
    random = np.random.default_rng(0)
    rows = STATES[random.choice(512, 5000, p=P)]
    plain = recorded(rows, collapse=True)
    seen = len(np.unique(rows.flatten(1).numpy(), axis=0))
    assert plain.data.configurations.shape == (seen, 3, 3)
    assert sum(map(plain.data.observations_in, ("train", "validation", "test"))) == 5000
    assert (
        f"counts: {seen} rows are 5000 configurations, taken as independent" in capsys.readouterr().out
    )
    weights = random.random(5000)
    weighted = recorded(rows, weights)
    worth = effective_number(weights)
    assert weighted.data.observations_in("train") == pytest.approx(0.9 * worth, rel=0.01)
    assert "weights: worth" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"collapse needs counts, but the weights of .* whole numbers"):
        recorded(rows, weights, collapse=True)
    with pytest.raises(ValueError, match=r"collapse needs all configurations .* raise max_memory_gb"):
        recorded(rows, collapse=True, max_memory_gb=0.0)


def test_measurements_that_ignore_weights_are_skipped(recorded):
    ensemble = held_out(recorded(STATES), STATES, P)
    with pytest.raises(NotMeasurable, match="Vortices ignores the weights of the configurations: write"):
        Vortices().on_rows(ensemble)
    assert Observables(num_samples=100).on_rows(ensemble).estimates
