"""Every architecture on every system, as the table of the README, which it rewrites.

    OMP_NUM_THREADS=1 python benchmarks/zoo.py

From the repository's root. A configuration whose run is not yet in `runs/` is trained first. The peer is
zuko's masked autoregressive flow on the same configurations, trained for two minutes; the best on
validation data kept as for ours.
"""

import copy
import itertools
import json
import math
import re
import statistics
import time
from pathlib import Path

import numpy as np
import torch
import yaml
import zuko

import lightdan
from lightdan import registry
from lightdan.cli.main import main
from lightdan.statistics import Estimate, bennett, effective_sample_size, mean
from lightdan.systems.base import SPLITS, System

SYSTEMS = {
    "Ising 16 × 16, T_c": (
        "ising",
        ["triangular", "made", "pixelcnn", "recurrent", "transformer"],
    ),
    "XY 16 × 16, T = 0.8929": ("xy", ["made", "pixelcnn", "recurrent", "transformer"]),
    "double well, 128 slices, β = 20": ("double_well", ["made", "pixelcnn", "recurrent", "transformer"]),
    "Gaussian field, 10 sites": ("gaussian_field", ["triangular"]),
    "φ⁴, 16 × 16": ("scalar_field", ["pixelcnn"]),
}
PEERS = ("double_well", "gaussian_field", "scalar_field")
PEER_SECONDS = 120
COLUMNS = ("system", "architecture", "parameters", "KL [nats]", "ESS", "training [s]", "samples/s")


def run_of(config: Path) -> Path:
    """The newest run of a configuration, trained where there is none."""
    logger = yaml.safe_load(config.read_text())["trainer"]["logger"]["init_args"]
    folder = Path(logger["save_dir"]) / logger["name"]
    if not any(folder.glob("version_*/measurements/*.json")):
        main(["fit", "--config", str(config)])
    finished = folder.glob("version_*/measurements/importance_sampling.json")
    return max(finished, key=lambda path: path.stat().st_mtime).parents[1]


def estimates_of(run: Path) -> dict[str, Estimate]:
    """KL and effective sample size."""
    found = {}
    for path in run.glob("measurements/*.json"):
        for name, estimate in json.loads(path.read_text())["estimates"].items():
            if name in ("kl", "ess"):
                found[name] = Estimate(estimate["value"], estimate["error"])
    return found


def rate(sample) -> float:
    """Samples a second, the median of three times 1,000."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        sample(1000)
        seconds.append(time.perf_counter() - start)
    return 1000 / statistics.median(seconds)


def ours(title: str, config: Path) -> tuple:
    run = run_of(config)
    model = lightdan.load(run / "checkpoints" / "best.ckpt")
    estimates = estimates_of(run)
    # The configuration is written when training begins.
    seconds = (run / "checkpoints/last.ckpt").stat().st_mtime - (run / "config.yaml").stat().st_mtime
    num = sum(weight.numel() for weight in model.parameters())
    name = f"`{type(model).__name__}`"
    return title, name, num, estimates["kl"], estimates["ess"], seconds, rate(model.sample)


def peer(title: str, config: Path) -> tuple:
    """zuko's flow, three transformations of two hidden layers of 128 units, by Adam at batch 500."""
    torch.manual_seed(0)
    given = yaml.safe_load(config.read_text())["data"]
    system = registry.find(System, given["class_path"])(**given["init_args"])
    system.prepare_data()
    system.setup()
    temperature = system.temperatures[0]
    train, validation, test = (system.rows(name, temperature).flatten(1) for name in SPLITS)
    location, scale = train.mean(), train.std()
    train, validation = ((x - location) / scale for x in (train, validation))
    flow = zuko.flows.MAF(train.shape[1], transforms=3, hidden_features=(128, 128))
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
    start, best, lowest = time.perf_counter(), flow.state_dict(), math.inf
    for step in itertools.count():
        if step % 200 == 0:
            with torch.no_grad():
                merit = -flow().log_prob(validation).mean().item()
            if merit < lowest:
                lowest, best = merit, copy.deepcopy(flow.state_dict())
        if (elapsed := time.perf_counter() - start) > PEER_SECONDS:
            break
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - elapsed / PEER_SECONDS)
        rows = torch.randint(len(train), (500,))
        loss = -flow().log_prob(train[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    flow.load_state_dict(best)

    @torch.no_grad()
    def weights(z: torch.Tensor) -> np.ndarray:
        """ln of e^{−S}/q."""
        log_q = flow().log_prob(z).double() - z.shape[1] * scale.log().double()
        x = (location + scale * z).reshape(-1, *system.lattice_shape).double()
        return (-system.action(x, temperature) - log_q).numpy()

    with torch.no_grad():
        drawn = flow().sample((5000,))
        speed = rate(lambda n: flow().sample((n,)))
    data = weights((test - location) / scale)
    model = weights(drawn)
    ln_z = system.exact_values(temperature).get("ln_z")
    if ln_z is None:
        ln_z = bennett(data, model).value
    else:
        ln_z -= system.log_measure(temperature)
    num = sum(weight.numel() for weight in flow.parameters())
    excess = mean(data)
    kl = Estimate(excess.value - ln_z, excess.error)
    return title, "zuko's MAF", num, kl, effective_sample_size(model), PEER_SECONDS, speed


def table() -> str:
    rows = []
    for title, (folder, names) in SYSTEMS.items():
        configs = [Path("configs", folder, f"{name}.yaml") for name in names]
        rows += [ours(title, config) for config in configs]
        if folder in PEERS:
            rows.append(peer(title, configs[0]))
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    previous = None
    for title, name, num, kl, ess, seconds, speed in rows:
        cells = (
            title if title != previous else "",
            name,
            f"{num:,}",
            kl,
            ess,
            f"{seconds:.0f}",
            f"{speed:,.0f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
        previous = title
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    registry.load_plugins()
    readme = Path("README.md")
    between = re.compile(r"(<!-- zoo -->\n).*(\n<!-- /zoo -->)", re.DOTALL)
    made = table()
    print(made)
    readme.write_text(between.sub(lambda found: found[1] + made + found[2], readme.read_text()))
