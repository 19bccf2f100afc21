"""A trained model and its system under equal conditions, shared by all measurements."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from lightdan.architectures.base import Architecture
from lightdan.data.splits import derive_seed
from lightdan.progress import progress_bar
from lightdan.statistics import Blocks
from lightdan.systems.base import System

T = TypeVar("T")


class NotMeasurable(Exception):
    """The measurement does not apply to the system; the message is a sentence that says why.

    The report prints it as ``<name>: skipped. <message>``.
    """


class Ensemble:
    """A trained model, its system and the configurations of both at one temperature.

    If controls take few values, there is an ensemble for each combination of them: `System.at` has the
    rows, and the model stays at these controls. If they differ from row to row, `controls` has them.

    Everything is computed on first use and cached, so that measurements share it.

    Args:
        model: Trained model.
        system: System that the model was trained on, or one of its `parts`.
        temperature: T, one of the temperatures of the system.
        log_prob: ln p_θ of the configurations `(M,)`, if it is known already.
        split: Split of the configurations, ``test`` or ``validation``.
    """

    def __init__(
        self,
        model: Architecture,
        system: System,
        temperature: float,
        log_prob: Tensor | None = None,
        split: str = "test",
    ) -> None:
        self.model = model.at(system.fixed_controls) if system.fixed_controls else model
        self.system, self.temperature, self.split = system, temperature, split
        self._cache: dict[Hashable, Any] = {}
        if log_prob is not None:
            self.log_prob = log_prob.double().cpu().numpy()

    @cached_property
    def configurations(self) -> Tensor:
        """Held-out configurations `(M, *lattice)` on the model's device."""
        return self.system.data.rows(self.split, self.temperature, self.model.device)

    @cached_property
    def weights(self) -> np.ndarray | None:
        """Weights of the held-out configurations `(M,)`, or None; integers are counts."""
        weights = self.system.data.weights(self.split, self.temperature)
        return None if weights is None else weights.cpu().numpy()

    @cached_property
    def controls(self) -> Tensor | None:
        """Controls of the held-out configurations `(M, controls)` if they differ, or None."""
        if not self.system.control_names:
            return None
        controls = self.system.data.controls_of(self.split, self.temperature)
        return None if controls is None else controls.to(self.model.device)

    @cached_property
    def blocks(self) -> Blocks:
        """Blocks of the held-out configurations that count as one observation in errors."""
        return self.system.blocks(self.split, self.temperature)

    @cached_property
    def log_prob(self) -> np.ndarray:
        """ln p_θ of the held-out configurations `(M,)`."""
        return self.evaluate(self.model.log_prob, self.configurations, controls=self.controls)

    @cached_property
    def action(self) -> np.ndarray:
        """S of the held-out configurations `(M,)`.

        Raises:
            NotMeasurable: The Hamiltonian is not known.
        """
        return self.action_of(self.configurations)

    @cached_property
    def exact(self) -> dict[str, float]:
        """Known exact values by name; some take seconds to compute."""
        return self.system.exact_values(self.temperature)

    def action_of(self, configurations: Tensor) -> np.ndarray:
        """Return S of configurations `(M,)`, with the constant for which Z = ∫ e^{−S}.

        Raises:
            NotMeasurable: The Hamiltonian is not known.
        """
        if not self.system.has_action:
            raise NotMeasurable(f"The Hamiltonian of {type(self.system).__name__} is not known.")
        action = self.system.action(configurations.double(), self.temperature)
        return action.cpu().numpy() - self.system.log_measure(self.temperature)

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the cached value of a key; call `make` for it the first time."""
        if key not in self._cache:
            self._cache[key] = make()
        value: T = self._cache[key]
        return value

    def kept(self, key: Hashable) -> Any:
        """Return the cached value of a key, or None if there is none yet."""
        return self._cache.get(key)

    def samples(self, num: int, seed: int) -> "Samples":
        """Return independent configurations of the model, the same ones for the same arguments."""

        def draw() -> Samples:
            temperature = self.temperature if self.model.temperature_input else None
            controls = self._drawn_controls(num, seed)
            with progress_bar("Sampling", num) as advance:
                configurations = self.model.sample(
                    num, seed, temperature, progress=advance, controls=controls
                )
            return Samples(self, configurations, controls)

        return self.keep(("samples", num, seed), draw)

    def bare_log_prob(
        self, configurations: Tensor, temperature: Tensor, controls: Tensor | None = None
    ) -> Tensor:
        """Return ln p of the network before symmetrisation `(B,)`, for `evaluate`."""
        conditions = self.model.conditions(len(configurations), temperature, controls)
        return self.model.bare_log_prob(configurations, conditions)

    def _drawn_controls(self, num: int, seed: int) -> Tensor | None:
        """Return the controls of held-out configurations drawn at random `(num, controls)`, or None."""
        if self.controls is None:
            return None
        weights = torch.ones(len(self.controls), dtype=torch.float64)
        if self.weights is not None:
            weights = torch.from_numpy(self.weights).double()
        generator = torch.Generator().manual_seed(derive_seed(seed, 11))
        rows = torch.multinomial(weights, num, replacement=True, generator=generator)
        return self.controls[rows.to(self.controls.device)]

    @torch.no_grad()
    def evaluate(
        self,
        function: Callable[..., Tensor],
        configurations: Tensor,
        title: str = "Evaluating",
        batch_size: int = 1000,
        controls: Tensor | None = None,
    ) -> np.ndarray:
        """Evaluate a function of configurations and temperatures batch by batch, in double precision.

        Args:
            function: Function of configurations, temperatures and, if they are passed, controls.
            configurations: Configurations `(M, *lattice)`.
            title: Title of the progress bar.
            batch_size: Number of configurations in a batch.
            controls: Controls of the configurations `(M, controls)`.
        """
        parts = []
        with progress_bar(title, len(configurations)) as advance:
            for start in range(0, len(configurations), batch_size):
                part = configurations[start : start + batch_size]
                arguments = [part, part.new_full((len(part),), self.temperature)]
                if controls is not None:
                    arguments.append(controls[start : start + batch_size].to(part))
                parts.append(function(*arguments).double().cpu().numpy())
                advance(len(part))
        return np.concatenate(parts)


@dataclass
class Samples:
    """Independent configurations of the model `(M, *lattice)`, with ln p_θ and S.

    Args:
        ensemble: Model and temperature.
        configurations: Configurations `(M, *lattice)`.
        controls: Controls at which they were drawn `(M, controls)`, or None.
    """

    ensemble: Ensemble
    configurations: Tensor
    controls: Tensor | None = None

    @cached_property
    def log_prob(self) -> np.ndarray:
        """ln p_θ `(M,)`."""
        return self.ensemble.evaluate(
            self.ensemble.model.log_prob, self.configurations, controls=self.controls
        )

    @cached_property
    def action(self) -> np.ndarray:
        """S `(M,)`."""
        return self.ensemble.action_of(self.configurations)

    @property
    def log_weights(self) -> np.ndarray:
        """ln w `(M,)` of the unnormalised weights w = e^{−S}/p_θ."""
        return -self.action - self.log_prob
