"""Start of a training: a network learns draws from a known distribution before it learns the data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightdan.statistics import Blocks, Estimate, mean
from lightdan.types import PerConfiguration


class Draws(NamedTuple):
    """Configurations drawn from e^{−S}/Z.

    Args:
        configurations: Configurations `(M, *lattice)`.
        action: S of each, up to a constant `(M,)`.
    """

    configurations: Tensor
    action: Tensor

    def some(self, num: int, seed: int) -> "Draws":
        """Return random ones of these.

        Args:
            num: Number of configurations.
            seed: Random seed.
        """
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randint(len(self.action), (num,), generator=generator)
        return Draws(self.configurations[rows], self.action[rows])


def divergence(log_prob: PerConfiguration, action: PerConfiguration) -> Tensor:
    """Return a loss whose gradient estimates that of KL(p‖p_θ) from draws of p = e^{−S}/Z.

        ∇ = −⟨(1 − λ w) ∇ ln p_θ⟩,  w = (p_θ/p)/⟨p_θ/p⟩,  λ = 1/⟨w²⟩

    Because ⟨w ∇ ln p_θ⟩ = 0 over many draws, λ w only reduces the noise. λ is the effective sample size
    as a fraction. Far from p it is small, and the loss is −⟨ln p_θ⟩. At p it is 1 and there is no noise,
    so few draws have the same minimum as many.

    Args:
        log_prob: ln p_θ of the draws `(B,)`.
        action: S of the draws, up to a constant `(B,)`.
    """
    weights = (log_prob.detach() + action).softmax(0) * len(action)
    share = weights / weights.square().mean()
    return -((1 - share) * log_prob).mean()


@dataclass(eq=False)
class Contest:
    """Comparison of weights that have learned the data with those of the start.

    Args:
        reference: −ln p of each validation row with the weights of the start `(M,)`.
        gain: Advantage of the best weights of the data, in nats per configuration.
    """

    reference: NDArray[np.float64] | None = None
    gain: Estimate | None = None

    def merit(
        self,
        values: NDArray[np.float64],
        phase: Literal["draws", "start", "data"],
        weights: NDArray[Any] | None = None,
        blocks: Blocks | None = None,
    ) -> float:
        """Return ⟨−ln p⟩ plus an error, so that the minimum is where a phase is complete.

        While draws are learned it is the error of ⟨−ln p⟩, because noise should not prefer weights that
        have not learned them. With weights of the data it is that of the difference from the start.

        Args:
            values: −ln p of each validation row `(M,)`.
            phase: Present lesson: the draws, nothing more because the start is complete, or the data.
            weights: Counts or real weights of the rows `(M,)`; None if all are equal.
            blocks: Blocks of the rows; by default they are one series.
        """
        loss = float(np.average(values, weights=weights))
        if phase != "data":
            self.reference = values
            return loss if phase == "start" else loss + mean(values, weights, blocks).error
        if self.reference is None or len(self.reference) != len(values):
            return loss
        gain = mean(self.reference - values, weights, blocks)
        if self.gain is None or gain.value - gain.error > self.gain.value - self.gain.error:
            self.gain = gain
        return loss + gain.error

    def __str__(self) -> str:
        """Return which weights are better, in a sentence, or nothing before the data are learned."""
        if self.gain is None:
            return ""
        if self.gain.value > self.gain.error:
            return f"the data improve on the start by {self.gain} nats on validation rows"
        return (
            "the weights of the start are kept, because the data improve on them by at best "
            f"{self.gain} nats on validation rows, which is not more than one error"
        )

    def plain(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        reference = None if self.reference is None else torch.from_numpy(self.reference)
        return {"reference": reference, "gain": None if self.gain is None else list(self.gain)}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Contest":
        """Return the contest of a checkpoint."""
        reference, gain = plain["reference"], plain["gain"]
        return cls(
            None if reference is None else reference.numpy(),
            None if gain is None else Estimate(*gain),
        )
