"""Property tests that the author of an architecture or a system subclasses."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import Tensor

from lightdan import checkpoints
from lightdan.architectures.base import Architecture
from lightdan.conditionals import Categorical, Conditional
from lightdan.lattice import OPERATIONS, group, spatial_operations
from lightdan.systems.base import SITE_KINDS, System

LATTICES = [(1,), (5,), (2, 3)]
SITES: dict[str, tuple[str, tuple[int, ...], Conditional | None]] = {
    "spins": ("spin", (-1, 1), None),
    "levels": ("level", (-4, 0, 1), None),
    "spins as categories": ("spin", (-1, 1), Categorical()),
}


def all_configurations(shape: Sequence[int], levels: Sequence[int]) -> Tensor:
    """Every configuration of a small discrete lattice `(levels^sites, *shape)`, in float64."""
    sites = math.prod(shape)
    rows = list(itertools.product(levels, repeat=sites))
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, *shape)


def randomize(model: Architecture, scale: float = 0.5, seed: int = 0) -> Architecture:
    """The model in float64 with noise on every weight, for some start at zero."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.add_(noise, alpha=scale)
    return model


def assert_frequencies(drawn: Tensor, states: Tensor, probabilities: Tensor) -> None:
    """Pearson's χ² of the drawn configurations against the probabilities of all states.

    States expected fewer than five times are pooled; the test fails beyond five standard deviations.
    """
    rows = {tuple(state.flatten().tolist()): index for index, state in enumerate(states)}
    found = torch.zeros(len(states), dtype=torch.float64)
    for configuration in drawn:
        found[rows[tuple(configuration.flatten().tolist())]] += 1
    expected = probabilities.double() * len(drawn)
    rare = expected < 5
    found = torch.cat([found[~rare], found[rare].sum()[None]])
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    keep = expected > 0
    chi2 = ((found - expected)[keep].square() / expected[keep]).sum().item()
    freedom = max(1, int(keep.sum()) - 1)
    assert chi2 < freedom + 5 * math.sqrt(2 * freedom) + 5, (chi2, freedom)


class ArchitectureTests:
    """What every architecture owes; a subclass gives `make`.

    Example:
        A file of tests for an architecture of your own::

            class TestMine(ArchitectureTests):
                def make(self, **kwargs):
                    return Mine(hidden=8, **kwargs)
    """

    def make(self, **kwargs: Any) -> Architecture:
        """The architecture, with the arguments of `Architecture` passed on to it."""
        raise NotImplementedError

    @pytest.fixture(params=LATTICES, ids=str)
    def lattice_shape(self, request: pytest.FixtureRequest) -> tuple[int, ...]:
        """Small lattices, odd ones among them."""
        shape: tuple[int, ...] = request.param
        return shape

    @pytest.fixture(params=SITES)
    def sites(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        """Kinds of site with the conditionals that fit."""
        kind, levels, conditional = SITES[request.param]
        return {"site_kind": kind, "levels": levels, "conditional": conditional}

    def test_probabilities_of_all_states_sum_to_one(
        self, lattice_shape: tuple[int, ...], sites: dict[str, Any]
    ) -> None:
        """Σ_s p(s) = 1, with random weights."""
        model = randomize(self.make(lattice_shape=lattice_shape, **sites))
        with torch.no_grad():
            total = model.log_prob(all_configurations(lattice_shape, sites["levels"])).exp().sum()
        assert total.item() == pytest.approx(1, abs=1e-10)

    def test_conditionals_do_not_see_later_sites(
        self, lattice_shape: tuple[int, ...], sites: dict[str, Any]
    ) -> None:
        """Changing site j leaves the parameters of the sites ≤ j alone, and some later one not."""
        model = randomize(self.make(lattice_shape=lattice_shape, **sites))
        levels = torch.tensor(sites["levels"], dtype=torch.float64)
        generator = torch.Generator().manual_seed(1)
        chosen = torch.randint(len(levels), (4, *lattice_shape), generator=generator)
        configurations = levels[chosen]
        with torch.no_grad():
            before = model(configurations)
            seen = False
            for site in range(model.num_sites):
                changed = configurations.flatten(1).clone()
                changed[:, site] = levels[(chosen.flatten(1)[:, site] + 1) % len(levels)]
                after = model(changed.reshape(configurations.shape))
                assert torch.equal(after[:, : site + 1], before[:, : site + 1])
                seen |= not torch.equal(after, before)
        assert seen or model.num_sites == 1

    def test_cached_sampling_equals_slow_sampling(
        self, lattice_shape: tuple[int, ...], sites: dict[str, Any]
    ) -> None:
        """`incremental` gives the parameters of a full pass, to rounding, and the same draws."""
        model = randomize(self.make(lattice_shape=lattice_shape, **sites))
        generator = torch.Generator().manual_seed(2)
        uniforms = torch.rand(50, model.num_sites, generator=generator, dtype=torch.float64)
        drawn = model.draw(uniforms)
        with torch.no_grad():
            full = model(drawn)
            steps = model.incremental(len(drawn))
            parameters = next(steps)
            for site, values in enumerate(drawn.flatten(1).T):
                torch.testing.assert_close(parameters, full[:, site], rtol=1e-10, atol=1e-10)
                if site + 1 < model.num_sites:
                    parameters = steps.send(values)
            slow = model.conditional.sample(full, uniforms)
        assert torch.equal(slow, drawn.flatten(1))

    @pytest.mark.parametrize("symmetrize", [(), ("z2", "reflection")], ids=["bare", "symmetrized"])
    def test_samples_follow_the_probabilities(self, symmetrize: tuple[str, ...]) -> None:
        """χ² of 4,000 samples on 2 × 2 spins, seed fixed."""
        model = randomize(self.make(lattice_shape=(2, 2), symmetrize=symmetrize))
        states = all_configurations((2, 2), (-1, 1))
        with torch.no_grad():
            probabilities = model.log_prob(states).exp()
        assert_frequencies(model.sample(4000, seed=3), states, probabilities)
        assert torch.equal(model.sample(10, seed=3), model.sample(10, seed=3))

    def test_symmetrized_model_is_invariant_and_normalized(self) -> None:
        """p(g s) = p(s) for the whole group, Σ p = 1; the bare network stays as it was."""
        operations = ("rotation", "reflection", "z2")
        shape = (3, 3)
        model = randomize(self.make(lattice_shape=shape, symmetrize=operations))
        bare = randomize(self.make(lattice_shape=shape))
        states = all_configurations(shape, (-1, 1))
        elements = group(operations, shape)
        assert len(elements) == 16
        with torch.no_grad():
            log_prob = model.log_prob(states)
            assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-10)
            for index in range(len(elements)):
                image = elements.act(states, torch.tensor(index))
                torch.testing.assert_close(model.log_prob(image), log_prob, rtol=0, atol=1e-10)
            assert (bare.log_prob(states) - log_prob).abs().max() > 1e-3

    def test_temperature_input_is_seen_and_normalized(self) -> None:
        """Σ_s p(s, T) = 1 at every T, and p depends on T; sampling sees it too."""
        model = randomize(self.make(lattice_shape=(2, 3), temperature_input=True))
        states = all_configurations((2, 3), (-1, 1))
        with torch.no_grad():
            at = [model.log_prob(states, states.new_full((len(states),), t)) for t in (1.0, 2.5)]
        for log_prob in at:
            assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-10)
        assert (at[0] - at[1]).abs().max() > 1e-3
        assert_frequencies(model.sample(3000, 4, temperature=2.5), states, at[1].exp())

    def test_gradients_reach_every_weight(self, sites: dict[str, Any]) -> None:
        """None is missing, none is zero or not finite everywhere."""
        model = randomize(self.make(lattice_shape=(2, 3), **sites))
        states = all_configurations((2, 3), sites["levels"])
        model.log_prob(states[:: max(1, len(states) // 100)]).sum().backward()
        for name, weight in model.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name
            assert weight.grad.abs().max() > 0, name

    def test_checkpoint_gives_the_same_model(self, sites: dict[str, Any], tmp_path: Path) -> None:
        """Saved by a Trainer, read with weights only, the same ln p to the last bit."""
        model = randomize(self.make(lattice_shape=(2, 3), symmetrize=["reflection"], **sites)).float()
        trainer = Trainer(
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            barebones=False,
            accelerator="cpu",
            enable_checkpointing=False,
        )
        trainer.strategy.connect(model)
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        again = checkpoints.load(tmp_path / "model.ckpt")
        assert type(again) is type(model)
        states = all_configurations((2, 3), sites["levels"])[::7].float()
        with torch.no_grad():
            assert torch.equal(again.log_prob(states), model.log_prob(states))


class SystemTests:
    """What every system owes; a subclass gives `make`, small enough to be simulated in a second.

    Example:
        A file of tests for a system of your own::

            class TestMine(SystemTests):
                def make(self, **kwargs):
                    return Mine(shape=(4, 4), temperature=2.5, **kwargs)
    """

    def make(self, **kwargs: Any) -> System:
        """The system, with the arguments of `System` passed on to it."""
        raise NotImplementedError

    @pytest.fixture
    def system(self, tmp_path: Path) -> System:
        """2,000 configurations, set up, in a cache of their own."""
        system = self.make(num_configurations=2000, batch_size=100, cache_dir=str(tmp_path))
        system.prepare_data()
        system.setup()
        return system

    def test_declares_what_it_is(self, system: System) -> None:
        """Lattice, sites and symmetries make sense."""
        assert all(isinstance(side, int) and side > 0 for side in system.lattice_shape)
        assert system.site_kind in SITE_KINDS
        assert system.boundary in ("periodic", "open")
        assert bool(system.levels) == (system.site_kind in ("spin", "level"))
        assert set(system.symmetries) <= set(OPERATIONS)
        possible = {"z2", *spatial_operations(system.lattice_shape, system.boundary)}
        assert set(system.symmetries) <= possible

    def test_batches_have_the_promised_form(self, system: System) -> None:
        """(B, *lattice), values among the levels, a temperature beside each."""
        sizes = []
        for batch in system.train_dataloader():
            assert batch.configurations.shape[1:] == system.lattice_shape
            assert batch.configurations.dtype == batch.temperature.dtype == torch.float32
            assert batch.temperature.shape == batch.configurations.shape[:1]
            if system.levels:
                assert set(batch.configurations.unique().tolist()) <= set(system.levels)
            sizes.append(len(batch.temperature))
        assert set(sizes) == {100}
        assert sum(sizes) <= system.num_in("train")

    def test_same_seed_same_data(self, system: System, tmp_path: Path) -> None:
        """Simulated again from nothing, bit for bit; another seed gives others."""
        again, other = (
            self.make(num_configurations=2000, seed=seed, cache_dir=str(tmp_path / f"again{seed}"))
            for seed in (0, 1)
        )
        temperature = system.temperatures[0]
        expected = system.rows("test", temperature)
        assert torch.equal(again.rows("test", temperature), expected)
        assert not torch.equal(other.rows("test", temperature), expected)

    def test_energy_has_the_declared_symmetries(self, system: System) -> None:
        """H(g s) = H(s) for every declared operation."""
        if not system.has_energy:
            pytest.skip("no energy")
        configurations = system.rows("test", system.temperatures[0])
        energy = system.energy(configurations)
        assert energy.shape == (len(configurations),)
        generator = torch.Generator().manual_seed(0)
        for name in system.symmetries:
            operation = OPERATIONS[name](system.lattice_shape)
            elements = operation.random_elements(len(configurations), generator)
            torch.testing.assert_close(system.energy(operation.act(configurations, elements)), energy)

    def test_simulation_and_exact_results_agree_with_enumeration(self, system: System) -> None:
        """⟨H⟩ within 4 standard errors; ln Z, E, C and S to 1e-8."""
        states = len(system.levels) ** system.num_sites if system.levels else math.inf
        if not system.has_energy or states > 2**16:
            pytest.skip("no energy, or too large to enumerate")
        every = all_configurations(system.lattice_shape, system.levels)
        temperature = system.temperatures[0]
        energy = system.energy(every).numpy()
        log_weights = -energy / temperature
        log_z = float(np.logaddexp.reduce(log_weights))
        probabilities = np.exp(log_weights - log_z)
        mean = float(probabilities @ energy)
        variance = float(probabilities @ energy**2) - mean**2
        parts = [system.rows(name, temperature) for name in ("train", "validation", "test")]
        measured = system.energy(torch.cat(parts)).double()
        error = math.sqrt(2 * max(system.tau_int[0], 0.5) * variance / len(measured))
        assert abs(measured.mean().item() - mean) < 4 * error
        if exact := system.exact(temperature):
            assert exact.log_partition == pytest.approx(log_z, rel=1e-8)
            assert exact.energy == pytest.approx(mean, rel=1e-8)
            assert exact.specific_heat == pytest.approx(variance / temperature**2, rel=1e-7)
            assert exact.entropy == pytest.approx(log_z + mean / temperature, rel=1e-8)
