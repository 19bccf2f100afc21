import math

import numpy as np
import pytest
import torch

from lightdan import (
    MADE,
    XY,
    Baselines,
    CriticalTemperature,
    Domains,
    ImageSteps,
    Ising,
    NotMeasurable,
    StructureFactor,
    SyntheticKerrImages,
)
from lightdan.interactions.fit import LocalFields, fit
from lightdan.interactions.operators import sites_with_neighbours, uniform_operators
from lightdan.measurements.ensemble import Ensemble, Samples
from lightdan.testing import all_configurations

SHAPE, TEMPERATURE = (4, 4), 2.5
EVERY = ("rotation", "reflection")


NUM = 400


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Provide Ising 4 × 4 with the exact distribution and simulated samples instead of a network."""
    cache = str(tmp_path_factory.mktemp("cache"))
    options = {"temperature": TEMPERATURE, "num_configurations": 8000, "cache_dir": cache}
    system, other = Ising(SHAPE, **options), Ising(SHAPE, seed=1, **options)
    system.setup()
    states = all_configurations(SHAPE, (-1, 1))
    log_z = (-system.energy(states) / TEMPERATURE).logsumexp(0)
    log_prob = -system.energy(system.data.rows("test", TEMPERATURE).double()) / TEMPERATURE - log_z
    model = MADE(lattice_shape=SHAPE)
    ensemble = Ensemble(model, system, TEMPERATURE, log_prob)
    drawn = other.data.rows("train", TEMPERATURE)[:NUM]
    ensemble.keep(("samples", NUM, 0), lambda: Samples(ensemble, drawn))
    return ensemble


def test_baselines_of_the_exact_model(measured):
    """Check that nearest neighbours explain as much as p itself, up to the errors of a fit."""
    found = Baselines(max_distance=1.5).measure(measured).estimates
    states = all_configurations(SHAPE, (-1, 1))
    log_p = (-measured.system.energy(states) / TEMPERATURE).log_softmax(0)
    entropy = -(log_p.exp() @ log_p).item()
    assert abs(found["nll"].value - entropy) < 4 * found["nll"].error
    assert abs(found["nll_independent"].value - 16 * math.log(2)) < 0.02
    for name in ("nearest_neighbour", "pairs"):
        assert abs(found[f"gain_{name}"].value) < 4 * found[f"gain_{name}"].error + 0.01
        difference = found[f"nll_{name}"].value - found["nll"].value
        assert difference == pytest.approx(found[f"gain_{name}"].value, abs=1e-6)
    assert found["gain_independent"].value > 2


def test_a_network_that_loses_to_a_baseline_says_so(measured):
    worse = torch.as_tensor(measured.log_prob) - 1
    ensemble = Ensemble(measured.model, measured.system, TEMPERATURE, worse)
    (note,) = Baselines(max_distance=1.5).measure(ensemble).notes
    assert note.startswith("The network loses to nearest_neighbour (by 1.0")
    assert "independent" not in note


def test_a_window_has_the_couplings_of_the_film_only_inside():
    """Check that pseudo-likelihood in an open window is right inside and wrong at the edge."""
    film = Ising(24, temperature=2.5, num_configurations=1500)
    film.setup()
    windows = torch.cat([film.data.rows(name, 2.5) for name in ("train", "test")])[:, 4:12, 7:15]
    operators = uniform_operators((8, 8), "window", EVERY, 1.5)
    sites = sites_with_neighbours((8, 8), "window", operators).tolist()
    assert len(sites) == 36
    inside = fit(LocalFields(operators, 64, sites=sites), windows)
    everywhere = fit(LocalFields(operators, 64), windows)
    expected = [0, 0.4, 0, 0]
    assert (np.abs(inside.couplings - expected) < 4 * inside.standard_errors).all()
    assert abs(everywhere.couplings[1] - 0.4) > 4 * everywhere.standard_errors[1]
    assert len(sites_with_neighbours((8, 8), "periodic", operators)) == 64
    with pytest.raises(ValueError, match="no site that is 2 away from its edge"):
        sites_with_neighbours((4, 4), "window", uniform_operators((4, 4), "window", EVERY, 2.0))


def test_rows_that_are_copies_count_once():
    system = Ising(6, temperature=3.0, num_configurations=500)
    system.setup()
    rows = system.data.rows("train", 3.0)
    fields = LocalFields(uniform_operators((6, 6), "periodic", EVERY, 1.0), 36)
    once = fit(fields, rows)
    copied = rows.repeat_interleave(5, 0)
    np.testing.assert_allclose(
        fit(fields, copied, block_size=5).standard_errors, once.standard_errors, rtol=0.01
    )
    ratio = fit(fields, copied).standard_errors / once.standard_errors
    np.testing.assert_allclose(ratio, 5**-0.5, rtol=0.01)
    assert once.covariance.diagonal() == pytest.approx(once.standard_errors**2)


def test_structure_factor_of_the_model_is_that_of_the_data(measured):
    result = StructureFactor(num_samples=NUM).measure(measured)
    assert set(result.reference) <= set(result.estimates)
    assert result.estimates["structure_factor_max_deviation"].value < 0.3
    assert result.arrays["k"][-1] <= math.pi * 1.1
    np.testing.assert_allclose(result.arrays["model"], result.arrays["data"], rtol=0.3)


def test_domains_of_the_model_are_those_of_the_data(measured):
    result = Domains(num_samples=NUM).measure(measured)
    for name, estimate in result.estimates.items():
        reference = result.reference[name]
        assert abs(estimate.value - reference.value) < 4 * math.hypot(estimate.error, reference.error)
    assert result.arrays["model"].shape == (8, 4, 4)


def test_steps_of_an_image(tmp_path, measured):
    system = SyntheticKerrImages(
        film=(32, 40), num_images=12, patch=8, temperature=3.0, cache_dir=str(tmp_path)
    )
    system.setup()
    result = ImageSteps().measure(Ensemble(measured.model, system, 3.0))
    assert result.arrays["image"].shape == (128, 160)
    assert result.arrays["texture"].shape == (32, 40)
    assert result.estimates == system.summary


@pytest.mark.parametrize(
    "measurement", [Baselines, StructureFactor, Domains, ImageSteps, CriticalTemperature]
)
def test_what_does_not_fit_is_refused(measurement, tmp_path):
    system = XY(shape=4, num_configurations=100, cache_dir=str(tmp_path))
    model = MADE(lattice_shape=(4, 4), site_kind="angle", levels=())
    with pytest.raises(NotMeasurable):
        measurement().measure(Ensemble(model, system, 1.0))
