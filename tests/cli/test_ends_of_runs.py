"""Checkpoints that are tested at the end of a run, and sentences where none is."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from lightdan.cli.main import main

CONFIG = {
    "data": {"class_path": "Recorded", "init_args": {"path": "rows.npy", "splits": [0.6, 0.2, 0.2]}},
    "model": {"class_path": "MADE", "init_args": {"width": 1}},
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "callbacks": ["Hamiltonian"]},
}
CALLBACK = """
from lightning.pytorch.callbacks import Callback

class Fails(Callback):
    def on_train_end(self, trainer, pl_module):
        raise RuntimeError
"""


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """A function that fits to few rows and returns the exit code."""
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (60, 4)))
    Path("config.yaml").write_text(yaml.safe_dump(CONFIG))
    Path("callback_that_fails.py").write_text(CALLBACK)
    return lambda *options: main(["fit", "--config", "config.yaml", *options])


def measured(folder):
    path = Path(folder, "measurements", "hamiltonian.json")
    return json.loads(path.read_text())["estimates"]["nll"]["value"]


def test_own_checkpoints_change_nothing(fit, capsys):
    own = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_top_k=-1"]
    own += ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.monitor=val_loss"]
    assert fit() == 0
    assert fit(*own) == 0
    first, second = (Path("runs/run", f"version_{number}") for number in range(2))
    assert measured(first) == measured(second)
    assert len(list((second / "checkpoints").iterdir())) == 5
    assert fit(*own, *own[:2]) == 2
    assert "has ModelCheckpoint twice" in capsys.readouterr().err
    assert Path("config.yaml").read_text() == yaml.safe_dump(CONFIG)


ENDS = [
    (["--trainer.fast_dev_run=true"], "Nothing is measured, because fast_dev_run is set."),
    (["--trainer.max_epochs=0"], "Nothing is measured, because no step of training was made"),
    (["--trainer.max_time=00:00:00:00"], "Nothing is measured, because no step of training was made"),
    (["--trainer.limit_test_batches=0"], "Nothing is measured, because limit_test_batches is 0."),
    (["--trainer.callbacks=[]"], "trainer.callbacks has no measurement: add some"),
    (["--trainer.limit_val_batches=0"], "The last weights are measured, because limit_val_batches is 0"),
    (["--trainer.check_val_every_n_epoch=9"], "because the training ended before a validation"),
    (["--trainer.enable_checkpointing=false"], "because enable_checkpointing is false"),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")
@pytest.mark.parametrize(("options", "said"), ENDS)
def test_a_run_says_why_it_measures_nothing_or_the_last_weights(fit, capsys, options, said):
    assert fit(*options) == 0
    assert said in capsys.readouterr().out
    assert [*Path("runs").rglob("hamiltonian.json")] != [] if said.startswith("The last") else True


@pytest.mark.slow
def test_a_failed_callback_is_named(fit, capsys):
    with pytest.raises(RuntimeError):
        fit("--trainer.callbacks+=callback_that_fails.Fails")
    said = capsys.readouterr().err
    assert re.search("lightdan: RuntimeError at step 2, before any measurement; resume by adding", said)


@pytest.mark.slow
def test_runs_without_a_logger_replace_nothing(fit, capsys):
    for number in range(2):
        assert fit("--trainer.logger=false", "--trainer.default_root_dir=.") == 0
        assert measured(f"version_{number}") > 0
        assert Path(f"version_{number}/config.yaml").exists()
    assert Path("config.yaml").read_text() == yaml.safe_dump(CONFIG)
    here = [f"--trainer.logger.init_args.{name}=" for name in ("name", "version")]
    assert fit("--trainer.logger.init_args.save_dir=.", *here) == 2
    assert "would replace config.yaml: leave the version" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_refused_run_leaves_nothing(fit, capsys):
    own = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_weights_only=true"]
    assert fit(*own, "--trainer.callbacks.filename=weights") == 0
    folder = "runs/run/version_0/checkpoints"
    longer = ["--trainer.max_epochs=3", "--ckpt_path"]
    assert fit(*longer, f"{folder}/weights.ckpt") == 2
    assert "has only weights, from which no training resumes" in capsys.readouterr().err
    assert fit("--data.init_args.seed=1", *longer, f"{folder}/last.ckpt") == 2
    assert "was trained with data.seed = 0, now 1" in capsys.readouterr().err
    test = ["test", "--config", "config.yaml", "--data.init_args.seed=1"]
    assert main([*test, "--ckpt_path", f"{folder}/best.ckpt"]) == 2
    assert "of the test configurations (seed = 0, now 1)" in capsys.readouterr().err
    assert [path.name for path in Path("runs/run").iterdir()] == ["version_0"]


@pytest.mark.slow
def test_a_run_that_goes_on_in_its_directory_keeps_its_losses(fit):
    mine = "--trainer.logger.init_args.version=mine"
    assert fit(mine, "--trainer.log_every_n_steps=1") == 0
    before = Path("runs/run/mine/metrics.csv").read_text()
    last = "--ckpt_path=runs/run/mine/checkpoints/last.ckpt"
    assert fit(mine, "--trainer.max_epochs=3", last) == 0
    assert Path("runs/run/mine/metrics-0.csv").read_text() == before
