"""Batches that are already on the device."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from lightdan.data.rows import Rows
from lightdan.data.splits import derive_seed
from lightdan.data.weights import draw_rows, num_drawn
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
        weights: Count or weight of each row to serve, aligned with ``indices``. Shuffled rows are drawn
            in proportion to it; rows in order come with weights of mean 1.
        controls: Controls of each configuration `(M, controls)`.
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
        weights: Tensor | None = None,
        controls: Tensor | None = None,
        epoch: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.configurations = configurations
        self.temperature = temperature
        self.indices = indices
        self.weights = weights
        self.controls = controls
        self.num = len(indices) if weights is None or seed is None else num_drawn(weights)
        self.batch_size = min(batch_size, self.num)
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = epoch
        self.served = 0

    def __len__(self) -> int:
        if self.seed is None:
            return math.ceil(self.num / self.batch_size)
        return self.num // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        whole = self.seed is None
        num = len(self)
        batches = self.indices.tensor_split(num) if whole else self._shuffled().split(self.batch_size)
        weights = None
        if whole and self.weights is not None:
            weights = (self.weights.double() / self.weights.double().mean()).tensor_split(num)
        for index in range(self.served, len(self)):
            rows = batches[index].tensor_split(self.world_size)[self.rank]
            # Counted before the yield, because the generator is not resumed after the last batch.
            self.served = (index + 1) % len(self)
            batch = self.take(rows)
            if weights is not None:
                part = weights[index].tensor_split(self.world_size)[self.rank]
                batch = batch._replace(weight=part.to(batch.temperature))
            yield batch

    def _shuffled(self) -> Tensor:
        """Return the rows of an epoch in random order."""
        assert self.seed is not None
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch()))
        order = self.indices
        if self.weights is not None:
            order = order[draw_rows(self.weights, generator)]
        return order[torch.randperm(len(order), generator=generator)]

    def take(self, rows: Tensor) -> Batch:
        """Return the batch of some rows, in the floating type of the temperatures."""
        dtype, device = self.temperature.dtype, self.temperature.device
        beside = self.temperature[rows.to(device)]
        controls = None if self.controls is None else self.controls[rows.to(self.controls.device)]
        if controls is not None:
            controls = controls.to(beside)
        if isinstance(self.configurations, Tensor):
            rows = rows.to(self.configurations.device)
            return Batch(self.configurations[rows].to(dtype), beside, None, controls)
        ascending, inverse = rows.unique(return_inverse=True)
        configurations = torch.from_numpy(np.asarray(self.configurations[ascending.numpy()]))
        return Batch(configurations[inverse].to(device, dtype), beside, None, controls)

    def state_dict(self) -> dict[str, int]:
        """Return the position in the epoch, which Lightning keeps in the checkpoint."""
        return {"served": self.served}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Resume from a position in the epoch."""
        self.served = state["served"]
