"""Tests of conditionals of reals, by quadrature on panels that follow the peaks."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from lightdan.conditionals import BoxBetaMixture, GaussianMixture
from lightdan.testing import ConditionalTests

CONDITIONALS = [GaussianMixture(), GaussianMixture(components=1), BoxBetaMixture(bound=2.5)]
every_conditional = pytest.mark.parametrize(
    "conditional", CONDITIONALS, ids=lambda c: f"{type(c).__name__}{[*c.arguments().values()]}"
)
AROUND = torch.linspace(-40, 40, 161, dtype=torch.float64)


class TestGaussianMixture(ConditionalTests):
    def make(self):
        return GaussianMixture()


class TestBoxBetaMixture(ConditionalTests):
    def make(self):
        return BoxBetaMixture(bound=2.5)


def extreme(conditional, num, seed=0):
    """Draw weights from 1e-6, widths of Gaussians from e^−12 to e^5, and Beta exponents up to 1e4."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)

    size = (num, conditional.components)
    log_weights = uniform(-14, 0, *size)
    if isinstance(conditional, GaussianMixture):
        natural = torch.stack([uniform(-5, 5, *size), uniform(-14, 5, *size)], -1)
    else:
        excess = 10 ** uniform(-6, 4, *size, 2)
        natural = excess + (-torch.expm1(-excess)).log()
    raw = natural - conditional.offsets
    return torch.cat([log_weights[..., None], raw], dim=-1).flatten(-2)


def edges(conditional, parameters):
    """Return the ends of panels, in order `(..., P)`."""
    first, second = conditional.split(parameters)[1].unbind(-1)
    if isinstance(conditional, GaussianMixture):
        centre, width = first, second.exp()
        return (centre[..., None] + width[..., None] * AROUND).flatten(-2).sort(-1)[0]
    a, b = first + 1, second + 1
    centre = a / (a + b)
    width = (centre * b / (a + b) / (a + b + 1)).sqrt()
    points = (centre[..., None] + width[..., None] * AROUND / 2).flatten(-2).clamp(0, 1)
    fine = torch.cat([torch.zeros(1), torch.logspace(-11, -0.4, 24)]).double()
    even = torch.cat([fine, 1 - fine]).expand(*points.shape[:-1], -1)
    return (2 * torch.cat([points, even], -1).sort(-1)[0] - 1) * conditional.bound


def integral(conditional, parameters, start, end, order=12):
    """Return ∫ p dx over intervals `(..., P)`."""
    nodes, weights = (torch.tensor(x) for x in np.polynomial.legendre.leggauss(order))
    x = start[..., None] + (end - start)[..., None] * (nodes + 1) / 2
    parameters = parameters[..., None, None, :].expand(*x.shape, -1)
    return (conditional.log_prob(x, parameters).exp() @ weights) * (end - start) / 2


@every_conditional
def test_density_integrates_to_one(conditional):
    parameters = extreme(conditional, 300)
    ends = edges(conditional, parameters)
    total = integral(conditional, parameters, ends[:, :-1], ends[:, 1:]).sum(-1)
    torch.testing.assert_close(total, torch.ones(300).double(), atol=1e-6, rtol=0)


@every_conditional
def test_samples_follow_the_density(conditional):
    """Compare the distributions by Kolmogorov–Smirnov."""
    sets, num = 6, 20_000
    generator = torch.Generator().manual_seed(0)
    p_values = []
    for parameters in extreme(conditional, sets, seed=1):
        uniforms = torch.rand(num, generator=generator, dtype=torch.float64)
        samples = conditional.sample(parameters.expand(num, -1), uniforms)
        ends = edges(conditional, parameters)
        panels = integral(conditional, parameters, ends[:-1], ends[1:])
        index = (torch.searchsorted(ends, samples, right=True) - 1).clamp(0, len(panels) - 1)
        before = torch.cat([torch.zeros(1), panels.cumsum(0)])[index]
        cumulative = before + integral(conditional, parameters, ends[index], samples)
        p_values.append(stats.kstest(cumulative.numpy(), "uniform").pvalue)
    assert min(p_values) > 0.01 / sets


def test_gaussians_are_those_of_scipy():
    parameters = torch.tensor([[0.0, 0.7, -0.4]], dtype=torch.float64)
    x = torch.linspace(-8, 8, 33, dtype=torch.float64)
    expected = stats.norm.logpdf(x.numpy(), 0.7, math.exp(-0.4))
    log_prob = GaussianMixture(components=1).log_prob(x, parameters.expand(33, -1))
    np.testing.assert_allclose(log_prob.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_conditional
def test_extreme_uniform_numbers_give_finite_samples_and_gradients(conditional, dtype):
    parameters = extreme(conditional, 1000).to(dtype)[:, None].expand(-1, 4, -1).contiguous()
    edge = [0.0, torch.finfo(dtype).tiny, 0.5, 1 - torch.finfo(dtype).eps / 2]
    samples = conditional.sample(parameters, torch.tensor(edge, dtype=dtype).expand(1000, -1))
    assert samples.dtype == dtype
    assert samples.isfinite().all()
    assert (samples.abs() <= conditional.bound).all()
    parameters.requires_grad_()
    conditional.log_prob(samples, parameters).sum().backward()
    assert parameters.grad.isfinite().all()


def test_nothing_lies_outside_the_box():
    conditional = BoxBetaMixture(bound=2.0)
    x = torch.tensor([-2.001, 2.001])
    assert (conditional.log_prob(x, torch.zeros(2, 9)) == -math.inf).all()
    with pytest.raises(ValueError, match="bound must be positive and finite"):
        BoxBetaMixture(bound=0.0)
    with pytest.raises(ValueError, match="components ≥ 1"):
        GaussianMixture(components=0)
