"""A quantum particle's path in imaginary time: a field in 0+1 dimensions."""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lightdan.checks import SMALLEST, check_integer, check_number, check_temperatures
from lightdan.lattices import groups
from lightdan.simulation import paths
from lightdan.simulation.simulation import Parts, Simulation
from lightdan.simulation.transfer_matrix import TransferMatrix
from lightdan.systems.base import System
from lightdan.types import Configurations, ConfigurationsLike, PerConfiguration

SAMPLERS = ("transfer_matrix", "metropolis", "hmc")
Potential = Callable[[Any], Any]


class Path(System):
    """Path x_0, …, x_{N−1} of a quantum particle in imaginary time, closed by x_N = x_0.

        S = Σ_i [(x_{i+1} − x_i)²/2a + a V(x_i)],    a = β/N

    Mass and ħ are 1. The partition function Z = (2πa)^{−N/2} ∫ dx e^{−S} tends to tr e^{−βH} as a → 0.

    The transfer matrix draws exact, independent paths; two Markov chains are there for comparison. In
    tables and files T = 1/β. Diagonalisation yields ln Z, the moments, ⟨S⟩, the correlator and the
    spectrum exactly.

    Args:
        potential: Potential V: coefficients c_0, c_1, … of Σ_k c_k x^k, or a function of a tensor. The
            function uses torch or, for ``metropolis``, plain arithmetic; in a configuration file write
            ``module.function``.
        beta: Inverse temperature β, one number or a list.
        num_slices: Number of time slices N.
        sampler: ``transfer_matrix`` (exact), ``metropolis`` (local sweeps) or ``hmc``.
        kwargs: Further arguments of `System`: num_configurations, batch_size, splits, seed, cache_dir,
            max_memory_gb.

    Raises:
        ValueError: β is not positive, N < 3, or V is unbounded below or does not confine the path.

    Example:
        >>> harmonic = Path(potential=[0, 0, 0.5], beta=4.0, num_slices=16)
        >>> round(harmonic.exact_values(1 / 4.0)["x2"], 4)
        0.5148
    """

    site_kind = "real"
    levels = ()

    def __init__(
        self,
        potential: list[float] | Potential,
        beta: float | list[float] = 20.0,
        num_slices: int = 128,
        sampler: Literal["transfer_matrix", "metropolis", "hmc"] = "transfer_matrix",
        **kwargs: Any,
    ) -> None:
        betas = check_temperatures(beta, "beta")
        super().__init__(temperature=[1 / value for value in betas], **kwargs)
        check_integer("num_slices", num_slices, 3)
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, not {sampler!r}.")
        self.function = potential if callable(potential) else polynomial(potential)
        self.lattice_shape = (num_slices,)
        self.sampler = sampler
        check_confining(self.potential, self.force)
        self.symmetries = groups.spatial_operations(self.lattice)
        self.symmetric = is_even(self.potential)
        if self.symmetric:
            self.symmetries = ("z2", *self.symmetries)
        self._solutions: dict[float, TransferMatrix] = {}

    def parameters(self) -> dict[str, Any]:
        """Return the sampler and the values of V at 65 points."""
        values = self.potential(np.linspace(-4, 4, 65)).tolist()
        # The numbers of hybrid Monte Carlo have changed once; kept ones must not return.
        sampler = "hmc 2" if self.sampler == "hmc" else self.sampler
        return {"potential": values, "sampler": sampler}

    def label(self, temperature: float) -> str:
        """Return β as the name of the temperature."""
        return f"beta={1 / temperature:g}"

    def solution(self, temperature: float) -> TransferMatrix:
        """Return the transfer matrix at β = 1/T, which is diagonalised once."""
        if temperature not in self._solutions:
            solution = TransferMatrix(self.potential, 1 / temperature, self.num_sites)
            self._solutions[temperature] = solution
        return self._solutions[temperature]

    def simulate(self, temperature: float, seed: int, progress: Callable[[int], None]) -> Simulation:
        """Draw independent paths, or run the Markov chain named by `sampler`."""
        num, beta = self.num_configurations, 1 / temperature
        if self.sampler == "transfer_matrix":
            draws = self.solution(temperature).sample(num, seed, progress)
            parts = (part.astype(np.float32) for part in draws)
            return Simulation(Parts((num, *self.lattice_shape), np.dtype(np.float32), parts))
        options: dict[str, Any] = {"symmetric": self.symmetric, "seed": seed, "progress": progress}
        if self.sampler == "metropolis":
            return paths.metropolis(self.function, beta, self.num_sites, num, **options)
        return paths.hmc(self.potential, self.force, beta, self.num_sites, num, **options)

    def potential(self, x: Any) -> Any:
        """Return V of a number, a tensor or an array, elementwise."""
        if isinstance(x, np.ndarray):
            return self.function(torch.from_numpy(np.ascontiguousarray(x))).numpy()
        return self.function(x)

    def force(self, x: np.ndarray) -> np.ndarray:
        """Return V'(x), by automatic differentiation."""
        values = torch.from_numpy(x).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self.function(values).sum(), values)
        return gradient.numpy()

    def kinetic(
        self, configurations: Configurations, temperature: PerConfiguration | float
    ) -> PerConfiguration:
        """Return the kinetic action Σ (x_{i+1} − x_i)²/2a `(B,)`."""
        steps = configurations.roll(-1, 1) - configurations
        return steps.square().sum(1) * temperature * self.num_sites / 2

    def potential_action(
        self, configurations: Configurations, temperature: PerConfiguration | float
    ) -> PerConfiguration:
        """Return the potential action Σ a V(x_i) `(B,)`."""
        values: Tensor = self.potential(configurations)
        return values.sum(1) / (temperature * self.num_sites)

    def action(
        self, configurations: ConfigurationsLike, temperature: PerConfiguration | float
    ) -> PerConfiguration:
        """Return S `(B,)`."""
        configurations = self.checked(configurations)
        kinetic = self.kinetic(configurations, temperature)
        return kinetic + self.potential_action(configurations, temperature)

    def log_measure(self, temperature: float) -> float:
        """Return −(N/2) ln 2πa."""
        return -self.num_sites / 2 * math.log(2 * math.pi / (temperature * self.num_sites))

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Return ln Z, the entropy, ⟨S⟩ and its parts, ⟨x²⟩, ⟨x⁴⟩, E_1 − E_0, and 1/a."""
        solution = self.solution(temperature)
        energies = solution.energies
        return {
            "ln_z": solution.log_partition,
            "entropy": solution.entropy(),
            "action": solution.mean_action(),
            "kinetic": solution.mean_kinetic(),
            "potential": solution.mean(self.potential) / temperature,
            "x2": solution.mean(np.square),
            "x4": solution.mean(lambda x: x**4),
            "gap": float(energies[1] - energies[0]),
            "kinetic_1": self.lattice_shape[0] * temperature,
        }

    def observables(self, temperature: float) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return S, its kinetic and potential parts, and the means of x² and x⁴ over the slices."""
        return {
            "action": lambda s: self.action(s, temperature),
            "kinetic": lambda s: self.kinetic(s, temperature),
            "potential": lambda s: self.potential_action(s, temperature),
            "x2": lambda s: s.square().mean(1),
            "x4": lambda s: s.square().square().mean(1),
        }


class DoubleWell(Path):
    """Path in a double well, which tunnels between the minima ±v by kinks.

        V(x) = (λ/4)(x² − v²)²

    A kink is x = ±v tanh(μ(τ − τ_0)/√2) with μ = v√λ, and costs the action √(8/9) μ³/λ.

    Args:
        beta: Inverse temperature β, one number or a list.
        num_slices: Number of time slices N.
        minimum: Position v of the right minimum.
        strength: Strength λ of the potential.
        kwargs: Further arguments of `Path` (sampler) and `System`: num_configurations, batch_size,
            splits, seed, cache_dir, max_memory_gb.

    References:
        arXiv:2405.10493.

    Example:
        >>> system = DoubleWell(beta=20.0)
        >>> round(system.exact_values(1 / 20.0)["ln_z"], 4)
        -34.8179
    """

    def __init__(
        self,
        beta: float | list[float] = 20.0,
        num_slices: int = 128,
        minimum: float = 1.4,
        strength: float = 4.0,
        **kwargs: Any,
    ) -> None:
        check_number("strength", strength, SMALLEST)
        check_number("minimum", minimum, SMALLEST)
        self.minimum, self.strength = minimum, strength
        square = minimum**2
        coefficients = [strength * c for c in (square**2 / 4, 0, -square / 2, 0, 0.25)]
        super().__init__(potential=coefficients, beta=beta, num_slices=num_slices, **kwargs)

    @cached_property
    def kink_action(self) -> float:
        """Action of a kink, √(8/9) μ³/λ = ∫ √(2V) dx from −v to v."""
        return math.sqrt(8 / 9) * self.minimum**3 * math.sqrt(self.strength)

    def exact_values(self, temperature: float) -> dict[str, float]:
        """Return the exact values of a path and the mean number of kinks."""
        kinks = self.solution(temperature).mean_passages(self.minimum / 2)
        return {**super().exact_values(temperature), "kinks": kinks}

    def observables(self, temperature: float) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return the observables of a path and the number of kinks."""
        functions = super().observables(temperature)
        functions["kinks"] = lambda s: count_kinks(s, self.minimum / 2)
        return functions


def count_kinks(paths: Configurations, threshold: float) -> PerConfiguration:
    """Count the passages from below −c to above c or back around the ring `(B,)`.

    They are sign changes with hysteresis. Unlike plain sign changes their number has a limit as a → 0.

    Args:
        paths: Paths `(B, N)`.
        threshold: Threshold c.
    """
    sign = (paths > threshold).to(paths.dtype) - (paths < -threshold).to(paths.dtype)
    # Twice around the ring, because the first slices need the last sign before them.
    sign = torch.cat([sign, sign], dim=1)
    position = torch.arange(sign.shape[1], device=sign.device).expand_as(sign)
    last = torch.where(sign != 0, position, 0).cummax(1).values
    signs = sign.gather(1, last)[:, paths.shape[1] - 1 :]
    return (signs[:, 1:] * signs[:, :-1] < 0).to(paths.dtype).sum(1)


def polynomial(coefficients: Sequence[float]) -> Potential:
    """Return V(x) = Σ_k c_k x^k as a function of numbers and arrays, by Horner's rule.

    Raises:
        ValueError: There is no coefficient, or one is not finite.
    """
    constants = tuple(float(c) for c in coefficients)
    if not constants or not all(map(math.isfinite, constants)):
        raise ValueError(
            f"potential must be a list of finite coefficients c_0, c_1, …, not {coefficients}."
        )

    def potential(x: Any) -> Any:
        value = constants[-1] + 0.0 * x
        for k in range(len(constants) - 2, -1, -1):
            value = value * x + constants[k]
        return value

    return potential


def check_confining(potential: Potential, force: Potential) -> None:
    """Raise ValueError unless the potential confines the path.

    Raises:
        ValueError: V falls or stays level to one side, or V or V' cannot be evaluated for a tensor.
    """
    try:
        with np.errstate(over="ignore"):
            force(np.linspace(-1, 1, 3))
            far, near = (potential(np.array([-r, r])) for r in (100.0, 10.0))
        middle = float(np.max(potential(np.linspace(-1, 1, 21))))
        confining = bool(np.all(far > near) and np.all(far > middle + 1))
    except Exception as error:
        raise ValueError(
            f"potential or its derivative cannot be evaluated for a tensor ({type(error).__name__}: "
            f"{error}): use torch functions or plain arithmetic."
        ) from error
    if not confining:
        raise ValueError(
            "The potential is unbounded below or does not confine the path: use one that grows to both "
            "sides, like a polynomial of even degree with a positive last coefficient."
        )


def is_even(potential: Potential) -> bool:
    """Return whether V(x) = V(−x) at 65 points."""
    x = np.linspace(0, 4, 65)
    return bool(np.allclose(potential(x), potential(-x), rtol=1e-12, atol=1e-12))
