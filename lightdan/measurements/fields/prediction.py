"""From the actions of two ensembles that of a third: the same field at another inverse temperature."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

import numpy as np
import torch
from torch import Tensor

from lightdan import checkpoints, registry
from lightdan.architectures.base import Architecture
from lightdan.progress import progress_bar
from lightdan.simulation.hmc import HybridMonteCarlo
from lightdan.statistics import effective_sample_size
from lightdan.systems.base import System
from lightdan.systems.path import Path

CHAINS = 256
POOL = 8192


def coefficients(first: float, second: float, third: float) -> tuple[float, float]:
    """c_1, c_2 of S_3 = c_1 S_1 + c_2 S_2 + C at β_1, β_2 and β_3.

    With x_0, …, x_{N−1} the same variables, S_i = K/β_i + β_i V + C_i, so that K and V can be
    eliminated: c_1 = β_1 (β_3² − β_2²)/(β_3 (β_1² − β_2²)), and c_2 with 1 and 2 exchanged.
    (arXiv:2405.10493.)

    Raises:
        ValueError: one is not positive, or the first two are equal.
    """
    for beta in (first, second, third):
        if not 0 < beta < math.inf:
            raise ValueError(f"β must be positive and finite, not {beta:g}.")
    if math.isclose(first, second, rel_tol=1e-9):
        raise ValueError(
            f"Both actions are at β = {first:g}: kinetic and potential part cannot be told apart; give "
            "two different β."
        )

    def share(own: float, other: float) -> float:
        return own * (third**2 - other**2) / (third * (own**2 - other**2))

    return share(first, second), share(second, first)


@dataclass
class PredictedAction:
    """S_3 = c_1 S_1 + c_2 S_2 of two learned actions S_i = −ln p_i, up to a constant.

    Args:
        models: The two, of the same field.
        betas: β_1 and β_2.
        beta: β_3.

    Raises:
        ValueError: the lattices or the kinds of site differ, or the β do not allow it.
    """

    models: tuple[Architecture, Architecture]
    betas: tuple[float, float]
    beta: float

    def __post_init__(self) -> None:
        first, second = self.models
        if first.lattice_shape != second.lattice_shape:
            raise ValueError(
                f"The two models have {first.lattice_shape} and {second.lattice_shape} sites: the "
                "prediction needs the same N."
            )
        if {first.site_kind, second.site_kind} != {"real"}:
            raise ValueError(
                f"The two models are of sites of kind {first.site_kind!r} and {second.site_kind!r}: the "
                "prediction needs paths of reals."
            )
        self.coefficients = coefficients(*self.betas, self.beta)

    def actions(self, paths: Tensor) -> tuple[Tensor, Tensor]:
        """S_1 and S_2 `(B,)` each."""
        found = []
        for model, beta in zip(self.models, self.betas, strict=True):
            temperature = paths.new_full((len(paths),), 1 / beta)
            found.append(-model.log_prob(paths, temperature))
        return found[0], found[1]

    def __call__(self, paths: Tensor) -> Tensor:
        """S_3 `(B,)`."""
        first, second = self.actions(paths)
        return self.coefficients[0] * first + self.coefficients[1] * second

    def parts(self, paths: Tensor) -> tuple[Tensor, Tensor]:
        """The kinetic part K/β_3 and the potential part β_3 V of S_3 `(B,)`, up to constants.

        K = β_1 β_2 (β_2 S_1 − β_1 S_2)/(β_2² − β_1²) and V = (β_2 S_2 − β_1 S_1)/(β_2² − β_1²).
        """
        (one, two), (first, second) = self.betas, self.actions(paths)
        difference = two**2 - one**2
        kinetic = one * two * (two * first - one * second) / difference
        potential = (two * second - one * first) / difference
        return kinetic / self.beta, potential * self.beta

    def starts(self, num: int, seed: int) -> tuple[Tensor, float]:
        """Paths of both models by turns `(num, N)`, and what weights alone would make of them.

        That is the effective sample size, as a fraction, of the weights e^{−S_3}/p with p the equal
        mixture of both; it is small where β_3 is far, and Markov chains have to do the rest.
        """
        generator = torch.Generator(self.models[0].device).manual_seed(seed)
        drawn = []
        for model, beta in zip(self.models, self.betas, strict=True):
            temperature = 1 / beta if model.temperature_input else None
            drawn.append(model.sample(POOL // 2, generator, temperature))
        paths = torch.stack(drawn, dim=1).flatten(0, 1)
        with torch.no_grad():
            parts = [torch.stack(self.actions(part)) for part in paths.split(1000)]
        first, second = torch.cat(parts, dim=1)
        predicted = self.coefficients[0] * first + self.coefficients[1] * second
        log_weights = -predicted - torch.logaddexp(-first, -second)
        return paths[:num], effective_sample_size(log_weights.double().cpu().numpy()).value

    def sample(self, trajectories: int, seed: int = 0) -> tuple[np.ndarray, dict[str, float]]:
        """Paths of e^{−S_3}/Z_3 by hybrid Monte Carlo on the gradients of the networks.

        256 chains start from paths of both models and forget them during half as many trajectories
        again, which are not recorded. One trajectory lies between two rows.

        Args:
            trajectories: Number of rows of a chain.
            seed: Of all random numbers.

        Returns:
            Paths `(chains, trajectories, N)`; the acceptance, the step size, and the effective
            sample size of reweighting, as a fraction.
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
    """A trained model, and the system whose configurations it was trained on."""

    model: Architecture
    system: System

    @classmethod
    def load(cls, path: str | FilePath) -> "Trained":
        """Both from a checkpoint.

        Raises:
            ValueError: the checkpoint cannot be read or does not tell its system.
        """
        model = checkpoints.load(path)
        spec = checkpoints.read(path)["lightdan"].get("system")
        if spec is None:
            raise ValueError(
                f"The checkpoint {path} does not tell what it was trained on: its system has arguments "
                "that are no plain data; give a potential by its coefficients."
            )
        return cls(model, registry.find(System, spec["class_path"])(**spec["init_args"]))

    @property
    def betas(self) -> list[float]:
        """1/T of the training data."""
        return [1 / temperature for temperature in self.system.temperatures]

    def system_at(self, beta: float) -> Path | None:
        """The same system at another β, where the system is known: no recorded one."""
        if not isinstance(self.system, Path):
            return None
        spec = self.system.spec()
        assert spec is not None
        return type(self.system)(**{**spec["init_args"], "beta": beta})


def predicted_action(trained: Sequence[Trained], beta: float) -> PredictedAction:
    """S_3 of two models of one β each, or of one that sees the temperature, trained at two β.

    Raises:
        ValueError: they do not make two β of the same field.
    """
    pairs = [(one.model, value) for one in trained for value in one.betas]
    if len(pairs) != 2:
        raise ValueError(
            f"The models were trained at {len(pairs)} β together: give two of one β each, or one that "
            "sees the temperature, of two."
        )
    systems = [one.system for one in trained]
    potentials = [system.parameters().get("potential") for system in systems]
    (first, one), (second, two) = pairs
    predicted = PredictedAction((first, second), (one, two), beta)
    if any(potential != potentials[0] for potential in potentials):
        raise ValueError(
            "The models were trained on paths in different potentials: the prediction needs the same."
        )
    return predicted
