"""Origin of checkpoints: format, version, class, constructor arguments and recipe of the training."""

import functools
import inspect
from abc import ABC
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lightdan.version import __version__

CHECKPOINT_FORMAT = 2


def origin_of(cls: type) -> dict[str, Any]:
    """Return format, version and class path for the checkpoint of a model of this class."""
    return {
        "format": CHECKPOINT_FORMAT,
        "version": __version__,
        "architecture": f"{cls.__module__}.{cls.__qualname__}",
    }


def check_checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the origin of a checkpoint.

    Raises:
        ValueError: The file is not a checkpoint of lightdan, or has another format.
    """
    origin = checkpoint.get("lightdan")
    if not isinstance(origin, dict):
        raise ValueError(
            "The checkpoint was not written by lightdan: use one from a run of 'lightdan fit'."
        )
    if origin["format"] != CHECKPOINT_FORMAT:
        raise ValueError(
            f"The checkpoint has format {origin['format']}, written by lightdan "
            f"{origin.get('version')}; lightdan {__version__} reads format {CHECKPOINT_FORMAT}: use the "
            "version that wrote it."
        )
    return origin


def is_plain(value: object) -> bool:
    """Return whether a value consists of numbers, strings and None, possibly nested."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


TRAINER_OPTIONS = (
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "precision",
    "limit_train_batches",
    "limit_val_batches",
    "overfit_batches",
)
"""Options of the trainer that change the weights; its length, devices and loggers do not count.

Validation rows choose the best weights, and losses of other rows are not comparable.
"""

TRAINING_CALLBACKS = (
    "StochasticWeightAveraging",
    "WeightAveraging",
    "EMAWeightAveraging",
    "GradientAccumulationScheduler",
    "ModelPruning",
    "BaseFinetuning",
    "BatchSizeFinder",
    "LearningRateFinder",
)
"""Callbacks of Lightning that change the weights."""


def recipe_of(trainer: Any, objective: object) -> dict[str, Any]:
    """Return what determines the steps of a training besides its model and rows, as plain data.

    Args:
        trainer: Trainer with its optimizers, before it restores their state, and with its data.
        objective: Function that the training minimises.
    """
    recipe = {"objective": type(objective).__name__, **_options("objective", vars(objective))}
    recipe["scheduler"] = "none"
    for optimizer in trainer.optimizers:
        recipe["optimizer"] = type(optimizer).__name__
        for number, group in enumerate(optimizer.param_groups):
            name = f"optimizer.{number}" if number else "optimizer"
            group = {**group, "lr": group.get("initial_lr", group["lr"])}  # before the warm-up
            recipe |= _options(
                name, {k: v for k, v in group.items() if k not in ("params", "initial_lr")}
            )
    for config in trainer.lr_scheduler_configs:
        scheduler = config.scheduler
        recipe["scheduler"] = type(scheduler).__name__
        arguments = inspect.signature(type(scheduler).__init__).parameters.keys() - {"last_epoch"}
        recipe |= _options("scheduler", {k: v for k, v in vars(scheduler).items() if k in arguments})
    for name in ("batch_size", "seed", "temperatures"):
        recipe[f"data.{name}"] = _plain(getattr(trainer.datamodule, name, None))
    for name in TRAINER_OPTIONS:
        value = _plain(getattr(trainer, name, None))
        # 1 is one batch and 1.0 are all.
        recipe[f"trainer.{name}"] = str(value) if name.endswith("_batches") else value
    names = {cls.__name__ for callback in trainer.callbacks for cls in type(callback).__mro__}
    recipe["trainer.callbacks"] = ", ".join(sorted(names.intersection(TRAINING_CALLBACKS)))
    return recipe


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """Yield ``name = old, now new`` for each name whose values differ."""
    for name in sorted(theirs.keys() | ours.keys()):
        if (old := _plain(theirs.get(name))) != (new := _plain(ours.get(name))):
            nested = isinstance(old, dict) and isinstance(new, dict)
            yield from differences(old, new) if nested else [f"{name} = {old}, now {new}"]


def _options(owner: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain ones among values, with the name of their owner before theirs."""
    plain = {name: _plain(value) for name, value in values.items() if not name.startswith("_")}
    return {f"{owner}.{name}": value for name, value in plain.items() if is_plain(value)}


def _plain(value: Any) -> Any:
    """Return numbers and strings as they are, sequences as lists, and a counter as a list."""
    if isinstance(value, Counter):  # the milestones of a schedule
        return sorted(value.elements())
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


class KeepsArguments(ABC):
    """Base of objects that keep the arguments of their constructor, for checkpoints."""

    constructor_arguments: dict[str, Any]
    """Arguments of the object's own class, defaults among them, with tuples in place of lists.

    Lightning's `save_hyperparameters` would also store what a class sets for its base, and would miss
    what the command line links.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = keep_arguments(cls.__init__)  # type: ignore[method-assign]


def keep_arguments(constructor: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor so that it stores its arguments, unless a subclass has stored its own."""
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def storing(self: KeepsArguments, *args: Any, **kwargs: Any) -> None:
        if "constructor_arguments" not in vars(self):
            vars(self)["constructor_arguments"] = bind(signature, self, *args, **kwargs)
        constructor(self, *args, **kwargs)

    return storing


def bind(signature: inspect.Signature, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the arguments by name, without the first, which is the object."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    (_, *names), values = signature.parameters, bound.arguments
    arguments: dict[str, Any] = {}
    for name in names:
        is_open = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        arguments |= values[name] if is_open else {name: values[name]}
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()
    }


def constructor_defaults(cls: type) -> dict[str, Any]:
    """Return the default arguments of a class and its bases."""
    return {
        name: parameter.default
        for base in reversed(cls.__mro__)
        if "__init__" in vars(base)
        for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items()
        if parameter.default is not parameter.empty
    }
