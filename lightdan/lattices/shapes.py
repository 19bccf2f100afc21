"""Shapes of chains and rectangles."""

from collections.abc import Sequence


def check_shape(shape: int | Sequence[int], name: str = "shape") -> tuple[int, ...]:
    """Return the side lengths of a chain or a rectangle; one integer L means L × L.

    Args:
        shape: Side length or side lengths.
        name: Name of the shape in the error message.

    Raises:
        ValueError: There are not one or two side lengths, or one is not positive.
    """
    sides = (shape, shape) if isinstance(shape, int) else tuple(shape)
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise ValueError(f"{name} must be one or two positive side lengths, not {shape}.")
    return sides
