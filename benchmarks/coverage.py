"""Tables of the coverage of errors; rewrites those in `benchmarks/README.md`.

    OMP_NUM_THREADS=1 python benchmarks/coverage.py [TABLE ...]

The tables are couplings, test_split, series, measurements and importance; by default all are made.
Run it from the root of the repository. The data sets of the first two have 3 × 3 sites. The network of
the couplings is a MADE trained for 60 steps; the likelihoods of the test split are those of random
networks. The last three take six minutes.
"""

import contextlib
import io
import re
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, "tests")

from intervals import TRUTHS, data_set, pulls_of_couplings, pulls_of_test_split
from population import CASES, Case, Population, ising, nearly_exact
from scipy.signal import lfilter

from lightdan import ImportanceSampling
from lightdan.measurements.observables import binder_cumulant
from lightdan.statistics import autocorrelation_time, jackknife, mean

Pulls = Callable[[str, str, int], dict[str, list[float]]]

TABLES = {
    "couplings": (
        pulls_of_couplings,
        200,
        {
            "independent, 1,000 rows": (1000, 0.5),
            "τ = 1, 1,000 rows": (1000, 1.0),
            "τ = 5, 4,000 rows": (4000, 5.0),
            "τ = 20, 16,000 rows": (16_000, 20.0),
        },
    ),
    "test_split": (
        pulls_of_test_split,
        400,
        {
            "independent, 1,000 rows": (1000, 0.5),
            "τ = 1, 100 rows": (100, 1.0),
            "τ = 1, 800 rows": (800, 1.0),
            "τ = 5, 500 rows": (500, 5.0),
            "τ = 5, 4,000 rows": (4000, 5.0),
            "τ = 20, 2,000 rows": (2000, 20.0),
            "τ = 20, 16,000 rows": (16_000, 20.0),
        },
    ),
}
"""Function of the pulls, number of data sets, and numbers of rows and autocorrelation times by name."""
SIZES = (5, 10, 30, 100, 300, 1000, 10_000)
"""Effective numbers of samples."""
COLUMNS = ("sites", "rows", "estimator", "coverage of 68 % intervals [%]", "rms of the pulls")


def pulls(measure: Pulls, num_sets: int, kind: str, num: int, tau: float) -> dict[str, np.ndarray]:
    """Return (estimate − truth)/error by estimator, `(data sets, estimates)`.

    Args:
        measure: Function of the pulls of a file.
        num_sets: Number of data sets.
        kind: Kind of site.
        num: Number of rows.
        tau: Integrated autocorrelation time in rows.
    """
    parts: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(num_sets):
            path = Path(folder, "rows.npy")
            np.save(path, data_set(kind, num, tau, seed))
            with contextlib.redirect_stdout(io.StringIO()):
                found = measure(kind, str(path), seed)
            for name, values in found.items():
                parts.setdefault(name, []).append(values)
    return {name: np.array(values) for name, values in parts.items()}


def line(*cells: object) -> str:
    """Return a line of the table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def table(measure: Pulls, num_sets: int, rows: dict[str, tuple[int, float]]) -> str:
    """Return the table in Markdown."""
    lines = [line(*COLUMNS), "|" + "---|" * len(COLUMNS)]
    for kind in TRUTHS:
        for title, (num, tau) in rows.items():
            for name, values in pulls(measure, num_sets, kind, num, tau).items():
                # The pulls of one data set are correlated, so the error is over data sets.
                shares = (np.abs(values) < 1).mean(axis=1)
                error = 100 * shares.std() / np.sqrt(num_sets)
                rms = np.sqrt((values**2).mean())
                coverage = f"{100 * shares.mean():.0f} ± {error:.0f}"
                lines.append(line(kind, title, name.replace("_", " "), coverage, f"{rms:.2f}"))
                print(lines[-1], flush=True)
    return "\n".join(lines)


def share(pulls: np.ndarray) -> tuple[str, str, str]:
    """Return coverage, rms of the pulls that are stated, and how many are not, as text."""
    stated = pulls[np.isfinite(pulls)]
    withheld = f"{100 * (1 - len(stated) / len(pulls)):.0f}"
    if not len(stated):
        return "", "", withheld
    rms = np.sqrt((stated**2).mean())
    return f"{100 * (np.abs(stated) < 1).mean():.0f}", f"{rms:.2f}", withheld


def of_series(num_sets: int = 1000, tau: float = 10.0) -> str:
    """Return the table of functions of autoregressive series of normal variables."""
    columns = ("series", "estimate", "coverage [%]", "rms of the pulls", "withheld [%]")
    lines = [line(*columns), "|" + "---|" * len(columns)]
    phi = (2 * tau - 1) / (2 * tau + 1)
    rng = np.random.default_rng(1)
    estimators = {
        "mean": (mean, 0.0),
        "variance": (lambda x: jackknife(lambda a, b: b - a**2, x, x**2), 1.0),
        "variance of absolute values": (
            lambda x: jackknife(lambda a, b: b - a**2, np.abs(x), x**2),
            1 - 2 / np.pi,
        ),
        "Binder cumulant": (binder_cumulant, 0.0),
        "τ": (autocorrelation_time, tau),
    }
    for times in (8, 20, 50, 100, 400, 1000):
        noise = rng.normal(size=(num_sets, round(times * tau)))
        noise[:, 1:] *= np.sqrt(1 - phi**2)
        rows = lfilter([1], [1, -phi], noise, axis=1)
        for name, (estimator, truth) in estimators.items():
            found = np.array([estimator(x) for x in rows])
            pulls = (found[:, 0] - truth) / np.where(np.isinf(found[:, 1]), np.nan, found[:, 1])
            lines.append(line(f"{times} τ", name, *share(pulls)))
            print(lines[-1], flush=True)
    return "\n".join(lines)


def of_measurements(num_sets: int = 200) -> str:
    """Return the table of all estimates of the measurements in `population.CASES`."""
    columns = ("measurement", "estimate", "coverage [%]", "rms of the pulls", "withheld [%]")
    lines = [line(*columns), "|" + "---|" * len(columns)]
    for title, case in CASES.items():
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            population = Population(case)
            sets = [population.pulls(seed) for seed in range(num_sets)]
        for name in population.truth:
            pulls = np.array([found.get(name, np.nan) for found in sets])
            lines.append(line(title, f"`{name}`", *share(pulls)))
            print(lines[-1], flush=True)
    return "\n".join(lines)


def of_importance(num_sets: int = 300) -> str:
    """Return the table of reweighted estimates of spins for several effective numbers of samples."""
    lines = [line("estimate", *(f"{size:,}" for size in SIZES)), "|" + "---|" * (1 + len(SIZES))]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        population = Population(Case(ImportanceSampling, ising, partial(nearly_exact, distortion=0.8)))
        found = {
            size: [
                population.pulls(seed, round(size / population.truth["ess"])) for seed in range(num_sets)
            ]
            for size in SIZES
        }
    for name in population.truth:
        cells = []
        for sets in found.values():
            coverage, _, withheld = share(np.array([pulls.get(name, np.nan) for pulls in sets]))
            parts = [coverage, f"({withheld})" if withheld != "0" else ""]
            cells.append(" ".join(filter(None, parts)) if coverage else "–")
        lines.append(line(f"`{name}`", *cells))
        print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    page = Path("benchmarks/README.md")
    makers = {name: partial(table, *arguments) for name, arguments in TABLES.items()}
    makers |= {"series": of_series, "measurements": of_measurements, "importance": of_importance}
    for name in sys.argv[1:] or makers:
        between = re.compile(rf"(<!-- {name} -->\n).*(\n<!-- /{name} -->)", re.DOTALL)
        found = makers[name]()
        page.write_text(
            between.sub(lambda match, new=found: match[1] + new + match[2], page.read_text())
        )
