import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from variants import VariantTests

from lightdan import Categorical, GaussianMixture, Triangular, VonMisesMixture
from lightdan.architectures.triangular import TriangularLinear
from lightdan.testing import all_configurations, randomize


class TestMixtures(VariantTests):
    sites = {  # noqa: RUF012
        "reals": {"site_kind": "real", "levels": (), "conditional": GaussianMixture(components=3)},
        "angles": {"site_kind": "angle", "levels": (), "conditional": VonMisesMixture(components=1)},
    }

    def make(self, **kwargs):
        return Triangular(**kwargs)


def test_spins_are_logistic_regression():
    model = randomize(Triangular(lattice_shape=(2, 2)))
    s = all_configurations((4,), (-1, 1))
    fields = s @ model.linear.weight.tril(-1).T + model.bias[:, 0]
    expected = F.logsigmoid(s * fields).sum(1)
    torch.testing.assert_close(model.log_prob(s.reshape(-1, 2, 2)), expected)


def test_levels_are_softmax_regression():
    levels = (-4, 0, 1)
    model = randomize(
        Triangular(lattice_shape=(3,), site_kind="level", levels=levels, conditional=Categorical())
    )
    s = all_configurations((3,), levels)
    index = torch.searchsorted(torch.tensor(levels), s.long())
    weight = model.linear.weight.unflatten(0, (3, 3)).unflatten(2, (3, 3))  # (i, level, j, level)
    expected = torch.zeros(len(s)).double()
    for i in range(3):
        logits = model.bias[i].expand(len(s), 3)
        for j in range(i):
            logits = logits + weight[i, :, j].T[index[:, j]]
        expected = expected - F.cross_entropy(logits, index[:, i], reduction="none")
    torch.testing.assert_close(model.log_prob(s), expected)


def test_reals_are_any_multivariate_gaussian():
    """Set the weights from a Cholesky factor, in other units, and compare ln p to 1e-10."""
    rng = np.random.default_rng(0)
    mean, root = rng.normal(size=6), rng.normal(size=(6, 6))
    covariance = root @ root.T + 0.1 * np.eye(6)
    model = Triangular(lattice_shape=(2, 3), site_kind="real", levels=()).double()
    model.location.fill_(0.4)
    model.scale.fill_(1.7)
    triangle = np.linalg.cholesky(covariance) / 1.7
    linear = np.eye(6) - np.diag(np.diagonal(triangle)) @ np.linalg.inv(triangle)
    with torch.no_grad():
        model.linear.weight[:] = torch.from_numpy(np.tril(linear, -1))
        model.bias[:, 1] = torch.from_numpy((np.eye(6) - linear) @ (mean - 0.4) / 1.7)
        model.bias[:, 2] = torch.from_numpy(np.log(np.diagonal(triangle)))
        x = torch.from_numpy(rng.normal(size=(50, 2, 3)))
        exact = torch.distributions.MultivariateNormal(*map(torch.from_numpy, (mean, covariance)))
        torch.testing.assert_close(
            model.log_prob(x), exact.log_prob(x.flatten(1)), rtol=1e-10, atol=1e-10
        )
        samples = model.sample(20_000, seed=0).flatten(1)
    error = samples.std(0) / math.sqrt(len(samples))
    assert ((samples.mean(0) - torch.from_numpy(mean)).abs() < 4 * error).all()
    assert torch.cov(samples.T).numpy() == pytest.approx(covariance, abs=0.04 * covariance.max())


@pytest.mark.parametrize("components", [1, 3])
def test_of_gaussians_only_the_means_see_the_sites(components):
    mixture = GaussianMixture(components=components)
    model = randomize(Triangular(lattice_shape=(4,), site_kind="real", levels=(), conditional=mixture))
    a = model(torch.randn(2, 4).double()).unflatten(-1, (components, 3))
    changed = (a[0] != a[1]).any(1)
    assert changed[1:, 1].all()
    assert not changed[:, [0, 2]].any()


def test_the_default_for_reals_is_one_gaussian():
    def conditional(**options):
        return Triangular(lattice_shape=(3,), **options).conditional.spec()

    one = {"components": 1}
    assert conditional(site_kind="real", levels=())["init_args"] == one
    assert conditional(site_kind="angle", levels=())["class_path"].endswith("VonMisesMixture")
    assert conditional()["class_path"].endswith("Bernoulli")


def test_gradients_reach_every_weight_below_the_diagonal_and_no_other():
    model = randomize(Triangular(lattice_shape=(5,)))
    model.log_prob(all_configurations((5,), (-1, 1))[::3]).sum().backward()
    assert torch.equal(model.linear.weight.grad != 0, torch.ones(5, 5).tril(-1).bool())


@pytest.mark.parametrize("strict", [True, False])
def test_a_unit_sees_those_of_the_sites_before(strict):
    layer = TriangularLinear(torch.arange(4), 2, 3, strict=strict)
    seen = torch.autograd.functional.jacobian(layer, torch.zeros(8)).reshape(4, 3, 4, 2) != 0
    expected = torch.ones(4, 4).tril(-1 if strict else 0).bool()
    assert torch.equal(seen, expected[:, None, :, None].expand(4, 3, 4, 2))
