"""Options with values that they are not made for, and configurations that are no configurations."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sweep
import yaml

from lightdan.cli.main import main

FEW = 5
"""Number of values of each option in the sweep."""


def said(capsys):
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "lightdan: error" in line]
    return line


TAKEN = [
    (
        ("system", "Ising", "coupling", "null"),
        "coupling of Ising cannot be null; expected: float | list[float].",
    ),
    (("system", "Ising", "splits", "null"), "splits of Ising cannot be null; expected: tuple"),
    (("measurement", "Observables", "seed", "null"), "seed of Observables cannot be null"),
    (("architecture", "MADE", "width", "null"), "width of MADE cannot be null"),
    (("trainer", "Trainer", "accelerator", "null"), "accelerator of the trainer cannot be null"),
    (("trainer", "Trainer", "val_check_interval", "0"), "val_check_interval must not be 0"),
    (
        ("trainer", "Trainer", "accumulate_grad_batches", "0"),
        "batches must be at least 1",
    ),
    (("trainer", "Trainer", "gradient_clip_val", "nan"), "must be finite and not negative, not nan."),
]


@pytest.mark.parametrize(("case", "words"), TAKEN, ids=["-".join(case) for case, _ in TAKEN])
def test_what_the_parser_takes_is_refused(case, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(sweep.arguments(sweep.Case(*case))) == 2
    assert words in said(capsys)


def test_null_in_the_options_of_a_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("options.yaml").write_text("seed: null\nckpt_path: a.ckpt\nnum: 3\noutput: a.h5\n")
    assert main(["sample", "--config", "options.yaml"]) == 2
    assert "seed of 'lightdan sample' cannot be null; expected: int." in said(capsys)


def test_the_value_that_does_not_fit_is_named_and_not_its_class(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(sweep.arguments(sweep.Case("conditional", "BetaMixture", "components", "list"))) == 2
    assert "components cannot be [1, 2]; expected: int." in said(capsys)


CLASSES = {"data": "Ising", "model": "MADE"}
CONFIGURATIONS = {
    "empty": ("", "has no options"),
    "list": ("- data\n", "has no options"),
    "tab": ("data:\n\tclass_path: Ising\n", "is not valid YAML"),
    "key twice": (
        "trainer:\n  max_steps: 1\n  max_steps: 2\n",
        "'max_steps' occurs twice",
    ),
    "number as key": ("data: Ising\n1: 2\n", "a key is no name of an option"),
    "list as key": ("? [a, b]\n: 1\n", "a key is no name of an option"),
    "unknown option": (yaml.safe_dump(CLASSES | {"dta": 1}), "There is no option 'dta'; did you mean"),
    "list for a class": (yaml.safe_dump(CLASSES | {"data": ["Ising"]}), "data cannot be ['Ising']"),
    "list of options": (yaml.safe_dump(CLASSES | {"trainer": ["a"]}), "write its options below it"),
    "option beside a class": (
        yaml.safe_dump(CLASSES | {"data": {"class_path": "Ising", "shape": 4}}),
        "data has options beside class_path: put them below init_args.",
    ),
    "option that the class has not": (
        yaml.safe_dump(CLASSES | {"data": {"class_path": "Ising", "dict_kwargs": {"side": 4}}}),
        "Ising has no option 'side'",
    ),
    "measurement twice": (
        yaml.safe_dump(CLASSES | {"trainer": {"callbacks": ["Symmetry", "Symmetry"]}}),
        "trainer.callbacks has the measurement symmetry twice",
    ),
}


@pytest.mark.parametrize(("text", "words"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_configurations_are_refused_in_one_sentence(text, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("odd.yaml").write_text(text)
    assert main(["fit", "--config", "odd.yaml"]) == 2
    assert words in said(capsys)
    assert not Path("runs").exists()


def test_keys_of_another_part_may_be_changed(tmp_path, monkeypatch, capsys):
    """Merge keys are no keys that occur twice."""
    monkeypatch.chdir(tmp_path)
    text = "data: &any {class_path: Ising, init_args: {shape: 4}}\nmodel: {<<: *any, class_path: MADE}\n"
    Path("merged.yaml").write_text(text)
    assert main(["fit", "--config", "merged.yaml"]) == 2
    assert "MADE has no option 'shape'" in said(capsys)


@pytest.mark.slow
def test_every_option_with_odd_values_ends_in_a_run_or_a_sentence(tmp_path):
    """Every option meets five of nine values; ``python tests/sweep.py FOLDER`` runs them all."""
    cases = sweep.cases(FEW)
    assert len(cases) > 1000
    command = [sys.executable, sweep.__file__, str(tmp_path), str(FEW)]
    process = subprocess.run(command, capture_output=True, text=True)
    results = [json.loads(line) for line in process.stdout.splitlines() if line.startswith('{"case"')]
    assert process.returncode == 0, (results[-1], process.stderr[-2000:])
    assert [sweep.Case(*result["case"]) for result in results] == cases
    for result in results:
        assert result["code"] in (0, 2), result
        if result["code"] == 2:
            said = [line for line in result["err"].splitlines() if line.startswith("lightdan: error: ")]
            assert len(said) == 1, result
    assert len(cases) / 20 < sum(result["code"] == 0 for result in results) < len(cases) / 2
