"""Prediction of the action at one inverse temperature from networks trained at two others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

import numpy as np
import torch
from torch import Tensor

from lightdan import checkpoints, registry
from lightdan.architectures.base import Architecture
from lightdan.checks import SMALLEST, check_number
from lightdan.progress import progress_bar
from lightdan.simulation.hmc import HybridMonteCarlo
from lightdan.statistics import effective_sample_size
from lightdan.systems.base import System
from lightdan.systems.path import Path

CHAINS = 256
"""Number of Markov chains."""
POOL = 8192
"""Number of paths from which the effective sample size of reweighting is estimated."""


def coefficients(first: float, second: float, third: float) -> tuple[float, float]:
    """Return c_1 and c_2 of S_3 = c_1 S_1 + c_2 S_2 + C at β_1, β_2 and β_3.

    In the variables x_0, …, x_{N−1} the actions are S_i = K/β_i + β_i V + C_i. Eliminate K and V:

        c_1 = β_1 (β_3² − β_2²)/(β_3 (β_1² − β_2²)),  c_2 = β_2 (β_3² − β_1²)/(β_3 (β_2² − β_1²)).

    Args:
        first: β_1.
        second: β_2.
        third: β_3.

    Raises:
        ValueError: A β is not positive, or the first two are equal.

    References:
        arXiv:2405.10493.
    """
    for beta in (first, second, third):
        check_number("β", beta, SMALLEST)
    if math.isclose(first, second, rel_tol=1e-9):
        raise ValueError(
            f"Both models were trained at β = {first:g}, which does not separate the kinetic and the "
            "potential part; pass models of two different β."
        )

    def coefficient(one: float, other: float) -> float:
        return one * (third**2 - other**2) / (third * (one**2 - other**2))

    return coefficient(first, second), coefficient(second, first)


@dataclass
class PredictedAction:
    """Predicted action S_3 = c_1 S_1 + c_2 S_2 of two learned actions S_i = −ln p_i, up to a constant.

    Args:
        models: Two networks, trained on paths of the same number of slices.
        betas: Inverse temperatures β_1 and β_2 of the networks.
        beta: Inverse temperature β_3 of the prediction.

    Raises:
        ValueError: The networks differ in lattice or kind of site, or the β do not allow a prediction.
    """

    models: tuple[Architecture, Architecture]
    betas: tuple[float, float]
    beta: float

    def __post_init__(self) -> None:
        first, second = self.models
        if first.lattice_shape != second.lattice_shape:
            raise ValueError(
                f"The two models have {first.lattice_shape} and {second.lattice_shape} sites; pass "
                "models of the same lattice."
            )
        if {first.site_kind, second.site_kind} != {"real"}:
            raise ValueError(
                f"The two models have sites of kind {first.site_kind!r} and {second.site_kind!r}; pass "
                "models of paths, whose sites are 'real'."
            )
        self.coefficients = coefficients(*self.betas, self.beta)

    def actions(self, paths: Tensor) -> tuple[Tensor, Tensor]:
        """Return S_1 and S_2 of paths `(B, N)`, each of shape `(B,)`."""
        first, second = (
            -model.log_prob(paths, paths.new_full((len(paths),), 1 / beta))
            for model, beta in zip(self.models, self.betas, strict=True)
        )
        return first, second

    def __call__(self, paths: Tensor) -> Tensor:
        """Return S_3 of paths `(B,)`."""
        first, second = self.actions(paths)
        return self.coefficients[0] * first + self.coefficients[1] * second

    def parts(self, paths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kinetic part K/β_3 and the potential part β_3 V of S_3 `(B,)`, up to constants.

        K = β_1 β_2 (β_2 S_1 − β_1 S_2)/(β_2² − β_1²),  V = (β_2 S_2 − β_1 S_1)/(β_2² − β_1²).
        """
        (one, two), (first, second) = self.betas, self.actions(paths)
        difference = two**2 - one**2
        kinetic = one * two * (two * first - one * second) / difference
        potential = (two * second - one * first) / difference
        return kinetic / self.beta, potential * self.beta

    def starts(self, num: int, seed: int) -> tuple[Tensor, float]:
        """Draw paths of both models alternately, and the effective sample size of reweighting them.

        The weights are e^{−S_3}/p, with p the equal mixture of both models. The effective sample size is
        small if β_3 is far from β_1 and β_2, so that Markov chains are needed.

        Args:
            num: Number of paths.
            seed: Random seed.

        Returns:
            Paths `(num, N)`, and the effective sample size as a fraction.
        """
        generator = torch.Generator(self.models[0].device).manual_seed(seed)
        samples = []
        for model, beta in zip(self.models, self.betas, strict=True):
            temperature = 1 / beta if model.temperature_input else None
            samples.append(model.sample(POOL // 2, generator, temperature))
        paths = torch.stack(samples, dim=1).flatten(0, 1)
        with torch.no_grad():
            parts = [torch.stack(self.actions(part)) for part in paths.split(1000)]
        first, second = torch.cat(parts, dim=1)
        predicted = self.coefficients[0] * first + self.coefficients[1] * second
        log_weights = -predicted - torch.logaddexp(-first, -second)
        return paths[:num], effective_sample_size(log_weights.double().cpu().numpy()).value

    def sample(self, trajectories: int, seed: int = 0) -> tuple[np.ndarray, dict[str, float]]:
        """Draw paths from e^{−S_3}/Z_3 by hybrid Monte Carlo on the gradients of the networks.

        256 chains start from paths of both models. They forget their starts during a burn-in of half as
        many trajectories again, which is not recorded.

        Args:
            trajectories: Number of recorded trajectories per chain; each contributes one path.
            seed: Random seed.

        Returns:
            Paths `(chains, trajectories, N)`; and by name the acceptance, the step size, and the
            effective sample size of reweighting as a fraction.
        """
        start, ess = self.starts(CHAINS, seed)
        device, dtype = start.device, start.dtype

        def action_and_gradient(fields: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            paths = torch.from_numpy(fields).to(device, dtype).requires_grad_()
            with torch.enable_grad():
                action = self(paths)
                (gradient,) = torch.autograd.grad(action.sum(), paths)
            return action.detach().double().cpu().numpy(), gradient.double().cpu().numpy()

        rng = np.random.default_rng((seed, 1))
        chains = HybridMonteCarlo(action_and_gradient, start.double().cpu().numpy(), rng)
        burn_in = trajectories // 2
        rows = np.empty((CHAINS, trajectories, start.shape[1]), np.float32)
        acceptance = []
        with progress_bar("Hybrid Monte Carlo", burn_in + trajectories) as advance:
            for step in range(-burn_in, trajectories):
                chains.advance(rows[:, max(step, 0)][:, None], 1)
                acceptance.append(chains.acceptance)
                advance(1)
        return rows, {
            "acceptance": float(np.mean(acceptance)),
            "step_size": chains.step_size,
            "ess_of_reweighting": ess,
        }


@dataclass
class Trained:
    """A trained model and the system that it was trained on."""

    model: Architecture
    system: System

    @classmethod
    def load(cls, path: str | FilePath) -> "Trained":
        """Load both from a checkpoint.

        Raises:
            ValueError: The checkpoint cannot be read or does not name its system.
        """
        model = checkpoints.load(path)
        spec = checkpoints.read(path)["lightdan"].get("system")
        if spec is None:
            raise ValueError(
                f"The checkpoint {path} does not name its system, because an argument of the system was "
                "not plain data; train with the coefficients of the potential instead of a function."
            )
        return cls(model, registry.find(System, spec["class_path"])(**spec["init_args"]))

    @property
    def betas(self) -> list[float]:
        """Inverse temperatures of the training data."""
        return [1 / temperature for temperature in self.system.temperatures]

    def system_at(self, beta: float) -> Path | None:
        """Return the system at another β, or None for recorded data."""
        if not isinstance(self.system, Path):
            return None
        spec = self.system.spec()
        assert spec is not None
        return type(self.system)(**{**spec["init_args"], "beta": beta})


def predicted_action(trained: Sequence[Trained], beta: float) -> PredictedAction:
    """Return S_3 from two models of one β each, or from one model that was trained at two β.

    Args:
        trained: One or two trained models with their systems.
        beta: Inverse temperature β_3 of the prediction.

    Raises:
        ValueError: The models were not trained at two β together, or on different potentials.
    """
    pairs = [(one.model, value) for one in trained for value in one.betas]
    if len(pairs) != 2:
        raise ValueError(
            f"The models were trained at {len(pairs)} β together; pass two models of one β each, or one "
            "model with temperature_input that was trained at two."
        )
    systems = [one.system for one in trained]
    potentials = [system.parameters().get("potential") for system in systems]
    (first, one), (second, two) = pairs
    predicted = PredictedAction((first, second), (one, two), beta)
    if any(potential != potentials[0] for potential in potentials):
        raise ValueError(
            "The models were trained in different potentials; pass models of the same potential."
        )
    return predicted
