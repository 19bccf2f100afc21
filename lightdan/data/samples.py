"""Configurations with their temperatures and their split into training, validation and test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning import Trainer
from torch import Tensor

from lightdan.data.loader import BatchLoader
from lightdan.data.rows import Rows
from lightdan.data.splits import SPLITS, derive_seed, split_rows

TIMES_PER_BLOCK = 20
"""Autocorrelation times that a block of the split lasts."""
LEAST_BLOCKS = 50
"""Blocks at each temperature, even if they are then shorter than that."""


@dataclass(eq=False)
class Samples:
    """Configurations, the temperature of each, and their split into training, validation and test.

    Args:
        configurations: All configurations `(M, *lattice)`: a tensor, or rows that stay on disk.
        temperature: Temperature of each configuration `(M,)`.
        indices: Ascending row numbers of each split by name: ``train``, ``validation`` and ``test``.
        tau_int: Integrated autocorrelation time at each temperature, in rows; 0.5 is independent.
    """

    configurations: Tensor | Rows
    temperature: Tensor
    indices: dict[str, Tensor]
    tau_int: Sequence[float]

    @classmethod
    def split(
        cls,
        configurations: Tensor | Rows,
        lengths: Sequence[int],
        temperatures: Sequence[float],
        tau_int: Sequence[float],
        fractions: Sequence[float],
        seed: int,
    ) -> "Samples":
        """Split configurations at each temperature, correlated ones by contiguous blocks.

        Args:
            configurations: All configurations `(M, *lattice)`, temperature after temperature.
            lengths: Number of configurations at each temperature.
            temperatures: Temperatures T.
            tau_int: Integrated autocorrelation time at each temperature, in rows.
            fractions: Fractions of the configurations for training, validation and test.
            seed: Random seed for the split.

        Raises:
            ValueError: A fraction is out of its range, or a split would be empty.
        """
        parts = [
            split_rows(length, fractions, block=_block(length, tau), seed=derive_seed(seed, number))
            for number, (length, tau) in enumerate(zip(lengths, tau_int, strict=True))
        ]
        starts = [int(start) for start in np.cumsum([0, *lengths[:-1]])]
        indices = {
            name: torch.cat([part[k] + start for part, start in zip(parts, starts, strict=True)])
            for k, name in enumerate(SPLITS)
        }
        values = torch.tensor(temperatures, dtype=torch.get_default_dtype())
        temperature = torch.repeat_interleave(values, torch.tensor(lengths))
        return cls(configurations, temperature, indices, tau_int)

    def num_in(self, split: str) -> int:
        """Return the number of configurations in ``train``, ``validation`` or ``test``."""
        return len(self.indices[split])

    def rows(self, split: str, temperature: float, device: torch.device | None = None) -> Tensor:
        """Return all configurations `(M, *lattice)` of a split at one temperature."""
        indices = self.indices[split]
        value = torch.tensor(temperature, dtype=self.temperature.dtype)
        selected = indices[self.temperature.cpu()[indices] == value]
        loader = BatchLoader(self.configurations, self.temperature, selected, len(selected))
        return loader.take(selected).configurations.to(device)

    def moments(self) -> tuple[float, float, float, float]:
        """Return mean, standard deviation, minimum and maximum of the training values.

        Every process reads the whole training set, so that they agree.
        """
        count, total, squares, low, high = 0, 0.0, 0.0, math.inf, -math.inf
        for configurations, _ in self.loader("train", 10_000):
            values = configurations.double()
            count += values.numel()
            total += values.sum().item()
            squares += values.square().sum().item()
            low, high = min(low, values.min().item()), max(high, values.max().item())
        mean = total / count
        return mean, math.sqrt(max(squares / count - mean**2, 0.0)), low, high

    def _move(self, device: torch.device) -> None:
        """Move the temperatures, and the configurations if they are in memory, to a device."""
        if isinstance(self.configurations, Tensor):
            self.configurations = self.configurations.to(device)
        self.temperature = self.temperature.to(device)

    def loader(
        self,
        split: str,
        batch_size: int,
        *,
        seed: int | None = None,
        trainer: Trainer | None = None,
    ) -> BatchLoader:
        """Return the batches of a split, on the device and for the process of a trainer.

        Args:
            split: ``train``, ``validation`` or ``test``.
            batch_size: Number of configurations in a batch, over all processes.
            seed: Random seed for shuffling; None keeps the order.
            trainer: Trainer that asks for the batches; None stands for a single process.
        """
        if trainer is None:
            return BatchLoader(
                self.configurations, self.temperature, self.indices[split], batch_size, seed=seed
            )
        self._move(trainer.strategy.root_device)
        return BatchLoader(
            self.configurations,
            self.temperature,
            self.indices[split],
            batch_size,
            seed=seed,
            epoch=lambda: trainer.current_epoch,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )


def _block(length: int, tau: float) -> int:
    """Return the number of consecutive rows that a split keeps together."""
    if tau < 1:
        return 1
    return max(1, min(math.ceil(TIMES_PER_BLOCK * tau), length // LEAST_BLOCKS))
