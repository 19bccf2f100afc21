"""The couplings of a uniform Hamiltonian that explain the data best."""

from typing import NamedTuple

from lightdan.interactions.correction import CorrectedFit
from lightdan.measurements.couplings.effective_hamiltonian import EffectiveHamiltonian
from lightdan.measurements.couplings.film_likelihood import film_likelihood
from lightdan.measurements.couplings.likelihood import Unknown
from lightdan.measurements.couplings.maximum_likelihood import (
    MaximumLikelihood,
    maximum_likelihood,
)
from lightdan.measurements.couplings.own_simulation import OwnSimulation, is_plane

SIMULATED = 2_000
"""Number of configurations by which a Hamiltonian is judged."""


class Best(NamedTuple):
    """The couplings that explain the data best.

    Args:
        fit: Couplings with errors.
        notes: Sentences about the choice.
    """

    fit: CorrectedFit | MaximumLikelihood
    notes: list[str]


def best(effective: EffectiveHamiltonian, seed: int) -> Best:
    """Return the couplings of maximum likelihood, or those from conditionals; shared by equal calls.

    Fields have the latter, because a step may lead to fields without a lower bound of H, and so have
    windows of other sites than spins on a plane.

    Args:
        effective: Hamiltonian from conditionals.
        seed: Random seed of the simulations.
    """
    return effective.ensemble.keep(("best couplings", effective, seed), lambda: _best(effective, seed))


def _best(effective: EffectiveHamiltonian, seed: int) -> Best:
    corrected, system = effective.corrected, effective.ensemble.system
    window = system.boundary == "window"
    plane = system.site_kind == "spin" and is_plane(system)
    if system.site_kind == "real" or (window and not plane):
        return Best(corrected, [])
    likelihood = film_likelihood if window else maximum_likelihood
    try:
        likely = likelihood(effective, seed)
    except ValueError as reason:
        note = f"Couplings come from conditionals, without maximum likelihood. {reason}"
        return Best(corrected, [note])
    if not likely.refused:
        return Best(likely, [])
    refusal = "The data refuse the means of the operators that follow from pseudo-likelihood."
    try:
        before, after = (
            OwnSimulation(
                effective.ensemble, effective.with_couplings(fit.couplings), SIMULATED, seed
            ).likelihood()
            for fit in (corrected, likely)
        )
    except Unknown as reason:
        note = f"{refusal} The couplings are those of maximum likelihood, because {reason}."
        return Best(likely, [note])
    gain = after.gain_over(before)
    better = gain.value > gain.error
    chosen = "maximum likelihood" if better else "the conditionals of data and network"
    note = (
        f"{refusal} Maximum likelihood by simulation raises ⟨ln p⟩ of held-out data by {gain}; the "
        f"couplings are those of {chosen}."
    )
    return Best(likely if better else corrected, [note])
