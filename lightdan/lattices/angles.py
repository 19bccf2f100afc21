"""Angles on a lattice: wrapping, polarization and vortices."""

import math

import torch
from torch import Tensor

from lightdan.types import Configurations

TWO_PI = 2 * math.pi


def wrap(angles: Tensor) -> Tensor:
    """Angles modulo 2π, in [0, 2π)."""
    wrapped = torch.remainder(angles, TWO_PI)
    # a little below 0 is rounded up to 2π
    return torch.where(wrapped < TWO_PI, wrapped, 0)


def polarization(angles: Configurations) -> Tensor:
    """Mean of the unit vectors (cos θ, sin θ) over the sites `(B, 2)`."""
    flat = angles.flatten(1)
    return torch.stack([torch.cos(flat).mean(1), torch.sin(flat).mean(1)], dim=1)


def vorticity(angles: Configurations, boundary: str = "periodic") -> Tensor:
    """Winding number of each plaquette, an integer, at its first corner `(B, rows, columns)`.

    The differences along the four bonds, counterclockwise with columns as x and rows as y, each
    wrapped to [−π, π), sum to 2π times it. On a torus all plaquettes sum to zero; with an open boundary
    there is a row and a column less. (J. Kosterlitz and D. Thouless, J. Phys. C 6, 1181.)
    """

    def difference(axis: int) -> Tensor:
        ahead = angles.roll(-1, axis) - angles
        return ahead - TWO_PI * torch.floor(ahead / TWO_PI + 0.5)

    up, right = difference(1), difference(2)
    loop = right + up.roll(-1, 2) - right.roll(-1, 1) - up
    winding = torch.round(loop / TWO_PI)
    return winding if boundary == "periodic" else winding[:, :-1, :-1]
