"""Damaged files of every format, each read in a process of its own with little memory and time."""

import contextlib
import io
import json
import os
import pickle
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import gwyfile
import h5py
import numpy as np
import pyarrow
import scipy.io
import tifffile
import torch
import yaml
import zarr
from PIL import Image
from pyarrow import feather, parquet
from scipy.ndimage import gaussian_filter
from trainers import quiet_trainer

from lightdan import MADE, registry
from lightdan.cli import commands, errors, images, inspection, lightning  # noqa: F401 - before the fork
from lightdan.cli.main import main

MEMORY = 3 * 2**30
"""Bytes that a case may take besides what its process has."""
SECONDS = 20
"""CPU time of a case."""
EVENTS = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.spawn")
"""Events of Python that a file may not cause."""
TOKENS = (
    b"nan",
    b"-1",
    b"1e999",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"../x",
    b"99999999999999999999",
    b"\xff\xfe",
)
SPINS = np.random.default_rng(0).choice([-1, 1], (60, 9)).astype(np.int8)


class Bomb:
    """Object whose unpickling leaves a file."""

    def __reduce__(self):
        return (open, ("CANARY", "w"))


def hamiltonian() -> dict:
    product = {"weight": [1.0, 0.0], "factors": [{"power": 1}] * 2}
    entry = {"name": "bond", "sites": [[0, 1], [1, 2]], "coupling": 0.4, "error": 0.01}
    entry |= {"displacement": None, "products": [product]}
    content = {"format": 3, "lattice_shape": [9], "site_kind": "spin", "levels": [-1, 1]}
    return content | {"temperature": 1.0, "covariance": None, "operators": [entry]}


def image() -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(2, 64, 64))
    return (100 + 60 * (gaussian_filter(noise[0], 4, mode="wrap") > 0) + 5 * noise[1]).astype(np.uint8)


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("packed", data=SPINS, chunks=(16, 9), compression="gzip", shuffle=True)
        file.create_dataset("plain", data=SPINS[:, 0])
        file["packed"].attrs["temperature"] = 2.0


def write_gwyddion(path: Path) -> None:
    field = gwyfile.objects.GwyDataField(image().astype(float), xreal=1e-6, yreal=1e-6)
    container = gwyfile.objects.GwyContainer()
    container["/0/data"] = field
    container.tofile(str(path))


def write_zarr(path: Path) -> None:
    zarr.open(str(path), mode="w", shape=SPINS.shape, chunks=(16, 9), dtype="i1")[:] = SPINS


def write_checkpoint(path: Path) -> None:
    trainer = quiet_trainer()
    trainer.strategy.connect(MADE(lattice_shape=(3, 3), width=2))
    trainer.save_checkpoint(path)


def write_config(path: Path) -> None:
    system = {"class_path": "Ising", "init_args": {"shape": 3, "temperature": 2.0, "batch_size": 20}}
    model = {"class_path": "MADE", "init_args": {"width": 2, "augment": ["z2"]}}
    trainer = {"max_steps": 1, "callbacks": ["Hamiltonian"], "accelerator": "cpu"}
    path.write_text(yaml.safe_dump({"data": system, "model": model, "trainer": trainer}))


def write_objects(path: Path) -> None:
    np.save(path, np.array([Bomb(), Bomb()], dtype=object), allow_pickle=True)


def table() -> "pyarrow.Table":
    return pyarrow.table({f"s{k}": SPINS[:, k] for k in range(9)})


FORMATS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a.npy": ("inspect", lambda path: np.save(path, SPINS)),
    "a.npz": ("inspect", lambda path: np.savez_compressed(path, x=SPINS, y=SPINS[:, 0])),
    "a.h5": ("inspect", write_hdf5),
    "a.csv": ("inspect", lambda path: np.savetxt(path, SPINS, "%d", ",", header="a,b,c", comments="# ")),
    "a.pt": ("inspect", lambda path: torch.save({"x": torch.from_numpy(SPINS)}, path)),
    "a.mat": ("inspect", lambda path: scipy.io.savemat(path, {"x": SPINS}, do_compression=True)),
    "a.parquet": ("inspect", lambda path: parquet.write_table(table(), path)),
    "a.feather": ("inspect", lambda path: feather.write_feather(table(), path)),
    "a.zarr": ("inspect", write_zarr),
    "a.tif": ("images", lambda path: tifffile.imwrite(path, image(), compression="zlib")),
    "a.png": ("images", lambda path: Image.fromarray(image()).save(path)),
    "a.gwy": ("images", write_gwyddion),
    "a.ckpt": ("sample", write_checkpoint),
    "a.json": ("simulate", lambda path: path.write_text(json.dumps(hamiltonian()))),
    "a.yaml": ("fit", write_config),
    "bomb.npy": ("inspect", write_objects),
    "bomb.pt": ("inspect", lambda path: torch.save({"x": torch.ones(9, 9), "y": Bomb()}, path)),
    "bomb.ckpt": ("sample", lambda path: path.write_bytes(pickle.dumps({"state_dict": Bomb()}))),
}
"""Command that reads each file, and function that writes it undamaged."""
ARGUMENTS = {
    "inspect": lambda file: ["inspect", file],
    "images": lambda file: ["images", file],
    "sample": lambda file: ["sample", "--ckpt_path", file, "--num", "5", "--output", "out.h5"],
    "simulate": lambda file: ["simulate", "--hamiltonian", file, "--num", "20", "--output", "out.h5"],
    "fit": lambda file: [
        *("fit", "--config", file, "--data.num_configurations=100", "--data.cache_dir=cache"),
        *("--trainer.max_epochs=1", "--trainer.max_steps=0"),
    ],
}


def mutate(content: bytes, rng: np.random.Generator, text: bool) -> bytes:
    """Return a damaged copy: flipped bits, lost or repeated parts, other numbers or words."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        size = max(1, len(data))
        place, length = int(rng.integers(size)), int(rng.integers(1, 1 + min(size, 200)))
        if rng.random() < 0.4:  # headers decide more than numbers do
            place = int(rng.integers(min(size, 200)))
        kind = rng.integers(6 if not text else 8)
        if kind == 0:
            for at in rng.integers(size, size=rng.integers(1, 20)):
                data[at : at + 1] = bytes([data[at] ^ 1 << rng.integers(8)]) if data else b""
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place:place] = data[place : place + length]
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            number = [0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1][rng.integers(6)]
            width = 4 if number < 2**32 else 8
            data[place : place + width] = number.to_bytes(width, "little")
        elif kind == 5:
            data[place : place + length] = rng.integers(256, size=length, dtype=np.uint8).tobytes()
        else:
            words = [*re.finditer(rb"[\w.+-]+", data)] or [re.match(rb"", data)]
            word = words[rng.integers(len(words))]
            data[word.start() : word.end()] = TOKENS[rng.integers(len(TOKENS))]
    return bytes(data)


def damage(path: Path, rng: np.random.Generator) -> None:
    """Damage a file, or one of a directory."""
    target = path
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        target = files[rng.integers(len(files))]
    text = target.suffix in (".csv", ".json", ".yaml")
    target.write_bytes(mutate(target.read_bytes(), rng, text))


def read(args: list[str], folder: Path) -> tuple[int, str]:
    """Run a command in a process of its own; return its exit code, and what it says on failure.

    Codes below 0 are signals (−24 is too much CPU time), 70 is an exception, 71 an event of `EVENTS`.
    """
    report = folder / "report.txt"
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        return code, report.read_text(errors="replace")[-1500:]
    code = 70
    try:
        os.chdir(folder)
        output = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        sys.addaudithook(lambda event, _: os._exit(71) if event in EVENTS else None)
        code = main(args)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def prepare() -> None:
    """Import before the first fork what the commands import when they are called."""
    registry.load_plugins()
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        for name in ("a.npy", "a.tif", "a.png", "a.json"):
            command, write = FORMATS[name]
            write(Path(place, name))
            arguments = ARGUMENTS[command](str(Path(place, name)))
            main([arg.replace("out.h5", f"{place}/out.h5") for arg in arguments])


def faults(name: str, seeds: range) -> list[str]:
    """Return what went wrong with damaged copies of a file.

    Args:
        name: File of `FORMATS`.
        seeds: Seed of each copy; 0 is the file itself.
    """
    command, write = FORMATS[name]
    found = []
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place, "whole")
        whole.mkdir()
        write(whole / name)
        for seed in seeds:
            folder = Path(place, str(seed))
            shutil.copytree(whole, folder)
            if seed:
                damage(folder / name, np.random.default_rng(seed))
            code, said = read(ARGUMENTS[command](name), folder)
            if code not in (0, 2) or (folder / "CANARY").exists():
                found.append(f"{name}, seed {seed}: exit code {code}\n{said}")
            if seed == 0 and not name.startswith("bomb") and code != 0:
                found.append(f"{name}, undamaged: exit code {code}\n{said}")
            shutil.rmtree(folder)
    return found
