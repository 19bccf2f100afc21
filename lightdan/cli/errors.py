"""One sentence for what the command line was given wrong."""

import inspect
import re
from collections.abc import Iterator

from jsonargparse import ArgumentError
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightdan import registry

BAD_INPUT = (ValueError, ArgumentError, MisconfigurationException)
"""What bad input raises; anything else is a fault of the program and keeps its traceback."""


def one_sentence(error: BaseException) -> str:
    """The culprit and the remedy, from the depth of nested parser messages."""
    for cause in _causes(error):
        if isinstance(cause, ValueError) and not _raised_in(cause, "jsonargparse"):
            return " ".join(str(cause).split())
    text = str(error)
    if match := re.search(r"allocate memory: you tried to allocate (\d+) bytes", text):
        return (
            f"The model needs {int(match[1]) / 1e9:.3g} GB, more memory than there is: take a smaller "
            "lattice or patch, or a smaller width."
        )
    if match := re.search(r"class_path '([\w.]+)':\s+Option '([\w.]+)' is not accepted", text):
        cls, option = registry.import_object(match[1]), match[2]
        return f"{cls.__name__} has no option {option!r}; {registry.suggestion(option, _options(cls))}"
    if match := re.search(r"class_path '([\w.]+)':\s+the following arguments are required: (.*)", text):
        return f"{match[1].rpartition('.')[2]} needs the option {match[2]}: give it under init_args."
    if match := re.search(r"does not accept option 'trainer\.(\w+)", text):
        names = list(inspect.signature(Trainer).parameters)
        return f"The trainer has no option {match[1]!r}; {registry.suggestion(match[1], names)}"
    if unknown := re.findall(r"Expected a dot import path string: (\S+)", text):
        before = text[: text.rindex(unknown[-1])]
        bases = re.findall(r"<class '(lightdan[\w.]*|lightning[\w.]*\.Callback)'>", before)
        base = registry.import_object(bases[-1]) if bases else Callback
        names = list(registry.known(base))
        kind = base.__name__.lower()
        return f"There is no {kind} {unknown[-1]!r}; {registry.suggestion(unknown[-1], names)}"
    if match := re.search(r"(module '[\w.]+' has no attribute '\w+'|No module named '[\w.]+')", text):
        return f"{match[1]}: a class path in the configuration is wrong."
    if keys := re.findall(r'Parser key "([\w.]+)"', text):
        given = re.findall(r"Given value: (.*)", text)
        value = re.sub(r"NestedArg\(key='.*', val=(.*)\)", r"\1", given[0]) if given else ""
        expected = re.findall(r"Expected an? (?:<class '(\w+)'>|([^\n]*?)(?:\. Got|$))", text, re.M)
        kinds = dict.fromkeys(a or b for a, b in expected if (a or b) != "NoneType")
        wanted = f"; expected: {', '.join(kinds)}" if kinds else ""
        wanted = re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", wanted)
        if value:
            return f"{keys[-1]} cannot be {value[:200]}{wanted}."
    return re.sub(r"\s+", " ", text)[:500]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those it came from, innermost first."""
    if error is not None:
        context = None if error.__suppress_context__ else error.__context__
        yield from _causes(error.__cause__ or context)
        yield error


def _raised_in(error: BaseException, package: str) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals["__name__"].startswith(package)


def _options(cls: type) -> list[str]:
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base) and base.__module__.partition(".")[0] not in (
            "lightning",
            "torch",
        ):
            names |= dict.fromkeys(inspect.signature(vars(base)["__init__"]).parameters)
    return [name for name in names if name not in ("self", "args", "kwargs")]
