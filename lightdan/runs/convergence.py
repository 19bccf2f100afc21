"""Whether training has ended too early or too late."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

LATE = 1 / 2
"""Part of the training after which val_loss should hardly change; the learning rate falls meanwhile."""
SHARE = 0.03
"""Share of the whole fall of val_loss that counts as a change."""
LEAST = 0.01
"""Smallest change that counts, in nats; checks of one validation set scatter by less."""


class Convergence(Callback):
    """Callback that says at the end of a fit that val_loss was still falling, or was rising."""

    def __init__(self) -> None:
        self.history: list[tuple[int, float]] = []
        """Step and val_loss of each validation."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep val_loss."""
        value = trainer.callback_metrics.get("val_loss")
        if trainer.state.fn == "fit" and not trainer.sanity_checking and value is not None:
            self.history.append((trainer.global_step, float(value)))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print what val_loss did in the second half of the steps."""
        if trainer.is_global_zero and (sentence := verdict(self.history)):
            print(f"lightdan: {sentence}")

    def state_dict(self) -> dict[str, Any]:
        """Return the history, so that a resumed run judges the whole training."""
        return {"history": [list(entry) for entry in self.history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the history from a checkpoint."""
        self.history = [(int(step), float(value)) for step, value in state_dict["history"]]


def verdict(history: list[tuple[int, float]]) -> str | None:
    """Return what is wrong with the end of a training, or None if nothing is.

    Args:
        history: Step and val_loss of each validation, in order.
    """
    if len(history) < 3:
        return None
    first, (end, last) = history[0][1], history[-1]
    best_step, best = min(history, key=lambda entry: entry[1])
    least = max(LEAST, SHARE * (first - best))
    late = next((value for step, value in reversed(history) if step <= LATE * end), first)
    if late - last > least and last - best <= least:
        return (
            f"val_loss was still falling when training ended, by {late - last:.2g} nats in the "
            "second half of the steps: train longer, with a larger trainer.max_epochs or max_steps."
        )
    if last - best > least and best_step <= LATE * end:
        return (
            f"val_loss was rising when training ended, by {last - best:.2g} nats since step "
            f"{best_step}: the network fits the noise of its rows. The best weights are kept; use a "
            "stronger prior, fewer weights or more rows."
        )
    return None
