import pickle

import pytest
import torch
from lightning import Trainer

import lightdan
from lightdan import MADE, Ising

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}


@pytest.fixture
def checkpoint(tmp_path):
    trainer = Trainer(**QUIET, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(MADE(lattice_shape=(3, 3), width=2))
    path = tmp_path / "model.ckpt"
    trainer.save_checkpoint(path)
    return path


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
        (lambda path: torch.save({"state_dict": {}, "x": Bomb()}, path), "holds objects"),
        (lambda path: torch.save([1], path), "not a checkpoint of lightdan"),
        (lambda path: edit(path, lambda c: c.pop("lightdan")), "not one of lightdan"),
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
    with pytest.raises(ValueError, match=said):
        lightdan.load(checkpoint)
    assert not (tmp_path / "EXPLODED").exists()


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
    [({"lattice_shape": (4, 4)}, r"lattice_shape = \(3, 3\)"), ({"width": 3}, "width = 2")],
)
def test_checkpoint_of_another_run_is_refused(checkpoint, options, said):
    model = MADE(**{"lattice_shape": (3, 3), "width": 2, **options})
    with pytest.raises(ValueError, match=said):
        model.on_load_checkpoint(torch.load(checkpoint, weights_only=True))


def test_several_temperatures_need_the_temperature_input(tmp_path):
    system = Ising(shape=3, temperature=[2.0, 3.0], num_configurations=200, cache_dir=str(tmp_path))
    with pytest.raises(ValueError, match="temperature_input"):
        Trainer(**QUIET, max_epochs=1, enable_checkpointing=False).fit(
            MADE(lattice_shape=(3, 3)), datamodule=system
        )
