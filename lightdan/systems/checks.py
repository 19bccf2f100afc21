"""Checks of arguments that several systems and commands share."""

import math
from collections.abc import Sequence


def check_temperatures(temperature: float | Sequence[float]) -> list[float]:
    """Return the temperatures as a list of positive numbers.

    Raises:
        ValueError: There is none, one occurs twice, or one is not a positive finite number.
    """
    values = [temperature] if isinstance(temperature, (int, float)) else temperature
    temperatures = [float(value) for value in values]
    if not temperatures or not all(0 < value < math.inf for value in temperatures):
        raise ValueError(f"temperature must be positive and finite, not {temperature}.")
    if len(set(temperatures)) < len(temperatures):
        raise ValueError(f"temperature names a value twice: pass each once, not {temperature}.")
    return temperatures


def check_positive(name: str, value: int) -> int:
    """Return an integer of at least 1.

    Raises:
        ValueError: The value is below 1.
    """
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}.")
    return value


def check_seed(name: str, seed: int) -> int:
    """Return a random seed of at least 0.

    Raises:
        ValueError: It is negative.
    """
    if seed < 0:
        raise ValueError(f"{name} must be at least 0, not {seed}.")
    return seed
