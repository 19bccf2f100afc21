"""Parts of every run: its directory, configuration, checkpoints and predictions."""

import io
import os
import pickle
import shutil
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from filelock import BaseFileLock, FileLock, Timeout
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lightdan.data.cache import write_hdf5
from lightdan.data.files import check_writable, whole_file
from lightdan.signals import Stopped

MADE_BY_RUNS = (
    "config.yaml",
    "metrics.csv",
    "hparams.yaml",
    "predictions*.h5",
    "measurements/*",
    "checkpoints/best.ckpt",
    "checkpoints/last.ckpt",
)
"""Patterns of the files that a run writes to its directory."""


def run_directory(trainer: Trainer) -> Path:
    """Return the directory of this run, where Lightning puts its ``checkpoints``.

    It is ``save_dir/name/version`` of the first logger. `Trainer.log_dir` differs from it with Weights &
    Biases, where it is the directory of all runs.
    """
    if not trainer.loggers:
        return Path(trainer.default_root_dir)
    return _directory(trainer.loggers[0], trainer.default_root_dir)


def _directory(logger: Logger, root: str) -> Path:
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or root, str(logger.name), version)


def next_directory(root: Path) -> Path:
    """Make and return ``root/version_N`` with the first free N, for a run without a logger.

    Raises:
        ValueError: The directory cannot be written.
    """
    check_writable(root, "--trainer.default_root_dir")
    number = max(
        (int(path.name[8:]) for path in root.glob("version_*") if path.name[8:].isdigit()), default=-1
    )
    if int(os.environ.get("LOCAL_RANK", 0)) and number >= 0:
        return root / f"version_{number}"  # made by the first process of this run
    while True:
        number += 1
        try:
            (root / f"version_{number}").mkdir()
        except FileExistsError:
            continue
        return root / f"version_{number}"


def lock_run(directory: Path, seconds: float = 5.0) -> BaseFileLock:
    """Return a lock of a run's directory, held until it is released or the process ends.

    Args:
        directory: Directory of the run.
        seconds: Time to wait for another process.

    Raises:
        ValueError: Another process holds the lock.
    """
    directory = Path(os.path.abspath(directory))  # "." has no name
    directory.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory.with_name(f".{directory.name}.lock"))
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise ValueError(
            f"Another process works in {directory}: wait for it, or pass another version of the logger."
        ) from error
    return lock


def check_new(trainer: Trainer, resumed: str | None, locks: ExitStack) -> None:
    """Check that the run would replace no file, whose directories have a given name, and lock these.

    A run that resumes from a checkpoint in its own directory may go on there.

    Args:
        trainer: Trainer of the run.
        resumed: Checkpoint from which a training resumes.
        locks: Stack that releases the locks at the end of the run.

    Raises:
        ValueError: A file exists, or another process works in the directory.
    """
    for logger in trainer.loggers:
        named = isinstance(logger, CSVLogger | TensorBoardLogger) and logger._version is not None
        named |= isinstance(logger, WandbLogger) and logger.version is not None
        if not named:  # it gets a new number from `claim_directory`, or a new name from its server
            continue
        directory = _directory(logger, trainer.default_root_dir)
        locks.callback(lock_run(directory).release)
        if resumed and directory.resolve() in Path(resumed).resolve().parents:
            keep(directory / "metrics.csv")
            for start in ("Experiment logs directory", "Checkpoint directory"):
                warnings.filterwarnings("ignore", f"{start} .* exists and is not empty")
        elif found := [path for pattern in MADE_BY_RUNS for path in sorted(directory.glob(pattern))]:
            raise ValueError(
                f"The run would replace {found[0]}: leave the version of the logger out, or pass a new "
                "one."
            )


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


def keep(path: Path) -> None:
    """Rename a file of the same run before the logger begins it again."""
    if path.exists():
        number = len([*path.parent.glob(f"{path.stem}-*{path.suffix}")])
        path.rename(path.with_stem(f"{path.stem}-{number}"))


def claim_directory(trainer: Trainer) -> Path:
    """Make the directory of a run, and return it.

    If another run has taken the number that its logger chose, it gets the next one.
    """
    logger = trainer.loggers[0] if trainer.loggers else None
    if isinstance(logger, CSVLogger | TensorBoardLogger) and logger._version is None:
        while trainer.is_global_zero:
            try:
                run_directory(trainer).mkdir(parents=True)
                break
            except FileExistsError:
                logger._version = None
        logger._version = trainer.strategy.broadcast(logger._version)
    directory = run_directory(trainer)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


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


class WholeCheckpoints(TorchCheckpointIO):
    """Files of checkpoints that appear whole or not at all.

    Lightning's own are copied from the directory of temporary files, which is often on another disk.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()  # because torch hides that a disk is full
        torch.save(checkpoint, content)
        with whole_file(Path(path)) as temporary:
            temporary.write_bytes(content.getbuffer())


class BestCheckpoint(ModelCheckpoint):
    """Callback that keeps the checkpoint of the lowest validation loss, ``best.ckpt``.

    A resumed run begins with the best checkpoint so far, in a copy, so that it ends with the best one of
    the whole training.
    """

    def __init__(self) -> None:
        super().__init__(monitor="val_loss", filename="best", enable_version_counter=False)
        self._earlier: Path | None = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing, because `on_load_checkpoint` restores the state."""

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Find the best checkpoint so far.

        A `UserWarning` says if it is missing or has been replaced since.
        """
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        if trainer.state.fn != "fit" or not state or state["best_model_score"] is None:
            return
        score, resumed = state["best_model_score"], Path(str(trainer.ckpt_path))
        target = Path(self.format_checkpoint_name({}))
        for path in (Path(state["best_model_path"]), resumed.with_name(target.name)):
            if self._is_best(path, score):
                break
        else:
            warnings.warn(
                f"No {target.name} beside {resumed} has the lowest validation loss so far, {score:.6g}: "
                f"{target.name} will be the best one from step {checkpoint['global_step']} on.",
                stacklevel=2,
            )
            return
        self._earlier = path
        self.best_model_path = self.kth_best_model_path = str(target)
        self.best_k_models = {str(target): score}
        self.best_model_score = self.kth_value = score

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the best checkpoint so far."""
        super().on_train_start(trainer, pl_module)
        self._copy(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the best checkpoint so far if there was no step to make."""
        self._copy(trainer)

    def _copy(self, trainer: Trainer) -> None:
        path, target, self._earlier = self._earlier, Path(self.best_model_path), None
        if path is not None and trainer.is_global_zero and path.resolve() != target.resolve():
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(target) as temporary:
                shutil.copyfile(path, temporary)

    def _is_best(self, path: Path, score: torch.Tensor) -> bool:
        """Return whether a checkpoint has this validation loss as its best one."""
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            state = content["callbacks"][self.state_key]
        except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError):
            return False
        return bool(state["best_model_score"] == score)


class LastCheckpoint(ModelCheckpoint):
    """Callback that keeps the last checkpoint, ``last.ckpt``, also when the training fails.

    Nothing is written before all states are restored, after a Ctrl-C in the middle of a step, and in
    measurements, which have other weights.
    """

    def __init__(self) -> None:
        super().__init__(filename="last", save_on_exception=True, enable_version_counter=False)
        self._training = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write from now on."""
        super().on_train_start(trainer, pl_module)
        self._training = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write nothing from now on."""
        self._training = False

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Write the checkpoint if the states belong to the last step."""
        if self._training and not isinstance(exception, KeyboardInterrupt):
            super().on_exception(trainer, pl_module, exception)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing, because a resumed run has a directory of its own."""


def reserve_names(trainer: Trainer) -> None:
    """Rename what other callbacks would write to ``best.ckpt`` and ``last.ckpt``."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and not isinstance(
            callback, BestCheckpoint | LastCheckpoint
        ):
            callback.CHECKPOINT_NAME_LAST = "own-last"
            if callback.filename in ("best", "last"):
                callback.filename = f"own-{callback.filename}"


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
