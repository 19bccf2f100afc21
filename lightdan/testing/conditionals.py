"""Property tests for conditionals."""

import inspect
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning import Trainer
from torch import Tensor

from lightdan import checkpoints
from lightdan.architectures.made import MADE
from lightdan.conditionals import Conditional, conditional_for
from lightdan.provenance import is_plain
from lightdan.systems.base import SITE_KINDS
from lightdan.testing.states import (
    Site,
    all_configurations,
    grid,
    probabilities_of,
    random_configurations,
    randomize,
    unit,
)

SETS, POINTS = 6, 100_000
both_precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


class ConditionalTests:
    """Property tests for conditionals on each kind of site that fits; a subclass implements `make`.

    Densities are integrated by the midpoint rule: for angles on a grid in θ with respect to dθ/2π, and
    for reals x = 3 tan(π (u − 1/2)) on a grid in u with respect to dx.

    Example:
        A test file for your own conditional::

            class TestMine(ConditionalTests):
                def make(self):
                    return Mine(components=2)
    """

    levels: ClassVar[tuple[int, ...]] = (-4, 0, 1, 12)
    """Values of a site of kind ``level``."""
    scale: ClassVar[float] = 1.0
    """Standard deviation of random parameters; lower it if the grid cannot resolve the peaks."""

    def make(self) -> Conditional:
        """Return the conditional."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test on every kind of site that the conditional fits."""
        if "site" in metafunc.fixturenames:
            levels = {"spin": (-1, 1), "level": self.levels}
            kinds = self.make().site_kinds
            sites = [{"site_kind": kind, "levels": levels.get(kind, ())} for kind in kinds]
            metafunc.parametrize("site", sites, ids=kinds)

    @pytest.fixture
    def conditional(self, site: Site) -> Conditional:
        """Return the conditional, ready for the sites."""
        return conditional_for(site["site_kind"], site["levels"], self.make())

    def model(self, site: Site, *shape: int) -> MADE:
        """Return a small network with the conditional."""
        torch.manual_seed(0)
        return MADE(lattice_shape=shape, width=2, conditional=self.make(), **site)

    def parameters(self, conditional: Conditional, *shape: int, seed: int = 0) -> Tensor:
        """Draw normal parameters `(*shape, parameters)`, in float64."""
        generator = torch.Generator().manual_seed(seed)
        size = (*shape, conditional.num_parameters)
        return self.scale * torch.randn(size, generator=generator, dtype=torch.float64)

    def masses(self, conditional: Conditional, site: Site, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return all levels, or a grid of values, `(V,)`, and their probabilities at `(parameters,)`."""
        if site["levels"]:
            values, weights = all_configurations((1,), site["levels"]).flatten(), torch.ones(1)
        else:
            states, volume = grid(site, (1,), POINTS)
            values, weights = states.flatten(), volume / POINTS
        log_prob = conditional.log_prob(values, parameters.expand(len(values), -1))
        return values, log_prob.exp() * weights

    def test_declares_what_it_is(self) -> None:
        """Check that the kinds of site exist, and that `arguments` returns those of the constructor."""
        conditional = self.make()
        assert {*conditional.site_kinds} <= {*SITE_KINDS}
        assert conditional.bound > 0
        assert is_plain(conditional.arguments())
        assert {*inspect.signature(type(conditional)).parameters} == {*conditional.arguments()}

    def test_density_is_normalized(self, conditional: Conditional, site: Site) -> None:
        """Check Σ p = 1 to 1e-10 or ∫ p = 1 to 1e-4, for random parameters and for zeros."""
        sets = self.parameters(conditional, SETS)
        for parameters in (*sets, 0 * sets[0]):
            total = self.masses(conditional, site, parameters)[1].sum()
            assert total.item() == pytest.approx(1, abs=1e-10 if site["levels"] else 1e-4)

    def test_samples_follow_the_density(self, conditional: Conditional, site: Site) -> None:
        """Check the cumulative distribution of samples at 10,000 evenly spaced numbers, to 1e-3.

        Sampling by the inverse cumulative distribution passes, of the whole density or of each
        component of a mixture.
        """
        even = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
        for parameters in self.parameters(conditional, SETS):
            many = parameters.expand(len(even), -1)
            samples = conditional.sample(many, even)
            assert torch.equal(samples, conditional.sample(many, even))
            values, masses = self.masses(conditional, site, parameters)
            if site["levels"]:
                frequencies = (samples[:, None] == values).double().mean(0)
                torch.testing.assert_close(frequencies, masses, rtol=0, atol=1e-3)
                continue
            position = unit(site, samples) * POINTS
            cell = position.long().clamp(0, POINTS - 1)
            before = torch.cat([torch.zeros(1), masses.cumsum(0)])[cell]
            cumulative = before + (position - cell) * masses[cell]
            torch.testing.assert_close(cumulative.sort()[0], even, rtol=0, atol=1e-3)

    @both_precisions
    def test_samples_are_values_of_a_site(
        self, conditional: Conditional, site: Site, dtype: torch.dtype
    ) -> None:
        """Check that samples are levels, angles in [0, 2π), or finite reals within the bound.

        They have the type of the uniform numbers, and finite ln p. Numbers at both ends of [0, 1) and
        parameters ten times as large are included.
        """
        parameters = self.parameters(conditional, 2, 50).to(dtype)
        parameters = torch.cat([parameters, 10 * parameters])[:, :, None].expand(-1, -1, 4, -1)
        edges = [0.0, torch.finfo(dtype).tiny, 0.5, 1 - torch.finfo(dtype).eps / 2]
        samples = conditional.sample(parameters, torch.tensor(edges, dtype=dtype).expand(4, 50, -1))
        assert samples.shape == (4, 50, 4)
        assert samples.dtype == dtype
        assert samples.isfinite().all()
        if site["levels"]:
            assert torch.isin(samples, torch.tensor(site["levels"], dtype=dtype)).all()
        elif site["site_kind"] == "angle":
            assert ((samples >= 0) & (samples < 2 * torch.pi)).all()
        else:
            assert (samples.abs() <= conditional.bound).all()
        assert conditional.log_prob(samples, parameters).isfinite().all()

    @both_precisions
    def test_shapes_and_types(self, conditional: Conditional, site: Site, dtype: torch.dtype) -> None:
        """Check that any leading dimensions and both floating types work."""
        values = random_configurations(site, (2, 5), 3).to(dtype)
        parameters = self.parameters(conditional, 3, 2, 5).to(dtype)
        features, log_prob = conditional.features(values), conditional.log_prob(values, parameters)
        assert features.shape == (3, 2, 5, conditional.num_features)
        assert features.isfinite().all()
        assert features.dtype == log_prob.dtype == dtype
        flat = conditional.log_prob(values.flatten(), parameters.flatten(0, 2))
        torch.testing.assert_close(flat.reshape(3, 2, 5), log_prob)
        double = conditional.log_prob(values.double(), parameters.double())
        torch.testing.assert_close(log_prob.double(), double, rtol=1e-3, atol=1e-3)

    @both_precisions
    def test_gradients_are_finite(
        self, conditional: Conditional, site: Site, dtype: torch.dtype
    ) -> None:
        """Check the gradients at zero, random and ten times as large parameters."""
        parameters = self.parameters(conditional, 200)
        parameters = torch.cat([0 * parameters, parameters, 10 * parameters])
        parameters = parameters.to(dtype).requires_grad_()
        values = random_configurations(site, (), 600).to(dtype)
        values = values.clamp(-conditional.bound, conditional.bound)
        conditional.log_prob(values, parameters).sum().backward()
        assert parameters.grad is not None
        assert parameters.grad.isfinite().all()

    def test_gradients_are_those_of_the_density(self, conditional: Conditional, site: Site) -> None:
        """Check the gradients of ln p by parameters and continuous values against differences."""
        values = random_configurations(site, (), 20).clamp(-conditional.bound, conditional.bound)
        values.requires_grad_(not site["levels"])
        parameters = self.parameters(conditional, 20).requires_grad_()
        assert torch.autograd.gradcheck(conditional.log_prob, (values, parameters))

    def test_spec_builds_it_again(self, conditional: Conditional, site: Site) -> None:
        """Check that a conditional made from its spec has the same ln p."""
        spec: dict[str, Any] = json.loads(json.dumps(conditional.spec()))
        again = conditional_for(site["site_kind"], site["levels"], spec)
        assert type(again) is type(conditional)
        assert again.spec() == conditional.spec()
        values, parameters = random_configurations(site, (), 50), self.parameters(conditional, 50)
        assert torch.equal(again.log_prob(values, parameters), conditional.log_prob(values, parameters))

    def test_network_is_normalized(self, site: Site) -> None:
        """Check Σ p(s) = 1 for two discrete sites, or ∫ p = 1 for a continuous one in any units."""
        if site["levels"]:
            states = all_configurations((2,), site["levels"])
            p = probabilities_of(randomize(self.model(site, 2)), states)
            assert p.sum().item() == pytest.approx(1, abs=1e-10)
            return
        states, volume = grid(site, (1,), POINTS)
        p = probabilities_of(randomize(self.model(site, 1), self.scale / 4), states)
        assert (p * volume).mean().item() == pytest.approx(1, abs=1e-4)

    def test_network_learns(self, site: Site) -> None:
        """Check that twenty steps lower −ln p of configurations from another network."""
        teacher, model = randomize(self.model(site, 2, 2), self.scale / 4), self.model(site, 2, 2)
        data = teacher.sample(500, seed=1).float()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = -model.log_prob(data).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]

    def test_checkpoint_gives_the_same_network(self, site: Site, tmp_path: Path) -> None:
        """Check that a saved and loaded network has the same ln p to the last bit."""
        model = randomize(self.model(site, 2, 2)).float()
        trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
        trainer.strategy.connect(model)
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        again = checkpoints.load(tmp_path / "model.ckpt")
        states = random_configurations(site, (2, 2), 30).float()
        assert torch.equal(probabilities_of(again, states), probabilities_of(model, states))
