"""Hybrid Monte Carlo with Fourier acceleration, for any differentiable action on a periodic lattice."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ActionAndGradient = Callable[[Array], tuple[Array, Array]]
"""Function from fields `(B, *lattice)` to S `(B,)` and ∂S/∂φ `(B, *lattice)`."""

TARGET = 0.85
"""Acceptance to which the step size is tuned, slightly above the optimum for many sites."""
ROUNDS, MAX_ROUNDS, TRAJECTORIES_PER_ROUND = 5, 25, 20
SETTLED = 1.5
"""Change of the masses, and virial per site, below which their tuning ends."""
MAX_STEPS = 50
TRAJECTORY = math.pi / 2
"""Length of a trajectory: a quarter of the period of a harmonic action, which decorrelates fields."""


class HybridMonteCarlo:
    """Parallel Markov chains of e^{−S} that follow Hamilton's equations with random momenta.

        H = Σ_k |p_k|²/2M(k) + S(φ)

    is integrated by leapfrog, and a Metropolis step corrects the result. The masses are
    M(k) = ⟨|∂S/∂φ_k|²⟩, which is the mean curvature of mode k by partial integration, so that all modes
    have similar periods. Construction tunes the masses and the step size in 100 trajectories or more,
    until the masses settle, and then fixes them. Later trajectories have random lengths between 0.5 and
    1.5 times π/2.

    Args:
        action: Function that returns S and its gradient.
        start: Initial fields of the chains `(B, *lattice)`.
        rng: Random generator.

    Raises:
        ValueError: S or its gradient is not finite at the start.

    References:
        S. Duane et al., Phys. Lett. B 195, 216 (1987);
        G. Batrouni et al., Phys. Rev. D 32, 2736 (1985).
    """

    def __init__(self, action: ActionAndGradient, start: Array, rng: np.random.Generator) -> None:
        self.action, self.rng = action, rng
        self.fields = np.array(start, dtype=np.float64)
        self.value, self.gradient = action(self.fields)
        if not (np.isfinite(self.value).all() and np.isfinite(self.gradient).all()):
            raise ValueError("The action or its gradient is not finite where the chains start.")
        self.axes = tuple(range(1, self.fields.ndim))
        self.acceptance = 1.0
        self.step_size = 0.2
        powers = [self._power()]
        self.masses = np.full_like(powers[0][0], np.median(powers[0], axis=0).mean() / math.log(2))
        for turn in range(MAX_ROUNDS):
            # The median, because chains with a high initial action would make the masses too large.
            masses = np.median(np.concatenate(powers), axis=0) / math.log(2)
            # A few chains estimate the curvature of a mode poorly, and soft modes move slowly at first.
            # Chains far out have a gradient, and a virial, that are too large for the curvature.
            excess = max(1.0, self._virial())
            masses = 0.8 * masses / excess + 0.2 * self.masses
            masses = masses if masses.min() > 0 else np.ones_like(masses)
            changes = np.abs(np.log(masses / np.where(self.masses > 0, self.masses, 1.0)))
            self.masses = masses
            if turn >= ROUNDS and changes.max() < math.log(SETTLED) and excess < SETTLED:
                break
            powers = []
            for step in range(TRAJECTORIES_PER_ROUND):
                self.trajectory()
                self.step_size *= math.exp((self.acceptance - TARGET) / math.sqrt(1 + step / 4))
                self.step_size = min(max(self.step_size, TRAJECTORY / MAX_STEPS), TRAJECTORY / 2)
                powers.append(self._power())

    def _power(self) -> Array:
        """Return |∂S/∂φ_k|² of each chain."""
        transformed = np.fft.rfftn(self.gradient, axes=self.axes)
        power: Array = np.abs(transformed) ** 2 / math.prod(self.fields.shape[1:])
        return power

    def _virial(self) -> float:
        """Return the median of Σ_i φ_i ∂S/∂φ_i/N over the chains; its mean is 1 in equilibrium."""
        products = (self.fields * self.gradient).reshape(len(self.fields), -1)
        return float(np.median(products.mean(1)))

    def _filter(self, fields: Array, factor: Array) -> Array:
        transformed = np.fft.rfftn(fields, axes=self.axes)
        filtered: Array = np.fft.irfftn(transformed * factor, s=fields.shape[1:], axes=self.axes)
        return filtered

    def trajectory(self) -> None:
        """Move every chain by one trajectory."""
        momenta = self._filter(self.rng.normal(size=self.fields.shape), np.sqrt(self.masses))
        length = TRAJECTORY * self.rng.uniform(0.5, 1.5)
        steps = max(1, round(length / self.step_size))
        fields, gradient = self.fields, self.gradient
        before = self.value + self._kinetic(momenta)
        momenta = momenta - self.step_size / 2 * gradient
        for step in range(steps):
            fields = fields + self.step_size * self._filter(momenta, 1 / self.masses)
            value, gradient = self.action(fields)
            momenta = momenta - (self.step_size if step < steps - 1 else self.step_size / 2) * gradient
        with np.errstate(over="ignore", invalid="ignore"):
            loss = value + self._kinetic(momenta) - before
            probability = np.exp(-np.maximum(np.where(np.isfinite(loss), loss, np.inf), 0.0))
        self.acceptance = float(probability.mean())
        self.replace(self.rng.random(len(fields)) < probability, fields, value, gradient)

    def _kinetic(self, momenta: Array) -> Array:
        velocities = self._filter(momenta, 1 / self.masses)
        energy: Array = (momenta * velocities).sum(axis=self.axes) / 2
        return energy

    def replace(self, accepted: NDArray[np.bool_], fields: Array, value: Array, gradient: Array) -> None:
        """Move the accepted chains `(B,)` to new fields with known action and gradient."""
        wide = accepted.reshape(-1, *[1] * len(self.axes))
        self.fields = np.where(wide, fields, self.fields)
        self.gradient = np.where(wide, gradient, self.gradient)
        self.value = np.where(accepted, value, self.value)

    def advance(self, rows: NDArray[Any], spacing: int) -> None:
        """Fill rows `(chains, rows, sites)` with the fields after every `spacing` trajectories."""
        for row in range(rows.shape[1]):
            for _ in range(spacing):
                self.trajectory()
            rows[:, row] = self.fields.reshape(len(self.fields), -1)
