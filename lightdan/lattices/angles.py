"""Angles on a lattice: wrapping, polarization and vortices."""

import math

import torch
from torch import Tensor

from lightdan.types import Configurations

TWO_PI = 2 * math.pi


def wrap(angles: Tensor) -> Tensor:
    """Return the angles modulo 2π, in [0, 2π)."""
    wrapped = torch.remainder(angles, TWO_PI)
    # The remainder of a tiny negative number is rounded up to 2π.
    return torch.where(wrapped < TWO_PI, wrapped, 0)


def polarization(angles: Configurations) -> Tensor:
    """Return the mean of the unit vectors (cos θ, sin θ) over the sites `(B, 2)`."""
    flat = angles.flatten(1)
    return torch.stack([torch.cos(flat).mean(1), torch.sin(flat).mean(1)], dim=1)


def vorticity(angles: Configurations, boundary: str = "periodic") -> Tensor:
    """Return the integer winding number of each plaquette, at its first corner `(B, rows, columns)`.

        2π v = Σ (θ_j − θ_i wrapped to [−π, π)) over the four bonds i → j

    The bonds run counterclockwise, with columns as x and rows as y. On a torus the winding numbers sum
    to zero. With an open boundary there is one row and one column less.

    References:
        J. M. Kosterlitz and D. J. Thouless, J. Phys. C 6, 1181 (1973).
    """

    def difference(axis: int) -> Tensor:
        ahead = angles.roll(-1, axis) - angles
        return ahead - TWO_PI * torch.floor(ahead / TWO_PI + 0.5)

    up, right = difference(1), difference(2)
    loop = right + up.roll(-1, 2) - right.roll(-1, 1) - up
    winding = torch.round(loop / TWO_PI)
    return winding if boundary == "periodic" else winding[:, :-1, :-1]
