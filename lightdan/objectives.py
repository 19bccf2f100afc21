"""Objectives of training: functions of a model's ln p and of a system's action."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lightdan.checks import SMALLEST, check_integer, check_number
from lightdan.types import Batch


@dataclass(frozen=True)
class Problem:
    """Model, system and state of training, as an objective sees them.

    Args:
        log_prob: Function of configurations `(B, *lattice)` and their conditions, temperatures `(B,)` or
            temperatures and controls `(B, 1 + controls)`, that returns ln p_θ `(B,)`.
        log_prob_bound: Function like `log_prob` that takes one pass: with symmetrisation it returns
            ln p(g s) for one random g, whose mean over g is a lower bound of ln p_θ.
        sample: Function of temperatures `(B,)` that draws configurations from p_θ, without gradient.
        action: Function of configurations and temperatures that returns H(s)/T, or the action of a
            field, `(B,)`.
        weights: Function that returns the trainable weights.
        num_configurations: Number M of configurations in the training set; with weights, the number of
            independent ones of equal weight that they are worth.
        step: Number of optimisation steps so far.
    """

    log_prob: Callable[[Tensor, Tensor], Tensor]
    log_prob_bound: Callable[[Tensor, Tensor], Tensor]
    sample: Callable[[Tensor], Tensor]
    action: Callable[[Tensor, Tensor], Tensor]
    weights: Callable[[], Iterable[Tensor]]
    num_configurations: float
    step: int


class Objective(ABC):
    """Loss of training, and figure of merit on validation data that selects the best checkpoint."""

    needs_energy: ClassVar[bool] = False
    """Whether the Hamiltonian of the system must be known."""

    @abstractmethod
    def loss(self, problem: Problem, batch: Batch) -> Tensor:
        """Return the differentiable loss of a training batch, in nats per configuration."""

    @abstractmethod
    def figure_of_merit(self, problem: Problem, batch: Batch) -> Tensor:
        """Return the validation loss per configuration `(B,)`, in nats.

        The best checkpoint minimises its mean, weighted by the rows.
        """


class MaximumLikelihood(Objective):
    """Negative mean log-likelihood of the M training configurations, with a prior π on the weights.

        loss = −⟨ln p_θ(s)⟩ − ln π(θ)/M

    Its minimum is the maximum a posteriori. The Laplace prior ln π = −Σ |θ|/b keeps couplings at zero
    that the data do not support, e.g. between distant sites. The Gaussian prior is ln π = −Σ θ²/(2b²).

    Args:
        prior: Kind of prior: ``none``, ``laplace`` or ``gaussian``.
        prior_width: Width b of the prior, in units of the weights.

    Raises:
        ValueError: There is no such prior, or the width is not positive.
    """

    def __init__(
        self, prior: Literal["none", "laplace", "gaussian"] = "none", prior_width: float = 1.0
    ) -> None:
        if prior not in ("none", "laplace", "gaussian"):
            raise ValueError(f"prior must be none, laplace or gaussian, not {prior!r}: set one of them.")
        self.prior, self.prior_width = prior, check_number("prior_width", prior_width, SMALLEST)

    def loss(self, problem: Problem, batch: Batch) -> Tensor:
        """Return the mean of −ln p_θ over the batch, plus −ln π/M."""
        loss = -problem.log_prob_bound(batch.configurations, batch.conditions).mean()
        if self.prior == "laplace":
            penalty = sum(weight.abs().sum() for weight in problem.weights()) / self.prior_width
        elif self.prior == "gaussian":
            squares = sum(weight.square().sum() for weight in problem.weights())
            penalty = squares / (2 * self.prior_width**2)
        else:
            return loss
        return loss + penalty / problem.num_configurations

    def figure_of_merit(self, problem: Problem, batch: Batch) -> Tensor:
        """Return −ln p_θ of each configuration."""
        return -problem.log_prob(batch.configurations, batch.conditions)


class VariationalFreeEnergy(Objective):
    """Variational free energy, estimated from samples of q_θ.

        β F_q = ⟨β H(s) + ln q_θ(s)⟩ ≥ β F

    The gradient is the REINFORCE estimate ⟨(R − ⟨R⟩) ∇ ln q⟩ with R = β H + ln q and the batch mean as
    baseline. The data provide only the temperatures.

    Args:
        annealing_steps: Number of steps during which β grows linearly from 0 to 1/T.

    Raises:
        ValueError: annealing_steps is negative.

    References:
        D. Wu, L. Wang and P. Zhang, Phys. Rev. Lett. 122, 080602 (2019).
    """

    needs_energy = True

    def __init__(self, annealing_steps: int = 0) -> None:
        self.annealing_steps = check_integer("annealing_steps", annealing_steps, 0)

    def loss(self, problem: Problem, batch: Batch) -> Tensor:
        """Return the estimate of β F_q, with the REINFORCE estimate as its gradient."""
        progress = min(1.0, (problem.step + 1) / max(1, self.annealing_steps))
        configurations = problem.sample(batch.temperature)
        log_prob = problem.log_prob(configurations, batch.temperature)
        with torch.no_grad():
            cost = progress * problem.action(configurations, batch.temperature) + log_prob
            advantage = cost - cost.mean()
        surrogate = (advantage * log_prob).mean()
        return cost.mean() + surrogate - surrogate.detach()

    def figure_of_merit(self, problem: Problem, batch: Batch) -> Tensor:
        """Return β H + ln q of B new samples, where B is the size of the batch."""
        configurations = problem.sample(batch.temperature)
        log_prob = problem.log_prob(configurations, batch.temperature)
        return problem.action(configurations, batch.temperature) + log_prob
