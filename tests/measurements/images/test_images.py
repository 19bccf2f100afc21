import math

import numpy as np
import pytest

from lightdan import (
    MADE,
    XY,
    CriticalTemperature,
    Domains,
    ImageSteps,
    NotMeasurable,
    StructureFactor,
    SyntheticKerrImages,
)
from lightdan.measurements.ensemble import Ensemble

NUM = 400


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
    assert result.estimates == {f"film_{name}": x for name, x in system.summary.items()}
    assert {"film_area_fraction", "film_correlation_length"} <= set(result.estimates)
    assert result.notes == ["Lengths of the film are in px, a site being 4 px."]


@pytest.mark.parametrize(
    ("measurement", "reason"),
    [
        (CriticalTemperature, "needs spins, but"),
        (StructureFactor, "needs spins, levels or fields"),
        (Domains, "need spins or levels"),
        (ImageSteps, "XY has no images"),
    ],
)
def test_what_does_not_fit_is_refused(measurement, reason, tmp_path):
    system = XY(shape=4, num_configurations=100, cache_dir=str(tmp_path))
    model = MADE(lattice_shape=(4, 4), site_kind="angle", levels=())
    with pytest.raises(NotMeasurable, match=reason):
        measurement().measure(Ensemble(model, system, 1.0))
