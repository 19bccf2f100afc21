"""Networks that see named controls: normalisation, samples, walkers, refusals and learning."""

import numpy as np
import pytest
import torch

from lightdan import MADE, HalfPlane, PixelCNN, Recurrent, Transformer, Triangular
from lightdan.testing import all_configurations

STATES = all_configurations((2, 2), (-1, 1)).float()
EVERY = [MADE, HalfPlane, PixelCNN, Recurrent, Transformer, Triangular]


def make(cls, **options):
    """Return a network with random weights that sees two controls."""
    torch.manual_seed(1)
    model = cls(lattice_shape=(2, 2), control_names=("field", "mu"), **options)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    model.control_mean.copy_(torch.tensor([1.0, -2.0]))
    model.control_scale.copy_(torch.tensor([0.5, 3.0]))
    return model.eval()


@pytest.mark.parametrize("options", [{}, {"temperature_input": True, "symmetrize": ["rotation"]}])
@pytest.mark.parametrize("cls", EVERY)
def test_normalised_and_different_at_all_controls(cls, options):
    """At each control p sums to 1, samples follow it, and walkers keep it; each input changes it."""
    model = make(cls, **options)
    t = 2.0 if options else None
    tables = []
    for field, mu in ((0.0, -2.0), (1.7, -2.0), (1.7, 3.0)):
        with torch.no_grad():
            p = model.log_prob(STATES, t, {"field": field, "mu": mu}).exp()
        assert p.sum().item() == pytest.approx(1, abs=1e-5)
        tables.append(p)
    for one, other in ((0, 1), (1, 2)):
        assert (tables[one].log() - tables[other].log()).abs().max() > 0.1
    num = 4000
    drawn = model.sample(num, 5, t, controls={"field": 1.7, "mu": torch.full((num,), 3.0)})
    codes = ((drawn.flatten(1) + 1) / 2 @ (2.0 ** torch.arange(4))).long()
    expected = ((STATES.flatten(1) + 1) / 2 @ (2.0 ** torch.arange(4))).long()
    counts = codes.bincount(minlength=16)[expected]
    errors = (num * tables[2] * (1 - tables[2])).sqrt().clamp(min=1)
    assert ((counts - num * tables[2]).abs() < 5 * errors).all()
    with torch.no_grad():
        fields = model.local_fields(STATES, t or 1.0, controls={"field": 1.7, "mu": 3.0})
        flipped = STATES.clone().flatten(1)
        flipped[:, 2] *= -1
        change = model.energy_difference(STATES, 2, flipped[:, 2], t or 1.0, {"field": 1.7, "mu": 3.0})
        expected = model.hamiltonian(flipped.reshape(-1, 2, 2), t or 1.0, {"field": 1.7, "mu": 3.0})
        expected -= model.hamiltonian(STATES, t or 1.0, {"field": 1.7, "mu": 3.0})
    torch.testing.assert_close(change, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(fields[:, 2].sum(1), change, rtol=1e-3, atol=1e-4)


def test_each_configuration_has_its_own_controls():
    model = make(MADE, temperature_input=True)
    controls = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    t = torch.linspace(1, 3, 16)
    together = model.log_prob(STATES, t, controls)
    for k in (0, 7, 15):
        alone = model.log_prob(
            STATES[k : k + 1], t[k].item(), dict(zip(("mu", "field"), controls[k].flip(0), strict=True))
        )
        torch.testing.assert_close(alone[0], together[k])


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        (None, "sees the controls field, mu: pass a value"),
        ({"field": 1.0}, "not field: pass a value"),
        ({"field": 1.0, "mu": 1.0, "h": 2.0}, "not field, mu, h: pass"),
        ({"field": torch.ones(3), "mu": 1.0}, r"field has the shape \(3,\), but there are 16"),
        ({"field": np.nan, "mu": 1.0}, "not finite"),
        (torch.ones(16, 3), r"shape \(16, 3\): pass \(16, 2\)"),
    ],
)
def test_other_controls_are_refused(controls, words):
    with pytest.raises(ValueError, match=words):
        make(MADE).log_prob(STATES, controls=controls)


def test_a_network_without_controls_refuses_them():
    with pytest.raises(ValueError, match="sees no controls: leave them out"):
        MADE(lattice_shape=(2, 2)).log_prob(STATES, controls={"field": 1.0})


@pytest.mark.parametrize("seen", [True, False])
def test_values_outside_the_training_are_said_once(seen):
    """T and controls warn once each in whatever function they are passed, but not at the ends."""
    model = make(MADE, temperature_input=seen)
    model.record.ranges = {"T": (1.1, 2.0), "field": (-1.0, 1.0), "mu": (0.7, 0.7)}
    inside = {"field": 1.0, "mu": float(np.float32(0.7))}
    model.hamiltonian(STATES, float(np.float32(1.1)), inside)
    model.sample(3, 0, 2.0, controls={"field": -1.0, "mu": 0.7})
    outside = "is outside the training data, which"
    with pytest.warns(UserWarning, match=f"T = 3 {outside} reach from 1.1 to 2: the network") as t:
        model.hamiltonian(STATES, 3.0, inside)
    assert ("extrapolates" if seen else "does not see T") in str(t[0].message)
    fields = torch.linspace(-1.5, 1.5, 16)
    with pytest.warns(UserWarning, match=f"field = -1.5 {outside} reach from -1 to 1: the network e"):
        model.log_prob(STATES, 1.2, {"field": fields, "mu": 0.7})
    with pytest.warns(UserWarning, match=f"mu = 2 {outside} are at 0.7: the network extrapolates"):
        model.at({"field": 0.0, "mu": 2.0})
    model.hamiltonian(STATES, 9.0, {"field": 9.0, "mu": 9.0})
    model.at({"field": 9.0, "mu": 0.7}).log_prob(STATES, 5.0)


def test_a_network_at_fixed_controls_is_the_network_there():
    """Functions take the controls of `at` unless others are passed, and the weights are shared."""
    model = make(MADE, temperature_input=True)
    here, there = {"field": 0.5, "mu": 1.0}, {"field": -1.0, "mu": 0.0}
    fixed = model.at(here)
    with torch.no_grad():
        model.bias.add_(0.5)
        for given in (None, there):
            expected = model.log_prob(STATES, 2.0, given or here)
            assert torch.equal(fixed.log_prob(STATES, 2.0, given), expected)
    assert torch.equal(fixed.sample(9, 1, 2.0), model.sample(9, 1, 2.0, controls=here))
    assert torch.equal(fixed.local_fields(STATES, 2.0), model.local_fields(STATES, 2.0, controls=here))
    assert torch.equal(fixed.at(there).log_prob(STATES, 2.0), model.log_prob(STATES, 2.0, there))
    with pytest.raises(ValueError, match="pass a value for each of them"):
        model.log_prob(STATES, 2.0)
    with pytest.raises(ValueError, match="not field: pass a value"):
        model.at({"field": 1.0})
