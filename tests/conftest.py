"""Shapes and types are checked while the tests run; each process keeps to one thread."""

import gc
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

pytest.register_assert_rewrite("lightdan.testing")

# Not checked: simulation, because numba could not cache its kernels; objectives, systems.recorded and
# interactions.hamiltonian, which raise their own errors for wrong arguments; data.values, where an
# integer stands for a float.
CHECKED = ["architectures", "checkpoints", "cli.commands", "conditionals", "data.cache", "data.loader"]
CHECKED += ["data.readers", "data.splits", "lattices", "measurements", "provenance", "registry"]
CHECKED += ["runs", "statistics", "systems.base", "systems.ising"]
CHECKED += [f"interactions.{name}" for name in ("correction", "fit", "operators", "search")]
install_import_hook([f"lightdan.{name}" for name in CHECKED], "beartype.beartype")

sys.path.insert(0, str(Path(__file__).parent))  # for oracle.py, films.py and others
# A shell ignores these signals for what it starts in the background; tests send them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
torch.set_num_threads(1)
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # for the processes that tests start


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory):
    """Return a directory for simulated data, in place of the user's cache."""
    directory = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory))
        yield directory / "lightdan"


def pytest_collection_finish():
    """Keep what was imported out of the garbage collector, which would search it again and again."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def each_figure_is_drawn_once():
    """Copy a figure of the module instead of drawing it again: many runs draw for half their time."""
    from lightdan.measurements import report

    write, drawn = report.write_result, {}

    def write_result(directory, stem, result, context):
        name = re.split("@|-epoch", stem)[0]
        plain = result if name not in drawn else replace(result, figure=None)
        write(directory, stem, plain, context)
        if result.figure is not None:
            path = directory / f"{stem}.png"
            if name in drawn:
                path.write_bytes(drawn[name])
            drawn[name] = path.read_bytes()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write_result", write_result)
        yield
