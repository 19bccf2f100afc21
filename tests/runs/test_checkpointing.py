import shutil
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from trainers import quiet_trainer

from lightdan import MADE, Ising
from lightdan.runs.checkpointing import (
    BestCheckpoint,
    LastCheckpoint,
    WholeCheckpoints,
    reserve_names,
)

SLOW = [(3, 6, 4), (4, 6, 4), (2, 3, 1)]
LOSSES = [4.0, 2.0, 3.0, 2.5, 1.0, 5.0]
"""Validation loss after each epoch."""


class Script(MADE):
    """Model whose validation loss is given."""

    def validation_step(self, batch, batch_index):
        self.log("val_loss", LOSSES[self.trainer.current_epoch], batch_size=1)


class Killed(Callback):
    """Callback that ends the process, as far as a test can, after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch > self.epoch:
            raise SystemExit


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return Ising(
        2, num_configurations=40, batch_size=30, cache_dir=str(tmp_path_factory.mktemp("cache"))
    )


def train(system, folder, resume=None, epochs=6, killed=9, callbacks=()):
    """Train in a folder, and return where the best checkpoint is and the epoch that it is of."""
    best = BestCheckpoint()
    trainer = quiet_trainer(
        enable_checkpointing=True,
        default_root_dir=folder,
        max_epochs=epochs,
        callbacks=[*callbacks, best, LastCheckpoint(), Killed(killed)],
    )
    reserve_names(trainer)
    try:
        trainer.fit(Script.for_system(system), datamodule=system, ckpt_path=resume, weights_only=True)
    except SystemExit:
        (folder / "checkpoints" / "last.ckpt").touch()
    path = folder / "checkpoints" / "best.ckpt"
    assert best.best_model_path in ("", str(path))
    return epoch_of(path) if best.best_model_path else None


def epoch_of(path):
    return torch.load(path, weights_only=True)["epoch"]


@pytest.mark.parametrize(
    ("killed", "epochs", "best"),
    [(0, 6, 4), (2, 4, 1), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)],
)
def test_the_best_checkpoint_is_of_the_whole_training(system, tmp_path, killed, epochs, best):
    assert train(system, tmp_path / "whole", epochs=epochs) == best
    train(system, tmp_path / "first", epochs=epochs, killed=killed)
    last = tmp_path / "first" / "checkpoints" / "last.ckpt"
    assert train(system, tmp_path / "second", last, epochs=epochs) == best
    assert epoch_of(tmp_path / "first" / "checkpoints" / "best.ckpt") == min(
        range(killed + 1), key=LOSSES.__getitem__
    )


def test_resumed_twice_and_moved(system, tmp_path):
    train(system, tmp_path / "a", killed=2)
    shutil.move(tmp_path / "a", tmp_path / "moved")
    assert train(system, tmp_path / "b", tmp_path / "moved" / "checkpoints" / "last.ckpt", killed=3) == 1
    assert train(system, tmp_path / "c", tmp_path / "b" / "checkpoints" / "last.ckpt", epochs=4) == 1
    assert train(system, tmp_path / "d", tmp_path / "b" / "checkpoints" / "last.ckpt", epochs=6) == 4


def test_a_checkpoint_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path, files = tmp_path / "new" / "last.ckpt", WholeCheckpoints()
    files.save_checkpoint({"step": 1}, path)

    def full(temporary, content):
        with temporary.open("wb") as file:
            file.write(content[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        files.save_checkpoint({"step": 2}, path)
    assert files.load_checkpoint(path) == {"step": 1}
    assert [*path.parent.iterdir()] == [path]


def test_only_training_writes_the_last_checkpoint(system, tmp_path):
    """A run without a step to make that is killed while it measures has no last weights."""

    class Fails(Callback):
        def on_test_end(self, trainer, pl_module):
            raise SystemExit

    train(system, tmp_path / "a", epochs=2)
    options = {"enable_checkpointing": True, "default_root_dir": tmp_path / "b", "max_epochs": 2}
    trainer = quiet_trainer(callbacks=[Fails(), BestCheckpoint(), LastCheckpoint()], **options)
    model, last = Script.for_system(system), tmp_path / "a" / "checkpoints" / "last.ckpt"
    trainer.fit(model, datamodule=system, ckpt_path=last, weights_only=True)
    with pytest.raises(SystemExit):
        trainer.test(model, datamodule=system, verbose=False)
    assert [path.name for path in (tmp_path / "b" / "checkpoints").iterdir()] == ["best.ckpt"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_resumed_from_the_best_or_an_own_checkpoint(system, tmp_path):
    def resume(name, checkpoint):
        own = ModelCheckpoint(save_top_k=-1, filename="{epoch}")
        return train(system, tmp_path / name, checkpoint, epochs=4, callbacks=[own])

    assert resume("a", None) == 1
    folder = tmp_path / "a" / "checkpoints"
    assert resume("b", folder / "best.ckpt") == 1
    assert resume("c", folder / "epoch=2.ckpt") == 1
    (folder / "best.ckpt").unlink()
    with pytest.warns(UserWarning, match=r"No best.ckpt beside .*loss so far, 2: .*from step 3 on"):
        assert resume("d", folder / "epoch=2.ckpt") == 3
    shutil.copy(folder / "epoch=0.ckpt", folder / "best.ckpt")
    with pytest.warns(UserWarning, match="No best.ckpt beside"):
        assert resume("e", folder / "epoch=2.ckpt") == 3


OWN = {
    "same monitor": [{"monitor": "val_loss", "save_top_k": 2}],
    "the other way": [{"monitor": "val_loss", "mode": "max"}],
    "no monitor": [{"save_top_k": -1}],
    "last": [{"save_last": True}],
    "link": [{"save_last": "link", "save_top_k": -1}],
    "same names": [{"filename": "best"}, {"filename": "last", "monitor": "val_loss"}],
    "same name every step": [{"filename": "best", "every_n_train_steps": 1, "save_last": True}],
    "replaced": [
        {"filename": "best", "enable_version_counter": False, "mode": "max", "monitor": "val_loss"}
    ],
    "nothing": [{"save_top_k": 0}],
    "several": [{"save_top_k": -1, "every_n_epochs": 2}, {"monitor": "val_loss"}, {"save_last": True}],
}


@pytest.mark.parametrize(
    ("own", "killed"),
    [
        pytest.param(own, killed, id=f"{name}-{killed}", marks=() if quick else pytest.mark.slow)
        for killed in (1, 9)
        for name, own in OWN.items()
        for quick in [killed == 1 and name in ("same names", "link", "several")]
    ],
)
def test_no_other_checkpoint_changes_the_best_and_the_last(system, tmp_path, own, killed):
    def callbacks():
        return [ModelCheckpoint(**options) for options in own]

    best = train(system, tmp_path / "a", callbacks=callbacks(), epochs=4, killed=killed)
    assert best == 1
    folder = tmp_path / "a" / "checkpoints"
    assert epoch_of(folder / "last.ckpt") == min(killed, 3)
    assert train(system, tmp_path / "b", folder / "last.ckpt", callbacks=callbacks(), epochs=6) == 4
    assert not (folder / "last.ckpt").is_symlink()
