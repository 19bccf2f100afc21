"""What a distribution of one site owes."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

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
    shifted: ClassVar[slice] = slice(None)
    """Of the parameters: those that a linear network makes depend on other sites."""
    bound: float = math.inf
    """Of reals: |x| beyond which the density vanishes, in standard deviations of the field."""

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
        # Checkpoints outlive the division of this package into modules.
        ours = cls.__module__.startswith(f"{__package__}.")
        module = __package__ if ours else cls.__module__
        return {"class_path": f"{module}.{cls.__qualname__}", "init_args": self.arguments()}

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {}
