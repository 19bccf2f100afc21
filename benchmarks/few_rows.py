"""Table of `configs/recorded/any.yaml` on few rows of every kind of site, beside simpler models.

    OMP_NUM_THREADS=1 python benchmarks/few_rows.py [--quick] [NAME ...]

Run it from the root of the repository. Every data set is made here. The simpler models are fitted to the
training rows of the network, and all are measured on new rows and on the test split, with paired
differences. `--quick` makes two small data sets.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

import lightdan
from lightdan.cli.main import main
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.observations import Observations
from lightdan.interactions.operators import Operator, operators_of_terms
from lightdan.measurements.couplings.baselines import Baselines
from lightdan.measurements.couplings.likelihood import Likelihood
from lightdan.measurements.ensemble import Ensemble
from lightdan.statistics import bennett, effective_sample_size, mean
from lightdan.systems.base import System

NEW_ROWS = 3_000
FEW_NEW_ROWS = 1_000
"""Number of new rows of many sites."""
T_C = 2.269185


class Data(NamedTuple):
    """Rows for a fit, new rows, and what is known about their distribution.

    Args:
        rows: Configurations for the fit `(M, *lattice)`.
        new: Configurations that nothing is fitted to `(M', *lattice)`.
        boundary: Boundary of the lattice.
        action: Function that returns −ln p up to a constant; None if it is not known.
        log_z: The constant; None if it is not known.
        values: Kind of values.
    """

    rows: np.ndarray
    new: np.ndarray
    boundary: str = "open"
    action: Callable[[torch.Tensor], torch.Tensor] | None = None
    log_z: float | None = None
    values: str = "auto"


def of_system(system: System, num: int) -> Data:
    """Return rows of a simulated system."""
    system.prepare_data()
    system.setup()
    rows = np.asarray(system.data.configurations)
    order = np.random.default_rng(0).permutation(len(rows))
    rows = rows[order]
    (temperature,) = system.temperatures
    return Data(
        rows[:num],
        rows[num : num + (FEW_NEW_ROWS if system.num_sites > 100 else NEW_ROWS)],
        "periodic",
        lambda s: system.action(s, temperature),
        system.exact_values(temperature).get("ln_z"),
    )


def ising(num: int) -> Data:
    """Return Ising 16 × 16 at T_c."""
    return of_system(lightdan.Ising(shape=16, temperature=T_C, num_configurations=num + NEW_ROWS), num)


def xy(num: int) -> Data:
    """Return XY 16 × 16 at T = 0.8929."""
    return of_system(lightdan.XY(shape=16, temperature=0.8929, num_configurations=num + NEW_ROWS), num)


def scalar_field(num: int) -> Data:
    """Return φ⁴ 8 × 8."""
    return of_system(lightdan.ScalarField(shape=8, num_configurations=num + NEW_ROWS), num)


def of_hamiltonian(hamiltonian: ExplicitHamiltonian, num: int) -> Data:
    """Return independent rows of an explicit Hamiltonian."""
    rows = hamiltonian.simulate(1.0, num + NEW_ROWS, seed=1).configurations
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    return Data(
        rows[:num],
        rows[num:],
        action=lambda s: torch.from_numpy(hamiltonian.energy(s.numpy())),
    )


def sparse_spins(num_sites: int, num: int) -> Data:
    """Return spins that are up in about one row of ten, with a coupling in one pair of five."""
    rng = np.random.default_rng(num_sites)
    pairs = [
        (i, j) for i in range(num_sites) for j in range(i) if rng.random() < min(0.3, 6 / num_sites)
    ]
    terms = [(i,) for i in range(num_sites)] + [(min(p), max(p)) for p in pairs]
    values = [*rng.normal(-1.1, 0.3, num_sites), *rng.normal(0.15, 0.35, len(pairs))]
    operators = operators_of_terms(terms)
    hamiltonian = ExplicitHamiltonian.from_couplings((num_sites,), operators, np.array(values))
    return of_hamiltonian(hamiltonian, num)


def stripes(num: int) -> Data:
    """Return windows of 16 × 16 in films with dipoles, H = −Σ_<ij> s_i s_j + 0.35 Σ s_i s_j/r³."""
    side, sites = 32, np.arange(32 * 32).reshape(32, 32)
    operators = []
    for dx in range(0, 7):
        for dy in range(-6, 7):
            r = np.hypot(dx, dy)
            if (dx, dy) > (0, 0) and r <= 6:
                moved = np.roll(sites, (-dx, -dy), (0, 1))
                value = -0.35 / r**3 + (1.0 if r == 1 else 0.0)
                pair = np.stack([sites.ravel(), moved.ravel()], 1)
                operators.append(Operator(f"pair_{dx}_{dy}", pair, coupling=value))
    films = ExplicitHamiltonian((side, side), operators, 1.0)
    # Windows of one film would be correlated if they overlapped.
    rows = films.simulate(0.8, (num + NEW_ROWS) // 4, seed=1).configurations
    windows = rows.reshape(-1, 2, 16, 2, 16).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 16)
    return Data(windows[:num], windows[num : num + FEW_NEW_ROWS], "window")


def alignment(num: int, num_sites: int = 50, levels: int = 20) -> Data:
    """Return letters of an alignment: fields of each column, and random matrices on a sparse graph."""
    rng = np.random.default_rng(3)
    fields = rng.normal(0, 1, (num_sites, levels))
    pairs = [(i, j) for i in range(num_sites) for j in range(i) if rng.random() < 3 / num_sites]
    matrices = {pair: rng.normal(0, 0.7, (levels, levels)) for pair in pairs}
    neighbours: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(num_sites)]
    for (i, j), matrix in matrices.items():
        neighbours[i].append((j, matrix))
        neighbours[j].append((i, matrix.T))
    rows = rng.integers(levels, size=(num + NEW_ROWS, num_sites))
    for _ in range(100):
        for i in range(num_sites):
            logits = fields[i] + sum(
                matrix.T[rows[:, j]].reshape(len(rows), -1) for j, matrix in neighbours[i]
            )
            rows[:, i] = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    return Data(rows[:num], rows[num:], values="level")


DATA: dict[str, Callable[[], Data]] = {
    "Ising 16², 1,000 rows": lambda: ising(1_000),
    "9 spins, 900 rows": lambda: sparse_spins(9, 900),
    "15 sparse spins, 40,000 rows": lambda: sparse_spins(15, 40_000),
    "stripes 16², 2,000 rows": lambda: stripes(2_000),
    "20 levels, 50 sites, 5,000 rows": lambda: alignment(5_000),
    "XY 16², 1,000 rows": lambda: xy(1_000),
    "φ⁴ 8², 1,000 rows": lambda: scalar_field(1_000),
    "50 sparse spins, 40,000 rows": lambda: sparse_spins(50, 40_000),
    "Ising 16², 300 rows": lambda: ising(300),
    "Ising 16², 3,000 rows": lambda: ising(3_000),
    "Ising 16², 10,000 rows": lambda: ising(10_000),
}
QUICK: dict[str, Callable[[], Data]] = {
    "9 spins, 900 rows": lambda: sparse_spins(9, 900),
    "φ⁴ 8², 1,000 rows": lambda: scalar_field(1_000),
}


def fit(data: Data, config: str, folder: Path) -> tuple[Any, lightdan.Recorded, float]:
    """Return the best model of a run of the command line, its system, and the CPU time in seconds."""
    np.save(folder / "rows.npy", data.rows)
    changes = {"path": str(folder / "rows.npy"), "boundary": data.boundary, "values": data.values}
    start = time.process_time()
    arguments = [f"--data.init_args.{name}={value}" for name, value in changes.items()]
    arguments += ["--trainer.default_root_dir", str(folder)]
    content = yaml.safe_load(Path(config).read_text())
    callbacks = content["trainer"]["callbacks"]
    training = [c for c in callbacks if c["class_path"] == "EarlyStopping"]  # without measurements
    arguments.append(f"--trainer.callbacks={json.dumps(training)}")
    code = main(["fit", "--config", config, *arguments])
    if code:
        raise SystemExit(code)
    seconds = time.process_time() - start
    best = max(folder.rglob("best.ckpt"), key=os.path.getmtime)
    system = lightdan.Recorded(**content["data"]["init_args"] | changes)
    system.setup()
    return lightdan.load(best), system, seconds


def log_prob(model: Any, rows: torch.Tensor) -> np.ndarray:
    """Return ln p of rows `(M,)`."""
    with torch.no_grad():
        return torch.cat([model.log_prob(part) for part in rows.split(250)]).double().numpy()


def baselines(model: Any, system: lightdan.Recorded, rows: torch.Tensor) -> dict[str, Likelihood]:
    """Return likelihoods of rows under simpler models, fitted to the training rows of the network."""
    (temperature,) = system.temperatures
    train = Observations(system.data.rows("train", temperature))
    ensemble = Ensemble(model, system, temperature)
    found, notes = Baselines().baselines(ensemble, train, Observations(rows))
    print(*notes, sep="\n")
    return found


def divergence(model: Any, data: Data) -> str:
    """Return KL(data‖model) and the effective sample size, where the action is known."""
    if data.action is None:
        return ""
    new = torch.from_numpy(data.new).float()
    samples = model.sample(len(new), seed=5)
    weights = -data.action(samples).double().numpy() - log_prob(model, samples)
    differences = -log_prob(model, new) - data.action(new).double().numpy()
    log_z = data.log_z
    if log_z is None:
        log_z = bennett(differences, weights).value
    kl = mean(differences - log_z)
    return f"KL {kl}, ESS {effective_sample_size(weights)}"


def run(name: str, make: Callable[[], Data], config: str) -> dict[str, Any]:
    """Fit one data set and print its line."""
    with tempfile.TemporaryDirectory() as folder:
        data = make()
        model, system, seconds = fit(data, config, Path(folder))
        (temperature,) = system.temperatures
        test = system.data.rows("test", temperature)
        rows = torch.cat([torch.from_numpy(data.new).to(test), test])
        ours, new = log_prob(model, rows), slice(len(data.new))
        result = {"name": name, "nll": str(mean(-ours[new])), "seconds": round(seconds)}
        result["network"] = model.hparams.get("network", type(model).__name__)
        result["exact"] = divergence(model, data)
        print(json.dumps(result, ensure_ascii=False), flush=True)
        for other, theirs in baselines(model, system, rows).items():
            for kind, part in (("", new), (" on the test split", slice(len(data.new), None))):
                network, simpler = Likelihood(-ours[part]), Likelihood(theirs.values[part], theirs.error)
                result[f"gain over {other}{kind}"] = str(network.gain_over(simpler))
    print(json.dumps(result, ensure_ascii=False), flush=True)
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of data sets; all by default")
    parser.add_argument("--quick", action="store_true", help="two small data sets")
    parser.add_argument("--config", default="configs/recorded/any.yaml")
    options = parser.parse_args()
    chosen = QUICK if options.quick else DATA
    for title, maker in chosen.items():
        if not options.names or any(part in title for part in options.names):
            run(title, maker, options.config)
