import math

import numpy as np
import pytest
import torch

from lightdan import (
    MADE,
    XY,
    CriticalTemperature,
    Films,
    ImageSteps,
    NotMeasurable,
    SyntheticKerrImages,
)
from lightdan.images.patches import TEST
from lightdan.interactions.catalogue import uniform_operators
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.lattices.bravais import hypercubic
from lightdan.measurements.couplings.couplings import MEASURED
from lightdan.measurements.ensemble import Ensemble

SPATIAL = ("translation", "rotation", "reflection")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    system = SyntheticKerrImages(
        film=(32, 40),
        num_images=12,
        patch=8,
        temperature=3.0,
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )
    system.setup()
    return system


def test_films_beside_the_held_out_images(images):
    """A network of free spins has C(r) = 0, the true Hamiltonian that of the images, in pixels."""
    model = MADE.for_system(images)
    for weight in model.parameters():
        torch.nn.init.zeros_(weight)
    ensemble, shape = Ensemble(model, images, 3.0), (8, 8)
    pairs = [o for o in uniform_operators(hypercubic(shape, "window"), SPATIAL, 1.0) if o.order == 2]
    hamiltonian = ExplicitHamiltonian.from_couplings(shape, pairs, np.array([1 / 3]))
    ensemble.keep(MEASURED, lambda: hamiltonian)
    result = Films(side=64).measure(ensemble)
    ising = result.estimates["hamiltonian_correlation_length"]
    of_data = result.reference["hamiltonian_correlation_length"]
    assert abs(ising.value - of_data.value) < 4 * math.hypot(ising.error, of_data.error)
    free = result.arrays["network_correlation"]
    assert np.abs(free[0, 1:4]).max() < 5 * free[1, 1:4].max() < 0.1
    textures = [images.textures[k] for k in np.flatnonzero(images.series.division.images == TEST)]
    area = result.reference["network_area_fraction"].value
    assert area == pytest.approx((np.array(textures) > 0).mean(), abs=1e-3)
    c = result.arrays["film_correlation"]
    assert result.estimates["network_correlation_max_deviation"].value == pytest.approx(
        c[0, 1], abs=0.05
    )
    assert result.arrays["r"][1] == pytest.approx(4 * (1 + 2**0.5) / 2)  # sides and diagonals, in pixels


def test_a_network_in_another_order_has_no_film(images):
    model = MADE.for_system(images, ordering="snake")
    with pytest.raises(NotMeasurable, match=r"The network has no film\. .*model.ordering to raster"):
        Films(side=64).measure(Ensemble(model, images, 3.0))


def test_steps_of_an_image(images, measured):
    system = images
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
        (Films, "XY has no images"),
        (ImageSteps, "XY has no images"),
    ],
)
def test_what_does_not_fit_is_refused(measurement, reason, tmp_path):
    system = XY(shape=4, num_configurations=100, cache_dir=str(tmp_path))
    model = MADE(lattice_shape=(4, 4), site_kind="angle", levels=())
    with pytest.raises(NotMeasurable, match=reason):
        measurement().measure(Ensemble(model, system, 1.0))
