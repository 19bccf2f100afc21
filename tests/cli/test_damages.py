"""Checkpoints whose parts are missing or of another kind, in every command that reads one."""

import random
import shutil
from pathlib import Path

import damages
import pytest
import sweep
import torch
import yaml

from lightdan.cli.main import main

FEW = 40
"""Number of damages, each with one of the commands."""
COMMANDS = {
    "fit": ["fit", "--config", "longer.yaml", "--ckpt_path", "damaged.ckpt"],
    "test": ["test", "--config", "run.yaml", "--ckpt_path", "damaged.ckpt"],
    "predict": ["predict", "--config", "run.yaml", "--ckpt_path", "damaged.ckpt"],
    "sample": ["sample", "--ckpt_path", "damaged.ckpt", "--num", "3", "--output", "drawn.h5"],
    "start": ["fit", "--config", "run.yaml", "--start_from", "damaged.ckpt"],
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_damaged_checkpoints_end_in_a_run_or_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = sweep.configuration(sweep.Case("fit", "fit", "seed_everything", "0"))
    Path("run.yaml").write_text(yaml.safe_dump(config))
    config["trainer"] |= {"max_epochs": 2, "max_steps": 4}
    Path("longer.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", "run.yaml"]) == 0
    whole = torch.load(next(Path("runs").rglob("last.ckpt")), weights_only=True)
    everything = [*damages.damages(whole)]
    assert len(everything) > 200
    chosen = random.Random(0).sample(everything[: -len(damages.CHANGES)], FEW)
    refused = 0
    for number, (name, damaged) in enumerate([*chosen, *everything[-len(damages.CHANGES) :]]):
        torch.save(damaged, "damaged.ckpt")
        command = list(COMMANDS)[number % len(COMMANDS)]
        shutil.rmtree("runs")
        Path("runs").mkdir()
        Path("drawn.h5").unlink(missing_ok=True)
        capsys.readouterr()
        code = main(COMMANDS[command])
        said = [line for line in capsys.readouterr().err.splitlines() if "lightdan: error: " in line]
        assert (code, len(said)) in ((0, 0), (2, 1)), (name, command, code, said)
        refused += code == 2
    assert FEW / 4 < refused < FEW + len(damages.CHANGES)
