"""What surrounds every run: its directory, its configuration, interruption and predictions."""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger

from lightdan.data.cache import write_hdf5
from lightdan.data.files import whole_file


def run_directory(trainer: Trainer) -> Path:
    """The directory of this run, that of its checkpoints, whatever logger comes first."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):  # its log_dir is the save_dir of all runs
            return Path(logger.save_dir or ".") / str(logger.name) / str(logger.version)
        if logger.log_dir is not None:
            return Path(logger.log_dir)
    return Path(trainer.default_root_dir)


class SaveConfig(SaveConfigCallback):
    """The configuration in the run's directory and with Weights & Biases."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save it once, in one process."""
        if not self.already_saved and trainer.is_global_zero:
            directory = run_directory(trainer)
            directory.mkdir(parents=True, exist_ok=True)
            with whole_file(directory / self.config_filename) as temporary:
                self.parser.save(self.config, temporary, multifile=False)
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.log_hyperparams(self.config.as_dict())
        self.already_saved = True


class Interruption(Callback):
    """Ctrl-C ends training after the step under way, so that the checkpoint kept is a whole one.

    A second Ctrl-C interrupts at once.
    """

    def __init__(self) -> None:
        self._asked = False
        self._previous: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self._asked = False
        self._previous = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Interrupt, if asked."""
        if self._asked:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen no more."""
        signal.signal(signal.SIGINT, self._previous)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Say how to go on."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
        last = run_directory(trainer) / "checkpoints" / "last.ckpt"
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero and last.exists():
            print(
                f"lightdan: interrupted at step {trainer.global_step}; resume by adding "
                f"--ckpt_path {last}",
                file=sys.stderr,
            )


class PredictionWriter(Callback):
    """`lightdan predict`: ln p_θ and H_θ of the test configurations in ``<run>/predictions.h5``."""

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write one file; of several processes each its own share, ``predictions-<rank>.h5``."""
        batches = trainer.predict_loop.predictions
        share = f"-{trainer.global_rank}" if trainer.world_size > 1 else ""
        path = run_directory(trainer) / f"predictions{share}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            name: torch.cat([batch[name] for batch in batches]).cpu().numpy() for name in batches[0]
        }
        write_hdf5(path, arrays, {"seed": trainer.datamodule.seed})
        print(f"ln p and H of {len(arrays['log_prob'])} configurations: {path}")
