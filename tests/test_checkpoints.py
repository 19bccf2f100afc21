import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import LightningModule
from trainers import quiet_trainer

import lightdan
from lightdan import MADE, Categorical, Ising
from lightdan.checkpoints import check_fits, read
from lightdan.cli.main import main


@pytest.fixture
def checkpoint(tmp_path):
    trainer = quiet_trainer()
    trainer.strategy.connect(MADE(lattice_shape=(3, 3), width=2))
    path = tmp_path / "model.ckpt"
    trainer.save_checkpoint(path)
    return path


class Foreign(LightningModule):
    """Model of another package."""


def foreign(path):
    trainer = quiet_trainer()
    trainer.strategy.connect(Foreign())
    trainer.save_checkpoint(path)


class Bomb:
    def __reduce__(self):
        return (open, ("EXPLODED", "w"))


def edit(path, change):
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "There is no checkpoint"),
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(pickle.dumps(Bomb())), "damaged or"),
        (lambda path: torch.save({"state_dict": {}, "x": Bomb()}, path), "contains more than weights"),
        (lambda path: (path.unlink(), path.mkdir()), "damaged"),
        (lambda path: path.write_text("not a checkpoint at all"), "damaged"),
        (lambda path: torch.save([1], path), "not a checkpoint of lightdan"),
        (foreign, "not written by lightdan"),
        (lambda path: edit(path, lambda c: c["lightdan"].clear()), "does not fit"),
        (lambda path: edit(path, lambda c: c.pop("hyper_parameters")), "does not fit"),
        (lambda path: edit(path, lambda c: c["hyper_parameters"].update(widht=3)), "does not fit"),
        (lambda path: edit(path, lambda c: c["hyper_parameters"].update(width=3)), "does not fit"),
        (lambda path: edit(path, lambda c: c["hyper_parameters"].pop("lattice_shape")), "does not fit"),
        (lambda path: edit(path, lambda c: c["state_dict"].popitem()), "does not fit"),
        (lambda path: edit(path, lambda c: c["state_dict"].update(x=torch.ones(2))), "does not fit"),
        (lambda path: edit(path, lambda c: c.update(state_dict="abc")), "does not fit"),
        (lambda path: edit(path, lambda c: c.update(hyper_parameters="abc")), "does not fit"),
        (
            lambda path: edit(
                path, lambda c: c["hyper_parameters"].update(lattice_shape=(10**6, 10**6))
            ),
            "lattice_shape must have at most 10,000,000 sites",
        ),
        (lambda path: edit(path, lambda c: c["lightdan"].pop("rows")), "record of the training"),
        (lambda path: edit(path, lambda c: c["lightdan"].update(ranges=[1])), "record of the training"),
        (lambda path: edit(path, lambda c: c.pop("lightdan")), "not written by lightdan"),
        (lambda path: edit(path, lambda c: c["lightdan"].update(format=99)), "format 99"),
        (
            lambda path: edit(path, lambda c: c["lightdan"].update(architecture="MAED")),
            "did you mean 'MADE'",
        ),
    ],
)
def test_bad_files_are_refused_in_one_sentence(checkpoint, damage, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    damage(checkpoint)
    with pytest.raises(ValueError, match=said) as error:
        lightdan.load(checkpoint)
    assert str(error.value).endswith((".", "?"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "EXPLODED").exists()


def other_optimizer(content):
    weights = [torch.zeros(2), torch.zeros(3)]
    content["optimizer_states"] = [torch.optim.SGD(weights, lr=0.1).state_dict()]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("optimizer_states"), "has only weights, from which no training resumes"),
        (lambda c: c.pop("loops"), "does not fit its architecture"),
        (lambda c: c.update(epoch=None), "does not fit its architecture"),
        (lambda c: c.update(optimizer_states=[]), "does not fit its optimizer"),
        (lambda c: c["optimizer_states"][0].pop("param_groups"), "does not fit its optimizer"),
        (
            lambda c: c["optimizer_states"][0]["state"][0].update(exp_avg=torch.zeros(7)),
            "does not fit its optimizer",
        ),
        (other_optimizer, "does not fit its optimizer"),
    ],
)
def test_a_training_resumes_from_whole_checkpoints_only(trained, change, said, tmp_path):
    """The state of the optimizer is tried on copies of the weights."""
    path = tmp_path / "trained.ckpt"
    torch.save(torch.load(trained, weights_only=True), path)
    model = MADE.for_system(Ising(shape=3), width=1)
    check_fits(model, read(path), path, resumes=True)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    edit(path, change)
    with pytest.raises(ValueError, match=said):
        check_fits(model, read(path), path, resumes=True)
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Checkpoint of a run of two steps."""
    system = Ising(shape=3, num_configurations=100, batch_size=10)
    trainer = quiet_trainer(max_steps=2, limit_val_batches=0)
    trainer.fit(MADE.for_system(system, width=1), datamodule=system)
    path = tmp_path_factory.mktemp("trained") / "trained.ckpt"
    trainer.save_checkpoint(path)
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["lightdan"].update(architecture="evil_module.Model"),
        lambda c: c["lightdan"].update(architecture="this.Zen"),
        lambda c: c["hyper_parameters"].update(conditional={"class_path": "evil_module.Model"}),
    ],
)
def test_no_module_that_a_checkpoint_names_is_imported(checkpoint, change, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil_module.py").write_text("open('EXPLODED', 'w')")
    edit(checkpoint, change)
    with pytest.raises(ValueError, match=r"among the imported classes .*--classes"):
        lightdan.load(checkpoint)
    assert "this" not in sys.modules
    assert not Path("EXPLODED").exists()


def test_own_classes_are_named_by_the_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_module.py").write_text(
        "from lightdan import MADE\n\n\nclass Own(MADE):\n    pass\n"
    )
    trainer = quiet_trainer()
    trainer.strategy.connect(MADE(lattice_shape=(3, 3)))
    trainer.save_checkpoint("own.ckpt")
    edit("own.ckpt", lambda c: c["lightdan"].update(architecture="own_module.Own"))
    sample = ["sample", "--ckpt_path=own.ckpt", "--num=3"]
    assert main([*sample, "--output=a.h5"]) == 2
    assert main([*sample, "--output=a.h5", "--classes", "pathlib.Path"]) == 2
    assert main([*sample, "--output=a.h5", "--classes", "own_module.Own"]) == 0


def test_load_gives_a_model_that_answers(checkpoint):
    model = lightdan.load(checkpoint)
    s = model.sample(5, seed=1)
    energy = model.hamiltonian(s, 2.0)
    torch.testing.assert_close(energy, -2.0 * model.log_prob(s))
    flipped = s.flatten(1).clone()
    flipped[:, 4] *= -1
    difference = model.energy_difference(s, 4, -s.flatten(1)[:, 4], 2.0)
    torch.testing.assert_close(difference, model.hamiltonian(flipped.reshape(s.shape), 2.0) - energy)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lattice_shape": (4, 4)}, r"lattice_shape = \(3, 3\)"),
        ({"width": 3}, "width = 2"),
        ({"depth": 2}, "depth = 1"),
        ({"residual": False}, "residual = True"),
        ({"ordering": "snake"}, "ordering = raster, and this run has snake"),
        ({"symmetrize": ["z2"]}, r"symmetrize = \(\), and this run has \('z2',\)"),
    ],
)
def test_checkpoint_of_another_run_is_refused(checkpoint, options, said):
    model = MADE(**{"lattice_shape": (3, 3), "width": 2, **options})
    with pytest.raises(ValueError, match=said):
        model.on_load_checkpoint(torch.load(checkpoint, weights_only=True))


def test_several_temperatures_need_the_temperature_input(tmp_path):
    system = Ising(shape=3, temperature=[2.0, 3.0], num_configurations=200, cache_dir=str(tmp_path))
    with pytest.raises(ValueError, match="temperature_input"):
        quiet_trainer(max_epochs=1).fit(MADE(lattice_shape=(3, 3)), datamodule=system)


def test_every_truncation_is_refused(checkpoint):
    whole = checkpoint.read_bytes()
    for size in range(0, len(whole) - 1, 97):
        checkpoint.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="damaged"):
            lightdan.load(checkpoint)


def test_whatever_bytes_are_damaged_it_is_one_sentence(checkpoint):
    whole = checkpoint.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = np.frombuffer(whole, np.uint8).copy()
        where = rng.integers(len(whole), size=10)
        damaged[where] = rng.integers(256, size=10)
        checkpoint.write_bytes(damaged.tobytes())
        try:
            lightdan.load(checkpoint)
        except ValueError:
            refused += 1
    assert refused > 200


def test_checkpoint_of_another_architecture_is_refused(checkpoint):
    class _Other(MADE):
        pass

    content = torch.load(checkpoint, weights_only=True)
    with pytest.raises(ValueError, match=r"of the architecture lightdan.*MADE, not of _Other"):
        _Other(lattice_shape=(3, 3), width=2).on_load_checkpoint(content)
    MADE(lattice_shape=(3, 3), width=2).on_load_checkpoint(content)


def test_what_is_kept_are_plain_data_and_not_the_optimizer(tmp_path):
    model = MADE(
        lattice_shape=[3, 3],
        width=2,
        conditional=Categorical(),
        optimizer=torch.optim.SGD,
        augment=["z2"],
    )
    trainer = quiet_trainer()
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    arguments = torch.load(tmp_path / "model.ckpt", weights_only=True)["hyper_parameters"]
    assert not {"optimizer", "scheduler", "objective"} & set(arguments)
    assert arguments["lattice_shape"] == (3, 3)
    assert arguments["width"] == 2
    assert arguments["augment"] == ("z2",)
    assert arguments["conditional"]["class_path"] == "lightdan.conditionals.Categorical"
    again = lightdan.load(tmp_path / "model.ckpt")
    assert isinstance(again.conditional, Categorical)
    assert not again.training
