"""What training minimises: functions of a model's ln p and of a system's action."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lightdan.types import Batch


@dataclass(frozen=True)
class Problem:
    """What an objective sees of a model, its system and the state of training.

    Args:
        log_prob: ln p_θ(s, T) of configurations `(B, *lattice)` at temperatures `(B,)`: `(B,)`.
        log_prob_bound: The same without symmetrisation; with it ln p(g s) for one random g, one
            pass instead of |G|, whose mean over g is a lower bound of ln p_θ.
        sample: Configurations drawn from p_θ at temperatures `(B,)`, without gradient.
        action: H(s)/T of configurations at temperatures `(B,)`, or the action of a field: `(B,)`.
        weights: The trainable parameters.
        num_configurations: Number of configurations in the training set.
        step: Number of optimisation steps done.
    """

    log_prob: Callable[[Tensor, Tensor], Tensor]
    log_prob_bound: Callable[[Tensor, Tensor], Tensor]
    sample: Callable[[Tensor], Tensor]
    action: Callable[[Tensor, Tensor], Tensor]
    weights: Callable[[], Iterable[Tensor]]
    num_configurations: int
    step: int


class Objective(ABC):
    """A loss, and the figure of merit on validation data that chooses the best checkpoint."""

    needs_energy: ClassVar[bool] = False
    """Whether the system must know its Hamiltonian."""

    @abstractmethod
    def loss(self, problem: Problem, batch: Batch) -> Tensor:
        """The differentiable loss of one training batch, in nats a configuration."""

    @abstractmethod
    def figure_of_merit(self, problem: Problem, batch: Batch) -> Tensor:
        """What is to become small, of each configuration of a validation batch `(B,)`, in nats."""


class MaximumLikelihood(Objective):
    """−⟨ln p_θ(s)⟩ over the data; with a prior π(θ) on the weights −⟨ln p_θ⟩ − ln π(θ)/M.

    The minimum with a prior is the maximum a posteriori of M configurations. The Laplace prior
    ln π = −Σ |θ|/b keeps couplings at zero that the data do not ask for, as those of distant sites;
    the Gaussian prior is ln π = −Σ θ²/(2 b²).

    Args:
        prior: ``none``, ``laplace`` or ``gaussian``.
        prior_width: b.

    Raises:
        ValueError: another prior, or a width that is not positive.
    """

    def __init__(
        self, prior: Literal["none", "laplace", "gaussian"] = "none", prior_width: float = 1.0
    ) -> None:
        if prior not in ("none", "laplace", "gaussian"):
            raise ValueError(f"prior must be none, laplace or gaussian, not {prior!r}.")
        if not prior_width > 0:
            raise ValueError(f"prior_width must be positive, not {prior_width}.")
        self.prior, self.prior_width = prior, prior_width

    def loss(self, problem: Problem, batch: Batch) -> Tensor:
        """Mean of −ln p_θ over the batch, and the prior's share of one configuration."""
        loss = -problem.log_prob_bound(*batch).mean()
        if self.prior == "laplace":
            size = sum(weight.abs().sum() for weight in problem.weights()) / self.prior_width
        elif self.prior == "gaussian":
            squares = sum(weight.square().sum() for weight in problem.weights())
            size = squares / (2 * self.prior_width**2)
        else:
            return loss
        return loss + size / problem.num_configurations

    def figure_of_merit(self, problem: Problem, batch: Batch) -> Tensor:
        """−ln p_θ of each configuration."""
        return -problem.log_prob(*batch)


class VariationalFreeEnergy(Objective):
    """β F_q = ⟨β H(s) + ln q_θ(s)⟩ over samples of q_θ, never below β F (D. Wu et al., PRL 122, 080602).

    The gradient is that of REINFORCE with the batch mean as baseline, ⟨(R − ⟨R⟩) ∇ ln q⟩ with
    R = β H + ln q. Of the data only the temperatures are used.

    Args:
        annealing_steps: β grows linearly from 0 to 1/T during this number of steps.
    """

    needs_energy = True

    def __init__(self, annealing_steps: int = 0) -> None:
        if annealing_steps < 0:
            raise ValueError(f"annealing_steps must not be negative, not {annealing_steps}.")
        self.annealing_steps = annealing_steps

    def loss(self, problem: Problem, batch: Batch) -> Tensor:
        """A number whose gradient is the REINFORCE estimate of that of β F_q."""
        progress = min(1.0, (problem.step + 1) / max(1, self.annealing_steps))
        configurations = problem.sample(batch.temperature)
        log_prob = problem.log_prob(configurations, batch.temperature)
        with torch.no_grad():
            cost = progress * problem.action(configurations, batch.temperature) + log_prob
            advantage = cost - cost.mean()
        surrogate = (advantage * log_prob).mean()
        return cost.mean() + surrogate - surrogate.detach()

    def figure_of_merit(self, problem: Problem, batch: Batch) -> Tensor:
        """β H + ln q of as many new samples as the batch has configurations."""
        configurations = problem.sample(batch.temperature)
        log_prob = problem.log_prob(configurations, batch.temperature)
        return problem.action(configurations, batch.temperature) + log_prob
