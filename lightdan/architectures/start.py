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
from lightdan.interactions.all_pairs import fit_all_pairs
from lightdan.interactions.choice import choose
from lightdan.interactions.gaussian import best_normal
from lightdan.interactions.graph_fit import GraphFit
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.observations import Observations
from lightdan.interactions.operators import operators_of_terms
from lightdan.interactions.pairwise import pairwise
from lightdan.interactions.regressions import Regression, Sites, best_regression, regress
from lightdan.interactions.search import TermSearch
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
MOST_AXES = 3
"""Largest number of axes of cells that `PixelCNN` takes."""
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
    """Return MADE as the linear regression that follows from pairs, or as one to the data.

    Args:
        rows: Training configurations `(M, *lattice)`, their blocks in random order.
        network: Untrained network, which is changed.
        system: System of the configurations.
    """
    # Other conditionals of spins see them as levels.
    spins = network.conditional.num_parameters == 1
    sites = Sites("spin" if spins else "level", tuple(system.levels))
    arranged = network.ordering.arrange(rows)
    if not spins or network.num_sites > MOST_PAIRED:
        width = set_linear_part(network, best_regression(Observations(arranged), sites, before=True))
        reason = "the sites have no order in space; it starts as the linear regression on those before"
        return Start("MADE", reason, (), None, width, network.state_dict())
    train, held_out = split(arranged, len(rows))

    def implied(pairs: Pairs) -> tuple[Regression, Draws]:
        """Return draws from pairs, and the regressions fitted to them."""
        operators, couplings = operators_of_terms(pairs.graph.terms), pairs.graph.values[:, 0]
        hamiltonian = ExplicitHamiltonian.from_couplings(system.lattice_shape, operators, couplings)
        drawn = draws(hamiltonian, DRAWN_PAIRED, system.seed)
        observations = Observations(drawn.configurations.to(rows))
        return regress(observations, sites, before=True, width=WIDE), drawn

    pairs = Pairs.of(train)
    to_data = regress(Observations(train), sites, before=True, width=pairs.width)
    of_pairs, _ = implied(pairs)
    gain = mean(of_pairs.log_prob(held_out) - to_data.log_prob(held_out))
    # From draws, the network learns more of the pairs than a regression can express.
    if gain.value < -2 * gain.error:
        width = set_linear_part(network, best_regression(Observations(arranged), sites, before=True))
        size = Estimate(-gain.value, gain.error)
        reason = f"a linear regression to the data is better than the one of {pairs} by {size} nats"
        return Start("MADE", reason, (), None, width, network.state_dict())
    of_pairs, drawn = implied(Pairs.of(arranged, pairs))
    width = set_linear_part(network, of_pairs)
    restored = network.ordering.restore(drawn.configurations.flatten(1))
    drawn = drawn._replace(configurations=restored.reshape(drawn.configurations.shape))
    reason = (
        f"a regression to draws from {pairs} is not worse than one to the data: its gain is {gain} nats"
    )
    return Start("MADE", reason, (), drawn, width, network.state_dict())


class Pairs(NamedTuple):
    """Couplings of pairs of spins, fitted by pseudo-likelihood.

    Args:
        graph: Fields and couplings.
        width: Width of the Gaussian prior of all pairs.
        sparse: Whether only significant couplings are in the graph.
    """

    graph: GraphFit
    width: float
    sparse: bool = False

    def __str__(self) -> str:
        """Return what the pairs are."""
        return "a sparse graph of pairs" if self.sparse else "all pairs"

    @classmethod
    def of(cls, rows: Configurations, like: "Pairs | None" = None) -> "Pairs":
        """Fit a sparse graph or all pairs to spins.

        Args:
            rows: Configurations `(M, *lattice)`.
            like: Pairs with the width of the prior and the sparsity; held-out configurations choose
                them by default.
        """
        width = None if like is None else like.width
        if like is None or like.sparse:
            search = TermSearch(rows)
            search.find()
            sparse = True
            if width is None:
                choice = choose(search, rows)
                width, sparse = choice.width, not choice.all_pairs
            if sparse:
                return cls(search.fit(rows), width, sparse)
        assert width is not None
        return cls(fit_all_pairs(rows, width, errors=False), width)


def continuous_start(rows: Configurations, system: LightningDataModule) -> Start:
    """Return MADE with draws from a normal distribution, or from the pairs of angles.

    Args:
        rows: Training configurations `(M, *lattice)`, their blocks in random order.
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
    """Return whether displacements between sites may matter: with axes, in a ring or in a window."""
    lattice = system.lattice
    axes = sum(side > 1 for side in lattice.cells)
    if lattice.is_graph or len(lattice.cells) > MOST_AXES:
        return False
    return axes > 1 or (axes == 1 and lattice.boundary != "open")


def uniform_model(system: LightningDataModule) -> UniformModel:
    """Return the interaction with all symmetries that the system declares."""
    declared = system.symmetries
    return UniformModel(
        system.lattice,
        tuple(name for name in SPATIAL if name in declared),
        tuple(name for name in INTERNAL if name in declared and system.site_kind != "level"),
        1.0,
        system.site_kind,
        tuple(system.levels),
    )


def training_rows(system: LightningDataModule) -> Configurations:
    """Return training configurations, drawn by their weights if any.

    Their blocks are in random order, each as a whole, so that held-out parts of them are independent of
    the others where rows are correlated, like overlapping patches of images.
    """
    data, seed = system.data, derive_seed(system.seed, 1)
    features = system.num_sites * max(1, len(system.levels) - 1)
    num = min(LIMIT, math.ceil(LIMIT_FEATURES / features), data.num_in("train"))
    if data.row_weights is not None:
        loader = data.loader("train", num, seed=seed)
        rows: Tensor = next(iter(loader)).configurations
        return rows.cpu()
    (temperature,) = system.temperatures
    numbers = data.rows_of("train", temperature)
    starts = system.blocks("train", temperature).starts
    chosen = np.arange(num) * len(numbers) // num
    pieces = np.split(chosen, np.searchsorted(chosen, starts[1:]))
    order = np.random.default_rng(seed).permutation(len(pieces))
    places = torch.from_numpy(np.concatenate([pieces[place] for place in order]))
    return data.take(numbers[places]).cpu()


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


def of_arrays(configurations: np.ndarray, action: np.ndarray, shape: Sequence[int]) -> Draws:
    """Return draws of configurations `(M, …)` with their S `(M,)`, which is centred for precision."""
    rows = configurations.reshape(-1, *shape)
    if rows.dtype == np.float64:
        rows = rows.astype(np.float32)
    centred = (action - action.mean()).astype(np.float32)
    return Draws(torch.from_numpy(rows), torch.from_numpy(centred))
