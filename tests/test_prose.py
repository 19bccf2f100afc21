"""Docstrings begin with a verb or a noun, and their sentences are short."""

import ast
import inspect
import itertools
import re
from pathlib import Path

import pytest

import lightdan

ROOT = Path(lightdan.__file__).parent
MODULES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py"))
FRAGMENT = re.compile(r"(Of|That|Those|The same|What|Whose|How|Where|Which|So|As|Such)\b")
NO_VERB = re.compile(r"(The|A|An|All|Each|Every|One|Whether|This|These|It|Its|For|In|On|By|With)\b|\W")
LONGEST = 30
"""Words in a sentence."""
SECTION = re.compile(r"^(Args|Returns|Yields|Raises|References|Example):$")
ARGUMENT = re.compile(r"^ {4}\*{0,2}(\w+): (.*)")


def docstrings(tree):
    """Yield line, kind and text of every docstring; one below an assignment documents it."""
    for node in ast.walk(tree):
        if not isinstance(body := getattr(node, "body", None), list):
            continue
        for before, statement in itertools.pairwise([node, *body]):
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, kind_of(before), inspect.cleandoc(text)


def kind_of(node):
    """Return whether a node is a function, a property or anything else."""
    if not isinstance(node, ast.FunctionDef):
        return "other"
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    return "property" if decorators & {"property", "cached_property"} else "function"


def sections(text):
    """Return the lines of each section by name; those before the first have no name."""
    parts, name = {"": []}, ""
    for line in text.splitlines():
        if match := SECTION.match(line):
            name = match[1]
            parts[name] = []
        else:
            parts[name].append(line)
    return parts


def num_words(sentence):
    """Count the words; code and formulas in backticks are one."""
    return sum(bool(re.search(r"[^\W\d_]{2}", word)) for word in sentence.split())


def sentences(lines):
    """Yield the sentences of the paragraphs."""
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        text = re.sub(r"`+[^`]*`+", "code", " ".join(paragraph.split()))
        yield from re.split(r"(?<=[.!?;])\s+", text)


def complaints(source):
    """Yield line and reason of everything that reads badly."""
    for line, kind, text in docstrings(ast.parse(source)):
        parts = sections(text)
        first = text.partition("\n")[0]
        if FRAGMENT.match(first) or (kind == "function" and NO_VERB.match(first)):
            yield line, f"begins badly: {first}"
        for argument in filter(None, map(ARGUMENT.match, parts.get("Args", []))):
            if FRAGMENT.match(argument[2]):
                yield line, f"the argument {argument[1]} begins badly: {argument[2]}"
        for name in parts.keys() - {"Example", "References"}:
            for sentence in sentences(parts[name]):
                if num_words(sentence) > LONGEST:
                    yield line, f"a sentence of {num_words(sentence)} words: {sentence}"


@pytest.mark.parametrize("module", MODULES)
def test_docstrings_read_well(module):
    found = [f"{module}:{line}: {reason}" for line, reason in complaints((ROOT / module).read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        '"""What a module is."""',
        'def f():\n    """The mean."""',
        'def f(x):\n    """Return x.\n\n    Args:\n        x: Of the mean.\n    """',
        'width = 3\n"""Of the layers."""',
        f'class A:\n    """One, {"two, " * 30} three."""',
    ],
)
def test_what_reads_badly_is_noticed(source):
    assert len([*complaints(source)]) == 1
