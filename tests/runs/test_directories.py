from contextlib import ExitStack
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger
from trainers import quiet_trainer

from lightdan.runs.directories import (
    check_new,
    claim_directory,
    lock_run,
    next_directory,
    run_directory,
)


def test_run_directory_is_where_lightning_puts_checkpoints(tmp_path):
    loggers = [CSVLogger(tmp_path / "a", "name"), CSVLogger(tmp_path / "b", "other", version="c")]
    for chosen in (loggers, loggers[::-1], False):
        trainer = quiet_trainer(enable_checkpointing=True, default_root_dir=tmp_path, logger=chosen)
        checkpoints = trainer.checkpoint_callback._ModelCheckpoint__resolve_ckpt_dir(trainer)
        assert str(run_directory(trainer) / "checkpoints") == str(checkpoints)


def test_directories_are_numbered_and_claimed(tmp_path):
    trainers = [quiet_trainer(logger=CSVLogger(tmp_path, name="r")) for _ in range(3)]
    assert [trainer.logger._get_next_version() for trainer in trainers] == [0, 0, 0]
    claimed = [claim_directory(trainer) for trainer in trainers]
    assert claimed == [tmp_path / "r" / f"version_{number}" for number in range(3)]
    assert claim_directory(trainers[0]) == claimed[0]
    assert [next_directory(tmp_path / "x").name for _ in range(3)] == [f"version_{n}" for n in range(3)]


def check_new_once(trainer, resumed):
    with ExitStack() as locks:
        check_new(trainer, resumed, locks)


@pytest.mark.parametrize(
    "name",
    [
        *("config.yaml", "metrics.csv", "hparams.yaml", "predictions.h5", "predictions-1.h5"),
        *("measurements/couplings.png", "checkpoints/best.ckpt", "checkpoints/last.ckpt"),
    ],
)
def test_nothing_is_replaced_in_a_named_directory(tmp_path, name):
    path = tmp_path / "r" / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    (tmp_path / "r" / "mine" / "notes.txt").write_text("of no concern")
    trainer = quiet_trainer(logger=CSVLogger(tmp_path, "r", version="mine"))
    with pytest.raises(ValueError, match=f"would replace .*{path.name}: leave the version"):
        check_new_once(trainer, None)
    with pytest.raises(ValueError, match="would replace"):
        check_new_once(trainer, str(tmp_path / "other" / "last.ckpt"))
    directory = path.parents[name.count("/")]
    with ExitStack() as locks:
        check_new(trainer, str(directory / "checkpoints" / "last.ckpt"), locks)
        with pytest.raises(ValueError, match=r"Another process works in .*mine: wait for it, or pass"):
            locks.enter_context(lock_run(directory, 0.0))
    assert [*(tmp_path / "r").iterdir()] == [tmp_path / "r" / "mine"]
    assert "mine" in [p.read_text() for p in Path(tmp_path).rglob("*") if p.is_file()]
    path.unlink(missing_ok=True)
    for moved in path.parent.glob("metrics-*"):
        assert moved.read_text() == "mine"
    check_new_once(trainer, None)
