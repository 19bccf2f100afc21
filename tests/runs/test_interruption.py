import errno
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from lightning import LightningModule
from lightning.pytorch.callbacks import Callback
from trainers import quiet_trainer

from lightdan import MADE, Ising
from lightdan.runs.checkpointing import LastCheckpoint
from lightdan.runs.interruption import Interruption
from lightdan.signals import NUMBERS, PARENT, Stopped, heeded


@pytest.fixture(autouse=True)
def python_handles_ctrl_c():
    """Lightning ignores further ones after the first."""
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_training_after_the_step(number):
    callback, before = Interruption(), signal.getsignal(number)
    trainer, model = quiet_trainer(), LightningModule()
    with ThreadPoolExecutor(1) as pool:  # a thread that is not the main one sets no handler
        pool.submit(callback.on_train_start, trainer, model).result()
        pool.submit(callback.on_train_end, trainer, model).result()
    assert signal.getsignal(number) is before
    callback.on_train_start(trainer, model)
    signal.raise_signal(number)
    for hook in (callback.on_train_batch_end, callback.on_train_end):
        with pytest.raises(Stopped) as stop:
            hook(trainer, model)
        assert stop.value.code == 128 + number
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("interval", [1.0, 3])
@pytest.mark.parametrize("step", [3, 5, 6, 7])
def test_no_validation_is_lost_by_a_signal(tmp_path, step, interval):
    class Watch(Callback):
        def __init__(self, last=None):
            self.last, self.losses = last, {}

        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == self.last:
                signal.raise_signal(signal.SIGUSR1)

        def on_validation_end(self, trainer, pl_module):
            self.losses[trainer.global_step] = trainer.callback_metrics["val_loss"].item()

    def trained(watch, path=None):
        system = Ising(2, num_configurations=64, batch_size=8, cache_dir=str(tmp_path / "cache"), seed=0)
        torch.manual_seed(0)
        callbacks = [watch, Interruption(), LastCheckpoint()]
        options = {"enable_checkpointing": True, "default_root_dir": tmp_path, "max_epochs": 3}
        trainer = quiet_trainer(callbacks=callbacks, val_check_interval=interval, **options)
        trainer.fit(MADE.for_system(system, width=1), datamodule=system, ckpt_path=path)
        return watch.losses

    expected = trained(Watch())
    first = Watch(step)
    with pytest.raises(Stopped):
        trained(first)
    again = trained(Watch(), next(tmp_path.rglob("last.ckpt")))
    assert again.keys() | first.losses.keys() == expected.keys()
    assert first.losses | again == expected


def test_an_ignored_signal_stays_ignored_and_a_second_one_disturbs_nothing():
    before = [signal.getsignal(number) for number in NUMBERS]

    def saved():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGUSR1)  # while a checkpoint is written

    with heeded(), pytest.raises(Stopped, match="143"):
        saved()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with heeded():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert [signal.getsignal(number) for number in NUMBERS] == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_measurements(tmp_path, number, capsys):
    class Slow(Callback):
        def on_test_end(self, trainer, pl_module):
            signal.raise_signal(number)
            raise AssertionError("it goes on")

    system = Ising(2, num_configurations=40, batch_size=30, cache_dir=str(tmp_path / "cache"))
    before = signal.getsignal(number)
    callbacks = [Interruption(), LastCheckpoint(), Slow()]
    options = {"enable_checkpointing": True, "default_root_dir": tmp_path, "max_epochs": 1}
    trainer = quiet_trainer(callbacks=callbacks, **options)
    model = MADE.for_system(system, width=1)
    trainer.fit(model, datamodule=system)
    with pytest.raises(SystemExit):
        trainer.test(model, datamodule=system, verbose=False)
    said = capsys.readouterr().err
    what = "interrupted" if number == signal.SIGINT else "stopped by SIGTERM"
    assert re.search(f"{what} before all measurements have ended; measure with .*last.ckpt", said)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("step", [1, 2])
def test_no_checkpoint_is_named_that_is_not_written(tmp_path, error, step, capsys):
    class Fails(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == step:
                raise error

    system = Ising(2, num_configurations=40, batch_size=30, cache_dir=str(tmp_path / "cache"))
    callbacks = [Interruption(), Fails(), LastCheckpoint()]
    options = {"enable_checkpointing": True, "default_root_dir": tmp_path, "max_epochs": 3}
    trainer = quiet_trainer(callbacks=callbacks, **options)
    with pytest.raises((OSError, SystemExit)):
        trainer.fit(MADE.for_system(system, width=1), datamodule=system)
    said = capsys.readouterr().err
    assert ("resume by adding" in said) == (step > 1)
    assert ("run it again" in said) == (step == 1)


def test_a_command_ends_with_the_process_that_started_it():
    """Its parent is another process than the one in the variable, as if that one had ended."""
    code = "import sys, time; from lightdan.cli.main import main; sys.argv[1:] = ['fit']; main()"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, PARENT: "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert "lightdan: the process that started this one has ended." in result.stderr
