"""Markov chains of an explicit Hamiltonian, of which all or some terms are scaled."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.measurements.phases.ladders import Change, Ladders, Twist
from lightdan.measurements.phases.twist import TwistedOperators
from lightdan.progress import progress_bar
from lightdan.simulation import terms
from lightdan.simulation.heat_bath import random_states, slice_widths, sweep
from lightdan.simulation.replica_exchange import ReplicaExchange

SWEEPS = 10
"""Number of sweeps per step; a step ends with one round of exchanges."""
VARIATIONS = 16
"""Least number of draws of the couplings from their errors."""


class ExplicitChains(ReplicaExchange):
    """Chains of e^{−H_s/T' − H_r/T}, where H_s are the scaled terms of H and H_r the others.

    They start from random sites and need no network.

    Args:
        hamiltonian: Explicit Hamiltonian H, learned at temperature T.
        temperatures: Temperatures T', ascending.
        scaled: Whether each operator belongs to H_s `(operators,)`.
        num_ladders: Number of independent ladders, each with one chain at every T'.
        observables: Function from configurations `(B, *lattice)` to observables `(observables, B)`.
        operators: Function from configurations `(B, N)` to rows of all operators, of which the first is
            their values, `(rows, operators, B)`.
        seed: Random seed.
    """

    def __init__(
        self,
        hamiltonian: ExplicitHamiltonian,
        temperatures: Sequence[float],
        scaled: NDArray[np.bool_],
        num_ladders: int,
        observables: Callable[[Tensor], Tensor],
        operators: Callable[[NDArray[Any]], NDArray[np.float64]],
        seed: int = 0,
    ) -> None:
        super().__init__([1 / temperature for temperature in temperatures], num_ladders)
        self.hamiltonian, self.observables, self.operators = hamiltonian, observables, operators
        couplings = np.array([operator.coupling for operator in hamiltonian.operators])
        self.scaled_couplings = couplings * scaled
        self.seed, self.rng = seed, np.random.default_rng([seed, 1])
        self.rungs = []
        present = hamiltonian.temperature
        for temperature in temperatures:
            factors = np.where(scaled, present / temperature, 1.0)
            scaled_operators = [
                replace(operator, coupling=float(factor * operator.coupling))
                for operator, factor in zip(hamiltonian.operators, factors, strict=True)
            ]
            self.rungs.append(replace(hamiltonian, operators=scaled_operators).moves())
        self.widths = [
            slice_widths(rung, np.array([present])).repeat(num_ladders, 0) for rung in self.rungs
        ]
        kind, num_sites = hamiltonian.site_kind, hamiltonian.num_sites
        dtype = {"spin": np.int8, "level": np.int16}.get(kind, np.float64)
        self.places: NDArray[Any] = np.empty((num_ladders, len(self.rungs), num_sites), dtype)
        """Spins, places of levels, angles or fields of all chains `(ladders, K, N)`."""
        for k, (rung, widths) in enumerate(zip(self.rungs, self.widths, strict=True)):
            states = random_states((num_ladders, num_sites), rung, widths, self.rng)
            terms.from_states(states, self.places[:, k], rung)
        self.values: NDArray[np.float64] = np.empty((0, 0, 0))
        """Rows of the operators `(rows, operators, B)`."""

    @property
    def configurations(self) -> NDArray[Any]:
        """Values of the sites `(B, N)`."""
        flat = self.places.reshape(-1, self.places.shape[-1])
        if self.hamiltonian.site_kind != "level":
            return flat
        levels: NDArray[Any] = np.array(self.hamiltonian.levels)[flat]
        return levels

    def move(self, step: int, burn_in: bool) -> NDArray[np.float64]:
        """Sweep every chain and return H_s `(B,)`."""
        temperatures = np.full(self.num_ladders, self.hamiltonian.temperature)
        for k, (rung, widths) in enumerate(zip(self.rungs, self.widths, strict=True)):
            part = np.ascontiguousarray(self.places[:, k])
            seed = (self.seed * 1_000_003 + step) * len(self.rungs) + k
            sweep(part, rung, temperatures, SWEEPS, seed, widths)
            self.places[:, k] = part
        self.values = self.operators(self.configurations)
        if not np.isfinite(self.values).all():
            raise ValueError("The fields grow without bound: the Hamiltonian has no lower bound.")
        energies: NDArray[np.float64] = -self.scaled_couplings @ self.values[0]
        return energies

    def uniforms(self, num: int) -> NDArray[np.float64]:
        """Draw random numbers in [0, 1) `(num,)`."""
        return self.rng.random(num)

    def reorder(self, order: NDArray[np.intp]) -> None:
        """Put the configuration of chain `order[b]` into chain b."""
        flat = self.places.reshape(-1, self.places.shape[-1])
        self.places[:] = flat[order].reshape(self.places.shape)
        self.values = self.values[..., order]

    def observe(self) -> NDArray[np.float64]:
        """Return the observables and the rows of the operators, flat, `(observables, B)`."""
        shape = -1, *self.hamiltonian.lattice_shape
        seen = self.observables(torch.as_tensor(self.configurations.reshape(shape))).numpy()
        return np.concatenate([seen, self.values.reshape(-1, self.values.shape[-1])])


def explicit_ladders(
    hamiltonian: ExplicitHamiltonian,
    temperatures: Sequence[float],
    num_ladders: int,
    num_steps: int,
    observe: Callable[[Tensor], Tensor],
    seed: int = 0,
    scaled: NDArray[np.bool_] | None = None,
    is_torus: bool = True,
) -> Ladders:
    """Simulate an explicit Hamiltonian at several T'.

    Args:
        hamiltonian: Explicit Hamiltonian, learned at temperature T; its covariance gives the draws of
            the couplings.
        temperatures: Temperatures T', ascending.
        num_ladders: Number of independent ladders.
        num_steps: Number of steps of each chain; the first fifth is discarded.
        observe: Function from configurations `(B, *lattice)` to |m| and, if known, E `(1 or 2, B)`.
        seed: Random seed.
        scaled: Whether T' divides each operator `(operators,)`, in place of T; all by default.
        is_torus: Whether the lattice is a hypercubic torus, on which angles have a helicity modulus.

    Raises:
        ValueError: A field alone is not bounded.
    """
    operators, temperature = hamiltonian.operators, hamiltonian.temperature
    num, shape = len(operators), hamiltonian.lattice_shape
    all_scaled = scaled is None
    scaled = np.ones(num, bool) if scaled is None else scaled

    def values(configurations: NDArray[Any]) -> NDArray[np.float64]:
        rows = configurations.reshape(-1, *shape)
        return np.stack([operator.value(rows) for operator in operators])[None]

    twists = all_scaled and is_torus and TwistedOperators.applies(operators)
    rows = TwistedOperators(operators, shape) if twists else values
    chains = ExplicitChains(hamiltonian, temperatures, scaled, num_ladders, observe, rows, seed)
    with progress_bar("Chains of the explicit Hamiltonian", num_steps) as advance:
        series = chains.run(num_steps, advance)
    num_rows = 1 + 2 * len(shape) if twists else 1
    seen, series = series[: -num * num_rows], series[-num * num_rows :]
    series = series.reshape(num_rows, num, *series.shape[1:])

    def parts(couplings: NDArray[np.float64]) -> Change:
        """Return the scaled terms, the others over T and the derivatives, for couplings J."""
        twist = None
        if twists:
            slopes = -np.tensordot(couplings, series[1:], (0, 1))
            twist = Twist(slopes[: len(shape)], slopes[len(shape) :])
        rest = 0.0 if all_scaled else -np.tensordot(couplings * ~scaled, series[0], 1) / temperature
        return Change(-np.tensordot(couplings * scaled, series[0], 1), rest, twist)

    draws = np.empty((0, num))
    if hamiltonian.covariance is not None:
        draws = matched_draws(hamiltonian.covariance, seed)
    learned = parts(np.array([operator.coupling for operator in operators]))
    return Ladders(
        np.array(temperatures),
        hamiltonian.num_sites,
        hamiltonian=learned.hamiltonian,
        abs_magnetization=seen[0],
        energy=seen[1] if len(seen) > 1 else None,
        twist=learned.twist,
        temperature=None if all_scaled else temperature,
        variations=[parts(draw) for draw in draws],
    )


def matched_draws(covariance: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Draw changes of couplings with exactly the given covariance and zero mean `(draws, operators)`.

    The spread of a linear function over independent draws would itself be random.
    """
    num = max(VARIATIONS, 2 * len(covariance))
    normal = np.random.default_rng(seed).normal(size=(num, len(covariance)))
    orthonormal, _ = np.linalg.qr(normal - normal.mean(axis=0))
    values, vectors = np.linalg.eigh(covariance)
    draws: NDArray[np.float64] = orthonormal @ (vectors * np.sqrt((num - 1) * values.clip(0))).T
    return draws
