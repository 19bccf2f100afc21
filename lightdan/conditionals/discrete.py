"""Conditionals of spins and levels."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightdan.conditionals.base import Conditional
from lightdan.types import Features, Parameters, SiteValues


class Bernoulli(Conditional):
    """Distribution of a spin s = ±1 with one parameter, the logit a = ln p(+1) − ln p(−1).

    ln p(s) = ln σ(s a)
    """

    site_kinds = ("spin",)
    num_features = 1
    num_parameters = 1

    def features(self, values: SiteValues) -> Features:
        """Return the spin."""
        return values.unsqueeze(-1)

    def log_prob(self, values: SiteValues, parameters: Parameters) -> Tensor:
        """Return ln σ(s a)."""
        return F.logsigmoid(values * parameters.squeeze(-1))

    def sample(self, parameters: Parameters, uniforms: Tensor) -> Tensor:
        """Return +1 if u < σ(a), else −1."""
        up = uniforms < torch.sigmoid(parameters.squeeze(-1))
        return 2 * up.to(uniforms.dtype) - 1


class Categorical(Conditional):
    """Distribution of a site with K values v_k, which the system declares, and K parameters a_k.

        ln p(s = v_k) = a_k − ln Σ_l exp(a_l)

    The network sees a one-hot vector.
    """

    site_kinds = ("level", "spin")

    def fit_levels(self, levels: Sequence[int]) -> None:
        """Set the K values v_k."""
        self.levels = torch.tensor(sorted(levels))
        self.num_features = self.num_parameters = len(levels)

    def _indices(self, values: SiteValues) -> Tensor:
        return torch.searchsorted(self.levels.to(values), values.contiguous())

    def features(self, values: SiteValues) -> Features:
        """Return one-hot vectors `(..., K)`."""
        return F.one_hot(self._indices(values), len(self.levels)).to(values.dtype)

    def log_prob(self, values: SiteValues, parameters: Parameters) -> Tensor:
        """Return ln softmax(a)_k."""
        return parameters.log_softmax(-1).gather(-1, self._indices(values)[..., None]).squeeze(-1)

    def sample(self, parameters: Parameters, uniforms: Tensor) -> Tensor:
        """Invert the cumulative distribution."""
        cumulative = parameters.softmax(-1).cumsum(-1)[..., :-1]
        index = (uniforms.unsqueeze(-1) >= cumulative).sum(-1)
        return self.levels.to(uniforms)[index]
