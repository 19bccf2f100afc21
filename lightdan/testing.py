"""Property tests that the author of an architecture or a system subclasses."""

import math
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import Tensor

from lightdan import checkpoints
from lightdan.architectures.base import Architecture
from lightdan.conditionals import BetaMixture, BoxBetaMixture, Categorical
from lightdan.lattice import OPERATIONS, SPIN_OPERATIONS, group, spatial_operations
from lightdan.simulation.thermodynamics import Thermodynamics
from lightdan.systems.base import SITE_KINDS, SPLITS, System

Shape: TypeAlias = tuple[int, ...]
Site: TypeAlias = dict[str, Any]


def all_configurations(shape: Sequence[int], levels: Sequence[int]) -> Tensor:
    """Every configuration of a small discrete lattice `(levels^sites, *shape)`, in float64."""
    values = torch.tensor(levels, dtype=torch.float64)
    digits = [torch.arange(len(levels))] * math.prod(shape)
    return values[torch.cartesian_prod(*digits)].reshape(-1, *shape)


def grid(site: Site, shape: Sequence[int], points: int) -> tuple[Tensor, Tensor]:
    """Every configuration of a small continuous lattice with u = (k + 1/2)/points at each site.

    An angle is 2πu, a real 3 tan(π (u − 1/2)), which reaches far.

    Returns:
        Configurations in float64, and the volume du → ds of each, so that ⟨p × volume⟩ = 1.
    """
    u = (all_configurations(shape, range(points)) + 0.5) / points
    if site["site_kind"] == "angle":
        return 2 * math.pi * u, torch.ones(len(u), dtype=u.dtype)
    turned = math.pi * (u - 0.5)
    return 3 * turned.tan(), (3 * math.pi / turned.cos().square()).flatten(1).prod(1)


def cells(site: Site, configurations: Tensor, num: int) -> Tensor:
    """In which of `num` equal stretches of u each site lies."""
    if site["site_kind"] == "angle":
        return (configurations * num / (2 * math.pi)).floor()
    u = (configurations / 3).atan() / math.pi + 0.5
    return (u * num).floor().clamp(max=num - 1)


def random_configurations(site: Site, shape: Sequence[int], num: int, seed: int = 0) -> Tensor:
    """Independent uniform spins, levels or angles, or normal reals `(num, *shape)`, in float64."""
    generator = torch.Generator().manual_seed(seed)
    if site["site_kind"] == "real":
        return torch.randn(num, *shape, generator=generator, dtype=torch.float64)
    if site["site_kind"] == "angle":
        return 2 * math.pi * torch.rand(num, *shape, generator=generator, dtype=torch.float64)
    levels = torch.tensor(site["levels"], dtype=torch.float64)
    return levels[torch.randint(len(levels), (num, *shape), generator=generator)]


def randomize(model: Architecture, scale: float = 0.5, seed: int = 0) -> Architecture:
    """The model in float64 with noise on every weight, for some start at zero, and units unlike 1."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.double().parameters():
        weight.data += scale * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    for name, value in (("location", 0.3), ("scale", 0.7), ("unit_of_temperature", 1.5)):
        if name in dict(model.named_buffers()):
            getattr(model, name).fill_(value)
    return model.eval()


def assert_frequencies(drawn: Tensor, states: Tensor, probabilities: Tensor) -> None:
    """Pearson's χ² of the drawn configurations against the probabilities of all states.

    States expected fewer than five times are pooled; the test fails beyond five standard deviations.
    """
    rows = {tuple(state.flatten().tolist()): index for index, state in enumerate(states)}
    indices = torch.tensor([rows[tuple(s.flatten().tolist())] for s in drawn])
    found = indices.bincount(minlength=len(states)).double()
    expected = probabilities.double() * len(drawn)
    common = expected >= 5
    found, expected = (torch.cat([x[common], x[~common].sum()[None]]) for x in (found, expected))
    chi2 = ((found - expected).square() / expected.clamp(min=1)).sum().item()
    freedom = len(expected) - 1
    assert chi2 < freedom + 5 * math.sqrt(2 * freedom) + 5, (chi2, freedom)


def probabilities_of(model: Architecture, states: Tensor, temperature: float = 1.0) -> Tensor:
    """p_θ of each state `(B, *lattice)`: `(B,)`, in portions that fit into memory."""
    with torch.no_grad():
        parts = [model.log_prob(s, s.new_full((len(s),), temperature)) for s in states.split(8192)]
    return torch.cat(parts).exp()


class ArchitectureTests:
    """What every architecture owes; a subclass gives `make`.

    It may also narrow `lattices` and `sites`, where the architecture cannot serve all of them. With
    ``pytest.register_assert_rewrite("lightdan.testing")`` in conftest.py failures show the values.

    Example:
        A file of tests for an architecture of your own::

            class TestMine(ArchitectureTests):
                def make(self, **kwargs):
                    return Mine(hidden=8, **kwargs)
    """

    lattices: ClassVar[list[Shape]] = [(1,), (5,), (2, 3), (3, 3), (4, 4)]
    """Small lattices, odd ones among them."""
    sites: ClassVar[dict[str, Site]] = {
        "spins": {"site_kind": "spin", "levels": (-1, 1)},
        "levels": {"site_kind": "level", "levels": (-4, 0, 1)},
        "spins as categories": {"site_kind": "spin", "levels": (-1, 1), "conditional": Categorical()},
        "angles": {"site_kind": "angle", "levels": ()},
        "angles of Beta mixtures": {"site_kind": "angle", "levels": (), "conditional": BetaMixture()},
        "reals": {"site_kind": "real", "levels": ()},
        "reals in a box": {"site_kind": "real", "levels": (), "conditional": BoxBetaMixture(bound=5.0)},
    }
    if find_spec("zuko"):
        sites["angles of splines"] = {
            "site_kind": "angle",
            "levels": (),
            "conditional": {"class_path": "CircularSpline"},
        }
    """Kinds of site with the conditionals that fit."""

    def make(self, **kwargs: Any) -> Architecture:
        """The architecture, with the arguments of `Architecture` passed on to it."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def seed(self) -> None:
        """The initial weights are the same whatever ran before."""
        torch.manual_seed(0)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Every test on every lattice and kind of site that it asks for."""
        if "shape" in metafunc.fixturenames:
            metafunc.parametrize("shape", self.lattices, ids=str)
        if "site" in metafunc.fixturenames:
            metafunc.parametrize("site", self.sites.values(), ids=self.sites)

    def test_probabilities_sum_to_one(self, shape: Shape, site: Site) -> None:
        """Σ_s p(s) = 1 over all states, 65,536 for spins on 4 × 4, with random weights.

        For one angle or real ∫ p(s) ds = 1 by the midpoint rule, fine enough for the peaks of a spline.
        """
        continuous = not site["levels"]
        if len(site["levels"]) ** math.prod(shape) > 2**16 or (continuous and math.prod(shape) > 1):
            pytest.skip("too many states")
        scale = 0.2 if site["site_kind"] == "real" else 0.5  # for the grid to resolve the peaks
        model = randomize(self.make(lattice_shape=shape, **site), scale)
        if continuous:
            states, volume = grid(site, shape, 1_000_000)
            total = (probabilities_of(model, states) * volume).mean()
            assert total.item() == pytest.approx(1, abs=1e-5)
        else:
            total = probabilities_of(model, all_configurations(shape, site["levels"])).sum()
            assert total.item() == pytest.approx(1, abs=1e-10)

    def test_sites_do_not_see_later_ones(self, shape: Shape, site: Site) -> None:
        """Changing site j leaves the parameters of the sites ≤ j alone."""
        model = randomize(self.make(lattice_shape=shape, **site))
        given, others = (random_configurations(site, shape, 6, seed).flatten(1) for seed in (1, 2))
        with torch.no_grad():
            before = model(given.reshape(-1, *shape))
            for j in range(model.num_sites):
                changed = given.clone()
                changed[:, j] = others[:, j]
                after = model(changed.reshape(-1, *shape))
                assert torch.equal(after[:, : j + 1], before[:, : j + 1])

    def test_jacobian_is_strictly_triangular(self, shape: Shape, site: Site) -> None:
        """∂a_i/∂s_j = 0 for j ≥ i."""
        model = randomize(self.make(lattice_shape=shape, **site))
        if isinstance(model.conditional, Categorical):
            pytest.skip("one-hot features have no derivative")
        jacobian = torch.autograd.functional.jacobian(model, model.sample(1, seed=1))
        slopes = jacobian.reshape(model.num_sites, -1, model.num_sites).abs().sum(1)
        assert slopes.triu().max() < 1e-12

    @pytest.mark.parametrize(
        "options", [{}, {"temperature_input": True}, {"symmetrize": ["translation"]}]
    )
    def test_single_site_changes_equal_a_full_evaluation(
        self, shape: Shape, site: Site, options: dict[str, Any]
    ) -> None:
        """Ln p of proposed changes, taken by some configurations and not by others, to rounding."""
        model = randomize(self.make(lattice_shape=shape, **site, **options))
        given, others = (random_configurations(site, shape, 8, seed) for seed in (1, 2))
        temperature = torch.linspace(1, 2, 8, dtype=torch.float64)
        walkers = model.walkers(given, temperature)
        for step, values in enumerate([*others.flatten(1).T, *given.flatten(1).T]):
            index = (5 * step + 2) % model.num_sites
            proposed = walkers.propose(index, values)
            changed = walkers.configurations.flatten(1).clone()
            changed[:, index] = values
            with torch.no_grad():
                full = model.log_prob(changed.reshape(given.shape), temperature)
            torch.testing.assert_close(proposed, full, rtol=1e-10, atol=1e-10)
            walkers.accept(torch.arange(8) % 3 != step % 3)
        with torch.no_grad():
            full = model.log_prob(walkers.configurations, temperature)
        torch.testing.assert_close(walkers.log_prob, full, rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("temperature_input", [False, True])
    def test_cached_sampling_equals_slow_sampling(
        self, shape: Shape, site: Site, temperature_input: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`incremental` gives the parameters of a full pass, to rounding, and the very same draws.

        Angles are the same to rounding, on the circle.
        """
        options = {"lattice_shape": shape, "temperature_input": temperature_input, **site}
        model = randomize(self.make(**options))
        generator = torch.Generator().manual_seed(2)
        uniforms = torch.rand(50, model.num_sites, generator=generator, dtype=torch.float64)
        temperature = torch.linspace(1, 4, 50, dtype=torch.float64) if temperature_input else None
        drawn = model.draw(uniforms, temperature)
        with torch.no_grad():
            full = model(drawn, temperature)
            steps = model.incremental(len(drawn), temperature)
            parameters = next(steps)
            for index, values in enumerate(drawn.flatten(1).T):
                torch.testing.assert_close(parameters, full[:, index], rtol=1e-10, atol=1e-10)
                if index + 1 < model.num_sites:
                    parameters = steps.send(values)
        monkeypatch.setattr(model, "incremental", partial(Architecture.incremental, model))
        slow = model.draw(uniforms, temperature)
        if site["levels"]:
            assert torch.equal(slow, drawn)
        features = model.conditional.features
        torch.testing.assert_close(features(slow), features(drawn), rtol=0, atol=1e-7)

    @pytest.mark.parametrize("symmetrize", [(), ("rotation", "reflection")], ids=["bare", "symmetrized"])
    def test_samples_follow_the_probabilities(self, site: Site, symmetrize: tuple[str, ...]) -> None:
        """χ² of 4,000 samples on 2 × 2, seed fixed; of two angles or reals on 8 × 8 cells."""
        if symmetrize and site["site_kind"] == "spin":
            symmetrize += ("z2",)
        shape = (2, 2) if site["levels"] else (1, 2)
        # For the cells to be wider than the peaks of a continuous density.
        scale = {"angle": 0.25, "real": 0.1}.get(site["site_kind"], 0.5)
        model = randomize(self.make(lattice_shape=shape, symmetrize=symmetrize, **site), scale)
        drawn = model.sample(4000, seed=3)
        assert torch.equal(model.sample(10, seed=3), model.sample(10, seed=3))
        if site["levels"]:
            states = all_configurations(shape, site["levels"])
            probabilities = probabilities_of(model, states)
        else:
            states = all_configurations(shape, range(8))
            fine, volume = grid(site, shape, 512)
            density = (probabilities_of(model, fine) * volume).reshape(8, 64, 8, 64)
            probabilities = density.mean((1, 3)).flatten() / 64
            drawn = cells(site, drawn, 8)
        assert_frequencies(drawn, states, probabilities)

    def test_symmetrized_model_is_invariant_and_normalized(self) -> None:
        """p(g s) = p(s) for the whole group, and Σ p = 1."""
        operations, shape = ("rotation", "reflection", "z2"), (3, 3)
        model = randomize(self.make(lattice_shape=shape, symmetrize=operations))
        states = all_configurations(shape, (-1, 1))
        elements = group(operations, shape)
        p = probabilities_of(model, states)
        assert p.sum().item() == pytest.approx(1, abs=1e-10)
        for index in range(len(elements)):
            image = probabilities_of(model, elements.act(states, torch.tensor(index)))
            torch.testing.assert_close(image, p, rtol=1e-10, atol=0)

    def test_temperature_input_is_seen_and_normalized(self) -> None:
        """Σ_s p(s, T) = 1 at every T, and p depends on T; sampling sees it too."""
        model = randomize(self.make(lattice_shape=(2, 3), temperature_input=True))
        states = all_configurations((2, 3), (-1, 1))
        cold, hot = (probabilities_of(model, states, t) for t in (1.0, 2.5))
        assert [cold.sum().item(), hot.sum().item()] == pytest.approx([1, 1], abs=1e-10)
        assert (cold / hot).log().abs().max() > 1e-3
        assert_frequencies(model.sample(3000, 4, temperature=2.5), states, hot)
        with pytest.raises(ValueError, match="temperature"):
            model.log_prob(states)

    def test_gradients_reach_every_weight(self, site: Site) -> None:
        """None is missing, none is zero or not finite everywhere."""
        model = randomize(self.make(lattice_shape=(2, 3), **site))
        model.log_prob(random_configurations(site, (2, 3), 100)).sum().backward()
        for name, weight in model.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name
            assert weight.grad.abs().max() > 0, name

    def test_checkpoint_gives_the_same_model(self, site: Site, tmp_path: Path) -> None:
        """Saved by a Trainer, read with weights only, the same ln p to the last bit."""
        options = {"symmetrize": ["reflection"], "temperature_input": True, **site}
        model = randomize(self.make(lattice_shape=(2, 3), **options)).float()
        trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
        trainer.strategy.connect(model)
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        torch.load(tmp_path / "model.ckpt", weights_only=True)
        again = checkpoints.load(tmp_path / "model.ckpt")
        assert type(again) is type(model)
        states = random_configurations(site, (2, 3), 30).float()
        assert torch.equal(probabilities_of(again, states, 2.0), probabilities_of(model, states, 2.0))


class SystemTests:
    """What every system owes; a subclass gives `make`, small enough to be simulated in a second.

    Up to 65,536 states everything is compared with their enumeration.

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
        spatial = spatial_operations(system.lattice_shape, system.boundary)
        internal = SPIN_OPERATIONS if system.site_kind == "angle" else ["z2"]
        assert {*internal, *spatial} >= {*system.symmetries}

    def test_batches_have_the_promised_form(self, system: System) -> None:
        """(B, *lattice), values among the levels, a temperature of the system beside each."""
        loaders = system.train_dataloader(), system.val_dataloader(), system.test_dataloader()
        for name, loader in zip(SPLITS, loaders, strict=True):
            batches = list(loader)
            s, temperature = (torch.cat(parts) for parts in zip(*batches, strict=True))
            assert s.shape[1:] == system.lattice_shape
            assert s.dtype == temperature.dtype == torch.float32
            assert torch.isin(temperature, torch.tensor(system.temperatures)).all()
            assert not system.levels or torch.isin(s, torch.tensor(system.levels)).all()
            whole = system.num_in(name)
            assert len(s) == len(temperature) == (whole // 100 * 100 if name == "train" else whole)
            assert name != "train" or {len(batch.temperature) for batch in batches} == {100}
        rows = torch.cat([system._indices[name] for name in SPLITS])
        assert len(rows.unique()) == len(rows) == sum(map(system.num_in, SPLITS))

    def test_same_seed_same_data(self, system: System, tmp_path: Path) -> None:
        """Simulated again from nothing, bit for bit, whatever ran before; another seed gives others."""
        np.random.seed(1)
        torch.manual_seed(1)
        again, other = (
            self.make(num_configurations=2000, seed=seed, cache_dir=str(tmp_path / f"again{seed}"))
            for seed in (0, 1)
        )
        for temperature in system.temperatures:
            expected = system.rows("test", temperature)
            assert torch.equal(again.rows("test", temperature), expected)
            assert not torch.equal(other.rows("test", temperature), expected)

    def test_energy_and_observables_are_one_number_each(self, system: System) -> None:
        """(B,), finite, and S(g s) = S(s) for every element of every declared operation."""
        temperature = system.temperatures[0]
        s = system.rows("test", temperature)[:20].double()
        for name, observable in system.observables(temperature).items():
            assert observable(s).shape == (len(s),), name
            assert observable(s).isfinite().all(), name
        for name in system.symmetries if system.has_action else ():
            operation = OPERATIONS[name](system.lattice_shape)
            for index in range(len(operation)):
                image = operation.act(s, torch.tensor(index))
                expected = system.action(s, temperature)
                torch.testing.assert_close(system.action(image, temperature), expected, msg=name)

    def test_exact_values_are_those_of_the_simulation(self, system: System) -> None:
        """Each observable whose exact mean is known, within 4 standard errors."""
        for tau, t in zip(system.tau_int, system.temperatures, strict=True):
            s = torch.cat([system.rows(name, t) for name in SPLITS]).double()
            exact, observables = system.exact_values(t), system.observables(t)
            for name in exact.keys() & observables.keys():
                values = observables[name](s)
                error = math.sqrt(2 * max(tau, 0.5)) * values.std() / math.sqrt(len(values))
                assert abs(values.mean() - exact[name]) < 4 * error + 1e-6, name

    def test_simulation_and_exact_results_agree(self, system: System) -> None:
        """⟨H⟩ within 4 standard errors; F, E, C and S those of the enumeration to 1e-8."""
        few = system.levels and len(system.levels) ** system.num_sites <= 2**16
        if not system.has_energy or not (few or system.exact(system.temperatures[0])):
            pytest.skip("no energy, or nothing exact to compare with")
        for tau, t in zip(system.tau_int, system.temperatures, strict=True):
            exact = system.exact(t)
            if few:
                energy = system.energy(all_configurations(system.lattice_shape, system.levels))
                log_z = (-energy / t).logsumexp(0)
                p = (-energy / t - log_z).exp()
                mean = p @ energy
                heat = p @ (energy - mean).square() / t**2
                enumerated = [x.item() for x in (log_z, -t * log_z, mean, heat, log_z + mean / t)]
                assert exact is None or list(exact) == pytest.approx(enumerated, rel=1e-8, abs=1e-8)
                exact = Thermodynamics(*enumerated)
            assert exact is not None
            assert exact.free_energy == pytest.approx(exact.energy - t * exact.entropy, rel=1e-8)
            measured = torch.cat([system.energy(system.rows(name, t)).double() for name in SPLITS])
            error = math.sqrt(2 * max(tau, 0.5) * exact.specific_heat * t**2 / len(measured))
            assert abs(measured.mean().item() - exact.energy) < 4 * error
