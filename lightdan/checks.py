"""Checks of numbers that the constructors and commands receive."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TypeVar

N = TypeVar("N", bound=float)

LARGEST = 1e12
"""Largest modulus of a number; powers and products of such ones are finite in single precision."""
SMALLEST = 1 / LARGEST
"""Smallest positive number, for the same reason."""


def is_sentence(error: BaseException) -> bool:
    """Return whether an error says in a sentence what is wrong, as those of this package do."""
    return isinstance(error, ValueError) and str(error).endswith(".")


def check_number(name: str, value: N, least: float = -LARGEST, most: float = LARGEST) -> N:
    """Return a real number within limits.

    Args:
        name: Name of the option in the message.
        value: The number.
        least: Smallest number that is allowed.
        most: Largest number that is allowed.

    Raises:
        ValueError: It is no number, not finite, or outside the limits.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, not {value!r}.")
    if least <= value <= most:
        return value
    kind = "positive and finite" if least > 0 else "finite and not negative" if least == 0 else "finite"
    if not math.isfinite(value) or value <= 0 <= least:
        raise ValueError(f"{name} must be {kind}, not {value}.")
    raise ValueError(
        f"{name} must be a number from {least:g} to {most:g}, not {value}: use other units."
    )


def check_integer(name: str, value: int, least: int = 1, most: int = 2**63 - 1) -> int:
    """Return an integer within limits.

    Args:
        name: Name of the option in the message.
        value: The integer.
        least: Smallest integer that is allowed.
        most: Largest integer that is allowed; by default that of 64 bits.

    Raises:
        ValueError: It is no integer or outside the limits.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} must be an integer, not {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}.")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, not {value}.")
    return value


def check_seed(name: str, seed: int) -> int:
    """Return a random seed of at least 0.

    Raises:
        ValueError: It is negative or no integer of 64 bits.
    """
    return check_integer(name, seed, least=0)


def check_temperatures(temperature: float | Sequence[float], name: str = "temperature") -> list[float]:
    """Return the temperatures as a list of positive numbers.

    Args:
        temperature: One temperature or several, also as an array.
        name: Name of the option in the message.

    Raises:
        ValueError: There is none, one occurs twice, or one is not a positive finite number.
    """
    if hasattr(temperature, "tolist"):
        temperature = temperature.tolist()
    values = temperature if isinstance(temperature, Sequence) else [temperature]
    if not values or isinstance(values, str):
        raise ValueError(f"{name} must be positive and finite, not {temperature!r}.")
    temperatures = [float(check_number(name, value, SMALLEST)) for value in values]
    if len(set(temperatures)) < len(temperatures):
        raise ValueError(f"{name} names a value twice: pass each once, not {temperature}.")
    return temperatures
