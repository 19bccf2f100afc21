"""Configurations with their temperatures and their split into training, validation and test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from lightning import Trainer
from torch import Tensor

from lightdan.data.loader import BatchLoader
from lightdan.data.rows import Rows
from lightdan.data.splits import SPLITS, derive_seed, split_rows
from lightdan.data.weights import split_counts
from lightdan.statistics import (
    TIMES_PER_BLOCK,
    Blocks,
    block_length,
    effective_number,
    is_too_short,
)

LEAST_BLOCKS = 50
"""Blocks of the split at each temperature, even if they then last less than 20 τ."""


@dataclass(eq=False)
class Samples:
    """Configurations, the temperature of each, and their split into training, validation and test.

    Args:
        configurations: All configurations `(M, *lattice)`: a tensor, or rows that stay on disk.
        temperature: Temperature of each configuration `(M,)`; NaN if it is in no split.
        indices: Row numbers of each split by name: ``train``, ``validation`` and ``test``. They
            ascend at each temperature of a part, except that rows with counts are in random order.
        temperatures: The different temperatures.
        tau_int: Integrated autocorrelation time at each temperature, in rows; 0.5 is independent.
        row_weights: Weights of the rows of each split by name, aligned with ``indices``. Integers are
            counts: a count of n is n independent observations. Floats weight single observations.
        doubts: Sentences on what the configurations cannot tell, which every report repeats.
        sources: Names of what the rows at each temperature come from, for checkpoints: other data have
            other names, in whatever way they are split.
        controls: Controls of each configuration `(M, controls)`, or None.
        parts: Rows at each combination of controls, if these take few values, for `at`.
    """

    configurations: Tensor | Rows
    temperature: Tensor
    indices: dict[str, Tensor]
    temperatures: Sequence[float]
    tau_int: Sequence[float]
    row_weights: dict[str, Tensor] | None = None
    doubts: Sequence[str] = ()
    sources: Sequence[Sequence[str]] = ()
    controls: Tensor | None = None
    parts: Mapping[tuple[float, ...], "Samples"] = field(default_factory=dict)

    @classmethod
    def split(
        cls,
        configurations: Tensor | Rows,
        lengths: Sequence[int],
        temperatures: Sequence[float],
        tau_int: Sequence[float],
        fractions: Sequence[float],
        seed: int,
        *,
        order: Tensor | None = None,
        weights: Tensor | None = None,
        controls: Tensor | None = None,
        names: Sequence[str] | None = None,
    ) -> "Samples":
        """Split configurations at each temperature, correlated ones by contiguous blocks.

        With counts, every single observation is assigned at random, so a row can be in several splits.
        With real weights, rows are assigned as without. Rows of weight 0 are left out.

        Args:
            configurations: All configurations `(M, *lattice)`, in any order.
            lengths: Number of configurations at each temperature.
            temperatures: Temperatures T.
            tau_int: Integrated autocorrelation time at each temperature, in rows.
            fractions: Fractions of the configurations for training, validation and test.
            seed: Random seed for the split.
            order: Row numbers, temperature after temperature; by default in the order of the rows.
            weights: Counts (integers) or real weights `(M,)` of the rows.
            controls: Controls of the rows `(M, controls)`.
            names: Name of each temperature for messages; by default the number, if there are several.

        Raises:
            ValueError: A fraction is out of its range, or a split would be empty.
        """
        order = torch.arange(sum(lengths)) if order is None else order
        if names is None and len(lengths) > 1:
            names = [f"T = {value:g}" for value in temperatures]
        values = torch.tensor(temperatures, dtype=torch.get_default_dtype())
        temperature = torch.full((configurations.shape[0],), math.nan, dtype=values.dtype)
        temperature[order] = torch.repeat_interleave(values, torch.tensor(lengths))
        counts = weights is not None and not weights.is_floating_point()
        indices: dict[str, list[Tensor]] = {name: [] for name in SPLITS}
        parts: dict[str, list[Tensor]] = {name: [] for name in SPLITS}
        for number, rows in enumerate(order.split(list(lengths))):
            where = f" at {names[number]}" if names else ""
            own, seed_here = None if weights is None else weights[rows], derive_seed(seed, number)
            if own is not None and counts:
                drawn = split_counts(own, fractions, seed_here, where)
            else:
                block = _block(len(rows), tau_int[number])
                places = split_rows(len(rows), fractions, block=block, seed=seed_here, where=where)
                kept = places if own is None else [place[own[place] > 0] for place in places]
                drawn = [(place, place if own is None else own[place]) for place in kept]
            for name, (place, part) in zip(SPLITS, drawn, strict=True):
                if not len(place):
                    raise ValueError(
                        f"All weights in the {name} split{where} are 0: use more configurations of "
                        "positive weight."
                    )
                indices[name].append(rows[place])
                parts[name].append(part)
        return cls(
            configurations,
            temperature,
            {name: torch.cat(each) for name, each in indices.items()},
            temperatures,
            [0.5] * len(lengths) if counts else tau_int,
            None if weights is None else {name: torch.cat(each) for name, each in parts.items()},
            controls=controls,
        )

    @classmethod
    def join(cls, parts: Mapping[tuple[float, ...], "Samples"], controls: Tensor) -> "Samples":
        """Return the rows of all parts, each with its own split.

        Args:
            parts: Rows of the same configurations at each combination of controls.
            controls: Controls of all rows `(M, controls)`.
        """
        first, *others = parts.values()
        temperature = first.temperature
        for part in others:
            temperature = torch.where(part.temperature.isnan(), temperature, part.temperature)
        times: dict[float, float] = {}
        for part in parts.values():
            for value, tau in zip(part.temperatures, part.tau_int, strict=True):
                times[value] = max(tau, times.get(value, 0.0))
        weights = None
        if first.row_weights is not None:
            own = [part.row_weights for part in parts.values() if part.row_weights is not None]
            weights = {name: torch.cat([each[name] for each in own]) for name in SPLITS}
        return cls(
            first.configurations,
            temperature,
            {name: torch.cat([part.indices[name] for part in parts.values()]) for name in SPLITS},
            sorted(times),
            [times[value] for value in sorted(times)],
            weights,
            controls=controls,
            parts=parts,
        )

    def at(self, controls: Sequence[float]) -> "Samples":
        """Return the rows at one combination of controls, one of `parts`."""
        return replace(self.parts[tuple(controls)], configurations=self.configurations)

    def only(self, temperature: float) -> "Samples":
        """Return the rows at one temperature."""
        chosen = {name: self._at(name, temperature) for name in SPLITS}
        weights = self.row_weights
        same = self.temperature == torch.tensor(temperature, dtype=self.temperature.dtype)
        return replace(
            self,
            temperature=torch.where(same, self.temperature, math.nan),
            indices={name: self.indices[name][chosen[name]] for name in SPLITS},
            temperatures=[temperature],
            tau_int=[self._tau_at(temperature)[0]],
            row_weights=weights and {name: weights[name][chosen[name]] for name in SPLITS},
        )

    @property
    def has_counts(self) -> bool:
        """Whether the rows have weights that are counts."""
        return self.row_weights is not None and not self.row_weights["train"].is_floating_point()

    def num_in(self, split: str) -> int:
        """Return the number of rows in ``train``, ``validation`` or ``test``."""
        return len(self.indices[split])

    def observations_in(self, split: str) -> float:
        """Return the number of independent rows of equal weight that a split is worth."""
        weights = self._weights_of(split)
        return self.num_in(split) if weights is None else effective_number(weights)

    def rows(self, split: str, temperature: float, device: torch.device | None = None) -> Tensor:
        """Return all configurations `(M, *lattice)` of a split at one temperature."""
        return self.take(self.rows_of(split, temperature)).to(device)

    def take(self, numbers: Tensor) -> Tensor:
        """Return the configurations `(n, *lattice)` of row numbers `(n,)`."""
        loader = BatchLoader(self.configurations, self.temperature, numbers, len(numbers))
        return loader.take(numbers).configurations

    def rows_of(self, split: str, temperature: float) -> Tensor:
        """Return the row numbers of a split at one temperature `(M,)`."""
        return self.indices[split][self._at(split, temperature)]

    def order(self, temperature: float) -> Tensor:
        """Return the order that puts the joined `rows` of all splits as in the file `(M,)`."""
        return torch.cat([self.rows_of(split, temperature) for split in SPLITS]).argsort()

    def weights(self, split: str, temperature: float) -> Tensor | None:
        """Return the weights `(M,)` of `rows`, or None if the rows have none.

        Integers are counts, and floats weight single observations.
        """
        weights = self._weights_of(split)
        return None if weights is None else weights[self._at(split, temperature)]

    def controls_of(self, split: str, temperature: float) -> Tensor | None:
        """Return the controls `(M, controls)` of `rows`, or None if there are none."""
        if self.controls is None:
            return None
        return self.controls[self.rows_of(split, temperature).to(self.controls.device)]

    def train_controls(self) -> Tensor:
        """Return the controls of the training rows `(M, controls)`; without any they have no columns."""
        if self.controls is None:
            return torch.zeros(self.num_in("train"), 0)
        return self.controls[self.indices["train"].to(self.controls.device)]

    def block_size(self, temperature: float) -> int:
        """Return the number of consecutive rows that count as one observation in standard errors.

        It is that of `block_length`. Rows with τ < 1 count each on its own.
        """
        tau, num = self._tau_at(temperature)
        return 1 if tau < 1 else block_length(num, tau)

    def blocks(self, split: str, temperature: float) -> Blocks:
        """Return the blocks of `rows` that count as one observation in standard errors.

        If all rows together last less than 9 τ there is one block, and errors are infinite.
        """
        tau, num = self._tau_at(temperature)
        if is_too_short(num, tau):
            return Blocks.single(len(self.rows_of(split, temperature)))
        numbers = self.rows_of(split, temperature).unique()
        every = torch.cat([self.rows_of(name, temperature) for name in SPLITS if name in self.indices])
        places = torch.searchsorted(every.sort().values, numbers)
        return Blocks.of_rows(places.numpy(), tau)

    def _tau_at(self, temperature: float) -> tuple[float, int]:
        """Return the autocorrelation time and the number of rows at one temperature."""
        value = torch.tensor(temperature, dtype=self.temperature.dtype)
        known = torch.tensor(self.temperatures, dtype=self.temperature.dtype)
        tau = self.tau_int[int((known == value).nonzero()[0])]
        return tau, int((self.temperature == value).sum())

    def _weights_of(self, split: str) -> Tensor | None:
        return None if self.row_weights is None else self.row_weights[split]

    def _at(self, split: str, temperature: float) -> Tensor:
        """Return which rows of a split have a temperature."""
        value = torch.tensor(temperature, dtype=self.temperature.dtype)
        return self.temperature.cpu()[self.indices[split]] == value

    def moments(self) -> tuple[float, float, float, float]:
        """Return mean, standard deviation, minimum and maximum of the training values.

        Every process reads the whole training set, so that they agree.
        """
        count, total, squares, low, high = 0, 0.0, 0.0, math.inf, -math.inf
        for batch in self.loader("train", 10_000):
            values = batch.configurations.double()
            weights: Tensor | float = 1.0
            if batch.weight is not None:
                weights = batch.weight.double().reshape(-1, *[1] * (values.ndim - 1))
            count += values.numel()
            total += (weights * values).sum().item()
            squares += (weights * values.square()).sum().item()
            low, high = min(low, values.min().item()), max(high, values.max().item())
        mean = total / count
        return mean, math.sqrt(max(squares / count - mean**2, 0.0)), low, high

    def _move(self, device: torch.device) -> None:
        """Move the temperatures, and the configurations if they are in memory, to a device."""
        if isinstance(self.configurations, Tensor):
            self.configurations = self.configurations.to(device)
        self.temperature = self.temperature.to(device)
        if self.controls is not None:
            self.controls = self.controls.to(device)
        for part in self.parts.values():  # so that the first copy is freed
            part.configurations = self.configurations

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
        weights = self._weights_of(split)
        if trainer is None:
            return BatchLoader(
                self.configurations,
                self.temperature,
                self.indices[split],
                batch_size,
                seed=seed,
                weights=weights,
                controls=self.controls,
            )
        self._move(trainer.strategy.root_device)
        return BatchLoader(
            self.configurations,
            self.temperature,
            self.indices[split],
            batch_size,
            seed=seed,
            weights=weights,
            controls=self.controls,
            epoch=lambda: trainer.current_epoch,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )


def _block(length: int, tau: float) -> int:
    """Return the number of consecutive rows that a split keeps together."""
    if tau < 1:
        return 1
    return max(1, min(math.ceil(TIMES_PER_BLOCK * tau), length // LEAST_BLOCKS))
