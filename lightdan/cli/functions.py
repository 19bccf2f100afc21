"""Typed functions as commands: options from the signature, help from the docstring."""

import inspect
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, get_args, get_origin, get_type_hints

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser

from lightdan import registry
from lightdan.cli.catalogue import COMMANDS
from lightdan.cli.errors import one_sentence
from lightdan.cli.options import check_options


def run(command: str, args: Sequence[str]) -> None:
    """Call the function of a command with the options on the command line.

    Args:
        command: Name of the command.
        args: Arguments after the name.

    Raises:
        ValueError: The options do not fit the function, or the function refuses them.
    """
    function = registry.import_object(COMMANDS[command].function)
    names = keywords(function)
    parser = make_parser(command, function)
    own, others = split(function, args)
    try:
        values = parser.parse_args(own)
    except ArgumentError as error:
        options = {*names, *(["config"] if names else []), "help"}
        raise ValueError(one_sentence(error, options)) from error
    check_options(f"'lightdan {command}'", function, {name: values[name] for name in names})
    function(*others, **{name: values[name] for name in names})


def class_arguments(cls: type, options: Sequence[str], skip: set[str]) -> dict[str, Any]:
    """Return the arguments of a class in command-line options.

    Args:
        cls: The class.
        options: Options, as in ``--shape '[6, 6]'``.
        skip: Arguments that are no options.

    Raises:
        ValueError: The options do not fit the class.
    """
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    names = parser.add_class_arguments(cls, as_group=False, skip=skip)
    try:
        values = parser.parse_args(list(options))
    except ArgumentError as error:
        raise ValueError(one_sentence(error, set(names))) from error
    return {name: values[name] for name in names}


def make_parser(command: str, function: Callable[..., Any]) -> ArgumentParser:
    """Make the parser of a function; it reads a file of options too, unless `config` is one of them."""
    parser = ArgumentParser(
        prog=f"lightdan {command}",
        description=(inspect.getdoc(function) or "").partition("\nArgs:")[0],
        exit_on_error=False,
        allow_abbrev=False,
    )
    names = keywords(function)
    if names and "config" not in names:
        parser.add_argument(
            "--config", action=ActionConfigFile, help="YAML file with options of this command."
        )
    parser.add_function_arguments(function, as_group=False)
    for action in parser._actions:
        if action.dest in lists(function):
            action.metavar = "VALUE ..."
    return parser


def keywords(function: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters that are options."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind != p.VAR_POSITIONAL]


def lists(function: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters that are lists."""
    hints = get_type_hints(function).items()
    origins = {name: [get_origin(part) for part in (hint, *get_args(hint))] for name, hint in hints}
    return [name for name in origins if list in origins[name]]


def split(function: Callable[..., Any], args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the options of a function from those that its ``*options`` take.

    Lists are written ``--values 1 2 3``; the parser gets their values as one argument.

    Raises:
        ValueError: A list is passed twice.
    """
    groups: list[list[str]] = []
    for arg in args:
        if not groups or re.match(r"-[^\d.]", arg):  # negative numbers are values
            groups.append([arg])
        else:
            groups[-1].append(arg)
    names = keywords(function)
    passes_on = len(names) < len(inspect.signature(function).parameters)
    own, others = [], []
    seen = set()
    for first, *values in groups:
        option, equals, value = first.partition("=")
        name = option.removeprefix("--")
        if name in lists(function) and name in seen:
            raise ValueError(f"{option} is passed twice: pass all its values after the first one.")
        seen.add(name)
        if name in lists(function) and (equals or values):
            own.append(f"{option}={json.dumps([value, *values] if equals else values)}")
        elif passes_on and option not in ("-h", "--help", *(f"--{name}" for name in names)):
            others += [first, *values]
        else:
            own += [first, *values]
    return own, others
