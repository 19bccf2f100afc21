"""Spins and levels."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightdan.conditionals.base import Conditional
from lightdan.types import Features, Parameters, SiteValues


class Bernoulli(Conditional):
    """ln p(s) = ln σ(s a) for a spin s = ±1 with one parameter, the logit a = ln p(+1) − ln p(−1)."""

    site_kinds = ("spin",)
    num_features = 1
    num_parameters = 1

    def features(self, values: SiteValues) -> Features:
        """The spin itself."""
        return values.unsqueeze(-1)

    def log_prob(self, values: SiteValues, parameters: Parameters) -> Tensor:
        """Ln σ(s a)."""
        return F.logsigmoid(values * parameters.squeeze(-1))

    def sample(self, parameters: Parameters, uniforms: Tensor) -> Tensor:
        """+1 where u < σ(a)."""
        up = uniforms < torch.sigmoid(parameters.squeeze(-1))
        return 2 * up.to(uniforms.dtype) - 1


class Categorical(Conditional):
    """ln p(s = v_k) = a_k − ln Σ_l exp(a_l) for a site with K values v_k and K parameters a_k.

    The network sees a one-hot vector. The values are those that the system declares.
    """

    site_kinds = ("level", "spin")

    def fit_levels(self, levels: Sequence[int]) -> None:
        """Take the K values v_k."""
        self.levels = torch.tensor(sorted(levels))
        self.num_features = self.num_parameters = len(levels)

    def _indices(self, values: SiteValues) -> Tensor:
        return torch.searchsorted(self.levels.to(values), values.contiguous())

    def features(self, values: SiteValues) -> Features:
        """One-hot."""
        return F.one_hot(self._indices(values), len(self.levels)).to(values.dtype)

    def log_prob(self, values: SiteValues, parameters: Parameters) -> Tensor:
        """Ln softmax(a)_k."""
        return parameters.log_softmax(-1).gather(-1, self._indices(values)[..., None]).squeeze(-1)

    def sample(self, parameters: Parameters, uniforms: Tensor) -> Tensor:
        """Inverse of the cumulative distribution."""
        cumulative = parameters.softmax(-1).cumsum(-1)[..., :-1]
        index = (uniforms.unsqueeze(-1) >= cumulative).sum(-1)
        return self.levels.to(uniforms)[index]
