"""Couplings of all pairs of levels or angles, from regressions of each site on all others."""

import numpy as np

from lightdan.interactions.regressions import Regression
from lightdan.simulation.terms import Interactions, Terms, gather


def pairwise(regression: Regression) -> Interactions:
    """Return the Hamiltonian whose conditionals are closest to regressions on all other sites.

        −H = Σ_i b_i · f(s_i) + Σ_{i<j} f(s_i)ᵀ J_ij f(s_j)

    The matrix J_ij is the mean of W_ij and the transpose of W_ji.

    Args:
        regression: Regressions of levels or angles; each site sees all others.
    """
    features = regression.sites.num_features
    joint = (regression.weight + regression.weight.T) / 2
    bias = regression.bias + regression.mean @ (regression.weight - joint)
    num = len(bias) // features
    couplings = joint.double().cpu().numpy().reshape(num, features, num, features)
    couplings = couplings.transpose(0, 2, 1, 3)  # (N, N, F, F)
    fields = bias.double().cpu().numpy().reshape(num, features)
    if regression.sites.kind == "level":
        return _of_levels(fields, couplings)
    return _of_angles(fields, couplings)


def _of_levels(fields: np.ndarray, couplings: np.ndarray) -> Interactions:
    num, size = len(fields), fields.shape[1] + 1
    table = np.eye(size)[1:]
    terms = [
        Terms(np.array([[site]]), (level,), float(fields[site, level]))
        for site in range(num)
        for level in range(size - 1)
    ]
    alone = gather("level", num, terms, table)
    own, others = np.nonzero(~np.eye(num, dtype=bool))
    matrices = np.zeros((len(own), size, size))
    matrices[:, 1:, 1:] = couplings[own, others]
    starts = (num - 1) * np.arange(num + 1)
    return alone._replace(
        pair_starts=starts,
        pair_bonds=starts[:-1].copy(),
        pair_others=others.astype(np.intp),
        pair_factors=np.stack([np.arange(len(own)), np.zeros(len(own), int)], 1).astype(np.intp),
        pair_couplings=np.ones(len(own), complex),
        matrices=matrices,
    )


def _of_angles(fields: np.ndarray, couplings: np.ndarray) -> Interactions:
    num = len(fields)
    sites = np.arange(num)[:, None]
    pairs = np.stack(np.triu_indices(num, 1), 1)
    (cc, cs), (sc, ss) = couplings[pairs[:, 0], pairs[:, 1]].transpose(1, 2, 0)
    # Re[(a − ib) e^{ix}] = a cos x + b sin x.
    groups = [
        Terms(sites, (1,), fields[:, 0] - 1j * fields[:, 1]),
        Terms(pairs, (1, -1), ((cc + ss) - 1j * (sc - cs)) / 2),
        Terms(pairs, (1, 1), ((cc - ss) - 1j * (cs + sc)) / 2),
    ]
    return gather("angle", num, groups)
