"""Configuration files before the parser reads them, and the plugins that they name."""

import inspect
import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from jsonargparse import Namespace

from lightdan import registry

DOTTED = re.compile(r"(?<![\w./-])[^\W\d]\w*(?:\.[^\W\d]\w*)+(?![\w/])")
"""Dotted path, as of a class."""
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
"""Tags of the keys that a configuration has."""
YAML = (".yaml", ".yml")
"""Suffixes of configurations."""
MAX_REPEATED = 100_000
"""Largest number of values that aliases of YAML may repeat."""
MAX_DEPTH = 100
"""Largest number of lists and dictionaries in each other."""


def import_plugins(args: Sequence[str]) -> None:
    """Import the plugins, and let files beside a configuration be found that one or an option names.

    Their folder comes last on the path, so that a file there takes the place of no library. If no class
    in such a file is named, nothing in the folder can be imported.

    Args:
        args: Arguments of the command line.

    Raises:
        ValueError: A configuration is not valid YAML or has no options.
    """
    registry.load_plugins()
    paths = [Path(path) for path in config_paths(args)]
    values = [arg.partition("=")[2] if arg.startswith("-") else arg for arg in args]
    contents = configurations(paths, [path for path in map(Path, values) if path.suffix in YAML])
    texts = [*args, *(text for content in contents.values() for text in _texts(content))]
    named = {word for text in texts for word in DOTTED.findall(text) if not Path(word).exists()}
    modules = {word.partition(".")[0] for word in named}
    for folder in dict.fromkeys([*(path.parent for path in contents), Path.cwd()]):
        found = any((folder / f"{name}.py").exists() or (folder / name).is_dir() for name in modules)
        if found and str(folder) not in sys.path:
            sys.path.append(str(folder))


def configurations(paths: Sequence[Path], parts: Sequence[Path]) -> dict[Path, Any]:
    """Return the contents of configurations and of the files that they include, by absolute path.

    A file is included by its path from the folder of the file that names it, or from the working
    directory.

    Args:
        paths: Configurations.
        parts: Files with the values of single options, such as a list of callbacks.

    Raises:
        ValueError: One is not valid YAML, or one of ``paths`` has no options.
    """
    contents: dict[Path, Any] = {}
    pending = [*paths, *parts]
    while pending:
        path = pending.pop(0)
        if path.is_file() and path.resolve() not in contents:
            content = contents[path.resolve()] = check_config(path)
            if path in paths and not isinstance(content, dict):
                raise ValueError(
                    f"The configuration {path} has no options: write lines like 'name: value'."
                )
            names = [Path(text) for text in _texts(content) if "\n" not in text]
            included = [name for name in names if name.suffix in YAML]
            pending += [folder / name for name in included for folder in (path.parent, Path())]
    return contents


def _texts(content: Any) -> Iterator[str]:
    """Yield all texts in a configuration."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)


class OneOfEach(yaml.SafeLoader):
    """Loader that refuses a key that is no text, or occurs twice: YAML would take the last."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """Return a dictionary as it is written, before ``<<`` puts in the keys of others.

        Raises:
            ConstructorError: A key occurs twice or is no text.
        """
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.tag not in (TEXT, MERGE):
                wrong = "a key is no name of an option"
            elif key.value in seen:
                wrong = f"the key {key.value!r} occurs twice, write it once"
            else:
                seen.add(key.value)
                continue
            raise yaml.constructor.ConstructorError(None, None, wrong, key.start_mark)
        return node


def check_config(path: Path) -> Any:
    """Return the content of a configuration, which the parser would refuse without naming its path.

    Raises:
        ValueError: It is not YAML, has an option twice, or its aliases repeat too much.
    """
    try:
        text = path.read_text("utf-8")
        _check_size(text)
        return yaml.load(text, Loader=OneOfEach)
    except OSError as error:
        raise ValueError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split()).replace(' in "<unicode string>"', "")
        raise ValueError(f"The configuration {path} is not valid YAML: {reason}.") from error
    except OverflowError as error:
        raise ValueError(f"The configuration {path} {error}: write each option once.") from error


def _check_size(text: str) -> None:
    """Raise OverflowError if YAML is nested deeply, or is long once its aliases are repeated."""
    sizes: dict[str, int] = {}
    open_parts: list[tuple[str | None, int]] = []
    total = repeated = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            # An alias inside of its own anchor repeats without end.
            size = sizes.get(event.anchor, MAX_REPEATED)
            total, repeated = total + size, repeated + size
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_parts.append((event.anchor, total - 1))
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_parts.pop()
            if anchor:
                sizes[anchor] = total - before
        if repeated >= MAX_REPEATED:
            raise OverflowError(f"has aliases that repeat more than {MAX_REPEATED} values")
        if len(open_parts) > MAX_DEPTH:
            raise OverflowError(f"has more than {MAX_DEPTH} lists and dictionaries in each other")


def check_class_paths(config: Namespace) -> None:
    """Raise ValueError if a class path names a function, unless its annotation says what it returns.

    The parser compares classes with the expected base class, but would call any other function.
    """
    for name, path in _class_paths(config.as_dict()):
        named = registry.import_object(path)
        if not inspect.isclass(named) and not inspect.isclass(get_type_hints(named).get("return")):
            raise ValueError(f"{name} is {path}, which is no class: pass the path of a class.")


def _class_paths(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield option and class path of all classes in a configuration."""
    if isinstance(value, dict):
        for key, part in value.items():
            option = f"{name}.{key}".lstrip(".")
            if key == "class_path" and isinstance(part, str):
                yield option, part
            else:
                yield from _class_paths(part, option)
    elif isinstance(value, list):
        for part in value:
            yield from _class_paths(part, name)


def config_paths(args: Sequence[str]) -> list[str]:
    """Return the values of ``--config`` or ``-c``."""
    after = [value for flag, value in itertools.pairwise(args) if flag in ("--config", "-c")]
    return after + [arg.partition("=")[2] for arg in args if arg.startswith("--config=")]
