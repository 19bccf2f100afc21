"""Checks of options that the parser takes: null for any of them, and numbers of the trainer."""

import inspect
import re
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, get_args, get_type_hints

from jsonargparse import Namespace
from lightning.pytorch import Trainer

from lightdan import registry
from lightdan.architectures.base import LINKED
from lightdan.checks import check_integer, check_number

LEAST = {
    "check_val_every_n_epoch": 1,
    "accumulate_grad_batches": 1,
    "log_every_n_steps": 0,
}
"""Smallest integers of options of the trainer, which Lightning does not check."""


def check_run(config: Namespace) -> None:
    """Check the configuration of a run.

    Args:
        config: Configuration of a command of LightningCLI, before its classes are made.

    Raises:
        ValueError: An option that is never None is null, or a number of the trainer is too small.
    """
    trainer = vars(config.trainer)
    check_options("the trainer", Trainer, trainer)
    _check_classes(config)
    for name, least in LEAST.items():
        if trainer[name] is not None:
            check_integer(f"trainer.{name}", trainer[name], least)
    if trainer["gradient_clip_val"] is not None:
        check_number("trainer.gradient_clip_val", trainer["gradient_clip_val"], 0)
    if trainer["val_check_interval"] == 0:
        raise ValueError("trainer.val_check_interval must not be 0: set limit_val_batches to 0 instead.")


def check_options(owner: str, function: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Check the options of a class or a function.

    Args:
        owner: Name in the message, to which the options belong.
        function: The class or function.
        values: Value of each option by name.

    Raises:
        ValueError: One that is never None is null.
    """
    nulls = [name for name, value in values.items() if value is None]
    expected = _expected(function) if nulls else {}
    for name in nulls:
        if name in expected:
            kind = re.sub(r"\b[a-z]\w*\.", "", inspect.formatannotation(expected[name]))
            raise ValueError(
                f"{name} of {owner} cannot be null; expected: {kind}. Set it or leave it out."
            )


def _check_classes(value: Any) -> None:
    """Check the options of all classes in a part of a configuration."""
    if isinstance(value, list):
        for part in value:
            _check_classes(part)
    elif isinstance(value, Namespace):
        if isinstance(path := value.get("class_path"), str):
            arguments = vars(value.get("init_args") or Namespace())
            options = {name: part for name, part in arguments.items() if name not in LINKED}
            check_options(path.rpartition(".")[2], registry.import_object(path), options)
        for part in vars(value).values():
            _check_classes(part)


def _expected(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotation of each option that is never None, by name."""
    expected: dict[str, Any] = {}
    seen = set()
    for part in inspect.getmro(function) if inspect.isclass(function) else [function]:
        if inspect.isclass(part):
            if "__init__" not in vars(part):
                continue
            part = vars(part)["__init__"]
        try:
            hints, parameters = get_type_hints(part), inspect.signature(part).parameters
        except (TypeError, NameError, ValueError):  # annotations that cannot be resolved, or C code
            continue
        for name, hint in hints.items():
            if name in parameters and name not in seen:
                seen.add(name)
                takes_none = hint in (Any, object, NoneType) or NoneType in get_args(hint)
                if not takes_none and parameters[name].default is not None:
                    expected[name] = hint
    return expected
