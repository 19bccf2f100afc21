"""Checks of what users pass as configurations: what is cast, and what is refused in which words."""

import math

import numpy as np
import pytest
import torch

from lightdan import MADE, XY, Ising, ScalarField, Triangular
from lightdan.lattices.sites import site_values
from lightdan.testing import all_configurations

SPINS = all_configurations((2, 3), (-1, 1))[::3].float()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = MADE(lattice_shape=(2, 3), temperature_input=True).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def entrances(model):
    """Return every public function of configurations."""
    return {
        "log_prob": lambda s: model.log_prob(s, 2.0),
        "hamiltonian": lambda s: model.hamiltonian(s, 2.0),
        "energy_difference": lambda s: model.energy_difference(s, 1, 1.0, 2.0),
        "local_fields": lambda s: model.local_fields(s, 2.0),
        "energy": lambda s: Ising(shape=(2, 3)).energy(s),
    }


ENTRANCES = ["log_prob", "hamiltonian", "energy_difference", "local_fields", "energy"]


@pytest.mark.parametrize("name", ENTRANCES)
def test_values_that_are_no_spins_are_refused(model, name):
    function = entrances(model)[name]
    with pytest.raises(ValueError, match=r"hold 0 in row 0, site \(0, 0\).*no spin: pass 2 \* s - 1"):
        function((SPINS + 1) / 2)
    for bad in (7.0, math.nan, math.inf, -0.5):
        wrong = SPINS.clone()
        wrong[4, 1, 2] = wrong[7, 0, 0] = bad
        with pytest.raises(
            ValueError, match=rf"hold {bad:g} in row 4, site \(1, 2\) .*: pass -1 or 1\."
        ):
            function(wrong)


@pytest.mark.parametrize("name", ENTRANCES)
def test_other_shapes_are_refused_by_name(model, name):
    function = entrances(model)[name]
    with pytest.raises(ValueError, match=r"shape \(2, 3\): pass the shape \(B, 2, 3\), here s\[None\]"):
        function(SPINS[0])
    with pytest.raises(ValueError, match=r"shape \(22, 6\): pass the shape \(B, 2, 3\)\."):
        function(SPINS.flatten(1))
    with pytest.raises(ValueError, match=r"shape \(22, 3, 2\): pass"):
        function(SPINS.mT)


@pytest.mark.parametrize("name", ENTRANCES)
@pytest.mark.parametrize(
    "cast",
    [
        lambda s: s.numpy(),
        lambda s: s.numpy().astype(np.int8),
        lambda s: s.numpy().astype(np.float64)[:, ::-1][:, ::-1],
        lambda s: np.frombuffer(s.numpy().tobytes(), np.float32).reshape(s.shape),
        lambda s: s.to(torch.int8),
        lambda s: s.long(),
        lambda s: s.double(),
    ],
)
def test_arrays_and_other_types_give_the_same_numbers(model, name, cast):
    function = entrances(model)[name]
    torch.testing.assert_close(function(cast(SPINS)), function(SPINS), check_dtype=name != "energy")


def test_types_without_numbers_are_refused(model):
    for wrong in (SPINS.numpy().astype(str), SPINS.numpy().astype(object), SPINS.to(torch.complex64)):
        with pytest.raises(ValueError, match=r"of type .*: pass a tensor or array of numbers"):
            model.log_prob(wrong, 2.0)


def test_the_type_of_energies_is_that_of_the_configurations():
    system = Ising(shape=(2, 3))
    assert system.energy(SPINS.double()).dtype == torch.float64
    assert system.energy(SPINS.double().numpy()).dtype == torch.float64
    assert system.energy(SPINS.to(torch.int8)).dtype == torch.float32


def test_one_temperature_or_one_for_each_configuration(model):
    expected = model.log_prob(SPINS, torch.full((22,), 2.0))
    for temperature in (2.0, torch.tensor([2.0]), np.full(22, 2.0), torch.full((22,), 2)):
        torch.testing.assert_close(model.log_prob(SPINS, temperature), expected)
        torch.testing.assert_close(model.hamiltonian(SPINS, temperature), -2 * expected)
    for wrong in (torch.ones(21), np.ones((22, 1))):
        with pytest.raises(ValueError, match=r"there are 22 configurations: pass one number, or"):
            model.hamiltonian(SPINS, wrong)
    for wrong in (0.0, -1.0, math.nan, math.inf, torch.linspace(-1, 20, 22)):
        with pytest.raises(ValueError, match=r"The temperature is .*: pass positive, finite numbers"):
            model.log_prob(SPINS, wrong)


def test_changes_that_are_none_are_refused(model):
    with pytest.raises(ValueError, match="There is no site 6: pass an index from 0 to 5"):
        model.energy_difference(SPINS, 6, 1.0, 2.0)
    with pytest.raises(ValueError, match="There is no site -1"):
        model.local_fields(SPINS, 2.0, sites=[0, -1])
    with pytest.raises(ValueError, match="The new values hold 3 in row 0, site 0"):
        model.energy_difference(SPINS, 0, 3.0, 2.0)


@pytest.mark.parametrize("conditional", ["VonMisesMixture", "BetaMixture"])
def test_angles_are_taken_modulo_a_turn(conditional):
    import lightdan

    torch.manual_seed(1)
    model = MADE.for_system(XY(shape=(2, 3)), conditional=getattr(lightdan, conditional)(components=2))
    angles = torch.rand(50, 2, 3, dtype=torch.float64) * 2 * math.pi
    expected = model.log_prob(angles)
    for turns in (-3, -1, 1, 2):
        turned = angles + 2 * math.pi * turns
        torch.testing.assert_close(model.log_prob(turned), expected, rtol=1e-5, atol=1e-5)
    ends = torch.tensor([0.0, 2 * math.pi, -1e-12, 2 * math.pi * (1 - 1e-12)], dtype=torch.float64)
    rows = ends[:, None, None].expand(4, 2, 3)
    values = site_values(rows, (2, 3), "angle", (), like=torch.ones(1))
    assert values.dtype == torch.float32
    assert (values >= 0).all()
    assert (values.double() < 2 * math.pi).all()
    inside = torch.tensor(angles.numpy(), dtype=torch.float32)
    assert torch.equal(site_values(inside, (2, 3), "angle", ()), inside)
    angles[2, 1, 1] = math.nan
    for function in (model.log_prob, XY(shape=(2, 3)).energy):
        with pytest.raises(ValueError, match=r"nan in row 2, site \(1, 1\).*no finite angle: remove"):
            function(angles)


def test_gradients_pass_the_check():
    model = Triangular.for_system(ScalarField(shape=(2, 2))).double()
    fields = torch.randn(5, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model.log_prob, (fields,))


@pytest.mark.parametrize(
    "levels", [(-1, 0, 1), (0, 1, 2, 3), (-4, -2, 0, 2, 4), (0, 1, 3), (2, 5), tuple(range(0, 90, 3))]
)
def test_levels_and_only_levels_pass(levels):
    good = torch.tensor(levels * 5, dtype=torch.float32).reshape(5, -1)
    assert site_values(good, good.shape[1:], "level", levels) is good
    for value in range(min(levels) - 2, max(levels) + 3):
        for bad in {value, value + 0.5} - set(levels):
            wrong = good.clone()
            wrong[3, 1] = bad
            with pytest.raises(ValueError, match=rf"hold {bad:g} in row 3, site 1 .*no level of the"):
                site_values(wrong, good.shape[1:], "level", levels)


def test_fields_must_be_finite_and_no_rows_pass():
    system = ScalarField(shape=(2, 2))
    fields = torch.randn(3, 2, 2)
    fields[1, 0, 1] = -math.inf
    with pytest.raises(ValueError, match=r"hold -inf in row 1, site \(0, 1\).*no finite number: remove"):
        system.action(fields)
    assert system.action(fields[:0]).shape == (0,)
    assert Ising(shape=(2, 3)).energy(SPINS[:0]).shape == (0,)
