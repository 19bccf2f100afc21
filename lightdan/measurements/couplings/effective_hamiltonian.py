"""An explicit Hamiltonian of spins in place of H_θ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions.fit import Fit, LocalFields, fit
from lightdan.interactions.hamiltonian import Operator, SpinHamiltonian
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate, jackknife
from lightdan.systems.base import SPLITS


def require_spins(ensemble: Ensemble) -> None:
    """Refuse what has no couplings of spins.

    Raises:
        NotMeasurable: the sites are no spins.
    """
    if ensemble.system.site_kind != "spin":
        raise NotMeasurable(
            f"sites of kind {ensemble.system.site_kind!r} have no couplings of spins; Observables and "
            "Symmetry fit them"
        )


def all_configurations_of(ensemble: Ensemble) -> Tensor:
    """The configurations of all splits `(M, *lattice)`."""
    rows = [ensemble.system.rows(name, ensemble.temperature) for name in SPLITS]
    return torch.cat(rows).to(ensemble.model.device)


def local_logits(
    ensemble: Ensemble, configurations: Tensor, sites: Sequence[int] | None = None
) -> Tensor:
    """Ln p_θ(s_i = 1 | all others) − ln p_θ(s_i = −1 | all others) `(M, sites)`, of all i or some."""
    model = ensemble.model
    parts = []
    with progress_bar("Local fields", len(configurations)) as advance:
        for part in configurations.split(500):
            fields = model.local_fields(part, ensemble.temperature, sites).double()
            parts.append((fields[..., 0] - fields[..., 1]) / ensemble.temperature)
            advance(len(part))
    return torch.cat(parts)


def hamiltonian_of(
    ensemble: Ensemble,
    operators: Sequence[Operator],
    couplings: np.ndarray,
    errors: np.ndarray | None = None,
) -> SpinHamiltonian:
    """The Hamiltonian with these βJ."""
    given = np.full(len(couplings), math.nan) if errors is None else errors
    temperature = ensemble.temperature
    return SpinHamiltonian(
        tuple(ensemble.system.lattice_shape),
        [
            replace(operator, coupling=float(temperature * value), error=float(temperature * error))
            for operator, value, error in zip(operators, couplings, given, strict=True)
        ],
        temperature,
    )


@dataclass(eq=False)
class EffectiveHamiltonian:
    """βJ_a of the H = −Σ_a J_a O_a that explains H_θ, by fits of local conditionals.

    1. `network`, J⁰, projects H_θ on the operators, on `num_samples` samples of the network: what the
       network says.
    2. `missing`, δ, is what held-out configurations ask for beyond H_θ, the network's own error as
       data that it has not seen measure it: H_θ is the offset, δ the couplings that are missing.
    3. `pseudo`, J^PL, is the pseudo-likelihood of all configurations, J^PL_h that of the held-out ones.

    `couplings` are J⁰ + δ + (J^PL − J^PL_h): the noise of δ, which a few held-out configurations leave,
    is that of J^PL_h and is exchanged for that of all. Their errors are those of the three fits, and
    J⁰ + δ − J^PL_h, which is small if H_θ is good and large where its training was too short.

    Args:
        ensemble: Of which temperature.
        operators: The O_a.
        num_samples: Of the network, and at most so many held-out configurations.
        seed: Of the samples.
        sites: Those whose conditionals are fitted; by default all.

    Raises:
        NotMeasurable: there are fewer held-out configurations than couplings at a site.
        Undetermined: the data leave a coupling undetermined.
    """

    ensemble: Ensemble
    operators: Sequence[Operator]
    num_samples: int
    seed: int
    sites: Sequence[int] | None = None

    def __post_init__(self) -> None:
        self.fields = LocalFields(
            self.operators, self.ensemble.system.num_sites, self.ensemble.model.device, self.sites
        )
        most = max(len(columns) for columns in self.fields.columns)
        if len(self.held_out) <= most:
            raise NotMeasurable(
                f"{len(self.held_out)} held-out configurations are too few for {most} couplings: "
                "give more data, or fewer operators"
            )

    @property
    def together(self) -> int:
        """Consecutive configurations that are one independent observation."""
        return self.ensemble.system.rows_together

    @cached_property
    def held_out(self) -> Tensor:
        """Configurations that the network has not seen."""
        return self.ensemble.configurations[: self.num_samples]

    @cached_property
    def samples(self) -> Tensor:
        """Configurations of the network."""
        return self.ensemble.samples(self.num_samples, self.seed).configurations

    @cached_property
    def logits(self) -> Tensor:
        """Those of the network on its samples `(M, sites)`."""
        return local_logits(self.ensemble, self.samples, self.fields.sites)

    @cached_property
    def network(self) -> Fit:
        """J⁰."""
        return fit(self.fields, self.samples, torch.sigmoid(self.logits))

    @cached_property
    def missing(self) -> Fit:
        """δ."""
        logits = local_logits(self.ensemble, self.held_out, self.fields.sites)
        return fit(self.fields, self.held_out, offset=logits, together=self.together)

    @cached_property
    def pseudo_held_out(self) -> Fit:
        """J^PL_h."""
        return fit(self.fields, self.held_out, together=self.together)

    @cached_property
    def pseudo(self) -> Fit:
        """J^PL."""
        everything = all_configurations_of(self.ensemble)
        with progress_bar("Pseudo-likelihood", 3 * len(self.fields.sites)) as advance:
            return fit(
                self.fields,
                everything,
                initial=self.pseudo_held_out.couplings,
                together=self.together,
                progress=advance,
            )

    @cached_property
    def couplings(self) -> np.ndarray:
        """βJ `(operators,)`."""
        total: np.ndarray = self.network.couplings + self.pseudo.couplings + self.remainder.couplings
        return total

    @cached_property
    def remainder(self) -> Fit:
        """δ − J^PL_h."""
        ours = self.pseudo_held_out
        difference = self.missing.influence - ours.influence
        return Fit(self.missing.couplings - ours.couplings, difference, self.together)

    @cached_property
    def covariance(self) -> np.ndarray:
        """Of `couplings` `(operators, operators)`."""
        noise = self.network.covariance + self.remainder.covariance + self.pseudo.covariance
        # On the same configurations the two ways should agree. What they do not is of second order in
        # what the network errs, and no noise tells it.
        beyond = self.network.couplings + self.remainder.couplings
        covariance: np.ndarray = noise + np.outer(beyond, beyond)
        return covariance

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of `couplings`."""
        return np.sqrt(self.covariance.diagonal())

    @property
    def network_errors(self) -> np.ndarray:
        """Those of J⁰, by what δ shows the network to err."""
        return np.hypot(self.missing.couplings, self.missing.standard_errors)

    @cached_property
    def hamiltonian(self) -> SpinHamiltonian:
        """The Hamiltonian with the couplings and their errors."""
        return hamiltonian_of(self.ensemble, self.operators, self.couplings, self.errors)

    def explained(self) -> dict[str, Estimate]:
        """Shares of the variance of H_θ's differences, of one and of four spins, that J⁰ explains."""
        samples, couplings = self.samples, self.network.couplings
        linear = self.fields.logits(samples, couplings)
        generator = torch.Generator().manual_seed(self.seed)
        sites = torch.tensor(list(self.fields.sites), device=samples.device)
        chosen = torch.rand(len(samples), len(sites), generator=generator).argsort(1)[:, :4]
        chosen = sites[chosen.to(samples.device)]
        changed = samples.flatten(1).clone()
        changed.scatter_(1, chosen, -changed.gather(1, chosen))
        changed = changed.reshape(samples.shape)
        projected = hamiltonian_of(self.ensemble, self.operators, couplings)
        energies = [
            projected.energy(s.cpu().numpy()) / self.ensemble.temperature for s in (changed, samples)
        ]
        learned = [-self.ensemble.evaluate(self.ensemble.model.log_prob, s) for s in (changed, samples)]
        y = torch.as_tensor(learned[0] - learned[1])[:, None]
        x = torch.as_tensor(energies[0] - energies[1])[:, None]
        return {
            "explained_single_flip": share(self.logits, linear),
            "explained_multi_flip": share(y, x),
        }


def share(y: Tensor, x: Tensor) -> Estimate:
    """1 − ⟨(y − x)²⟩/⟨(y − ȳ)²⟩, with a jackknife error over the rows."""
    residual = (y - x).square().mean(1).cpu().numpy()
    total = (y - y.mean()).square().mean(1).cpu().numpy()
    return jackknife(lambda r, t: 1 - r / t, residual, total)
