"""Markov chains of paths in imaginary time: local Metropolis updates, and hybrid Monte Carlo."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numba
import numpy as np
from numpy.typing import NDArray

from lightdan.simulation import chains, virial
from lightdan.simulation.hmc import HybridMonteCarlo
from lightdan.simulation.simulation import Simulation

Array = NDArray[np.float64]
Function = Callable[[Any], Any]
HMC_CHAINS = 64
MAX_SWEEPS = 1024
SITES_PER_CALL = 2**19
TUNING_SWEEPS = 200


def action(paths: Array, potential: Function, beta: float) -> Array:
    """Return S = Σ_i [(x_{i+1} − x_i)²/2a + a V(x_i)], x_N = x_0, a = β/N; ``(M, N)`` -> ``(M,)``."""
    a = beta / paths.shape[1]
    kinetic = ((np.roll(paths, -1, 1) - paths) ** 2).sum(1) / (2 * a)
    total: Array = kinetic + a * potential(paths).sum(1)
    return total


def metropolis(
    potential: Function,
    beta: float,
    num_slices: int,
    num_configurations: int,
    *,
    symmetric: bool = False,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Draw paths by Metropolis sweeps that move one slice after another.

    A proposal is uniform within a width that a warm-up tunes to an acceptance of one half.
    `chains.run` chooses the number of sweeps between two rows, at most 1,024. It keeps τ below one row
    for S, x², the number of sign changes and, unless V is symmetric, x.

    Args:
        potential: Potential V of one number, in code that numba can compile.
        beta: Inverse temperature β, with ħ = m = 1.
        num_slices: Number N of time slices.
        num_configurations: Number of rows.
        symmetric: Whether V(x) = V(−x); if so, each row is reflected at random.
        seed: Random seed; it determines every path.
        progress: Callback that receives the number of new configurations.

    Raises:
        ValueError: numba cannot compile the potential.

    References:
        M. Creutz and B. Freedman, Ann. Phys. 132, 427 (1981).
    """
    try:
        compiled: Any = numba.njit(potential, nogil=True)
        compiled(0.5)
    except Exception as error:
        raise ValueError(
            f"numba cannot compile the potential for the Metropolis sweeps ({type(error).__name__}): "
            "write it in plain arithmetic of one number, or use another sampler."
        ) from error
    spacing = beta / num_slices
    paths = []
    advance = cast(Any, _advance)
    for index, rng in enumerate(chains.generators(seed)):
        path = rng.normal(size=num_slices) * (0.1 + index % 4)
        width = _tune(path, rng, compiled, spacing)
        paths.append(_Chain(path, rng, width))
    rows, tau, updates = chains.run(
        len(paths),
        chains.in_threads(
            lambda out, chain, sweeps: advance(out, *chain, compiled, spacing, symmetric, sweeps),
            paths,
        ),
        lambda rows: _observables(rows, potential, beta, symmetric),
        num_configurations,
        num_slices,
        dtype=np.float32,
        updates_per_call=max(1, SITES_PER_CALL // num_slices),
        max_spacing=MAX_SWEEPS,
        progress=progress,
    )
    virial.warn_unless_in_equilibrium(lambda x: action(x, potential, beta), rows, len(paths))
    return Simulation(rows, dict(zip(_names(symmetric), tau, strict=True)), updates)


def hmc(
    potential: Function,
    derivative: Function,
    beta: float,
    num_slices: int,
    num_configurations: int,
    *,
    symmetric: bool = False,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Draw paths by hybrid Monte Carlo with Fourier acceleration in 64 parallel chains.

    Args:
        potential: Potential V of an array, elementwise.
        derivative: Derivative V' of an array, elementwise.
        beta: Inverse temperature β, with ħ = m = 1.
        num_slices: Number N of time slices.
        num_configurations: Number of rows.
        symmetric: Whether V(x) = V(−x); if so, each row is reflected at random.
        seed: Random seed; it determines every path.
        progress: Callback that receives the number of new configurations.
    """
    a = beta / num_slices

    def action_and_gradient(x: Array) -> tuple[Array, Array]:
        with np.errstate(over="ignore", invalid="ignore"):
            laplacian = np.roll(x, 1, 1) + np.roll(x, -1, 1) - 2 * x
            return action(x, potential, beta), -laplacian / a + a * derivative(x)

    rng = np.random.default_rng(seed)
    start = rng.normal(size=(HMC_CHAINS, 1)) + 0.1 * rng.normal(size=(HMC_CHAINS, num_slices))
    sampler = HybridMonteCarlo(action_and_gradient, start, rng)

    def advance(rows: NDArray[Any], spacing: int) -> None:
        sampler.advance(rows, spacing)
        if symmetric:
            rows *= rng.choice(np.array([-1, 1], rows.dtype), (*rows.shape[:2], 1))

    rows, tau, updates = chains.run(
        HMC_CHAINS,
        advance,
        lambda rows: _observables(rows, potential, beta, symmetric),
        num_configurations,
        num_slices,
        dtype=np.float32,
        updates_per_call=16,
        progress=progress,
    )
    virial.warn_unless_in_equilibrium(lambda x: action(x, potential, beta), rows, HMC_CHAINS)
    return Simulation(rows, dict(zip(_names(symmetric), tau, strict=True)), updates)


class _Chain(NamedTuple):
    """A path, its random generator and the width of its proposals."""

    path: Array
    rng: np.random.Generator
    width: float


def _names(symmetric: bool) -> tuple[str, ...]:
    return ("action", "x2", "sign_changes") + (() if symmetric else ("x",))


def _observables(rows: NDArray[Any], potential: Function, beta: float, symmetric: bool) -> Array:
    """Return the observables of `_names`, ``(chains, rows, N)`` -> ``(observables, chains, rows)``."""
    paths = rows.reshape(-1, rows.shape[2]).astype(np.float64)
    changes = (np.signbit(paths) != np.signbit(np.roll(paths, -1, 1))).sum(1)
    values = [action(paths, potential, beta), (paths**2).mean(1), changes.astype(np.float64)]
    if not symmetric:
        values.append(paths.mean(1))
    return np.stack(values).reshape(len(values), *rows.shape[:2])


def _tune(path: Array, rng: np.random.Generator, potential: Function, spacing: float) -> float:
    """Return the width at which half of the proposals are accepted, and equilibrate the path."""
    width = math.sqrt(spacing)
    for step in range(TUNING_SWEEPS):
        accepted = _sweep(path, rng, width, potential, spacing)
        width *= math.exp((accepted - 0.5) / math.sqrt(1.0 + step / 8))
    return width


@numba.njit(nogil=True)
def _sweep(
    path: Array, rng: np.random.Generator, width: float, potential: Function, spacing: float
) -> float:
    """Propose a new value at every slice and return the accepted fraction."""
    n = len(path)
    accepted = 0
    for i in range(n):
        old = path[i]
        new = old + width * (rng.random() - 0.5)
        neighbours = path[i - 1] + path[i + 1 - n]
        # (y − x)² + (x − z)² = 2x² − 2x (y + z) + …
        change = (new - old) * (new + old - neighbours) / spacing
        change += spacing * (potential(new) - potential(old))
        if change <= 0.0 or rng.random() < math.exp(-change):
            path[i] = new
            accepted += 1
    return accepted / n


@numba.njit(nogil=True)
def _advance(
    rows: NDArray[np.float32],
    path: Array,
    rng: np.random.Generator,
    width: float,
    potential: Function,
    spacing: float,
    symmetric: bool,
    sweeps: int,
) -> None:
    """Fill ``rows`` with the path after every ``sweeps`` sweeps."""
    for row in rows:
        for _ in range(sweeps):
            _sweep(path, rng, width, potential, spacing)
        sign = -1.0 if symmetric and rng.random() < 0.5 else 1.0
        for i in range(len(path)):
            row[i] = sign * path[i]
