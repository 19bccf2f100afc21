"""Parts of every run: its directory, configuration, interruption and predictions."""

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lightdan.data.cache import write_hdf5
from lightdan.data.files import whole_file


def run_directory(trainer: Trainer) -> Path:
    """Return the directory of this run, where Lightning puts its ``checkpoints``.

    It is ``save_dir/name/version`` of the first logger. `Trainer.log_dir` differs from it with Weights &
    Biases, where it is the directory of all runs.
    """
    if not trainer.loggers:
        return Path(trainer.default_root_dir)
    logger = trainer.loggers[0]
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or trainer.default_root_dir, str(logger.name), version)


class SaveConfig(SaveConfigCallback):
    """Callback that writes the configuration to the run's directory and to Weights & Biases."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save the configuration once, in one process."""
        if not self.already_saved and trainer.is_global_zero:
            directory = run_directory(trainer)
            directory.mkdir(parents=True, exist_ok=True)
            with whole_file(directory / self.config_filename) as temporary:
                self.parser.save(self.config, temporary, multifile=False, overwrite=True)
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.log_hyperparams(self.config.as_dict())
        self.already_saved = True


class Interruption(Callback):
    """Callback that lets Ctrl-C end training after the current step, so that the checkpoint is whole.

    A second Ctrl-C interrupts at once.
    """

    def __init__(self) -> None:
        self._interrupted = False
        self._previous: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle Ctrl-C from now on."""
        self._interrupted = False
        if threading.current_thread() is threading.main_thread():  # others cannot set handlers
            self._previous = signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Interrupt after Ctrl-C."""
        if self._interrupted:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the former handler."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Restore the former handler and say how to resume."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
        last = run_directory(trainer) / "checkpoints" / "last.ckpt"
        stopped = isinstance(exception, KeyboardInterrupt | SIGTERMException)
        if stopped and trainer.is_global_zero and last.exists():
            print(
                f"lightdan: interrupted at step {trainer.global_step}; resume by adding "
                f"--ckpt_path {last}",
                file=sys.stderr,
            )


class PredictionWriter(Callback):
    """Callback of ``lightdan predict`` that writes ln p_θ and H_θ to ``<run>/predictions.h5``."""

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write one file, or ``predictions-<rank>.h5`` from each of several processes."""
        batches = trainer.predict_loop.predictions
        share = f"-{trainer.global_rank}" if trainer.world_size > 1 else ""
        path = run_directory(trainer) / f"predictions{share}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            name: torch.cat([batch[name] for batch in batches]).cpu().numpy() for name in batches[0]
        }
        write_hdf5(path, arrays, {"seed": trainer.datamodule.seed})
        print(f"ln p and H of {len(arrays['log_prob'])} configurations: {path}")
