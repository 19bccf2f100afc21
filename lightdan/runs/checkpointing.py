"""The checkpoints that a run keeps: the best and the last, each whole."""

import io
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lightdan.data.files import whole_file


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
