"""Configurations whose sites change one at a time, with ln p_θ kept up to date."""

import math
from typing import Any

import torch
from torch import Tensor

from lightdan.lattices.angles import wrap
from lightdan.types import Conditions, Configurations, PerConfiguration


class Walkers:
    """Configurations whose sites change one at a time, with ln p of the bare network.

    A site's index is its place in the network's order. This fallback makes a full pass per change. An
    architecture may override `LearnedHamiltonian.bare_walkers` with walkers that reuse unchanged parts.

    Args:
        model: Network that evaluates ln p.
        configurations: Initial configurations `(B, *lattice)`, their sites arranged in the order.
        conditions: Conditions of each configuration, as `Distribution.conditions` returns them.
    """

    def __init__(
        self,
        model: Any,
        configurations: Configurations,
        conditions: Conditions | None = None,
    ) -> None:
        self.model, self.conditions = model, conditions
        self.values = configurations.flatten(1).T.clone()
        """Site values `(N, B)`."""
        self.log_prob = self.evaluate(self.values)
        """ln p of the configurations `(B,)`."""

    @property
    def configurations(self) -> Configurations:
        """Present configurations `(B, *lattice)`."""
        return self.values.T.reshape(-1, *self.model.lattice_shape)

    @torch.no_grad()
    def evaluate(self, values: Tensor) -> PerConfiguration:
        """Return ln p `(B,)` of site values `(N, B)`."""
        arranged = values.T.reshape(-1, *self.model.lattice_shape)
        terms: Tensor = self.model.ordered_conditionals(arranged, self.conditions)
        return terms.sum(1)

    @torch.no_grad()
    def propose(self, site: int, values: Tensor) -> PerConfiguration:
        """Return ln p `(B,)` with other values `(B,)` at this site."""
        self.proposed = self.values.clone()
        self.proposed[site] = values
        self.proposed_log_prob = self.evaluate(self.proposed)
        return self.proposed_log_prob

    def accept(self, where: Tensor) -> None:
        """Make the proposed change in the configurations selected by the mask `where` `(B,)`."""
        self.values = torch.where(where, self.proposed, self.values)
        self.log_prob = torch.where(where, self.proposed_log_prob, self.log_prob)


class SymmetricWalkers(Walkers):
    """Walkers with ln p_θ after symmetrisation, p_θ(s) = ⟨p(g s)⟩.

    The sites are in raster order. Their images under all elements g, in the network's order, change
    together.
    """

    @torch.no_grad()
    def evaluate(self, values: Tensor) -> PerConfiguration:
        """Return ln p_θ `(B,)` of site values `(N, B)` from ln p of their images."""
        group, ordering = self.model.group, self.model.ordering
        configurations = values.T.reshape(-1, *self.model.lattice_shape)
        elements = torch.arange(len(group), device=values.device)
        self.images = [
            self.model.bare_walkers(
                ordering.arrange(group.act(configurations, element)), self.conditions
            )
            for element in elements
        ]
        # Site j of s is site π⁻¹(j) of g s.
        self.places = ordering.places[group.permutations.argsort(dim=1)].tolist()
        self.signs = group.signs.tolist()
        return self._mean([image.log_prob for image in self.images])

    @torch.no_grad()
    def propose(self, site: int, values: Tensor) -> PerConfiguration:
        """Return ln p_θ `(B,)` with other values `(B,)` at the site of this raster index."""
        self.site, self.proposed = site, values
        proposals = []
        for image, places, sign in zip(self.images, self.places, self.signs, strict=True):
            moved = sign * values
            if self.model.site_kind == "angle":
                moved = wrap(moved)
            proposals.append(image.propose(places[site], moved))
        self.proposed_log_prob = self._mean(proposals)
        return self.proposed_log_prob

    def accept(self, where: Tensor) -> None:
        """Make the proposed change in the configurations selected by the mask `where` `(B,)`."""
        for image in self.images:
            image.accept(where)
        self.values[self.site] = torch.where(where, self.proposed, self.values[self.site])
        self.log_prob = torch.where(where, self.proposed_log_prob, self.log_prob)

    @staticmethod
    def _mean(log_probs: list[Tensor]) -> Tensor:
        return torch.stack(log_probs).logsumexp(0) - math.log(len(log_probs))
