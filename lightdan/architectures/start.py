"""Start of a fit: network, symmetries, draws and prior, as held-out configurations choose them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from lightdan.architectures.linear_start import set_linear_part
from lightdan.architectures.made import MADE
from lightdan.architectures.rehearsal import Draws
from lightdan.data.splits import derive_seed
from lightdan.interactions.all_pairs import choose_width, fit_all_pairs
from lightdan.interactions.gaussian import best_normal
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.observations import Observations
from lightdan.interactions.operators import operators_of_terms
from lightdan.interactions.pairwise import pairwise
from lightdan.interactions.regressions import Regression, Sites, best_regression, regress
from lightdan.interactions.uniform_fit import UniformFit, UniformModel, choose_uniform, split
from lightdan.progress import progress_bar
from lightdan.simulation import explicit, terms
from lightdan.statistics import Estimate, mean
from lightdan.types import Configurations

LIMIT = 50_000
"""Largest number of configurations to which a start is fitted."""
LIMIT_FEATURES = 5_000_000
"""Largest number of features of sites in them."""
DRAWN_SITES = 2_500_000
"""Number of sites in all configurations drawn from a uniform Hamiltonian, which symmetries augment."""
DRAWN_PAIRED = 10_000_000
"""Number of sites in all configurations drawn from all pairs of spins."""
MOST_DRAWS = 200_000
"""Largest number of configurations drawn."""
MOST_SPACING = 32
"""Largest number of updates between two of them."""
WIDE = 3.0
"""Width of the prior of regressions to draws, of which there are many."""
MOST_PAIRED = 100
"""Largest number of sites for draws from a Hamiltonian of all pairs."""
SPATIAL = ("translation", "rotation", "reflection")
INTERNAL = ("spin_rotation", "spin_reflection", "z2")


class Start(NamedTuple):
    """Network, symmetries, draws and prior of a fit.

    Args:
        network: Name of the network.
        reason: Sentence that says what won and by how much.
        symmetries: Symmetries that the data keep.
        draws: Draws from the local Hamiltonian, which the first steps learn.
        prior_width: Width of the Gaussian prior of the weights of MADE.
        weights: Initial weights of MADE.
    """

    network: str
    reason: str
    symmetries: tuple[str, ...] = ()
    draws: Draws | None = None
    prior_width: float | None = None
    weights: Mapping[str, Tensor] | None = None


def choose_start(system: LightningDataModule, made: Callable[[], MADE]) -> Start:
    """Choose the start of a fit to the training configurations of a system.

    Args:
        system: System with data.
        made: Function that returns an untrained MADE for the system.
    """
    lattice = is_lattice(system)
    if len(system.temperatures) > 1 or system.control_names:
        name = "PixelCNN" if lattice else "MADE"
        return Start(name, "at several temperatures or with controls, only the lattice decides")
    rows = training_rows(system)
    if lattice:
        with progress_bar("Local Hamiltonian", None):
            uniform = choose_uniform(uniform_model(system), rows)
        if uniform is not None and (uniform.gain is None or uniform.gain.value > 0):
            model = uniform.model
            symmetries = (*model.internal, *model.spatial)
            reason = (
                f"uniform pairs up to distance {model.max_distance:g} with the symmetries "
                f"{', '.join(symmetries) or 'none'} explain held-out configurations best"
            )
            if uniform.gain is not None:
                reason += f", by {uniform.gain} nats of pseudo-likelihood over all pairs"
            return Start("PixelCNN", reason, symmetries, uniform_draws(model, rows, system.seed))
    if not system.levels:
        return continuous_start(rows, system)
    return linear_start(rows, made(), system)


def linear_start(rows: Configurations, network: MADE, system: LightningDataModule) -> Start:
    """Return MADE as a linear regression to the data, or to draws from all pairs of spins.

    Args:
        rows: Training configurations `(M, *lattice)` in random order.
        network: Untrained network, which is changed.
        system: System of the configurations.
    """
    # Other conditionals of spins see them as levels.
    kind = "spin" if network.conditional.num_parameters == 1 else "level"
    sites = Sites(kind, tuple(system.levels))

    def regression(configurations: Tensor, width: float | None = None) -> Regression:
        observations = Observations(network.ordering.arrange(configurations))
        if width is not None:
            return regress(observations, sites, before=True, width=width)
        return best_regression(observations, sites, before=True)

    train, held_out = split(rows, len(rows))
    arranged = network.ordering.arrange(held_out)
    chosen = regression(train)
    reason = f"a linear regression with a prior of width {chosen.width:g}"
    if system.site_kind == "spin" and network.num_sites <= MOST_PAIRED:
        drawn = draws(all_pairs(train, system), DRAWN_PAIRED, system.seed)
        of_draws = regression(drawn.configurations.to(rows), WIDE)
        gain = mean(of_draws.log_prob(arranged) - chosen.log_prob(arranged))
        # All pairs do not depend on the order of the sites, and the network improves on the regression.
        if gain.value > -2 * gain.error:
            drawn = draws(all_pairs(rows, system), DRAWN_PAIRED, system.seed)
            width = set_linear_part(network, regression(drawn.configurations.to(rows), WIDE))
            reason = (
                "a regression to draws from all pairs is not worse than one to the data: its gain is "
                f"{gain} nats"
            )
            return Start("MADE", reason, (), drawn, width, network.state_dict())
        size = Estimate(-gain.value, gain.error)
        reason += f" is better than one to draws from all pairs by {size} nats"
    width = set_linear_part(network, regression(rows))
    return Start("MADE", reason, (), draws_of_network(network, system.seed), width, network.state_dict())


def continuous_start(rows: Configurations, system: LightningDataModule) -> Start:
    """Return MADE with draws from a normal distribution, or from the pairs of angles.

    Args:
        rows: Training configurations `(M, *lattice)` in random order.
        system: System of the configurations.
    """
    num = min(MOST_DRAWS, math.ceil(DRAWN_SITES / system.num_sites))
    if system.site_kind == "real":
        normal = best_normal(Observations(rows))
        noise = np.random.default_rng(system.seed).normal(size=(num, system.num_sites))
        drawn = normal.mean + normal.deviation * (noise @ normal.factor.T)
        action = (noise**2).sum(1) / 2
        reason = "its draws are from the normal distribution that held-out configurations prefer"
    else:
        sites = Sites("angle")
        pairs = pairwise(best_regression(Observations(rows), sites, before=False))
        run = explicit.simulate(pairs, 1.0, num, seed=system.seed, max_spacing=MOST_SPACING)
        drawn, action = run.configurations, terms.energies(run.configurations, pairs)
        reason = "its draws are from all pairs of angles"
    return Start("MADE", reason, (), of_arrays(drawn, action, system.lattice_shape))


def is_lattice(system: LightningDataModule) -> bool:
    """Return whether displacements between sites may matter: in a plane, a ring or a window."""
    sides = [side for side in system.lattice_shape if side > 1]
    if len(system.lattice_shape) > 2:
        return False
    return len(sides) == 2 or (len(sides) == 1 and system.boundary != "open")


def uniform_model(system: LightningDataModule) -> UniformModel:
    """Return the interaction with all symmetries that the system declares."""
    declared = system.symmetries
    return UniformModel(
        tuple(system.lattice_shape),
        system.boundary,
        tuple(name for name in SPATIAL if name in declared),
        tuple(name for name in INTERNAL if name in declared and system.site_kind != "level"),
        1.0,
        system.site_kind,
        tuple(system.levels),
    )


def training_rows(system: LightningDataModule) -> Configurations:
    """Return training configurations in random order, drawn by their weights if any."""
    features = system.num_sites * max(1, len(system.levels) - 1)
    num = min(LIMIT, math.ceil(LIMIT_FEATURES / features), system.data.num_in("train"))
    loader = system.data.loader("train", num, seed=derive_seed(system.seed, 1))
    rows: Tensor = next(iter(loader)).configurations
    return rows.cpu()


def all_pairs(rows: Configurations, system: LightningDataModule) -> ExplicitHamiltonian:
    """Return the Hamiltonian of all pairs of spins, with the width that held-out ones choose."""
    graph = fit_all_pairs(rows, choose_width(rows), errors=False)
    operators = operators_of_terms(graph.terms)
    return ExplicitHamiltonian.from_couplings(system.lattice_shape, operators, graph.values[:, 0])


def uniform_draws(model: UniformModel, rows: Configurations, seed: int) -> Draws | None:
    """Return draws from a uniform Hamiltonian fitted to rows, or None if it cannot be simulated."""
    try:
        return draws(UniformFit.of(model, rows).hamiltonian(), DRAWN_SITES, seed)
    except (ValueError, RuntimeError):  # undetermined, or without a lower bound
        return None


def draws(hamiltonian: ExplicitHamiltonian, sites: int, seed: int) -> Draws:
    """Draw configurations from a Hamiltonian in units of the temperature.

    Args:
        hamiltonian: Hamiltonian.
        sites: Number of sites in all configurations.
        seed: Random seed.

    Raises:
        ValueError: The Hamiltonian has no lower bound.
    """
    num = min(MOST_DRAWS, math.ceil(sites / hamiltonian.num_sites))
    with progress_bar("Draws from the local Hamiltonian", num) as advance:
        run = hamiltonian.simulate(1.0, num, derive_seed(seed, 2), advance, MOST_SPACING)
    action = hamiltonian.energy(run.configurations)
    return of_arrays(run.configurations, action, hamiltonian.lattice_shape)


def draws_of_network(network: MADE, seed: int) -> Draws:
    """Draw configurations from a network, whose S is −ln p."""
    num = min(MOST_DRAWS, math.ceil(DRAWN_SITES / network.num_sites))
    with torch.no_grad():
        drawn = network.sample(num, derive_seed(seed, 2))
        log_prob = torch.cat([network.log_prob(part) for part in drawn.split(1_000)])
    return Draws(drawn, -log_prob)


def of_arrays(configurations: np.ndarray, action: np.ndarray, shape: Sequence[int]) -> Draws:
    """Return draws of configurations `(M, …)` with their S `(M,)`, which is centred for precision."""
    rows = configurations.reshape(-1, *shape)
    if rows.dtype == np.float64:
        rows = rows.astype(np.float32)
    centred = (action - action.mean()).astype(np.float32)
    return Draws(torch.from_numpy(rows), torch.from_numpy(centred))
