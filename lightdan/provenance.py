"""What a checkpoint says of its origin."""

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from lightdan.version import __version__

CHECKPOINT_FORMAT = 1


def origin_of(cls: type) -> dict[str, Any]:
    """Format, version and class path, for a checkpoint of a model of this class."""
    return {
        "format": CHECKPOINT_FORMAT,
        "version": __version__,
        "architecture": f"{cls.__module__}.{cls.__qualname__}",
    }


def check_checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What the checkpoint says of its origin.

    Raises:
        ValueError: it is not a checkpoint of lightdan, or one of a newer format.
    """
    origin = checkpoint.get("lightdan")
    if not isinstance(origin, dict):
        raise ValueError("The checkpoint is not one of lightdan.")
    if origin["format"] != CHECKPOINT_FORMAT:
        raise ValueError(
            f"The checkpoint has format {origin['format']}, written by lightdan {origin['version']}; "
            f"this is lightdan {__version__}, which reads format {CHECKPOINT_FORMAT}."
        )
    return origin


def is_plain(value: object) -> bool:
    """Whether it is numbers, strings, None and nests of them, as a checkpoint may hold."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def constructor_arguments(model: object, omit: Collection[str]) -> dict[str, Any]:
    """The arguments that an object's own class was given, but for some; asked for from a constructor.

    Lightning's `save_hyperparameters` would add those that a subclass passes on to its base by itself,
    and from the command line leave out the linked ones.
    """
    outermost: dict[str, Any] = {}
    frame = inspect.currentframe()
    while frame := frame.f_back if frame else None:
        # Between the constructors of a class and its base there may be wrappers that check types.
        if frame.f_code.co_name != "__init__" or frame.f_locals.get("self") is not model:
            continue
        names, _, keywords, values = inspect.getargvalues(frame)
        outermost = {name: values[name] for name in names if name != "self"}
        outermost |= values[keywords] if keywords else {}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in outermost.items()
        if name not in omit
    }


def constructor_defaults(cls: type) -> dict[str, Any]:
    """What the arguments of a class and its bases are that are not given."""
    return {
        name: parameter.default
        for base in reversed(cls.__mro__)
        if "__init__" in vars(base)
        for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items()
        if parameter.default is not parameter.empty
    }
