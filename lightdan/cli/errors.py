"""One sentence about bad input on the command line."""

import inspect
import re
from collections.abc import Collection, Iterator

from jsonargparse import ArgumentError
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightdan import registry

BAD_INPUT = (ValueError, ArgumentError, MisconfigurationException)
"""Exceptions that bad input raises; any other is a fault of the program and keeps its traceback."""

OPTIONS = ("config", "seed_everything", "trainer", "model", "data", "start_from", "ckpt_path", "help")
"""Options of the commands of LightningCLI, before the first dot."""


def one_sentence(error: BaseException, options: Collection[str] = OPTIONS) -> str:
    """Return what is wrong and what to do, from the depth of nested parser messages.

    Args:
        error: Exception that ended the command.
        options: Names of the command's options, for suggestions.
    """
    for cause in _causes(error):
        if isinstance(cause, ValueError) and not _raised_in(cause, "jsonargparse"):
            return " ".join(str(cause).split())
    text = str(error)
    if match := re.search(r"allocate memory: you tried to allocate (\d+) bytes", text):
        return (
            f"The model needs {int(match[1]) / 1e9:.3g} GB, more memory than there is: use a smaller "
            "lattice or patch, or a smaller width."
        )
    if match := re.search(r"^the following arguments are required: (.*)", text):
        names = [f"--{name.rpartition('.')[2]}" for name in match[1].split(", ")]
        which = "option is" if len(names) == 1 else "options are"
        return f"The required {which} missing: pass {' and '.join(names)}, here or in a --config file."
    if match := re.search(r"^argument (?:-\w/)?(--\w+): expected one argument", text):
        return f"The option {match[1]} needs a value: pass one after it."
    if match := re.search(r"^unrecognized arguments: (\S+)", text):
        if not match[1].startswith("-"):
            return f"The argument {match[1]!r} belongs to no option: remove it."
        return _unknown(match[1].partition("=")[0], options)
    if match := re.search(r"^Option '([\w.]+)' is not accepted", text):
        return _unknown(match[1], options)
    if match := re.search(r"File does not exist: '(.*?)'", text):
        return f"There is no file {match[1]}."
    if match := re.search(r"^Problems parsing config: (.*)", text, re.S):
        return f"The configuration is not valid YAML: {' '.join(match[1].split())}."
    if match := re.search(r"class_path '([\w.]+)':\s+Option '([\w.]+)' is not accepted", text):
        cls, option = registry.import_object(match[1]), match[2]
        return f"{cls.__name__} has no option {option!r}; {registry.suggestion(option, _options(cls))}"
    if match := re.search(r"class_path '([\w.]+)':\s+the following arguments are required: (.*)", text):
        return f"{match[1].rpartition('.')[2]} needs the option {match[2]}: set it under init_args."
    if match := re.search(r"does not accept option 'trainer\.(\w+)", text):
        names = list(inspect.signature(Trainer).parameters)
        return f"The trainer has no option {match[1]!r}; {registry.suggestion(match[1], names)}"
    if match := re.search(r"^Subcommand '\w+' does not accept option '([\w.]+)", text):
        return _unknown(match[1], options)
    if unknown := re.findall(r"Expected a dot import path string: (\S+)", text):
        before = text[: text.rindex(unknown[-1])]
        bases = re.findall(r"<class '(lightdan[\w.]*|lightning[\w.]*\.Callback)'>", before)
        base = registry.import_object(bases[-1]) if bases else Callback
        names = list(registry.known(base))
        kind = base.__name__.lower()
        return f"There is no {kind} {unknown[-1]!r}; {registry.suggestion(unknown[-1], names)}"
    if match := re.search(r"(module '[\w.]+' has no attribute '\w+'|No module named '[\w.]+')", text):
        return f"{match[1]}: correct the class path in the configuration."
    if keys := re.findall(r'Parser key "([\w.]+)"', text):
        values = re.findall(r"Given value: (.*)", text) or re.findall(r"Got value: (.*)", text)
        value = re.sub(r"NestedArg\(key='.*', val=(.*)\)", r"\1", values[0]) if values else ""
        expected = re.findall(r"Expected an? (?:<class '(\w+)'>|([^\n]*?)(?:\. Got|$))", text, re.M)
        kinds = dict.fromkeys(a or b for a, b in expected if (a or b) != "NoneType")
        expected_kinds = f"; expected: {', '.join(kinds)}" if kinds else ""
        expected_kinds = re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", expected_kinds)
        if value:
            return f"{keys[-1]} cannot be {value[:200]}{expected_kinds}."
    return re.sub(r"\s+", " ", text)[:500]


def _unknown(option: str, options: Collection[str]) -> str:
    return f"There is no option {option!r}; {registry.suggestion(option.lstrip('-'), list(options))}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and the ones that it came from, innermost first."""
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
