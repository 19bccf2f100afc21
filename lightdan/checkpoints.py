"""Trained models from their files."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from lightdan import registry
from lightdan.architectures.base import Architecture
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
        model = cls(**checkpoint["hyper_parameters"])
        model.load_state_dict(checkpoint["state_dict"])
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"The checkpoint {path} does not fit its architecture: it is damaged, or the class has "
            "changed since; load it with the version that wrote it."
        ) from error
    return model.eval()
