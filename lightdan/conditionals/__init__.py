"""Conditional distributions of one site, one file per family."""

from lightdan.conditionals.base import Conditional
from lightdan.conditionals.choice import DEFAULTS, conditional_for, conditional_from
from lightdan.conditionals.circular import BetaMixture, VonMisesMixture
from lightdan.conditionals.discrete import Bernoulli, Categorical
from lightdan.conditionals.mixture import Mixture
from lightdan.conditionals.real import BoxBetaMixture, GaussianMixture
from lightdan.conditionals.spline import CircularSpline

__all__ = [
    "DEFAULTS",
    "Bernoulli",
    "BetaMixture",
    "BoxBetaMixture",
    "Categorical",
    "CircularSpline",
    "Conditional",
    "GaussianMixture",
    "Mixture",
    "VonMisesMixture",
    "conditional_for",
    "conditional_from",
]
