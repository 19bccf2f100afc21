"""Many small data sets of known Hamiltonians, for tests of the errors of couplings."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from lightdan import MADE, ExplicitHamiltonian, Recorded
from lightdan.data.samples import Samples
from lightdan.interactions.catalogue import UniformLattice
from lightdan.interactions.fit import fit
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.score_matching import match_scores
from lightdan.measurements.couplings.best import best
from lightdan.measurements.couplings.effective_hamiltonian import uniform_hamiltonian
from lightdan.measurements.couplings.likelihood import Likelihood
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.observables import series, summary
from lightdan.statistics import Blocks, Estimate

SHAPE = (3, 3)
TAU = 5.0
"""Autocorrelation time of correlated rows."""
POOL = 400_000
"""Number of independent configurations from which the data sets are drawn."""


EXACT: dict[tuple[str, int], dict[str, list[float]]] = {}
"""Means over all configurations of a pool, by kind of site and size."""


@dataclass(frozen=True)
class Truth:
    """A Hamiltonian on 3 × 3 sites, and operators that are fitted to its configurations.

    Args:
        kind: Kind of site.
        couplings: βJ by name of the operator.
        operators: Entries of the catalogue.
        levels: Values of a discrete site.
    """

    kind: str
    couplings: dict[str, float]
    operators: tuple[str, ...]
    levels: tuple[int, ...] = ()

    @property
    def hamiltonian(self) -> ExplicitHamiltonian:
        """The Hamiltonian at T = 1."""
        lattice = UniformLattice(
            SHAPE, ("translation", "rotation", "reflection"), 1.0, self.kind, self.levels
        )
        operators = lattice.operators(self.operators)
        couplings = np.array([self.couplings[operator.name] for operator in operators])
        return ExplicitHamiltonian.from_couplings(
            SHAPE, operators, couplings, site_kind=self.kind, levels=self.levels
        )


TRUTHS = {
    "spin": Truth("spin", {"field": 0.1, "nearest_neighbour": 0.2}, ("field", "pairs"), (-1, 1)),
    "level": Truth(
        "level",
        {
            "field_1": 0.2,
            "field_2": -0.1,
            "matrix_1_1_1_0": 0.3,
            "matrix_1_2_1_0": -0.1,
            "matrix_2_2_1_0": 0.2,
        },
        ("fields", "matrices"),
        (0, 1, 3),
    ),
    "angle": Truth(
        "angle",
        {"nearest_neighbour": 0.5, "cosine_2_1_0": 0.2, "sine_1_0": 0.0},
        ("pairs", "pairs_2", "sines"),
    ),
    "real": Truth(
        "real",
        {"power_1": 0.1, "power_2": -0.2, "power_3": 0.0, "power_4": -0.2, "nearest_neighbour": 0.3},
        ("powers", "pairs"),
    ),
}


@cache
def pool(kind: str, num: int = POOL) -> NDArray[np.generic]:
    """Return configurations of a Hamiltonian in random order."""
    rows = TRUTHS[kind].hamiltonian.simulate(1.0, num, seed=1).configurations
    order = np.random.default_rng(0).permutation(num)
    shuffled: NDArray[np.generic] = rows[order]
    return shuffled


def data_set(kind: str, num: int, tau: float, seed: int, pool_size: int = POOL) -> NDArray[np.generic]:
    """Return rows of a Markov chain whose stationary law is the Hamiltonian.

    A row repeats the one before with the probability ρ = (2τ − 1)/(2τ + 1), so that every function of
    the rows has the autocorrelation ρ^t and the time τ.

    Args:
        kind: Kind of site.
        num: Number of rows.
        tau: Integrated autocorrelation time; 0.5 is independent.
        seed: Random seed.
        pool_size: Number of independent configurations from which the rows are drawn.
    """
    rng = np.random.default_rng([seed, num])
    new = rng.random(num) >= (2 * tau - 1) / (2 * tau + 1)
    rows = pool(kind, pool_size)
    fresh = rng.integers(len(rows), size=new.sum() + 1)
    chosen: NDArray[np.generic] = rows[fresh[np.cumsum(new)]]
    return chosen


def pulls_of_fits(kind: str, num: int, tau: float, seed: int, pool_size: int) -> list[float]:
    """Return (estimate − truth)/error of pseudo-likelihood, or of score matching where it applies.

    The arguments are those of `data_set`.
    """
    truth = TRUTHS[kind]
    rows = torch.tensor(data_set(kind, num, tau, seed, pool_size))
    size = Samples.split(rows, [num], [1.0], [tau], (0.6, 0.2, 0.2), 0).block_size(1.0)
    operators = truth.hamiltonian.operators
    fields = LocalFields(operators, rows[0].numel(), site_kind=kind, levels=truth.levels)
    fitted = (fit if truth.levels else match_scores)(fields, rows, block_size=size)
    values = np.array([operator.coupling for operator in operators])
    pulls: list[float] = ((fitted.couplings - values) / fitted.standard_errors).tolist()
    return pulls


def trained(system: Recorded, seed: int, steps: int = 60) -> MADE:
    """Return a network fitted briefly to the training configurations."""
    torch.manual_seed(seed)
    model = MADE.for_system(system, width=2)
    rows = system.data.rows("train", 1.0).to(torch.get_default_dtype())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -model.log_prob(rows, torch.ones(len(rows))).mean()
        loss.backward()
        optimizer.step()
    return model.eval()


def pulls_of_couplings(kind: str, path: str, seed: int, steps: int = 60) -> dict[str, list[float]]:
    """Return (estimate − truth)/error of each coupling by estimator, from a file of configurations."""
    truth = TRUTHS[kind]
    system = Recorded(path, values=truth.kind, boundary="periodic", splits=(0.5, 0.1, 0.4), seed=seed)
    system.setup()
    measured = Ensemble(trained(system, seed, steps), system, 1.0)
    effective = uniform_hamiltonian(measured, 1.0, 500, seed, truth.operators)
    corrected = effective.corrected
    found = best(effective, seed).fit
    estimators = {
        "estimate": (found.couplings, found.errors),
        "pseudo_likelihood": (corrected.pseudo.couplings, corrected.pseudo.standard_errors),
    }
    if (matched := effective.score_matching) is not None:
        estimators["score_matching"] = matched.couplings, matched.standard_errors
    values = np.array([truth.couplings[operator.name] for operator in effective.operators])
    return {name: ((x - values) / errors).tolist() for name, (x, errors) in estimators.items()}


def estimates_of(
    system: Recorded, rows: torch.Tensor, blocks: Blocks | None
) -> dict[str, list[Estimate]]:
    """Return NLL, a difference of two NLL and observables of rows, for two random networks.

    Args:
        system: System of the rows.
        rows: Configurations `(M, *lattice)`.
        blocks: Blocks of the rows; by default they are one series.
    """
    others = []
    for number in range(2):
        torch.manual_seed(number)
        measured = Ensemble(MADE.for_system(system, width=2).eval(), system, 1.0)
        nll = -measured.evaluate(measured.model.log_prob, rows, batch_size=50_000)
        others.append(Likelihood(nll, blocks=blocks))
    observed = summary(measured, series(measured, rows), blocks=blocks)
    return {
        "nll": [others[0].nll],
        "difference of nll": [others[0].gain_over(others[1])],
        "observables": [*observed.values()],
    }


def pulls_of_test_split(
    kind: str, path: str, seed: int, pool_size: int = POOL
) -> dict[str, list[float]]:
    """Return (estimate − truth)/error of estimates from the held-out rows of a file, by their kind."""
    system = Recorded(
        path, values=TRUTHS[kind].kind, boundary="periodic", splits=(0.6, 0.2, 0.2), seed=seed
    )
    system.setup()
    rows = system.data.rows("test", 1.0).to(torch.get_default_dtype())
    found = estimates_of(system, rows, system.blocks("test", 1.0))
    key = (kind, pool_size)
    if key not in EXACT:
        everything = torch.as_tensor(pool(*key)).to(torch.get_default_dtype())
        EXACT[key] = {
            name: [estimate.value for estimate in group]
            for name, group in estimates_of(system, everything, None).items()
        }
    return {
        name: [
            (x.value - true) / max(x.error, 1e-12)
            for x, true in zip(group, EXACT[key][name], strict=True)
        ]
        for name, group in found.items()
    }
