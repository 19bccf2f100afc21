"""The configuration of a run, and what changes between a run and the one that resumes it."""

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger

from lightdan.data.files import whole_file
from lightdan.runs.directories import claim_directory
from lightdan.signals import Stopped


class SaveConfig(SaveConfigCallback):
    """Callback that claims the run's directory and writes the configuration to it and to W&B."""

    directory: Path | None = None
    """Directory of the run, if it is new."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save the configuration once, in one process."""
        if not self.already_saved:
            directory = claim_directory(trainer)
            if trainer.is_global_zero:
                self.directory = None if any(directory.iterdir()) else directory
                with whole_file(directory / self.config_filename) as temporary:
                    self.parser.save(self.config, temporary, multifile=False, overwrite=True)
                for logger in trainer.loggers:
                    if isinstance(logger, WandbLogger):
                        logger.log_hyperparams(self.config.as_dict())
        self.already_saved = True

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the number of processes, and the names of runs of Weights & Biases by project."""
        checkpoint["processes"] = trainer.world_size
        found = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        checkpoint["wandb"] = {logger.name: logger.version for logger in found}

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Remove the directory of a run that was refused or stopped before it left anything."""
        refused = isinstance(exception, ValueError | Stopped | KeyboardInterrupt)
        if self.directory is not None and refused and not trainer.global_step:
            files = {path.name for path in self.directory.iterdir()}
            if files <= {self.config_filename, "hparams.yaml"}:
                shutil.rmtree(self.directory)


def go_on(trainer: Trainer, checkpoint: Mapping[str, Any], path: str) -> None:
    """Prepare a training that resumes from a checkpoint.

    Loggers of Weights & Biases go on in its run, unless the checkpoint has left the directory of it.
    A `UserWarning` says if the number of processes has changed.
    """
    before, now = checkpoint.get("processes", trainer.world_size), trainer.world_size
    if before != now:
        warnings.warn(
            f"The checkpoint {path} is of a run of {before} processes, and this one has {now}: the "
            "results will agree within their errors, but not bit for bit.",
            stacklevel=2,
        )
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger) and logger.version is None:
            identities = checkpoint.get("wandb")
            identity = identities.get(logger.name) if isinstance(identities, dict) else None
            if identity in Path(path).resolve().parts:
                logger._id = logger._wandb_init["id"] = identity
