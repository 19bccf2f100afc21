"""The distribution p_θ: probabilities and sampling."""

import copy
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, overload

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from lightdan.checks import check_integer
from lightdan.conditionals import Conditional, conditional_for
from lightdan.lattices import groups
from lightdan.lattices.angles import TWO_PI, wrap
from lightdan.lattices.bravais import from_spec, hypercubic
from lightdan.lattices.orderings import ordering as ordering_of
from lightdan.lattices.shapes import check_size
from lightdan.lattices.sites import control_values, site_values, temperatures
from lightdan.types import (
    Conditions,
    Configurations,
    ConfigurationsLike,
    ControlsLike,
    PerConfiguration,
    TemperatureLike,
)

D = TypeVar("D", bound="Distribution")

CONTROL_UNITS = 8
"""Number of hidden units by which controls act on sites that see no other."""
ROUNDING = 1e-5
"""Relative difference of numbers that are the same in single precision."""


def temperature_of(conditions: Conditions) -> PerConfiguration:
    """Return the temperatures `(B,)` in conditions `(B,)` or `(B, 1 + controls)`."""
    return conditions if conditions.ndim == 1 else conditions[:, 0]


class Distribution(LightningModule, ABC):
    """Product of the conditional distributions of the sites, taken in a fixed order.

        ln p_θ(s) = Σ_i ln p(s_i | s_<i)

    A real field x enters the network as z = (x − location) / scale, the mean and the standard deviation
    of the training data; ln p_θ contains the Jacobian −ln scale per site. The temperature enters in
    units of the geometric mean of the training temperatures, and controls in units of their mean and
    standard deviation. Checkpoints keep these units.

    Args:
        lattice_shape: Numbers of sites along the axes; the command line takes them from the system.
        site_kind: Kind of site, from the system: ``spin``, ``level``, ``angle`` or ``real``.
        levels: Values of a discrete site, from the system.
        symmetries: Names of the symmetry operations that the system declares.
        conditional: Distribution of one site; by default the one that fits the kind of site.
        symmetrize: Operations over whose group p is averaged: p_θ(s) = ⟨p(g s)⟩ is invariant and
            normalised. Maximum likelihood trains the lower bound ⟨ln p(g s)⟩ with one random g per step.
        reference_frame: Whether angles are measured from the first one, which is then uniform:
            p_θ(θ) = p(θ_1 − θ_0, θ_2 − θ_0, …) is exactly invariant under global rotations.
        temperature_input: Whether the network sees 1/T, so that one network serves several T.
        ordering: Order of the sites: ``raster``, ``snake``, ``diagonal``, ``hilbert``,
            ``checkerboard``, or a list of all raster indices.
        control_names: Names of the controls that the network sees, from the system.
        lattice_spec: Lattice as plain lists, from the system; a rectangular one by default.

    Raises:
        ValueError: The conditional does not fit the sites, the system does not declare an operation,
            a group is continuous, a reference frame is set without angles, or the order is unknown.
    """

    sees_stages: ClassVar[bool] = False
    """Whether a site sees only the sites of earlier stages of the ordering, so that all sites of a stage
    are drawn at once; otherwise each site is a stage of its own."""

    location: Tensor
    scale: Tensor
    unit_of_temperature: Tensor
    control_mean: Tensor
    control_scale: Tensor
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
        control_names: Sequence[str] = (),
        lattice_spec: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.lattice_shape = tuple(lattice_shape)
        self.num_sites = check_size(lattice_shape, "lattice_shape")
        self.lattice = hypercubic(lattice_shape) if lattice_spec is None else from_spec(lattice_spec)
        if self.lattice.shape != self.lattice_shape:
            raise ValueError(
                f"lattice_shape {self.lattice_shape} is not that of the lattice, {self.lattice.shape}: "
                "take both from the system."
            )
        for level in levels:
            check_integer("levels", level, -(2**31), 2**31)
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
                f"model.reference_frame needs angles, not sites of kind {site_kind!r}: set it to false."
            )
        self.reference_frame = reference_frame
        self.temperature_input = temperature_input
        self.symmetrize = tuple(symmetrize)
        self.group = groups.group(self.symmetrize, self.lattice)
        order = ordering_of(ordering, self.lattice)
        self.ordering = order if self.sees_stages else order.one_by_one()
        if site_kind == "real":
            self.register_buffer("location", torch.zeros(()))
            self.register_buffer("scale", torch.ones(()))
        if temperature_input:
            self.register_buffer("unit_of_temperature", torch.ones(()))
        self.control_names = tuple(control_names)
        self.fixed_controls: dict[str, float] = {}
        self._warned: set[str] = set()
        if control_names:
            num = len(control_names)
            self.register_buffer("control_mean", torch.zeros(num))
            self.register_buffer("control_scale", torch.ones(num))

    def check_declared(self, option: str, names: Sequence[str]) -> None:
        """Check the operations that an option names.

        Raises:
            ValueError: An operation is not a symmetry of the system.
        """
        if unknown := sorted(set(names) - set(self.symmetries)):
            raise ValueError(
                f"model.{option} names {', '.join(unknown)}, which the system does not declare: use its "
                f"symmetries ({', '.join(self.symmetries) or 'none'})."
            )

    # What a subclass implements

    @abstractmethod
    def forward(self, configurations: Configurations, conditions: Conditions | None = None) -> Tensor:
        """Return the conditional parameters of all sites `(B, sites, parameters)`.

        The sites are arranged in the order; the parameters of site i depend on s_<i only.
        """

    def incremental(
        self, num: int, conditions: Conditions | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """Yield the parameters `(B, n, parameters)` of each stage and receive its values `(B, n)`.

        This fallback makes one full pass per stage.
        """
        some_value = self.levels[0] if self.levels else 1
        flat = self._any_weight.new_full((num, self.num_sites), some_value)
        start = 0
        for size in self.ordering.stages:
            stage = slice(start, start + size)
            parameters = self(flat.reshape(num, *self.lattice_shape), conditions)
            flat[:, stage] = yield parameters[:, stage]
            start += size

    def at_place(self, place: int) -> Callable[[Configurations, Conditions | None], Tensor]:
        """Return a function for the conditional parameters `(B, parameters)` of one site.

        It receives configurations `(B, *lattice)`, their sites arranged in the order, and conditions.
        Sites from the place on do not matter. This fallback computes the parameters of all sites.

        Args:
            place: Place of the site in the order.
        """
        return lambda configurations, conditions: self(configurations, conditions)[:, place]

    # Parts of networks

    @property
    def _any_weight(self) -> Tensor:
        """A weight, from which new tensors take device and floating type."""
        return next(self.parameters())

    def _generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)

    @property
    def num_features(self) -> int:
        """Number of features F by which the network sees a site."""
        return self.conditional.num_features * (
            1 + int(self.temperature_input) + len(self.control_names)
        )

    def features(self, values: Tensor, conditions: Conditions | None) -> Tensor:
        """Return the features `(B, ..., F)` by which the network sees site values `(B, ...)`.

        With temperature input they are f and f/T, because couplings grow as 1/T at high temperature.
        Each control c adds f (c − mean)/(standard deviation), with the moments of the training rows.

        Raises:
            ValueError: The network sees the temperature or controls, and none is passed.
        """
        if self.site_kind == "real":
            values = (values - self.location) / self.scale
        features = self.conditional.features(values)
        if not self.temperature_input and not self.control_names:
            return features
        inputs = self._inputs(conditions).T
        scaled = [each.reshape(-1, *[1] * (features.ndim - 1)) * features for each in inputs]
        return torch.cat([features, *scaled], dim=-1)

    def _inputs(self, conditions: Conditions | None) -> Tensor:
        """Return 1/T and the controls in the units of the training data `(B, inputs)`."""
        if conditions is None:
            raise ValueError(
                "The network sees the temperature: pass one."
                if self.temperature_input
                else f"The network sees {', '.join(self.control_names)}: pass these controls."
            )
        columns = conditions.reshape(len(conditions), -1)
        inputs = []
        if self.temperature_input:
            inputs.append(self.unit_of_temperature / columns[:, :1])
        if self.control_names:
            inputs.append((columns[:, 1:] - self.control_mean) / self.control_scale)
        return torch.cat(inputs, dim=1)

    def add_bias(self, *shape: int) -> None:
        """Create the weights of `biases`; all that are added to b start at zero."""
        self.bias = nn.Parameter(torch.zeros(*shape))
        if self.temperature_input:
            self.bias_slope = nn.Parameter(torch.zeros(*shape))
        if self.control_names:
            inputs = int(self.temperature_input) + len(self.control_names)
            self.control_layer = nn.Linear(inputs, CONTROL_UNITS)
            self.control_bias = nn.Parameter(torch.zeros(inputs + CONTROL_UNITS, *shape))

    def biases(self, num: int, conditions: Conditions | None) -> Tensor:
        """Return the parameters of sites that see no other `(B, *shape)`.

        They are b + b'/T with temperature input. Controls add B (x, tanh(W x + c)), where x are 1/T and
        the controls in the units of the training data.
        """
        if self.control_names:
            x = self._inputs(conditions).to(self.bias)
            x = torch.cat([x, torch.tanh(self.control_layer(x))], dim=1)
            extra = torch.tensordot(x, self.control_bias, dims=1)
        else:
            extra = None
        if conditions is None or not self.temperature_input:
            constant = self.bias.expand(num, *self.bias.shape)
        else:
            temperature = temperature_of(conditions)
            constant = self.bias + self.bias_slope / temperature.reshape(-1, *[1] * self.bias.ndim)
        return constant if extra is None else constant + extra

    # Probabilities

    def site_log_prob(self, values: Tensor, parameters: Tensor) -> Tensor:
        """Return ln p of site values `(...)`; for reals the density with respect to dx."""
        if self.site_kind != "real":
            return self.conditional.log_prob(values, parameters)
        standardized = (values - self.location) / self.scale
        return self.conditional.log_prob(standardized, parameters) - self.scale.log()

    def conditionals(
        self, configurations: Configurations, conditions: Conditions | None = None
    ) -> Tensor:
        """Return ln p(s_i | s_<i) of every site `(B, *lattice)`, before symmetrisation."""
        terms = self.ordered_conditionals(self.ordering.arrange(configurations), conditions)
        return self.ordering.restore(terms).reshape(configurations.shape)

    def ordered_conditionals(
        self, arranged: Configurations, conditions: Conditions | None = None
    ) -> Tensor:
        """Return ln p(s_i | s_<i) `(B, sites)` of sites that are arranged in the order."""
        flat = arranged.flatten(1)
        if not self.reference_frame:
            return self.site_log_prob(flat, self(arranged, conditions))
        relative = wrap(flat - flat[:, :1])
        parameters = self(relative.reshape(arranged.shape), conditions)
        terms = self.site_log_prob(relative[:, 1:], parameters[:, 1:])
        # The first angle is uniform: its density is 1 in the measure dθ/2π.
        return F.pad(terms, (1, 0))

    def bare_log_prob(
        self, configurations: Configurations, conditions: Conditions | None = None
    ) -> PerConfiguration:
        """Return ln p of the network before symmetrisation `(B,)`; the values are not checked."""
        return self.ordered_conditionals(self.ordering.arrange(configurations), conditions).sum(1)

    @overload
    def checked(
        self,
        configurations: ConfigurationsLike,
        temperature: TemperatureLike,
        controls: ControlsLike | None = None,
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def checked(
        self,
        configurations: ConfigurationsLike,
        temperature: TemperatureLike | None,
        controls: ControlsLike | None = None,
    ) -> tuple[Tensor, Tensor | None]: ...

    def checked(
        self,
        configurations: ConfigurationsLike,
        temperature: TemperatureLike | None,
        controls: ControlsLike | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return configurations and their conditions in the network's floating type, after a check.

        Raises:
            ValueError: The shapes do not fit, a value is none of a site, a temperature is not positive,
                or a control is missing.
        """
        like = self._any_weight
        s = site_values(configurations, self.lattice_shape, self.site_kind, self.levels, like)
        return s, self.conditions(len(s), temperature, controls)

    def conditions(
        self,
        num: int,
        temperature: TemperatureLike | None = None,
        controls: ControlsLike | None = None,
    ) -> Conditions | None:
        """Return T `(B,)`, or T and the controls `(B, 1 + controls)`; None if none is passed.

        Args:
            num: Number of configurations B.
            temperature: T, one number or one per configuration.
            controls: Controls by name, or all of them `(B, controls)`; by default those of `at`.

        A `UserWarning` names the first T, and the first value of each control, outside the training.

        Raises:
            ValueError: A temperature is not positive, or the controls are not those of the network.
        """
        like = self._any_weight
        t = None if temperature is None else temperatures(temperature, num, like)
        if t is not None:
            self._warn_outside("T", t)
        if not self.control_names:
            if controls is not None:
                raise ValueError("The network sees no controls: leave them out.")
            return t
        if t is None and self.temperature_input:
            raise ValueError("The network sees the temperature: pass one.")
        if controls is None and self.fixed_controls:
            controls = self.fixed_controls
        values = self._control_values(num, controls)
        return torch.cat([like.new_ones(num, 1) if t is None else t[:, None], values], dim=1)

    def at(self: D, controls: Mapping[str, float]) -> D:
        """Return this network at fixed controls, which its functions take if none are passed.

        It shares the weights.

        Args:
            controls: Value of each control by name.

        Raises:
            ValueError: The controls are not those of the network.
        """
        self._control_values(1, controls)
        network = copy.copy(self)
        network.fixed_controls = dict(controls)
        return network

    def _control_values(self, num: int, controls: ControlsLike | None) -> Tensor:
        """Return the controls of each of some configurations `(num, controls)`, after a check."""
        values = control_values(controls, self.control_names, num, self._any_weight)
        for name, column in zip(self.control_names, values.T, strict=True):
            self._warn_outside(name, column)
        return values

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Lowest and highest T and controls of the training rows by name; empty if they are unknown."""
        return {}

    def _warn_outside(self, name: str, values: Tensor) -> None:
        """Warn at the first values of T or of a control that are outside those of the training.

        Args:
            name: ``T`` or name of the control.
            values: Values.
        """
        if name not in self.ranges or name in self._warned or not values.numel():
            return
        low, high = self.ranges[name]
        ends = [end.item() for end in values.detach().aminmax()]
        margin = ROUNDING * max(abs(low), abs(high))
        outside = [end for end in ends if not low - margin <= end <= high + margin]
        if not outside:
            return
        self._warned.add(name)
        reach = f"reach from {low:g} to {high:g}" if low < high else f"are at {low:g}"
        seen = name != "T" or self.temperature_input
        result = "the network extrapolates" if seen else "the network does not see T and stays there"
        warnings.warn(
            f"{name} = {outside[0]:g} is outside the training data, which {reach}: {result}.",
            stacklevel=5,
        )

    def log_prob(
        self,
        configurations: ConfigurationsLike,
        temperature: TemperatureLike | None = None,
        controls: ControlsLike | None = None,
    ) -> PerConfiguration:
        """Return ln p_θ `(B,)` of configurations `(B, *lattice)`, whose values are checked.

        Angles in radians are taken modulo 2π. Any numeric type is cast to that of the network.

        Args:
            configurations: Tensor or array.
            temperature: T, for a network with temperature input; one number, or one per configuration.
            controls: Controls by name, for a network that sees some; one number, or one per
                configuration.

        Raises:
            ValueError: The shapes do not fit, a value is none of a site, a temperature is not positive,
                or a control is missing.
        """
        return self.symmetrized_log_prob(*self.checked(configurations, temperature, controls))

    def symmetrized_log_prob(
        self, configurations: Configurations, conditions: Conditions | None = None
    ) -> PerConfiguration:
        """Return ln p_θ `(B,)` of values that need no check, like a sample's.

        Averaging over the group G of `symmetrize` takes |G| passes.
        """
        if len(self.group) == 1:
            return self.bare_log_prob(configurations, conditions)
        elements = torch.arange(len(self.group), device=configurations.device)
        images = [
            self.bare_log_prob(self.group.act(configurations, element), conditions)
            for element in elements
        ]
        return torch.stack(images).logsumexp(0) - math.log(len(self.group))

    # Sampling

    def sample_sites(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Return site values `(...)` drawn from their conditionals with uniform numbers `(...)`."""
        values = self.conditional.sample(parameters, uniforms)
        return self.location + self.scale * values if self.site_kind == "real" else values

    @torch.no_grad()
    def draw(self, uniforms: Tensor, conditions: Conditions | None = None) -> Tensor:
        """Draw configurations of the bare network from uniform numbers `(B, sites)` in [0, 1)."""
        steps = self.incremental(len(uniforms), conditions)
        parameters = next(steps)
        stages: list[Tensor] = []
        for stage in uniforms.split(self.ordering.stages, dim=1):
            values = self.sample_sites(parameters, stage)
            if self.reference_frame and not stages:
                values = torch.zeros_like(stage)
            stages.append(values)
            try:
                parameters = steps.send(values)
            except StopIteration:
                break
        flat = torch.cat(stages, dim=1)
        if self.reference_frame:
            flat = wrap(flat + TWO_PI * uniforms[:, :1])
        return self.ordering.restore(flat).reshape(-1, *self.lattice_shape)

    @torch.no_grad()
    def sample(
        self,
        num: int,
        seed: int | torch.Generator = 0,
        temperature: PerConfiguration | float | None = None,
        batch_size: int = 1000,
        progress: Callable[[int], None] = lambda n: None,
        controls: ControlsLike | None = None,
    ) -> Tensor:
        """Draw independent configurations `(B, *lattice)` from p_θ.

        Args:
            num: Number of configurations B.
            seed: Random seed, or a generator on the model's device.
            temperature: T, for a network with temperature input.
            batch_size: Number of configurations drawn at a time.
            progress: Function called with the number of configurations of each finished batch.
            controls: Controls by name, for a network that sees some.
        """
        generator = seed if isinstance(seed, torch.Generator) else self._generator(seed)
        conditions = self.conditions(num, temperature, controls)
        batches = []
        for rows in torch.arange(num, device=self.device).split(batch_size):
            uniforms = self._any_weight.new_empty(len(rows), self.num_sites).detach()
            uniforms.uniform_(generator=generator)
            batch = self.draw(uniforms, None if conditions is None else conditions[rows])
            batches.append(self.group.act(batch, self.group.random_elements(len(rows), generator)))
            progress(len(rows))
        return torch.cat(batches)
