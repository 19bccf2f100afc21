"""The Hamiltonian H_θ of a distribution and its differences under changes of single sites."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightdan.architectures.distribution import Distribution, temperature_of
from lightdan.architectures.walkers import SymmetricWalkers, Walkers
from lightdan.lattices.sites import site_values
from lightdan.types import (
    Conditions,
    Configurations,
    ConfigurationsLike,
    ControlsLike,
    PerConfiguration,
    TemperatureLike,
)


class LearnedHamiltonian(Distribution):
    """H_θ(s, T) = −T ln p_θ(s), an estimate of the Hamiltonian plus the constant T ln Z."""

    def hamiltonian(
        self,
        configurations: ConfigurationsLike,
        temperature: TemperatureLike,
        controls: ControlsLike | None = None,
    ) -> PerConfiguration:
        """Return H_θ `(B,)` in units of T; the values are checked as in `log_prob`."""
        s, conditions = self.checked(configurations, temperature, controls)
        return -temperature_of(conditions) * self.symmetrized_log_prob(s, conditions)

    def bare_walkers(self, arranged: Configurations, conditions: Conditions | None = None) -> Walkers:
        """Return walkers with ln p before symmetrisation; the sites are arranged in the order.

        An architecture overrides this fallback if it can reuse parts of a pass.
        """
        return Walkers(self, arranged, conditions)

    @torch.no_grad()
    def walkers(self, configurations: Configurations, conditions: Conditions | None = None) -> Walkers:
        """Return walkers with ln p_θ, whose sites are in raster order."""
        if len(self.group) == 1 and self.ordering.is_raster:
            return self.bare_walkers(configurations, conditions)
        return SymmetricWalkers(self, configurations, conditions)

    @torch.no_grad()
    def energy_difference(
        self,
        configurations: ConfigurationsLike,
        site: int,
        value: TemperatureLike,
        temperature: TemperatureLike,
        controls: ControlsLike | None = None,
    ) -> PerConfiguration:
        """Return H_θ(s') − H_θ(s) `(B,)`, where s' has `value` at the site of this raster index.

        Args:
            configurations: Configurations s `(B, *lattice)`, which are checked as in `log_prob`.
            site: Raster index.
            value: New value of the site, one for all or one for each configuration.
            temperature: T, one for all or one for each configuration.
            controls: Controls by name, for a network that sees some.

        Raises:
            ValueError: There is no such site, the shapes do not fit, or a value is none of a site.
        """
        self._check_sites([site])
        s, conditions = self.checked(configurations, temperature, controls)
        new = torch.as_tensor(value).to(s).expand(len(s))[:, None]
        new = site_values(new, (1,), self.site_kind, self.levels, name="new values")
        walkers = self.walkers(s, conditions)
        return -temperature_of(conditions) * (walkers.propose(site, new[:, 0]) - walkers.log_prob)

    def _check_sites(self, sites: Sequence[int]) -> None:
        for site in sites:
            if not 0 <= site < self.num_sites:
                raise ValueError(
                    f"There is no site {site}: pass an index from 0 to {self.num_sites - 1}."
                )

    @torch.no_grad()
    def local_fields(
        self,
        configurations: ConfigurationsLike,
        temperature: TemperatureLike,
        sites: Sequence[int] | None = None,
        controls: ControlsLike | None = None,
    ) -> Tensor:
        """Return H_θ(s') − H_θ(s) for every level at every site `(B, sites, levels)`.

        The entry is 0 at the level that the site has in s.

        Args:
            configurations: Configurations s `(B, *lattice)`, which are checked as in `log_prob`.
            temperature: T, one for all or one for each configuration.
            sites: Raster indices of the sites; by default all.
            controls: Controls by name, for a network that sees some.

        Raises:
            ValueError: The sites are continuous, there is no such site, the shapes do not fit, or a
                value is none of a site.
        """
        if not self.levels:
            raise ValueError(
                f"local_fields needs discrete sites, not sites of kind {self.site_kind!r}: use the "
                "gradient of the Hamiltonian."
            )
        indices = range(self.num_sites) if sites is None else sites
        self._check_sites(indices)
        s, conditions = self.checked(configurations, temperature, controls)
        walkers = self.walkers(s, conditions)
        levels = torch.tensor(self.levels).to(s)
        differences = s.new_zeros(len(indices), len(levels), len(s))
        for row, site in enumerate(indices):
            present = walkers.values[site]
            if len(levels) == 2:
                change = walkers.propose(site, levels.sum() - present) - walkers.log_prob
                differences[row] = torch.where(levels[:, None] == present, 0, change)
                continue
            for index, level in enumerate(levels):
                change = walkers.propose(site, level.expand_as(present)) - walkers.log_prob
                differences[row, index] = torch.where(level == present, 0, change)
        return -temperature_of(conditions)[:, None, None] * differences.permute(2, 0, 1)
