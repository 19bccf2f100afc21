"""Sites and combinations whose couplings no configurations determine."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightdan.interactions.operators import Operator, Term

SMALL = 0.1
"""Part of the largest coefficient of a combination below which others are not mentioned."""


class Known(NamedTuple):
    """A coupling that the configurations only bound, because a conditional is certain.

    Args:
        term: Term that ties the site.
        coupling: βJ with a half more count on either side.
        reason: Clause that says why.
    """

    term: Term
    coupling: float
    reason: str


def undetermined_sites(
    down: NDArray[np.uint8], factors: NDArray[np.float64] | None = None
) -> dict[int, Known]:
    """Return the sites that never change, or always equal or oppose a former one.

    Args:
        down: 1 where a spin is down `(N, M)`.
        factors: Number of times that each configuration counts `(M,)`; 1 by default.
    """
    num = down.shape[1] if factors is None else factors.sum()
    bound = 0.5 * np.log(2 * num + 1)
    known: dict[int, Known] = {}
    former: dict[bytes, int] = {}
    for site, row in enumerate(down):
        if row.min() == row.max():
            known[site] = Known((site,), bound * (1 - 2.0 * row[0]), f"site {site} never changes")
            continue
        other = former.setdefault(np.packbits(row ^ row[0]).tobytes(), site)
        if other != site:
            equal = row[0] == down[other, 0]
            reason = f"sites {other} and {site} are {'equal' if equal else 'opposite'} in every row"
            known[site] = Known((other, site), bound if equal else -bound, reason)
    return known


def undetermined_combinations(
    operators: Sequence[Operator], covariance: NDArray[np.float64], width: float
) -> list[str]:
    """Return a sentence about combinations of couplings that the prior decides, if there are any.

    The error of such a combination is more than half the width of the prior.

    Args:
        operators: Operators.
        covariance: Covariance of their couplings βJ `(operators, operators)`.
        width: Width of the prior of each coupling; infinite without a prior.
    """
    variances, vectors = np.linalg.eigh(covariance)
    texts = []
    for vector in vectors.T[variances > (width / 2) ** 2]:
        vector = vector / vector[np.abs(vector).argmax()]
        parts = [
            f"{'−' if value < 0 else '+'} {abs(value):.2g} {operator.name}"
            for operator, value in zip(operators, vector, strict=True)
            if abs(value) > SMALL
        ]
        texts.append(" ".join(parts).removeprefix("+ "))
    if not texts:
        return []
    return [f"The data do not determine these combinations of couplings: {'; '.join(texts)}."]
