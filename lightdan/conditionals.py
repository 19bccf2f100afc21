"""Distributions of one site given the sites before it."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lightdan import registry
from lightdan.types import Features, Parameters, SiteValues


class Conditional(ABC):
    """p(s_i | s_<i) with parameters that a network gives, and the features by which it sees a site.

    A subclass states the kinds of site it fits and how many features and parameters a site has. It
    holds no trainable weights; its constructor takes numbers and strings only and keeps them under
    their own names, for they go into the checkpoint.
    """

    site_kinds: ClassVar[tuple[str, ...]]
    """Kinds of site it fits: ``spin`` (±1), ``level`` (integers), ``angle``, ``real``."""
    num_features: int
    num_parameters: int

    @abstractmethod
    def features(self, values: SiteValues) -> Features:
        """What the network sees of site values `(...)`: `(..., num_features)`."""

    @abstractmethod
    def log_prob(self, values: SiteValues, parameters: Parameters) -> Tensor:
        """Ln p(value), or ln of the density, `(...)`."""

    @abstractmethod
    def sample(self, parameters: Parameters, uniforms: Tensor) -> Tensor:
        """Site values `(...)` at the given uniform random numbers in [0, 1) of the same shape."""

    def fit_levels(self, levels: Sequence[int]) -> None:  # noqa: B027 - most have no levels
        """Learn the values that a discrete site can take, before the network is built."""

    def spec(self) -> dict[str, Any]:
        """Class and arguments as plain data: what a checkpoint keeps."""
        cls = type(self)
        return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": self.arguments()}

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {}


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


DEFAULTS = {"spin": Bernoulli, "level": Categorical}
"""The conditional that a kind of site gets when none is asked for."""


def conditional_for(
    site_kind: str, levels: Sequence[int], wanted: Conditional | Mapping[str, Any] | None
) -> Conditional:
    """The conditional asked for, an object or its ``spec()``, or the default, ready for the sites.

    Raises:
        ValueError: it does not fit the kind of site, or there is none for it.
    """
    if isinstance(wanted, Mapping):
        wanted = registry.find(Conditional, wanted["class_path"])(**wanted.get("init_args", {}))
    if wanted is None and site_kind in DEFAULTS:
        wanted = DEFAULTS[site_kind]()
    if wanted is None or site_kind not in wanted.site_kinds:
        fitting = [n for n, cls in registry.known(Conditional).items() if site_kind in cls.site_kinds]
        subject = f"{type(wanted).__name__} does not fit" if wanted else "There is no default for"
        raise ValueError(
            f"{subject} sites of kind {site_kind!r}; conditionals that fit: "
            f"{', '.join(fitting) or 'none, register one by subclassing Conditional'}."
        )
    wanted = copy.copy(wanted)  # its levels are this model's own
    wanted.fit_levels(levels)
    return wanted
