import csv
import json
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from lightdan.cli import scans
from lightdan.cli.main import main

CONFIG = Path(__file__).parents[2] / "configs" / "xy" / "scan.yaml"
SMALL = [
    "--data.init_args.shape=4",
    "--data.init_args.num_configurations=300",
    "--data.init_args.batch_size=100",
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--model.init_args.temperature_input=false",
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


class InProcess:
    """A run of the scan in this process, where nothing has to be imported again."""

    def __init__(self, command, stdout, **options):
        assert command[:3] == [sys.executable, "-m", "lightdan"]
        with open(stdout.name, "a") as log, redirect_stdout(log), redirect_stderr(log):
            self.returncode = main(command[3:])

    def poll(self):
        return self.returncode


IN_PROCESS = SimpleNamespace(Popen=InProcess, DEVNULL=subprocess.DEVNULL)


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(scans, "subprocess", IN_PROCESS)


@pytest.mark.slow
def test_scan_puts_together_and_keeps_what_is_finished(here, capsys, monkeypatch):
    """The first two values run in this process, the third in one of its own."""
    command = ["scan", "--config", str(CONFIG), "--values", "1.0", "0.7", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(scans, "subprocess", IN_PROCESS)
        assert main(command) == 0
    shown = capsys.readouterr().out
    assert "helicity_modulus" in shown
    folder = here / "runs" / "scan"
    marker = folder / "temperature=0.7" / "finished"
    before = marker.stat().st_mtime_ns
    rows = list(csv.DictReader((folder / "scan.csv").read_text().splitlines()))
    assert {row["temperature"] for row in rows} == {"1.0", "0.7"}
    for value in ("1.0", "0.7"):
        path = folder / f"temperature={value}" / "run" / "measurements" / "helicity_modulus.json"
        expected = json.loads(path.read_text())["estimates"]["helicity_modulus"]["value"]
        (row,) = (r for r in rows if r["temperature"] == value and r["estimate"] == "helicity_modulus")
        assert float(row["value"]) == expected
    compared = json.loads((folder / "helicity_modulus-compared.json").read_text())
    assert compared["estimates"] or compared["notes"]
    assert (folder / "helicity_modulus.png").stat().st_size > 5000
    assert main([*command[:4], "0.7", "1.0", "1.2", *SMALL]) == 0
    assert marker.stat().st_mtime_ns == before
    assert (folder / "temperature=1.2" / "finished").exists()
    assert main([*command, "--trainer.max_epochs=2"]) == 2
    assert "holds a run with other settings" in capsys.readouterr().err


def test_scan_of_any_option(in_process, here):
    command = ["scan", "--config", str(CONFIG), "--parameter", "model.init_args.channels"]
    assert (
        main([*command, "--values", "2", "3", "--output", "o", *SMALL, "--data.init_args.temperature=1"])
        == 0
    )
    rows = list(csv.DictReader((here / "o" / "scan.csv").read_text().splitlines()))
    assert {row["channels"] for row in rows} == {"2", "3"}
    assert not (here / "o" / "helicity_modulus-compared.json").exists()


def test_a_failed_run_is_told_and_the_others_are_kept(in_process, here, capsys):
    assert main(["scan", "--config", str(CONFIG), "--values", "1.0", "-3", *SMALL]) == 2
    said = capsys.readouterr().err
    assert "1 of 2 runs failed" in said
    assert "temperature must be positive" in said
    assert (here / "runs" / "scan" / "temperature=1.0" / "finished").exists()


def test_bad_input_of_a_run_can_be_corrected(here):
    """The settings of a run matter only once it has left something."""
    run = scans._run(str(CONFIG), "data.init_args.temperature", "2", ["--wrong"], here)
    run.directory.mkdir()
    (run.directory / "settings.txt").write_text(run.settings)
    corrected = scans._run(str(CONFIG), "data.init_args.temperature", "2", [], here)
    assert not corrected.finished
    (run.directory / "run").mkdir()
    with pytest.raises(ValueError, match="holds a run with other settings"):
        corrected.finished  # noqa: B018


def test_sigterm_ends_the_processes_too(here, monkeypatch):
    class Endless:
        def __init__(self, *args, **options):
            self.ended = []
            started.append(self)

        def poll(self):
            signal.raise_signal(signal.SIGTERM)

        def terminate(self):
            self.ended.append("terminate")

        def wait(self):
            self.ended.append("wait")

    started, before = [], signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(scans.subprocess, "Popen", Endless)
    assert main(["scan", "--config", str(CONFIG), "--values", "2", "--output", "o"]) == 143
    assert started[0].ended == ["terminate", "wait"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("code", "number", "said"),
    [(-9, 9, "was killed, probably because memory ran out"), (143, 15, "stopped by SIGTERM")],
)
def test_a_killed_run_is_not_finished(here, monkeypatch, capsys, code, number, said):
    class Killed(InProcess):
        def __init__(self, *args, **options):
            self.returncode = code

    monkeypatch.setattr(scans.subprocess, "Popen", Killed)
    assert main(["scan", "--config", str(CONFIG), "--values", "2", "--output", "o"]) == 128 + number
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "lightdan: " in line]
    assert said in line
    assert "run the same command again" in line
    assert not (here / "o" / "temperature=2" / "finished").exists()


def test_an_interrupted_run_goes_on_from_its_checkpoint(here, monkeypatch):
    started = []

    class Nothing:
        returncode = 0

        def __init__(self, command, **options):
            started.append(command)

        def poll(self):
            return 0

    last = here / "o" / "temperature=2" / "run" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.touch()
    monkeypatch.setattr(scans.subprocess, "Popen", Nothing)
    monkeypatch.setattr(scans, "compare", lambda *args: None)
    assert main(["scan", "--config", str(CONFIG), "--values", "2", "3", "--output", "o"]) == 0
    assert f"--ckpt_path=o/{last.relative_to(here / 'o')}" in started[0]
    assert not any("--ckpt_path" in argument for argument in started[1])


def test_two_scans_do_not_share_a_run(in_process, here, capsys):
    (here / "o" / "temperature=2").mkdir(parents=True)
    with FileLock(here / "o" / "temperature=2" / ".lock"):
        assert main(["scan", "--config", str(CONFIG), "--values", "2", "--output", "o"]) == 2
        assert "Another scan works in o/temperature=2" in capsys.readouterr().err
        assert main(["scan", "--config", str(CONFIG), *SMALL, "--values", "3", "--output", "o"]) == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--config", "no.yaml", "--values", "1"], "There is no configuration at no.yaml"),
        (["--config", str(CONFIG), "--values", "1", "1"], "names a value twice"),
        (["--config", str(CONFIG), "--values", "1", "--values", "2"], "--values is passed twice"),
        (["--config", str(CONFIG), "--values="], "--values has an empty value"),
        (["--config", str(CONFIG), "--values", "1", "--output=/proc/no"], "set --output to another one"),
        (
            ["--config", str(CONFIG), "--values", "1", "--processes", "0"],
            "--processes must be at least 1",
        ),
        (["--config", str(CONFIG)], "--values"),
    ],
)
def test_bad_input(wrong, said, here, capsys):
    assert main(["scan", *wrong]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("content", ["my,own,table\n1,2,3\n", "width,measurement,estimate\n", ""])
def test_a_table_of_something_else_is_not_replaced(content, here, capsys):
    (here / "o").mkdir()
    (here / "o" / "scan.csv").write_text(content)
    assert main(["scan", "--config", str(CONFIG), "--values", "1", "--output", "o"]) == 2
    assert "o/scan.csv is of no scan of data.init_args.temperature: pass" in capsys.readouterr().err
    assert (here / "o" / "scan.csv").read_text() == content
