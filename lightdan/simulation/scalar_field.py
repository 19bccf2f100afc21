"""Monte-Carlo simulation of the scalar φ⁴ theory on a periodic lattice."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightdan.simulation import chains, explicit, gaussian_field, terms, virial
from lightdan.simulation.simulation import Simulation
from lightdan.simulation.terms import Terms

OBSERVABLES = ("action", "abs_magnetization", "phi2")


def simulate(
    shape: Sequence[int],
    hopping: float,
    coupling: float,
    num_configurations: int,
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n: None,
) -> Simulation:
    """Draw from e^{−S}/Z, each row with a random global sign and translation.

        S = Σ_x [−2κ Σ_μ φ_x φ_{x+μ} + φ_x² + λ (φ_x² − 1)²]

    A side of length 2 has each of its bonds twice, a side of length 1 has none. An update is a sweep by
    slice sampling, which crosses the barrier of a site, and one cluster that changes its sign. Half of
    the chains start aligned. `chains.run` chooses the number of updates between two rows. At λ = 0 the
    fields are independent draws by the Fourier transform.

    Args:
        shape: Side lengths, in any number of dimensions.
        hopping: Hopping parameter κ.
        coupling: Coupling λ.
        num_configurations: Number of rows.
        seed: Random seed; it determines every field.
        progress: Callback that receives the number of new configurations.
    """
    shape = tuple(shape)
    num_sites = math.prod(shape)
    axes = [axis for axis, side in enumerate(shape) if side > 1]
    if coupling == 0:
        waves = np.meshgrid(*[2 * np.pi * np.arange(side) / side for side in shape], indexing="ij")
        cosines = sum((np.cos(waves[axis]) for axis in axes), np.zeros(shape))
        return gaussian_field.simulate(2 - 4 * hopping * cosines, num_configurations, seed, progress)
    sites = np.arange(num_sites).reshape(shape)
    bonds = [np.stack([sites.ravel(), np.roll(sites, -1, axis).ravel()], 1) for axis in axes]
    alone = sites.reshape(-1, 1)
    groups = [Terms(pairs, (1, 1), 2 * hopping) for pairs in bonds if hopping]
    groups += [Terms(alone, (2,), 2 * coupling - 1), Terms(alone, (4,), -coupling)]
    interactions = terms.gather("real", num_sites, groups)

    def action(fields: NDArray[np.float64]) -> NDArray[np.float64]:
        return terms.energies(fields, interactions) + coupling * num_sites

    sweep = explicit.advance_all(interactions, np.ones(1), seed)
    rng = np.random.default_rng([seed, 1])

    def advance(rows: NDArray[Any], spacing: int) -> None:
        sweep(rows, spacing)
        # Walls of a frustrated field move slowly; S does not tell where they are.
        fields = rows.reshape(*rows.shape[:2], *shape)
        for axis in axes:
            places = rng.integers(shape[axis], size=(*rows.shape[:2], *[1] * len(shape)))
            along = np.arange(shape[axis]).reshape([-1 if k == axis else 1 for k in range(len(shape))])
            fields = np.take_along_axis(fields, (along + places) % shape[axis], 2 + axis)
        rows[:] = fields.reshape(rows.shape)

    def observables(rows: NDArray[Any]) -> NDArray[np.float64]:
        flat = rows.reshape(-1, num_sites).astype(np.float64)
        values = [action(flat), np.abs(flat.mean(1)), (flat**2).mean(1)]
        return np.stack(values).reshape(len(values), *rows.shape[:2])

    configurations, taus, spacing = chains.run(
        chains.NUM_CHAINS,
        advance,
        observables,
        num_configurations,
        num_sites,
        dtype=np.float32,
        updates_per_call=max(1, explicit.SITES_PER_CALL // num_sites),
        progress=progress,
    )
    virial.warn_unless_in_equilibrium(action, configurations, chains.NUM_CHAINS)
    tau = dict(zip(OBSERVABLES, taus, strict=True))
    return Simulation(configurations.reshape(-1, *shape), tau, spacing)
