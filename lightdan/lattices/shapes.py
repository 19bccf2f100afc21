"""Shapes of chains and rectangles."""

import math
from collections.abc import Sequence

MOST_SITES = 10_000_000
"""Largest number of sites, whose ordering alone takes 80 MB."""


def check_size(shape: Sequence[int], name: str) -> int:
    """Return the number of sites of a lattice.

    Args:
        shape: Side lengths.
        name: Name of the shape in the error message.

    Raises:
        ValueError: There are more than `MOST_SITES`.
    """
    num = math.prod(shape)
    if num > MOST_SITES:
        raise ValueError(f"{name} must have at most {MOST_SITES:,} sites, not {num:,}.")
    return num


def check_shape(shape: int | Sequence[int], name: str = "shape") -> tuple[int, ...]:
    """Return the side lengths of a chain or a rectangle; one integer L means L × L.

    Args:
        shape: Side length or side lengths.
        name: Name of the shape in the error message.

    Raises:
        ValueError: There are not one or two side lengths, one is not positive, or there are too many
            sites.
    """
    sides = (shape, shape) if isinstance(shape, int) else tuple(shape)
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise ValueError(f"{name} must be one or two positive side lengths, not {shape}.")
    check_size(sides, name)
    return sides
