"""Choice of the conditional for a kind of site."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from lightdan import registry
from lightdan.conditionals.base import Conditional
from lightdan.conditionals.circular import VonMisesMixture
from lightdan.conditionals.discrete import Bernoulli, Categorical
from lightdan.conditionals.real import GaussianMixture

DEFAULTS: dict[str, type[Conditional]] = {
    "spin": Bernoulli,
    "level": Categorical,
    "angle": VonMisesMixture,
    "real": GaussianMixture,
}
"""Default conditional of each kind of site."""


def conditional_from(spec: Mapping[str, Any]) -> Conditional:
    """Return the conditional whose `Conditional.spec` this is.

    Raises:
        ValueError: There is no such class.
    """
    cls = registry.find(Conditional, spec["class_path"])
    return cls(**spec.get("init_args", {}))


def conditional_for(
    site_kind: str, levels: Sequence[int], conditional: Conditional | Mapping[str, Any] | None
) -> Conditional:
    """Return a conditional that is ready for sites of this kind.

    Args:
        site_kind: ``spin``, ``level``, ``angle`` or ``real``.
        levels: Values of a discrete site.
        conditional: Conditional, or its `Conditional.spec`; by default that of `DEFAULTS`.

    Raises:
        ValueError: The conditional does not fit the kind of site, or there is no default.
    """
    if isinstance(conditional, Mapping):
        conditional = conditional_from(conditional)
    if conditional is None and site_kind in DEFAULTS:
        conditional = DEFAULTS[site_kind]()
    if conditional is None or site_kind not in conditional.site_kinds:
        name = type(conditional).__name__
        subject = f"{name} does not fit" if conditional else "There is no default conditional for"
        fitting = [n for n, cls in registry.known(Conditional).items() if site_kind in cls.site_kinds]
        remedy = f"use one of {', '.join(fitting)}" if fitting else "subclass Conditional"
        raise ValueError(f"{subject} sites of kind {site_kind!r}: {remedy}.")
    conditional = copy.copy(conditional)  # because each model sets its own levels
    conditional.fit_levels(levels)
    return conditional
