"""Shapes of arrays: one name for each kind of tensor that public functions share."""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

Configurations: TypeAlias = Num[Tensor, "B *lattice"]
"""Spins ±1, integer levels, angles in [0, 2π) or real fields."""
PerConfiguration: TypeAlias = Float[Tensor, " B"]
"""One number per configuration: ln p, energy, temperature."""
ConfigurationsLike: TypeAlias = Tensor | np.ndarray
"""Configurations from outside `(B, *lattice)`, whose shape and values are checked in the call."""
TemperatureLike: TypeAlias = Tensor | np.ndarray | float
"""One temperature from outside, or one per configuration."""
SiteValues: TypeAlias = Num[Tensor, "*sites"]
Parameters: TypeAlias = Float[Tensor, "*sites parameters"]
Features: TypeAlias = Float[Tensor, "*sites features"]
Mask: TypeAlias = Bool[Tensor, "*shape"]
Index: TypeAlias = Int[Tensor, "*shape"]


class Batch(NamedTuple):
    """Configurations `(B, *lattice)`, their temperatures `(B,)` and weights `(B,)`.

    Weights have the mean 1 over the split; None stands for equal ones. Training batches have none,
    because rows with weights are drawn in proportion to them.
    """

    configurations: Tensor
    temperature: Tensor
    weight: Tensor | None = None

    def mean(self, values: Tensor) -> Tensor:
        """Return the weighted mean of one value per configuration `(B,)`."""
        return values.mean() if self.weight is None else (self.weight * values).mean()
