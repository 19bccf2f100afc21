"""Markov chains of a learned Hamiltonian at other temperatures than its own."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightdan.architectures.base import Architecture
from lightdan.interactions.hamiltonian import SpinHamiltonian
from lightdan.lattices.angles import TWO_PI, wrap
from lightdan.simulation import heat_bath

SURROGATE_SWEEPS = 20
BURN_IN = 0.2
"""Fraction of the steps before the first that counts."""


class ReplicaExchange:
    """Chains of p(s) ∝ p_θ(s)^{T/T'} = e^{−H_θ(s)/T'} at several T', which exchange configurations.

    A step proposes, site after site, another value and takes it with min(1, (p_θ(s')/p_θ(s))^{T/T'}):
    of discrete sites any other level, of continuous ones a move whose width is set during the burn-in.
    With a surrogate H_s instead it proposes what 20 heat-bath sweeps of H_s at T' lead to, and
    takes it with min(1, e^{−Δ(H_θ − H_s)/T'}), as exact at the cost of one evaluation of H_θ; if that
    is not asked for, the chains are those of H_s, and −H_s/T takes the place of ln p_θ.
    After each step the configurations of neighbouring T'_a, T'_b are exchanged with
    min(1, (p_θ(s_b)/p_θ(s_a))^{T/T'_a − T/T'_b}). Every chain begins with an independent sample of the
    network, which at T' = T is in equilibrium.

    Args:
        model: The network.
        temperature: T at which it was trained.
        temperatures: T', ascending.
        num_ladders: Independent sets of chains, each with one at every T'.
        seed: Of all random numbers.
        surrogate: H_s.
        corrected: Whether H_θ decides on what the surrogate proposes.

    Source: K. Hukushima and K. Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996).
    """

    def __init__(
        self,
        model: Architecture,
        temperature: float,
        temperatures: Sequence[float],
        num_ladders: int,
        seed: int = 0,
        surrogate: SpinHamiltonian | None = None,
        corrected: bool = True,
    ) -> None:
        self.model, self.num_temperatures, self.seed = model, len(temperatures), seed
        self.generator = torch.Generator(model.device).manual_seed(seed)
        num = num_ladders * len(temperatures)
        own = temperature if model.temperature_input else None
        self.configurations = model.sample(num, self.generator, own)
        self.own = self.configurations.new_full((num,), temperature)
        # Those of a ladder follow each other.
        self.temperatures = self.own.new_tensor(temperatures).repeat(num_ladders)
        self.powers = temperature / self.temperatures
        self.widths = torch.ones_like(self.own)
        self.temperature, self.corrected = temperature, corrected
        self.moves = surrogate.moves() if surrogate is not None else None
        self.acceptance = torch.zeros_like(self.own)
        """Of the proposals of the last step."""
        self.steps = 0

    @torch.no_grad()
    def run(
        self,
        num_steps: int,
        observe: Callable[[Tensor], Tensor],
        progress: Callable[[int], None] = lambda n: None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Observe the configurations after every step, the first fifth apart.

        Args:
            num_steps: Of each chain.
            observe: Of configurations `(B, *lattice)`: `(observables, B)`.
            progress: Told how many more steps are done.

        Returns:
            ln p_θ `(T', ladders, steps)`, the observables `(observables, T', ladders, steps)` and the
            acceptance `(T', ladders, steps)`.
        """
        burn_in = math.ceil(BURN_IN * num_steps)
        log_probs, values, acceptances = [], [], []
        for step in range(num_steps):
            log_prob = self.sweep(adapt=step < burn_in) if self.moves is None else self.leap()
            acceptance = self.acceptance
            log_prob = self.exchange(log_prob)
            if step >= burn_in:
                log_probs.append(log_prob)
                values.append(observe(self.configurations))
                acceptances.append(acceptance)
            progress(1)
        by_temperature = [self._by_temperature(series) for series in (log_probs, values, acceptances)]
        return by_temperature[0], by_temperature[1], by_temperature[2]

    def _by_temperature(self, series: list[Tensor]) -> Tensor:
        """`(…, B)` of each step → `(…, T', ladders, steps)`."""
        stacked = torch.stack(series, dim=-1).double()
        return stacked.unflatten(-2, (-1, self.num_temperatures)).transpose(-3, -2)

    def sweep(self, adapt: bool = False) -> Tensor:
        """One proposal a site; returns ln p_θ `(B,)`."""
        # New walkers every sweep: differences that were added up 10⁵ times in single precision drift.
        walkers = self.model.walkers(self.configurations, self.own)
        accepted = torch.zeros_like(self.own)
        for site in range(self.model.num_sites):
            proposed = self.propose(walkers.values[site])
            gain = walkers.propose(site, proposed) - walkers.log_prob
            where = self.uniform(len(gain)) < (self.powers * gain).exp()
            walkers.accept(where)
            accepted += where
        self.acceptance = accepted / self.model.num_sites
        if adapt:
            self.widths *= torch.where(self.acceptance > 0.5, 1.1, 1 / 1.1)
        self.configurations = walkers.configurations
        return walkers.log_prob

    def propose(self, values: Tensor) -> Tensor:
        """Other values of a site `(B,)`."""
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

    def leap(self) -> Tensor:
        """Where the surrogate leads, taken or not; returns ln p_θ `(B,)`."""
        assert self.moves is not None
        present = self.configurations.cpu().numpy().astype("int8").reshape(len(self.own), -1)
        proposed = present.copy()
        temperatures = self.temperatures.double().cpu().numpy()
        seed = self.seed * 1_000_003 + self.steps
        heat_bath.sweep(proposed, self.moves, temperatures, SURROGATE_SWEEPS, seed)
        changed = torch.as_tensor(proposed).to(self.configurations).reshape(self.configurations.shape)
        energy = heat_bath.energies(proposed, self.moves)
        if not self.corrected:
            self.configurations = changed
            self.acceptance = torch.ones_like(self.own)
            return torch.as_tensor(-energy / self.temperature).to(self.own)
        before, after = (self.log_prob(s) for s in (self.configurations, changed))
        difference = energy - heat_bath.energies(present, self.moves)
        gain = self.powers * (after - before)
        gain += (torch.as_tensor(difference / temperatures)).to(gain)
        where = self.uniform(len(gain)) < gain.exp()
        self.acceptance = where.to(self.own)
        shape = (-1, *[1] * (changed.ndim - 1))
        self.configurations = torch.where(where.reshape(shape), changed, self.configurations)
        return torch.where(where, after, before)

    def log_prob(self, configurations: Tensor) -> Tensor:
        """Ln p_θ, batch by batch."""
        parts = zip(configurations.split(1000), self.own.split(1000), strict=True)
        return torch.cat([self.model.log_prob(*part) for part in parts])

    def uniform(self, num: int) -> Tensor:
        """Random numbers in [0, 1)."""
        return torch.rand(num, generator=self.generator, device=self.own.device).to(self.own)

    def exchange(self, log_prob: Tensor) -> Tensor:
        """Exchange neighbours in T', the even and the odd pairs by turns; returns the new ln p_θ."""
        ladders = log_prob.unflatten(0, (-1, self.num_temperatures))
        powers = self.powers.unflatten(0, (-1, self.num_temperatures))
        pairs = torch.arange(self.num_temperatures - 1, device=log_prob.device)
        lower = pairs[self.steps % 2 :: 2]
        self.steps += 1
        gain = (powers[:, lower] - powers[:, lower + 1]) * (ladders[:, lower + 1] - ladders[:, lower])
        where = self.uniform(gain.numel()).reshape(gain.shape) < gain.exp()
        order = torch.arange(log_prob.numel(), device=log_prob.device).reshape(ladders.shape)
        first, second = order[:, lower], order[:, lower + 1]
        order[:, lower] = torch.where(where, second, first)
        order[:, lower + 1] = torch.where(where, first, second)
        self.configurations = self.configurations[order.flatten()]
        return log_prob[order.flatten()]
