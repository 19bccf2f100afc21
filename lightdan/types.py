"""Array-shape aliases: one name for each kind of tensor that crosses a public function."""

from typing import NamedTuple, TypeAlias

from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

Configurations: TypeAlias = Num[Tensor, "batch *lattice"]
"""Spins ±1, integer levels, angles in [0, 2π) or real fields."""
PerConfiguration: TypeAlias = Float[Tensor, " batch"]
"""One number a configuration: ln p, energy, temperature."""
SiteValues: TypeAlias = Num[Tensor, "*batch"]
Parameters: TypeAlias = Float[Tensor, "*batch parameters"]
Features: TypeAlias = Float[Tensor, "*batch features"]
Mask: TypeAlias = Bool[Tensor, "*shape"]
Index: TypeAlias = Int[Tensor, "*shape"]


class Batch(NamedTuple):
    """Configurations `(B, *lattice)` and the temperature of each `(B,)`."""

    configurations: Tensor
    temperature: Tensor
