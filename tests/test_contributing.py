"""The plugin of CONTRIBUTING.md, exactly as printed."""

import re
import subprocess
import sys
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


def test_plugin_passes_its_tests_and_trains(tmp_path):
    plugin, tests = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "coins.py").write_text(plugin)
    (tmp_path / "test_coins.py").write_text(tests)
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_coins.py"]
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]
    command = re.search(r"`lightdan (fit --data coins[^`]*)`", TEXT)[1].split()
    run = [sys.executable, "-m", "lightdan", *command, "--data.init_args.cache_dir=cache"]
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert list(tmp_path.rglob("hamiltonian.json"))
