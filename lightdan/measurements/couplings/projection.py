"""The explicit Hamiltonian of the network alone."""

import numpy as np
import torch
from torch import Tensor

from lightdan.interactions.fit import Fit, Undetermined, fit
from lightdan.interactions.score_matching import match_scores
from lightdan.measurements.couplings.effective_hamiltonian import EffectiveHamiltonian
from lightdan.statistics import Estimate, jackknife


def projection(effective: EffectiveHamiltonian) -> Fit:
    """Return the couplings of H_θ alone, from its conditionals.

        J^PL_s + B (J⁰ − J^S_s),  B = Cov(J^PL_s, J^S_s) Var(J^S_s)^{−1}

    The conditionals of a continuous site are integrals, so samples of the network take their place:
    J^PL_s is their pseudo-likelihood fit. J^S_s, their score matching, has the expectation J⁰ and most
    of the same noise.

    Args:
        effective: Explicit Hamiltonian of H_θ.
    """
    network = effective.corrected.network
    if not effective.continuous or effective.corrected.pseudo is effective.score_matching:
        return network
    try:
        pseudo = fit(effective.fields, effective.samples, initial=network.couplings)
        matched = match_scores(effective.fields, effective.samples)
    except Undetermined:
        return network
    common = matched.influence.T @ pseudo.influence
    slope = np.linalg.solve(matched.influence.T @ matched.influence, common)
    couplings = pseudo.couplings + (network.couplings - matched.couplings) @ slope
    return Fit(couplings, pseudo.influence - matched.influence @ slope)


def errors_of_projection(effective: EffectiveHamiltonian, alone: Fit) -> np.ndarray:
    """Return the errors of the couplings of H_θ alone `(operators,)`.

    They contain the distance from pseudo-likelihood and the noise of both.

    Args:
        effective: Explicit Hamiltonian of H_θ.
        alone: Its `projection`.
    """
    pseudo = effective.corrected.pseudo
    distance = np.hypot(alone.couplings - pseudo.couplings, alone.standard_errors)
    return np.hypot(distance, pseudo.standard_errors)


def explained(effective: EffectiveHamiltonian) -> dict[str, Estimate]:
    """Return the shares of the variance of H_θ's differences that J⁰ explains.

    The differences are those of single sites, for continuous sites the scores, and those caused by
    flips of four random spins. Other sites take their values from another sample.

    Args:
        effective: Explicit Hamiltonian of H_θ.
    """
    ensemble, samples = effective.ensemble, effective.samples
    couplings = effective.corrected.network.couplings
    if effective.continuous:
        single = explained_share(effective.response, effective.fields.scores(samples, couplings))
    else:
        logits = effective.fields.logits(samples, couplings)
        response = effective.response
        if response.ndim == 3:
            response, logits = (x - x.mean(-1, keepdim=True) for x in (response, logits))
        single = explained_share(response.flatten(1), logits.flatten(1))
    generator = torch.Generator().manual_seed(effective.seed)
    sites = torch.tensor(list(effective.fields.sites), device=samples.device)
    chosen = torch.rand(len(samples), len(sites), generator=generator).argsort(1)[:, :4]
    chosen = sites[chosen.to(samples.device)]
    flat = samples.flatten(1)
    values = -flat if ensemble.system.site_kind == "spin" else flat.roll(1, 0)
    changed = flat.scatter(1, chosen, values.gather(1, chosen)).reshape(samples.shape)
    projected = effective.with_couplings(couplings)
    energies = [projected.energy(s.cpu().numpy()) / ensemble.temperature for s in (changed, samples)]
    learned = [-ensemble.evaluate(ensemble.model.log_prob, s) for s in (changed, samples)]
    y = torch.as_tensor(learned[0] - learned[1])[:, None]
    x = torch.as_tensor(energies[0] - energies[1])[:, None]
    return {"explained_single_site": single, "explained_multi_site": explained_share(y, x)}


def explained_share(y: Tensor, x: Tensor) -> Estimate:
    """Return 1 − ⟨(y − x)²⟩/⟨(y − ȳ)²⟩ with a jackknife error over the rows."""
    residual = (y - x).square().mean(1).cpu().numpy()
    total = (y - y.mean()).square().mean(1).cpu().numpy()
    return jackknife(lambda r, t: 1 - r / t, residual, total)
