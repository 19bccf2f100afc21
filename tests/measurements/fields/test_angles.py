import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_auroc

from lightdan import MADE, Conditional, System
from lightdan.lattices.angles import TWO_PI, vorticity, wrap
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.fields.vortices import Vortices, area_under_roc, difference, surprise
from lightdan.measurements.phases.helicity_modulus import HelicityModulus, crossing
from lightdan.measurements.symmetry import Symmetry
from lightdan.statistics import Blocks, Estimate


class _Flat(Conditional):
    """Uniform distribution of an angle."""

    site_kinds = ("angle",)
    num_features = 2
    num_parameters = 1

    def features(self, values):
        return torch.stack([torch.cos(values), torch.sin(values)], dim=-1)

    def log_prob(self, values, parameters):
        return torch.zeros_like(values)

    def sample(self, parameters, uniforms):
        return wrap(TWO_PI * uniforms)


class _Cardioid(_Flat):
    """Density 1 + cos(θ)/2 at every site: rotations change H_θ by a known amount."""

    def log_prob(self, values, parameters):
        return torch.log1p(torch.cos(values) / 2)


class _Angles(System):
    """Angles without interaction, and a helicity modulus with the means `stiffness`."""

    symmetries = ("spin_rotation", "spin_reflection", "translation")

    def __init__(self, configurations, site_kind="angle", stiffness=None):
        super().__init__()
        self.rows, self.site_kind = configurations, site_kind
        self.lattice_shape = tuple(configurations.shape[1:])
        self.stiffness = stiffness

    def energy(self, configurations):
        return torch.zeros(len(configurations))

    def blocks(self, split, temperature):
        return Blocks(np.arange(len(self.rows)), len(self.rows))

    def observables(self, temperature):
        if self.stiffness is None:
            return {}
        noise = torch.Generator().manual_seed(round(1000 * temperature))

        def helicity_modulus(s):
            return self.stiffness[temperature] + 0.1 * torch.randn(len(s), generator=noise)

        return {"helicity_modulus": helicity_modulus}


def random_angles(num, shape=(8, 6), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TWO_PI * torch.rand(num, *shape, generator=generator)


def ensemble(system, conditional=None, temperature=1.0):
    model = MADE(
        lattice_shape=system.lattice_shape,
        site_kind="angle",
        levels=(),
        width=1,
        conditional=conditional or _Flat(),
    )
    measured = Ensemble(model.eval(), system, temperature)
    measured.configurations, measured.weights = system.rows, None
    return measured


def test_vortices_of_uniform_angles_are_a_sixth_of_each_sign():
    result = Vortices(num_samples=2000).measure(ensemble(_Angles(random_angles(2000))))
    for name in ("vortices", "antivortices"):
        for found in (result.estimates[name], result.reference[name]):
            assert abs(found.value - 1 / 6) < 4 * found.error
            assert 0 < found.error < 0.01
    # all plaquettes score the same
    assert result.estimates["auc_surprise"].value == pytest.approx(0.5)
    assert result.figure is not None


def test_maps_of_a_planted_value():
    q = torch.ones(1, 4, 5)
    q[0, 2, 3] = 0.25
    for boundary in ("periodic", "open"):
        found = surprise(q.log(), boundary)
        assert found.shape == vorticity(q, boundary).shape
        assert {tuple(index) for index in (found[0] > 0).nonzero().tolist()} == {
            (i, j) for i in (1, 2) for j in (2, 3)
        }
        assert found.max().item() == pytest.approx(math.log(4))
    step = difference(q, "periodic")[0]
    assert step[1, 2] == pytest.approx(-1.5)
    assert step[2, 3] == pytest.approx(1.5)
    assert step.count_nonzero() == 2


@pytest.mark.parametrize("ties", [False, True])
def test_area_under_roc_is_that_of_an_independent_library(ties):
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(300, 4, 5, generator=generator) < 0.1
    scores = torch.randn(300, 4, 5, generator=generator, dtype=torch.float64) + true
    if ties:
        scores = scores.round()
    found = area_under_roc(scores, true)
    assert found.value == pytest.approx(binary_auroc(scores, true.long()).item(), abs=2e-4)
    # two unit Gaussians a deviation apart: Φ(1/√2)
    assert ties or abs(found.value - 0.7602) < 4 * found.error < 0.06


def test_vortices_need_plaquettes_of_angles():
    for system in (_Angles(random_angles(5, (6,))), _Angles(random_angles(5), site_kind="real")):
        measured = ensemble(_Angles(random_angles(5)))
        measured.system = system
        with pytest.raises(NotMeasurable, match="no square plaquettes of angles"):
            Vortices().measure(measured)


def test_o2_table_of_a_known_model():
    s = 0.3 * random_angles(400)
    found = Symmetry().measure(ensemble(_Angles(s), _Cardioid())).estimates
    turned = torch.stack([s + k * TWO_PI / 5 for k in (0, 1, 2, 3, 4, 0)])
    table = -torch.log1p(torch.cos(turned.double()) / 2).sum((2, 3)).numpy()
    mean = table.mean(1)
    assert abs(found["o2_spread"].value - np.ptp(mean) / abs(mean.mean())) < found["o2_spread"].error
    singles = np.ptp(table, axis=0) / abs(table.mean(0))
    assert found["o2_spread_single"].value == pytest.approx(singles.mean(), rel=1e-4)
    assert found["translation"].value == pytest.approx(0, abs=1e-6)
    assert found["spin_rotation"].value > 0.1


def stiffness(temperature):
    """Return a curve that crosses 2T/π at 0.95, bent like that of the XY model."""
    return 2 * 0.95 / math.pi - 2.5 * (temperature - 0.95) - 2 * (temperature - 0.95) ** 2


TEMPERATURES = [0.8, 0.85, 0.9, 0.93, 0.96, 1.0, 1.05, 1.1]


@pytest.mark.slow
def test_crossing_covers_the_true_temperature():
    rng = np.random.default_rng(0)
    t = np.array(TEMPERATURES)
    hits = 0
    for seed in range(200):
        values = stiffness(t) + 0.01 * rng.normal(size=len(t))
        found = crossing(t, np.column_stack([values, np.full(len(t), 0.01)]), seed)
        hits += abs(found.value - 0.95) < found.error
    assert 0.61 <= hits / 200 <= 0.75


def test_helicity_modulus_of_several_temperatures_crosses():
    system = _Angles(random_angles(400), stiffness={t: stiffness(t) for t in TEMPERATURES})
    measurement = HelicityModulus(num_samples=400)
    measured = [measurement.measure(ensemble(system, temperature=t)).estimates for t in TEMPERATURES]
    assert abs(measured[3]["helicity_modulus"].value - stiffness(0.93)) < 0.02
    result = measurement.compare(TEMPERATURES, measured)
    assert result.arrays["temperature"].tolist() == TEMPERATURES
    assert set(result.estimates) == {"crossing", "crossing_data", "crossing_reweighted"}
    for found in result.estimates.values():
        assert abs(found.value - 0.95) < 4 * found.error < 0.04
    assert result.figure is not None


def test_no_crossing_is_said():
    low = dict.fromkeys(TEMPERATURES, 2.0)
    system = _Angles(random_angles(50), stiffness=low)
    measurement = HelicityModulus(num_samples=50)
    measured = [measurement.measure(ensemble(system, temperature=t)).estimates for t in TEMPERATURES]
    result = measurement.compare(TEMPERATURES, measured)
    assert not result.estimates
    assert "do not cross" in result.notes[0]


def test_helicity_modulus_needs_one():
    with pytest.raises(NotMeasurable, match="no helicity modulus"):
        HelicityModulus().measure(ensemble(_Angles(random_angles(5))))


def test_estimate_of_the_crossing_has_an_error():
    assert isinstance(crossing(np.array([0.9, 1.0]), np.array([[0.7, 0.01], [0.5, 0.01]])), Estimate)
