"""Explicit Hamiltonians of spins fitted to H_θ."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lightdan.data.splits import SPLITS
from lightdan.interactions.catalogue import uniform_operators
from lightdan.interactions.correction import CorrectedFit
from lightdan.interactions.fit import fit
from lightdan.interactions.hamiltonian import SpinHamiltonian
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.operators import Operator, sites_with_neighbours
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate, jackknife


def require_spins(ensemble: Ensemble) -> None:
    """Raise NotMeasurable unless the sites are spins."""
    if ensemble.system.site_kind != "spin":
        raise NotMeasurable(
            f"Couplings need spins, but the sites are of kind {ensemble.system.site_kind!r}: use "
            "Observables and Symmetry instead."
        )


def all_configurations(ensemble: Ensemble) -> Tensor:
    """Return the configurations of all splits, `(M, *lattice)`."""
    rows = [ensemble.system.data.rows(name, ensemble.temperature) for name in SPLITS]
    return torch.cat(rows).to(ensemble.model.device)


def local_logits(
    ensemble: Ensemble, configurations: Tensor, sites: Sequence[int] | None = None
) -> Tensor:
    """Return ln p_θ(s_i = 1 | all others) − ln p_θ(s_i = −1 | all others), `(M, sites)`.

    Args:
        ensemble: Model and temperature.
        configurations: Configurations s `(M, *lattice)`.
        sites: Sites i; all by default.
    """
    model = ensemble.model
    parts = []
    with progress_bar("Local fields", len(configurations)) as advance:
        for part in configurations.split(500):
            fields = model.local_fields(part, ensemble.temperature, sites).double()
            parts.append((fields[..., 0] - fields[..., 1]) / ensemble.temperature)
            advance(len(part))
    return torch.cat(parts)


@dataclass(eq=False)
class EffectiveHamiltonian:
    """The explicit Hamiltonian H = −Σ_a J_a O_a that explains H_θ, found by fits of local conditionals.

    1. `network`, J⁰, projects H_θ onto the operators, on samples of the network.
    2. `missing`, δ, fits held-out configurations with H_θ as a fixed offset. It measures the network's
       error on data that the network has not seen.
    3. `pseudo`, J^PL, is the pseudo-likelihood fit to all configurations.

    `CorrectedFit` combines them into couplings with errors.

    Args:
        ensemble: Model, system and temperature.
        operators: Operators O_a.
        num_samples: Number of network samples, and largest number of held-out configurations.
        seed: Random seed of the samples.
        sites: Sites whose conditionals are fitted; all by default.

    Raises:
        NotMeasurable: There are fewer held-out configurations than couplings at a site.
    """

    ensemble: Ensemble
    operators: Sequence[Operator]
    num_samples: int
    seed: int
    sites: Sequence[int] | None = None

    def __post_init__(self) -> None:
        system = self.ensemble.system
        self.fields = LocalFields(
            self.operators, system.num_sites, self.ensemble.model.device, self.sites
        )
        self.block_size = system.block_size
        self.held_out = self.ensemble.configurations[: self.num_samples]
        most = max(len(columns) for columns in self.fields.columns)
        if len(self.held_out) <= most:
            raise NotMeasurable(
                f"The {len(self.held_out)} held-out configurations are too few for {most} couplings per "
                "site: use more data or fewer operators."
            )

    @cached_property
    def samples(self) -> Tensor:
        """Configurations drawn from the network `(M, *lattice)`."""
        return self.ensemble.samples(self.num_samples, self.seed).configurations

    @cached_property
    def logits(self) -> Tensor:
        """Local logits of the network on its samples `(M, sites)`."""
        return local_logits(self.ensemble, self.samples, self.fields.sites)

    @cached_property
    def corrected(self) -> CorrectedFit:
        """The four fits and their combination.

        Raises:
            Undetermined: The data leave a coupling undetermined.
        """
        network = fit(self.fields, self.samples, torch.sigmoid(self.logits))
        held_out_logits = local_logits(self.ensemble, self.held_out, self.fields.sites)
        missing = fit(self.fields, self.held_out, offset=held_out_logits, block_size=self.block_size)
        pseudo_held_out = fit(self.fields, self.held_out, block_size=self.block_size)
        with progress_bar("Pseudo-likelihood", 3 * len(self.fields.sites)) as advance:
            pseudo = fit(
                self.fields,
                all_configurations(self.ensemble),
                initial=pseudo_held_out.couplings,
                block_size=self.block_size,
                progress=advance,
            )
        return CorrectedFit(network, missing, pseudo_held_out, pseudo)

    @property
    def couplings(self) -> np.ndarray:
        """Couplings βJ `(operators,)`."""
        return self.corrected.couplings

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the couplings `(operators, operators)`."""
        return self.corrected.covariance

    @cached_property
    def hamiltonian(self) -> SpinHamiltonian:
        """The Hamiltonian with the couplings and their errors."""
        return self.with_couplings(self.couplings, self.corrected.errors)

    def with_couplings(self, couplings: np.ndarray, errors: np.ndarray | None = None) -> SpinHamiltonian:
        """Return the Hamiltonian with other βJ and errors `(operators,)`."""
        return SpinHamiltonian.from_couplings(
            self.ensemble.system.lattice_shape,
            self.operators,
            couplings,
            self.ensemble.temperature,
            errors,
        )

    def explained(self) -> dict[str, Estimate]:
        """Return the shares of the variance of H_θ's differences that J⁰ explains.

        The differences are caused by flips of one spin and of four random spins.
        """
        samples, couplings = self.samples, self.corrected.network.couplings
        linear = self.fields.logits(samples, couplings)
        generator = torch.Generator().manual_seed(self.seed)
        sites = torch.tensor(list(self.fields.sites), device=samples.device)
        flipped = torch.rand(len(samples), len(sites), generator=generator).argsort(1)[:, :4]
        flipped = sites[flipped.to(samples.device)]
        changed = samples.flatten(1).clone()
        changed.scatter_(1, flipped, -changed.gather(1, flipped))
        changed = changed.reshape(samples.shape)
        projected = self.with_couplings(couplings)
        energies = [
            projected.energy(s.cpu().numpy()) / self.ensemble.temperature for s in (changed, samples)
        ]
        learned = [-self.ensemble.evaluate(self.ensemble.model.log_prob, s) for s in (changed, samples)]
        y = torch.as_tensor(learned[0] - learned[1])[:, None]
        x = torch.as_tensor(energies[0] - energies[1])[:, None]
        return {
            "explained_single_flip": explained_share(self.logits, linear),
            "explained_multi_flip": explained_share(y, x),
        }


def uniform_hamiltonian(
    ensemble: Ensemble, max_distance: float, num_samples: int, seed: int
) -> EffectiveHamiltonian:
    """Return the explicit Hamiltonian of a uniform system of spins, shared by equal calls.

    Args:
        ensemble: Model, system and temperature.
        max_distance: Largest distance of a pair, in lattice constants.
        num_samples: Number of network samples, and largest number of held-out configurations.
        seed: Random seed of the samples.

    Raises:
        NotMeasurable: The sites are not spins, or there are too few configurations or sites.
    """
    require_spins(ensemble)
    system = ensemble.system
    operators = uniform_operators(system.lattice_shape, system.boundary, system.symmetries, max_distance)
    try:
        sites = sites_with_neighbours(system.lattice_shape, system.boundary, operators).tolist()
    except ValueError as reason:
        raise NotMeasurable(str(reason)) from reason
    return ensemble.keep(
        ("uniform Hamiltonian", max_distance, num_samples, seed),
        lambda: EffectiveHamiltonian(ensemble, operators, num_samples, seed, sites),
    )


def explained_share(y: Tensor, x: Tensor) -> Estimate:
    """Return 1 − ⟨(y − x)²⟩/⟨(y − ȳ)²⟩ with a jackknife error over the rows."""
    residual = (y - x).square().mean(1).cpu().numpy()
    total = (y - y.mean()).square().mean(1).cpu().numpy()
    return jackknife(lambda r, t: 1 - r / t, residual, total)
