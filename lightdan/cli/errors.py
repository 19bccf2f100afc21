"""One sentence about bad input on the command line."""

import inspect
import itertools
import re
import traceback
from collections.abc import Collection, Iterator

from jsonargparse import ArgumentError
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightdan import registry
from lightdan.architectures.base import Architecture
from lightdan.systems.base import System

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
    if match := re.search(r"^(\S+) is not in bounds, numpy accepts from 0 to (\d+)", str(error)):
        return f"seed_everything must be an integer from 0 to {match[2]}, not {match[1]}."
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
    if match := re.search(r"^argument (?:-\w/)?(--[\w.]+)\S*: expected one argument", text):
        return f"The option {match[1]} needs a value: pass one after it."
    if match := re.search(r"^unrecognized arguments: (\S+)", text):
        if not match[1].startswith("-"):
            return f"The argument {match[1]!r} belongs to no option: remove it."
        option = match[1].partition("=")[0]
        if option.startswith("--trainer."):
            return _no_option("The trainer", option.partition(".")[2], _options(Trainer))
        return _unknown(option, [f"--{name}" for name in options])
    if match := re.search(r"^Option '([\w.]+)' is not accepted", text):
        return _unknown(match[1], options)
    if match := re.search(r"File does not exist: '(.*?)'", text):
        return f"There is no file {match[1]}: pass the path of an existing one."
    if re.search(r"^(Unexpected config|Parser key \"config\"): ", text):
        return "The option --config needs a file: pass the path of a YAML file."
    if "Option 'class_path' is not accepted" in text:
        key = re.findall(r'Parser key "([\w.]+)"', text)[-1]
        return f"{key} has options beside class_path: put them below init_args."
    if match := re.search(r"unexpected keyword argument '(\w+)'[^)]*\(class_path='([\w.]+)'", text):
        cls = registry.import_object(match[2])
        return _no_option(cls.__name__, match[1], _options(cls))
    if match := re.search(r"class_path '([\w.]+)':\s+Option '([\w.]+)' is not accepted", text):
        cls = registry.import_object(match[1])
        return _no_option(cls.__name__, match[2], _options(cls))
    if match := re.search(r"Option '(\w+)' is not accepted\. Got .*\(class_path='([\w.]+)'", text):
        cls = registry.import_object(match[2])
        return _no_option(cls.__name__, match[1], _options(cls))
    if match := re.search(r"class_path '([\w.]+)':\s+the following arguments are required: (.*)", text):
        return f"{match[1].rpartition('.')[2]} needs the option {match[2]}: set it under init_args."
    if match := re.search(r"does not accept option 'trainer\.(\w+)", text):
        return _no_option("The trainer", match[1], _options(Trainer))
    if match := re.search(r"^Subcommand '\w+' does not accept option '([\w.]+)", text):
        return _unknown(match[1], options)
    if match := re.search(r"^--(\w+)\.help: Expected a dot import path string: (\S+)", text):
        return _no_class({"data": System, "model": Architecture}.get(match[1], Callback), match[2])
    unknown = re.findall(r"Expected a dot import path string: (\S+)", text)
    if unknown and (base := _base(text[: text.rindex(unknown[-1])])):
        return _no_class(base, unknown[-1])
    if match := re.search(r"(module '[\w.]+' has no attribute '\w+'|No module named '[\w.]+')", text):
        return f"{match[1]}: correct the class path in the configuration."
    if match := re.search(r"Parser key \"(\w+)\":\s+Unable to load config (\S+)", text):
        return f"{match[1]} cannot be {match[2]}: set its options one by one."
    if keys := re.findall(r'Parser key "([\w.]+)"', text):
        text = _innermost(text)
        values = re.findall(r"Given value: (.*)", text) or re.findall(r"Got value: (.*)", text)
        value = re.sub(r"NestedArg\(key='.*', val=(.*)\)", r"\1", values[0]) if values else ""
        value = value.partition(". Got value: ")[0]
        expected = re.findall(r"Expected an? (?:<class '(\w+)'>|([^\n]*?)(?:\. Got|$))", text, re.M)
        kinds = dict.fromkeys(a or b for a, b in expected if (a or b) != "NoneType" and "path" not in b)
        if not kinds and (base := _base(text)):
            kinds = {f"the name of a class, one of {', '.join(registry.known(base))}": None}
        expected_kinds = f"; expected: {', '.join(kinds)}" if kinds else ""
        expected_kinds = re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", expected_kinds)
        expected_kinds = re.sub(r"<class '[\w.]*?(\w+)'>", r"\1", expected_kinds)
        if values:
            return f"{keys[-1]} cannot be {value[:200] or 'empty'}{expected_kinds}."
    return re.sub(r"\s+", " ", text)[:500]


def _unknown(option: str, options: Collection[str]) -> str:
    return f"There is no option {option!r}; {registry.suggestion(option, list(options))}"


def _no_option(owner: str, option: str, options: Collection[str]) -> str:
    return f"{owner} has no option {option!r}; {registry.suggestion(option, list(options))}"


def _no_class(base: type, name: str) -> str:
    kind = "scheduler" if base is LRScheduler else base.__name__.lower()
    return f"There is no {kind} {name!r}; {registry.suggestion(name, list(registry.known(base)))}"


def _base(text: str) -> type | None:
    """Return the base class that the last key in a message of the parser expects."""
    last = text[max(text.rfind("Parser key"), 0) :]
    if bases := re.findall(r"<class '(lightdan[\w.]*|lightning[\w.]*\.(?:Callback|Logger))'>", last):
        base: type = registry.import_object(bases[-1])
        return base
    match = re.match(r'Parser key "(optimizer|scheduler)"', last)
    return {"optimizer": Optimizer, "scheduler": LRScheduler}[match[1]] if match else None


def _innermost(text: str) -> str:
    """Return the part of a parser's message about its last key: the line and those indented below."""
    start = text.rindex("Parser key")
    depth = start - (text.rfind("\n", 0, start) + 1)
    first, *lines = text[start:].splitlines()
    below = itertools.takewhile(lambda line: not line[: depth + 1].strip(), lines)
    return "\n".join([first, *below])


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and the ones that it came from, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def passed(error: BaseException, module: str) -> bool:
    """Return whether an error came through a module, given by its dotted path."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__") == module for frame, _ in frames)


def _raised_in(error: BaseException, package: str) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals["__name__"].startswith(package)


def _options(cls: type) -> list[str]:
    """Return the arguments of a class and of its bases, without what Lightning and PyTorch add."""
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if base is not cls and base.__module__.startswith(("lightning.", "torch.")):
            continue
        if "__init__" in vars(base):
            names |= dict.fromkeys(inspect.signature(vars(base)["__init__"]).parameters)
    return [name for name in names if name not in ("self", "args", "kwargs")]
