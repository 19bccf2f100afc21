import pytest
import torch

from lightdan import MADE, Ising, MaximumLikelihood, VariationalFreeEnergy
from lightdan.objectives import Problem
from lightdan.testing import all_configurations, randomize
from lightdan.types import Batch

STATES = all_configurations((2, 2), (-1, 1))
TEMPERATURE = 1.7


def problem(model, **options):
    energy = Ising(shape=2).energy
    return Problem(
        **{
            "log_prob": model.log_prob,
            "log_prob_bound": model.bare_log_prob,
            "sample": lambda t: model.sample(len(t), seed=0),
            "energy": energy,
            "weights": model.parameters,
            "num_configurations": 50,
            "step": 10,
            **options,
        }
    )


def batch(configurations):
    return Batch(configurations, torch.full((len(configurations),), TEMPERATURE).to(configurations))


def gradient(loss, model):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def test_reinforce_is_the_gradient_of_the_free_energy():
    # Every state as often as its probability says: then the estimate is exact.
    model = randomize(MADE(lattice_shape=(2, 2), width=2), scale=0.2)
    log_prob = model.log_prob(STATES)
    exact = (log_prob.exp() * (Ising(shape=2).energy(STATES) / TEMPERATURE + log_prob)).sum()
    counts = (2_000_000 * log_prob.exp()).round().long()
    drawn = STATES.repeat_interleave(counts, 0)
    loss = VariationalFreeEnergy().loss(problem(model, sample=lambda t: drawn), batch(drawn))
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4)
    torch.testing.assert_close(gradient(loss, model), gradient(exact, model), rtol=2e-3, atol=2e-4)


def test_annealing_starts_without_the_energy():
    model = randomize(MADE(lattice_shape=(2, 2), width=2))
    objective = VariationalFreeEnergy(annealing_steps=100)
    losses = [objective.loss(problem(model, step=step), batch(STATES)) for step in (0, 49, 99, 500)]
    drawn = model.sample(len(STATES), seed=0)
    energy = (Ising(shape=2).energy(drawn) / TEMPERATURE).mean()
    entropy = model.log_prob(drawn).mean()
    for loss, progress in zip(losses, (0.01, 0.5, 1, 1), strict=True):
        assert loss.item() == pytest.approx((progress * energy + entropy).item())


def test_likelihood_is_the_mean_log_probability():
    model = randomize(MADE(lattice_shape=(2, 2), width=2))
    loss = MaximumLikelihood().loss(problem(model), batch(STATES[:5]))
    assert loss.item() == pytest.approx(-model.log_prob(STATES[:5]).mean().item())


@pytest.mark.parametrize("prior", ["laplace", "gaussian"])
def test_prior_is_the_log_density_of_the_weights(prior):
    model = randomize(MADE(lattice_shape=(2, 2), width=2))
    plain = MaximumLikelihood().loss(problem(model), batch(STATES))
    loss = MaximumLikelihood(prior, 0.3).loss(problem(model), batch(STATES))
    density = {"laplace": torch.distributions.Laplace, "gaussian": torch.distributions.Normal}[prior](
        0, 0.3
    )
    weights = torch.cat([weight.flatten() for weight in model.parameters()])
    log_prior = (density.log_prob(weights) - density.log_prob(torch.tensor(0.0))).sum()
    assert (loss - plain).item() == pytest.approx(-log_prior.item() / 50)


@pytest.mark.parametrize(
    ("make", "culprit"),
    [
        (lambda: MaximumLikelihood("cauchy"), "prior"),
        (lambda: MaximumLikelihood("laplace", 0.0), "prior_width"),
        (lambda: VariationalFreeEnergy(-1), "annealing_steps"),
    ],
)
def test_bad_arguments_are_named(make, culprit):
    with pytest.raises(ValueError, match=culprit):
        make()
