"""Explicit Hamiltonians fitted to H_θ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightdan.images.correlations import correlation
from lightdan.interactions.catalogue import UniformLattice
from lightdan.interactions.correction import CorrectedFit
from lightdan.interactions.fit import Fit, Undetermined, fit
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.operators import Operator, sites_with_neighbours
from lightdan.interactions.score_matching import match_scores
from lightdan.measurements.couplings.moments import Moments
from lightdan.measurements.couplings.sources import (
    all_configurations,
    all_weights,
    local_logits,
    local_scores,
)
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.progress import progress_bar

MOST_FEATURES = 12
"""Number of functions of a single site beyond which the quadrature of conditionals is too slow."""
PRIOR = 2.0
"""Width of the prior of couplings βJ of spins, levels and angles, which holds flat directions."""
FARTHEST = 8.0
"""Largest distance of pairs that is chosen by itself."""
DISTANCE = 4.0
"""Largest distance of pairs where C(r) has no minimum."""
HALF_PERIODS = 1.5
"""Largest distance of pairs, in units of the distance of the first minimum of C(r)."""
CROSSINGS = 10
"""Number of blocks of the data with a crossing of walls below which films have no plaquettes."""
TAIL = 1e-3
"""Share of the values on each side that is beyond the splines of a potential."""


@dataclass(eq=False)
class EffectiveHamiltonian:
    """The explicit Hamiltonian H = −Σ_a J_a O_a that explains H_θ, found by fits of conditionals.

    1. `network`, J⁰, projects H_θ onto the operators, on samples of the network.
    2. `missing`, δ, fits held-out configurations with H_θ as a fixed offset. It measures the network's
       error on data that the network has not seen.
    3. `pseudo`, J^PL, is the pseudo-likelihood fit to all configurations.

    Discrete sites are compared by their conditionals, continuous sites by the scores ∂ ln p/∂s_i.
    `CorrectedFit` combines the fits into couplings with errors.

    Args:
        ensemble: Model, system and temperature.
        operators: Operators O_a.
        num_samples: Number of network samples, and largest number of held-out configurations.
        seed: Random seed of the samples.
        sites: Sites whose conditionals are fitted; all by default.
        notes: Sentences about the choice of the operators.

    Raises:
        NotMeasurable: There are fewer held-out configurations than couplings at a site.
    """

    ensemble: Ensemble
    operators: Sequence[Operator]
    num_samples: int
    seed: int
    sites: Sequence[int] | None = None
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        system = self.ensemble.system
        self.fields = LocalFields(
            self.operators,
            system.num_sites,
            self.ensemble.model.device,
            self.sites,
            system.site_kind,
            system.levels,
        )
        self.block_size = system.block_size(self.ensemble.temperature)
        self.held_out = self.ensemble.configurations[: self.num_samples]
        weights = self.ensemble.weights
        if weights is None:
            # Maximum likelihood takes means, whose errors grow with any correlation of the rows.
            self.block_size = max(self.block_size, int(self.ensemble.blocks.sizes.max()))
        self.held_out_weights = (
            None
            if weights is None
            else torch.as_tensor(weights[: self.num_samples], device=self.held_out.device)
        )
        most = max(len(columns) for columns in self.fields.columns)
        if len(self.held_out) <= most:
            raise NotMeasurable(
                f"The {len(self.held_out)} held-out configurations are too few for {most} couplings per "
                "site: use more data or fewer operators."
            )

    @property
    def continuous(self) -> bool:
        """Whether the sites are angles or fields."""
        return not self.ensemble.system.levels

    @cached_property
    def samples(self) -> Tensor:
        """Configurations drawn from the network `(M, *lattice)`."""
        return self.ensemble.samples(self.num_samples, self.seed).configurations

    @cached_property
    def response(self) -> Tensor:
        """Local logits or scores of the network on its samples."""
        return self._response(self.samples)

    def _response(self, configurations: Tensor) -> Tensor:
        function = local_scores if self.continuous else local_logits
        return function(self.ensemble, configurations, self.fields.sites)

    @property
    def prior(self) -> float:
        """Width of the prior of βJ; fields have none, because their couplings have units."""
        return math.inf if self.ensemble.system.site_kind == "real" else PRIOR

    def _fit(self, configurations: Tensor, targets: Tensor | None = None, **options: Any) -> Fit:
        """Fit conditionals, with a prior only if the configurations leave a combination undetermined."""
        try:
            return fit(self.fields, configurations, targets, **options)
        except Undetermined:
            if math.isinf(self.prior):
                raise
            return fit(self.fields, configurations, targets, prior=self.prior, **options)

    def _network(self) -> tuple[Fit, Fit, Fit]:
        """Return J⁰, δ and the fit that δ is compared with."""
        learned = self._response(self.held_out)
        options: dict[str, Any] = {"block_size": self.block_size, "weights": self.held_out_weights}
        if self.continuous:
            return (
                match_scores(self.fields, self.samples, self.response, project=True),
                match_scores(self.fields, self.held_out, learned, **options),
                match_scores(self.fields, self.held_out, **options),
            )
        spins = self.ensemble.system.site_kind == "spin"
        targets = self.response.sigmoid() if spins else self.response.softmax(-1)
        return (
            self._fit(self.samples, targets),
            self._fit(self.held_out, offset=learned, **options),
            self._fit(self.held_out, **options),
        )

    @cached_property
    def score_matching(self) -> Fit | None:
        """The fit of score matching to all configurations of continuous sites."""
        if not self.continuous:
            return None
        rows = all_configurations(self.ensemble)
        with progress_bar("Score matching", 2 * len(self.fields.sites)) as advance:
            return match_scores(
                self.fields,
                rows,
                block_size=self.block_size,
                weights=all_weights(self.ensemble),
                progress=advance,
            )

    @cached_property
    def pseudo(self) -> Fit:
        """The pseudo-likelihood fit to all configurations; score matching where splines are fitted."""
        if len(self.fields.features) > MOST_FEATURES and self.score_matching is not None:
            return self.score_matching
        initial = None if self.score_matching is None else self.score_matching.couplings
        with progress_bar("Pseudo-likelihood", 3 * len(self.fields.sites)) as advance:
            return self._fit(
                all_configurations(self.ensemble),
                initial=initial,
                block_size=self.block_size,
                weights=all_weights(self.ensemble),
                progress=advance,
            )

    @cached_property
    def corrected(self) -> CorrectedFit:
        """The fits and their combination.

        Raises:
            Undetermined: The data leave a coupling of fields undetermined.
        """
        return CorrectedFit(*self._network(), self.pseudo)

    @property
    def couplings(self) -> np.ndarray:
        """Couplings βJ `(operators,)`."""
        return self.corrected.couplings

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the couplings `(operators, operators)`."""
        return self.corrected.covariance

    @cached_property
    def hamiltonian(self) -> ExplicitHamiltonian:
        """The Hamiltonian with the couplings and their errors."""
        return self.with_couplings(self.couplings, self.corrected.errors, self.covariance)

    def with_couplings(
        self,
        couplings: np.ndarray,
        errors: np.ndarray | None = None,
        covariance: np.ndarray | None = None,
    ) -> ExplicitHamiltonian:
        """Return the Hamiltonian with other βJ.

        Args:
            couplings: βJ `(operators,)`.
            errors: Standard errors of the couplings `(operators,)`.
            covariance: Covariance of the couplings `(operators, operators)`.
        """
        return ExplicitHamiltonian.from_couplings(
            self.ensemble.system.lattice_shape,
            self.operators,
            couplings,
            self.ensemble.temperature,
            errors,
            covariance,
            site_kind=self.ensemble.system.site_kind,
            levels=self.ensemble.system.levels,
        )

    @cached_property
    def moments(self) -> Moments:
        """Means and covariance of the operators over all configurations."""
        return Moments.of_data(self.ensemble, self.operators, self.block_size)


def uniform_hamiltonian(
    ensemble: Ensemble,
    max_distance: float | None,
    num_samples: int,
    seed: int,
    names: Sequence[str] | None = None,
) -> EffectiveHamiltonian:
    """Return the explicit Hamiltonian of a uniform system, shared by equal calls.

    Args:
        ensemble: Model, system and temperature.
        max_distance: Largest distance of a pair, in lattice constants; by default `chosen_distance`.
        num_samples: Number of network samples, and largest number of held-out configurations.
        seed: Random seed of the samples.
        names: Operators by their names in the catalogue of the kind of site; its defaults if None.

    Raises:
        NotMeasurable: An operator does not fit the kind of site, or there are too few configurations or
            sites.
    """
    system = ensemble.system
    if max_distance is None:
        max_distance = ensemble.keep("distance of pairs", lambda: chosen_distance(ensemble))
    key = ("uniform Hamiltonian", max_distance, num_samples, seed, None if names is None else (*names,))

    def make() -> EffectiveHamiltonian:
        low, high = (0.0, 1.0) if system.levels else field_range(ensemble.configurations)
        lattice = UniformLattice(
            system.lattice,
            system.symmetries,
            max_distance,
            system.site_kind,
            system.levels,
            low,
            high,
            () if system.clock else system.level_values,
        )
        chosen, notes = names, []
        if names is None and is_film(ensemble) and (crossings := crossed(ensemble)) < CROSSINGS:
            chosen = ["field", "pairs"]
            notes = [
                f"Walls cross in {crossings} blocks of the images only, so plaquettes cannot be told "
                "from pairs at 1 and √2, and are left out."
            ]
        try:
            operators = lattice.operators(chosen)
            sites = sites_with_neighbours(system.lattice, operators).tolist()
        except ValueError as reason:
            raise NotMeasurable(str(reason)) from reason
        return EffectiveHamiltonian(ensemble, operators, num_samples, seed, sites, notes)

    return ensemble.keep(key, make)


def is_film(ensemble: Ensemble) -> bool:
    """Return whether the configurations are windows of a film of spins."""
    system = ensemble.system
    plane = system.boundary == "window" and len(system.lattice_shape) == 2
    return plane and system.site_kind == "spin"


def crossed(ensemble: Ensemble) -> int:
    """Return the number of independent blocks of films of spins in which walls cross.

    Squares of 2 × 2 sites are uniform, cut by a wall, or have one corner apart, unless two walls cross
    in them. The sums of s_i s_j over neighbours and diagonals and of the products of four spins count
    these kinds, whose number is fixed. Without crossings one of the sums follows from the two others.

    Args:
        ensemble: Films of spins.
    """
    spins = all_configurations(ensemble)
    first, second = spins[:, :-1, :-1], spins[:, :-1, 1:]
    crosses = (first == spins[:, 1:, 1:]) & (second == spins[:, 1:, :-1]) & (first != second)
    size = ensemble.system.block_size(ensemble.temperature)
    return sum(bool(block.any()) for block in crosses.flatten(1).any(1).split(size))


def chosen_distance(ensemble: Ensemble) -> float:
    """Return the largest distance of pairs that a film needs, in lattice constants.

    In a window of a film of spins with a negative first minimum of C(r) − ⟨s⟩², at half a period, it is
    `HALF_PERIODS` times that far, at most `FARTHEST` and less than half of the window. Dipoles repel up
    to there. Other lattices have `DISTANCE`.
    """
    system = ensemble.system
    if not is_film(ensemble):
        return DISTANCE
    found = correlation(all_configurations(ensemble).cpu().numpy()).mean(0)
    minima = np.flatnonzero((found[1:-1] < found[:-2]) & (found[1:-1] <= found[2:]) & (found[1:-1] < 0))
    if not len(minima):
        return DISTANCE
    room = (min(system.lattice_shape) - 2) // 2
    return float(max(1, min(FARTHEST, math.ceil(HALF_PERIODS * (minima[0] + 1)), room)))


def field_range(configurations: Tensor) -> tuple[float, float]:
    """Return the range of a field that is well covered by configurations."""
    values = configurations.flatten().double().sort().values
    cut = TAIL * len(values)
    low, high = values[int(cut)], values[-1 - int(cut)]
    return low.item(), high.item()
