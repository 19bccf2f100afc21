"""Shapes of arrays: one name for each kind of tensor that public functions share."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

Configurations: TypeAlias = Num[Tensor, "B *lattice"]
"""Spins ±1, integer levels, angles in [0, 2π) or real fields."""
PerConfiguration: TypeAlias = Float[Tensor, " B"]
"""One number per configuration: ln p, energy, temperature."""
Conditions: TypeAlias = Float[Tensor, "B *inputs"]
"""T of each configuration `(B,)`, or T with the controls of each `(B, 1 + controls)`."""
ConfigurationsLike: TypeAlias = Tensor | np.ndarray
"""Configurations from outside `(B, *lattice)`, whose shape and values are checked in the call."""
TemperatureLike: TypeAlias = Tensor | np.ndarray | float
"""One temperature from outside, or one per configuration."""
ControlsLike: TypeAlias = Mapping[str, TemperatureLike] | Tensor
"""Controls by name, each one number or one per configuration, or all of them `(B, controls)`."""
SiteValues: TypeAlias = Num[Tensor, "*sites"]
Parameters: TypeAlias = Float[Tensor, "*sites parameters"]
Features: TypeAlias = Float[Tensor, "*sites features"]
Mask: TypeAlias = Bool[Tensor, "*shape"]
Index: TypeAlias = Int[Tensor, "*shape"]


class Batch(NamedTuple):
    """Configurations `(B, *lattice)`, their temperatures `(B,)`, weights `(B,)` and controls.

    Controls are `(B, controls)`, or None if the system has none. Weights have the mean 1 over the split;
    None stands for equal ones. Training batches have none, because rows with weights are drawn in
    proportion to them.
    """

    configurations: Tensor
    temperature: Tensor
    weight: Tensor | None = None
    controls: Tensor | None = None

    @property
    def conditions(self) -> Tensor:
        """T of each configuration `(B,)`, or T and the controls `(B, 1 + controls)`."""
        if self.controls is None:
            return self.temperature
        return torch.cat([self.temperature[:, None], self.controls], dim=1)

    def mean(self, values: Tensor) -> Tensor:
        """Return the weighted mean of one value per configuration `(B,)`."""
        return values.mean() if self.weight is None else (self.weight * values).mean()
