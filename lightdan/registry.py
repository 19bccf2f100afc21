"""Classes by name: to register a class, subclass and import it, or declare an entry point."""

import difflib
import importlib
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any, TypeVar

T = TypeVar("T")

PLUGIN_GROUP = "lightdan.plugins"
FAMILIES = {
    "system": "lightdan.systems.base.System",
    "architecture": "lightdan.architectures.base.Architecture",
    "conditional": "lightdan.conditionals.Conditional",
    "objective": "lightdan.objectives.Objective",
    "measurement": "lightdan.measurements.base.Measurement",
}

_loaded: dict[str, str] = {}


def import_object(path: str) -> Any:
    """Import the object at a dotted path like ``lightdan.systems.ising.Ising``."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def load_plugins() -> dict[str, str]:
    """Import the classes of this package and every entry point of the group ``lightdan.plugins``.

    A plugin that cannot be imported is left out with a warning, so that it breaks no command.

    Returns:
        Distribution of each imported plugin, by the name of its top-level module.
    """
    for package in ("lightdan.systems", "lightdan.architectures", "lightdan.measurements"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)
    for point in entry_points(group=PLUGIN_GROUP):
        if point.value in _loaded:
            continue
        try:
            point.load()
        except Exception as error:
            warnings.warn(
                f"The plugin {point.name!r} ({point.value}) is left out because its import failed with "
                f"{type(error).__name__}: {error}; fix or uninstall it.",
                stacklevel=2,
            )
        else:
            _loaded[point.value] = point.dist.name if point.dist else point.name
    return {value.partition(":")[0].partition(".")[0]: name for value, name in _loaded.items()}


def known(base: type[T]) -> dict[str, type[T]]:
    """Return every concrete subclass of ``base`` imported so far, sorted by name."""
    classes: dict[str, type[T]] = {}
    pending = list(base.__subclasses__())
    while pending:
        cls = pending.pop()
        pending.extend(cls.__subclasses__())
        if not inspect.isabstract(cls) and not cls.__name__.startswith("_"):
            classes[cls.__name__] = cls
    return dict(sorted(classes.items()))


def find(base: type[T], name: str) -> type[T]:
    """Return the imported subclass of ``base`` with a short class name or a dotted path.

    Nothing is imported, because the name may come from a file that somebody else wrote.

    Raises:
        ValueError: There is no class of that name; the message lists the known ones.
    """
    classes = known(base)
    if name in classes:
        return classes[name]
    module, _, attribute = name.rpartition(".")
    cls = getattr(sys.modules.get(module), attribute, None)
    if inspect.isclass(cls) and issubclass(cls, base):
        return cls
    trusted = ""
    if "." in name:
        remedy = f"if you trust it, pass --classes {name} or import it first"
        trusted = f" among the imported classes ({remedy})"
    nearest = suggestion(name, list(classes))
    raise ValueError(f"There is no {base.__name__.lower()} {name!r}{trusted}; {nearest}")


def import_classes(paths: Sequence[str]) -> None:
    """Import classes, so that checkpoints may name them.

    Args:
        paths: Dotted paths like ``coins.Window``.

    Raises:
        ValueError: A path cannot be imported, or is no subclass of the base classes of `FAMILIES`.
    """
    bases = tuple(map(import_object, FAMILIES.values()))
    for path in paths:
        try:
            cls = import_object(path)
        except (ImportError, AttributeError, ValueError):
            cls = None
        if not (inspect.isclass(cls) and issubclass(cls, bases)):
            families = ", ".join(FAMILIES)
            raise ValueError(
                f"--classes {path} is no {families} that can be imported: pass the module of each class "
                "and its name, as in coins.Window."
            )


def suggestion(name: str, names: list[str]) -> str:
    """Return the end of a message about an unknown name: the nearest match and all known names."""
    listed = f"known: {', '.join(sorted(names)) or 'none'}."
    folded = {known_name.lstrip("-").lower(): known_name for known_name in names}
    word = name.lstrip("-").rpartition(".")[2].lower()
    nearest = difflib.get_close_matches(word, folded, n=1, cutoff=0.5)
    return f"did you mean {folded[nearest[0]]!r}? {listed}" if nearest else listed
