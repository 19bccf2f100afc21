"""Maximum likelihood by simulation, which sharpens couplings from conditionals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2

from lightdan.interactions.fit import Fit
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.operators import Operator
from lightdan.measurements.couplings.effective_hamiltonian import EffectiveHamiltonian
from lightdan.measurements.couplings.moments import covariance_of, values_of
from lightdan.progress import progress_bar
from lightdan.simulation.simulation import Simulation

TRIAL = 2_000
"""Number of configurations of the simulations that approach the maximum."""
RATIO = 4.0
"""Largest number of simulated configurations per independent configuration of the data."""
VISITS = 2e9
"""Largest number of visits of terms in the last simulation, which takes about a minute."""
MAX_SPACING = 64
"""Largest number of updates between two configurations."""
SLOW = 4.0
"""Autocorrelation time in rows above which a simulation has no use."""
BLOCK = 32
"""Number of consecutive simulated configurations treated as one observation."""
REFUSED = 1e-4
"""Probability of the deviations below which the first couplings are given up."""
RELATIVE_VARIANCE = 1e-3
"""Variance below which combinations of operators, each of variance 1, are taken for constants."""
STEPS = 10
"""Largest number of steps between simulations."""
LARGEST_STEP = 1.0
"""Largest length of a step, in units in which each operator has the variance 1."""
NEAR = 0.5
"""Step within which weights of the simulated configurations replace another simulation."""
NEWTON = 6
"""Number of Newton's steps with weights."""
DEPENDENT = 1e-9
"""Eigenvalue, relative to the largest, below which a matrix of correlations is singular."""


class Step(NamedTuple):
    """A step βJ → βJ + δ to the maximum of the likelihood.

    Args:
        change: δ `(operators,)`.
        size: Standard deviation of the change of −βH.
        inverse: Inverse covariance of the operators where they vary `(operators, operators)`.
        kept: Part of βJ that the step leaves as it was `(operators, operators)`.
        noise: Covariance of δ caused by the simulation `(operators, operators)`.
    """

    change: np.ndarray
    size: float
    inverse: np.ndarray
    kept: np.ndarray
    noise: np.ndarray


@dataclass(frozen=True, eq=False)
class MaximumLikelihood:
    """Couplings near the maximum of the likelihood.

        ⟨O_a⟩_H = ⟨O_a⟩_data

    The maximum has the smallest errors that are possible, up to the noise of the simulation. The
    estimate combines it with the pseudo-likelihood such that the variance is smallest. If the two
    differ by more than noise, H does not consist of these operators alone, and the maximum is taken.

    Args:
        couplings: βJ `(operators,)`.
        covariance: Covariance of the couplings `(operators, operators)`.
        refused: Whether the data refuse the couplings of pseudo-likelihood.

    References:
        D. Ackley, G. Hinton and T. Sejnowski, Cognitive Science 9, 147 (1985).
    """

    couplings: np.ndarray
    covariance: np.ndarray
    refused: bool = False

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the couplings `(operators,)`."""
        return np.sqrt(self.covariance.diagonal())


def maximum_likelihood(effective: EffectiveHamiltonian, seed: int) -> MaximumLikelihood:
    """Return the couplings of maximum likelihood, combined with those of pseudo-likelihood.

    Short simulations approach the maximum. The last one has up to `RATIO` configurations for each of
    the data, and weights of its configurations lead to the maximum itself.

    Args:
        effective: Hamiltonian from conditionals, with whose couplings the simulations begin.
        seed: Random seed of the simulations.

    Raises:
        ValueError: The Hamiltonian cannot be simulated; the message says why.
    """
    couplings = effective.couplings
    means, number = effective.moments.means, effective.moments.effective_number
    for attempt in range(STEPS):
        hamiltonian = effective.with_couplings(couplings)
        run = simulated(hamiltonian, TRIAL, seed + attempt)
        step = step_to_maximum(run.configurations, effective.operators, means.couplings)
        if step.size <= NEAR:
            break
        couplings = couplings + step.change
    else:
        raise ValueError(f"{STEPS} steps do not reach the maximum of the likelihood.")
    num = min(int(RATIO * number), int(VISITS / visits(hamiltonian, run)))
    if num > TRIAL:
        run = simulated(hamiltonian, num, seed + STEPS)
        step = step_to_maximum(run.configurations, effective.operators, means.couplings)
        if step.size > NEAR:
            raise ValueError("Two simulations of the Hamiltonian contradict each other.")
    varied = np.eye(len(couplings)) - step.kept
    difference = varied @ (couplings + step.change - effective.corrected.pseudo.couplings)
    return combined(effective.corrected.pseudo, effective.moments.means, difference, step)


def combined(pseudo: Fit, means: Fit, difference: np.ndarray, step: Step) -> MaximumLikelihood:
    """Combine the maximum of the likelihood with that of the pseudo-likelihood.

        J = J^PL + W d,  d = J^ML − J^PL,  W = −Cov(J^PL, d) Var(d)^{−1}

    Args:
        pseudo: J^PL, the pseudo-likelihood fit.
        means: ⟨O_a⟩ of the same configurations.
        difference: d `(operators,)`.
        step: Last step to the maximum.
    """
    size = len(difference)
    varied = np.eye(size) - step.kept
    change = means.influence @ step.inverse - pseudo.influence @ varied.T
    # Correlated rows scale all covariances of the data alike; blocks would make the weights noisy.
    held = pseudo.held
    released = -held @ varied.T
    influence, prior = np.hstack([pseudo.influence, change]), np.hstack([held, released])
    rows = Fit(np.zeros(2 * size), influence, 1, pseudo.counts, prior)
    single = means._replace(block_size=1).standard_errors
    scale = np.square(means.standard_errors).sum() / np.square(single).sum()
    covariance = scale * rows.covariance
    inverse = pseudo_inverse(covariance[size:, size:] + step.noise)
    weights = -covariance[:size, size:] @ inverse
    misfit = float(difference @ inverse @ difference)
    refused = bool(chi2.sf(misfit, round(varied.trace())) < REFUSED)
    if refused:
        weights = np.eye(size)
    influence, prior = pseudo.influence + change @ weights.T, held + released @ weights.T
    data = Fit(pseudo.couplings, influence, pseudo.block_size, pseudo.counts, prior)
    total = data.covariance + weights @ step.noise @ weights.T
    return MaximumLikelihood(pseudo.couplings + weights @ difference, total, refused)


def simulated(hamiltonian: ExplicitHamiltonian, num: int, seed: int) -> Simulation:
    """Return configurations of a Hamiltonian.

    Raises:
        ValueError: They remain correlated, or H has no lower bound.
    """
    with progress_bar("Maximum likelihood", num) as advance:
        run = hamiltonian.simulate(hamiltonian.temperature, num, seed, advance, MAX_SPACING)
    if run.tau_int.value > SLOW:
        raise ValueError(
            f"{run.updates_per_configuration} sweeps leave the configurations correlated over "
            f"{run.tau_int.value:.0f} rows."
        )
    return run


def visits(hamiltonian: ExplicitHamiltonian, run: Simulation) -> int:
    """Return the number of terms that the simulation visits per configuration."""
    moves = hamiltonian.moves()
    entries = len(moves.pair_others) + len(moves.others) + moves.num_sites
    return entries * run.updates_per_configuration


def step_to_maximum(
    configurations: np.ndarray, operators: Sequence[Operator], means: np.ndarray
) -> Step:
    """Return the step after which the simulated means of the operators are those of the data.

        Σ_s w O_a/Σ_s w = ⟨O_a⟩_data,  w = e^{Σ_a δ_a O_a}

    A step further than `NEAR` is Newton's first, limited in its length.

    Args:
        configurations: Simulated configurations s `(M, *lattice)`.
        operators: Operators O_a.
        means: ⟨O_a⟩_data `(operators,)`.

    Raises:
        ValueError: All operators are constant.
    """
    values = values_of(operators, configurations) - means
    covariance = covariance_of(values)
    basis, variances = principal_combinations(covariance)
    if not len(variances):
        raise ValueError("No operator varies in its simulation.")
    reduced = values @ basis
    change = -reduced.mean(axis=0) / variances
    size = math.sqrt(change @ (variances * change))
    weights = np.ones(len(reduced))
    curvature = np.diag(variances)
    if size <= NEAR:
        for _ in range(NEWTON):
            logs = reduced @ change
            weights = np.exp(logs - logs.max())
            weights /= weights.mean()
            curvature = np.atleast_2d(np.cov(reduced, rowvar=False, aweights=weights))
            mean = (weights[:, None] * reduced).mean(axis=0)
            change = change - np.linalg.solve(curvature, mean)
        size = math.sqrt(change @ curvature @ change)
    else:
        change = limited(reduced.mean(axis=0), variances)
    reduced_inverse = np.linalg.inv(curvature)
    inverse = basis @ reduced_inverse @ basis.T
    influence = (weights[:, None] * reduced) @ reduced_inverse @ basis.T
    noise = Fit(np.zeros(len(basis)), influence, BLOCK).covariance
    kept = np.eye(len(basis)) - basis / variances @ basis.T @ covariance
    return Step(basis @ change, size, inverse, kept, noise)


def limited(means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Return −m/(v + λ) with the smallest λ ≥ 0 for which its length is at most `LARGEST_STEP`.

    Far from the maximum, full steps along combinations that hardly vary lead to huge couplings.

    Args:
        means: m, the means minus their targets `(combinations,)`.
        variances: v, the variances `(combinations,)`.
    """

    def excess(damping: float) -> float:
        return float(np.linalg.norm(means / (variances + damping))) - LARGEST_STEP

    damping = 0.0
    if excess(0.0) > 0:
        damping = brentq(excess, 0.0, float(np.linalg.norm(means)) / LARGEST_STEP)
    return -means / (variances + damping)


def principal_combinations(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return combinations of operators that are not nearly constant, and their variances.

    Args:
        covariance: Covariance of the operators `(operators, operators)`.

    Returns:
        Coefficients `(operators, combinations)` and variances `(combinations,)`; the combinations are
        uncorrelated.
    """
    deviation = np.sqrt(covariance.diagonal())
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    variances, vectors = np.linalg.eigh(scale[:, None] * covariance * scale)
    present = variances > RELATIVE_VARIANCE
    return scale[:, None] * vectors[:, present], variances[present]


def pseudo_inverse(covariance: np.ndarray) -> np.ndarray:
    """Return the inverse of a covariance where it is not zero."""
    deviation = np.sqrt(covariance.diagonal())
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    scaled = scale[:, None] * covariance * scale
    inverse: np.ndarray = np.linalg.pinv(scaled, DEPENDENT, hermitian=True)
    return scale[:, None] * inverse * scale
