"""Table of every architecture on every system; rewrites the one in `docs/architectures.md`.

    OMP_NUM_THREADS=1 python benchmarks/zoo.py

Run it from the root of the repository. A configuration without a run in `runs/` is trained first. The
peer is zuko's masked autoregressive flow, trained on the same configurations for two minutes. As for our
models, the weights with the lowest validation loss are used.
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
from lightdan.data.splits import SPLITS
from lightdan.statistics import Estimate, bennett, effective_sample_size, mean
from lightdan.systems.base import System

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
COLUMNS = ("system", "architecture", "weights", "KL [nats]", "ESS", "training [s]", "samples/s")


def run_of(config: Path) -> Path:
    """Return the newest run of a configuration; train one if there is none."""
    logger = yaml.safe_load(config.read_text())["trainer"]["logger"]["init_args"]
    folder = Path("runs") / logger["name"]
    if not any(folder.glob("version_*/measurements/*.json")):
        main(["fit", "--config", str(config)])
    finished = folder.glob("version_*/measurements/importance_sampling.json")
    return max(finished, key=lambda path: path.stat().st_mtime).parents[1]


def estimates_of(run: Path) -> dict[str, Estimate]:
    """Return KL and effective sample size of a run."""
    estimates = {}
    for path in run.glob("measurements/*.json"):
        for name, estimate in json.loads(path.read_text())["estimates"].items():
            if name in ("kl", "ess"):
                estimates[name] = Estimate(estimate["value"], estimate["error"])
    return estimates


def rate(sample) -> float:
    """Return the number of samples per second: the median of three draws of 1,000."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        sample(1000)
        seconds.append(time.perf_counter() - start)
    return 1000 / statistics.median(seconds)


def num_weights(network: torch.nn.Module) -> int:
    """Count the weights of a network, without those behind a mask."""
    masks = [
        layer.mask for layer in network.modules() if hasattr(layer, "weight") and hasattr(layer, "mask")
    ]
    return sum(x.numel() for x in network.parameters()) - sum(int((~mask).sum()) for mask in masks)


def ours(title: str, config: Path) -> tuple:
    """Return a row of the table for one of our configurations."""
    run = run_of(config)
    model = lightdan.load(run / "checkpoints" / "best.ckpt")
    estimates = estimates_of(run)
    # config.yaml is written when training begins.
    seconds = (run / "checkpoints/last.ckpt").stat().st_mtime - (run / "config.yaml").stat().st_mtime
    num = num_weights(model)
    name = f"`{type(model).__name__}`"
    return title, name, num, estimates["kl"], estimates["ess"], seconds, rate(model.sample)


def peer(title: str, config: Path) -> tuple:
    """Return a row for zuko's flow: three transformations, each with two hidden layers of 128 units.

    It is trained by Adam in batches of 500.
    """
    torch.manual_seed(0)
    data = yaml.safe_load(config.read_text())["data"]
    system = registry.find(System, data["class_path"])(**data["init_args"])
    system.prepare_data()
    system.setup()
    temperature = system.temperatures[0]
    train, validation, test = (system.data.rows(name, temperature).flatten(1) for name in SPLITS)
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
        """Return ln(e^{−S}/q)."""
        log_q = flow().log_prob(z).double() - z.shape[1] * scale.log().double()
        x = (location + scale * z).reshape(-1, *system.lattice_shape).double()
        return (-system.action(x, temperature) - log_q).numpy()

    with torch.no_grad():
        samples = flow().sample((5000,))
        speed = rate(lambda n: flow().sample((n,)))
    held_out = weights((test - location) / scale)
    model = weights(samples)
    ln_z = system.exact_values(temperature).get("ln_z")
    if ln_z is None:
        ln_z = bennett(held_out, model).value
    else:
        ln_z -= system.log_measure(temperature)
    num = num_weights(flow)
    excess = mean(held_out)
    kl = Estimate(excess.value - ln_z, excess.error)
    return title, "zuko's MAF", num, kl, effective_sample_size(model), PEER_SECONDS, speed


def table() -> str:
    """Return the table in Markdown."""
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
    page = Path("docs/architectures.md")
    between = re.compile(r"(<!-- zoo -->\n).*(\n<!-- /zoo -->)", re.DOTALL)
    rows = table()
    print(rows)
    page.write_text(between.sub(lambda match: match[1] + rows + match[2], page.read_text()))
