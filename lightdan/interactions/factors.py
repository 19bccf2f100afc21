"""Functions of single sites, whose products are the terms of operators."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor


@dataclass(frozen=True)
class Power:
    """Power g(s) = (s − c)^p of a spin, a field or the value of a level.

    Args:
        exponent: Exponent p; 0 stands for the constant 1.
        centre: Centre c; only fields have one.
    """

    exponent: int = 1
    centre: float = 0.0

    def __call__(self, values: Tensor) -> Tensor:
        """Return g of site values `(...)`."""
        values = self._centred(values)
        return values if self.exponent == 1 else values**self.exponent

    def _centred(self, values: Tensor) -> Tensor:
        return values - self.centre if self.centre else values

    def derivatives(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return g' and g'' of site values `(...)`."""
        p, values = self.exponent, self._centred(values)
        first = p * values ** max(p - 1, 0)
        return first, p * (p - 1) * values ** max(p - 2, 0)

    def spec(self) -> dict[str, Any]:
        """Return the entry of a file."""
        centre = {"centre": self.centre} if self.centre else {}
        return {"power": self.exponent, **centre}


@dataclass(frozen=True)
class Harmonic:
    """Phasor g(θ) = e^{inθ} of an angle.

    Args:
        order: Order n, a nonzero integer.
    """

    order: int = 1

    def __call__(self, values: Tensor) -> Tensor:
        """Return g of site values `(...)`."""
        return torch.polar(torch.ones_like(values), self.order * values)

    def derivatives(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return g' and g'' of site values `(...)`."""
        phasor = self(values)
        return 1j * self.order * phasor, -(self.order**2) * phasor

    def spec(self) -> dict[str, Any]:
        """Return the entry of a file."""
        return {"harmonic": self.order}


@dataclass(frozen=True)
class Table:
    """Function of a level, given by its values.

    Args:
        levels: Levels of a site, ascending.
        values: Value g of each level.
    """

    levels: tuple[int, ...]
    values: tuple[float, ...]

    def __call__(self, values: Tensor) -> Tensor:
        """Return g of site values `(...)`."""
        levels = torch.tensor(self.levels, device=values.device)
        index = torch.searchsorted(levels, values.to(levels.dtype).contiguous())
        return torch.tensor(self.values, dtype=torch.float64, device=values.device)[index]

    def spec(self) -> dict[str, Any]:
        """Return the entry of a file."""
        return {"levels": list(self.levels), "values": list(self.values)}


@dataclass(frozen=True)
class Bump:
    """Cubic B-spline g(φ) = M_4((φ − start)/width), continued linearly beyond [low, high].

        M_4(u) = Σ_{k=0}^4 (−1)^k C(4, k) (u − k)_+^3/6

    Args:
        start: First of its five equidistant knots.
        width: Distance of the knots.
        low: Lower end of the range of the field.
        high: Upper end of the range.

    References:
        C. de Boor, A Practical Guide to Splines (1978), chapter IX.
    """

    start: float
    width: float
    low: float
    high: float

    def _piece(self, values: Tensor, power: int) -> Tensor:
        """Return Σ_k (−1)^k C(4, k) (u − k)_+^power/power!."""
        u = ((values - self.start) / self.width).clamp(0, 4)
        terms = [(-1) ** k * math.comb(4, k) * (u - k).clamp(min=0) ** power for k in range(4)]
        if power == 1:
            # (u − k)_+^1 is exact at the last knot as well.
            return sum(terms[1:], terms[0])
        return sum(terms[1:], terms[0]) / math.factorial(power)

    def __call__(self, values: Tensor) -> Tensor:
        """Return g of site values `(...)`."""
        inside = values.double().clamp(self.low, self.high)
        slope = self._piece(inside, 2) / self.width
        return self._piece(inside, 3) + slope * (values - inside)

    def derivatives(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return g' and g'' of site values `(...)`."""
        inside = values.double().clamp(self.low, self.high)
        second = self._piece(inside, 1) / self.width**2
        return self._piece(inside, 2) / self.width, second * (values == inside)

    def spec(self) -> dict[str, Any]:
        """Return the entry of a file."""
        return {"bump": [self.start, self.width, self.low, self.high]}


Factor: TypeAlias = Power | Harmonic | Table | Bump
"""Function of a single site."""


def factor_of(spec: Mapping[str, Any]) -> Factor:
    """Return the factor that an entry of a file describes.

    Raises:
        KeyError, TypeError, ValueError: The entry is damaged.
    """
    if "power" in spec:
        if int(spec["power"]) < 0:
            raise ValueError(f"a power is {spec['power']}")
        centre = float(spec.get("centre", 0.0))
        if not math.isfinite(centre):
            raise ValueError("a centre is not a finite number")
        return Power(int(spec["power"]), centre)
    if "harmonic" in spec:
        if int(spec["harmonic"]) == 0:
            raise ValueError("a harmonic is 0")
        return Harmonic(int(spec["harmonic"]))
    if "bump" in spec:
        numbers = [float(number) for number in spec["bump"]]
        start, width, low, high = numbers
        if not all(map(math.isfinite, numbers)) or width <= 0 or low >= high:
            raise ValueError("a bump has no range")
        return Bump(start, width, low, high)
    levels = tuple(int(level) for level in spec["levels"])
    values = tuple(float(value) for value in spec["values"])
    if len(levels) != len(values) or list(levels) != sorted(set(levels)):
        raise ValueError("a table does not fit its levels")
    if not all(map(math.isfinite, values)):
        raise ValueError("a table has a number that is not finite")
    return Table(levels, values)
