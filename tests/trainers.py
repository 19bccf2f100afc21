"""Trainers that print nothing and write nothing."""

from typing import Any

from lightning import Trainer


def quiet_trainer(**options: Any) -> Trainer:
    """Return a trainer without logger, checkpoints and progress bar, unless options set them."""
    quiet = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
    quiet |= {"enable_model_summary": False, "enable_progress_bar": False}
    return Trainer(**quiet | options)
