"""Markov chains of a learned Hamiltonian at temperatures other than its own."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightdan.architectures.base import Architecture
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.lattices.angles import TWO_PI, wrap
from lightdan.simulation.heat_bath import slice_widths, sweep
from lightdan.simulation.replica_exchange import ReplicaExchange
from lightdan.simulation.terms import energies

SURROGATE_SWEEPS = 20
"""Sweeps of the surrogate in one proposal."""


class NetworkChains(ReplicaExchange):
    """Chains of p(s) ∝ p_θ(s)^{T/T'} = e^{−H_θ(s)/T'} at several T', with replica exchange.

    Every chain starts from an independent sample of the network, which is in equilibrium at T' = T.
    There are two kinds of steps:

    - Without a surrogate, a step proposes a new value at one site after another. It accepts with
      probability min(1, (p_θ(s')/p_θ(s))^{T/T'}). A discrete site is offered any other level. A
      continuous site is offered a move whose width is tuned during the burn-in.
    - With a surrogate H_s, a step proposes the result of 20 sweeps of H_s at T'. It accepts
      with probability min(1, e^{−Δ(H_θ − H_s)/T'}), which is exact and costs one evaluation of H_θ.

    Args:
        model: The network.
        temperature: Temperature T at which the network was trained.
        temperatures: Temperatures T', ascending.
        num_ladders: Number of independent ladders, each with one chain at every T'.
        observables: Function from configurations `(B, *lattice)` to observables `(observables, B)`.
        seed: Random seed.
        surrogate: Explicit Hamiltonian H_s that makes the proposals.
    """

    def __init__(
        self,
        model: Architecture,
        temperature: float,
        temperatures: Sequence[float],
        num_ladders: int,
        observables: Callable[[Tensor], Tensor],
        seed: int = 0,
        surrogate: ExplicitHamiltonian | None = None,
    ) -> None:
        super().__init__([temperature / other for other in temperatures], num_ladders)
        self.model, self.observables, self.seed = model, observables, seed
        self.generator = torch.Generator(model.device).manual_seed(seed)
        num = num_ladders * len(temperatures)
        input_temperature = temperature if model.temperature_input else None
        self.configurations = model.sample(num, self.generator, input_temperature)
        self.inputs = self.configurations.new_full((num,), temperature)
        """T, the input of the network, for each chain `(B,)`."""
        self.temperatures = self.inputs.new_tensor(temperatures).repeat(num_ladders)
        self.powers = temperature / self.temperatures
        self.widths = torch.ones_like(self.inputs)
        self.interactions = surrogate.moves() if surrogate is not None else None
        if self.interactions is not None:
            different = np.array(temperatures)
            self.slices = np.tile(slice_widths(self.interactions, different), (num_ladders, 1))
        self.log_probs = torch.zeros_like(self.inputs)
        """ln p_θ of the present configurations `(B,)`."""
        self.acceptance = torch.zeros_like(self.inputs)
        """Fraction of the last step's proposals that each chain accepted `(B,)`."""

    @torch.no_grad()
    def move(self, step: int, burn_in: bool) -> NDArray[np.float64]:
        """Move every chain and return −ln p_θ `(B,)`."""
        self.log_probs = self.sweep(adapt=burn_in) if self.interactions is None else self.leap(step)
        return -self.log_probs.double().cpu().numpy()

    def uniforms(self, num: int) -> NDArray[np.float64]:
        """Draw random numbers in [0, 1) `(num,)`."""
        return self.uniform(num).double().cpu().numpy()

    def reorder(self, order: NDArray[np.intp]) -> None:
        """Put the configuration of chain `order[b]` into chain b."""
        index = torch.as_tensor(order, device=self.inputs.device)
        self.configurations, self.log_probs = self.configurations[index], self.log_probs[index]

    @torch.no_grad()
    def observe(self) -> NDArray[np.float64]:
        """Return ln p_θ, the acceptance and the observables `(2 + observables, B)`."""
        rows = [self.log_probs, self.acceptance, *self.observables(self.configurations)]
        return torch.stack([row.double() for row in rows]).cpu().numpy()

    def sweep(self, adapt: bool = False) -> Tensor:
        """Propose a new value at every site and return ln p_θ `(B,)`.

        Args:
            adapt: Whether the widths of the moves are tuned to an acceptance of one half.
        """
        # New walkers every sweep: differences that were added up 10⁵ times in single precision drift.
        conditions = self.model.conditions(len(self.inputs), self.inputs)
        walkers = self.model.walkers(self.configurations, conditions)
        accepted = torch.zeros_like(self.inputs)
        for site in range(self.model.num_sites):
            proposal = self.propose(walkers.values[site])
            gain = walkers.propose(site, proposal) - walkers.log_prob
            where = self.uniform(len(gain)) < (self.powers * gain).exp()
            walkers.accept(where)
            accepted += where
        self.acceptance = accepted / self.model.num_sites
        if adapt:
            self.widths *= torch.where(self.acceptance > 0.5, 1.1, 1 / 1.1)
        self.configurations = walkers.configurations
        return walkers.log_prob

    def propose(self, values: Tensor) -> Tensor:
        """Draw new values of one site, given its present values `(B,)`."""
        uniforms = self.uniform(len(values))
        if levels := self.model.levels:
            # The k-th of the other levels, in cyclic order from the present one on.
            ordered = values.new_tensor(levels)
            shift = 1 + (uniforms * (len(levels) - 1)).long()
            index = torch.searchsorted(ordered, values.contiguous()) + shift
            return ordered[index % len(levels)]
        move = self.widths * (uniforms - 0.5)
        if self.model.site_kind == "angle":
            return wrap(values + TWO_PI * move.clamp(-0.5, 0.5))
        return values + self.model.scale * move

    def leap(self, step: int) -> Tensor:
        """Propose what the surrogate's sweeps lead to and return ln p_θ `(B,)`."""
        assert self.interactions is not None
        present = self.places()
        proposal = present.copy()
        temperatures = self.temperatures.double().cpu().numpy()
        seed = self.seed * 1_000_003 + step
        sweep(proposal, self.interactions, temperatures, SURROGATE_SWEEPS, seed, self.slices)
        changed = self.from_places(proposal)
        before, after = (self.log_prob(s) for s in (self.configurations, changed))
        difference = energies(proposal, self.interactions) - energies(present, self.interactions)
        gain = self.powers * (after - before)
        gain += (torch.as_tensor(difference / temperatures)).to(gain)
        where = self.uniform(len(gain)) < gain.exp()
        self.acceptance = where.to(self.inputs)
        shape = (-1, *[1] * (changed.ndim - 1))
        self.configurations = torch.where(where.reshape(shape), changed, self.configurations)
        return torch.where(where, after, before)

    def places(self) -> NDArray[Any]:
        """Return what sweeps move: spins, places of levels, angles or fields `(B, N)`."""
        flat = self.configurations.flatten(1)
        if self.model.site_kind == "level":
            ordered = flat.new_tensor(self.model.levels)
            return torch.searchsorted(ordered, flat.contiguous()).to(torch.int16).cpu().numpy()
        return flat.to(torch.int8 if self.model.levels else torch.float64).cpu().numpy()

    def from_places(self, places: NDArray[Any]) -> Tensor:
        """Return the configurations `(B, *lattice)` of `places`."""
        if self.model.site_kind == "level":
            places = np.array(self.model.levels)[places]
        changed = torch.as_tensor(places).to(self.configurations).reshape(self.configurations.shape)
        return wrap(changed) if self.model.site_kind == "angle" else changed

    def log_prob(self, configurations: Tensor) -> Tensor:
        """Return ln p_θ `(B,)`, computed batch by batch."""
        parts = zip(configurations.split(1000), self.inputs.split(1000), strict=True)
        return torch.cat([self.model.log_prob(*part) for part in parts])

    def uniform(self, num: int) -> Tensor:
        """Draw random numbers in [0, 1) `(num,)` on the device of the chains."""
        return torch.rand(num, generator=self.generator, device=self.inputs.device).to(self.inputs)
