"""The Hamiltonian H_θ of a distribution and its differences under changes of single sites."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightdan.architectures.distribution import Distribution
from lightdan.architectures.walkers import SymmetricWalkers, Walkers
from lightdan.types import Configurations, PerConfiguration


class LearnedHamiltonian(Distribution):
    """H_θ(s, T) = −T ln p_θ(s), an estimate of the Hamiltonian plus the constant T ln Z."""

    def hamiltonian(
        self, configurations: Configurations, temperature: PerConfiguration | float
    ) -> PerConfiguration:
        """Return H_θ `(B,)` in units of T."""
        temperature = torch.as_tensor(temperature).to(configurations).expand(len(configurations))
        return -temperature * self.log_prob(configurations, temperature)

    def bare_walkers(
        self, arranged: Configurations, temperature: PerConfiguration | None = None
    ) -> Walkers:
        """Return walkers with ln p before symmetrisation; the sites are arranged in the order.

        An architecture overrides this fallback if it can reuse parts of a pass.
        """
        return Walkers(self, arranged, temperature)

    @torch.no_grad()
    def walkers(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> Walkers:
        """Return walkers with ln p_θ, whose sites are in raster order."""
        if len(self.group) == 1 and self.ordering.is_raster:
            return self.bare_walkers(configurations, temperature)
        return SymmetricWalkers(self, configurations, temperature)

    @torch.no_grad()
    def energy_difference(
        self,
        configurations: Configurations,
        site: int,
        value: PerConfiguration | float,
        temperature: PerConfiguration | float,
    ) -> PerConfiguration:
        """Return H_θ(s') − H_θ(s) `(B,)`, where s' has `value` at the site of this raster index."""
        temperature = torch.as_tensor(temperature).to(configurations).expand(len(configurations))
        walkers = self.walkers(configurations, temperature)
        values = torch.as_tensor(value).to(configurations).expand(len(configurations))
        return -temperature * (walkers.propose(site, values) - walkers.log_prob)

    @torch.no_grad()
    def local_fields(
        self,
        configurations: Configurations,
        temperature: PerConfiguration | float,
        sites: Sequence[int] | None = None,
    ) -> Tensor:
        """Return H_θ(s') − H_θ(s) for every level at every site `(B, sites, levels)`.

        The entry is 0 at the level that the site has in s.

        Args:
            configurations: Configurations s `(B, *lattice)`.
            temperature: Temperature T.
            sites: Raster indices of the sites; by default all.

        Raises:
            ValueError: The sites are continuous.
        """
        if not self.levels:
            raise ValueError(
                f"local_fields needs discrete sites, not sites of kind {self.site_kind!r}: use the "
                "gradient of the Hamiltonian."
            )
        temperature = torch.as_tensor(temperature).to(configurations).expand(len(configurations))
        walkers = self.walkers(configurations, temperature)
        levels = torch.tensor(self.levels).to(configurations)
        indices = range(self.num_sites) if sites is None else sites
        differences = configurations.new_zeros(len(indices), len(levels), len(configurations))
        for row, site in enumerate(indices):
            present = walkers.values[site]
            if len(levels) == 2:
                change = walkers.propose(site, levels.sum() - present) - walkers.log_prob
                differences[row] = torch.where(levels[:, None] == present, 0, change)
                continue
            for index, level in enumerate(levels):
                change = walkers.propose(site, level.expand_as(present)) - walkers.log_prob
                differences[row, index] = torch.where(level == present, 0, change)
        return -temperature[:, None, None] * differences.permute(2, 0, 1)
