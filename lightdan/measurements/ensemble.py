"""A trained model and its system at one temperature: what measurements share."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from lightdan.architectures.base import Architecture
from lightdan.progress import progress_bar
from lightdan.systems.base import System

T = TypeVar("T")


class NotMeasurable(Exception):
    """The system lacks what the measurement needs; the message says what."""


class Ensemble:
    """A trained model, its system and the configurations of both at one temperature.

    Everything is computed when first asked for and kept, so that measurements share it.

    Args:
        model: The architecture.
        system: The system.
        temperature: One of the system's temperatures.
        log_prob: ln p_θ of the test configurations where it is known already.
    """

    def __init__(
        self,
        model: Architecture,
        system: System,
        temperature: float,
        log_prob: Tensor | None = None,
        split: str = "test",
    ) -> None:
        self.model, self.system, self.temperature = model, system, temperature
        self.split = split
        self._kept: dict[Hashable, Any] = {}
        if log_prob is not None:
            self.log_prob = log_prob.double().cpu().numpy()

    @cached_property
    def configurations(self) -> Tensor:
        """Held-out configurations `(M, *lattice)` on the model's device."""
        return self.system.rows(self.split, self.temperature, self.model.device)

    @cached_property
    def log_prob(self) -> np.ndarray:
        """Ln p_θ of the held-out configurations `(M,)`."""
        return self.evaluate(self.model.log_prob, self.configurations)

    @cached_property
    def action(self) -> np.ndarray:
        """S of the held-out configurations `(M,)`.

        Raises:
            NotMeasurable: it is not known.
        """
        return self.action_of(self.configurations)

    @cached_property
    def exact(self) -> dict[str, float]:
        """Exact values by name, where they are known: some take seconds."""
        return self.system.exact_values(self.temperature)

    def action_of(self, configurations: Tensor) -> np.ndarray:
        """S of configurations `(M,)`, with the constant that makes Z = ∫ e^{−S}."""
        if not self.system.has_action:
            raise NotMeasurable(f"the Hamiltonian of {type(self.system).__name__} is not known")
        action = self.system.action(configurations.double(), self.temperature)
        return action.cpu().numpy() - self.system.log_measure(self.temperature)

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, which is called once for all who ask by the same key."""
        if key not in self._kept:
            self._kept[key] = make()
        kept: T = self._kept[key]
        return kept

    def samples(self, num: int, seed: int) -> "Samples":
        """Independent configurations of the model, drawn once for all who ask."""

        def draw() -> Samples:
            temperature = self.temperature if self.model.temperature_input else None
            with progress_bar("Sampling", num) as advance:
                drawn = self.model.sample(num, seed, temperature, progress=advance)
            return Samples(self, drawn)

        return self.keep(("samples", num, seed), draw)

    @torch.no_grad()
    def evaluate(
        self,
        function: Callable[[Tensor, Tensor], Tensor],
        configurations: Tensor,
        title: str = "Evaluating",
        batch_size: int = 1000,
    ) -> np.ndarray:
        """A function of configurations and temperatures, batch by batch, in double precision."""
        parts = []
        with progress_bar(title, len(configurations)) as advance:
            for part in configurations.split(batch_size):
                temperature = part.new_full((len(part),), self.temperature)
                parts.append(function(part, temperature).double().cpu().numpy())
                advance(len(part))
        return np.concatenate(parts)


@dataclass
class Samples:
    """Independent configurations of the model `(M, *lattice)` with ln p_θ and S, when asked for."""

    ensemble: Ensemble
    configurations: Tensor

    @cached_property
    def log_prob(self) -> np.ndarray:
        """Ln p_θ `(M,)`."""
        return self.ensemble.evaluate(self.ensemble.model.log_prob, self.configurations)

    @cached_property
    def action(self) -> np.ndarray:
        """S `(M,)`."""
        return self.ensemble.action_of(self.configurations)

    @property
    def log_weights(self) -> np.ndarray:
        """Ln of the unnormalised weights e^{−S}/p_θ `(M,)`."""
        return -self.action - self.log_prob
