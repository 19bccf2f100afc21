"""CPU time of the fit of all pairs of 256 spins to 10,000 configurations, beside two peers.

    pip install scikit-learn pseudolm
    OMP_NUM_THREADS=1 python -W ignore::FutureWarning benchmarks/all_pairs.py

The peers are scikit-learn's logistic regression of each spin on all others with an L1 penalty, and
pyplm, without a penalty. Neither gives errors. Peers run on every eighth spin, and their time is
multiplied by 8.
"""

import resource
import time
from collections.abc import Callable

import numpy as np
import torch
from pyplm.inference.pseudolikelihoodmax import logRegLoop_inner
from sklearn.linear_model import LogisticRegression

from lightdan.interactions.all_pairs import fit_all_pairs

NUM, NUM_SITES, EVERY = 10_000, 256, 8
SWEEPS = 25


def simulate(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw weak couplings of all pairs with fields, and spins by heat bath in independent chains."""
    rng = np.random.default_rng(seed)
    couplings = np.triu(rng.normal(size=(NUM_SITES, NUM_SITES)) * 0.05, 1)
    couplings += couplings.T
    fields = rng.normal(size=NUM_SITES) * 0.3
    spins = rng.choice([-1.0, 1.0], (NUM, NUM_SITES))
    for site in np.tile(np.arange(NUM_SITES), SWEEPS):
        local = 2 * (fields[site] + spins @ couplings[site])
        spins[:, site] = np.where(rng.random(NUM) * (1 + np.exp(-local)) < 1, 1, -1)
    return spins, couplings


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def l1(spins: np.ndarray, solver: str) -> None:
    """Fit every eighth spin with an L1 penalty of the strength that noise needs."""
    penalty = 2 * (2 * np.log(NUM_SITES) / NUM) ** 0.5
    for site in range(0, NUM_SITES, EVERY):
        model = LogisticRegression(l1_ratio=1, C=1 / (penalty * NUM), solver=solver, max_iter=200)
        model.fit(np.delete(spins, site, 1), spins[:, site])


def pyplm(spins: np.ndarray) -> None:
    """Fit every eighth spin with pyplm."""
    for site in range(0, NUM_SITES, EVERY):
        logRegLoop_inner(spins, site)


def main() -> None:
    """Print the times, and the error of our couplings in units of their standard errors."""
    spins, couplings = simulate()
    rows = torch.as_tensor(spins.astype(np.int8))
    pairs = np.triu_indices(NUM_SITES, 1)
    values = fit_all_pairs(rows, 3.0).values[NUM_SITES:]
    pulls = (values[:, 0] - couplings[pairs]) / values[:, 1]
    print(f"rms of (J − J_true)/σ: {np.sqrt(np.square(pulls).mean()):.3f}")
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    own = cpu_seconds(lambda: fit_all_pairs(rows, 3.0))
    print(f"lightdan, with errors: {own:.1f} s")
    print(
        f"lightdan, couplings only: {cpu_seconds(lambda: fit_all_pairs(rows, 3.0, errors=False)):.2f} s"
    )
    for name, work in (
        ("scikit-learn, L1, liblinear", lambda: l1(spins, "liblinear")),
        ("pyplm", lambda: pyplm(spins)),
        ("scikit-learn, L1, saga", lambda: l1(spins, "saga")),
    ):
        seconds = EVERY * cpu_seconds(work)
        print(f"{name}: {seconds:.0f} s, ratio {own / seconds:.3f}", flush=True)


if __name__ == "__main__":
    main()
