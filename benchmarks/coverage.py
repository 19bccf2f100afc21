"""Table of the coverage of the errors of couplings; rewrites the one in `benchmarks/README.md`.

    OMP_NUM_THREADS=1 python benchmarks/coverage.py

Run it from the root of the repository. Each data set has 3 × 3 sites and 1,000 independent rows, or
4,000 rows with an autocorrelation time of 5 rows. A MADE trained for 60 steps is the network.
"""

import contextlib
import io
import re
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, "tests")

from intervals import TAU, TRUTHS, data_set, pulls_of_couplings

NUM_SETS = 200
ROWS = {"independent": (1000, 0.5), "τ = 5": (4000, TAU)}
COLUMNS = ("sites", "rows", "estimator", "coverage of 68 % intervals [%]", "rms of the pulls")


def pulls(kind: str, num: int, tau: float) -> dict[str, np.ndarray]:
    """Return (estimate − truth)/error by estimator, `(data sets, couplings)`.

    Args:
        kind: Kind of site.
        num: Number of rows.
        tau: Integrated autocorrelation time in rows.
    """
    parts: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(NUM_SETS):
            path = Path(folder, "rows.npy")
            np.save(path, data_set(kind, num, tau, seed))
            with contextlib.redirect_stdout(io.StringIO()):
                found = pulls_of_couplings(kind, str(path), seed)
            for name, values in found.items():
                parts.setdefault(name, []).append(values)
    return {name: np.array(values) for name, values in parts.items()}


def line(*cells: object) -> str:
    """Return a line of the table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def table(kinds: list[str]) -> str:
    """Return the table in Markdown."""
    lines = [line(*COLUMNS), "|" + "---|" * len(COLUMNS)]
    for kind in kinds:
        for rows, (num, tau) in ROWS.items():
            for name, values in pulls(kind, num, tau).items():
                # The pulls of one data set are correlated, so the error is over data sets.
                shares = (np.abs(values) < 1).mean(axis=1)
                error = 100 * shares.std() / np.sqrt(NUM_SETS)
                rms = np.sqrt((values**2).mean())
                coverage = f"{100 * shares.mean():.0f} ± {error:.0f}"
                lines.append(line(kind, rows, name.replace("_", " "), coverage, f"{rms:.2f}"))
                print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    page = Path("benchmarks/README.md")
    between = re.compile(r"(<!-- coverage -->\n).*(\n<!-- /coverage -->)", re.DOTALL)
    rows = table(sys.argv[1:] or list(TRUTHS))
    if len(sys.argv) == 1:
        page.write_text(between.sub(lambda match: match[1] + rows + match[2], page.read_text()))
