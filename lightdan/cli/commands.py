"""The commands ``lightdan list``, ``sample`` and ``simulate``."""

import hashlib
import inspect
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from lightdan import checkpoints, registry
from lightdan.checks import check_integer, check_seed, check_temperatures
from lightdan.data.cache import write_hdf5
from lightdan.data.files import disk_is_full
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.progress import progress_bar


def show_list() -> None:
    """List the systems, architectures, conditionals, objectives and measurements.

    The last column names the distribution that a class comes from.
    """
    origins = registry.load_plugins()
    table = Table("kind", "name", "description", "from")
    for kind, path in registry.FAMILIES.items():
        for name, cls in registry.known(registry.import_object(path)).items():
            module = cls.__module__.partition(".")[0]
            description = (inspect.getdoc(cls) or "").partition("\n")[0]
            table.add_row(kind, name, description, origins.get(module, module))
        table.add_section()
    Console().print(table)


def sample(
    ckpt_path: str,
    num: int,
    output: str,
    temperature: float | None = None,
    control: list[str] | None = None,
    seed: int = 0,
    classes: list[str] | None = None,
) -> None:
    """Draw configurations from a trained model into an HDF5 file.

    The file contains the datasets configurations (num, *lattice) and log_prob (num,). Its attributes
    have the temperature and the controls.

    Args:
        ckpt_path: Checkpoint of a run.
        num: Number of configurations.
        output: HDF5 file to be written; it must not exist yet.
        temperature: Temperature T, required if the network takes it as an input.
        control: Values of the controls that the network sees, as in field=0.3 rate=2.
        seed: Random seed.
        classes: Classes in files of your own that the checkpoint names, as in coins.Window.

    Raises:
        ValueError: An argument is wrong, or the file exists already or cannot be written.
    """
    path = Path(output)
    check_integer("--num", num)
    check_seed("--seed", seed)
    if temperature is not None:
        (temperature,) = check_temperatures(temperature)
    check_new(path)
    registry.import_classes(classes or [])
    model = checkpoints.load(ckpt_path)
    if model.temperature_input and temperature is None:
        raise ValueError("The network takes the temperature as an input: pass --temperature.")
    controls = parse_controls(control or [])
    model.conditions(1, temperature, controls or None)  # refuses wrong ones before the file is made
    with progress_bar("Sampling", num) as advance:
        configurations = model.sample(
            num, seed, temperature, progress=advance, controls=controls or None
        )
    with torch.no_grad(), progress_bar("Evaluating", num) as advance:
        log_prob = []
        for part in configurations.split(1000):
            repeated = (
                None if temperature is None else configurations.new_full((len(part),), temperature)
            )
            log_prob.append(model.log_prob(part, repeated, controls or None))
            advance(len(part))
    dtype = {"spin": np.int8, "level": np.int32}.get(model.site_kind, np.float32)
    arrays = {
        "configurations": configurations.numpy().astype(dtype),
        "log_prob": torch.cat(log_prob).numpy(),
    }
    conditions = controls if temperature is None else {"temperature": temperature, **controls}
    write(path, arrays, {"ckpt_path": ckpt_path, "seed": seed, **conditions})
    print(f"{num} configurations of {model.lattice_shape}: {path}")


def parse_controls(words: Sequence[str]) -> dict[str, float]:
    """Return the values of controls, written as name=value.

    Raises:
        ValueError: A word has another form, or a name occurs twice.
    """
    controls: dict[str, float] = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (name and equals and math.isfinite(value)) or name in controls:
            raise ValueError(
                f"--control {word} is not a control with its value, or is passed twice: pass each as "
                "name=value, like field=0.3."
            )
        controls[name] = value
    return controls


def simulate(
    hamiltonian: str, num: int, output: str, temperature: list[float] | None = None, seed: int = 0
) -> None:
    """Draw configurations of an explicit Hamiltonian into HDF5 files.

    A file contains the datasets configurations (num, *lattice) and energy (num,), and the
    autocorrelation time tau_int, in rows, as an attribute. With several temperatures, the same command
    after an interruption keeps the files that are complete.

    Args:
        hamiltonian: JSON file of the Hamiltonian, as the measurement Couplings writes it.
        num: Number of configurations at each temperature.
        output: HDF5 file to be written; with several temperatures its name gets '-T=...'.
        temperature: One or several temperatures T; by default the one that the couplings belong to.
        seed: Random seed.

    Raises:
        ValueError: An argument is wrong, the file has no Hamiltonian, or an output exists already.
    """
    model = ExplicitHamiltonian.load(hamiltonian)
    temperatures = check_temperatures(temperature or [model.temperature])
    check_integer("--num", num)
    check_seed("--seed", seed)
    path = Path(output)
    paths = [path]
    if len(temperatures) > 1:
        paths = [path.with_name(f"{path.stem}-T={t:g}{path.suffix}") for t in temperatures]
    digest = hashlib.sha256(Path(hamiltonian).read_bytes()).hexdigest()
    origins = [{"sha256": digest, "temperature": t, "seed": seed} for t in temperatures]
    left = [path for path, origin in zip(paths, origins, strict=True) if not is_of(path, origin, num)]
    for path in left or paths:
        check_new(path)
    for t, path, origin in zip(temperatures, paths, origins, strict=True):
        if path not in left:
            print(f"{path} is complete and was kept.")
            continue
        with progress_bar(f"Simulating at T={t:g}", num) as advance:
            run = model.simulate(t, num, seed, advance)
        tau = max(run.tau.values())
        arrays = {"configurations": run.configurations, "energy": model.energy(run.configurations)}
        write(path, arrays, {"hamiltonian": hamiltonian, **origin, "tau_int": tau.value})
        print(
            f"{num} configurations of {model.lattice_shape} at T = {t:g}, "
            f"autocorrelation time {tau} rows: {path}"
        )


def is_of(path: Path, origin: Mapping[str, Any], num: int) -> bool:
    """Return whether a file has this number of configurations of this origin."""
    try:
        with h5py.File(path) as file:
            same = all(file.attrs.get(name) == value for name, value in origin.items())
            return bool(same and len(file["configurations"]) == num)
    except (OSError, KeyError, TypeError, RuntimeError):  # of h5py, for damaged files
        return False


def check_new(path: Path) -> None:
    """Raise ValueError if a file to be written exists, or if its directory cannot be written."""
    if path.is_dir():
        raise ValueError(f"--output {path} is a directory: pass the name of a file.")
    if path.exists():
        raise ValueError(f"{path} exists already: remove it or pass another --output.")
    if not path.parent.is_dir():
        raise ValueError(f"The directory {path.parent} of --output does not exist: create it first.")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"The directory {path.parent} cannot be written: pass another --output.")


def write(path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
    """Write an HDF5 file.

    Raises:
        ValueError: The file cannot be written.
        OSError: The disk is full.
    """
    try:
        write_hdf5(path, arrays, attributes)
    except OSError as error:
        if disk_is_full(error):
            raise
        raise ValueError(f"{path} cannot be written ({error}): pass another --output.") from error
