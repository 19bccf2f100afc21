"""The command ``lightdan simulate``."""

import errno

import h5py
import numpy as np
import pytest

from lightdan import edwards_anderson
from lightdan.cli import commands
from lightdan.cli.main import main
from lightdan.testing import all_configurations


@pytest.fixture
def glass(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hamiltonian = edwards_anderson((3, 3), "gaussian", temperature=2.0, seed=1)
    (tmp_path / "glass.json").write_text(hamiltonian.to_json())
    return hamiltonian


def test_files_at_several_temperatures(glass, tmp_path, capsys):
    options = ["--hamiltonian", "glass.json", "--num", "4000", "--output", "x.h5"]
    assert main(["simulate", *options, "--temperature", "1.5", "3"]) == 0
    energies = glass.energy(all_configurations((3, 3), (-1, 1)).numpy())
    for temperature in (1.5, 3.0):
        with h5py.File(tmp_path / f"x-T={temperature:g}.h5") as file:
            configurations, energy = file["configurations"][:], file["energy"][:]
            assert file.attrs["temperature"] == temperature
        assert configurations.shape == (4000, 3, 3)
        np.testing.assert_allclose(energy, glass.energy(configurations))
        weights = np.exp(-energies / temperature)
        exact = energies @ weights / weights.sum()
        assert abs(energy.mean() - exact) < 5 * energy.std() / 4000**0.5
    assert "at T = 1.5, autocorrelation time" in capsys.readouterr().out


def test_the_temperature_is_that_of_the_hamiltonian(glass, tmp_path, capsys):
    options = ["simulate", "--hamiltonian", "glass.json", "--num", "50", "--output", "x.h5"]
    assert main(options) == 0
    with h5py.File(tmp_path / "x.h5") as file:
        assert file.attrs["temperature"] == 2.0
    assert main(options) == 2
    assert "x.h5 exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--hamiltonian", "no.json"], "no.json cannot be read as a Hamiltonian"),
        (["--temperature", "0"], "temperature must be positive and finite"),
        (["--hamiltonian", "x.bin"], "x.bin cannot be read as a Hamiltonian: 'utf-8' codec"),
        (["--num", "0"], "--num must be at least 1"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--output", "no/x.h5"], "The directory no of --output does not exist"),
    ],
)
def test_bad_input(glass, capsys, wrong, said, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"\xff")
    options = ["--hamiltonian", "glass.json", "--num", "10", "--output", "x.h5"]
    assert main(["simulate", *options, *wrong]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, ""), OSError("Can't write: No space left")])
def test_a_full_disk(glass, monkeypatch, capsys, error):
    def full(*args):
        raise error

    monkeypatch.setattr(commands, "write_hdf5", full)
    assert main(["simulate", "--hamiltonian", "glass.json", "--num", "10", "--output", "x.h5"]) == 2
    assert "The disk is full: free space on it" in capsys.readouterr().err
