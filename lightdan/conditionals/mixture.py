"""Base class of mixtures."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightdan.conditionals.base import Conditional
from lightdan.types import Parameters, SiteValues


class Mixture(Conditional):
    """Mixture of K components of one kind.

        p(s) = Σ_k w_k p_k(s),    w = softmax(a)

    A subclass implements `natural` and `component_log_prob`, and samples from the component that
    `choose` returns.

    Args:
        components: Number K of components.

    Raises:
        ValueError: components is below 1.
    """

    component_parameters: ClassVar[int]
    """Number of parameters n of a component."""

    def __init__(self, components: int = 3) -> None:
        if components < 1:
            name = type(self).__name__
            raise ValueError(f"{name} needs components ≥ 1, not components = {components}.")
        self.components = components
        self.num_parameters = components * (1 + self.component_parameters)

    def arguments(self) -> dict[str, Any]:
        """Return the number of components."""
        return {"components": self.components}

    @abstractmethod
    def natural(self, raw: Tensor) -> Tensor:
        """Return the parameters of the components, from raw outputs of a network `(..., K, n)`."""

    @abstractmethod
    def component_log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ln p_k `(..., K)` at values `(..., 1)`."""

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return ln w_k `(..., K)` and the parameters of the components `(..., K, n)`."""
        parameters = parameters.unflatten(-1, (self.components, -1))
        return parameters[..., 0].log_softmax(-1), self.natural(parameters[..., 1:])

    def log_prob(self, values: SiteValues, parameters: Parameters) -> Tensor:
        """Return ln Σ_k w_k p_k."""
        log_weights, natural = self.split(parameters)
        terms = self.component_log_prob(values.unsqueeze(-1), natural)
        return (log_weights + terms.to(log_weights.dtype)).logsumexp(-1)

    def choose(self, parameters: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Choose a component by one uniform number per site, and rescale the number within it.

        Returns:
            Parameters of the component `(..., n)` and a new uniform number `(...)` in [0, 1).
        """
        log_weights, natural = self.split(parameters.double())
        weights = log_weights.exp()
        cumulative = weights.cumsum(-1)
        uniforms = uniforms.double().unsqueeze(-1)
        index = (uniforms >= cumulative[..., :-1]).sum(-1, keepdim=True)
        weight = weights.gather(-1, index)
        rest = (uniforms - cumulative.gather(-1, index)) / weight.clamp(min=1e-300) + 1
        component = natural.take_along_dim(index.unsqueeze(-1), -2)
        below_one = 1 - torch.finfo(torch.float64).eps
        return component.squeeze(-2), rest.squeeze(-1).clamp(0, below_one)
