import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Categorical as TorchCategorical

from lightdan.conditionals import Bernoulli, Categorical, conditional_for

PARAMETERS = torch.linspace(-30, 30, 13, dtype=torch.float64)


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


@pytest.mark.parametrize("conditional", [Bernoulli(), categorical((-1, 1)), categorical((0, 2, 5))])
def test_sampling_inverts_the_cumulative_distribution(conditional):
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(conditional.num_parameters, dtype=torch.float64, generator=generator)
    uniforms = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    drawn = conditional.sample(parameters.expand(10_000, -1), uniforms)
    for value in drawn.unique():
        expected = conditional.log_prob(value[None], parameters[None]).exp().item()
        assert (drawn == value).double().mean().item() == pytest.approx(expected, abs=1e-4)
    assert torch.isfinite(conditional.log_prob(drawn, 1e4 * parameters.expand(10_000, -1))).all()


@pytest.mark.parametrize(
    ("site_kind", "levels", "wanted", "named"),
    [("level", (0, 1, 2), Bernoulli(), "Categorical"), ("real", (), Bernoulli(), "BoxBetaMixture")],
)
def test_misfit_names_those_that_fit(site_kind, levels, wanted, named):
    with pytest.raises(ValueError, match=f"sites of kind '{site_kind}'; conditionals that fit: {named}"):
        conditional_for(site_kind, levels, wanted)


def test_spec_builds_it_again():
    spec = conditional_for("spin", (-1, 1), Categorical()).spec()
    assert isinstance(conditional_for("spin", (-1, 1), spec), Categorical)
    assert isinstance(conditional_for("spin", (-1, 1), None), Bernoulli)


CONDITIONALS = [
    (Bernoulli(), (-1, 1)),
    (categorical((-1, 1)), (-1, 1)),
    (categorical((7,)), (7,)),
    (categorical((-4, 0, 1, 12)), (-4, 0, 1, 12)),
]
every_conditional = pytest.mark.parametrize(
    ("conditional", "levels"), CONDITIONALS, ids=lambda x: type(x).__name__
)


@every_conditional
def test_probabilities_of_all_values_sum_to_one(conditional, levels):
    generator = torch.Generator().manual_seed(0)
    parameters = 10 * torch.randn(
        50, conditional.num_parameters, dtype=torch.float64, generator=generator
    )
    terms = [conditional.log_prob(torch.full((50,), float(v)).double(), parameters) for v in levels]
    torch.testing.assert_close(torch.stack(terms).logsumexp(0), torch.zeros(50).double())


@every_conditional
def test_any_number_of_leading_dimensions(conditional, levels):
    generator = torch.Generator().manual_seed(0)
    shape = (3, 2, 5)
    parameters = torch.randn(*shape, conditional.num_parameters, generator=generator)
    drawn = conditional.sample(parameters, torch.rand(shape, generator=generator))
    assert drawn.shape == conditional.log_prob(drawn, parameters).shape == shape
    assert conditional.features(drawn).shape == (*shape, conditional.num_features)
    assert torch.isin(drawn, torch.tensor(levels)).all()
    flat = conditional.log_prob(drawn.flatten(), parameters.flatten(0, 2))
    torch.testing.assert_close(flat, conditional.log_prob(drawn, parameters).flatten())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_impossible_values_are_never_drawn(dtype):
    """Neither at u = 0 nor at the last number below 1."""
    edges = torch.tensor([0.0, 0.5, 1 - torch.finfo(dtype).eps / 2], dtype=dtype)
    never = torch.tensor([-1e4], dtype=dtype).expand(3, 1)
    assert (Bernoulli().sample(never, edges) == -1).all()
    assert (Bernoulli().sample(-never, edges) == 1).all()
    for certain in range(3):
        parameters = torch.full((3, 3), -1e4, dtype=dtype)
        parameters[:, certain] = 1e4
        assert (categorical((0, 1, 2)).sample(parameters, edges) == certain).all()


def test_levels_are_a_models_own():
    given = Categorical()
    first = conditional_for("level", (0, 1, 2), given)
    second = conditional_for("level", (5, 7), given)
    assert first.num_parameters == 3
    assert second.num_parameters == 2
    assert first.levels.tolist() == [0, 1, 2]
