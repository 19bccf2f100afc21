"""Rows and recipe of a training, kept in its checkpoints."""

from contextlib import nullcontext
from functools import cache, partial

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import MultiStepLR, StepLR
from trainers import quiet_trainer

import lightdan
from lightdan import MADE, Ising, MaximumLikelihood, Recorded
from lightdan.checkpoints import start_from

DATA = {"path": "rows.npy", "splits": (0.6, 0.2, 0.2), "batch_size": 50}


@cache
def data(**options):
    """The rows in a file, read once."""
    return Recorded(**DATA | options)


def model(**options):
    options = {"optimizer": partial(SGD, lr=0.1), "scheduler": partial(StepLR, step_size=2)} | options
    return MADE(lattice_shape=(5,), width=1, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with rows, new rows, more rows, and the checkpoint of a training on the first."""
    path = tmp_path_factory.mktemp("record")
    rng = np.random.default_rng(0)
    rows = rng.choice(np.array([-1, 1], np.int8), (200, 20)).reshape(-1, 4, 5)[:, 0]
    rows = (rows * np.arange(1, 6) + 0.1 * rng.normal(size=rows.shape)).astype(np.float32)
    np.save(path / "rows.npy", rows)
    np.save(path / "new.npy", rows + 0.01 * rng.normal(size=rows.shape))
    np.save(path / "longer.npy", np.concatenate([rows, rows[:50] + 0.3]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        trainer = quiet_trainer(max_epochs=1)
        trainer.fit(model(site_kind="real", levels=()), datamodule=data())
        trainer.save_checkpoint("model.ckpt")
        yield path


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def fields(**options):
    return model(site_kind="real", levels=(), **options)


OTHERS = [
    ({"seed": 3}, r"\(seed = 0, now 3\)"),
    ({"splits": (0.1, 0.1, 0.8)}, r"\(splits = \[0.6, 0.2, 0.2\], now \[0.1, 0.1, 0.8\]\)"),
    ({"path": "longer.npy"}, r"\(path = rows.npy, now longer.npy\)"),
    ({"num_configurations": 150}, r"\(num_configurations = None, now 150\)"),
    ({"path": "longer.npy", "seed": 1}, "path = rows.npy, now longer.npy; seed = 0, now 1"),
]


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [("test", *other) for other in OTHERS] + [(name, *OTHERS[0]) for name in ("validate", "predict")],
)
def test_rows_of_the_training_are_not_measured(command, options, said):
    run = getattr(quiet_trainer(), command)
    split = "validation" if command == "validate" else "test"
    with pytest.raises(ValueError, match=f"trained on about .* % of the {split} conf.*{said}.*new ones"):
        run(fields(), datamodule=data(**options), ckpt_path="model.ckpt", weights_only=True)
    with pytest.raises(ValueError, match="use the data, splits and seed of its training"):
        run(lightdan.load("model.ckpt"), datamodule=data(**options))


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
@pytest.mark.parametrize(
    ("options", "new"),
    [
        ({}, False),
        ({"max_memory_gb": 0.0}, False),
        ({"path": "./rows.npy"}, False),
        ({"path": "new.npy"}, True),
    ],
)
def test_other_rows_are_measured(command, options, new, capsys):
    system = data(**options)
    getattr(quiet_trainer(), command)(lightdan.load("model.ckpt"), datamodule=system)
    assert ("are new to the model" in capsys.readouterr().out) == new


def test_a_trained_model_is_not_measured_on_its_rows_in_the_same_process():
    trainer, network = quiet_trainer(max_epochs=1), fields()
    trainer.fit(network, datamodule=data())
    trainer.test(network, datamodule=data(), verbose=False)
    with pytest.raises(ValueError, match=r"about 8. % of the test"):
        trainer.test(network, datamodule=data(seed=1))


def resume(network, system=None, **options):
    quiet_trainer(**{"max_epochs": 2, **options}).fit(
        network, datamodule=system or data(), ckpt_path="model.ckpt", weights_only=True
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optimizer": partial(SGD, lr=0.2)}, r"optimizer.lr = 0.1, now 0.2: resume with the options"),
        ({"optimizer": partial(SGD, lr=0.1, momentum=0.9)}, "optimizer.momentum = 0, now 0.9"),
        ({"optimizer": partial(Adam, lr=0.1)}, "optimizer = SGD, now Adam"),
        ({"scheduler": None}, "scheduler = StepLR, now LambdaLR"),
        ({"scheduler": partial(StepLR, step_size=3)}, "scheduler.step_size = 2, now 3"),
        ({"scheduler": partial(MultiStepLR, milestones=[1])}, "scheduler = StepLR, now MultiStepLR"),
        ({"objective": MaximumLikelihood("laplace", 0.3)}, "objective.prior = none, now laplace; obj"),
        ({"objective": MaximumLikelihood(prior_width=2.0)}, "objective.prior_width = 1.0, now 2.0"),
    ],
)
def test_a_resumed_run_keeps_optimizer_schedule_and_objective(options, said):
    with pytest.raises(ValueError, match=said):
        resume(fields(**options))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 40}, "data.batch_size = 50, now 40"),
        ({"seed": 1}, "data.seed = 0, now 1"),
        ({"splits": (0.7, 0.1, 0.2)}, r"other rows.* \(splits = .*--start_from"),
        ({"path": "new.npy"}, r"other rows.* \(path = rows.npy, now new.npy\)"),
        ({"num_configurations": 199}, r"other rows.* \(num_configurations = None, now 199\)"),
        ({"temperature": 2.0}, r"data.temperatures = \[1.0\], now \[2.0\]"),
    ],
)
def test_a_resumed_run_keeps_its_data(options, said):
    with pytest.raises(ValueError, match=said):
        resume(fields(), data(**options))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"accumulate_grad_batches": 2}, "trainer.accumulate_grad_batches = 1, now 2"),
        ({"gradient_clip_val": 0.5}, "trainer.gradient_clip_val = None, now 0.5"),
        ({"limit_train_batches": 1}, "trainer.limit_train_batches = 1.0, now 1"),
        ({"limit_val_batches": 1}, "trainer.limit_val_batches = 1.0, now 1"),
        ({"precision": "bf16-mixed"}, "trainer.precision = 32-true, now bf16-mixed"),
        (
            {"callbacks": GradientAccumulationScheduler({1: 2})},
            "trainer.callbacks = , now GradientAccumulationScheduler",
        ),
    ],
)
def test_a_resumed_run_keeps_what_the_trainer_does_to_the_weights(options, said):
    with pytest.raises(ValueError, match=said):
        resume(fields(), **options)


def test_a_resumed_run_may_be_longer_and_read_from_disk(capsys):
    resume(network := fields(), data(max_memory_gb=0.0), max_epochs=3, log_every_n_steps=1)
    assert network.trainer.current_epoch == 3
    assert len(network.record.rows) == 1
    quiet_trainer().test(network, datamodule=data(), verbose=False)


def test_new_training_from_weights_that_know_the_test_rows_says_so():
    start_from(network := fields(), "model.ckpt")
    system = data(seed=1)
    trainer = quiet_trainer(max_epochs=1)
    with pytest.warns(UserWarning, match=r"About 8. % of the test .* first weights were trained on"):
        trainer.fit(network, datamodule=system)
    trainer.save_checkpoint("second.ckpt")
    again = lightdan.load("second.ckpt")
    assert [len(rows.splits) for rows in again.record.rows] == [1, 1]
    fresh = Recorded(**DATA | {"seed": 1})
    with pytest.warns(UserWarning, match="first weights were trained on"):
        quiet_trainer().test(again, datamodule=fresh, verbose=False)
    assert "first weights" in fresh.data.doubts[-1]
    with pytest.raises(ValueError, match="trained on about"):
        quiet_trainer().test(again, datamodule=data(seed=2))


def test_new_training_on_other_rows_is_quiet(recwarn):
    for system in (data(), data(path="new.npy")):
        start_from(network := fields(), "model.ckpt")
        quiet_trainer(max_epochs=1).fit(network, datamodule=system)
    assert not [warning for warning in recwarn if "first weights" in str(warning.message)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, None),
        ({"temperature": 4.0}, None),
        ({"seed": 1}, None),
        ({"splits": (0.5, 0.25, 0.25)}, r"\(splits = .*another seed, which simulates new ones"),
        ({"num_configurations": 120}, r"\(num_configurations = 200, now 120\)"),
    ],
)
def test_simulations(tmp_path, options, said):
    arguments = {"shape": (5, 1), "num_configurations": 200, "cache_dir": str(tmp_path)}
    network = MADE(lattice_shape=(5, 1), width=1)
    quiet_trainer(max_epochs=1).fit(network, datamodule=Ising(**arguments))
    system = Ising(**arguments | options)
    if said is None:
        outside = "T = 4 is outside the training data, which are at 1: the network does not see T"
        with pytest.warns(UserWarning, match=outside) if "temperature" in options else nullcontext():
            quiet_trainer().test(network, datamodule=system, verbose=False)
        return
    with pytest.raises(ValueError, match=said):
        quiet_trainer().test(network, datamodule=system)


def test_the_record_is_small_plain_data():
    content = torch.load("model.ckpt", weights_only=True)["lightdan"]
    (rows,) = content["rows"]
    assert rows["hashes"].dtype == torch.int64
    assert rows["hashes"].numel() == 160
    assert content["recipe"]["optimizer.lr"] == 0.1
    assert content["ranges"] == {"T": [1.0, 1.0]}


def test_a_checkpoint_without_ranges_can_be_read(tmp_path):
    """It says nothing about values outside the training, because they are not known."""
    content = torch.load("model.ckpt", weights_only=True)
    del content["lightdan"]["ranges"]
    torch.save(content, tmp_path / "old.ckpt")
    network = lightdan.load(tmp_path / "old.ckpt")
    assert network.ranges == {}
    network.hamiltonian(torch.zeros(1, *network.lattice_shape), 99.0)
