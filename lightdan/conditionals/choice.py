"""Which conditional a kind of site gets."""

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
