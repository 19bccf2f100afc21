"""Base class of the conditional distributions of one site."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from lightdan.types import Features, Parameters, SiteValues


class Conditional(ABC):
    """Distribution p(s_i | s_<i) of one site, with parameters that a network returns.

    A subclass declares the kinds of site it fits and the numbers of features and parameters per site. It
    has no trainable weights. Its constructor takes only numbers and strings, which `arguments` returns
    because checkpoints keep them.
    """

    site_kinds: ClassVar[tuple[str, ...]]
    """Kinds of site that it fits: ``spin`` (±1), ``level`` (integers), ``angle``, ``real``."""
    num_features: int
    """Number of features by which a network sees a site."""
    num_parameters: int
    """Number of parameters that a network returns per site."""
    shifted: ClassVar[slice] = slice(None)
    """Parameters that depend on other sites in a linear network; the others are constant."""
    bound: float = math.inf
    """Largest |x| at which the density of a real is not zero, in standard deviations of the field."""

    @abstractmethod
    def features(self, values: SiteValues) -> Features:
        """Return the features `(..., num_features)` of site values `(...)`."""

    @abstractmethod
    def log_prob(self, values: SiteValues, parameters: Parameters) -> Tensor:
        """Return ln p `(...)` of site values, or ln of their density."""

    @abstractmethod
    def sample(self, parameters: Parameters, uniforms: Tensor) -> Tensor:
        """Return site values `(...)` as a function of uniform numbers `(...)` in [0, 1)."""

    def fit_levels(self, levels: Sequence[int]) -> None:  # noqa: B027 - most have no levels
        """Set the values that a discrete site can take, before the network is built."""

    def spec(self) -> dict[str, Any]:
        """Return class and arguments as plain data, for checkpoints."""
        cls = type(self)
        # Checkpoints must not depend on the modules of this package.
        ours = cls.__module__.startswith(f"{__package__}.")
        module = __package__ if ours else cls.__module__
        return {"class_path": f"{module}.{cls.__qualname__}", "init_args": self.arguments()}

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {}
