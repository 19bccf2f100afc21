"""The commands of our own: ``lightdan list``, ``sample``, ``simulate``, ``predict-action``, ``scan``."""

import argparse
import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from lightdan import checkpoints, registry
from lightdan.cli import scans
from lightdan.data.cache import write_hdf5
from lightdan.interactions.hamiltonian import SpinHamiltonian
from lightdan.measurements.fields import prediction_report
from lightdan.progress import progress_bar
from lightdan.systems.base import check_positive, check_temperatures


class _Parser(argparse.ArgumentParser):
    """Errors as exceptions, for the one place that prints them."""

    def error(self, message: str) -> Any:
        raise ValueError(f"{message}; 'lightdan {self.prog.split()[-1]} --help' tells the options.")


def show_list(args: Sequence[str], origins: Mapping[str, str]) -> int:
    """Print what is registered, and which distribution each class comes from.

    Args:
        args: Arguments after ``list``.
        origins: Top-level module of a plugin → its distribution.
    """
    _Parser("lightdan list", description="What is registered.").parse_args(args)
    table = Table("kind", "name", "what it is", "from")
    for kind, path in registry.FAMILIES.items():
        for name, cls in registry.known(registry.import_object(path)).items():
            module = cls.__module__.partition(".")[0]
            what = (inspect.getdoc(cls) or "").partition("\n")[0]
            table.add_row(kind, name, what, origins.get(module, module))
        table.add_section()
    Console().print(table)
    return 0


def sample(args: Sequence[str]) -> int:
    """Draw configurations from a trained model into an HDF5 file.

    The file has `configurations` (num, *lattice) and `log_prob` (num,).

    Args:
        args: Arguments after ``sample``.

    Raises:
        ValueError: an argument is wrong, the file exists already or cannot be written.
    """
    parser = _Parser("lightdan sample", description="Draw configurations from a trained model.")
    parser.add_argument("--ckpt_path", required=True, help="checkpoint of a run")
    parser.add_argument("--num", type=int, required=True, help="how many configurations")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    parser.add_argument("--temperature", type=float, help="for a network with temperature input")
    parser.add_argument("--output", required=True, help="HDF5 file, not yet existing")
    options = parser.parse_args(args)
    output = Path(options.output)
    if options.num < 1:
        raise ValueError(f"--num must be at least 1, not {options.num}.")
    if options.temperature is not None and not options.temperature > 0:
        raise ValueError(f"--temperature must be positive, not {options.temperature}.")
    check_new(output)
    model = checkpoints.load(options.ckpt_path)
    if model.temperature_input and options.temperature is None:
        raise ValueError("The network sees the temperature: give --temperature.")
    with progress_bar("Sampling", options.num) as advance:
        drawn = model.sample(options.num, options.seed, options.temperature, progress=advance)
    temperature = None
    if options.temperature is not None:
        temperature = drawn.new_full((1,), options.temperature)
    with torch.no_grad(), progress_bar("Evaluating", options.num) as advance:
        log_prob = []
        for part in drawn.split(1000):
            repeated = None if temperature is None else temperature.expand(len(part))
            log_prob.append(model.log_prob(part, repeated))
            advance(len(part))
    discrete = model.site_kind in ("spin", "level")
    arrays = {
        "configurations": drawn.numpy().astype(np.int8 if discrete else np.float32),
        "log_prob": torch.cat(log_prob).numpy(),
    }
    provenance = {"ckpt_path": str(options.ckpt_path), "seed": options.seed}
    try:
        write_hdf5(output, arrays, provenance)
    except OSError as error:
        raise ValueError(f"{output} cannot be written: {error}.") from error
    print(f"{options.num} configurations of {model.lattice_shape}: {output}")
    return 0


def simulate(args: Sequence[str]) -> int:
    """Draw configurations of a Hamiltonian of spins, at one or several T, into HDF5 files.

    Args:
        args: Arguments after ``simulate``.

    Raises:
        ValueError: an argument is wrong, the file is no Hamiltonian, or an output exists already.
    """
    parser = _Parser("lightdan simulate", description="Draw configurations of a Hamiltonian of spins.")
    parser.add_argument("--hamiltonian", required=True, help="JSON file, as Couplings writes it")
    parser.add_argument(
        "--temperature", type=float, nargs="+", help="T; by default that at which it was learned"
    )
    parser.add_argument("--num", type=int, required=True, help="how many configurations at each T")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    parser.add_argument("--output", required=True, help="HDF5 file; of several T '-T=…' is put in")
    options = parser.parse_args(args)
    hamiltonian = SpinHamiltonian.load(options.hamiltonian)
    temperatures = check_temperatures(options.temperature or [hamiltonian.temperature])
    check_positive("--num", options.num)
    output = Path(options.output)
    several = len(temperatures) > 1
    paths = [
        output.with_name(f"{output.stem}-T={t:g}{output.suffix}") if several else output
        for t in temperatures
    ]
    for path in paths:
        check_new(path)
    for temperature, path in zip(temperatures, paths, strict=True):
        with progress_bar(f"Simulating at T={temperature:g}", options.num) as advance:
            run = hamiltonian.simulate(temperature, options.num, options.seed, advance)
        tau = max(run.tau.values())
        arrays = {
            "configurations": run.configurations,
            "energy": hamiltonian.energy(run.configurations),
        }
        provenance = {
            "hamiltonian": str(options.hamiltonian),
            "temperature": temperature,
            "seed": options.seed,
            "tau_int": tau.value,
        }
        write_hdf5(path, arrays, provenance)
        print(
            f"{options.num} configurations of {hamiltonian.lattice_shape} at T = {temperature:g}, "
            f"autocorrelation time {tau} rows: {path}"
        )
    return 0


def check_new(path: Path) -> None:
    """Refuse a file to be written that is there, or in a folder that is not.

    Raises:
        ValueError: the sentence names it.
    """
    if path.exists():
        raise ValueError(f"{path} exists already: remove it or name another --output.")
    if not path.parent.is_dir():
        raise ValueError(f"The directory {path.parent} of --output does not exist.")


def predict_action(args: Sequence[str]) -> int:
    """Predict the action of paths at a third β from models of two, draw from it, and compare.

    Args:
        args: Arguments after ``predict-action``.

    Raises:
        ValueError: an argument is wrong, or the models do not make a prediction.
    """
    parser = _Parser("lightdan predict-action", description="From the actions at two β that at a third.")
    parser.add_argument(
        "--ckpt_paths", nargs="+", required=True, help="two models, or one that saw two temperatures"
    )
    parser.add_argument("--beta", type=float, required=True, help="β_3 that is predicted")
    parser.add_argument("--conditioned", help="a model that sees the temperature, for comparison")
    parser.add_argument("--trajectories", type=int, default=400, help="of each of the 256 chains")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers")
    parser.add_argument("--output", default="runs/predict-action", help="folder of the results")
    options = parser.parse_args(args)
    if options.trajectories < 2:
        raise ValueError(f"--trajectories must be at least 2, not {options.trajectories}.")
    prediction_report.predict_action(**vars(options))
    return 0


def scan(args: Sequence[str]) -> int:
    """Fit for each of several values of an option, and put the results together.

    Args:
        args: Arguments after ``scan``; those it does not know go to every ``lightdan fit``.

    Raises:
        ValueError: an argument is wrong, or a run failed.
    """
    parser = _Parser("lightdan scan", description="Fit for several values; more options go to 'fit'.")
    parser.add_argument("--config", required=True, help="configuration of the runs")
    parser.add_argument("--parameter", default="data.init_args.temperature", help="the option")
    parser.add_argument("--values", nargs="+", required=True, help="its values")
    parser.add_argument("--output", default="runs/scan", help="folder of all runs")
    parser.add_argument("--processes", type=int, help="at a time; by default one a processor")
    known, options = parser.parse_known_args(args)
    processes = (
        min(os.cpu_count() or 1, len(known.values)) if known.processes is None else known.processes
    )
    if processes < 1:
        raise ValueError(f"--processes must be at least 1, not {processes}.")
    scans.scan(known.config, known.parameter, known.values, options, Path(known.output), processes)
    return 0
