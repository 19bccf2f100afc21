"""Large periodic films of spins with uniform interactions, cooled from disorder."""

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from lightdan.statistics import Estimate, autocorrelation_time, mean

HOTTEST = 4.0
"""First temperature of the cooling, in units of √Σ J² over the terms of a site, at least 2 T."""
COOLING = 1_000
"""Number of sweeps from the first temperature to T."""
SETTLING = 500
"""Number of sweeps at T after which the energy is first compared with what it was."""
LONGEST = 4_000
"""Largest number of sweeps at T."""
TOLERANCE = 1e-3
"""Change of the energy that counts as none, relative to the `strength` of the interaction."""
INTERVAL = 5
"""Number of sweeps between two energies."""
FEWEST_TIMES = 16
"""Autocorrelation times of the energy that a third of the sweeps must last to tell an error."""


class Stencil(NamedTuple):
    """A Hamiltonian of spins ±1 that is the same everywhere, in units of the temperature.

        −H = h Σ_x s_x + ½ Σ_{x,d} J_d s_x s_{x+d} + Σ_x Σ_k K_k s_x Π_n s_{x+d_kn}/n_k

    Args:
        field: h.
        pairs: J_d with d = 0 in the middle `(2R + 1, 2R + 1)`; J_d = J_{−d} and J_0 = 0.
        couplings: K_k of the products of n_k ≥ 3 spins, listed once for each of their spins `(terms,)`.
        ends: First step of each product, and the number of all `(terms + 1,)`.
        steps: Steps d_kn from a spin to the others of its products `(steps, 2)`.
    """

    field: float
    pairs: NDArray[np.float64]
    couplings: NDArray[np.float64]
    ends: NDArray[np.intp]
    steps: NDArray[np.intp]

    @classmethod
    def of_pairs(cls, pairs: NDArray[np.float64]) -> "Stencil":
        """Return a Hamiltonian of pairs only, J_d `(2R + 1, 2R + 1)`."""
        none = np.empty((0, 2), np.intp)
        return cls(0.0, pairs, np.empty(0), np.zeros(1, np.intp), none)

    @property
    def strength(self) -> float:
        """√Σ J² over the terms of a spin: the scale of its energy among free spins."""
        squares = np.square(self.pairs).sum() + np.square(self.couplings).sum() + self.field**2
        return float(np.sqrt(squares))


class Film:
    """A periodic film whose spins are drawn anew one after the other, given all others.

    The fields that pairs exert are kept, and changed around a spin that flips. A sweep over large
    domains thus takes hardly longer with distant pairs.

    Args:
        stencil: Hamiltonian, in units of the temperature.
        spins: First spins `(rows, columns)`.
        rng: Random generator.

    Raises:
        ValueError: A side is shorter than the interaction reaches around the torus.
    """

    def __init__(self, stencil: Stencil, spins: NDArray[Any], rng: np.random.Generator) -> None:
        least = max(len(stencil.pairs), 1 + 2 * int(np.abs(stencil.steps).max(initial=0)))
        if min(spins.shape) < least:
            raise ValueError(
                f"A film of {' × '.join(map(str, spins.shape))} sites is too small for interactions "
                f"that reach {least // 2} sites: use sides of at least {least}."
            )
        self.spins, self.rng = np.array(spins, dtype=np.float64), rng
        self.set(stencil)

    @classmethod
    def disordered(cls, stencil: Stencil, shape: tuple[int, int], rng: np.random.Generator) -> "Film":
        """Return a film of independent random spins."""
        return cls(stencil, rng.choice(np.array([-1.0, 1.0]), shape), rng)

    def set(self, stencil: Stencil) -> None:
        """Change the Hamiltonian and keep the spins."""
        self.stencil = stencil
        self.fields = np.full(self.spins.shape, stencil.field)
        reach = len(stencil.pairs) // 2
        for (x, y), coupling in np.ndenumerate(stencil.pairs):
            if coupling:
                self.fields += coupling * np.roll(self.spins, (reach - x, reach - y), (0, 1))

    def sweep(self, num: int, temperature: float = 1.0) -> None:
        """Draw all spins anew, several times.

        Args:
            num: Number of sweeps.
            temperature: Temperature, in units of that of the couplings.
        """
        _sweep(self.spins, self.fields, self.stencil, 1.0 / temperature, num, self.rng)

    def cool(self, num: int) -> None:
        """Sweep while the temperature falls by equal factors, from nearly free spins to T.

        Args:
            num: Number of sweeps.
        """
        for temperature in np.geomspace(max(2.0, HOTTEST * self.stencil.strength), 1.0, num):
            self.sweep(1, float(temperature))

    def energy(self) -> float:
        """Return H per site."""
        products = np.zeros_like(self.spins)
        for k, coupling in enumerate(self.stencil.couplings):
            steps = self.stencil.steps[self.stencil.ends[k] : self.stencil.ends[k + 1]]
            term = np.full_like(self.spins, coupling / (1 + len(steps)))
            for step in steps:
                term *= np.roll(self.spins, tuple(-step), (0, 1))
            products += term
        own = (self.fields + self.stencil.field) / 2 + products
        return -float((self.spins * own).mean())


class Cooled(NamedTuple):
    """A film after its cooling.

    Args:
        spins: Spins ±1 in int8 `(rows, columns)`.
        sweeps: Number of sweeps at T.
        drift: Change of the energy per site between the middle and the last third of these sweeps.
        settled: Whether the drift is within the noise or the tolerance.
    """

    spins: NDArray[np.int8]
    sweeps: int
    drift: Estimate
    settled: bool


def cool(stencil: Stencil, shape: tuple[int, int], seed: int | np.random.Generator) -> Cooled:
    """Return a periodic film that was cooled slowly from disorder to T, as a real one is.

    The temperature falls from where spins are nearly free to T by equal factors. Sweeps at T follow,
    until the energy of the last third differs from that of the third before by less than three errors
    or than `TOLERANCE`. Only the latter counts if the thirds are too short to tell an error.

    A labyrinth of stripes is not the state of lowest free energy, but lasts.

    Args:
        stencil: Hamiltonian, in units of T.
        shape: Numbers of rows and columns.
        seed: Random seed, or a generator.

    Raises:
        ValueError: A side is shorter than the interaction reaches around the torus.
    """
    film = Film.disordered(stencil, shape, np.random.default_rng(seed))
    film.cool(COOLING)
    energies: list[float] = []
    rounds = SETTLING
    while True:
        while len(energies) * INTERVAL < rounds:
            film.sweep(INTERVAL)
            energies.append(film.energy())
        third = len(energies) // 3
        thirds = energies[third:-third], energies[-third:]
        before, after = (mean(part) for part in thirds)
        # A third that is too short for its τ tells no error, as while the energy still falls.
        told = all(FEWEST_TIMES * autocorrelation_time(part).value <= len(part) for part in thirds)
        error = float(np.hypot(before.error, after.error)) if told else math.inf
        drift = Estimate(after.value - before.value, error)
        noise = 3 * drift.error if math.isfinite(drift.error) else 0.0
        settled = bool(abs(drift.value) < max(noise, TOLERANCE * stencil.strength))
        if settled or rounds >= LONGEST:
            return Cooled(film.spins.astype(np.int8), rounds, drift, settled)
        rounds *= 2


def windows(spins: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Return the windows of a film side by side `(M, *shape)`, without what is left at the edges.

    Args:
        spins: Spins `(rows, columns)`.
        shape: Rows and columns of a window.
    """
    (height, width), (down, right) = (
        shape,
        (n // side for n, side in zip(spins.shape, shape, strict=True)),
    )
    tiles = spins[: down * height, : right * width].reshape(down, height, right, width)
    return tiles.swapaxes(1, 2).reshape(-1, height, width)


@numba.njit(cache=True, nogil=True)
def _sweep(spins: Any, fields: Any, stencil: Any, beta: float, num: int, rng: Any) -> None:
    """Draw all spins from their conditionals row by row, and keep the fields of their pairs."""
    rows, columns = spins.shape
    pairs, couplings, ends, steps = stencil.pairs, stencil.couplings, stencil.ends, stencil.steps
    reach, width = len(pairs) // 2, len(pairs)
    for _ in range(num):
        for x in range(rows):
            for y in range(columns):
                total = fields[x, y]
                for k in range(len(couplings)):
                    product = couplings[k]
                    for n in range(ends[k], ends[k + 1]):
                        product *= spins[(x + steps[n, 0]) % rows, (y + steps[n, 1]) % columns]
                    total += product
                spin = 1.0 if rng.random() * (1.0 + np.exp(-2.0 * beta * total)) < 1.0 else -1.0
                if spin == spins[x, y]:
                    continue
                spins[x, y] = spin
                inside = reach <= y < columns - reach
                for a in range(width):
                    row = fields[(x + a - reach) % rows]
                    if inside:
                        part = row[y - reach : y + reach + 1]
                        for b in range(width):
                            part[b] += 2.0 * spin * pairs[a, b]
                    else:
                        for b in range(width):
                            row[(y + b - reach) % columns] += 2.0 * spin * pairs[a, b]
