"""Tests of conditionals of angles, by quadrature on panels that follow the peaks."""

import math
import sys

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from lightdan import MADE, BetaMixture, CircularSpline, Triangular, VonMisesMixture
from lightdan.conditionals import Bernoulli, conditional_for, von_mises
from lightdan.testing import ConditionalTests, probabilities_of, randomize

CONDITIONALS = [
    VonMisesMixture(),
    VonMisesMixture(components=1),
    BetaMixture(),
    BetaMixture(components=2),
    CircularSpline(),
    CircularSpline(bins=1),
]
every_conditional = pytest.mark.parametrize(
    "conditional", CONDITIONALS, ids=lambda c: f"{type(c).__name__}{[*c.arguments().values()]}"
)
AROUND = torch.tensor([0.3, 1, 2, 3, 4.5, 6.5, 9, 13, 20, 40], dtype=torch.float64)
AROUND = torch.cat([-AROUND.flip(0), torch.zeros(1), AROUND])
SEAM = 2 * math.pi * torch.logspace(-11, -0.5, 22, dtype=torch.float64)
TURN = 2 * math.pi


class TestVonMisesMixture(ConditionalTests):
    def make(self):
        return VonMisesMixture()


class TestVonMises(ConditionalTests):
    def make(self):
        return VonMisesMixture(components=1)


class TestBetaMixture(ConditionalTests):
    def make(self):
        return BetaMixture()


class TestCircularSpline(ConditionalTests):
    def make(self):
        return CircularSpline()


class TestOneBin(ConditionalTests):
    def make(self):
        return CircularSpline(bins=1)


def mixture(conditional, log_weights, natural):
    """Return the raw parameters of a mixture from its natural ones."""
    if isinstance(conditional, BetaMixture):
        natural = natural + (-torch.expm1(-natural)).log()
    raw = natural - conditional.offsets
    return torch.cat([log_weights[..., None], raw], dim=-1).flatten(-2)


def extreme(conditional, num, seed=0):
    """Draw weights from 1e-6, concentrations from 1e-6 to 1e4, and means, some at the seam."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)

    if isinstance(conditional, CircularSpline):
        size = (num, conditional.num_parameters)
        noise = torch.randn(size, generator=generator, dtype=torch.float64)
        return 10 ** uniform(-2, 1.5, num, 1) * noise
    size = (num, conditional.components)
    log_weights = uniform(-14, 0, *size)
    sizes = 10 ** uniform(-6, 4, *size, 2)
    if isinstance(conditional, BetaMixture):
        return mixture(conditional, log_weights, sizes)
    mean = uniform(0, TURN, *size) * (uniform(0, 1, *size) > 0.3)
    eta = sizes[..., :1] * torch.stack([mean.cos(), mean.sin()], -1)
    return mixture(conditional, log_weights, eta)


def edges(conditional, parameters):
    """Return the ends of panels in [0, 2π], in order `(..., P)`."""
    even = torch.linspace(0, TURN, 33, dtype=torch.float64)
    even = torch.cat([even, SEAM, TURN - SEAM])
    if isinstance(conditional, CircularSpline):
        shift, spline = conditional._spline(parameters)
        even = even[[0, 32]]
        inner = torch.logspace(-6, -0.5, 9, dtype=torch.float64)
        inner = torch.cat([torch.zeros(1), inner, 1 - inner])
        left, right = spline.horizontal[..., :-1, None], spline.horizontal[..., 1:, None]
        points = (shift[..., None, None] + left + (right - left) * inner - math.pi).flatten(-2)
    else:
        natural = conditional.split(parameters)[1]
        x, y = natural.unbind(-1)
        if isinstance(conditional, BetaMixture):
            centre = TURN * x / (x + y)
            width = TURN * (x / (x + y) * y / (x + y) / (x + y + 1)).sqrt()
        else:
            centre, width = torch.atan2(y, x), 1 / torch.hypot(x, y).clamp(min=0.3).sqrt()
        points = (centre[..., None] + width[..., None] * AROUND).flatten(-2)
    even = even.expand(*parameters.shape[:-1], -1)
    return torch.cat([even, points.remainder(TURN)], dim=-1).sort(-1)[0]


def integral(conditional, parameters, start, end, order=12):
    """Return ∫ p(θ) dθ/2π over intervals `(..., P)`."""
    nodes, weights = (torch.tensor(x) for x in np.polynomial.legendre.leggauss(order))
    theta = start[..., None] + (end - start)[..., None] * (nodes + 1) / 2
    parameters = parameters[..., None, None, :].expand(*theta.shape, -1)
    return (conditional.log_prob(theta, parameters).exp() @ weights) * (end - start) / (2 * TURN)


def cumulative(conditional, parameters, theta):
    """Return ∫ p dθ/2π from 0 to θ `(M,)` with one set of parameters."""
    ends = edges(conditional, parameters)
    panels = integral(conditional, parameters, ends[:-1], ends[1:])
    index = (torch.searchsorted(ends, theta, right=True) - 1).clamp(max=len(panels) - 1)
    before = torch.cat([torch.zeros(1), panels.cumsum(0)])[index]
    return before + integral(conditional, parameters, ends[index], theta)


@every_conditional
def test_density_integrates_to_one(conditional):
    parameters = extreme(conditional, 300)
    ends = edges(conditional, parameters)
    total = integral(conditional, parameters, ends[:, :-1], ends[:, 1:]).sum(-1)
    torch.testing.assert_close(total, torch.ones(300).double(), atol=1e-6, rtol=0)


@every_conditional
def test_samples_follow_the_density(conditional):
    """Compare the cumulative distributions at even numbers, and at random ones by Kolmogorov–Smirnov."""
    num, sets = 20_000, 6
    even = (torch.arange(num, dtype=torch.float64) + 0.5) / num
    generator = torch.Generator().manual_seed(0)
    p_values = []
    for parameters in extreme(conditional, sets, seed=1):
        many = parameters.expand(num, -1)
        probabilities = cumulative(conditional, parameters, conditional.sample(many, even)).sort()[0]
        assert (probabilities - even).abs().max() < 6 / num
        uniforms = torch.rand(4000, generator=generator, dtype=torch.float64)
        probabilities = cumulative(conditional, parameters, conditional.sample(many[:4000], uniforms))
        p_values.append(stats.kstest(probabilities.numpy(), "uniform").pvalue)
    assert min(p_values) > 0.01 / sets


@every_conditional
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_lie_on_the_circle(conditional, dtype):
    """Check samples at all u, u = 0 and the last number below 1 among them; none rounds to 2π."""
    parameters = extreme(conditional, 1000).to(dtype)[:, None].expand(-1, 4, -1)
    edge = [0.0, torch.finfo(dtype).tiny, 0.5, 1 - torch.finfo(dtype).eps / 2]
    samples = conditional.sample(parameters, torch.tensor(edge, dtype=dtype).expand(1000, -1))
    assert samples.shape == (1000, 4)
    assert samples.dtype == dtype
    assert ((samples >= 0) & (samples < 2 * math.pi)).all()
    assert conditional.log_prob(samples, parameters).isfinite().all()


def test_rounding_does_not_reach_the_end_of_the_circle():
    conditional = VonMisesMixture(components=1)
    parameters = torch.tensor([0.0, 1e4, 0.0]).expand(2001, -1)
    samples = conditional.sample(parameters, 0.5 + torch.linspace(-1e-4, 1e-4, 2001))
    assert (samples < 2 * math.pi).all()
    assert (samples > 6).any()


@every_conditional
def test_single_and_double_precision_agree(conditional):
    parameters = extreme(conditional, 1000).float()
    tolerance = 1e-2 if isinstance(conditional, CircularSpline) else 1e-3  # bins of 1e-3 in width
    uniforms = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    single = conditional.sample(parameters, uniforms)
    double = conditional.sample(parameters.double(), uniforms.double())
    assert torch.cos(single - double).min() > 1 - 1e-6
    for values in (single, torch.zeros(1000), torch.full((1000,), 6.283185)):
        expected = conditional.log_prob(values.double(), parameters.double())
        log_prob = conditional.log_prob(values, parameters)
        assert log_prob.dtype == torch.float32
        torch.testing.assert_close(log_prob.double(), expected, rtol=1e-4, atol=tolerance)


@every_conditional
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite(conditional, dtype):
    """Check extreme and zero parameters, and undefined directions, at the seam and off it."""
    lost = torch.zeros(1, conditional.num_parameters)
    if isinstance(conditional, VonMisesMixture):
        lost = mixture(conditional, lost[:, ::3], torch.zeros(1, conditional.components, 2))
    elif isinstance(conditional, CircularSpline):
        lost[:, 0] = -1
    sets = extreme(conditional, 500)
    parameters = torch.cat([sets, 100 * sets, 0 * sets[:1], lost, lost + 1e-30, lost + 1e-12])
    parameters = parameters.to(dtype)[:, None].repeat(1, 5, 1).requires_grad_()
    values = torch.tensor([0.0, 1e-30, 2.0, math.pi, 6.283185], dtype=dtype).expand(len(parameters), -1)
    conditional.log_prob(values, parameters).sum().backward()
    assert parameters.grad.isfinite().all()


@every_conditional
def test_network_sees_no_seam(conditional):
    theta = torch.tensor([0.0, 1.0, 6.283185])
    features = conditional.features(theta)
    torch.testing.assert_close(features, torch.stack([theta.cos(), theta.sin()], -1))
    torch.testing.assert_close(features[0], features[2])


@every_conditional
def test_begins_near_the_uniform_density_with_parameters_that_differ(conditional):
    theta = torch.linspace(0.3, 6, 100, dtype=torch.float64)
    zero = torch.zeros(100, conditional.num_parameters, dtype=torch.float64, requires_grad=True)
    log_prob = conditional.log_prob(theta, zero)
    assert log_prob.abs().max() < 0.25
    (theta.cos() * log_prob).sum().backward()
    if not isinstance(conditional, CircularSpline):
        by_component = zero.grad.sum(0).unflatten(0, (conditional.components, -1))
        assert (torch.pdist(by_component) > 1e-3).all()


@pytest.mark.parametrize("conditional", [VonMisesMixture(), CircularSpline()])
def test_continuous_over_the_seam(conditional):
    parameters = extreme(conditional, 1000).clamp(-20, 20)
    before, after = (
        conditional.log_prob(torch.full((1000,), theta, dtype=torch.float64), parameters)
        for theta in (0.0, TURN - 1e-12)
    )
    torch.testing.assert_close(before, after, rtol=0, atol=1e-7)


@pytest.mark.parametrize("kappa", [0, 1e-6, 0.5, 3, 40, 700, 1e4])
def test_von_mises_against_scipy(kappa):
    theta = torch.linspace(0, 6.28, 50, dtype=torch.float64)
    conditional = VonMisesMixture(components=1)
    parameters = torch.tensor([0.7, kappa * math.cos(2), kappa * math.sin(2)], dtype=torch.float64)
    log_prob = conditional.log_prob(theta, parameters.expand(50, -1))
    if kappa == 0:
        assert log_prob.abs().max() < 1e-12
    else:
        expected = stats.vonmises.logpdf(theta.numpy(), kappa, loc=2) + math.log(TURN)
        np.testing.assert_allclose(log_prob, expected, rtol=1e-9, atol=1e-8)
        p = np.linspace(0.001, 0.999, 31)
        samples = conditional.sample(parameters.expand(31, -1), torch.tensor(p)).numpy()
        # scipy uses a normal approximation from κ = 50.
        tolerance = 1e-8 if kappa < 50 else 1e-5
        expected = stats.vonmises.ppf(p, kappa, loc=2) % TURN
        np.testing.assert_allclose(np.cos(samples - expected), 1, atol=tolerance**2)
        np.testing.assert_allclose(np.sin(samples - expected), 0, atol=tolerance)


def test_beta_against_scipy():
    conditional = BetaMixture(components=1)
    for a, b in [(1.01, 1.01), (1.5, 3), (40, 2), (3e3, 9e3)]:
        natural = torch.tensor([[a - 1, b - 1]], dtype=torch.float64)
        parameters = mixture(conditional, torch.zeros(1).double(), natural).expand(50, -1)
        u = np.linspace(0.01, 0.99, 50)
        log_prob = conditional.log_prob(torch.tensor(TURN * u), parameters)
        np.testing.assert_allclose(log_prob, stats.beta.logpdf(u, a, b), rtol=1e-9, atol=1e-8)
        samples = conditional.sample(parameters, torch.tensor(u))
        np.testing.assert_allclose(samples, TURN * stats.beta.ppf(u, a, b), rtol=1e-9)


@pytest.mark.parametrize("kappa", [0, 1e-6, 0.3, 1.2, 2, 5, 9.7, 10.5, 12, 30, 499, 501, 1e4, 1e7])
def test_von_mises_quantiles_are_accurate_to_1e_9_in_probability(kappa):
    tails = torch.logspace(-12, math.log10(0.5), 60, dtype=torch.float64)
    p = torch.cat([tails, 1 - tails])
    x = von_mises.quantile(p, torch.full_like(p, kappa))
    conditional = VonMisesMixture(components=1)
    # The mean is at π, so that the integral begins where the distribution does.
    parameters = torch.tensor([0.0, -kappa, 0.0], dtype=torch.float64)
    probabilities = cumulative(conditional, parameters, x + math.pi)
    torch.testing.assert_close(probabilities, p, rtol=0, atol=1e-9)
    torch.testing.assert_close(x[:60], -x[60:], rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-3), (torch.float64, 1e-8)])
def test_logarithm_of_bessel_function_and_its_derivative(dtype, rtol):
    kappa = [1e-3, 0.5, 3, 30, 499, 501, 1e4, 1e8]
    argument = torch.tensor(kappa, dtype=dtype, requires_grad=True)
    value = von_mises.log_i0e(argument)
    value.sum().backward()
    with mpmath.workdps(40):
        i0, i1 = ([mpmath.besseli(n, mpmath.mpf(k)) for k in kappa] for n in (0, 1))
        expected = [float(mpmath.log(i) - k) for i, k in zip(i0, kappa, strict=True)]
        slopes = [float(j / i - 1) for i, j in zip(i0, i1, strict=True)]
    torch.testing.assert_close(value, torch.tensor(expected, dtype=dtype), rtol=rtol / 100, atol=1e-7)
    torch.testing.assert_close(argument.grad, torch.tensor(slopes, dtype=dtype), rtol=rtol, atol=0)


def test_turning_the_angle_and_the_means_together_changes_nothing():
    conditional = VonMisesMixture()
    log_weights, eta = conditional.split(extreme(conditional, 100))
    theta = torch.linspace(0, 6, 100, dtype=torch.float64)
    expected = conditional.log_prob(theta, mixture(conditional, log_weights, eta))
    for turn in (0.3, 2.0, 5.0):
        cos, sin = math.cos(turn), math.sin(turn)
        turned = eta @ torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
        log_prob = conditional.log_prob((theta + turn) % TURN, mixture(conditional, log_weights, turned))
        torch.testing.assert_close(log_prob, expected, rtol=1e-9, atol=1e-9)


def test_network_of_four_angles_is_normalized():
    """Integrate by the trapezoidal rule with 24 angles per site, 331,776 states."""
    model = randomize(MADE(lattice_shape=(2, 2), site_kind="angle", width=2), scale=0.3)
    angles = TURN / 24 * torch.arange(24, dtype=torch.float64)
    states = torch.cartesian_prod(*[angles] * 4).reshape(-1, 2, 2)
    p = probabilities_of(model, states)
    assert p.mean().item() == pytest.approx(1, abs=1e-10)
    assert p.std() > 0.3


def test_one_von_mises_component_learns_the_coupling_of_two_angles():
    """Check for H = −cos(θ − θ') at β = 3 that the linear term is β, within 5 errors."""
    num, beta = 20_000, 3.0
    generator = torch.Generator().manual_seed(0)
    first, rest = torch.rand(2, num, generator=generator, dtype=torch.float64)
    theta = TURN * first
    turned = theta + von_mises.quantile(rest, torch.full_like(rest, beta))
    model = Triangular(
        lattice_shape=(2,), site_kind="angle", conditional=VonMisesMixture(components=1)
    ).double()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        mean = -model.log_prob(torch.stack([theta, turned % TURN], 1)).mean()
        mean.backward()
        return mean

    optimizer.step(loss)
    coupling = model.linear.weight[4:, :2].detach()
    ratio = float(mpmath.besseli(1, beta) / mpmath.besseli(0, beta))
    error = 1 / math.sqrt(num / 2 * (1 - ratio / beta - ratio**2))
    torch.testing.assert_close(coupling, beta * torch.eye(2).double(), rtol=0, atol=5 * error)
    entropy = math.log(float(mpmath.besseli(0, beta))) - beta * ratio
    assert loss().item() == pytest.approx(entropy, abs=0.02)


@pytest.mark.parametrize("cls", [VonMisesMixture, BetaMixture, CircularSpline])
def test_too_few_components_are_refused(cls):
    name = "bins" if cls is CircularSpline else "components"
    with pytest.raises(ValueError, match=f"^{cls.__name__} needs {name} ≥ 1, not {name} = 0.$"):
        cls(0)


def test_spline_without_its_library_names_the_extra(monkeypatch):
    for module in ("zuko", "zuko.transforms"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ValueError, match=r"needs the library zuko: run pip install 'lightdan\[spline\]'\.$"
    ):
        CircularSpline()


@every_conditional
def test_checkpoints_outlive_the_division_into_modules(conditional):
    assert conditional.spec()["class_path"] == f"lightdan.conditionals.{type(conditional).__name__}"


def test_what_fits_angles():
    assert isinstance(conditional_for("angle", (), None), VonMisesMixture)
    with pytest.raises(
        ValueError,
        match="Bernoulli does not fit sites of kind 'angle': use one of "
        "BetaMixture, CircularSpline, VonMisesMixture",
    ):
        conditional_for("angle", (), Bernoulli())
    with pytest.raises(ValueError, match="VonMisesMixture does not fit sites of kind 'spin'"):
        conditional_for("spin", (-1, 1), VonMisesMixture())
