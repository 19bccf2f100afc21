"""Property tests for architectures."""

import math
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning import Trainer

from lightdan import checkpoints
from lightdan.architectures.base import Architecture
from lightdan.conditionals import BetaMixture, BoxBetaMixture, Categorical, CircularSpline
from lightdan.lattices.groups import group
from lightdan.lattices.orderings import ORDERINGS
from lightdan.testing.states import (
    Shape,
    Site,
    all_configurations,
    assert_frequencies,
    assert_sites_see_earlier_stages_only,
    cells,
    grid,
    probabilities_of,
    random_configurations,
    randomize,
)


class ArchitectureTests:
    """Property tests for architectures; a subclass implements `make`.

    Keep the network small, since the tests use random weights. Narrow `lattices` and `sites` if the
    architecture does not support all of them. Put
    ``pytest.register_assert_rewrite("lightdan.testing")`` into conftest.py to see the values that fail.

    Example:
        A test file for your own architecture::

            class TestMine(ArchitectureTests):
                def make(self, **kwargs):
                    return Mine(hidden=8, **kwargs)
    """

    lattices: ClassVar[list[Shape]] = [(2, 3), (1,), (5,), (3, 3), (3, 4)]
    """Small lattices; the first is tested with every kind of site, the others with the first."""
    sites: ClassVar[dict[str, Site]] = {
        "spins": {"site_kind": "spin", "levels": (-1, 1)},
        "levels": {"site_kind": "level", "levels": (-4, -1, 0)},
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
            "conditional": CircularSpline(),
        }
    """Arguments of `Architecture` for each kind of site and conditional."""

    def make(self, **kwargs: Any) -> Architecture:
        """Return a small network; pass the keyword arguments on to `Architecture`."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def seed(self) -> None:
        """Fix the random initial weights."""
        torch.manual_seed(0)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test on every kind of site, and on the lattices or orders that it takes."""
        if "shape" in metafunc.fixturenames:
            pairs = [(self.lattices[0], name) for name in self.sites]
            pairs += [(shape, next(iter(self.sites))) for shape in self.lattices[1:]]
            metafunc.parametrize(
                ("shape", "site"),
                [pytest.param(shape, self.sites[name], id=f"{shape}-{name}") for shape, name in pairs],
            )
        elif "ordering" in metafunc.fixturenames:
            permutation = [4, 0, 5, 1, 3, 2]
            cases: list[tuple[str | list[int], str]] = [(permutation, name) for name in self.sites]
            cases += [(ordering, next(iter(self.sites))) for ordering in ORDERINGS]
            metafunc.parametrize(
                ("ordering", "site"),
                [pytest.param(order, self.sites[name], id=f"{order}-{name}") for order, name in cases],
            )
        elif "site" in metafunc.fixturenames:
            metafunc.parametrize("site", self.sites.values(), ids=self.sites)

    def test_probabilities_sum_to_one(self, shape: Shape, site: Site) -> None:
        """Check Σ_s p(s) = 1 over all states, e.g. 4,096 of spins on 3 × 4.

        For a lattice of one angle or real, check ∫ p(s) ds = 1 on a grid that resolves all peaks.
        """
        continuous = not site["levels"]
        if len(site["levels"]) ** math.prod(shape) > 2**12:
            pytest.skip("too many states")
        if continuous:
            shape = (1,)
        scale = 0.2 if site["site_kind"] == "real" else 0.5  # for the grid to resolve the peaks
        model = randomize(self.make(lattice_shape=shape, **site), scale)
        if continuous:
            for points in (20_000, 400_000):  # a fine grid only where a coarse one misses peaks
                states, volume = grid(site, shape, points)
                total = (probabilities_of(model, states) * volume).mean()
                if total.item() == pytest.approx(1, abs=1e-5):
                    break
            assert total.item() == pytest.approx(1, abs=1e-5)
        else:
            total = probabilities_of(model, all_configurations(shape, site["levels"])).sum()
            assert total.item() == pytest.approx(1, abs=1e-10)

    def test_sites_do_not_see_later_ones(self, shape: Shape, site: Site) -> None:
        """Check that changing site j leaves the parameters of the sites ≤ j unchanged."""
        assert_sites_see_earlier_stages_only(randomize(self.make(lattice_shape=shape, **site)), site)

    def test_parameters_at_a_place_are_those_of_a_full_pass(self, shape: Shape, site: Site) -> None:
        """Check that they are the same, to rounding."""
        model = randomize(self.make(lattice_shape=shape, **site))
        some = random_configurations(site, shape, 3, seed=1)
        full = model(some)
        for place in range(model.num_sites):
            torch.testing.assert_close(model.at_place(place)(some, None), full[:, place])

    def test_jacobian_is_strictly_triangular(self, shape: Shape, site: Site) -> None:
        """Check ∂a_i/∂s_j = 0 for j ≥ i."""
        model = randomize(self.make(lattice_shape=shape, **site))
        if isinstance(model.conditional, Categorical):
            pytest.skip("one-hot features have no derivative")
        jacobian = torch.autograd.functional.jacobian(model, model.sample(1, seed=1))
        slopes = jacobian.reshape(model.num_sites, -1, model.num_sites).abs().sum(1)
        assert slopes.triu().max() < 1e-12

    @pytest.mark.parametrize("options", [{}, {"temperature_input": True, "symmetrize": ["translation"]}])
    def test_single_site_changes_equal_a_full_evaluation(
        self, shape: Shape, site: Site, options: dict[str, Any]
    ) -> None:
        """Check ln p of proposed changes that only some configurations accept, to rounding."""
        model = randomize(self.make(lattice_shape=shape, **site, **options))
        first, second = (random_configurations(site, shape, 8, seed) for seed in (1, 2))
        temperature = torch.linspace(1, 2, 8, dtype=torch.float64)
        walkers = model.walkers(first, temperature)
        log_probs, configurations = [], []
        for step, values in enumerate([*second.flatten(1).T, *first.flatten(1).T]):
            index = (5 * step + 2) % model.num_sites
            log_probs.append(walkers.propose(index, values))
            changed = walkers.configurations.flatten(1).clone()
            changed[:, index] = values
            configurations.append(changed.reshape(first.shape))
            walkers.accept(torch.arange(8) % 3 != step % 3)
        log_probs.append(walkers.log_prob)
        configurations.append(walkers.configurations)
        with torch.no_grad():
            full = model.log_prob(torch.cat(configurations), temperature.repeat(len(configurations)))
        torch.testing.assert_close(torch.cat(log_probs), full, rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("temperature_input", [False, True])
    def test_cached_sampling_equals_slow_sampling(
        self, shape: Shape, site: Site, temperature_input: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Check that `incremental` yields the parameters of a full pass, to rounding.

        Discrete draws are identical; angles and reals agree to rounding.
        """
        options = {"lattice_shape": shape, "temperature_input": temperature_input, **site}
        model = randomize(self.make(**options))
        generator = torch.Generator().manual_seed(2)
        uniforms = torch.rand(50, model.num_sites, generator=generator, dtype=torch.float64)
        temperature = torch.linspace(1, 4, 50, dtype=torch.float64) if temperature_input else None
        fast = model.draw(uniforms, temperature)
        with torch.no_grad():
            full = model(fast, temperature)
            steps = model.incremental(len(fast), temperature)
            parameters = next(steps)
            for index, values in enumerate(fast.flatten(1).T):
                expected = full[:, index : index + 1]
                torch.testing.assert_close(parameters, expected, rtol=1e-10, atol=1e-10)
                if index + 1 < model.num_sites:
                    parameters = steps.send(values.unsqueeze(1))
        monkeypatch.setattr(model, "incremental", partial(Architecture.incremental, model))
        slow = model.draw(uniforms, temperature)
        if site["levels"]:
            assert torch.equal(slow, fast)
        features = model.conditional.features
        torch.testing.assert_close(features(slow), features(fast), rtol=1e-10, atol=1e-7)

    def test_any_ordering(
        self, site: Site, ordering: str | list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Check Σ_s p(s) = 1, that no site sees its own stage, draws and single-site changes."""
        shape = (2, 3)
        options = {"lattice_shape": shape, "ordering": ordering, **site}
        model = randomize(self.make(**options, symmetrize=["reflection"]))
        if site["levels"]:
            states = all_configurations(shape, site["levels"])
            probabilities = probabilities_of(model, states)
            assert probabilities.sum().item() == pytest.approx(1, abs=1e-10)
            assert_frequencies(model.sample(3000, seed=3), states, probabilities)
        assert_sites_see_earlier_stages_only(model, site)
        walkers = model.walkers(random_configurations(site, shape, 8, 1))
        for index, values in enumerate(random_configurations(site, shape, 8, 2).flatten(1).T):
            walkers.propose(index, values)
            walkers.accept(torch.arange(8) % 3 != index % 3)
        with torch.no_grad():
            full = model.log_prob(walkers.configurations)
        torch.testing.assert_close(walkers.log_prob, full, rtol=1e-10, atol=1e-10)
        uniforms = torch.rand(50, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        fast = model.draw(uniforms)
        monkeypatch.setattr(model, "incremental", partial(Architecture.incremental, model))
        features, slow = model.conditional.features, model.draw(uniforms)
        torch.testing.assert_close(features(slow), features(fast), rtol=1e-10, atol=1e-7)

    @pytest.mark.parametrize("symmetrize", [(), ("rotation", "reflection")], ids=["bare", "symmetrized"])
    def test_samples_follow_the_probabilities(self, site: Site, symmetrize: tuple[str, ...]) -> None:
        """Check χ² of 4,000 samples on 2 × 2, or of two angles or reals on 8 × 8 cells."""
        if symmetrize and site["site_kind"] == "spin":
            symmetrize += ("z2",)
        shape = (2, 2) if site["levels"] else (1, 2)
        # The cells must be wider than the peaks of a continuous density.
        scale = {"angle": 0.25, "real": 0.1}.get(site["site_kind"], 0.5)
        model = randomize(self.make(lattice_shape=shape, symmetrize=symmetrize, **site), scale)
        samples = model.sample(4000, seed=3)
        assert torch.equal(model.sample(10, seed=3), model.sample(10, seed=3))
        if site["levels"]:
            states = all_configurations(shape, site["levels"])
            probabilities = probabilities_of(model, states)
        else:
            states = all_configurations(shape, range(8))
            fine, volume = grid(site, shape, 128)
            density = (probabilities_of(model, fine) * volume).reshape(8, 16, 8, 16)
            probabilities = density.mean((1, 3)).flatten() / 64
            samples = cells(site, samples, 8)
        assert_frequencies(samples, states, probabilities)

    def test_symmetrized_model_is_invariant_and_normalized(self) -> None:
        """Check p(g s) = p(s) for the whole group, and Σ p = 1."""
        operations, shape = ("rotation", "reflection", "z2"), (3, 3)
        model = randomize(self.make(lattice_shape=shape, symmetrize=operations))
        states = all_configurations(shape, (-1, 1))
        elements = group(operations, model.lattice)
        p = probabilities_of(model, states)
        assert p.sum().item() == pytest.approx(1, abs=1e-10)
        for index in range(len(elements)):
            image = probabilities_of(model, elements.act(states[::20], torch.tensor(index)))
            torch.testing.assert_close(image, p[::20], rtol=1e-10, atol=0)

    def test_temperature_input_is_seen_and_normalized(self) -> None:
        """Check Σ_s p(s, T) = 1 at every T, and that p and the samples depend on T."""
        model = randomize(self.make(lattice_shape=(2, 3), temperature_input=True))
        states = all_configurations((2, 3), (-1, 1))
        cold, hot = (probabilities_of(model, states, t) for t in (1.0, 2.5))
        assert [cold.sum().item(), hot.sum().item()] == pytest.approx([1, 1], abs=1e-10)
        assert (cold / hot).log().abs().max() > 1e-3
        assert_frequencies(model.sample(3000, 4, temperature=2.5), states, hot)
        with pytest.raises(ValueError, match="temperature"):
            model.log_prob(states)

    def test_gradients_reach_every_weight(self, site: Site) -> None:
        """Check that the gradient of each weight is finite and not zero everywhere."""
        model = randomize(self.make(lattice_shape=(2, 3), **site))
        model.log_prob(random_configurations(site, (2, 3), 100)).sum().backward()
        for name, weight in model.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name
            assert not weight.numel() or weight.grad.abs().max() > 0, name

    def test_checkpoint_gives_the_same_model(self, site: Site, tmp_path: Path) -> None:
        """Check that a saved and loaded model has the same ln p to the last bit."""
        options = {"symmetrize": ["reflection"], "temperature_input": True, "ordering": "snake", **site}
        model = randomize(self.make(lattice_shape=(2, 3), **options)).float()
        trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
        trainer.strategy.connect(model)
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        torch.load(tmp_path / "model.ckpt", weights_only=True)
        again = checkpoints.load(tmp_path / "model.ckpt")
        assert type(again) is type(model)
        states = random_configurations(site, (2, 3), 30).float()
        assert torch.equal(probabilities_of(again, states, 2.0), probabilities_of(model, states, 2.0))
