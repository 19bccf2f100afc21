"""Choice of a uniform interaction, its range and its symmetries by held-out configurations."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions.all_pairs import fit_all_pairs
from lightdan.interactions.catalogue import UniformLattice
from lightdan.interactions.fit import Undetermined, fit
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.score_matching import match_scores
from lightdan.interactions.site_models import MOST_NODES, quadrature, site_model
from lightdan.lattices.lattice import Lattice
from lightdan.statistics import Estimate, mean
from lightdan.types import Configurations

DISTANCES = (1.5, 4.0, 7.0)
"""Largest distances of pairs among which held-out configurations choose."""
CHOOSING = 3_000
"""Largest number of configurations for choices."""
HELD_OUT = 4
"""One in this number of them is held out."""
WIDTHS = (0.02, 0.05, 0.1, 0.3)
"""Widths of the prior of all pairs with which a uniform interaction is compared."""
MOST_PAIRED = 1_000
"""Largest number of spins for that comparison."""
MOST_PAIRED_IN_WINDOW = 400
"""Largest number of spins for it in a window, anywhere in a larger system that should be uniform."""
MOST_SITES = 400
"""Largest number of sites whose conditionals are fitted; the couplings are the same everywhere."""
FEW_LEVELS = 4
"""Number of levels up to which the pair energy is any symmetric matrix."""


@dataclass(frozen=True)
class UniformModel:
    """A uniform interaction: range and symmetries.

    Args:
        lattice: Lattice.
        spatial: Symmetries of the lattice that merge couplings.
        internal: Symmetries of the sites that forbid operators.
        max_distance: Largest distance of a pair, in lattice constants.
        site_kind: Kind of site: ``spin``, ``level``, ``angle`` or ``real``.
        levels: Values of a discrete site.
    """

    lattice: Lattice
    spatial: tuple[str, ...]
    internal: tuple[str, ...]
    max_distance: float
    site_kind: str
    levels: tuple[int, ...]

    def names(self) -> list[str]:
        """Return the entries of the catalogue that the symmetries of the sites allow."""
        if self.site_kind == "spin":
            return ["pairs", "plaquettes", *([] if "z2" in self.internal else ["field"])]
        if self.site_kind == "level":
            few = len(self.levels) <= FEW_LEVELS
            return ["fields", "matrices"] if few else ["fields", "potts", "pairs"]
        if self.site_kind == "real":
            return ["powers", "pairs"]
        names = ["pairs", "pairs_2"]
        if "spin_reflection" not in self.internal:
            names.append("sines")
        return names if "spin_rotation" in self.internal else [*names, "fields"]

    def fields(self) -> LocalFields:
        """Return the local fields of the operators."""
        symmetries = (*self.spatial, *self.internal)
        lattice = UniformLattice(
            self.lattice,
            symmetries,
            self.max_distance,
            self.site_kind,
            self.levels,
        )
        operators, num_sites = lattice.operators(self.names()), self.lattice.num_sites
        sites = range(0, num_sites, math.ceil(num_sites / MOST_SITES))
        return LocalFields(operators, num_sites, None, sites, self.site_kind, self.levels)


@dataclass(frozen=True)
class UniformFit:
    """A uniform interaction and its couplings.

    Args:
        model: Range and symmetries.
        fields: Local fields of the operators.
        couplings: βJ `(operators,)`.
        bounds: Smallest and largest value of the sites.
    """

    model: UniformModel
    fields: LocalFields
    couplings: np.ndarray
    bounds: tuple[float, float]

    @classmethod
    def of(cls, model: UniformModel, configurations: Configurations) -> "UniformFit":
        """Fit the couplings to configurations by pseudo-likelihood, for fields by score matching.

        Raises:
            Undetermined: The data leave a coupling undetermined.
        """
        fields = model.fields()
        bounds = configurations.min().item(), configurations.max().item()
        if model.site_kind == "real":
            return cls(model, fields, match_scores(fields, configurations).couplings, bounds)
        return cls(model, fields, fit(fields, configurations).couplings, bounds)

    def log_likelihood(self, configurations: Configurations) -> np.ndarray:
        """Return Σ_i ln p(s_i | all others) of each configuration over the fitted sites `(M,)`."""
        model = site_model(self.fields, *self.bounds)
        if self.model.site_kind in ("angle", "real"):
            model = quadrature(self.fields, *self.bounds, MOST_NODES)
        rows, couplings = self.fields.rows(configurations), torch.from_numpy(self.couplings)
        total = torch.zeros(len(configurations), dtype=torch.float64)
        for site in self.fields.sites:
            if not (fields := self.fields.at(site, rows)):
                continue
            eta = self.fields.natural(fields, couplings)
            total += (eta * model.features(rows.values[site])).sum(0) - model.moments(eta, None).log_z
        return total.numpy()

    def hamiltonian(self) -> ExplicitHamiltonian:
        """Return the Hamiltonian, with couplings in units of the temperature."""
        return ExplicitHamiltonian.from_couplings(
            self.model.lattice.shape,
            self.fields.operators,
            self.couplings,
            site_kind=self.model.site_kind,
            levels=self.model.levels,
        )


@dataclass(frozen=True)
class UniformChoice:
    """The uniform interaction that held-out configurations choose.

    Args:
        model: Range and symmetries.
        gain: Advantage over all pairs of spins in the held-out pseudo-likelihood, in nats per
            configuration; None without spins, or with very many.
    """

    model: UniformModel
    gain: Estimate | None


def choose_uniform(model: UniformModel, configurations: Configurations) -> UniformChoice | None:
    """Choose range and symmetries of a uniform interaction by held-out pseudo-likelihood.

    A symmetry stays unless the interaction without it is better by more than two errors.

    Args:
        model: Interaction with all symmetries that are possible.
        configurations: Configurations s `(M, *lattice)` in random order; only the first are used.

    Returns:
        The choice, or None if no coupling can be determined.
    """
    train, held_out = split(configurations)

    def merit(candidate: UniformModel) -> np.ndarray | None:
        try:
            return UniformFit.of(candidate, train).log_likelihood(held_out)
        except (Undetermined, RuntimeError):
            return None

    fits = [replace(model, max_distance=distance) for distance in DISTANCES]
    fitted = [(m, values) for m in fits if (values := merit(m)) is not None]
    if not fitted:
        return None
    model, best = max(fitted, key=lambda entry: entry[1].mean())
    for lower in lower_symmetries(model):
        # On a small torus, long displacements of lower symmetry may be the same pairs.
        for distance in [d for d in reversed(DISTANCES) if d <= model.max_distance]:
            candidate = replace(lower(model), max_distance=distance)
            if (values := merit(candidate)) is not None:
                if exceeds(mean(values - best)):
                    model, best = candidate, values
                break
    gain = None
    most = MOST_PAIRED_IN_WINDOW if model.lattice.boundary == "window" else MOST_PAIRED
    if model.site_kind == "spin" and model.lattice.num_sites <= most:
        sites = model.fields().sites
        pairs = [pairs_log_likelihood(train, held_out, width, sites) for width in WIDTHS]
        gain = mean(best - max(pairs, key=np.mean))
    return UniformChoice(model, gain)


def pairs_log_likelihood(
    train: Configurations, held_out: Tensor, width: float, sites: Sequence[int]
) -> np.ndarray:
    """Return Σ_i ln p(s_i | all others) over some sites for all pairs of spins `(M',)`.

    Args:
        train: Configurations of the fit `(M, *lattice)`.
        held_out: Other configurations `(M', *lattice)`.
        width: Width of the Gaussian prior of βJ.
        sites: Sites of the sum.
    """
    logits = fit_all_pairs(train, width, errors=False).logits(held_out)
    terms = torch.nn.functional.logsigmoid(logits * held_out.flatten(1))
    return terms[:, list(sites)].sum(1).numpy()


def split(configurations: Configurations, most: int = CHOOSING) -> tuple[Configurations, Configurations]:
    """Return configurations for a fit, and others that are held out.

    Args:
        configurations: Configurations `(M, *lattice)` in random order, or in blocks in random order.
        most: Largest number of both together, from all blocks.
    """
    num = min(len(configurations), most)
    chosen = configurations[torch.arange(num) * len(configurations) // max(num, 1)]
    edge = len(chosen) - len(chosen) // HELD_OUT
    return chosen[:edge], chosen[edge:]


def exceeds(difference: Estimate) -> bool:
    """Return whether a difference is positive by more than two errors."""
    return difference.value > 2 * difference.error


def lower_symmetries(model: UniformModel) -> Sequence[Callable[[UniformModel], UniformModel]]:
    """Return functions that take away one symmetry after the other."""
    steps: list[Callable[[UniformModel], UniformModel]] = []
    if {"rotation", "reflection"} & set(model.spatial):
        steps.append(partial(without, names=("rotation", "reflection")))
    steps += [partial(without, names=(name,)) for name in reversed(model.internal)]
    return steps


def without(model: UniformModel, names: Sequence[str]) -> UniformModel:
    """Return an interaction without some symmetries."""
    spatial, internal = (
        tuple(name for name in present if name not in names)
        for present in (model.spatial, model.internal)
    )
    return replace(model, spatial=spatial, internal=internal)
