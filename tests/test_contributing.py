"""The plugins of CONTRIBUTING.md, exactly as printed: their commands run and their tests pass."""

import json
import re
import subprocess
import sys
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
FILES = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = [command.split() for command in re.findall(r"`lightdan ([^`]+)`", TEXT)]
RUN = """
import json, sys
import pytest
from lightdan.main import main
for command in json.loads(sys.argv[1]):
    assert main(command) == 0, command
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider"]))
"""


def test_every_block_names_its_file():
    assert len(FILES) == TEXT.count("```python") > 6
    assert len(COMMANDS) > 3


def test_plugins_train_and_pass_their_tests(tmp_path):
    """In one process, for most of the time would be imports."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    run = [sys.executable, "-c", RUN, json.dumps(COMMANDS)]
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    assert "failed:" not in result.stderr
    assert len([*tmp_path.rglob("hamiltonian.json")]) == 2
    assert [*tmp_path.rglob("overlap.png")]
