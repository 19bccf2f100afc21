"""What the design promises of the code itself: its floors, and that shapes are checked."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

import lightdan
from lightdan import Bernoulli, Categorical, Ising
from lightdan.lattice import OPERATIONS

ROOT = Path(lightdan.__file__).parent
MODULES = {
    ".".join(("lightdan", *path.relative_to(ROOT).with_suffix("").parts)): path
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "__init__.py"
}
FLOORS = [
    [
        "types",
        "simulation",
        "images",
        "magnetometry",
        "statistics",
        "registry",
        "progress",
        "provenance",
        "readers",
        "values",
    ],
    [
        "lattice",
        "data",
        "conditionals",
        "objectives",
        "orderings",
        "spin_hamiltonian",
        "local_couplings",
        "term_search",
    ],
    ["systems", "architectures"],
    [
        "checkpoints",
        "callbacks",
        "prediction",
        "prediction_report",
        "replica_exchange",
        "scans",
        "testing",
        "running",
        "errors",
    ],
    ["commands"],
    ["cli", "main", "__main__"],
]
"""From the ground; nothing is imported from above."""
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def imported(path):
    """Modules that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


IMPORTS = {name: imported(path) & set(MODULES) for name, path in MODULES.items()}
every_module = pytest.mark.parametrize("name", MODULES)


def test_no_cycle():
    assert len([*TopologicalSorter(IMPORTS).static_order()]) == len(MODULES)


@every_module
def test_nothing_is_imported_from_above(name):
    part = name.split(".")[1]
    for other in {found.split(".")[1] for found in IMPORTS[name]}:
        assert FLOOR[other] <= FLOOR[part]
        assert {other, part} != {"systems", "architectures"}


@pytest.mark.parametrize(
    "name", [name for name in MODULES if ".simulation." in name or ".images." in name]
)
def test_simulation_and_images_know_neither_torch_nor_lightning(name):
    roots = {found.partition(".")[0] for found in imported(MODULES[name])}
    assert not roots & {"torch", "lightning"}


SPINS = torch.ones(4, 3, 3)
WRONG = {
    "elements that are no integers": lambda: OPERATIONS["z2"]((3, 3)).act(SPINS, torch.rand(4)),
    "one configuration without its dimension": lambda: Ising(shape=3).energy([1.0, 1.0]),
    "parameters of other sites": lambda: Bernoulli().log_prob(SPINS, torch.ones(4, 3, 2, 1)),
    "configurations that are booleans": lambda: Categorical().log_prob(SPINS > 0, SPINS[..., None]),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_shapes_and_types_are_checked_in_tests(call):
    with pytest.raises(TypeCheckError):
        call()


def test_every_public_name_can_be_imported():
    for name in lightdan.__all__:
        assert getattr(lightdan, name) is not None
    assert set(dir(lightdan)) == set(lightdan.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Isng'"):
        lightdan.Isng  # noqa: B018
