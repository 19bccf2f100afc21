"""Layers of the package, checks of shapes and types, and public names."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from population import CASES, ELSEWHERE

import lightdan
from lightdan import Bernoulli, Categorical, Ising, registry
from lightdan.lattices.groups import OPERATIONS

ROOT = Path(lightdan.__file__).parent
MODULES = {
    ".".join(("lightdan", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
FLOORS = [
    ["types", "version", "checks", "registry", "signals", "statistics", "progress", "lattices"],
    ["provenance", "simulation", "data", "images"],
    ["interactions", "conditionals", "objectives"],
    ["systems", "architectures"],
    ["checkpoints", "runs"],
    ["measurements"],
    ["testing"],
    ["cli", "__main__"],
]
"""Parts of the package from bottom to top; a part imports nothing from above it."""
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def imported(path):
    """Return the modules that a file imports anywhere."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= full & set(MODULES) or {node.module}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return modules


IMPORTS = {name: imported(path) & set(MODULES) - {name} for name, path in MODULES.items()}


def test_no_cycle():
    assert len([*TopologicalSorter(IMPORTS).static_order()]) == len(MODULES)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "lightdan"])
def test_nothing_is_imported_from_above(name):
    """Check that nothing imports the package's `__init__` either, which loads all names on demand."""
    assert "lightdan" not in IMPORTS[name]
    part = name.split(".")[1]
    for other in {module.split(".")[1] for module in IMPORTS[name]}:
        assert FLOOR[other] <= FLOOR[part]
        assert {other, part} != {"systems", "architectures"}


@pytest.mark.parametrize(
    "name", [name for name in MODULES if name.split(".")[1:2] in (["simulation"], ["images"])]
)
def test_simulation_and_images_know_neither_torch_nor_lightning(name):
    roots = {module.partition(".")[0] for module in imported(MODULES[name])}
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


def test_every_measurement_enters_the_sweep_of_coverage():
    registry.load_plugins()
    swept = {type(case.measurement(num_samples=10)).__name__ for case in CASES.values()}
    classes = registry.known(lightdan.Measurement).items()
    ours = {name for name, cls in classes if cls.__module__.startswith("lightdan.")}
    assert swept | {*ELSEWHERE} == ours
    assert not swept & {*ELSEWHERE}


def test_every_public_name_can_be_imported():
    for name in lightdan.__all__:
        assert getattr(lightdan, name) is not None
    assert set(dir(lightdan)) == set(lightdan.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Isng'"):
        lightdan.Isng  # noqa: B018


def test_every_class_of_the_package_is_a_public_name_that_type_checkers_see():
    registry.load_plugins()
    for path in registry.FAMILIES.values():
        for name, cls in registry.known(registry.import_object(path)).items():
            if cls.__module__.startswith("lightdan.") and not cls.__module__.startswith(
                "lightdan.testing"
            ):
                assert getattr(lightdan, name) is cls
    tree = ast.parse(MODULES["lightdan"].read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    names = {alias.name: node.module for node in checked.body for alias in node.names}
    assert names == lightdan._PUBLIC
