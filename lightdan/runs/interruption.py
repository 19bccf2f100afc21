"""The end of a run before it has finished: by a signal, an error, or the loss of a process."""

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from lightdan.data.files import disk_is_full
from lightdan.runs.checkpointing import LastCheckpoint
from lightdan.runs.directories import run_directory
from lightdan.signals import NUMBERS, Stopped, handle, restore, stop


class Interruption(Callback):
    """Callback that lets a signal end training after the current step, so that the checkpoint is whole.

    If a validation is due then, training ends one step after it, because a resumed run would leave it
    out. All processes of a run end after the same step. A second Ctrl-C interrupts at once. Measurements
    end at once. A run that loses one of its processes ends, too.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._previous: dict[int, Any] = {}
        self._parent = os.getppid()
        self._watched = self._trained = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Watch the other processes from now on."""
        if trainer.world_size > 1 and not self._watched:
            self._watched = True
            threading.Thread(target=self._watch, args=(trainer,), daemon=True).start()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note signals from now on."""
        self._number, self._trained = None, True
        self._previous = handle((signal.SIGINT, *NUMBERS), self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._number = self._number or number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """End training after a signal to any of the processes, unless a validation is due."""
        loop = trainer.fit_loop
        fetcher = loop._data_fetcher
        due = fetcher is not None and loop.epoch_loop._should_check_val_fx(fetcher)
        self._end(trainer, self._number is not None and not due)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the former handlers, and heed a signal since the last step."""
        restore(self._previous)
        self._end(trainer, self._number is not None)

    def _end(self, trainer: Trainer, noted: bool) -> None:
        """Raise `Stopped` if one of the processes is to end."""
        if trainer.world_size > 1:
            noted = trainer.strategy.reduce_boolean_decision(noted, all=False)
        if noted:
            raise Stopped(self._number or signal.SIGTERM)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle signals until Lightning restores the former handlers."""
        handle(NUMBERS, stop)

    on_predict_start = on_test_start

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle signals unless the validation is a part of training."""
        if trainer.state.fn == "validate":
            handle(NUMBERS, stop)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Say how to resume."""
        if trainer.world_size > 1 and not isinstance(exception, Stopped | ValueError):
            self._leave_if_alone(trainer, 2)
        kept = any(isinstance(callback, LastCheckpoint) for callback in trainer.callbacks)
        if not kept or not self._trained or not trainer.is_global_zero or not trainer.global_step:
            return
        what = type(exception).__name__
        if isinstance(exception, Stopped):
            what, exception.said = f"stopped by {exception.name}", True
        elif isinstance(exception, KeyboardInterrupt):
            what = "interrupted"
        checkpoints = run_directory(trainer) / "checkpoints"
        best, last = checkpoints / "best.ckpt", checkpoints / "last.ckpt"
        if trainer.state.fn == "fit":
            when, remedy = f"at step {trainer.global_step}, before any measurement", "resume by adding"
            full = isinstance(exception, OSError) and disk_is_full(exception)
            lost = full or isinstance(exception, KeyboardInterrupt)  # else LastCheckpoint writes it now
            path = last if last.exists() or not lost else None
        else:
            when, remedy = "before all measurements have ended", "measure with 'lightdan test' and"
            path = next((path for path in (best, last) if path.exists()), None)
        remedy = f"{remedy} --ckpt_path {path}" if path else "run it again"
        print(f"lightdan: {what} {when}; {remedy}", file=sys.stderr)

    def _watch(self, trainer: Trainer) -> None:
        while True:
            self._leave_if_alone(trainer, 1)

    def _leave_if_alone(self, trainer: Trainer, seconds: float) -> None:
        """End this process at once if another one of the run ends within some seconds.

        The others wait for each other, so that nothing more can be computed or saved.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if lost := self._lost(trainer):
                last = run_directory(trainer) / "checkpoints" / "last.ckpt"
                remedy = f"resume by adding --ckpt_path {last}" if last.exists() else "run it again"
                print(f"lightdan: {lost} has ended, and the run with it; {remedy}", file=sys.stderr)
                sys.stderr.flush()
                os._exit(128 + signal.SIGTERM)
            time.sleep(0.1)

    def _lost(self, trainer: Trainer) -> str | None:
        if trainer.local_rank and os.getppid() != self._parent:
            return "the first process of this run"
        processes = getattr(trainer.strategy.launcher, "procs", [])
        for rank, process in enumerate(processes, 1):
            if process.poll() not in (None, 0, 2):  # 2 after bad input, which the first one reports
                return f"process {rank} of this run, counted from 0,"
        return None
