"""Held-out likelihood of explicit Hamiltonians of rare spins, beside those of simpler models.

    OMP_NUM_THREADS=1 python benchmarks/sparse.py [data sets]

There are twenty data sets of 20,000 rows for 15 and 50 sites, with and without bonds; rates are from .02
to .2. The models are compared on 20,000 other rows, all in nats per configuration. A loss is a baseline
that is more likely by more than one error of the paired difference.
"""

import sys
import time
from collections import defaultdict

import numpy as np

sys.path.insert(0, "tests/interactions")

from test_search import exact, sparse_terms

from lightdan.interactions.all_pairs import fit_all_pairs
from lightdan.interactions.choice import choose
from lightdan.interactions.graph_fit import GraphFit
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.observations import Observations
from lightdan.interactions.operators import operators_of_terms
from lightdan.interactions.search import TermSearch
from lightdan.measurements.couplings import likelihood
from lightdan.measurements.couplings.baselines import linear

NUM = 20_000


def of(fit: GraphFit, held_out: Observations, seed: int) -> likelihood.Likelihood:
    """Return the likelihood of held-out rows under fitted terms."""
    hamiltonian = ExplicitHamiltonian.from_couplings(
        (fit.num_sites,), operators_of_terms(fit.terms), fit.values[:, 0]
    )
    return likelihood.of_hamiltonian(hamiltonian, held_out, seed)


def main(num_sets: int) -> None:
    """Print the mean advantage over each baseline, its range and the number of losses."""
    for num_sites, num_bonds in ((15, 0), (15, 12), (50, 0), (50, 40)):
        gains, start = defaultdict(list), time.process_time()
        for seed in range(num_sets):
            truth = sparse_terms(num_sites, num_bonds, seed)
            rows = exact(truth, num_sites, 2 * NUM, seed)
            train, held_out = rows[:NUM], Observations(rows[NUM:])
            search = TermSearch(train)
            search.find()
            choice = choose(search, train)

            true = np.array([[value, 0.0] for value in truth.values()])
            all_pairs = of(fit_all_pairs(train, choice.width, errors=False), held_out, seed)
            own = all_pairs if choice.all_pairs else of(search.fit(train), held_out, seed)
            sites = ("spin", (-1, 1))
            others = {
                "independent": likelihood.of_independent_sites(Observations(train), held_out, *sites),
                "linear": linear(Observations(train), held_out, *sites),
                "all pairs": all_pairs,
                "truth": of(GraphFit(num_sites, [*truth], true), held_out, seed),
            }
            for name, other in others.items():
                gains[name].append(
                    (*own.gain_over(other), own.nll.value - other.nll.value - other.nll.error)
                )
        print(f"{num_sites} sites, {num_bonds} bonds, {(time.process_time() - start) / num_sets:.1f} s")
        for name, values in gains.items():
            gain, error, excess = np.array(values).T
            print(
                f"  {name}: {gain.mean():+.5f}, from {gain.min():+.5f} to {gain.max():+.5f}, "
                f"error {error.mean():.5f}, worse by two errors {(gain < -2 * error).sum()}, "
                f"NLL beyond the other's plus its error {(excess > 0).sum()}",
                flush=True,
            )


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["20"])[0]))
