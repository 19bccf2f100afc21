"""Mixtures of distributions of one kind."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightdan.conditionals.base import Conditional
from lightdan.types import Parameters, SiteValues


class Mixture(Conditional):
    """p = Σ_k w_k p_k with K components of one kind, their weights w = softmax(a) trained as well.

    A subclass states how many parameters a component has, `natural` and `component_log_prob`, and
    samples from the component that `choose` gives.

    Args:
        components: K.

    Raises:
        ValueError: components below 1.
    """

    component_parameters: ClassVar[int]

    def __init__(self, components: int = 3) -> None:
        if components < 1:
            name = type(self).__name__
            raise ValueError(f"{name} needs components ≥ 1, not components = {components}.")
        self.components = components
        self.num_parameters = components * (1 + self.component_parameters)

    def arguments(self) -> dict[str, Any]:
        """The number of components."""
        return {"components": self.components}

    @abstractmethod
    def natural(self, raw: Tensor) -> Tensor:
        """Parameters of the components `(..., K, n)` from what the network gives, of the same shape."""

    @abstractmethod
    def component_log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Ln p_k `(..., K)` at values `(..., 1)`."""

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Ln w_k `(..., K)` and the natural parameters of the components `(..., K, n)`."""
        parameters = parameters.unflatten(-1, (self.components, -1))
        return parameters[..., 0].log_softmax(-1), self.natural(parameters[..., 1:])

    def log_prob(self, values: SiteValues, parameters: Parameters) -> Tensor:
        """Ln Σ_k w_k p_k."""
        log_weights, natural = self.split(parameters)
        terms = self.component_log_prob(values.unsqueeze(-1), natural)
        return (log_weights + terms.to(log_weights.dtype)).logsumexp(-1)

    def choose(self, parameters: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """A component at one uniform number a site, and what is left of the number.

        Returns:
            Its natural parameters `(..., n)` and another uniform number in [0, 1) `(...)`, in float64.
        """
        log_weights, natural = self.split(parameters.double())
        weights = log_weights.exp()
        cumulative = weights.cumsum(-1)
        uniforms = uniforms.double().unsqueeze(-1)
        index = (uniforms >= cumulative[..., :-1]).sum(-1, keepdim=True)
        weight = weights.gather(-1, index)
        rest = (uniforms - cumulative.gather(-1, index)) / weight.clamp(min=1e-300) + 1
        chosen = natural.take_along_dim(index.unsqueeze(-1), -2)
        below_one = 1 - torch.finfo(torch.float64).eps
        return chosen.squeeze(-2), rest.squeeze(-1).clamp(0, below_one)
