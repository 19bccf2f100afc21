"""A sweep over every option of the command line with values that it may not be made for.

``python tests/sweep.py FOLDER [NUMBER]`` runs each option with all values, or with this number of them
at random, in this process, and prints one line of JSON for each. A case that takes longer than `LIMIT`
ends the process.
"""

import contextlib
import inspect
import io
import json
import math
import os
import random
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import tifffile
import yaml
from kills import Process
from lightning.pytorch import Trainer
from scipy.ndimage import gaussian_filter

from lightdan import edwards_anderson, registry
from lightdan.architectures.base import LINKED
from lightdan.cli import scans
from lightdan.cli.catalogue import COMMANDS
from lightdan.cli.errors import _options
from lightdan.cli.lightning import CLI
from lightdan.cli.main import main

LIMIT = 60
"""Seconds of the processor that a case may take."""

VALUES = {
    "null": None,
    "0": 0,
    "-1": -1,
    "nan": math.nan,
    "inf": math.inf,
    "1e300": 1e300,
    "text": "abc",
    "list": [1, 2],
    "nested": {"a": {"b": 1}},
}
ISING = {"class_path": "Ising", "init_args": {"shape": 4, "temperature": 3.0}}
SYSTEMS: dict[str, dict[str, Any]] = {
    "BlockSpin": {"system": {**ISING, "init_args": {**ISING["init_args"], "num_configurations": 200}}},
    "DoubleWell": {"beta": 2.0, "num_slices": 8},
    "Ising": ISING["init_args"],
    "KerrImages": {"path": "images.tif", "patch": [4, 4]},
    "Path": {"potential": "x**2 / 2", "beta": 2.0, "num_slices": 8},
    "Recorded": {"path": "spins.npy"},
    "SyntheticKerrImages": {"film": [24, 24], "num_images": 3, "patch": [4, 4]},
}
"""Arguments of small systems; the others have four sites along each axis."""
NETWORKS: dict[str, dict[str, Any]] = {
    "Auto": {"rehearsal": 2},
    "HalfPlane": {"units": 2, "reach": 3},
    "MADE": {"width": 1},
    "PixelCNN": {"channels": 2},
    "Recurrent": {"units": 2},
    "Transformer": {"width": 4, "heads": 1, "depth": 1},
    "Triangular": {},
}
"""Arguments of a small network."""
FIELDS = {"spin": "Ising", "level": "BlockSpin", "angle": "XY", "real": "ScalarField"}
"""System of a kind of site."""
OWN = {
    "Action": "DoubleWell",
    "Correlator": "DoubleWell",
    "Kinks": "DoubleWell",
    "HelicityModulus": "XY",
    "Vortices": "XY",
    "Domains": "SyntheticKerrImages",
    "ImageSteps": "SyntheticKerrImages",
    "StructureFactor": "SyntheticKerrImages",
    "CriticalTemperature": "SyntheticKerrImages",
}
"""System of a measurement that needs a special one."""
SMALL = {"num_samples": 100, "num_configurations": 100, "num_ladders": 4, "num_steps": 10, "size": 4}
"""Options of measurements that make them short."""


EXAMPLES = {"system": "Ising", "architecture": "MADE", "measurement": "Observables"}
"""Class of each family whose options of the base class are swept; the others share them."""
SEED = 0
"""Seed of a random choice of cases."""


class Case(NamedTuple):
    """One option of one class or command, with a value."""

    kind: str
    owner: str
    option: str
    value: str


def options(kind: str, owner: str) -> list[str]:
    """Return the names of the options of a class or command, without those of other classes."""
    if kind == "command":
        names = inspect.signature(registry.import_object(COMMANDS[owner].function)).parameters.values()
        return [p.name for p in names if p.kind != p.VAR_POSITIONAL]
    if kind == "fit":
        return ["seed_everything", "start_from", "ckpt_path", "data", "model", "trainer"]
    if kind == "trainer":
        return _options(Trainer)
    family = registry.import_object(registry.FAMILIES[kind])
    cls, swept = registry.find(family, owner), registry.known(family).values()
    shared = {*LINKED, *(name for base in cls.__bases__ if base in swept for name in _options(base))}
    if owner != EXAMPLES.get(kind, owner):
        example = registry.find(family, EXAMPLES[kind])
        shared |= {name for base in example.__bases__ for name in _options(base)}
    return [name for name in _options(cls) if name not in shared]


def owners() -> Iterator[tuple[str, str]]:
    """Yield the kind and the name of everything that has options."""
    registry.load_plugins()
    for kind, path in registry.FAMILIES.items():
        for name, cls in registry.known(registry.import_object(path)).items():
            if cls.__module__.startswith("lightdan."):
                yield kind, name
    yield from (("trainer", "Trainer"), ("fit", "fit"))
    yield from (("command", name) for name, command in COMMANDS.items() if command.function)


def cases(number: int = len(VALUES)) -> list[Case]:
    """Return the cases of each option with all values, or with a random choice of this number."""
    rng = random.Random(SEED)
    return [
        Case(kind, owner, option, value)
        for kind, owner in owners()
        for option in options(kind, owner)
        for value in rng.sample([*VALUES], number)
    ]


def system(name: str) -> dict[str, Any]:
    """Return the configuration of a small system."""
    arguments = {"batch_size": 50, **SYSTEMS.get(name, {"shape": 4})}
    if name not in ("BlockSpin", "Recorded", "KerrImages", "SyntheticKerrImages"):
        arguments["num_configurations"] = 200
    return {"class_path": name, "init_args": arguments}


def configuration(case: Case) -> dict[str, Any]:
    """Return the configuration of a run with the option of a case."""
    data, model, callbacks = system("Ising"), {"class_path": "MADE", "init_args": {"width": 1}}, []
    trainer = {
        "max_epochs": 1,
        "max_steps": 2,
        "limit_train_batches": 1,
        "limit_val_batches": 1,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    value = VALUES[case.value]
    config: dict[str, Any] = {}
    match case.kind:
        case "system":
            data = system(case.owner)
            data["init_args"][case.option] = value
        case "architecture":
            model = {
                "class_path": case.owner,
                "init_args": {**NETWORKS.get(case.owner, {}), case.option: value},
            }
        case "conditional":
            cls = registry.find(registry.import_object(registry.FAMILIES["conditional"]), case.owner)
            data = system(FIELDS[cls.site_kinds[0]])
            conditional = {"class_path": case.owner, "init_args": {case.option: value}}
            model["init_args"]["conditional"] = conditional
        case "objective":
            model["init_args"]["objective"] = {
                "class_path": case.owner,
                "init_args": {case.option: value},
            }
        case "measurement":
            data = system(OWN.get(case.owner, "Ising"))
            small = {k: v for k, v in SMALL.items() if k in options(case.kind, case.owner)}
            if case.owner == "PhaseStructure":
                small["values"] = [2.0, 4.0]
            callbacks = [{"class_path": case.owner, "init_args": {**small, case.option: value}}]
            if case.owner == "RBMEquivalence":
                model = {"class_path": "Triangular"}
        case "trainer":
            trainer[case.option] = value
        case "fit":
            config[case.option] = value
    if "callbacks" not in trainer:
        trainer["callbacks"] = callbacks
    return {"data": data, "model": model, "trainer": trainer, **config}


COMMAND_LINES: dict[str, dict[str, Any]] = {
    "inspect": {"": ["spins.npy"]},
    "images": {"": ["images.tif"]},
    "scan": {"config": "small.yaml", "values": [2.0]},
    "predict-action": {"ckpt_paths": ["a.ckpt", "b.ckpt"], "beta": 2.0, "trajectories": 20},
    "sample": {"ckpt_path": "ising.ckpt", "num": 3, "output": "sample.h5"},
    "simulate": {"hamiltonian": "hamiltonian.json", "num": 3, "output": "simulation.h5"},
    "list": {},
}
"""Options of a short run of each command; those without name are its arguments."""


def arguments(case: Case) -> list[str]:
    """Return the command line of a case."""
    if case.kind != "command":
        Path("case.yaml").write_text(yaml.safe_dump(configuration(case)))
        return ["fit", "--config", "case.yaml"]
    named = {**COMMAND_LINES[case.owner], case.option: VALUES[case.value]}
    words = list(named.pop("", []))
    for name, value in named.items():
        if isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        else:
            words.append(f"--{name}={value if isinstance(value, str) else json.dumps(value)}")
    return [case.owner, *words]


def prepare() -> None:
    """Write the files that the cases read into the working directory."""
    rng = np.random.default_rng(0)
    np.save("spins.npy", rng.choice(np.array([-1, 1], np.int8), (200, 4, 4)))
    films = np.where(gaussian_filter(rng.normal(size=(12, 32, 32)), (0, 0.6, 0.6)) > 0, 160, 90)
    tifffile.imwrite("images.tif", films.astype(np.uint8), photometric="minisblack")
    Path("hamiltonian.json").write_text(edwards_anderson((4, 4)).to_json())
    small = configuration(Case("fit", "fit", "seed_everything", "0"))
    Path("small.yaml").write_text(yaml.safe_dump(small))
    for name, data in (("ising", system("Ising")), ("a", path(1.0)), ("b", path(3.0))):
        Path("case.yaml").write_text(yaml.safe_dump(small | {"data": data}))
        assert main(["fit", "--config", "case.yaml"]) == 0
        shutil.copy(next(Path("runs").rglob("best.ckpt")), f"{name}.ckpt")
        shutil.rmtree("runs")


def path(beta: float) -> dict[str, Any]:
    """Return the configuration of paths at β."""
    data = system("DoubleWell")
    data["init_args"]["beta"] = beta
    return data


def run(case: Case) -> dict[str, Any]:
    """Run a case; return its exit code, its words, the seconds of the processor and any traceback."""
    start, out, err = time.process_time(), io.StringIO(), io.StringIO()
    result: dict[str, Any] = {"case": case}
    # Compiled code heeds no handler, so that the signal ends the process.
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        try:
            result["code"] = main(arguments(case))
        except SystemExit as stop:
            result["code"] = stop.code
        except BaseException:
            result["code"] = "traceback"
            result["traceback"] = traceback.format_exc()[-3000:]
    signal.setitimer(signal.ITIMER_PROF, 0)
    result["out"], result["err"] = out.getvalue()[-1500:], err.getvalue()[-1500:]
    result["seconds"] = round(time.process_time() - start, 3)
    return result


class Limited(Process):
    """A process of ``scan``, with the limit of a case."""

    def _run(self, *arguments: Any) -> None:
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
        super()._run(*arguments)


def share() -> None:
    """Let all cases use the same parser and the imported modules.

    Making the parser takes three times as long as parsing, and starting an interpreter for ``scan`` a
    hundred times.
    """
    made: dict[str, dict[str, Any]] = {}

    def setup_parser(self: CLI, *arguments: Any) -> None:
        if self.command not in made:
            before = {*vars(self)}
            super(CLI, self).setup_parser(*arguments)
            made[self.command] = {k: v for k, v in vars(self).items() if k not in before}
        vars(self).update(made[self.command])

    CLI.setup_parser = setup_parser  # type: ignore[method-assign]
    scans.subprocess = SimpleNamespace(Popen=Limited, DEVNULL=None)  # type: ignore[assignment]


def sweep(folder: Path, some: list[Case]) -> None:
    """Run cases in a folder, and print a line for each as it ends."""
    share()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    if not Path("b.ckpt").exists():
        prepare()
    prepared = {*Path().iterdir()}
    for case in some:
        print(json.dumps(run(case)), flush=True)
        for path in {*Path().iterdir()} - prepared:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    sweep(Path(sys.argv[1]).resolve(), cases(*map(int, sys.argv[2:])))
