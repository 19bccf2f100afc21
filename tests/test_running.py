import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from lightdan.running import Interruption, run_directory

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


def test_interruption_handles_ctrl_c_in_the_main_thread_only():
    callback, before = Interruption(), signal.getsignal(signal.SIGINT)
    trainer, model = Trainer(**QUIET, logger=False, enable_checkpointing=False), LightningModule()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(callback.on_train_start, trainer, model).result()
        pool.submit(callback.on_train_end, trainer, model).result()
    assert signal.getsignal(signal.SIGINT) is before
    callback.on_train_start(trainer, model)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        callback.on_train_batch_end(trainer)
    callback.on_train_end(trainer, model)
    assert signal.getsignal(signal.SIGINT) is before


def test_run_directory_is_where_lightning_puts_checkpoints(tmp_path):
    loggers = [CSVLogger(tmp_path / "a", "name"), CSVLogger(tmp_path / "b", "other", version="c")]
    for chosen in (loggers, loggers[::-1], False):
        trainer = Trainer(**QUIET, default_root_dir=tmp_path, logger=chosen)
        checkpoints = trainer.checkpoint_callback._ModelCheckpoint__resolve_ckpt_dir(trainer)
        assert str(run_directory(trainer) / "checkpoints") == str(checkpoints)
