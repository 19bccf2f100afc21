"""Reading of checkpoints."""

import copy
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lightdan import registry
from lightdan.architectures.base import Architecture
from lightdan.architectures.record import TrainingRecord
from lightdan.checks import is_sentence
from lightdan.conditionals import conditional_from
from lightdan.provenance import check_checkpoint

TRAINING_STATE = {
    "epoch": int,
    "global_step": int,
    "loops": dict,
    "callbacks": dict,
    "lr_schedulers": list,
}
"""Parts of a checkpoint besides its optimizer from which a training resumes, and their types."""


def read(path: str | Path) -> dict[str, Any]:
    """Read tensors and plain data from a checkpoint file; nothing is unpickled.

    Raises:
        ValueError: The file is missing or damaged, or contains objects.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other protocols, which raise an error
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(
            f"There is no checkpoint at {path}: pass the path of an existing one."
        ) from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"The checkpoint {path} is damaged or contains more than weights and plain data: use "
            "another one, because loading it could execute code."
        ) from error
    except Exception as error:  # a damaged stream may raise anything
        raise ValueError(
            f"The checkpoint {path} is damaged or not a checkpoint: use another one."
        ) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"The file {path} is not a checkpoint of lightdan: use another one.")
    return checkpoint


def load(path: str | Path) -> Architecture:
    """Load a trained model from its checkpoint, on the CPU and in evaluation mode.

    Args:
        path: Path of the checkpoint, such as ``<run>/checkpoints/best.ckpt``.

    Raises:
        ValueError: The file is missing, damaged or of another format, or its architecture is unknown.

    Example:
        >>> model = load("runs/ising-made/version_0/checkpoints/best.ckpt")  # doctest: +SKIP
        >>> model.sample(1000, seed=0)  # doctest: +SKIP
    """
    checkpoint = read(path)
    registry.load_plugins()
    with _intact(path):
        origin = check_checkpoint(checkpoint)
        cls = registry.find(Architecture, origin["architecture"])
        arguments = dict(checkpoint["hyper_parameters"])
        arguments["conditional"] = conditional_from(arguments["conditional"])
        model = cls(**arguments)
        model.load_state_dict(checkpoint["state_dict"])
        model.record = TrainingRecord.read(origin)
    return model.eval()


def check_fits(
    model: Architecture, checkpoint: dict[str, Any], path: str | Path, *, resumes: bool
) -> None:
    """Load the weights of a checkpoint, and check the rest of it, before Lightning begins with it.

    Args:
        model: Model of the run.
        checkpoint: Contents of the checkpoint.
        path: Its path, for messages.
        resumes: Whether the run continues the training.

    Raises:
        ValueError: The checkpoint is of another model, is damaged, or has no state of a training.
    """
    if resumes and "optimizer_states" not in checkpoint:
        raise ValueError(
            f"The checkpoint {path} has only weights, from which no training resumes: use "
            "another one, or pass it to --start_from for a new run."
        )
    with _intact(path):
        model.on_load_checkpoint(checkpoint)
        model.load_state_dict(checkpoint["state_dict"])
        recipe = dict(checkpoint["lightdan"]["recipe"] or {})
        for name in TRAINING_STATE if resumes else ():
            if not isinstance(checkpoint[name], TRAINING_STATE[name]):
                raise TypeError(name)
    usual = type(model).configure_optimizers is Architecture.configure_optimizers
    # That an optimizer was exchanged is for the comparison of recipes to say.
    if resumes and usual and recipe.get("optimizer") == type(trial := _optimizer(model)).__name__:
        try:
            (state,) = checkpoint["optimizer_states"]
            trial.load_state_dict(copy.deepcopy(state))
            trial.step(lambda: 0.0)
        except Exception as error:
            raise _damaged(path, "its optimizer") from error


def _optimizer(model: Architecture) -> torch.optim.Optimizer:
    """Return an optimizer of copies of the weights, whose gradients are zero."""
    weights = [weight.detach().clone().requires_grad_() for weight in model.parameters()]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    return model.optimizer(weights)


@contextmanager
def _intact(path: str | Path) -> Iterator[None]:
    """Raise ValueError in place of the many errors by which a damaged checkpoint is noticed."""
    try:
        yield
    except Exception as error:
        if is_sentence(error):
            raise
        raise _damaged(path, "its architecture") from error


def _damaged(path: str | Path, part: str) -> ValueError:
    return ValueError(
        f"The checkpoint {path} does not fit {part}, because it is damaged or the class has changed: "
        "use another one, or load it with the version that wrote it."
    )


def start_from(model: Architecture, path: str | Path) -> None:
    """Set the weights of a new model to those of a checkpoint of the same architecture.

    The lattices may differ if the weights do not depend on the lattice.

    Args:
        model: Model to change.
        path: Path of the checkpoint.

    Raises:
        ValueError: The checkpoint cannot be read, or differs in architecture or in an option on which
            the weights depend.
    """
    source, name = load(path), type(model).__name__
    if type(source) is not type(model):
        raise ValueError(
            f"--start_from {path} is of the architecture {type(source).__name__}, not of {name}: "
            "use the same architecture."
        )
    model.take_choices(source)
    for option in ("site_kind", "levels", "reference_frame", "temperature_input", "control_names"):
        if (there := getattr(source, option)) != (here := getattr(model, option)):
            raise ValueError(
                f"--start_from {path} has {option} = {there}, and this run has {here}: use the same."
            )
    if (there := source.conditional.spec()) != (here := model.conditional.spec()):
        raise ValueError(
            f"--start_from {path} has the conditional {there}, and this run has {here}: use the same."
        )
    theirs, ours = (m.hparams.get("ordering", "raster") for m in (source, model))
    if theirs != ours or num_axes(source) != num_axes(model):
        raise ValueError(
            f"--start_from {path} has the ordering {theirs} on {source.lattice_shape}, and this run has "
            f"{ours} on {model.lattice_shape}: use the same ordering and as many axes."
        )
    old, new = source.state_dict(), model.state_dict()
    for key in sorted(old.keys() | new.keys()):
        there, here = (tuple(w[key].shape) if key in w else None for w in (old, new))
        if here != there:
            remedy = "use the options that it was trained with"
            if source.lattice_shape != model.lattice_shape:
                remedy += ", and an architecture whose weights do not depend on the lattice"
            raise ValueError(
                f"--start_from {path}: {key} of {name} has shape {there} there, on "
                f"{source.lattice_shape}, and {here} here, on {model.lattice_shape}: {remedy}."
            )
    model.load_state_dict(old)
    model.record.rows = source.record.rows


def num_axes(model: Architecture) -> int:
    """Return the number of axes along which the lattice has several sites."""
    return sum(side > 1 for side in model.lattice_shape)
