"""Power and false alarms of the test of equilibrium; rewrites the table in `benchmarks/README.md`.

    OMP_NUM_THREADS=1 python benchmarks/equilibrium.py [part of a name …]

Run it from the root of the repository. Each line has 40 files of 1,000 rows. With parts of names, only
those lines are measured and printed.
"""

import contextlib
import io
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightdan import Recorded

Files = NDArray[np.generic]
"""Rows of several files `(files, M, *lattice)`."""

NUM_FILES, NUM_ROWS = 40, 1000
T_C = 2.269185
KINDS = ("spin", "level", "angle", "real")
COLUMNS = (
    "rows",
    "sites",
    "not in equilibrium",
    "changes too seldom",
    "too short",
    "alike at a distance",
)


def local_updates(
    kind: str,
    start: NDArray[np.float64],
    betas: Sequence[float] | NDArray[np.float64],
    rng: np.random.Generator,
    bonds: NDArray[np.float64] | float = 1.0,
    sweeps: int = 1,
) -> NDArray[np.float64]:
    """Return rows of local chains on periodic lattices, `(files, rows, L, L)`.

    Spins are drawn given their neighbours; angles and fields are changed by the method of Metropolis.

    Args:
        kind: ``spin``, ``angle`` or ``real``; a field has the potential 2φ² + (φ² − 1)² besides −φφ'.
        start: First configurations `(files, L, L)`, not in the result.
        betas: Inverse temperature of each row.
        rng: Random generator.
        bonds: Couplings along both axes `(2, files, L, L)`, or one for all.
        sweeps: Sweeps between rows.
    """
    x = start.copy()
    side = x.shape[-1]
    colours = [np.indices((side, side)).sum(0) % 2 == parity for parity in (0, 1)]
    bonds = np.broadcast_to(bonds, (2, *x.shape))
    ends = [np.roll(bonds[axis], 1, axis + 1) for axis in (0, 1)]

    def energy(values: NDArray[np.float64], field: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the energy of sites in the field of their neighbours."""
        if kind == "angle":
            return -(field * np.exp(-1j * values)).real
        return -field * values + (2 * values**2 + (values**2 - 1) ** 2 if kind == "real" else 0.0)

    rows = np.empty((len(x), len(betas), side, side))
    for row, beta in enumerate(betas):
        for _ in range(sweeps):
            for colour in colours:
                s = np.exp(1j * x) if kind == "angle" else x
                field = sum(
                    bonds[axis] * np.roll(s, -1, axis + 1) + ends[axis] * np.roll(s, 1, axis + 1)
                    for axis in (0, 1)
                )
                old, field = x[:, colour], field[:, colour]
                chance = rng.random(old.shape)
                if kind == "spin":
                    x[:, colour] = np.where(chance < 1 / (1 + np.exp(-2 * beta * field)), 1.0, -1.0)
                    continue
                new = old + rng.uniform(-1.5, 1.5, old.shape)
                change = energy(new, field) - energy(old, field)
                x[:, colour] = np.where(chance < np.exp(-beta * change), new, old)
        rows[:, row] = x
    return rows


def of_kind(kind: str, rows: NDArray[np.float64]) -> Files:
    """Return the rows as they would be written."""
    if kind == "spin":
        return np.where(rows > 0, 1, -1).astype(np.int8)
    if kind == "level":
        return np.digitize(rows, [-1, 0.5]).astype(np.int8)
    return np.mod(rows, 2 * np.pi) if kind == "angle" else rows


def ordered(side: int) -> NDArray[np.float64]:
    """Return ordered configurations."""
    return np.ones((NUM_FILES, side, side))


def disordered(kind: str, side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return independent random sites."""
    if kind == "spin":
        return rng.choice([-1.0, 1.0], (NUM_FILES, side, side))
    return rng.uniform(-np.pi, np.pi, (NUM_FILES, side, side))


def ising(
    temperatures: float | NDArray[np.float64],
    rng: np.random.Generator,
    side: int = 16,
    sweeps: int = 1,
    first: int = 200,
) -> Files:
    """Return rows of Ising models, after `first` rows at the first temperature."""
    temperatures = np.broadcast_to(temperatures, NUM_ROWS)
    betas = np.concatenate([np.full(first, 1 / temperatures[0]), 1 / temperatures])
    rows = local_updates("spin", ordered(side), betas, rng, sweeps=sweeps)
    return of_kind("spin", rows[:, first:])


def fields(tau: float, rng: np.random.Generator, side: int = 4) -> NDArray[np.float64]:
    """Return AR(1) chains of Gaussian fields with a common part."""
    phi = (2 * tau - 1) / (2 * tau + 1)
    shape = (NUM_ROWS, NUM_FILES)
    noise = rng.normal(size=(*shape, side, side)) + rng.normal(size=(*shape, 1, 1))
    noise[1:] *= np.sqrt(1 - phi**2)
    for step in range(1, NUM_ROWS):
        noise[step] += phi * noise[step - 1]
    return noise.swapaxes(0, 1)


def from_order(kind: str, share: float, rng: np.random.Generator) -> Files:
    """Return fields, τ = 1, among which the order of the first row decays over a share of the rows."""
    decay = np.exp(-np.arange(NUM_ROWS) / (share * NUM_ROWS))[:, None, None]
    return of_kind(kind, (1 - decay) * fields(1.0, rng) + 4 * decay)


def replaced(kind: str, tau: float, share: float, rng: np.random.Generator) -> Files:
    """Return fields of which a share, at the beginning, has no common part."""
    rows = fields(tau, rng)
    num = round(share * NUM_ROWS)
    rows[:, :num] = np.sqrt(2) * rng.normal(size=(NUM_FILES, num, *rows.shape[2:]))
    return of_kind(kind, rows)


def glass(rng: np.random.Generator, *, turned: bool) -> Files:
    """Return rows of ±J glasses: aging from disorder, or with a tenth of the bonds turned half-way."""
    bonds = rng.choice([-1.0, 1.0], (2, NUM_FILES, 16, 16))
    start = disordered("spin", 16, rng)
    if not turned:
        return of_kind("spin", local_updates("spin", start, np.full(NUM_ROWS, 2.0), rng, bonds, 5))
    others = np.where(rng.random(bonds.shape) < 0.1, -bonds, bonds)
    betas, parts = np.full(NUM_ROWS // 2, 0.5), []
    for each in (bonds, others):
        start = local_updates("spin", start, np.full(100, 0.5), rng, each)[:, -1]
        parts.append(local_updates("spin", start, betas, rng, each, 3))
    return of_kind("spin", np.concatenate(parts, axis=1))


def balanced(rng: np.random.Generator) -> Files:
    """Return spins of equal ⟨m⟩ and ⟨ss'⟩ in both halves: a row of chains, then a square lattice."""
    start, half, parts = ordered(16), NUM_ROWS // 2, []
    # tanh of the coupling of chains is twice the mean product of neighbours on the square lattice.
    for couplings in ((0.25, 0.25), (0.53, 0.0)):
        bonds = np.broadcast_to(np.array(couplings)[:, None, None, None], (2, NUM_FILES, 16, 16))
        start = local_updates("spin", start, np.ones(100), rng, bonds)[:, -1]
        parts.append(local_updates("spin", start, np.ones(half), rng, bonds, 2))
    return of_kind("spin", np.concatenate(parts, axis=1))


def rotating(rng: np.random.Generator) -> Files:
    """Return angles of which all turn by a slow random walk."""
    start = np.zeros((NUM_FILES, 8, 8))
    rows = local_updates("angle", start, np.full(NUM_ROWS + 100, 2.0), rng, sweeps=3)[:, 100:]
    walk = np.cumsum(rng.normal(0, 0.06, (NUM_FILES, NUM_ROWS)), axis=1)
    return of_kind("angle", rows + walk[..., None, None])


def tunnelling(rng: np.random.Generator) -> Files:
    """Return fields in two wells that rarely change the well."""
    rows = local_updates("real", ordered(4), np.full(NUM_ROWS + 100, 0.9), rng, 1.1, sweeps=2)
    return rows[:, 100:]


def interleaved(rng: np.random.Generator) -> Files:
    """Return ten chains whose rows alternate."""
    chains = fields(3.0, rng).reshape(NUM_FILES, 10, NUM_ROWS // 10, 4, 4)
    return chains.swapaxes(1, 2).reshape(NUM_FILES, NUM_ROWS, 4, 4)


RAMP = np.linspace(2.1, 2.5, NUM_ROWS)
HALVES = np.repeat([2.2, 2.4], NUM_ROWS // 2)

DRIFTING: dict[str, tuple[str, Callable[[np.random.Generator], Files]]] = {
    "quench from disorder to T = 1.8, one sweep a row": (
        "spin",
        lambda rng: of_kind(
            "spin", local_updates("spin", disordered("spin", 16, rng), np.full(NUM_ROWS, 1 / 1.8), rng)
        ),
    ),
    "quench from order to T = 2.4, one sweep a row": ("spin", lambda rng: ising(2.4, rng, first=0)),
    "quench from order to T = 3, 8 × 8, two sweeps a row": (
        "spin",
        lambda rng: ising(3.0, rng, side=8, sweeps=2, first=0),
    ),
    "T = 2.2, then T = 2.4": ("spin", lambda rng: ising(HALVES, rng, sweeps=5)),
    "T from 2.1 to 2.5, one sweep a row": ("spin", lambda rng: ising(RAMP, rng)),
    **{
        f"order that decays as exp(−t/1 %), τ = 1, {kind}": (
            kind,
            lambda rng, kind=kind: from_order(kind, 0.01, rng),
        )
        for kind in KINDS
    },
    **{
        f"first 3 % without the common part, τ = 1, {kind}": (
            kind,
            lambda rng, kind=kind: replaced(kind, 1.0, 0.03, rng),
        )
        for kind in KINDS
    },
    **{
        f"first half without the common part, τ = 5, {kind}": (
            kind,
            lambda rng, kind=kind: replaced(kind, 5.0, 0.5, rng),
        )
        for kind in KINDS
    },
    "±J glass, β = 2, aging from disorder": ("spin", lambda rng: glass(rng, turned=False)),
    "±J glass, β = 0.5, a tenth of the bonds turned half-way": (
        "spin",
        lambda rng: glass(rng, turned=True),
    ),
    "square lattice, then chains with as large products of neighbours": ("spin", balanced),
}
STATIONARY: dict[str, tuple[str, Callable[[np.random.Generator], Files]]] = {
    **{
        f"Gaussian fields with a common part, τ = {tau:g}, {kind}": (
            kind,
            lambda rng, kind=kind, tau=tau: of_kind(kind, fields(tau, rng)),
        )
        for kind, taus in {
            "spin": (0.5, 1, 2, 5, 10, 20, 50),
            "level": (0.5, 5, 20),
            "angle": (0.5, 5, 20),
            "real": (0.5, 5, 20),
        }.items()
        for tau in taus
    },
    "Ising at T_c, 20 sweeps a row": ("spin", lambda rng: ising(T_C, rng, sweeps=20)),
    "Ising at T = 2.2, 8 × 8, one sweep a row": ("spin", lambda rng: ising(2.2, rng, side=8)),
    "Ising at T = 2, 8 × 8, one sweep a row": ("spin", lambda rng: ising(2.0, rng, side=8)),
    "XY at T = 0.5, rotating": ("angle", rotating),
    "φ⁴ in two wells": ("real", tunnelling),
    "ten chains, interleaved": ("real", interleaved),
}


def told(kind: str, rows: Files) -> tuple[bool, ...]:
    """Return which warnings the report of a file has."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "rows.npy")
        np.save(path, rows)
        system = Recorded(str(path), values=kind, boundary="periodic")
        with contextlib.redirect_stdout(io.StringIO()):
            doubts = " ".join(system.data.doubts)
    words = ("not in equilibrium", "too seldom", "too few to tell how far", "apart are alike")
    return tuple(word in doubts for word in words)


def line(*cells: object) -> str:
    """Return a line of the table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def main(names: Sequence[str]) -> None:
    """Measure the lines with these parts of names, or all of the table."""
    lines = [line(*COLUMNS), "|" + "---|" * len(COLUMNS)]
    for number, (title, (kind, make)) in enumerate((DRIFTING | STATIONARY).items()):
        if names and not any(name in title for name in names):
            continue
        files = make(np.random.default_rng([number, 7]))
        start = time.process_time()
        counts = np.sum([told(kind, rows) for rows in files], axis=0)
        sites = " × ".join(map(str, files.shape[2:]))
        lines.append(line(title, sites, *(f"{count}" for count in counts)))
        print(lines[-1], f"{(time.process_time() - start) / len(files):.3f} s", flush=True)
    if not names:
        page = Path("benchmarks/README.md")
        between = re.compile(r"(<!-- equilibrium -->\n).*(\n<!-- /equilibrium -->)", re.DOTALL)
        table = "\n".join(lines)
        page.write_text(between.sub(lambda match: match[1] + table + match[2], page.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
