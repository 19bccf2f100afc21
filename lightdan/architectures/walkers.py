"""Configurations of which single sites change, with ln p_θ kept up to date."""

import math
from typing import Any

import torch
from torch import Tensor

from lightdan.lattices.angles import wrap
from lightdan.types import Configurations, PerConfiguration


class Walkers:
    """Configurations s of which single sites change, with ln p of the bare network.

    The sites are those of the network's order, a site's index its place there.
    This fallback makes a full pass a change. An architecture overrides `Distribution.bare_walkers` with
    one that keeps what a change leaves as it is.

    Args:
        model: The network.
        configurations: At first `(B, *lattice)`, the sites in the order.
        temperature: T of each, for a network with temperature input.
    """

    def __init__(
        self,
        model: Any,
        configurations: Configurations,
        temperature: PerConfiguration | None = None,
    ) -> None:
        self.model, self.temperature = model, temperature
        self.values = configurations.flatten(1).T.clone()
        """Of the sites `(N, B)`."""
        self.log_prob = self.evaluate(self.values)
        """Ln p `(B,)`."""

    @property
    def configurations(self) -> Configurations:
        """As they are now `(B, *lattice)`."""
        return self.values.T.reshape(-1, *self.model.lattice_shape)

    @torch.no_grad()
    def evaluate(self, values: Tensor) -> PerConfiguration:
        """Ln p of site values `(N, B)`."""
        arranged = values.T.reshape(-1, *self.model.lattice_shape)
        terms: Tensor = self.model.ordered_conditionals(arranged, self.temperature)
        return terms.sum(1)

    @torch.no_grad()
    def propose(self, site: int, values: Tensor) -> PerConfiguration:
        """Ln p `(B,)` if this site had these values `(B,)`."""
        self.proposed = self.values.clone()
        self.proposed[site] = values
        self.proposed_log_prob = self.evaluate(self.proposed)
        return self.proposed_log_prob

    def accept(self, where: Tensor) -> None:
        """Make the proposed change in the configurations for which `where` `(B,)` holds."""
        self.values = torch.where(where, self.proposed, self.values)
        self.log_prob = torch.where(where, self.proposed_log_prob, self.log_prob)


class SymmetricWalkers(Walkers):
    """The same for p_θ(s) = ⟨p(g s)⟩: the images under all g of the group change together.

    The sites are in raster order, and their images in that of the network.
    """

    @torch.no_grad()
    def evaluate(self, values: Tensor) -> PerConfiguration:
        """Ln p_θ of site values `(N, B)`, from that of their images."""
        group, ordering = self.model.group, self.model.ordering
        configurations = values.T.reshape(-1, *self.model.lattice_shape)
        elements = torch.arange(len(group), device=values.device)
        self.images = [
            self.model.bare_walkers(
                ordering.arrange(group.act(configurations, element)), self.temperature
            )
            for element in elements
        ]
        # Site j of s is at π⁻¹(j) in g s.
        self.places = ordering.places[group.permutations.argsort(dim=1)].tolist()
        self.signs = group.signs.tolist()
        return self._mean([image.log_prob for image in self.images])

    @torch.no_grad()
    def propose(self, site: int, values: Tensor) -> PerConfiguration:
        """Ln p_θ `(B,)` if the site of this raster index had these values `(B,)`."""
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
        """Make the proposed change in the configurations for which `where` `(B,)` holds."""
        for image in self.images:
            image.accept(where)
        self.values[self.site] = torch.where(where, self.proposed, self.values[self.site])
        self.log_prob = torch.where(where, self.proposed_log_prob, self.log_prob)

    @staticmethod
    def _mean(log_probs: list[Tensor]) -> Tensor:
        return torch.stack(log_probs).logsumexp(0) - math.log(len(log_probs))
