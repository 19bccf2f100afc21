import math

import pytest
import torch
from oracle import Oracle

from lightdan import MADE, Architecture, Ising, MaximumLikelihood, VariationalFreeEnergy
from lightdan.objectives import Problem
from lightdan.testing import all_configurations, randomize
from lightdan.types import Batch

STATES = all_configurations((2, 2), (-1, 1))
TEMPERATURE = 1.7


def problem(model, **options):
    action = Ising(shape=2).action
    return Problem(
        **{
            "log_prob": model.log_prob,
            "log_prob_bound": model.bare_log_prob,
            "sample": lambda t: model.sample(len(t), seed=0),
            "action": action,
            "weights": model.parameters,
            "num_configurations": 50,
            "step": 10,
            **options,
        }
    )


def batch(configurations):
    return Batch(configurations, configurations.new_full((len(configurations),), TEMPERATURE))


def gradient(loss, model):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


class Markov(Architecture):
    """Chain in which a site equals the one before with p = 3/4; all p are multiples of 1/128."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.bias = torch.nn.Parameter(torch.zeros(4, 1, dtype=torch.float64))
        self.coupling = torch.nn.Parameter(torch.full((3, 1), math.log(3), dtype=torch.float64))

    def forward(self, configurations, temperature=None):
        neighbour = configurations.flatten(1)[:, :-1, None]
        return self.bias + torch.nn.functional.pad(self.coupling * neighbour, (0, 0, 1, 0))


def test_reinforce_is_the_gradient_of_the_free_energy():
    """Check to rounding, with a sample that contains each state in proportion to its probability."""
    model = Markov(lattice_shape=(2, 2))
    log_prob = model.log_prob(STATES)
    exact = (log_prob.exp() * (Ising(shape=2).energy(STATES) / TEMPERATURE + log_prob)).sum()
    counts = 128 * log_prob.exp()
    torch.testing.assert_close(counts, counts.round())
    samples = STATES.repeat_interleave(counts.round().long(), 0)
    assert len(samples) == 128
    loss = VariationalFreeEnergy().loss(problem(model, sample=lambda t: samples), batch(samples))
    torch.testing.assert_close(loss, exact, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient(loss, model), gradient(exact, model), rtol=1e-12, atol=1e-12)


def test_free_energy_of_the_true_distribution_is_exact_without_noise():
    """Check β H + ln q = −ln Z for every sample, and that the gradient vanishes."""
    oracle = Oracle(lattice_shape=(2, 2), temperature=TEMPERATURE)
    exact = Ising(shape=2).exact(TEMPERATURE).log_partition
    merit = VariationalFreeEnergy().figure_of_merit(problem(oracle), batch(STATES))
    torch.testing.assert_close(merit, torch.full_like(merit, -exact))
    loss = VariationalFreeEnergy().loss(problem(oracle), batch(STATES))
    assert gradient(loss, oracle).abs().max() < 1e-12
    other = Oracle(lattice_shape=(2, 2), temperature=TEMPERATURE, distortion=0.5)
    p = other.log_prob(STATES).exp()
    every = problem(other, sample=lambda t: STATES)
    merit = VariationalFreeEnergy().figure_of_merit(every, batch(STATES))
    assert (p @ merit).item() > -exact + 0.01


def test_figure_of_merit_is_of_each_configuration_and_whole_where_the_loss_is_a_bound():
    model = randomize(MADE(lattice_shape=(2, 2), width=2, symmetrize=["rotation", "z2"]))
    figure = MaximumLikelihood("laplace").figure_of_merit(problem(model), batch(STATES))
    torch.testing.assert_close(figure, -model.log_prob(STATES))
    assert not torch.allclose(figure, -model.bare_log_prob(STATES))
    loss = MaximumLikelihood().loss(problem(model), batch(STATES))
    assert loss.item() == pytest.approx(-model.bare_log_prob(STATES).mean().item())
    assert loss.item() > figure.mean().item()


def test_stationary_point_of_the_posterior_is_that_of_the_whole_data():
    """Check M ∇ loss = −∇ [Σ ln p + ln π] over all data."""
    model = randomize(MADE(lattice_shape=(2, 2), width=2))
    loss = MaximumLikelihood("gaussian", 0.7).loss(problem(model, num_configurations=16), batch(STATES))
    squares = sum(weight.square().sum() for weight in model.parameters())
    posterior = model.log_prob(STATES).sum() - squares / (2 * 0.7**2)
    torch.testing.assert_close(16 * gradient(loss, model), -gradient(posterior, model))


def test_annealing_starts_without_the_energy():
    model = randomize(MADE(lattice_shape=(2, 2), width=2))
    objective = VariationalFreeEnergy(annealing_steps=100)
    losses = [objective.loss(problem(model, step=step), batch(STATES)) for step in (0, 49, 99, 500)]
    samples = model.sample(len(STATES), seed=0)
    energy = (Ising(shape=2).energy(samples) / TEMPERATURE).mean()
    entropy = model.log_prob(samples).mean()
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
