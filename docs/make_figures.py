"""Draw the figures of the README and of these pages, from runs of the shipped configurations.

    OMP_NUM_THREADS=1 python docs/make_figures.py            # a quarter of an hour on one core
    OMP_NUM_THREADS=1 python docs/make_figures.py --full     # every configuration as it stands
    OMP_NUM_THREADS=1 python docs/make_figures.py ising xy   # some of the figures

Run it from the root of the repository. Runs go to `runs/figures` and are reused.
"""

import argparse
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from PIL import Image

import lightdan
from lightdan.cli.main import main
from lightdan.measurements.figures import DATA, EXACT, MODEL

FIGURES = Path("docs/figures")
MAX_BYTES = 60_000
DPI = 200
SPINS = {+1: ListedColormap(["#e8eef4", DATA]), -1: ListedColormap(["#f8e9e7", MODEL])}
"""Colours of spins −1 and +1 in configurations of the data (key +1) and of the model (key −1)."""


@dataclass
class Run:
    """A finished run: its folder, and what the figures take from it."""

    folder: Path

    def arrays(self, measurement: str) -> dict[str, np.ndarray]:
        """Return the arrays that a measurement left."""
        with np.load(self.folder / "measurements" / f"{measurement}.npz") as arrays:
            return dict(arrays)

    def estimates(self, measurement: str) -> dict[str, tuple[float, float]]:
        """Return the values and errors that a measurement left."""
        text = (self.folder / "measurements" / f"{measurement}.json").read_text()
        return {k: (v["value"], v["error"]) for k, v in json.loads(text)["estimates"].items()}

    def samples(self, num: int) -> np.ndarray:
        """Draw configurations of the model."""
        return lightdan.load(self.folder / "checkpoints" / "best.ckpt").sample(num, seed=11).numpy()

    def held_out(self, num: int) -> np.ndarray:
        """Return configurations of the test set, far apart in the file."""
        data = yaml.safe_load((self.folder / "config.yaml").read_text())["data"]
        system = getattr(lightdan, data["class_path"].rpartition(".")[2])(**data["init_args"])
        system.prepare_data()
        system.setup()
        rows = np.concatenate([batch.configurations.numpy() for batch in system.test_dataloader()])
        return rows[:: len(rows) // num][:num]


def thumbnail(**subplots: object) -> tuple[Figure, Axes | np.ndarray]:
    """Return a figure of a third of a page, and its axes."""
    figure = Figure(figsize=(3.0, 2.3), layout="constrained")
    axes = figure.subplots(**subplots)
    for panel in np.ravel(axes):
        dress(panel)
    return figure, axes


def dress(axes: Axes, size: float = 9) -> None:
    """Give axes the sizes and spines of all figures."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=size - 1)
    axes.xaxis.label.set_size(size)
    axes.yaxis.label.set_size(size)


def mosaic(axes: Axes, configurations: np.ndarray, sign: int, rows: int) -> None:
    """Show configurations of spins `(M, rows, columns)` side by side, in `rows` rows."""
    padded = np.pad(configurations.astype(float), ((0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    image = np.block([list(row) for row in np.array_split(padded, rows)])[:-1, :-1]
    axes.imshow(image, cmap=SPINS[sign], vmin=-1, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def number(estimate: tuple[float, float]) -> str:
    """Write an estimate with its error in brackets."""
    return str(lightdan.Estimate(*estimate))


def ising(run: Run) -> Figure:
    """Draw data and samples of the main run, and the learned Hamiltonian over the true one."""
    figure = Figure(figsize=(8.2, 2.85), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    for panel in (left, middle, right):
        dress(panel)
    mosaic(left, run.held_out(9), +1, 3)
    left.set_title("configurations", fontsize=10)
    mosaic(middle, run.samples(9), -1, 3)
    middle.set_title(r"samples of the network $p_\theta$", fontsize=10)
    arrays, estimates = run.arrays("hamiltonian"), run.estimates("hamiltonian")
    energy = arrays["action"]
    ends = np.array([energy.min(), energy.max()])
    exact = ends + estimates["ln_z"][0]
    right.plot(ends, exact, "-", lw=3.5, color="#b8b8b8", label=r"exact, $H/T+\ln Z$")
    right.scatter(
        energy, arrays["nll"], s=3, lw=0, color=MODEL, label="held-out configurations", zorder=3
    )
    text = f"slope {number(estimates['slope'])}\n$R^2$ = {number(estimates['r2'])}"
    right.text(0.97, 0.06, text, ha="right", transform=right.transAxes, fontsize=9)
    right.set(xlabel="$H/T$", ylabel=r"$-\ln p_\theta$")
    right.set_title("learned against true Hamiltonian", fontsize=10)
    right.legend(frameon=False, fontsize=8, loc="upper left", handletextpad=0.4)
    return figure


def phases(run: Run) -> Figure:
    """Draw the specific heat at other temperatures, from data at one."""
    arrays = run.arrays("phase_structure")
    figure, axes = thumbnail()
    system = lightdan.Ising(shape=16)
    temperatures = np.linspace(arrays["temperature"].min(), arrays["temperature"].max(), 60)
    exact = [system.exact_values(float(t))["specific_heat"] for t in temperatures]
    axes.plot(temperatures, exact, "-", lw=1, color=EXACT, label="exact")
    values, errors = arrays["specific_heat"].T
    style = {"fmt": "o", "ms": 4, "mfc": "none", "color": MODEL, "label": "learned $H$"}
    axes.errorbar(arrays["temperature"], values, errors, **style)
    axes.axvline(2.269185, lw=0.8, ls="--", color=DATA)
    axes.text(2.25, 0.06, "data", rotation=90, ha="right", fontsize=8, color=DATA)
    axes.set(xlabel="$T'$", ylabel="$C/N$", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    return figure


def xy(run: Run) -> Figure:
    """Draw a configuration of angles with its vortices."""
    arrays = run.arrays("vortices")
    chosen = int(np.argmax([spread(winding) for winding in arrays["vorticity"]]))
    angles, winding = arrays["configurations"][chosen], arrays["vorticity"][chosen]
    figure, axes = thumbnail()
    style = {"pivot": "mid", "units": "xy", "scale": 1.15, "width": 0.13}
    axes.quiver(np.cos(angles), np.sin(angles), color="#777777", **style)
    for sign, marker, colour, name in ((1, "o", MODEL, "vortex"), (-1, "s", DATA, "antivortex")):
        rows, columns = np.nonzero(winding == sign)
        style = {"mfc": "none", "mec": colour, "mew": 1.6, "ls": "none", "ms": 10, "label": name}
        axes.plot(columns + 0.5, rows + 0.5, marker, **style)
    axes.set_axis_off()
    axes.set_aspect("equal")
    figure.legend(frameon=False, fontsize=8, ncols=2, loc="outside lower center", markerscale=0.7)
    return figure


def spread(winding: np.ndarray) -> float:
    """Return the smallest distance between four vortices in the interior, or 0 if there are not four."""
    places = np.argwhere(winding)
    if len(places) != 4 or places.max() == len(winding) - 1:
        return 0.0
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    return float(distances[np.triu_indices(4, 1)].min())


def path(run: Run) -> Figure:
    """Draw paths in imaginary time, of the data and of the model."""
    figure, (upper, lower) = thumbnail(nrows=2, sharex=True, sharey=True)
    time = np.arange(128) * 20 / 128
    rows = ((upper, run.held_out(400), DATA, "data"), (lower, run.samples(400), MODEL, r"$p_\theta$"))
    for axes, paths, colour, label in rows:
        crossings = (np.abs(np.diff(np.sign(smooth(paths)), axis=1)) > 0).sum(1)
        for chosen, alpha in (
            (int(np.argmax(crossings == 0)), 0.4),
            (int(np.argmax(crossings == 2)), 1),
        ):
            axes.plot(time, paths[chosen], "-", lw=1, color=colour, alpha=alpha)
        for minimum in (-1.41421, 1.41421):
            axes.axhline(minimum, lw=0.7, ls=":", color=EXACT)
        axes.set_ylabel(f"$x$, {label}")
    lower.set_xlabel(r"imaginary time $\tau$")
    return figure


def smooth(paths: np.ndarray) -> np.ndarray:
    """Return the mean of each path `(M, N)` over nine slices, without the ends."""
    return np.lib.stride_tricks.sliding_window_view(paths, 9, axis=1).mean(-1)


def field(run: Run) -> Figure:
    """Draw the modes of the kernel of a Gaussian field."""
    arrays = run.arrays("rbm_equivalence")
    exact = arrays["exact"].ravel()
    values, errors = arrays["modes"].reshape(2, -1)
    order = np.argsort(exact)
    index = np.arange(1, len(exact) + 1)
    figure, axes = thumbnail()
    axes.plot(index, exact[order], "_", ms=11, mew=1, color=EXACT, label="exact")
    truncated = np.minimum(exact[order], 5.0)
    axes.plot(index, truncated, "s", ms=4, mfc="none", color=DATA, label=r"RBM, $\mu^2=5$")
    style = {"fmt": "o", "ms": 3.5, "lw": 1, "color": MODEL, "label": "network"}
    axes.errorbar(index, values[order], errors[order], **style)
    axes.set(xlabel="mode", ylabel="$K$", xticks=index[::3])
    axes.legend(frameon=False, fontsize=8)
    return figure


def glass(run: Run) -> Figure:
    """Draw the learned couplings of a glass over the true ones."""
    arrays = run.arrays("coupling_graph")
    hamiltonian = lightdan.ExplicitHamiltonian.load(run.folder.parents[1] / "glass.json")
    true = {
        tuple(sorted(operator.sites[0].tolist())): operator.coupling / hamiltonian.temperature
        for operator in hamiltonian.operators
    }
    bonds = [tuple(sorted(sites)) for sites in arrays["sites"][:, :2].tolist()]
    learned = dict(zip(bonds, arrays["couplings"], strict=True))
    pairs = np.array([(true.get(bond, 0.0), *learned[bond]) for bond in learned])
    missing = np.array([coupling for bond, coupling in true.items() if bond not in learned])
    figure, axes = thumbnail()
    ends = np.array([min(true.values()), max(true.values())])
    axes.plot(ends, ends, "-", lw=0.8, color=EXACT)
    style = {"fmt": ".", "ms": 3, "lw": 0.6, "color": MODEL, "label": "bonds found"}
    axes.errorbar(pairs[:, 0], pairs[:, 1], pairs[:, 2], **style)
    axes.plot(missing, 0 * missing, "x", ms=4, mew=0.9, color=DATA, label="missing")
    axes.set(xlabel=r"$\beta J$, true", ylabel=r"$\beta J$, learned")
    axes.legend(frameon=False, fontsize=8, handletextpad=0.3)
    return figure


def kerr(run: Run) -> Figure:
    """Draw a microscope image, and a film of the network on the same scale."""
    steps = run.arrays("image_steps")
    rows, columns = steps["texture"].shape
    film = run.arrays("films")["network"][:rows, :columns]
    figure, (left, right) = thumbnail(ncols=2)
    for axes, image, title in ((left, steps["image"], "image"), (right, film, r"film of $p_\theta$")):
        axes.imshow(image, cmap="Greys_r", interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(title, fontsize=9)
    return figure


@dataclass(frozen=True)
class Recipe:
    """The run behind a figure.

    Args:
        draw: Function that draws the figure of a run.
        config: Configuration to run.
        measurement: Measurement whose file shows that the run is finished.
        quick: Options that shorten the run.
    """

    draw: Callable[[Run], Figure]
    config: str
    measurement: str
    quick: Sequence[str] = ()


RECIPES = {
    "ising": Recipe(ising, "ising/made.yaml", "hamiltonian"),
    "phases": Recipe(
        phases,
        "ising/one_temperature.yaml",
        "phase_structure",
        [
            "--data.init_args.num_configurations=30000",
            "--trainer.max_epochs=6",
            "--trainer.callbacks=[PhaseStructure]",
        ],
    ),
    "xy": Recipe(
        xy, "xy/pixelcnn.yaml", "vortices", ["--trainer.max_epochs=15", "--trainer.callbacks=[Vortices]"]
    ),
    "path": Recipe(
        path,
        "double_well/pixelcnn.yaml",
        "kinks",
        ["--data.init_args.num_configurations=50000", "--trainer.callbacks=[Kinks]"],
    ),
    "field": Recipe(field, "gaussian_field/triangular.yaml", "rbm_equivalence"),
    "glass": Recipe(
        glass,
        "recorded/glass.yaml",
        "coupling_graph",
        ["--trainer.max_epochs=4", "--trainer.callbacks=[CouplingGraph]"],
    ),
    "kerr": Recipe(
        kerr,
        "kerr/stripes.yaml",
        "films",
        ["--data.init_args.num_images=60", "--trainer.callbacks=[ImageSteps, Films]"],
    ),
}


def finished_run(name: str, runs: Path, full: bool) -> Run:
    """Return the newest finished run of a figure; train one if there is none."""
    recipe = RECIPES[name]
    pattern = f"{name}/version_*/measurements/{recipe.measurement}.json"
    if not any(runs.glob(pattern)):
        options = [] if full else list(recipe.quick)
        if name == "glass":
            options += make_glass(runs, full)
        logger = "--trainer.logger.init_args."
        options += [f"{logger}save_dir={runs}", f"{logger}name={name}"]
        if main(["fit", "--config", f"configs/{recipe.config}", *options]):
            raise SystemExit(f"The run of the figure {name} failed.")
    newest = max(runs.glob(pattern), key=lambda path: path.stat().st_mtime)
    return Run(newest.parents[1])


def make_glass(runs: Path, full: bool) -> list[str]:
    """Simulate a Gaussian glass, and return the options that read its configurations."""
    runs.mkdir(parents=True, exist_ok=True)
    shape, temperature, num = ((16, 16), 1.25, 60_000) if full else ((10, 10), 2.0, 20_000)
    hamiltonian, file = runs / "glass.json", runs / "glass.h5"
    hamiltonian.write_text(lightdan.edwards_anderson(shape, "gaussian", temperature).to_json())
    file.unlink(missing_ok=True)
    command = ["simulate", "--hamiltonian", hamiltonian, "--num", num, "--output", file]
    if main([str(word) for word in command]):
        raise SystemExit("The simulation of the glass failed.")
    return [f"--data.init_args.path={file}", f"--data.init_args.temperature={temperature}"]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG of a palette.

    Raises:
        ValueError: the file would be too large.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png", facecolor="white")
    image = Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    if buffer.tell() > MAX_BYTES:
        raise ValueError(
            f"{path} has {buffer.tell():,} bytes, more than {MAX_BYTES:,}. Show less in it."
        )
    path.write_bytes(buffer.getvalue())
    print(f"{path}: {buffer.tell():,} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the figures of the documentation.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"figures: {', '.join(RECIPES)}")
    parser.add_argument("--full", action="store_true", help="run the configurations as they stand")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - RECIPES.keys():
        parser.error(f"There is no figure {', '.join(unknown)}. Use one of {', '.join(RECIPES)}.")
    runs = Path("runs", "figures-full" if arguments.full else "figures")
    FIGURES.mkdir(exist_ok=True)
    for name in arguments.names or RECIPES:
        run = finished_run(name, runs, arguments.full)
        save(RECIPES[name].draw(run), FIGURES / f"{name}.png")
