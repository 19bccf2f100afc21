"""The table of docs/data.md, "what you have, and what to type": every line reads such a file."""

import gzip
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from jsonargparse import ArgumentParser

from lightdan.systems.recorded import Recorded

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
SECTION = PAGE.partition("## What you have, and what to type")[2].partition("\n## ")[0]
LINES = [line.split("|")[2].strip() for line in SECTION.splitlines() if line.startswith("| ")][1:]
COMMANDS = {
    shlex.split(words[0])[1]: words
    for line in LINES
    if (words := re.findall("`(.*?)`", line)) and words[0].startswith("path")
}

RNG = np.random.default_rng(0)
SPINS = RNG.choice(np.array([-1, 1], np.int8), (120, 36))
LATTICES = SPINS.reshape(120, 6, 6)
ANGLES = RNG.uniform(0, 2 * np.pi, (120, 36))
ENERGY = RNG.integers(-9, 0, 120) * 4
NAMES = [f"s{k}" for k in range(36)]


def ising(num):
    """Draw configurations of 6 × 6 spins whose neighbours agree."""
    rng = np.random.default_rng(1)
    s = rng.choice([-1, 1], (num, 6, 6))
    odd = np.indices((6, 6)).sum(0) % 2
    for _ in range(20):
        for parity in (0, 1):
            field = sum(np.roll(s, step, axis) for step in (1, -1) for axis in (1, 2))
            up = rng.random(s.shape) < 1 / (1 + np.exp(-0.7 * field))
            s = np.where(odd == parity, np.where(up, 1, -1), s)
    return s.astype(np.int8)


def table(path, rows, header=None, mark=","):
    np.savetxt(path, rows, "%g", mark, header="" if header is None else mark.join(header), comments="")


def lines(path, rows):
    path.write_text("\n".join(rows) + "\n")


def blocks(path):
    with path.open("w") as file:
        for k, lattice in enumerate(LATTICES):
            file.write(f"# sweep {k}\n")
            np.savetxt(file, lattice, "%d")


def places(path):
    x, y = np.indices((6, 6)).reshape(2, 36)
    table(path, np.concatenate([np.column_stack([x, y, row]) for row in SPINS]), mark=" ")


def hdf5(path):
    with h5py.File(path, "w") as file:
        file["run/spins"], file["run/old"] = SPINS, SPINS


def frame(path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import feather, parquet

    columns = {name: SPINS[:, k] for k, name in enumerate(NAMES)}
    if path.stem == "lists":
        columns = {"spins": SPINS.tolist(), "energy": ENERGY}
    write = parquet.write_table if path.suffix == ".parquet" else feather.write_feather
    write(pyarrow.table(columns), path)


def zarr(path):
    pytest.importorskip("zarr").save_array(str(path), SPINS)


def words(path):
    lines(path, [" ".join("up" if s > 0 else "down" for s in row) for row in SPINS])


def save(array):
    return lambda path: np.save(path, array)


def sequences(path):
    with h5py.File(path, "w") as file:
        file["sequence"] = np.array(["".join("ACGT"[x] for x in row) for row in STATES], "S36")


def outcomes(path):
    rows = ["".join("01"[s] for s in row) for row in (SPINS + 1) // 2]
    lines(path, [f"{row} {count}" for row, count in zip(rows, RNG.integers(2, 99, 120), strict=True)])


STATES = RNG.integers(0, 4, (120, 36))
FILES = {
    "spins.npy": (save(SPINS), "spin"),
    "spins.npy.gz": (None, "spin"),
    "one.npz": (lambda p: np.savez(p, spins=SPINS, energy=ENERGY, T=2.0), "spin"),
    "several.npz": (lambda p: np.savez(p, early=ANGLES, late=SPINS), "spin"),
    "groups.h5": (hdf5, "spin"),
    "table.csv": (lambda p: table(p, SPINS, NAMES), "spin"),
    "blanks.dat": (
        lambda p: lines(p, ["# fields", *(" ".join(f"{s},5" for s in row) for row in SPINS)]),
        "spin",
    ),
    "energy.csv": (lambda p: table(p, np.column_stack([SPINS, ENERGY]), [*NAMES, "energy"]), "spin"),
    "pandas.csv": (
        lambda p: table(p, np.column_stack([np.arange(120), SPINS]), ["", *NAMES]),
        "spin",
    ),
    "counted.csv": (
        lambda p: table(p, np.column_stack([SPINS, RNG.integers(1, 9, 120)]), [*NAMES, "count"]),
        "spin",
    ),
    "label.csv": (lambda p: table(p, SPINS, [*NAMES[1:], "label"]), "spin"),
    "blocks.txt": (blocks, "spin"),
    "lines.txt": (lambda p: table(p, ising(120).reshape(-1, 6), mark=" "), "spin"),
    "values.txt": (lambda p: table(p, SPINS.reshape(-1, 1)), "spin"),
    "places.txt": (places, "spin"),
    "characters.txt": (
        lambda p: lines(p, ["".join("-+"[s] for s in row) for row in (SPINS + 1) // 2]),
        "spin",
    ),
    "words.txt": (words, "spin"),
    "sequences.fasta": (
        lambda p: lines(p, [f">{k}\n{''.join('-ACG'[x] for x in row)}" for k, row in enumerate(STATES)]),
        "level",
    ),
    "matrix.mat": (lambda p: scipy.io.savemat(p, {"run": {"spins": SPINS, "E": ENERGY}}), "spin"),
    "stack.mat": (lambda p: scipy.io.savemat(p, {"spins": np.moveaxis(LATTICES, 0, -1)}), "spin"),
    "transposed.npy": (save(ising(1000).reshape(1000, 36).T), "spin"),
    "frame.parquet": (frame, "spin"),
    "frame.feather": (frame, "spin"),
    "lists.parquet": (frame, "spin"),
    "spins.zarr": (zarr, "spin"),
    "nested.pt": (
        lambda p: torch.save({"state": {"spins": torch.tensor(SPINS), "J": torch.ones(36, 36)}}, p),
        "spin",
    ),
    "numbered.npz": (lambda p: np.savez(p, *LATTICES), "spin"),
    "outcomes.txt": (outcomes, "spin"),
    "sequences.h5": (sequences, "level"),
    "list.pt": (lambda p: torch.save([torch.tensor(lattice) for lattice in LATTICES], p), "spin"),
    "halves.npy": (save(STATES - 1.5), "level"),
    "types.npy": (save(RNG.integers(0, 100, (120, 36))), "level"),
    "rounded.npy": (save(RNG.normal(size=(120, 36)).round(1)), "real"),
    "angles.npy": (save(ANGLES), "angle"),
    "unwrapped.npy": (save(np.unwrap(ANGLES)), "angle"),
    "degrees.npy": (save(np.rad2deg(ANGLES)), "angle"),
    "phases.npy": (save(np.exp(1j * ANGLES)), "angle"),
    "bits.npy": (save(np.packbits(SPINS > 0, axis=1)), "spin"),
}


@pytest.fixture(scope="module")
def parser():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Recorded, "data")
    return parser


def test_every_line_has_a_file():
    assert set(COMMANDS) == set(FILES)
    assert len(LINES) == len(FILES) + 2  # two say what to do with other files


@pytest.mark.parametrize("name", FILES)
def test_what_to_type(tmp_path, monkeypatch, parser, name):
    monkeypatch.chdir(tmp_path)
    write, kind = FILES[name]
    if write is None:
        with gzip.open(name, "wb") as file:
            np.save(file, SPINS)
    else:
        write(tmp_path / name)
    options = [word.split(" ", 1) for word in COMMANDS[name]]
    arguments = [part for option, value in options for part in (f"--data.{option}", value)]
    system = Recorded(**parser.parse_args(arguments).data.as_dict())
    system.setup()
    assert (system.site_kind, system.num_sites) == (kind, 36)
    if len(options) > 1 and name not in ("unwrapped.npy", "types.npy", "rounded.npy", "lists.parquet"):
        assert wrong_without(name)


def wrong_without(name):
    """Return whether the file is refused without the options."""
    try:
        Recorded(name)
    except ValueError:
        return True
    return False
