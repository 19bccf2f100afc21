"""Optional packages that images need."""

import importlib


class MissingExtraError(ValueError):
    """A package of an extra is not installed."""


def extra(name: str, extras: str = "images"):  # type: ignore[no-untyped-def]  # a module
    """Import a module of an extra.

    Args:
        name: Module.
        extras: Extra of lightdan that installs it.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Images need the package {name.partition('.')[0]}, which is not installed: "
            f"pip install 'lightdan[{extras}]'."
        ) from error
