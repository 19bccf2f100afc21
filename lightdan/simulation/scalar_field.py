"""Hybrid Monte Carlo of the scalar φ⁴ theory on a periodic lattice."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightdan.simulation import chains
from lightdan.simulation.hmc import HybridMonteCarlo
from lightdan.simulation.simulation import Simulation

OBSERVABLES = ("action", "abs_magnetization", "phi2")
NUM_CHAINS = 64
TRAJECTORIES_PER_CALL = 8


def action_and_gradient(
    fields: NDArray[np.float64], hopping: float, coupling: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return S ``(M,)`` and ∂S/∂φ ``(M, *shape)`` of fields ``(M, *shape)``.

        S = Σ_x [−2κ Σ_μ φ_x φ_{x+μ} + φ_x² + λ (φ_x² − 1)²]

    A side of length 2 has each of its bonds twice, a side of length 1 has none.
    """
    axes = [axis for axis in range(1, fields.ndim) if fields.shape[axis] > 1]
    ahead = sum((np.roll(fields, -1, axis) for axis in axes), np.zeros_like(fields))
    behind = sum((np.roll(fields, 1, axis) for axis in axes), np.zeros_like(fields))
    with np.errstate(over="ignore", invalid="ignore"):
        square = fields * fields
        density = -2 * hopping * fields * ahead + square + coupling * (square - 1) ** 2
        gradient = -2 * hopping * (ahead + behind) + 2 * fields + 4 * coupling * (square - 1) * fields
    return density.reshape(len(fields), -1).sum(1), gradient


def simulate(
    shape: Sequence[int],
    hopping: float,
    coupling: float,
    num_configurations: int,
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Draw from e^{−S}/Z, each row with a random global sign.

    Args:
        shape: One or two side lengths.
        hopping: Hopping parameter κ.
        coupling: Coupling λ.
        num_configurations: Number of rows.
        seed: Random seed; it determines every field.
        progress: Callback that receives the number of new configurations.
    """
    shape = tuple(shape)
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(NUM_CHAINS, *shape)) + rng.normal(size=(NUM_CHAINS, *[1] * len(shape)))
    sampler = HybridMonteCarlo(lambda x: action_and_gradient(x, hopping, coupling), start, rng)

    def advance(rows: NDArray[Any], spacing: int) -> None:
        sampler.advance(rows, spacing)
        rows *= rng.choice(np.array([-1, 1], rows.dtype), (*rows.shape[:2], 1))

    def observables(rows: NDArray[Any]) -> NDArray[np.float64]:
        fields = rows.reshape(-1, *shape).astype(np.float64)
        flat = fields.reshape(len(fields), -1)
        values = [
            action_and_gradient(fields, hopping, coupling)[0],
            np.abs(flat.mean(1)),
            (flat**2).mean(1),
        ]
        return np.stack(values).reshape(len(values), *rows.shape[:2])

    configurations, taus, spacing = chains.run(
        NUM_CHAINS,
        advance,
        observables,
        num_configurations,
        start[0].size,
        dtype=np.float32,
        updates_per_call=TRAJECTORIES_PER_CALL,
        progress=progress,
    )
    tau = dict(zip(OBSERVABLES, taus, strict=True))
    return Simulation(configurations.reshape(-1, *shape), tau, spacing)
