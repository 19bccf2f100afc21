"""Trained models from their files."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from lightdan import registry
from lightdan.architectures.base import Architecture
from lightdan.conditionals import conditional_from
from lightdan.provenance import check_checkpoint


def read(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint file, tensors and plain data only; nothing is unpickled.

    Raises:
        ValueError: no such file, a damaged one, or one that holds objects.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other protocols, which are refused
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(f"There is no checkpoint at {path}.") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"The checkpoint {path} is damaged or holds objects other than weights and plain data; "
            "it is not loaded, for that could execute code."
        ) from error
    except Exception as error:  # a damaged stream may raise anything
        raise ValueError(f"The checkpoint {path} cannot be read: it is damaged or none.") from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"The file {path} is not a checkpoint of lightdan.")
    return checkpoint


def load(path: str | Path) -> Architecture:
    """A trained model from its checkpoint, on the CPU, ready to be asked.

    Args:
        path: Of the checkpoint, as ``<run>/checkpoints/best.ckpt``.

    Raises:
        ValueError: the file is missing, damaged, of another format, or its architecture unknown.

    Example:
        >>> model = load("runs/ising-made/version_0/checkpoints/best.ckpt")  # doctest: +SKIP
        >>> model.sample(1000, seed=0)  # doctest: +SKIP
    """
    checkpoint = read(path)
    registry.load_plugins()
    try:
        origin = check_checkpoint(checkpoint)
        cls = registry.find(Architecture, origin["architecture"])
        arguments = dict(checkpoint["hyper_parameters"])
        arguments["conditional"] = conditional_from(arguments["conditional"])
        model = cls(**arguments)
        model.load_state_dict(checkpoint["state_dict"])
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"The checkpoint {path} does not fit its architecture: it is damaged, or the class has "
            "changed since; load it with the version that wrote it."
        ) from error
    return model.eval()


def start_from(model: Architecture, path: str | Path) -> None:
    """Give a new model the weights of a checkpoint of the same architecture, on any lattice.

    Args:
        model: Whose weights do not depend on the lattice's size, if that is another.
        path: Of the checkpoint.

    Raises:
        ValueError: the checkpoint cannot be read, is of another architecture, or of other options that
            its weights depend on.
    """
    given, name = load(path), type(model).__name__
    if type(given) is not type(model):
        raise ValueError(
            f"--start_from {path} is of the architecture {type(given).__name__}, not of {name}."
        )
    for option in ("site_kind", "levels", "reference_frame", "temperature_input"):
        if (there := getattr(given, option)) != (here := getattr(model, option)):
            raise ValueError(f"--start_from {path} has {option} = {there}, and this run has {here}.")
    if (there := given.conditional.spec()) != (here := model.conditional.spec()):
        raise ValueError(f"--start_from {path} has the conditional {there}, and this run has {here}.")
    theirs, ours = (m.hparams.get("ordering", "raster") for m in (given, model))
    if theirs != ours or axes(given) != axes(model):
        raise ValueError(
            f"--start_from {path} has the ordering {theirs} on {given.lattice_shape}, and this run has "
            f"{ours} on {model.lattice_shape}: give the same, and as many axes."
        )
    weights, kept = model.state_dict(), given.state_dict()
    for key in sorted(weights.keys() | kept.keys()):
        here, there = (tuple(w[key].shape) if key in w else None for w in (weights, kept))
        if here != there:
            remedy = "give the options that it was trained with"
            if given.lattice_shape != model.lattice_shape:
                remedy += ", and an architecture whose weights do not depend on the lattice"
            raise ValueError(
                f"--start_from {path}: {key} of {name} has shape {there} there, on "
                f"{given.lattice_shape}, and {here} here, on {model.lattice_shape}: {remedy}."
            )
    model.load_state_dict(kept)


def axes(model: Architecture) -> int:
    """Number of axes of a lattice along which there are several sites."""
    return sum(side > 1 for side in model.lattice_shape)
