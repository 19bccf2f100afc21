"""Left half of a simulated labyrinth → right half, by images.yaml with no option set but the path.

The film has 1024² spins with dipoles up to 16 sites, a period of 15 sites, and a known Hamiltonian. The
table compares large films of the network and of the Hamiltonian of `Couplings` with the right half.
"""

import argparse
import json
import re
import time
from pathlib import Path

import numpy as np
import tifffile

from lightdan.cli.main import main as lightdan
from lightdan.images.comparison import compared
from lightdan.images.correlations import Lags
from lightdan.images.microscope import dipolar_couplings, film
from lightdan.measurements.images.films import largest_deviation

DIPOLAR, TEMPERATURE, REACH = 0.245, 0.5, 16
CONFIG = Path(__file__).parents[1] / "configs" / "kerr" / "images.yaml"


def labyrinth(side, seed, folder):
    """Return the film, simulated unless it is in the folder."""
    path = folder / f"labyrinth-{side}-{seed}.npy"
    if not path.exists():
        start = time.process_time()
        np.save(path, film((side, side), TEMPERATURE, 1, DIPOLAR, seed, reach=REACH)[0])
        print(f"The film was simulated in {time.process_time() - start:.0f} s of CPU.\n")
    return np.load(path)


def measured(texture, lags):
    """Return the numbers of a whole film."""
    return compared([texture], [np.ones(texture.shape, bool)], lags, length=16)


def couplings(run):
    """Print βJ by distance beside the exact ones."""
    path = run / "measurements" / "couplings.json"
    if not path.exists():
        print("\nCouplings were not measured.")
        return
    estimates = json.loads(path.read_text())["estimates"]
    exact = dipolar_couplings(DIPOLAR, REACH) / TEMPERATURE
    print("\n| pair | βJ | exact |\n|---|---|---|")
    for name, found in estimates.items():
        steps = re.fullmatch(r"pair_(\d+)_(\d+)", name)
        if steps or name == "nearest_neighbour":
            down, right = map(int, steps.groups()) if steps else (0, 1)
            true = exact[REACH + down, REACH + right]
            print(f"| {down}, {right} | {found['value']:.4f} ± {found['error']:.4f} | {true:.4f} |")


def critical_temperature(run):
    """Return whether a run gives T_C."""
    path = run / "measurements" / "critical_temperature.json"
    return path.exists() and "critical_temperature" in json.loads(path.read_text())["estimates"]


def main():
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/labyrinth"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    whole = labyrinth(arguments.side, arguments.seed, arguments.folder)
    left, right = np.split(whole, 2, axis=1)
    image = arguments.folder / "left.tif"
    tifffile.imwrite(image, np.where(left > 0, 255, 0).astype(np.uint8))
    start = time.process_time()
    options = ["--data.init_args.path", str(image), "--trainer.default_root_dir", str(arguments.folder)]
    if lightdan(["fit", "--config", str(CONFIG), *options]):
        raise SystemExit("The fit failed.")
    duration = time.process_time() - start
    run = max(arguments.folder.glob("kerr-images/version_*"), key=lambda path: path.stat().st_mtime)
    lags = Lags(75)
    truth = measured(right, lags)
    with np.load(run / "measurements" / "films.npz") as arrays:
        films = {name: arrays[name] for name in ("network", "hamiltonian") if name in arrays}
    print(f"\nThe run took {duration:.0f} s of CPU.\n")
    columns = ("period", "correlation length", "walls per area", "area fraction")
    print(f"| film | largest ΔC(r)/C(0) to two periods | {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|")
    for name, texture in {"left half": left, **films, "right half": right}.items():
        numbers = measured(texture, lags)
        names = ("domain_period", "correlation_length", "wall_length", "area_fraction")
        found = [str(numbers.estimates[key]) if key in numbers.estimates else "none" for key in names]
        print(f"| {name} | {largest_deviation(numbers, truth)} | {' | '.join(found)} |")
    couplings(run)
    print(f"\nT_C is {'' if critical_temperature(run) else 'not '}claimed.")


if __name__ == "__main__":
    main()
