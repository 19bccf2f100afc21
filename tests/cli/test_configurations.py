"""Configurations that would run code or take memory, and files that would take a library's place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightdan.cli.configurations import check_config, import_plugins
from lightdan.cli.main import main

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
CANARY = "from pathlib import Path\nPath('{folder}', 'CANARY-' + __name__).touch()\n"
NAMES = ("attrs", "imageio", "numba", "numpy", "psutil", "skimage", "tifffile", "yaml", "zarr")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LAUGHS, "aliases that repeat more than 100000 values"),
        ("data: &again\n  shape: *again\n", "aliases that repeat"),
        ("data: " + 5000 * "[", "more than 100 lists"),
        ("data: " + 5000 * "{a: ", "more than 100 lists"),
    ],
)
@pytest.mark.parametrize("option", ["--config", "--data"])
def test_configurations_that_grow_are_refused(content, said, option, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    assert main(["fit", option, str(path)]) == 2
    assert said in capsys.readouterr().err


def test_a_dictionary_may_take_the_keys_of_one_that_takes_those_of_another(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, x: 3}\n")
    assert check_config(path) == {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}}
    path.write_text("a: &a {x: 1}\nb: {<<: *a, y: 2, y: 3}\n")
    with pytest.raises(ValueError, match="the key 'y' occurs twice"):
        check_config(path)


@pytest.mark.parametrize("option", ["optimizer", "scheduler"])
def test_functions_are_no_classes(option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    value = '{"class_path": "os.system", "init_args": {"command": "touch CANARY"}}'
    model = ["--model=MADE", f"--model.init_args.{option}={value}"]
    assert main(["fit", "--data=Ising", "--data.shape=4", *model]) == 2
    assert "os.system, which is no class" in capsys.readouterr().err
    assert not Path("CANARY").exists()


def test_a_folder_is_searched_last_and_only_for_what_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine.py").touch()
    before = list(sys.path)
    for args in (["inspect", "spins.npy"], ["fit", "--data=Ising"], ["fit", "--data=mine/x.yaml"]):
        import_plugins(args)
        assert sys.path == before
    (tmp_path / "config.yaml").write_text("model:\n  class_path: mine.Model\n")
    for args in (["fit", "--config", "config.yaml"], ["sample", "--classes", "mine.Model"]):
        monkeypatch.setattr(sys, "path", list(before))
        import_plugins(args)
        assert sys.path == [*before, str(tmp_path)]


def test_configurations_may_include_others_that_name_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "included.py").write_text("from lightdan import Ising\n\n\nclass Mine(Ising):\n    pass\n")
    (folder / "data.yaml").write_text("class_path: included.Mine\ninit_args: {shape: 4}\n")
    (folder / "any.yaml").write_text("data: data.yaml\nmodel: MADE\ntrainer: {max_steps: 0}\n")
    (tmp_path / "main.yaml").write_text("data: parts/data.yaml\nmodel: MADE\ntrainer: {max_steps: 0}\n")
    (tmp_path / "list.yaml").write_text("- Hamiltonian\n")
    callbacks = "--trainer.callbacks=list.yaml"
    for options in (["--config=parts/any.yaml"], ["--config=main.yaml", callbacks]):
        monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(folder)])
        sys.modules.pop("included", None)
        assert main(["fit", *options, "--trainer.accelerator=cpu"]) == 0, capsys.readouterr().err
    (folder / "data.yaml").write_text(LAUGHS)
    assert main(["fit", "--config=main.yaml"]) == 2
    assert "aliases that repeat more than 100000 values" in capsys.readouterr().err


@pytest.mark.slow
def test_no_file_in_the_working_directory_takes_the_place_of_a_library(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(CANARY.format(folder=tmp_path))
    (tmp_path / "mine.py").write_text("from lightdan import Ising\n\n\nclass Mine(Ising):\n    pass\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    fit = ["fit", "--data=mine.Mine", "--data.shape=4", "--model=MADE", "--trainer.max_steps=0"]
    run = [sys.executable, "-m", "lightdan", *fit]
    result = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not [*tmp_path.glob("CANARY-*")]
