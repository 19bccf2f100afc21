"""Commands killed at random moments have the results of commands left alone."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "kills.py"


@pytest.mark.slow
def test_killed_commands_go_on():
    command = [sys.executable, str(SCRIPT), "--number", "5"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    assert " kills, 0 with other results" in result.stdout
