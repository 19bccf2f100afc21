"""The plugins of CONTRIBUTING.md, exactly as printed: their commands run and their tests pass."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
FILES = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = [command.split() for command in re.findall(r"`lightdan ([^`]+)`", TEXT)]
PACKAGE = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)[1]
RUN = """
import json, sys
import pytest
from lightdan.cli.main import main
for command in [*json.loads(sys.argv[1]), ["list"]]:
    assert main(command) == 0, command
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider"]))
"""


def test_every_block_names_its_file():
    assert len(FILES) == TEXT.count("```python") > 6
    assert len(COMMANDS) > 3


def installed(folder):
    """Write the metadata that pip installs beside the modules of a package; return its name."""
    name = re.search(r'^name = "(.*)"', PACKAGE, re.MULTILINE)[1]
    points = re.search(r'entry-points\."(.*?)"\]\n(.*?)\n\n', PACKAGE, re.DOTALL)
    information = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    entries = points[2].replace('"', "")
    (information / "entry_points.txt").write_text(f"[{points[1]}]\n{entries}\n")
    return name


@pytest.mark.slow
def test_plugins_train_and_pass_their_tests(tmp_path):
    """Run the commands and the tests in one process, because imports take most of the time."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    name = installed(tmp_path)
    run = [sys.executable, "-c", RUN, json.dumps(COMMANDS)]
    # As in conftest.py: two threads beside another process take several times as long.
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(run, cwd=tmp_path, env=one_thread, capture_output=True, text=True)
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    assert "failed:" not in result.stderr
    assert len([*tmp_path.rglob("measurements/hamiltonian.json")]) == 2
    assert [*tmp_path.rglob("overlap.png")]
    assert [*tmp_path.rglob("cubic_couplings/hamiltonian.json")]
    lines = [line for line in result.stdout.splitlines() if name in line]
    listed = {word for line in lines for word in re.findall(r"\w+", line)}
    assert listed >= {"Coins", "Window", "Logistic", "Overlap"}
