"""Batches that are already on the device."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from lightdan.data.rows import Rows
from lightdan.data.splits import derive_seed
from lightdan.types import Batch


class BatchLoader:
    """Batches cut out of one array on the model's device, without workers or collation.

    The order in epoch e is a permutation drawn from (seed, e). The process of rank r among R takes the
    r-th of R equal parts of every batch, so the optimisation does not depend on R. The state is the
    number of batches served in this epoch: an interrupted run resumes with the next batch.

    Args:
        configurations: All configurations `(M, *lattice)`: a tensor, or rows read batch by batch.
        temperature: Temperature of each configuration `(M,)`.
        indices: Numbers of the rows to serve.
        batch_size: Number of configurations in a batch, over all processes.
        seed: Random seed for shuffling. None serves all rows in order, in batches as equal as possible,
            so that every process gets a part of each batch.
        epoch: Function that returns the number of the epoch when one begins.
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        configurations: Tensor | Rows,
        temperature: Tensor,
        indices: Tensor,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.configurations = configurations
        self.temperature = temperature
        self.indices = indices
        self.batch_size = min(batch_size, len(indices))
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = epoch
        self.served = 0

    def __len__(self) -> int:
        if self.seed is None:
            return math.ceil(len(self.indices) / self.batch_size)
        return len(self.indices) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        order = self.indices
        if self.seed is not None:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch()))
            order = order[torch.randperm(len(order), generator=generator)]
        whole = self.seed is None
        batches = order.tensor_split(len(self)) if whole else order.split(self.batch_size)
        for index in range(self.served, len(self)):
            rows = batches[index].tensor_split(self.world_size)[self.rank]
            # Counted before the yield, because the generator is not resumed after the last batch.
            self.served = (index + 1) % len(self)
            yield self.take(rows)

    def take(self, rows: Tensor) -> Batch:
        """Return the batch of some rows, in the floating type of the temperatures."""
        dtype = self.temperature.dtype
        if isinstance(self.configurations, Tensor):
            rows = rows.to(self.configurations.device)
            return Batch(self.configurations[rows].to(dtype), self.temperature[rows])
        ascending, inverse = rows.sort()
        configurations = torch.from_numpy(np.asarray(self.configurations[ascending.numpy()]))
        device = self.temperature.device
        return Batch(
            configurations[inverse.argsort()].to(device, dtype), self.temperature[rows.to(device)]
        )

    def state_dict(self) -> dict[str, int]:
        """Return the position in the epoch, which Lightning keeps in the checkpoint."""
        return {"served": self.served}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Resume from a position in the epoch."""
        self.served = state["served"]
