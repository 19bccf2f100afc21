import pytest
import torch

from lightdan import Ising
from lightdan.simulation import layers, levels
from lightdan.testing import SystemTests


class TestTorus(SystemTests):
    def make(self, **kwargs):
        return Ising(shape=(3, 4), temperature=2.5, **kwargs)


class TestRing(SystemTests):
    def make(self, **kwargs):
        return Ising(shape=(6,), temperature=1.5, **kwargs)


class TestField(SystemTests):
    def make(self, **kwargs):
        return Ising(shape=3, temperature=2.0, field=0.3, **kwargs)


class TestAntiferromagnet(SystemTests):
    def make(self, **kwargs):
        return Ising(shape=(4, 2), temperature=2.5, coupling=-1.0, **kwargs)


def test_declares_symmetries_of_its_field_and_shape():
    assert "z2" in Ising(shape=4).symmetries
    assert "z2" not in Ising(shape=4, field=0.1).symmetries
    assert "rotation" not in Ising(shape=(8,)).symmetries
    frustrated = Ising(shape=3, coupling=-1.0).exact(1.0)
    assert [*frustrated] == pytest.approx([*layers.thermodynamics(levels.ising(-1.0), (3, 3), 1.0)])
    small = Ising(shape=(2, 2, 3), field=0.1).exact(1.0)
    assert small == layers.thermodynamics(levels.ising(1.0, 0.1), (2, 2, 3), 1.0)
    assert Ising(shape=20, field=0.1).exact(1.0) is None
    assert Ising(shape=16, field=0.1).exact(1.0) is None


def test_several_temperatures_stand_beside_their_configurations(tmp_path):
    system = Ising(
        shape=4, temperature=[1.5, 4.0], num_configurations=500, batch_size=50, cache_dir=str(tmp_path)
    )
    system.setup()
    assert system.data.num_in("train") == 900
    energies = {}
    for batch in system.train_dataloader():
        for temperature in (1.5, 4.0):
            chosen = batch.configurations[batch.temperature == temperature]
            energies.setdefault(temperature, []).append(system.energy(chosen))
    for temperature, parts in energies.items():
        exact = system.exact(temperature)
        measured = torch.cat(parts).double()
        error = (exact.specific_heat * temperature**2 * 1.5 / len(measured)) ** 0.5
        assert measured.mean().item() == pytest.approx(exact.energy, abs=4 * error)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": [1.0, 1.0]}, "temperature"),
        ({"temperature": []}, "temperature"),
        ({"shape": (4, 0, 4)}, "shape"),
        ({"shape": 0}, "shape"),
        ({"num_configurations": 0}, "num_configurations"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_arguments_are_named(options, culprit):
    with pytest.raises(ValueError, match=culprit):
        Ising(**options)
