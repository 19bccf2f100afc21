import sys
from abc import abstractmethod
from importlib.metadata import EntryPoint

import pytest

from lightdan import (
    MADE,
    Architecture,
    Bernoulli,
    Conditional,
    Ising,
    Measurement,
    Objective,
    System,
    registry,
)


class Nearly(Objective):
    """Abstract objective, which has no figure of merit."""

    def loss(self, problem, batch):
        raise NotImplementedError


class _Hidden(Bernoulli):
    pass


class Silent(Architecture):
    """Abstract architecture, which has no forward."""


class Strips(MADE):
    """Abstract base of architectures by an author of plugins."""

    @abstractmethod
    def width_of(self, site):
        raise NotImplementedError


@pytest.fixture
def points(monkeypatch, tmp_path):
    """Return a function that replaces the installed entry points by modules with the given code."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_loaded", {})
    before = set(sys.modules)

    def make(**modules):
        for name, code in modules.items():
            (tmp_path / f"{name}.py").write_text(code)
        entries = [EntryPoint(name, name, registry.PLUGIN_GROUP) for name in modules]
        monkeypatch.setattr(registry, "entry_points", lambda group: entries)

    yield make
    for name in set(sys.modules) - before:
        if name.startswith("registry_plugin"):
            del sys.modules[name]


def test_every_family_is_known_by_its_short_names():
    registry.load_plugins()
    members = {
        "system": {"Ising": Ising},
        "architecture": {"MADE": MADE},
        "conditional": {"Bernoulli": Bernoulli},
    }
    for kind, path in registry.FAMILIES.items():
        base = registry.import_object(path)
        known = registry.known(base)
        assert known
        assert list(known) == sorted(known)
        for cls in known.values():
            assert issubclass(cls, base)
            if cls.__module__.startswith("lightdan."):  # because other tests leave classes behind
                assert registry.find(base, f"{cls.__module__}.{cls.__qualname__}") is cls
        assert members.get(kind, {}).items() <= known.items()


@pytest.mark.parametrize(
    ("base", "wrong", "nearest"),
    [
        (System, "ising", "Ising"),
        (System, "Isng", "Ising"),
        (System, "lightdan.systems.ising.Isin", "Ising"),
        (Architecture, "Mad", "MADE"),
        (Conditional, "Catgorical", "Categorical"),
        (Objective, "MaximumLikelyhood", "MaximumLikelihood"),
        (Measurement, "Hamiltonain", "Hamiltonian"),
    ],
)
def test_unknown_name_gets_the_nearest_and_all_known(base, wrong, nearest):
    registry.load_plugins()
    with pytest.raises(ValueError, match=rf"^There is no {base.__name__.lower()} '{wrong}'") as error:
        registry.find(base, wrong)
    assert f"did you mean '{nearest}'? known: " in str(error.value)
    assert str(error.value).endswith(".")
    assert set(registry.known(base)) <= set(str(error.value).replace(",", "").rstrip(".").split())


@pytest.mark.parametrize(
    "name",
    ["Qqqqqq", "nowhere.Qqqqqq", "lightdan.Qqqqqq", "lightdan.statistics.Qqqqqq", "torch.nn.Conv2d"],
)
def test_nothing_like_it_lists_what_is_known(name):
    with pytest.raises(ValueError, match="There is no architecture") as error:
        registry.find(Architecture, name)
    assert "; known: " in str(error.value)


@pytest.mark.parametrize(
    "name", ["Nearly", "_Hidden", "Silent", "Strips", "Objective", "Conditional", "SampledMeasurement"]
)
def test_abstract_and_private_classes_are_not_offered(name):
    for base in (Architecture, Objective, Conditional, Measurement):
        assert name not in registry.known(base)


GOOD = "from lightdan import Bernoulli\nclass RegistryCoin(Bernoulli):\n    pass\n"


def test_plugin_is_found_and_told_where_it_is_from(points):
    points(registry_plugin=GOOD)
    assert registry.load_plugins() == {"registry_plugin": "registry_plugin"}
    assert registry.find(Conditional, "RegistryCoin").__module__ == "registry_plugin"
    assert registry.find(Conditional, "registry_plugin.RegistryCoin").num_parameters == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("1 / 0", "ZeroDivisionError"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_broken_plugin_warns_and_is_left_out(points, code, said):
    points(registry_plugin_broken=code, registry_plugin_good=GOOD)
    with pytest.warns(UserWarning, match=f"'registry_plugin_broken'.*left out.*{said}"):
        assert registry.load_plugins() == {"registry_plugin_good": "registry_plugin_good"}
    assert "Ising" in registry.known(System)


def test_plugin_is_imported_once(points, tmp_path):
    log = tmp_path / "log"
    points(registry_plugin_counted=f"with open({str(log)!r}, 'a') as file:\n    file.write('x')")
    assert registry.load_plugins() == registry.load_plugins()
    assert log.read_text() == "x"
