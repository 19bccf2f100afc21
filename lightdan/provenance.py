"""Origin of checkpoints: format, version, class and constructor arguments."""

import functools
import inspect
from abc import ABC
from collections.abc import Callable, Mapping
from typing import Any

from lightdan.version import __version__

CHECKPOINT_FORMAT = 1


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
            f"The checkpoint has format {origin['format']}, written by lightdan {origin['version']}; "
            f"lightdan {__version__} reads format {CHECKPOINT_FORMAT}: use the version that wrote it."
        )
    return origin


def is_plain(value: object) -> bool:
    """Return whether a value consists of numbers, strings and None, possibly nested."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


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
