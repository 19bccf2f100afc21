import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Categorical as TorchCategorical

from lightdan.conditionals import Bernoulli, Categorical, conditional_for
from lightdan.testing import ConditionalTests

PARAMETERS = torch.linspace(-30, 30, 13, dtype=torch.float64)


class TestBernoulli(ConditionalTests):
    def make(self):
        return Bernoulli()


class TestCategorical(ConditionalTests):
    def make(self):
        return Categorical()


def categorical(levels):
    conditional = Categorical()
    conditional.fit_levels(levels)
    return conditional


def test_bernoulli_against_torch():
    logits = PARAMETERS[:, None]
    for spin in (-1.0, 1.0):
        ours = Bernoulli().log_prob(torch.full((13,), spin, dtype=torch.float64), logits)
        theirs = TorchBernoulli(logits=PARAMETERS).log_prob(torch.full((13,), (spin + 1) / 2).double())
        torch.testing.assert_close(ours, theirs)


def test_categorical_against_torch():
    levels = (-4, -1, 3)
    conditional = categorical(levels)
    logits = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for index, level in enumerate(levels):
        ours = conditional.log_prob(torch.full((20,), float(level), dtype=torch.float64), logits)
        torch.testing.assert_close(ours, TorchCategorical(logits=logits).log_prob(torch.tensor(index)))
    assert torch.equal(
        conditional.features(torch.tensor([3.0, -4.0])), torch.tensor([[0, 0, 1.0], [1, 0, 0]])
    )


@pytest.mark.parametrize(
    ("site_kind", "levels", "conditional", "named"),
    [("level", (0, 1, 2), Bernoulli(), "Categorical"), ("real", (), Bernoulli(), "BoxBetaMixture")],
)
def test_misfit_names_those_that_fit(site_kind, levels, conditional, named):
    with pytest.raises(
        ValueError, match=f"does not fit sites of kind '{site_kind}': use one of {named}"
    ):
        conditional_for(site_kind, levels, conditional)


def test_one_level_is_certain():
    conditional = categorical((7,))
    values, parameters = torch.full((5,), 7.0), torch.randn(5, 1)
    assert torch.equal(conditional.log_prob(values, parameters), torch.zeros(5))
    assert torch.equal(conditional.sample(parameters, torch.linspace(0, 0.99, 5)), values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_impossible_values_are_never_drawn(dtype):
    """Check u = 0 and the last number below 1 among others."""
    edges = torch.tensor([0.0, 0.5, 1 - torch.finfo(dtype).eps / 2], dtype=dtype)
    never = torch.tensor([-1e4], dtype=dtype).expand(3, 1)
    assert (Bernoulli().sample(never, edges) == -1).all()
    assert (Bernoulli().sample(-never, edges) == 1).all()
    for certain in range(3):
        parameters = torch.full((3, 3), -1e4, dtype=dtype)
        parameters[:, certain] = 1e4
        assert (categorical((0, 1, 2)).sample(parameters, edges) == certain).all()


def test_defaults():
    assert isinstance(conditional_for("spin", (-1, 1), None), Bernoulli)
    assert isinstance(conditional_for("level", (0, 1), None), Categorical)


def test_levels_are_a_models_own():
    conditional = Categorical()
    first = conditional_for("level", (0, 1, 2), conditional)
    second = conditional_for("level", (5, 7), conditional)
    assert first.num_parameters == 3
    assert second.num_parameters == 2
    assert first.levels.tolist() == [0, 1, 2]
