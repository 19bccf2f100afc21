"""How p_θ factorises over sites: probabilities, sampling and the Hamiltonian."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from typing import ClassVar

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from lightdan.architectures.walkers import SymmetricWalkers, Walkers
from lightdan.conditionals import Conditional, conditional_for
from lightdan.lattices import groups
from lightdan.lattices.angles import TWO_PI, wrap
from lightdan.lattices.orderings import ordering as ordering_of
from lightdan.types import Configurations, PerConfiguration


class Distribution(LightningModule, ABC):
    """ln p_θ(s) = Σ_i ln p(s_i | s_<i), the sites in a given order, with H_θ(s, T) = −T ln p_θ(s).

    A field of reals x enters as z = (x − location) / scale, with the mean and the standard deviation of
    the training data, which the checkpoint keeps; the Jacobian −ln scale a site is in ln p_θ. In the
    same way the temperature enters as T over the geometric mean of those of the training data.

    Args:
        lattice_shape: Numbers of sites along the axes.
        site_kind: ``spin``, ``level``, ``angle`` or ``real``.
        levels: The values of a discrete site.
        symmetries: Names of the symmetry operations that the system declares.
        conditional: Distribution of one site; by default the one that fits the kind of site.
        symmetrize: Operations that make p_θ(s) = ⟨p(g s)⟩, the mean over their group, which stays
            normalised. Maximum likelihood trains its bound ⟨ln p(g s)⟩ with one random g a step.
        reference_frame: Of angles: p_θ(θ) = p(θ_1 − θ_0, θ_2 − θ_0, …), the first angle being uniform;
            exactly invariant under global rotations, and normalised.
        temperature_input: Whether the network sees 1/T, so that one network serves several T.
        ordering: In which order the sites become known: ``raster``, ``snake``, ``diagonal``,
            ``hilbert``, ``checkerboard``, or a list of all raster indices.

    Raises:
        ValueError: a conditional that does not fit, an operation that the system does not declare, a
            reference frame without angles, an average over all rotations, an order that is none.
    """

    sees_levels: ClassVar[bool] = False
    """Whether the sites of one level of an ordering do not see each other, but those of earlier levels
    only, so that they are drawn at once; else each site is a level of its own."""

    location: Tensor
    scale: Tensor
    unit_of_temperature: Tensor
    bias: Tensor
    bias_slope: Tensor

    def __init__(
        self,
        lattice_shape: Sequence[int],
        site_kind: str = "spin",
        levels: Sequence[int] = (-1, 1),
        symmetries: Sequence[str] = tuple(groups.OPERATIONS),
        conditional: Conditional | None = None,
        symmetrize: Sequence[str] = (),
        reference_frame: bool = False,
        temperature_input: bool = False,
        ordering: str | list[int] = "raster",
    ) -> None:
        super().__init__()
        self.lattice_shape = tuple(lattice_shape)
        self.num_sites = math.prod(lattice_shape)
        self.site_kind = site_kind
        self.levels = tuple(sorted(levels)) if site_kind in ("spin", "level") else ()
        self.conditional = conditional_for(site_kind, levels, conditional)
        self.symmetries = tuple(symmetries)
        self.check_declared("symmetrize", symmetrize)
        if "spin_rotation" in symmetrize:
            raise ValueError(
                "model.symmetrize cannot average over spin_rotation, a continuous group: set "
                "model.reference_frame to true."
            )
        if reference_frame and site_kind != "angle":
            raise ValueError(
                f"model.reference_frame is for angles, not for sites of kind {site_kind!r}."
            )
        self.reference_frame = reference_frame
        self.temperature_input = temperature_input
        self.symmetrize = tuple(symmetrize)
        self.group = groups.group(self.symmetrize, lattice_shape)
        order = ordering_of(ordering, lattice_shape)
        self.ordering = order if self.sees_levels else order.one_by_one()
        if site_kind == "real":
            self.register_buffer("location", torch.zeros(()))
            self.register_buffer("scale", torch.ones(()))
        if temperature_input:
            self.register_buffer("unit_of_temperature", torch.ones(()))

    def check_declared(self, option: str, names: Sequence[str]) -> None:
        """Refuse an operation that is no symmetry of the system.

        Raises:
            ValueError: the sentence names it.
        """
        if unknown := sorted(set(names) - set(self.symmetries)):
            raise ValueError(
                f"model.{option} names {', '.join(unknown)}, which the system does not declare; "
                f"its symmetries are: {', '.join(self.symmetries) or 'none'}."
            )

    # What a subclass gives

    @abstractmethod
    def forward(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> Tensor:
        """Conditional parameters of all sites `(B, sites, parameters)`; those of i see s_<i only.

        The k-th of the sites given, in rows, is the k-th of `ordering`, and so of those returned.
        """

    def incremental(
        self, num: int, temperature: PerConfiguration | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """Yield the parameters `(B, n, parameters)` of level after level; the values `(B, n)` are sent.

        A level has n = 1 site, except in orderings that say otherwise. This fallback makes a full pass
        a level; an architecture that keeps a cache overrides it.
        """
        some = self.levels[0] if self.levels else 1
        flat = self._any_weight.new_full((num, self.num_sites), some)
        start = 0
        for size in self.ordering.levels:
            level = slice(start, start + size)
            parameters = self(flat.reshape(num, *self.lattice_shape), temperature)
            flat[:, level] = yield parameters[:, level]
            start += size

    # What follows

    @property
    def _any_weight(self) -> Tensor:
        """For its device and floating type."""
        return next(self.parameters())

    def _generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)

    @property
    def num_features(self) -> int:
        """Features by which the network sees a site."""
        return self.conditional.num_features * (2 if self.temperature_input else 1)

    def features(self, values: Tensor, temperature: PerConfiguration | None) -> Tensor:
        """What the network sees of site values `(B, ...)`: their features f `(B, ..., F)`.

        With temperature input both f and f/T, for at high temperature couplings go as 1/T. Of reals
        those of z.

        Raises:
            ValueError: the network has temperature input and no temperature is given.
        """
        if self.site_kind == "real":
            values = (values - self.location) / self.scale
        features = self.conditional.features(values)
        if not self.temperature_input:
            return features
        if temperature is None:
            raise ValueError("The network sees the temperature: give one.")
        beta = (self.unit_of_temperature / temperature).reshape(-1, *[1] * (features.ndim - 1))
        return torch.cat([features, beta * features], dim=-1)

    def add_bias(self, *shape: int) -> None:
        """Make the weights b, and b' with temperature input, of `biases`, zero at first."""
        self.bias = nn.Parameter(torch.zeros(*shape))
        if self.temperature_input:
            self.bias_slope = nn.Parameter(torch.zeros(*shape))

    def biases(self, num: int, temperature: PerConfiguration | None) -> Tensor:
        """The parameters where no site is seen, b + b'/T `(num, *shape)`."""
        if temperature is None or not self.temperature_input:
            return self.bias.expand(num, *self.bias.shape)
        return self.bias + self.bias_slope / temperature.reshape(-1, *[1] * self.bias.ndim)

    def site_log_prob(self, values: Tensor, parameters: Tensor) -> Tensor:
        """Ln p of site values `(...)`, for reals the density with respect to dx."""
        if self.site_kind != "real":
            return self.conditional.log_prob(values, parameters)
        standardized = (values - self.location) / self.scale
        return self.conditional.log_prob(standardized, parameters) - self.scale.log()

    def conditionals(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> Tensor:
        """Ln p(s_i | s_<i) of every site `(B, *lattice)`, of the network before symmetrisation."""
        terms = self.ordered_conditionals(self.ordering.arrange(configurations), temperature)
        return self.ordering.restore(terms).reshape(configurations.shape)

    def ordered_conditionals(
        self, arranged: Configurations, temperature: PerConfiguration | None = None
    ) -> Tensor:
        """The same of sites that are in the order already, and in that order `(B, sites)`."""
        flat = arranged.flatten(1)
        if not self.reference_frame:
            return self.site_log_prob(flat, self(arranged, temperature))
        relative = wrap(flat - flat[:, :1])
        parameters = self(relative.reshape(arranged.shape), temperature)
        terms = self.site_log_prob(relative[:, 1:], parameters[:, 1:])
        # The first angle is uniform: density 1 in the measure dθ/2π.
        return F.pad(terms, (1, 0))

    def bare_log_prob(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> PerConfiguration:
        """Ln p of the network before symmetrisation `(B,)`."""
        return self.ordered_conditionals(self.ordering.arrange(configurations), temperature).sum(1)

    def log_prob(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> PerConfiguration:
        """Ln p_θ `(B,)`: with `symmetrize` ln of the mean of p over the group, |G| passes."""
        if len(self.group) == 1:
            return self.bare_log_prob(configurations, temperature)
        elements = torch.arange(len(self.group), device=configurations.device)
        images = [
            self.bare_log_prob(self.group.act(configurations, element), temperature)
            for element in elements
        ]
        return torch.stack(images).logsumexp(0) - math.log(len(self.group))

    def hamiltonian(
        self, configurations: Configurations, temperature: PerConfiguration | float
    ) -> PerConfiguration:
        """H_θ(s, T) = −T ln p_θ(s) in units of T, up to the constant −T ln Z `(B,)`."""
        temperature = torch.as_tensor(temperature).to(configurations).expand(len(configurations))
        return -temperature * self.log_prob(configurations, temperature)

    def bare_walkers(
        self, arranged: Configurations, temperature: PerConfiguration | None = None
    ) -> Walkers:
        """Configurations of which single sites change, in the order, with ln p before symmetrisation."""
        return Walkers(self, arranged, temperature)

    @torch.no_grad()
    def walkers(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> Walkers:
        """The same with ln p_θ."""
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
        """H_θ(s') − H_θ(s) for s' with `value` at the site of this raster index `(B,)`."""
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
        """All single-site differences: H_θ(s') − H_θ(s) with level k at site i `(B, sites, levels)`.

        Of the given sites, or of all. Of spins the first level is −1, the second +1; the one that the
        site has gives 0.

        Raises:
            ValueError: the sites are continuous.
        """
        if not self.levels:
            raise ValueError(
                f"local_fields is for discrete sites, not for those of kind {self.site_kind!r}: "
                "take the gradient of the Hamiltonian."
            )
        temperature = torch.as_tensor(temperature).to(configurations).expand(len(configurations))
        walkers = self.walkers(configurations, temperature)
        levels = torch.tensor(self.levels).to(configurations)
        chosen = range(self.num_sites) if sites is None else sites
        differences = configurations.new_zeros(len(chosen), len(levels), len(configurations))
        for row, site in enumerate(chosen):
            present = walkers.values[site]
            if len(levels) == 2:
                change = walkers.propose(site, levels.sum() - present) - walkers.log_prob
                differences[row] = torch.where(levels[:, None] == present, 0, change)
                continue
            for index, level in enumerate(levels):
                change = walkers.propose(site, level.expand_as(present)) - walkers.log_prob
                differences[row, index] = torch.where(level == present, 0, change)
        return -temperature[:, None, None] * differences.permute(2, 0, 1)

    @torch.no_grad()
    def draw(self, uniforms: Tensor, temperature: PerConfiguration | None = None) -> Tensor:
        """Configurations of the bare network at given uniform numbers `(B, sites)` in [0, 1)."""
        steps = self.incremental(len(uniforms), temperature)
        parameters = next(steps)
        levels: list[Tensor] = []
        for level in uniforms.split(self.ordering.levels, dim=1):
            values = self.conditional.sample(parameters, level)
            if self.reference_frame and not levels:
                values = torch.zeros_like(level)
            if self.site_kind == "real":
                values = self.location + self.scale * values
            levels.append(values)
            try:
                parameters = steps.send(values)
            except StopIteration:
                break
        drawn = torch.cat(levels, dim=1)
        if self.reference_frame:
            drawn = wrap(drawn + TWO_PI * uniforms[:, :1])
        return self.ordering.restore(drawn).reshape(-1, *self.lattice_shape)

    @torch.no_grad()
    def sample(
        self,
        num: int,
        seed: int | torch.Generator = 0,
        temperature: PerConfiguration | float | None = None,
        batch_size: int = 1000,
        progress: Callable[[int], None] = lambda n: None,
    ) -> Tensor:
        """Independent configurations of p_θ `(num, *lattice)`.

        Args:
            num: How many.
            seed: Of the random numbers, or a generator on the model's device.
            temperature: T, for a network with temperature input.
            batch_size: Configurations drawn at a time.
            progress: Told how many more are drawn.
        """
        generator = seed if isinstance(seed, torch.Generator) else self._generator(seed)
        if temperature is not None:
            temperature = torch.as_tensor(temperature).to(self._any_weight).expand(num)
        drawn = []
        for rows in torch.arange(num, device=self.device).split(batch_size):
            uniforms = self._any_weight.new_empty(len(rows), self.num_sites).detach()
            uniforms.uniform_(generator=generator)
            part = self.draw(uniforms, None if temperature is None else temperature[rows])
            drawn.append(self.group.act(part, self.group.random_elements(len(rows), generator)))
            progress(len(rows))
        return torch.cat(drawn)
