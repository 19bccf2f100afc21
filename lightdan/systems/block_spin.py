"""Block spins: sums over the plaquettes of another system, or their signs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lightdan.data.samples import Samples
from lightdan.data.splits import derive_seed
from lightdan.statistics import Blocks
from lightdan.systems.base import System
from lightdan.types import Configurations, ConfigurationsLike, PerConfiguration

ENUMERABLE = 16
"""Largest number of spins whose configurations are all enumerated, 65,536."""
IMPOSSIBLE = 1000.0
"""Action of blocks that no configuration has; e^{−S} is then 0 in double precision."""


def block_sums(configurations: Tensor, stride: int = 2, boundary: str = "periodic") -> Tensor:
    """Sum over the 2 × 2 plaquettes at every `stride`-th site along each axis.

    Args:
        configurations: Configurations `(B, rows, columns)`.
        stride: Sites between plaquettes; 1 lets them overlap.
        boundary: Plaquettes across the edge are left out unless it is ``periodic``.
    """
    total = configurations + configurations.roll(-1, 1)
    total = (total + total.roll(-1, 2))[:, ::stride, ::stride]
    return total[:, :-1, :-1] if stride == 1 and boundary != "periodic" else total


def majority(sums: Tensor, seed: int) -> Tensor:
    """Return the signs of sums of spins; a coin decides ties."""
    generator = torch.Generator().manual_seed(seed)
    coins = 2 * torch.randint(2, sums.shape, generator=generator).to(sums) - 1
    return torch.where(sums == 0, coins, sums.sign())


class BlockSpin(System):
    """Block spins S of another system: the sum, or majority, of the spins in each 2 × 2 plaquette.

        S_IJ = Σ s over the plaquette at (dI, dJ), with stride d = 1 or 2

    The configurations of the other system are blocked when they are read, and keep its split. With
    d = 1 the plaquettes overlap: a torus then has one per site, an open lattice one fewer along each
    axis.

    If the other system has at most 16 spins and a known Hamiltonian, all its configurations are
    enumerated. The action is then −ln p(S), with Z = 1.

    Args:
        system: Two-dimensional system of spins or levels.
        stride: Stride d of the plaquettes.
        rule: ``sum``, or ``majority``, the sign of the sum, for spins and d = 2; a coin decides ties.
        repeats: Number of times that the blocking is applied; 0 leaves the system unchanged.
        batch_size: Number of configurations in a training batch, over all devices together.

    Raises:
        ValueError: The system is of another kind, or the blocks do not divide the lattice.
    """

    def __init__(
        self,
        system: System,
        stride: Literal[1, 2] = 2,
        rule: Literal["sum", "majority"] = "sum",
        repeats: int = 1,
        batch_size: int = 500,
    ) -> None:
        super().__init__(
            temperature=list(system.temperatures),
            num_configurations=system.num_configurations,
            batch_size=batch_size,
            splits=system.splits,
            seed=system.seed,
            max_memory_gb=system.max_memory_gb,
        )
        if (inner := system.spec()) is not None:
            self.constructor_arguments["system"] = inner
        name = type(system).__name__
        plane = len(system.lattice_shape) == 2 and system.lattice.is_hypercubic
        if not plane or system.site_kind not in ("spin", "level"):
            raise ValueError(
                f"BlockSpin cannot block {name}, which has sites of kind {system.site_kind!r} on "
                f"{len(system.lattice_shape)} axes: use a system of spins or levels on two axes."
            )
        if stride not in (1, 2) or repeats < 0 or rule not in ("sum", "majority"):
            raise ValueError(
                f"stride {stride}, rule {rule!r} and repeats {repeats} do not make block spins: set "
                "stride to 1 or 2, rule to 'sum' or 'majority' and repeats to 0 or more."
            )
        if rule == "majority" and (stride != 2 or system.site_kind != "spin"):
            raise ValueError(
                "rule 'majority' needs spins in separate blocks: set stride to 2, and system to spins."
            )
        if not system.in_memory:
            raise ValueError(
                f"BlockSpin needs all configurations in memory: raise max_memory_gb of {name}."
            )
        self.system, self.stride, self.rule, self.repeats = system, stride, rule, repeats
        self.boundary, self.symmetries = system.boundary, system.symmetries
        self.site_kind, self.levels = system.site_kind, tuple(system.levels)
        self.control_names = system.control_names
        shape = tuple(system.lattice_shape)
        for _ in range(repeats):
            if stride == 2 and any(side % 2 for side in shape):
                raise ValueError(
                    f"Blocks of 2 × 2 do not divide {shape[0]} × {shape[1]}: set even sides, stride 1 "
                    "or fewer repeats."
                )
            shape = self._blocked_shape(shape)
            if min(shape) < 1:
                raise ValueError(f"No block is left of {system.lattice_shape}: set fewer repeats.")
            if rule == "sum":
                pairs = {a + b for a in self.levels for b in self.levels}
                self.levels = tuple(sorted({a + b for a in pairs for b in pairs}))
                self.site_kind = "level"
        self.lattice_shape = shape

    def _blocked_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        if self.stride == 2:
            return tuple(side // 2 for side in shape)
        return tuple(shape) if self.boundary == "periodic" else tuple(side - 1 for side in shape)

    def block(self, configurations: Configurations) -> Configurations:
        """Return the blocks `(B, *lattice)` of configurations of the other system."""
        blocks = configurations
        for step in range(self.repeats):
            total = block_sums(blocks, self.stride, self.boundary)
            sums = self.rule == "sum"
            blocks = total if sums else majority(total, derive_seed(self.seed, 7, step))
        return blocks

    def prepare_data(self) -> None:
        """Prepare the data of the other system."""
        self.system.prepare_data()

    def load(self) -> Samples:
        """Return the blocked configurations of the other system, in its split."""
        samples = self.system.data
        if self.rule == "majority" and samples.has_counts:
            raise ValueError(
                "A majority decides ties once for a row and not for each of its counts: set rule to "
                "'sum', or write every row as often as it counts."
            )
        kind = torch.int8 if max(map(abs, self.levels)) < 128 else torch.int32
        configurations = torch.as_tensor(samples.configurations).to(kind)
        return replace(samples, configurations=self.block(configurations).contiguous())

    def at(self, controls: Mapping[str, float]) -> "BlockSpin":
        """Return the block spins of the other system at one of its combinations of controls."""
        blocks = super().at(controls)
        assert isinstance(blocks, BlockSpin)
        blocks.system = self.system.at(controls)
        return blocks

    def block_size(self, temperature: float) -> int:
        """Return the number of consecutive configurations that count as one observation in errors."""
        return self.system.block_size(temperature)

    def blocks(self, split: str, temperature: float) -> Blocks:
        """Return the blocks of held-out configurations that count as one observation in errors."""
        return self.system.blocks(split, temperature)

    # Exact results for small systems

    @property
    def has_action(self) -> bool:
        """Whether p(S) is known, because all configurations can be enumerated."""
        known = self.system.has_energy and self.system.site_kind == "spin"
        return known and self.system.num_sites <= ENUMERABLE and self.rule == "sum"

    @cached_property
    def _enumerated(self) -> tuple[Tensor, dict[bytes, int], np.ndarray]:
        """Energy of every state, index of each block configuration by code, and index of every state."""
        num = self.system.num_sites
        bits = torch.arange(2**num)[:, None] >> torch.arange(num) & 1
        states = (2.0 * bits.double() - 1).reshape(-1, *self.system.lattice_shape)
        codes, inverse = np.unique(self._code(self.block(states)), axis=0, return_inverse=True)
        numbers = {code.tobytes(): number for number, code in enumerate(codes)}
        return self.system.energy(states), numbers, inverse.ravel()

    def _code(self, blocks: Tensor) -> np.ndarray:
        """Return one code of bytes per configuration."""
        flat = blocks.flatten(1).cpu().numpy().astype(np.int16)
        return np.ascontiguousarray(flat).view(f"V{2 * flat.shape[1]}").ravel()

    def log_probabilities(self, temperature: float) -> np.ndarray:
        """Return ln p of every block configuration that occurs `(K,)`."""
        energy, numbers, inverse = self._enumerated
        p = (-energy / temperature).softmax(0).numpy()
        logs: np.ndarray = np.log(np.bincount(inverse, p, minlength=len(numbers)))
        return logs

    def action(
        self, configurations: ConfigurationsLike, temperature: PerConfiguration | float
    ) -> PerConfiguration:
        """Return −ln p(S) `(B,)`, with Z = 1, if all configurations can be enumerated."""
        configurations = self.checked(configurations)
        temperatures = torch.as_tensor(temperature).double().expand(len(configurations)).cpu().numpy()
        _, numbers, _ = self._enumerated
        index = np.array([numbers.get(code.tobytes(), -1) for code in self._code(configurations)])
        action = np.full(len(index), IMPOSSIBLE)
        for value in np.unique(temperatures):
            rows = (temperatures == value) & (index >= 0)
            action[rows] = -self.log_probabilities(float(value))[index[rows]]
        return torch.as_tensor(action).to(configurations.device)

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Return the entropy as `nll` and ln Z = 0, if all configurations can be enumerated."""
        if not self.has_action:
            return {}
        logs = self.log_probabilities(temperature)
        return {"nll": float(-(np.exp(logs) @ logs)), "ln_z": 0.0}
