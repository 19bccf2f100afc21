"""Block spins: what is left of configurations when plaquettes are summed up."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lightdan.data.splits import derive_seed
from lightdan.systems.base import System
from lightdan.types import Configurations, PerConfiguration

ENUMERABLE = 16
"""Spins of which all configurations are summed over, 65,536."""
IMPOSSIBLE = 1000.0
"""S of blocks that no configuration has: e^−S is 0 to all digits."""


def block_sums(configurations: Tensor, stride: int = 2, boundary: str = "periodic") -> Tensor:
    """Sums over the 2 × 2 plaquettes at every `stride`-th site of `(B, rows, columns)`."""
    total = configurations + configurations.roll(-1, 1)
    total = (total + total.roll(-1, 2))[:, ::stride, ::stride]
    return total[:, :-1, :-1] if stride == 1 and boundary != "periodic" else total


def majority(sums: Tensor, seed: int) -> Tensor:
    """The sign of sums of spins; a coin decides ties."""
    generator = torch.Generator().manual_seed(seed)
    coins = 2 * torch.randint(2, sums.shape, generator=generator).to(sums) - 1
    return torch.where(sums == 0, coins, sums.sign())


class BlockSpin(System):
    """S_IJ = Σ s over the 2 × 2 plaquette at (dI, dJ) of another system, d = 1 or 2, or their majority.

    The configurations are those of the other system, blocked when they are read, and split as there: no
    configuration is in training and test. With d = 1 the plaquettes overlap; on a torus there are then
    as many as sites, with an open boundary one fewer along each axis. Of up to 16 spins with a known
    Hamiltonian all configurations are enumerated: −ln p(S) is the action, with Z = 1.

    Args:
        system: The other system, two-dimensional, of spins or levels.
        stride: d.
        rule: ``sum``, or ``majority``, the sign of the sum, for d = 2 and spins; a coin decides ties.
        repeats: How often the blocks are blocked again; 0 leaves the system as it is.
        batch_size: Configurations in a training batch, over all devices together.

    Raises:
        ValueError: the system is not of that kind, or the blocks do not divide the lattice.
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
            self._arguments["system"] = inner
        name = type(system).__name__
        if len(system.lattice_shape) != 2 or system.site_kind not in ("spin", "level"):
            raise ValueError(
                f"BlockSpin needs spins or levels on two axes; {name} has sites of kind "
                f"{system.site_kind!r} on {len(system.lattice_shape)}."
            )
        if stride not in (1, 2) or repeats < 0 or rule not in ("sum", "majority"):
            raise ValueError(
                "BlockSpin needs stride 1 or 2, rule 'sum' or 'majority' and repeats ≥ 0, not "
                f"{stride}, {rule!r} and {repeats}."
            )
        if rule == "majority" and (stride != 2 or system.site_kind != "spin"):
            raise ValueError(
                "The majority is of spins in separate blocks: set stride to 2, and system to spins."
            )
        if not system.in_memory:
            raise ValueError(f"BlockSpin blocks in memory: raise max_memory_gb of {name}.")
        self.system, self.stride, self.rule, self.repeats = system, stride, rule, repeats
        self.boundary, self.symmetries = system.boundary, system.symmetries
        self.site_kind, self.levels = system.site_kind, tuple(system.levels)
        shape = tuple(system.lattice_shape)
        for _ in range(repeats):
            if stride == 2 and any(side % 2 for side in shape):
                raise ValueError(
                    f"Blocks of 2 × 2 do not divide {shape[0]} × {shape[1]}: give even sides, stride 1 "
                    "or fewer repeats."
                )
            shape = self._blocked_shape(shape)
            if min(shape) < 1:
                raise ValueError(f"No block is left of {system.lattice_shape}: give fewer repeats.")
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
        """The blocks `(B, *lattice)` of configurations of the other system."""
        blocks = configurations
        for step in range(self.repeats):
            total = block_sums(blocks, self.stride, self.boundary)
            sums = self.rule == "sum"
            blocks = total if sums else majority(total, derive_seed(self.seed, 7, step))
        return blocks

    def prepare_data(self) -> None:
        """What the other system does."""
        self.system.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Block the configurations of the other system; at the first call only."""
        if self._configurations is not None:
            return
        self.system.setup(stage)
        micro = self.system._configurations
        kind = torch.int8 if max(map(abs, self.levels)) < 128 else torch.int32
        self.tau_int = self.system.tau_int
        self._temperature, self._indices = self.system._temperature, self.system._indices
        self._configurations = self.block(torch.as_tensor(micro).to(kind)).contiguous()

    # What is known of small ones

    @property
    def has_action(self) -> bool:
        """Whether all configurations can be enumerated."""
        known = self.system.has_energy and self.system.site_kind == "spin"
        return known and self.system.num_sites <= ENUMERABLE and self.rule == "sum"

    @cached_property
    def _enumerated(self) -> tuple[Tensor, dict[bytes, int], np.ndarray]:
        """Energies of all spins, number of each block there is by code, and that of each state."""
        num = self.system.num_sites
        bits = torch.arange(2**num)[:, None] >> torch.arange(num) & 1
        states = (2.0 * bits.double() - 1).reshape(-1, *self.system.lattice_shape)
        codes, inverse = np.unique(self._code(self.block(states)), axis=0, return_inverse=True)
        numbers = {code.tobytes(): number for number, code in enumerate(codes)}
        return self.system.energy(states), numbers, inverse.ravel()

    def _code(self, blocks: Tensor) -> np.ndarray:
        """One row of bytes a configuration."""
        flat = blocks.flatten(1).cpu().numpy().astype(np.int16)
        return np.ascontiguousarray(flat).view(f"V{2 * flat.shape[1]}").ravel()

    def log_probabilities(self, temperature: float) -> np.ndarray:
        """Ln p of every block configuration that there is `(K,)`."""
        energy, numbers, inverse = self._enumerated
        p = (-energy / temperature).softmax(0).numpy()
        logs: np.ndarray = np.log(np.bincount(inverse, p, minlength=len(numbers)))
        return logs

    def action(
        self, configurations: Configurations, temperature: PerConfiguration | float
    ) -> PerConfiguration:
        """−ln p(S) `(B,)`, where all configurations can be enumerated; Z = 1."""
        given = torch.as_tensor(temperature).double().expand(len(configurations)).cpu().numpy()
        _, numbers, _ = self._enumerated
        index = np.array([numbers.get(code.tobytes(), -1) for code in self._code(configurations)])
        action = np.full(len(index), IMPOSSIBLE)
        for value in np.unique(given):
            rows = (given == value) & (index >= 0)
            action[rows] = -self.log_probabilities(float(value))[index[rows]]
        return torch.as_tensor(action).to(configurations.device)

    def exact_values(self, temperature: float) -> dict[str, float]:
        """`nll`, the entropy, where all configurations can be enumerated; ln Z = 0."""
        if not self.has_action:
            return {}
        logs = self.log_probabilities(temperature)
        return {"nll": float(-(np.exp(logs) @ logs)), "ln_z": 0.0}
