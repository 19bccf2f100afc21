"""Sites whose couplings no configurations determine."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightdan.interactions.operators import Term


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
